"""Frames to text and back: strict about types, silent about unknown members (contract, section 6)."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from agentserver.actions.frames import (
    CancelInvocation,
    ClientFrame,
    Encoded,
    ErrorFrame,
    FrameError,
    GetInvocation,
    Invoke,
    ListInvocations,
    Ping,
    Pong,
    Query,
    Result,
    ServerFrame,
    SignalInvocation,
    StreamChunk,
    StreamEnd,
)
from agentserver.wire import ID_PATTERN, ErrorCode

__all__ = ["chunk_encoder", "decode_action", "decode_message", "encode_action", "encode_message", "is_id"]

_Object = Mapping[str, Any]

_MOST_EVENTS = 10**15
_OF_A_LIST = ("status", "session_id", "limit", "before")
_AN_ID = "1 to 256 letters, digits or any of . _ : -"

_is_id = re.compile(ID_PATTERN).fullmatch


def is_id(value: object) -> bool:
    """Whether *value* can be used as an invocation or session id (contract, section 2)."""
    return isinstance(value, str) and _is_id(value) is not None


def decode_action(text: str, *, durable: bool = False) -> ClientFrame:
    """Read a frame of a client.

    Args:
        text: The text of one WebSocket message.
        durable: Whether it may be what durable runs alone understand (contract, section 11).

    Raises:
        FrameError: If *text* is no client frame. Its code and message are what the client should be told.
    """
    message = _object(text)
    action = message.get("action")
    actions = _DURABLE_ACTIONS if durable else _ACTIONS
    read = actions.get(action) if isinstance(action, str) else None
    if read is None:
        expected = ", ".join(actions)
        raise FrameError(ErrorCode.INVALID_ACTION.value, f"action must be one of {expected}", _id_of(message))
    return read(message)


def decode_message(text: str) -> ServerFrame:
    """Read a frame of a server.

    Args:
        text: The text of one WebSocket message.

    Raises:
        FrameError: If *text* is no server frame.
    """
    message = _object(text)
    kind = message.get("type")
    read = _MESSAGES.get(kind) if isinstance(kind, str) else None
    if read is None:
        raise FrameError(ErrorCode.INVALID_MESSAGE.value, f"type must be one of {', '.join(_MESSAGES)}")
    return read(message)


def encode_action(frame: ClientFrame) -> bytes:
    """Write a frame of a client, as UTF-8.

    Raises:
        TypeError, ValueError, RecursionError: If the payload is no JSON.
    """
    body: dict[str, Any] = {"action": _ACTION_NAMES[type(frame)]}
    if not isinstance(frame, (Ping, Pong)):
        _put_ids(body, frame)
    if isinstance(frame, Invoke):
        if frame.idempotency_key is not None:
            body["idempotency_key"] = frame.idempotency_key
        body["payload"] = frame.payload
    elif isinstance(frame, GetInvocation) and frame.last_event_id is not None:
        body["last_event_id"] = frame.last_event_id
    elif isinstance(frame, SignalInvocation):
        body |= {"name": frame.name, "payload": frame.payload}
    elif isinstance(frame, ListInvocations):
        body |= frame.which
    return _utf8(body)


def encode_message(frame: ServerFrame) -> bytes:
    """Write a frame of a server, as UTF-8.

    Raises:
        TypeError, ValueError, RecursionError: If the payload is no JSON.
    """
    body: dict[str, Any] = {"type": _MESSAGE_NAMES[type(frame)]}
    if not isinstance(frame, (Ping, Pong)):
        _put_ids(body, frame)
    if isinstance(frame, (StreamChunk, Result)):
        if isinstance(frame.payload, Encoded):
            return _head(body) + frame.payload.json + b"}"
        body["payload"] = frame.payload
    elif isinstance(frame, ErrorFrame):
        body["error"] = {"code": frame.code, "message": frame.message, **frame.details}
    return _utf8(body)


def chunk_encoder(invocation_id: str, session_id: str) -> Callable[[Any], bytes]:
    """Make the function that writes the chunks of one stream from their payloads.

    It writes what :func:`encode_message` writes, at less than half of its price: a stream has many chunks,
    and all but their payload is the same. It raises the same errors.
    """
    empty = encode_message(StreamChunk(invocation_id, session_id, payload=None)).decode()
    head = empty.removesuffix("null}")

    def encode(payload: Any) -> bytes:
        if type(payload) is Encoded:
            return b"%b%b}" % (head.encode(), payload.json)
        text = _encode(payload)
        try:
            return f"{head}{text}}}".encode()
        except UnicodeEncodeError:
            return encode_message(StreamChunk(invocation_id, session_id, payload))

    return encode


def _head(body: dict[str, Any]) -> bytes:
    """The frame *body* as far as its payload, which comes last."""
    return _utf8({**body, "payload": None}).removesuffix(b"null}")


# --- Reading


def _object(text: str) -> _Object:
    try:
        value = _decode(text)
    except RecursionError:
        raise FrameError(ErrorCode.INVALID_JSON.value, "The JSON is nested too deeply") from None
    except json.JSONDecodeError:
        raise FrameError(ErrorCode.INVALID_JSON.value, "The message is not valid JSON") from None
    except ValueError as error:
        # What is left is ours (a repeated name, a number) or the interpreter's limit on an integer's digits.
        reason = (
            str(error) if isinstance(error, _RefusedJsonError) else "The JSON has a number that is too long"
        )
        raise FrameError(ErrorCode.INVALID_JSON.value, reason) from None
    if not isinstance(value, dict):
        raise FrameError(ErrorCode.INVALID_MESSAGE.value, "The message must be a JSON object")
    return cast("_Object", value)


class _RefusedJsonError(ValueError):
    """JSON that the grammar allows and two readers would understand differently."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _RefusedJsonError("The JSON has an object that repeats a name")
    return members


