"""Log records: on the console with ids, exported with baggage, and without what must stay private."""

from __future__ import annotations

import json

import aiohttp
import pytest

from tests.servers import running
from tests.telemetry.conftest import AGENT, TRACE_ID, TRACEPARENT, Observed, observing

PRIVATE = {
    "authorization": "Bearer secret-token",
    "x-agent-user-id": "secret-user",
    "x-agent-foundry-call-id": "secret-call",
    "x-agent-user-isolation-key": "secret-user-key",
    "x-agent-chat-isolation-key": "secret-chat-key",
    "x-client-thing": "secret-client-header",
}


async def test_exported_records_carry_ids_trace_extra_fields_and_baggage(observed: Observed) -> None:
    await observed.invoke(
        "child", traceparent=TRACEPARENT, baggage="tenant=blue", x_agent_invocation_id="inv-1"
    )
    found = await observed.received.until(lambda seen: [r for r in seen.records if r.body == "thought hard"])
    record = found[0]
    session_id = record.attributes["session_id"]
    assert (record.severity, record.scope, record.trace_id) == ("INFO", "agent", TRACE_ID)
    assert record.attributes == {
        "invocation_id": "inv-1",
        "session_id": session_id,
        "request_id": TRACE_ID,
        "trace_id": TRACE_ID,
        "tenant": "blue",
        "azure.ai.agentserver.invocation_id": "inv-1",
        "azure.ai.agentserver.session_id": session_id,
        "steps": 3,
        "model": "none",
    }


async def test_an_exported_error_has_its_exception(observed: Observed) -> None:
    await observed.invoke("fail")
    found = await observed.received.until(lambda seen: [r for r in seen.records if r.severity == "ERROR"])
    assert found[0].attributes["exception.type"] == "ValueError"
    assert "the model said no" in found[0].attributes["exception.stacktrace"]


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_no_body_key_token_or_user_id_is_in_any_signal_or_on_the_console(log_format: str) -> None:
    async with observing(AGENTSERVER_LOG_FORMAT=log_format, AGENTSERVER_LOG_LEVEL="DEBUG") as seen:
        for body in ("child", "fail", "refuse", "stream"):
            url = f"/invocations?agent_session_id=s-1&token=secret-query&word={body}"
            async with seen.client.post(url, data=body, headers=PRIVATE) as response:
                await response.read()
        async with seen.client.post("/invocations", data="secret-prompt", headers=PRIVATE) as response:
            assert response.status == 500
        await seen.stop()
        exported = b"".join(seen.received.raw)
    assert seen.received.spans
    assert seen.received.records
    assert seen.received.points
    # The handler's own exception names the word that it looked for; that is the agent's doing.
    told = exported.replace(b"no attribute 'secret-prompt'", b"")
    assert b"secret" not in told, told[told.index(b"secret") - 100 :][:200]
    console = "".join(seen.server.log).replace("no attribute 'secret-prompt'", "")
    assert "secret" not in console


@pytest.mark.parametrize("headers", [{"traceparent": TRACEPARENT}, {}])
async def test_console_records_of_the_library_and_the_user_carry_the_ids_and_the_trace(
    headers: dict[str, str],
) -> None:
    environment = {"AGENTSERVER_LOG_FORMAT": "json"}
    async with running(*AGENT, environment=environment) as server:
        async with aiohttp.ClientSession(server.url, headers=headers) as client:
            async with client.post("/invocations", data="child") as response:
                invocation_id = response.headers["x-agent-invocation-id"]
        server.terminate()
        assert await server.exit_code() == 0
    records = [json.loads(line) for line in server.log]
    of_request = [r for r in records if r.get("invocation_id") == invocation_id]
    assert {r["logger"] for r in of_request} == {"agent", "agentserver.requests"}
    assert all(r["session_id"] for r in of_request)
    assert [r.get("trace_id") for r in of_request] == ([TRACE_ID] * 2 if headers else [None] * 2)


async def test_the_line_of_each_request_stays_on_the_console(observed: Observed) -> None:
    await observed.invoke("plain")
    await observed.stop()
    assert "POST /invocations 200" in "".join(observed.server.log)
    assert not [r for r in observed.received.records if r.scope == "agentserver.requests"]
