"""A full server: how many invocations run, who waits, who is refused, and that nobody in flight is harmed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import (
    AgentHostBuilder,
    AgentHostOptions,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
    map_invocations_server,
)
from agentserver._http.concurrency_limit import ConcurrencyLimiter
from agentserver.errors import ConfigurationError
from tests.servers import serving


class Gate(InvocationHandler):
    """Holds every invocation until the gate opens."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.running = 0
        self.peak = 0
        self.changed = asyncio.Condition()

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        await self._count(1)
        try:
            await self.open.wait()
            return "through"
        finally:
            await self._count(-1)

    async def _count(self, step: int) -> None:
        async with self.changed:
            self.running += step
            self.peak = max(self.peak, self.running)
            self.changed.notify_all()

    async def until_running(self, number: int) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self.running == number)


def limits(**options: Any) -> Callable[[AgentHostBuilder], object]:
    return lambda builder: builder.configure(**options)


def invoke(
    client: aiohttp.ClientSession, session: str = ""
) -> asyncio.Task[tuple[int, Any, str | None, str | None]]:
    async def send() -> tuple[int, Any, str | None, str | None]:
        query = {"agent_session_id": session} if session else None
        async with client.post("/invocations", params=query) as response:
            body = await (response.text() if response.status == 200 else response.json())
            headers = response.headers
            return response.status, body, headers.get("Retry-After"), headers.get("x-platform-error-source")

    return asyncio.create_task(send())


async def test_beyond_the_total_limit_it_is_503_with_retry_after_and_the_rest_is_unharmed() -> None:
    gate = Gate()
    async with serving(gate, limits(max_invocations=2, retry_after=7)) as client:
        running = [invoke(client), invoke(client)]
        await gate.until_running(2)
        status, body, retry_after, source = await invoke(client)
        assert (status, body["error"]["code"], retry_after, source) == (503, "unavailable", "7", "upstream")
        gate.open.set()
        assert [(await request)[0] for request in running] == [200, 200]
        assert (await invoke(client))[0] == 200
    assert gate.peak == 2


async def test_beyond_a_sessions_limit_it_is_429_and_another_session_is_served() -> None:
    gate = Gate()
    async with serving(gate, limits(max_session_invocations=1)) as client:
        first = invoke(client, "a")
        await gate.until_running(1)
        status, body, retry_after, source = await invoke(client, "a")
        assert (status, body["error"]["code"], retry_after, source) == (429, "too_many_requests", "1", "user")
        other = invoke(client, "b")
        await gate.until_running(2)
        gate.open.set()
        assert [(await first)[0], (await other)[0]] == [200, 200]


async def test_those_who_wait_are_served_in_order_and_the_queue_is_bounded() -> None:
    gate = Gate()
    async with serving(gate, limits(max_invocations=1, max_waiting=2)) as client:
        held = [invoke(client)]
        await gate.until_running(1)
        held += [invoke(client), invoke(client)]
        refused = await invoke_until_refused(client)
        assert refused == 503
        gate.open.set()
        assert [(await request)[0] for request in held] == [200, 200, 200]
    assert gate.peak == 1


async def invoke_until_refused(client: aiohttp.ClientSession) -> int:
    # Whoever comes before the two above have reached the queue waits himself: give up and ask again.
    while True:
        try:
            return (await asyncio.wait_for(invoke(client), 0.3))[0]
        except asyncio.TimeoutError:
            continue


async def test_a_wait_that_takes_too_long_is_refused() -> None:
    gate = Gate()
    async with serving(gate, limits(max_invocations=1, max_waiting=1, wait_timeout=0.05)) as client:
        first = invoke(client)
        await gate.until_running(1)
        assert (await invoke(client))[0] == 503
        gate.open.set()
        assert (await first)[0] == 200


async def test_a_client_that_leaves_gives_its_place_back() -> None:
    gate = Gate()
    async with serving(gate, limits(max_invocations=1)) as client:
        leaving = invoke(client)
        await gate.until_running(1)
        leaving.cancel()
        await gate.until_running(0)
        gate.open.set()
        assert (await invoke(client))[0] == 200


