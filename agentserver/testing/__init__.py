"""What users test their handlers with: the same handler in process, on a socket, or as a real process.

.. code-block:: python

    from agentserver.testing import in_process


    async def test_it_echoes() -> None:
        async with in_process(EchoHandler) as agent:
            assert (await agent.client.invoke("hello")).text == "You said: hello"

With pytest and pytest-aiohttp installed, the same things are fixtures: see `agentserver.testing.plugin`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agentserver.testing.agent import AgentUnderTest, in_process, on_socket
    from agentserver.testing.closes import CloseEvent, CloseEvents, capture_close_events
    from agentserver.testing.conditions import until
    from agentserver.testing.conversation import Close, Conversation
    from agentserver.testing.environment import fake_environment
    from agentserver.testing.process import ServerEndedError, ServerProcess, free_port, run_server
    from agentserver.testing.requests import make_action_context, make_context, make_request
    from agentserver.testing.spans import CapturedSpans, capture_spans

__all__ = [
    "AgentUnderTest",
    "CapturedSpans",
    "Close",
    "CloseEvent",
    "CloseEvents",
    "Conversation",
    "ServerEndedError",
    "ServerProcess",
    "capture_close_events",
    "capture_spans",
    "fake_environment",
    "free_port",
    "in_process",
    "make_action_context",
    "make_context",
    "make_request",
    "on_socket",
    "run_server",
    "until",
]

# Loaded at the first use: pytest loads the plugin, and so this package, in every run of its users.
_HOMES: Final[dict[str, str]] = {
    "AgentUnderTest": "agent",
    "in_process": "agent",
    "on_socket": "agent",
    "CloseEvent": "closes",
    "CloseEvents": "closes",
    "capture_close_events": "closes",
    "until": "conditions",
    "Close": "conversation",
    "Conversation": "conversation",
    "fake_environment": "environment",
    "ServerEndedError": "process",
    "ServerProcess": "process",
    "free_port": "process",
    "run_server": "process",
    "make_action_context": "requests",
    "make_context": "requests",
    "make_request": "requests",
    "CapturedSpans": "spans",
    "capture_spans": "spans",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'agentserver.testing' has no attribute {name!r}")
    value = getattr(import_module(f"agentserver.testing.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