def _finite(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise _RefusedJsonError("The JSON has a number that is too large")
    return number


def _no_constant(_name: str) -> None:
    raise _RefusedJsonError("NaN and Infinity are not valid JSON")


_decode = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_constant).decode


def _id_of(message: _Object, name: str = "invocation_id") -> str | None:
    value = message.get(name)
    return value if isinstance(value, str) and is_id(value) else None


def _required_id(message: _Object, name: str = "invocation_id") -> str:
    value = _id_of(message, name)
    if value is None:
        raise FrameError(ErrorCode.INVALID_REQUEST.value, f"{name} is required", _id_of(message))
    return value


def _payload(message: _Object) -> Any:
    if "payload" not in message:
        raise FrameError(ErrorCode.INVALID_REQUEST.value, "payload is required", _id_of(message))
    return message["payload"]


def _invoke(message: _Object) -> Invoke:
    payload = _payload(message)
    if not isinstance(payload, dict):
        raise FrameError(ErrorCode.INVALID_REQUEST.value, "payload must be an object", _id_of(message))
    return Invoke(cast("_Object", payload), _id_of(message), _id_of(message, "session_id"))


def _get(message: _Object) -> GetInvocation:
    return GetInvocation(_required_id(message))


def _start(message: _Object) -> Invoke:
    frame, key = _invoke(message), message.get("idempotency_key")
    if key is not None and not is_id(key):
        words = f"idempotency_key must be {_AN_ID}"
        raise FrameError(ErrorCode.INVALID_REQUEST.value, words, frame.invocation_id)
    return Invoke(frame.payload, frame.invocation_id, frame.session_id, key)


def _get_or_read(message: _Object) -> GetInvocation:
    invocation_id, last = _required_id(message), message.get("last_event_id")
    if last is not None and not (type(last) is int and 0 <= last < _MOST_EVENTS):
        raise FrameError(
            ErrorCode.INVALID_REQUEST.value, "last_event_id must be the number of an event", invocation_id
        )
    return GetInvocation(invocation_id, last)


def _signal(message: _Object) -> SignalInvocation:
    invocation_id, name = _required_id(message), _id_of(message, "name")
    if name is None:
        raise FrameError(ErrorCode.INVALID_REQUEST.value, f"name must be {_AN_ID}", invocation_id)
    return SignalInvocation(invocation_id, name, message.get("payload"))