async def test_an_open_websocket_holds_a_place() -> None:
    class Socket(InvocationWebSocketHandler):
        async def handle_websocket(
            self, websocket: web.WebSocketResponse, context: InvocationContext
        ) -> None:
            await websocket.receive()

    async with serving(Socket, limits(max_invocations=1)) as client:
        async with client.ws_connect("/invocations_ws"):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await client.ws_connect("/invocations_ws")
            assert refused.value.status == 503
            assert refused.value.headers is not None
            assert refused.value.headers["Retry-After"] == "1"
        await asyncio.wait_for(until_accepted(client), 10)


async def until_accepted(client: aiohttp.ClientSession) -> None:
    while True:
        try:
            async with client.ws_connect("/invocations_ws"):
                return
        except aiohttp.WSServerHandshakeError:
            await asyncio.sleep(0.01)


async def test_readiness_shows_saturation_only_when_asked_to() -> None:
    for shows, expected in ((True, 503), (False, 200)):
        gate = Gate()
        configure = limits(max_invocations=1, readiness_shows_saturation=shows)
        async with serving(gate, configure) as client:
            request = invoke(client)
            await gate.until_running(1)
            async with client.get("/readiness") as response:
                body = await response.json()
                assert (response.status, body["status"] == "saturated") == (expected, shows)
            gate.open.set()
            await request
            async with client.get("/readiness") as response:
                assert response.status == 200


async def test_the_limits_hold_in_an_application_of_ones_own() -> None:
    gate = Gate()
    app = web.Application()
    map_invocations_server(app, gate, options=AgentHostOptions(max_invocations=1))
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        first = invoke(client)
        await gate.until_running(1)
        assert (await invoke(client))[0] == 503
        gate.open.set()
        assert (await first)[0] == 200
    await runner.cleanup()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_invocations": 0}, "max_invocations is 0, but it must be a whole number"),
        ({"max_session_invocations": -1}, "max_session_invocations is -1"),
        ({"max_waiting": -1}, "max_waiting is -1"),
        ({"wait_timeout": float("inf")}, "wait_timeout is inf"),
    ],
)
def test_a_limit_out_of_its_range_is_refused_when_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        AgentHostOptions(**options)


async def hold(
    limiter: ConcurrencyLimiter, session: str, entered: asyncio.Event, leave: asyncio.Event
) -> None:
    async with limiter.slot(session):
        entered.set()
        await leave.wait()


async def test_who_waits_for_a_session_does_not_hold_up_another_session() -> None:
    limiter = ConcurrencyLimiter(
        AgentHostOptions(max_invocations=2, max_session_invocations=1, max_waiting=5)
    )
    leave, events = asyncio.Event(), [asyncio.Event() for _ in range(4)]
    leave_b = asyncio.Event()
    tasks = [
        asyncio.create_task(hold(limiter, "a", events[0], leave)),
        asyncio.create_task(hold(limiter, "b", events[1], leave_b)),
        asyncio.create_task(hold(limiter, "a", events[2], leave)),
        asyncio.create_task(hold(limiter, "c", events[3], leave)),
    ]
    await asyncio.gather(events[0].wait(), events[1].wait())
    leave_b.set()
    await events[3].wait()
    assert not events[2].is_set()
    leave.set()
    await asyncio.gather(*tasks)
    assert events[2].is_set()


async def test_a_place_granted_to_a_cancelled_waiter_goes_to_the_next() -> None:
    limiter = ConcurrencyLimiter(AgentHostOptions(max_invocations=1, max_waiting=2))
    events = [asyncio.Event() for _ in range(2)]
    async with limiter.slot("s"):
        second, third = [asyncio.create_task(hold(limiter, "s", event, asyncio.Event())) for event in events]
        await asyncio.sleep(0)
        assert limiter.is_saturated
    second.cancel()  # its place was granted a moment ago, and it has not run since
    await events[1].wait()
    assert not events[0].is_set()
    third.cancel()
    await asyncio.wait([second, third])
    async with limiter.slot("s"):
        pass
