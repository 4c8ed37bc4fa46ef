"""A whole answer: its body, read as what the caller takes it for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentserver.client.errors import AnswerError
from agentserver.client.response import charset_of, media_type_of, retry_after_of
from agentserver.client.run_state import RunState

__all__ = ["Answer"]

_RUNNING = frozenset(
    {"accepted", "cancelling", "in_progress", "pending", "queued", "running", "started", "working"}
)


@dataclass(frozen=True)
class Answer:
    """A whole answer to an invocation, a ``get`` or a ``cancel``.

    Args:
        status: The HTTP status, 200 to 299.
        body: The bytes of the body.
        headers: The response headers; look-up ignores case.
        invocation_id: The invocation's id, the server's word before the caller's.
        session_id: The session's id, to be given to the next call of the same conversation.
        request_id: The ``x-request-id`` to look for in the server's log and traces.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    invocation_id: str
    session_id: str | None
    request_id: str | None

    @property
    def content_type(self) -> str:
        """The media type, without its parameters, in lower case."""
        return media_type_of(self.headers)

    @property
    def text(self) -> str:
        """The body as text, in the charset the server named, else UTF-8; what cannot be read is replaced."""
        return self.body.decode(charset_of(self.headers), errors="replace")

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asked to wait before the next ``get``; None when it did not ask."""
        return retry_after_of(self.headers)

    @property
    def running(self) -> bool:
        """Whether the invocation goes on: status 202, or a JSON member ``status`` such as ``running``."""
        if self.status == 202:
            return True
        try:
            state: Any = json.loads(self.body)["status"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        return isinstance(state, str) and state.lower() in _RUNNING

    def json(self) -> Any:
        """The body, read as JSON.

        Raises:
            AnswerError: If it is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise AnswerError(
                f"the answer is {self.content_type}, which cannot be read as JSON: use .text or .body",
                invocation_id=self.invocation_id,
                session_id=self.session_id,
            ) from None

    def run(self) -> RunState:
        """The body, read as what a server tells of a durable run.

        Raises:
            AnswerError: If it is not that.
        """
        return RunState.read(self.json())
