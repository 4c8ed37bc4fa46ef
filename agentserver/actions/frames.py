"""Every frame of the action protocol, as values (contract, section 6).

A frame that carries a ``session_id`` belongs to an invocation; one that carries an ``invocation_id`` alone
answers a query, such as ``get_invocation`` or ``cancel_invocation``, or refuses an action. That is how both
may be under way for one id.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CancelInvocation",
    "ClientFrame",
    "Encoded",
    "ErrorFrame",
    "FrameError",
    "GetInvocation",
    "InvocationFrame",
    "Invoke",
    "ListInvocations",
    "Ping",
    "Pong",
    "Query",
    "Result",
    "ServerFrame",
    "SignalInvocation",
    "StreamChunk",
    "StreamEnd",
]


@dataclass(frozen=True, slots=True)
class Invoke:
    """Client to server: start an invocation. Absent ids are made up by the server.

    With ``idempotency_key`` a durable run of that key is joined, if there is one (contract, section 11).
    """

    payload: Mapping[str, Any]
    invocation_id: str | None = None
    session_id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class GetInvocation:
    """Client to server: ask for the state of an invocation.

    With ``last_event_id`` the events of a durable run are asked for instead, those above that id; they come
    as the chunks of a stream (contract, section 11).
    """

    invocation_id: str
    last_event_id: int | None = None


@dataclass(frozen=True, slots=True)
class CancelInvocation:
    """Client to server: cancel an invocation."""

    invocation_id: str


@dataclass(frozen=True, slots=True)
class SignalInvocation:
    """Client to server: give a durable run the signal *name* (contract, section 11)."""

    invocation_id: str
    name: str
    payload: Any = None


@dataclass(frozen=True, slots=True)
class ListInvocations:
    """Client to server: which durable runs are there (contract, section 11)?

    ``invocation_id`` is of no run: it names the question, and the answer carries it. ``which`` has what is
    said of ``status``, ``session_id``, ``limit`` and ``before``.
    """

    invocation_id: str
    which: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Ping:
    """Either direction: are you there? Keeps idle connections open."""


@dataclass(frozen=True, slots=True)
class Pong:
    """Either direction: the answer to a ping."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A payload that is JSON already, on one line, as UTF-8."""

    json: bytes


@dataclass(frozen=True, slots=True)
class Result:
    """Server to client: the one answer of an invocation, or (without ``session_id``) of a get or a cancel.

    ``payload`` is any JSON value, a dataclass of JSON values, or `Encoded`.
    """

    invocation_id: str
    payload: Any
    session_id: str | None = None


@dataclass(frozen=True, slots=True)
class StreamChunk:
    """Server to client: one piece of a streamed answer. ``payload`` is as in :class:`Result`."""

    invocation_id: str
    session_id: str
    payload: Any


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """Server to client: the streamed answer is complete."""

    invocation_id: str
    session_id: str


@dataclass(frozen=True, slots=True)
class ErrorFrame:
    """Server to client: an invocation ended with an error, or (without ``session_id``) an action was refused.

    Without any id it is about a frame that could not be read. ``details`` are further members of ``error``.
    """

    code: str
    message: str
    invocation_id: str | None = None
    session_id: str | None = None
    details: Mapping[str, object] = field(default_factory=dict[str, object])


Query = GetInvocation | CancelInvocation | SignalInvocation | ListInvocations
ClientFrame = Invoke | Query | Ping | Pong
InvocationFrame = Result | StreamChunk | StreamEnd | ErrorFrame
ServerFrame = Result | StreamChunk | StreamEnd | ErrorFrame | Ping | Pong


class FrameError(ValueError):
    """A text is no frame of the protocol.

    Args:
        code: The contract's error code, such as ``"invalid_json"``.
        message: A sentence for the sender. It never quotes what was sent.
        invocation_id: The id that the frame named, if that much could be read.
    """

    def __init__(self, code: str, message: str, invocation_id: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.invocation_id = invocation_id
