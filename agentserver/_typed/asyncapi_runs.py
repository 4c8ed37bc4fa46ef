"""The AsyncAPI 3.0 document of a durable handler of actions: its frames, as section 11 says them."""

from __future__ import annotations

from typing import Any

from agentserver._typed.asyncapi_actions import frame, ping_and_pong, written
from agentserver._typed.contract import Contract
from agentserver._typed.run_schemas import ID, STATUSES, begun, record, runs, snapshot, standing
from agentserver._typed.schemas import schemas_for


def asyncapi_of_runs(contract: Contract, title: str, description: str, version: str) -> dict[str, Any]:
    """Write the document; *contract* is of ``run``, the rest is as for `asyncapi`."""
    codecs = [codec for codec in (contract.request, contract.reply) if codec is not None]
    schemas = schemas_for(codecs)
    payload = {"type": "object"} if contract.request is None else schemas.whole[0]
    output: dict[str, Any] = {} if contract.reply is None else schemas.whole[-1]
    return written(contract, (title, description, version), schemas, _taken(payload), _given(output))


def _taken(payload: Any) -> dict[str, Any]:
    cursor = {"type": "integer", "minimum": 0, "description": "Asks for the events above it."}
    limit = {"type": "integer", "minimum": 1, "maximum": 500}
    which = {"status": {"enum": list(STATUSES)}, "session_id": ID, "limit": limit, "before": ID}
    offered = {"description": "An id of the client's own; one that is absent or no id is made up."}
    ids = {"invocation_id": offered, "session_id": offered}
    of_one = {"invocation_id": ID}
    question = {"invocation_id": {**ID, "description": "Of no run: the answer carries it."}}
    return {
        "Invoke": frame("action", "invoke", {"payload": payload, **ids, "idempotency_key": ID}, ["payload"]),
        "GetInvocation": frame("action", "get_invocation", {**of_one, "last_event_id": cursor}, [*of_one]),
        "CancelInvocation": frame("action", "cancel_invocation", of_one, [*of_one]),
        "SignalInvocation": frame(
            "action", "signal_invocation", {**of_one, "name": ID, "payload": {}}, [*of_one, "name"]
        ),
        "ListInvocations": frame("action", "list_invocations", {**question, **which}, [*question]),
        **ping_and_pong("action", "Client"),
    }


def _given(output: dict[str, Any]) -> dict[str, Any]:
    ids = {"invocation_id": ID, "session_id": ID}
    event = {"id": {"type": "integer", "minimum": 1}, "event": {"type": "string"}, "data": {}}
    asked = {"anyOf": [begun(), snapshot(output)]}
    states = standing("cancelling", "queued", "in_progress", "completed", "failed", "cancelled", "accepted")
    answer = {"invocation_id": ID, "payload": {"anyOf": [snapshot(output), states, runs()]}}
    return {
        "Result": frame("type", "result", {**ids, "payload": asked}, [*ids, "payload"]),
        "StreamChunk": frame(
            "type", "stream_chunk", {**ids, "payload": record(event, "event")}, [*ids, "payload"]
        ),
        "StreamEnd": frame("type", "stream_end", ids, list(ids)),
        "QueryResult": {**frame("type", "result", answer, list(answer)), "not": {"required": ["session_id"]}},
        **ping_and_pong("type"),
    }
