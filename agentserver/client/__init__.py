"""The caller's side: a client for agents on a developer's machine and on the hosting platform.

.. code-block:: python

    from agentserver.client import InvocationsClient

    async with InvocationsClient("http://localhost:8088") as client:
        print((await client.invoke("hello")).text)
"""

from agentserver.client.action_stream import ActionResult, ActionStream
from agentserver.client.actions import ActionsConnection
from agentserver.client.answer import Answer
from agentserver.client.client import InvocationsClient
from agentserver.client.credentials import Token
from agentserver.client.errors import (
    ActionError,
    AnswerError,
    ClientError,
    ConnectionClosedError,
    CredentialError,
    DeadlineError,
    LostConnectionError,
    RefusedError,
    ResponseError,
    UnreachableError,
)
from agentserver.client.retry import NO_RETRY, Retry, Timeouts
from agentserver.client.run_state import RunState
from agentserver.client.sse import StreamEvent
from agentserver.client.stream import Stream
from agentserver.client.websocket import Connection

__all__ = [
    "NO_RETRY",
    "ActionError",
    "ActionResult",
    "ActionStream",
    "ActionsConnection",
    "Answer",
    "AnswerError",
    "ClientError",
    "Connection",
    "ConnectionClosedError",
    "CredentialError",
    "DeadlineError",
    "InvocationsClient",
    "LostConnectionError",
    "RefusedError",
    "ResponseError",
    "Retry",
    "RunState",
    "Stream",
    "StreamEvent",
    "Timeouts",
    "Token",
    "UnreachableError",
]
