"""Spans, their parents and attributes, as a collector receives them from a real process (contract, 7)."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest

from tests.servers import running
from tests.telemetry.conftest import AGENT, PARENT_ID, TRACE_ID, TRACEPARENT, Observed, observing

SERVER_KIND, ERROR = 2, 2


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_post_is_one_server_span_with_the_caller_as_parent(protocol: str) -> None:
    async with observing(protocol) as seen:
        await seen.invoke(
            "plain", traceparent=TRACEPARENT, tracestate="vendor=1", x_agent_invocation_id="inv-1"
        )
        span = await seen.received.span("invoke_agent weather:7")
        assert (span.trace_id, span.parent_id, span.kind) == (TRACE_ID, PARENT_ID, SERVER_KIND)
        assert (span.status, span.trace_state, span.scope) == (0, "vendor=1", "agentserver")
        session_id = span.attributes["microsoft.session.id"]
        assert span.attributes == {
            "service.name": "weather",
            "gen_ai.system": "azure.ai.agentserver",
            "gen_ai.provider.name": "AzureAI Hosted Agents",
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.response.id": "inv-1",
            "gen_ai.agent.id": "weather:7",
            "gen_ai.agent.name": "weather",
            "gen_ai.agent.version": "7",
            "microsoft.session.id": session_id,
            "microsoft.foundry.project.id": "/subscriptions/1/projects/2",
            "azure.ai.agentserver.invocations.invocation_id": "inv-1",
            "azure.ai.agentserver.invocations.session_id": session_id,
            "http.response.status_code": 200,
        }
        assert (span.resource["service.name"], span.resource["service.version"]) == ("weather", "7")


async def test_spans_of_the_handler_its_tasks_and_streams_are_children_and_enriched(
    observed: Observed,
) -> None:
    await observed.invoke("child", x_agent_invocation_id="inv-1")
    await observed.invoke("stream", x_agent_invocation_id="inv-2")
    spans = {name: await observed.received.span(name) for name in ("thinking", "in a task", "between words")}
    roots = await observed.received.until(
        lambda seen: (
            (found := {s.attributes.get("gen_ai.response.id"): s for s in seen.spans}).keys()
            >= {"inv-1", "inv-2"}
            and found
        )
    )
    assert spans["thinking"].parent_id == roots["inv-1"].span_id
    assert spans["in a task"].parent_id == spans["thinking"].span_id
    assert spans["between words"].parent_id == roots["inv-2"].span_id
    assert spans["in a task"].attributes == {
        "microsoft.foundry.project.id": "/subscriptions/1/projects/2",
        "gen_ai.agent.name": "weather",
        "gen_ai.agent.version": "7",
        "gen_ai.agent.id": "weather:7",
        "microsoft.session.id": roots["inv-1"].attributes["microsoft.session.id"],
    }


async def test_a_handler_sees_the_callers_baggage_and_the_frameworks(observed: Observed) -> None:
    _, baggage = await observed.invoke(
        "child",
        baggage="tenant=blue%20sky,azure.ai.agentserver.session_id=forged,bad value=1",
        x_agent_invocation_id="inv-1",
        x_request_id="r-1",
    )
    session_id = baggage.pop("azure.ai.agentserver.session_id")
    assert session_id != "forged"
    assert baggage == {
        "tenant": "blue sky",
        "azure.ai.agentserver.invocation_id": "inv-1",
        "x-request-id": "r-1",
    }


async def test_get_and_cancel_have_spans_of_their_own(observed: Observed) -> None:
    async with observed.client.get("/invocations/inv-1") as response:
        assert await response.text() == "got"
    async with observed.client.post("/invocations/inv-1/cancel") as response:
        assert await response.text() == "cancelled"
    for name in ("get_invocation", "cancel_invocation"):
        span = await observed.received.span(f"{name} weather:7")
        assert span.attributes["gen_ai.response.id"] == "inv-1"


async def test_the_request_id_of_the_answer_is_the_trace_id_of_the_span(observed: Observed) -> None:
    async with observed.client.post(
        "/invocations", data="plain", headers={"x-request-id": "mine"}
    ) as response:
        trace_id = response.headers["x-request-id"]
    assert (await observed.received.span("invoke_agent weather:7")).trace_id == trace_id


async def test_a_handler_that_raises_marks_its_span_with_the_exception(observed: Observed) -> None:
    status, _ = await observed.invoke("fail")
    assert status == 500
    span = await observed.received.span("invoke_agent weather:7")
    namespace = "azure.ai.agentserver.invocations.error"
    assert (span.status, span.attributes["error.type"]) == (ERROR, "ValueError")
    assert span.attributes[f"{namespace}.code"] == "internal_error"
    assert span.attributes[f"{namespace}.message"] == "Internal server error"
    ((event, details),) = span.events
    assert (event, details["exception.message"]) == ("exception", "the model said no")


async def test_a_client_error_is_an_error_on_the_span_too(observed: Observed) -> None:
    await observed.invoke("refuse")
    span = await observed.received.span("invoke_agent weather:7")
    assert (span.status, span.attributes["http.response.status_code"]) == (ERROR, 400)
    ((event, details),) = span.events
    assert (event, details["exception.message"]) == ("exception", "invalid_request: ask better")
    assert span.attributes["azure.ai.agentserver.invocations.error.message"] == "ask better"


async def test_a_stream_that_breaks_marks_its_span(observed: Observed) -> None:
    with pytest.raises(aiohttp.ClientPayloadError):
        await observed.invoke("cut")
    span = await observed.received.span("invoke_agent weather:7")
    assert (span.status, span.attributes["error.type"]) == (ERROR, "RuntimeError")


async def test_readiness_and_unknown_paths_make_no_spans(observed: Observed) -> None:
    for path in ("/readiness", "/nothing"):
        async with observed.client.get(path):
            pass
    await observed.invoke("plain")
    await observed.stop()
    assert [span.name for span in observed.received.spans] == ["invoke_agent weather:7"]


async def test_a_websocket_is_one_span_with_its_close_code_and_the_handlers_spans_as_children() -> None:
    async with observing(AGENT="websocket") as seen:
        async with seen.client.ws_connect(
            "/invocations_ws", headers={"traceparent": TRACEPARENT}
        ) as websocket:
            await websocket.send_str("hello")
            assert await websocket.receive_str() == "hello"
        span = await seen.received.span("websocket_session")
        child = await seen.received.span("talking")
        namespace = "azure.ai.agentserver.invocations_ws"
        assert (span.trace_id, span.parent_id, child.parent_id) == (TRACE_ID, PARENT_ID, span.span_id)
        assert span.attributes[f"{namespace}.close_code"] == 1000
        assert span.attributes[f"{namespace}.duration_ms"] > 0
        assert span.attributes[f"{namespace}.session_id"] == span.attributes["microsoft.session.id"]
        assert span.attributes["gen_ai.agent.id"] == "weather:7"
        await seen.stop()
        points = seen.received.metric("agentserver.websocket.io")
        totals = {point.attributes["network.io.direction"]: point.value for point in points}
        assert totals == {"receive": 5, "transmit": 5}
        (session,) = {
            p.attributes["agentserver.websocket.close_code"]: p.count
            for p in seen.received.metric("agentserver.websocket.session.duration")
        }.items()
        assert session == (1000, 1)


async def test_a_websocket_handler_that_raises_marks_its_span() -> None:
    async with observing(AGENT="websocket") as seen:
        async with seen.client.ws_connect("/invocations_ws") as websocket:
            await websocket.send_str("raise")
            await websocket.receive()
            assert websocket.close_code == 1011
        span = await seen.received.span("websocket_session")
        namespace = "azure.ai.agentserver.invocations_ws"
        assert (span.status, span.attributes["error.type"]) == (ERROR, "ValueError")
        assert span.attributes[f"{namespace}.error.code"] == "internal_error"
        assert span.attributes[f"{namespace}.close_code"] == 1011


async def test_each_action_is_a_child_span_of_its_connection() -> None:
    async with observing(AGENT="actions") as seen:
        async with seen.client.ws_connect("/invocations_ws") as websocket:
            await websocket.send_json({"action": "invoke", "invocation_id": "inv-1", "payload": {}})
            while (await websocket.receive_json())["type"] != "stream_end":
                pass
            await websocket.send_json({"action": "invoke", "invocation_id": "inv-2", "payload": {"fail": 1}})
            while (await websocket.receive_json())["type"] != "error":
                pass
        session = await seen.received.span("websocket_session")
        spans = await seen.received.until(
            lambda got: (
                len(found := {s.attributes.get("gen_ai.response.id"): s for s in got.spans}) >= 4 and found
            )
        )
        acting = await seen.received.span("acting")
        good, bad = spans["inv-1"], spans["inv-2"]
        assert good.name == bad.name == "invoke_agent weather:7"
        assert good.parent_id == bad.parent_id == session.span_id
        assert acting.parent_id in {good.span_id, bad.span_id}
        namespace = "azure.ai.agentserver.invocations_ws"
        assert good.attributes[f"{namespace}.invocation_id"] == "inv-1"
        assert (good.status, bad.status) == (0, ERROR)
        assert bad.attributes[f"{namespace}.error.code"] == "internal_error"
        record = await seen.received.until(lambda got: [r for r in got.records if r.body == "acting"])
        assert record[0].attributes["invocation_id"] == "inv-1"


async def test_without_framework_spans_the_handlers_spans_hang_on_the_caller() -> None:
    async with observing(AGENT="without framework spans") as seen:
        _, baggage = await seen.invoke("child", traceparent=TRACEPARENT, x_agent_invocation_id="inv-1")
        assert baggage["azure.ai.agentserver.invocation_id"] == "inv-1"
        span = await seen.received.span("thinking")
        assert (span.trace_id, span.parent_id) == (TRACE_ID, PARENT_ID)
        assert span.attributes["gen_ai.agent.name"] == "weather"
        await seen.stop()
        assert not [s for s in seen.received.spans if s.scope == "agentserver"]


async def test_the_sampler_of_the_environment_decides() -> None:
    async with observing(OTEL_TRACES_SAMPLER="always_off") as seen:
        status, _ = await seen.invoke("child")
        assert status == 200
        await seen.stop()
        assert not seen.received.spans
        assert seen.received.metric("http.server.request.duration")


async def test_a_provider_that_the_user_has_set_is_used_and_not_replaced() -> None:
    async with observing(AGENT="own provider") as seen:
        await seen.invoke("child", traceparent=TRACEPARENT)
        await seen.stop()
        assert not seen.received.spans
        assert seen.received.metric("http.server.request.duration")
    assert f'"parent_id": "0x{PARENT_ID}"' in "".join(seen.server.output)


async def test_a_users_provider_without_export_gets_children_of_the_caller() -> None:
    environment = {"AGENT": "own provider", "FOUNDRY_AGENT_NAME": "weather"}
    async with running(*AGENT, environment=environment) as server:
        async with aiohttp.ClientSession(server.url, headers={"traceparent": TRACEPARENT}) as client:
            async with client.post("/invocations", data="child") as response:
                assert response.status == 200
        server.terminate()
        assert await server.exit_code() == 0
    spans = {span["name"]: span for span in map(json.loads, server.output)}
    assert spans["invoke_agent weather"]["context"]["trace_id"] == f"0x{TRACE_ID}"
    assert spans["invoke_agent weather"]["parent_id"] == f"0x{PARENT_ID}"
    assert spans["thinking"]["parent_id"] == spans["invoke_agent weather"]["context"]["span_id"]
    assert spans["thinking"]["attributes"]["gen_ai.agent.name"] == "weather"


async def test_a_span_processor_that_raises_hurts_no_request_and_no_other_processor() -> None:
    async with observing(AGENT="broken processor") as seen:
        status, _ = await seen.invoke("child")
        assert status == 200
        await seen.received.span("invoke_agent weather:7")
        await seen.stop()
    assert "the span processor Breaking failed" in "".join(seen.server.log)


SELF_HOSTED = """
import os

