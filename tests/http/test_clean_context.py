"""Every request begins in the server's own context: what one caller's handler sets, no other sees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any

import pytest
from aiohttp import web

from agentserver import (
    AgentHostBuilder,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
    ServerSentEvent,
)
from agentserver._http.deadlines import Action, ClientDeadlines, Progress, Waiting
from agentserver._http.sse_keepalive import SseKeepAlive
from agentserver._telemetry.correlation import current_request
from agentserver.testing import in_process
from tests.http.loops import on_both_loops, run_on
from tests.http.raw import Connection, connected, get, post
from tests.servers import serving

CALLER: ContextVar[str] = ContextVar("caller", default="nobody")
LARGE = b"x" * 2_000_000
BEGIN_WEBSOCKET = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: " + "A" * 22 + "==",
)


class Leaving(InvocationWebSocketHandler):
    """Answers whom it found in its context, and leaves the caller's own name there."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        found = CALLER.get()
        CALLER.set("before the body")
        if request.content_length and request.content_length > 1_000_000:
            await asyncio.sleep(0.1)  # meanwhile the connection is no longer read
        body = b"".join([part async for part in request.content.iter_any()])
        CALLER.set(f"{len(body)} bytes")
        if request.query.get("stream"):
            return self.words(found)
        await asyncio.sleep(0)
        return found

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        found = CALLER.get()
        CALLER.set(invocation_id)
        return found

    async def words(self, found: str) -> AsyncIterator[str]:
        yield found
        CALLER.set("in the stream")
        await asyncio.sleep(0)

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.send_str(CALLER.get())


async def bodies(connection: Connection, count: int) -> list[bytes]:
    return [(await connection.answer()).body for _ in range(count)]


def with_app(builder: AgentHostBuilder) -> None:
    assert builder.app is not None


@on_both_loops
@pytest.mark.parametrize("configure", [None, with_app], ids=["host", "app"])
def test_pipelined_requests_do_not_see_each_others_context(loop_name: str, configure: Any) -> None:
    async def main() -> None:
        async with serving(Leaving, configure) as client, connected(client) as connection:
            connection.send(
                post(b"a"), post(b"b", path="/invocations?stream=1"), get("/invocations/c"), post()
            )
            assert await bodies(connection, 4) == [b"nobody"] * 4

    run_on(loop_name, main())


@on_both_loops
def test_a_request_after_one_whose_body_was_paused_begins_clean(loop_name: str) -> None:
    async def main() -> None:
        async with serving(Leaving) as client, connected(client) as connection:
            for body in (LARGE, b"small", b""):
                connection.send(post(body))
                assert (await connection.answer()).body == b"nobody"

    run_on(loop_name, main())


@on_both_loops
def test_requests_after_a_pipeline_that_was_paused_begin_clean(loop_name: str) -> None:
    async def main() -> None:
        async with serving(Leaving) as client, connected(client) as connection:
            connection.send(*[post(b"many")] * 200)
            await connection.writer.drain()
            assert await bodies(connection, 200) == [b"nobody"] * 200
            for _ in range(2):
                connection.send(post(b"later"))
                assert (await connection.answer()).body == b"nobody"

    run_on(loop_name, main())


@on_both_loops
def test_requests_behind_an_upgrade_that_was_declined_begin_clean(loop_name: str) -> None:
    upgrade = get("/invocations/first", "Connection: Upgrade", "Upgrade: websocket")

    async def main() -> None:
        async with serving(Leaving) as client, connected(client) as connection:
            connection.send(upgrade, post(b"x" * 200_000), get("/invocations/third"))
            assert await bodies(connection, 3) == [b"nobody"] * 3
            connection.send(post())
            assert (await connection.answer()).body == b"nobody"

    run_on(loop_name, main())


@on_both_loops
def test_a_websocket_behind_a_request_begins_clean(loop_name: str) -> None:
    async def main() -> None:
        async with serving(Leaving) as client, connected(client) as connection:
            connection.send(post(LARGE), get("/invocations_ws", *BEGIN_WEBSOCKET))
            assert (await connection.answer()).body == b"nobody"
            assert (await connection.answer()).status == 101
            assert await connection.reader.readexactly(8) == b"\x81\x06nobody"

    run_on(loop_name, main())


@on_both_loops
def test_a_request_does_not_see_the_context_in_which_its_connection_was_accepted(loop_name: str) -> None:
    async def main() -> None:
        async with in_process(Leaving) as agent:
            CALLER.set("the test")
            for _ in range(2):
                async with agent.http.post(f"{agent.url}/invocations") as response:
                    assert await response.text() == "nobody"

    run_on(loop_name, main())


@on_both_loops
def test_what_a_start_up_hook_sets_every_request_sees(loop_name: str) -> None:
    def configure(builder: AgentHostBuilder) -> None:
        builder.on_startup(lambda: CALLER.set("the hook"))

    async def main() -> None:
        async with serving(Leaving, configure) as client, connected(client) as connection:
            connection.send(post(b"a"), post(b"b"))
            assert await bodies(connection, 2) == [b"the hook"] * 2

    run_on(loop_name, main())


@on_both_loops
def test_the_sweeper_and_the_keep_alive_comments_run_in_no_callers_context(
    loop_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[object] = []
    check = ClientDeadlines.check

    def watch(self: ClientDeadlines, now: float, progress: Progress) -> tuple[Action, Waiting]:
        swept.append((CALLER.get(), current_request.get()))
        return check(self, now, progress)

    monkeypatch.setattr(ClientDeadlines, "check", watch)

    ticked: list[object] = []
    tick = SseKeepAlive._tick

    def watch_tick(self: SseKeepAlive) -> None:
        ticked.append((CALLER.get(), current_request.get()))
        tick(self)

    monkeypatch.setattr(SseKeepAlive, "_tick", watch_tick)

    class Silent(InvocationHandler):
        async def handle(
            self, request: web.Request, context: InvocationContext
        ) -> AsyncIterator[ServerSentEvent]:
            CALLER.set("the caller")
            yield ServerSentEvent("first")
            await asyncio.sleep(1.2)
            yield ServerSentEvent("last")

    async def main() -> None:
        async with in_process(Silent, environment={"SSE_KEEPALIVE_INTERVAL": "1"}) as agent:
            CALLER.set("the test")
            async with agent.http.post(f"{agent.url}/invocations") as response:
                assert b": keep-alive" in await response.read()

    run_on(loop_name, main())
    assert set(swept) == set(ticked) == {("nobody", None)}
