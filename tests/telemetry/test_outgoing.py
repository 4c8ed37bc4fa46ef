"""The calls that a handler makes through `client_session`."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler, client_session
from tests.servers import running, serving
from tests.telemetry.conftest import AGENT, TRACE_ID, TRACEPARENT, observing

INCOMING = {
    "traceparent": TRACEPARENT,
    "tracestate": "vendor=1",
    "baggage": "tenant=blue%20sky",
    "x-agent-invocation-id": "inv-1",
    "x-agent-foundry-call-id": "call-1",
    "x-agent-user-id": "u-1",
}


@asynccontextmanager
async def mirror() -> AsyncGenerator[str, None]:
    """A service that answers with the headers it was sent."""

    async def answer(request: web.Request) -> web.Response:
        return web.json_response({name.lower(): value for name, value in request.headers.items()})

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_without_export_a_call_carries_the_callers_trace_and_baggage() -> None:
    async with mirror() as url, running(*AGENT) as server, aiohttp.ClientSession(server.url) as client:
        async with client.post("/invocations", data=f"call {url}/", headers=INCOMING) as response:
            sent = await response.json()
    assert (sent["traceparent"], sent["tracestate"]) == (TRACEPARENT, "vendor=1")
    entries = dict(entry.split("=") for entry in sent["baggage"].split(","))
    assert (entries["tenant"], entries["azure.ai.agentserver.invocation_id"]) == ("blue%20sky", "inv-1")
    assert not {"x-agent-user-id", "x-agent-foundry-call-id"} & sent.keys()


async def test_with_export_a_call_is_a_child_of_the_span() -> None:
    async with mirror() as url, observing() as seen:
        async with seen.client.post("/invocations", data=f"call {url}/", headers=INCOMING) as response:
            sent = await response.json()
        span = await seen.received.span("invoke_agent weather:7")
    assert sent["traceparent"].split("-")[1:3] == [TRACE_ID, span.span_id]
    assert "tenant=blue" in sent["baggage"]
    assert "x-agent-user-id" not in sent


async def test_the_call_id_goes_to_the_platform_alone() -> None:
    async with mirror() as platform, mirror() as stranger:
        variables = {"FOUNDRY_PROJECT_ENDPOINT": f"{platform}/api/projects/p"}
        async with (
            running(*AGENT, environment=variables) as server,
            aiohttp.ClientSession(server.url) as client,
        ):
            sent: dict[str, dict[str, str]] = {}
            for url in (platform, stranger):
                async with client.post("/invocations", data=f"call {url}/", headers=INCOMING) as response:
                    sent[url] = await response.json()
    assert sent[platform]["x-agent-foundry-call-id"] == "call-1"
    assert "x-agent-foundry-call-id" not in sent[stranger]
    assert not [headers for headers in sent.values() if "x-agent-user-id" in headers]


async def test_a_header_that_the_handler_sets_itself_stays() -> None:
    async with mirror() as url, client_session() as session:
        async with session.get(url, headers={"traceparent": TRACEPARENT, "baggage": "a=b"}) as response:
            sent = await response.json()
    assert (sent["traceparent"], sent["baggage"]) == (TRACEPARENT, "a=b")


async def test_a_handler_can_ask_for_the_session_as_a_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOUNDRY_PROJECT_ENDPOINT", raising=False)
    sessions: list[aiohttp.ClientSession] = []

    class Calling(InvocationHandler):
        def __init__(self, session: aiohttp.ClientSession) -> None:
            self.session = session

        async def handle(self, request: web.Request, context: InvocationContext) -> object:
            sessions.append(self.session)
            async with self.session.get(await request.text()) as response:
                return await response.json()

    def configure(builder: AgentHostBuilder) -> None:
        builder.services.add_singleton(aiohttp.ClientSession, client_session)

    async with mirror() as url, serving(Calling, configure) as client:
        async with client.post("/invocations", data=url, headers=INCOMING) as response:
            assert TRACE_ID in (await response.json())["traceparent"]
    assert sessions[0].closed