from aiohttp import web

from agentserver import InvocationContext, InvocationHandler, map_invocations_server


class Plain(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> str:
        return await request.text()


app = web.Application()
map_invocations_server(app, Plain)
web.run_app(app, host="127.0.0.1", port=int(os.environ["PORT"]))
"""


async def test_requests_of_one_connection_of_somebody_s_application_are_traces_of_their_own(
    tmp_path: Path,
) -> None:
    program = tmp_path / "app.py"
    program.write_text(SELF_HOSTED)
    async with observing(program=program) as seen:
        for body in ("first", "second"):
            assert await seen.invoke(body) == (200, body)
        await seen.stop()
        first, second = seen.received.spans
        assert not first.parent_id
        assert not second.parent_id
        assert first.trace_id != second.trace_id


async def test_a_websocket_handler_that_would_end_the_process_leaves_its_span() -> None:
    async with observing(AGENT="websocket") as seen:
        async with seen.client.ws_connect("/invocations_ws") as websocket:
            await websocket.send_str("leave")
            await websocket.receive()
        span = await seen.received.span("websocket_session")
        assert (span.status, span.attributes["error.type"]) == (ERROR, "SystemExit")


async def test_an_action_that_would_end_the_process_leaves_its_span_and_its_connections() -> None:
    async with observing(AGENT="actions") as seen:
        async with seen.client.ws_connect("/invocations_ws") as websocket:
            await websocket.send_json({"action": "invoke", "invocation_id": "i", "payload": {"leave": 1}})
            while (message := await websocket.receive()).type is aiohttp.WSMsgType.TEXT:
                if message.json()["type"] in {"error", "stream_end"}:
                    break
        await seen.received.span("websocket_session")
        (action,) = [s for s in seen.received.spans if s.attributes.get("gen_ai.response.id") == "i"]
        assert (action.status, action.attributes["error.type"]) == (ERROR, "SystemExit")
