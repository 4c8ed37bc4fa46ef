"""The AsyncAPI 3.0 document of a handler whose actions have types: its frames, as section 6 says them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from agentserver._typed.asyncapi import Channel, draft_7, exchange, info, messages_of
from agentserver._typed.contract import Contract
from agentserver._typed.schemas import Schemas, schemas_for
from agentserver.wire import ACTIONS_ROUTE, ID_PATTERN, WEBSOCKET_ROUTE

_CHANNELS: Final = (Channel("invocations_ws", WEBSOCKET_ROUTE), Channel("actions", ACTIONS_ROUTE))
_ID: Final = {"type": "string", "pattern": f"^{ID_PATTERN}$"}
_OFFERED: Final = {"description": "An id of the client's own; one that is absent or no id is made up."}
_ERROR: Final = {
    "type": "object",
    "required": ["code", "message"],
    "properties": {
        "code": {"type": "string", "description": "A word for programs."},
        "message": {"type": "string", "description": "A sentence for people."},
        "target": {"type": "string", "description": "The JSON path of what is wrong in a payload."},
        "example": {"description": "A payload that is valid."},
    },
}


def asyncapi_of_actions(contract: Contract, title: str, description: str, version: str) -> dict[str, Any]:
    """Write the document; the arguments are as for `asyncapi`."""
    codecs = [codec for codec in (contract.request, contract.reply) if codec is not None]
    schemas = schemas_for(codecs)
    payload = {"type": "object"} if contract.request is None else schemas.whole[0]
    answer: dict[str, Any] = {} if contract.reply is None else schemas.whole[-1]
    given = _given(answer, streams=contract.streams)
    return written(contract, (title, description, version), schemas, _taken(payload), given)


def written(
    contract: Contract,
    about: tuple[str, str, str],
    schemas: Schemas,
    taken: dict[str, Any],
    given: dict[str, Any],
) -> dict[str, Any]:
    """The document of the frames that are *taken* and *given*, and of errors.

    Args:
        contract: Of which an example is shown.
        about: The title, the description and the version.
        schemas: What the frames refer to.
        taken: The client's, by name.
        given: The server's, by name.
    """
    ids = {"invocation_id": _ID, "session_id": _ID}
    given = {**given, "Error": frame("type", "error", {**ids, "error": _ERROR}, ["error"])}
    example = [{"action": "invoke", "payload": each} for each in contract.examples]
    examples = {"Invoke": example[0]} if example else {}
    return {
        "asyncapi": "3.0.0",
        "info": info(*about),
        **exchange(_CHANNELS, taken, given),
        "components": {
            "messages": messages_of({**taken, **given}, examples),
            "schemas": {name: draft_7(schema) for name, schema in schemas.components.items()},
        },
    }


def _taken(payload: Any) -> dict[str, Any]:
    offered = {"invocation_id": _OFFERED, "session_id": _OFFERED}
    return {
        "Invoke": frame("action", "invoke", {"payload": payload, **offered}, ["payload"]),
        "GetInvocation": frame("action", "get_invocation", {"invocation_id": _ID}, ["invocation_id"]),
        "CancelInvocation": frame("action", "cancel_invocation", {"invocation_id": _ID}, ["invocation_id"]),
        **ping_and_pong("action", "Client"),
    }


def _given(answer: Any, *, streams: bool) -> dict[str, Any]:
    ids = {"invocation_id": _ID, "session_id": _ID}
    answers = (
        {
            "StreamChunk": frame("type", "stream_chunk", {**ids, "payload": answer}, [*ids, "payload"]),
            "StreamEnd": frame("type", "stream_end", ids, list(ids)),
        }
        if streams
        else {"Result": frame("type", "result", {**ids, "payload": answer}, [*ids, "payload"])}
    )
    of_a_query = frame("type", "result", {"invocation_id": _ID, "payload": {}}, ["invocation_id", "payload"])
    return {
        **answers,
        "QueryResult": {**of_a_query, "not": {"required": ["session_id"]}},
        **ping_and_pong("type"),
    }


def ping_and_pong(tag: str, whose: str = "") -> dict[str, Any]:
    """Their two frames, by name."""
    return {f"{whose}{name.title()}": frame(tag, name) for name in ("ping", "pong")}


def frame(
    tag: str, name: str, members: dict[str, Any] | None = None, required: Sequence[str] = ()
) -> dict[str, Any]:
    """The schema of a frame whose *tag* says *name*."""
    return {
        "type": "object",
        "required": [tag, *required],
        "properties": {tag: {"const": name}, **(members or {})},
    }