def _list(message: _Object) -> ListInvocations:
    which = {name: message[name] for name in _OF_A_LIST if message.get(name) is not None}
    return ListInvocations(_required_id(message), which)


def _cancel(message: _Object) -> CancelInvocation:
    return CancelInvocation(_required_id(message))


def _ping(_message: _Object) -> Ping:
    return Ping()


def _pong(_message: _Object) -> Pong:
    return Pong()


def _result(message: _Object) -> Result:
    return Result(_required_id(message), _payload(message), _id_of(message, "session_id"))


def _chunk(message: _Object) -> StreamChunk:
    return StreamChunk(_required_id(message), _required_id(message, "session_id"), _payload(message))


def _end(message: _Object) -> StreamEnd:
    return StreamEnd(_required_id(message), _required_id(message, "session_id"))


def _error(message: _Object) -> ErrorFrame:
    error = message.get("error")
    members: _Object = cast("_Object", error) if isinstance(error, dict) else {}
    code, sentence = members.get("code"), members.get("message")
    if not isinstance(code, str) or not isinstance(sentence, str):
        raise FrameError(
            ErrorCode.INVALID_MESSAGE.value,
            "error must be an object with a code and a message",
            _id_of(message),
        )
    details = {name: value for name, value in members.items() if name not in {"code", "message"}}
    return ErrorFrame(code, sentence, _id_of(message), _id_of(message, "session_id"), details)


_ACTIONS: Mapping[str, Callable[[_Object], ClientFrame]] = {
    "invoke": _invoke,
    "get_invocation": _get,
    "cancel_invocation": _cancel,
    "ping": _ping,
    "pong": _pong,
}

_DURABLE_ACTIONS: Mapping[str, Callable[[_Object], ClientFrame]] = {
    **_ACTIONS,
    "invoke": _start,
    "get_invocation": _get_or_read,
    "signal_invocation": _signal,
    "list_invocations": _list,
}

_MESSAGES: Mapping[str, Callable[[_Object], ServerFrame]] = {
    "result": _result,
    "stream_chunk": _chunk,
    "stream_end": _end,
    "error": _error,
    "ping": _ping,
    "pong": _pong,
}

# --- Writing

_ACTION_NAMES: Mapping[type[ClientFrame], str] = {
    Invoke: "invoke",
    GetInvocation: "get_invocation",
    CancelInvocation: "cancel_invocation",
    SignalInvocation: "signal_invocation",
    ListInvocations: "list_invocations",
    Ping: "ping",
    Pong: "pong",
}

_MESSAGE_NAMES: Mapping[type[ServerFrame], str] = {
    Result: "result",
    StreamChunk: "stream_chunk",
    StreamEnd: "stream_end",
    ErrorFrame: "error",
    Ping: "ping",
    Pong: "pong",
}


def _put_ids(
    body: dict[str, Any],
    frame: Invoke | Query | Result | StreamChunk | StreamEnd | ErrorFrame,
) -> None:
    if frame.invocation_id is not None:
        body["invocation_id"] = frame.invocation_id
    if not isinstance(frame, Query) and frame.session_id is not None:
        body["session_id"] = frame.session_id


def _dataclass(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(
        f"a payload is made of JSON values and dataclasses, and {type(value).__name__} is neither"
    )


def _encoder(*, ascii_only: bool) -> Callable[[Any], str]:
    return json.JSONEncoder(
        ensure_ascii=ascii_only, allow_nan=False, separators=(",", ":"), default=_dataclass
    ).encode


_encode = _encoder(ascii_only=False)
_encode_ascii = _encoder(ascii_only=True)


def _utf8(body: dict[str, Any]) -> bytes:
    try:
        return _encode(body).encode()
    except UnicodeEncodeError:
        # A lone surrogate is legal in JSON's escapes and in a Python string, but not in UTF-8.
        return _encode_ascii(body).encode()
