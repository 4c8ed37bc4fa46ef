"""A handler that blocks the event loop: it is named once in the log, and nobody's request is lost."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from types import FrameType
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import AgentHost, FoundryEnvironment, InvocationContext, InvocationWebSocketHandler
from agentserver._hosting import watchdog
from agentserver._hosting.watchdog import culprit_of
from tests.servers import DEADLINE, running

BLOCKING = ("-m", "tests.agents")


class ThreadedHost:
    """A host in a loop of its own thread, so that the test can look on while that loop is blocked."""

    def __init__(self, handler: type[InvocationWebSocketHandler], **options: Any) -> None:
        builder = AgentHost.create_builder(FoundryEnvironment.read({}))
        builder.add_invocations(handler).configure(host="127.0.0.1", port=0, **options)
        self._host = builder.build()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run)
        self.port = 0

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        async with self._host:
            self.port = self._host.port
            self._started.set()
            await self._stop.wait()

    def until_resting(self) -> None:
        """Wait until the watchdog leaves the idle loop alone."""
        end = time.monotonic() + DEADLINE
        while self._host.lifetime.on_work is None and time.monotonic() < end:
            time.sleep(0.01)
        assert self._host.lifetime.on_work is not None

    @asynccontextmanager
    async def serving(self) -> AsyncGenerator[str]:
        self._thread.start()
        await asyncio.to_thread(self._started.wait)
        try:
            yield f"http://127.0.0.1:{self.port}"
        finally:
            self._loop.call_soon_threadsafe(self._stop.set)
            await asyncio.to_thread(self._thread.join)


class Blocking(InvocationWebSocketHandler):
    release = threading.Event()
    entered = threading.Event()

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        if await request.text() == "block":
            self.entered.set()
            self._compute()
        return "done"

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        async for _message in websocket:
            self.entered.set()
            self._compute()

    def _compute(self) -> None:
        while not self.release.is_set():
            time.sleep(0.01)


@pytest.fixture
def blocking() -> type[Blocking]:
    class Fresh(Blocking):
        release = threading.Event()
        entered = threading.Event()

    return Fresh


async def get(url: str) -> int:
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        return response.status


async def post(url: str, body: str) -> str:
    async with aiohttp.ClientSession() as client, client.post(f"{url}/invocations", data=body) as response:
        return await response.text()


async def test_requests_that_come_meanwhile_are_answered_when_the_loop_runs_again(
    blocking: type[Blocking],
) -> None:
    host = ThreadedHost(blocking, blocked_loop_threshold=0.05)
    async with host.serving() as url:
        request = asyncio.create_task(post(url, "block"))
        await asyncio.to_thread(blocking.entered.wait)
        later = [asyncio.create_task(post(url, "quick")) for _ in range(20)]
        probe = asyncio.create_task(get(f"{url}/readiness"))
        with pytest.raises(asyncio.TimeoutError):  # which says the same as a 503
            await asyncio.wait_for(asyncio.shield(probe), 0.3)
        blocking.release.set()
        assert await asyncio.gather(request, *later) == ["done"] * 21
        assert await probe == 200


async def test_the_handler_is_named_in_one_warning(
    blocking: type[Blocking], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "agentserver"):
        async with ThreadedHost(blocking, blocked_loop_threshold=0.05).serving() as url:
            for _ in range(2):
                blocking.release.clear()
                blocking.entered.clear()
                request = asyncio.create_task(post(url, "block"))
                await asyncio.to_thread(blocking.entered.wait)
                await asyncio.to_thread(until_named, caplog)
                blocking.release.set()
                await request
    (message,) = [r.getMessage() for r in caplog.records if "event loop" in r.getMessage()]
    assert "handle has kept the event loop from running for more than 0.05 s" in message
    assert f"({__file__}:" in message
    assert "asyncio.to_thread" in message


async def test_a_handler_is_named_also_when_it_is_the_first_to_work_after_a_quiet_time(
    blocking: type[Blocking], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_LONGEST_REST", 3600.0)
    host = ThreadedHost(blocking, blocked_loop_threshold=0.5)
    with caplog.at_level(logging.WARNING, "agentserver"):
        async with host.serving() as url:
            await asyncio.to_thread(host.until_resting)
            request = asyncio.create_task(post(url, "block"))
            await asyncio.to_thread(until_named, caplog)
            blocking.release.set()
            await request
    assert "handle has kept the event loop from running" in caplog.text


async def test_a_websocket_handler_is_named_also_after_a_quiet_time(
    blocking: type[Blocking], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watchdog, "_LONGEST_REST", 3600.0)
    host = ThreadedHost(blocking, blocked_loop_threshold=0.5)
    with caplog.at_level(logging.WARNING, "agentserver"):
        async with host.serving() as url, aiohttp.ClientSession() as client:
            async with client.ws_connect(f"{url}/invocations_ws") as websocket:
                await asyncio.to_thread(host.until_resting)
                await websocket.send_str("block")
                await asyncio.to_thread(until_named, caplog)
                blocking.release.set()
    assert "handle_websocket has kept the event loop from running" in caplog.text


def until_named(caplog: pytest.LogCaptureFixture) -> None:
    end = time.monotonic() + 10
    while "event loop" not in caplog.text and time.monotonic() < end:
        time.sleep(0.01)


async def test_a_threshold_of_0_turns_it_off() -> None:
    async with ThreadedHost(Blocking, blocked_loop_threshold=0).serving() as url:
        names = [thread.name for thread in threading.enumerate()]
        assert "agentserver-watchdog" not in names
        assert await get(f"{url}/readiness") == 200


async def test_a_host_that_ends_is_not_held_up_by_its_watch(
    blocking: type[Blocking], caplog: pytest.LogCaptureFixture
) -> None:
    """The thread may be in the middle of a line of the log that nobody reads."""
    written = threading.Event()

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            written.wait()

    stuck = Stuck(logging.WARNING)
    logging.getLogger("agentserver").addHandler(stuck)
    try:
        async with ThreadedHost(blocking, blocked_loop_threshold=0.05).serving() as url:
            request = asyncio.create_task(post(url, "block"))
            await asyncio.to_thread(blocking.entered.wait)
            await asyncio.sleep(0.2)
            blocking.release.set()
            assert await request == "done"
    finally:
        written.set()
        logging.getLogger("agentserver").removeHandler(stuck)


async def test_a_process_on_the_fastest_loop_names_what_blocks_it() -> None:
    async with running(*BLOCKING) as server:
        request = asyncio.create_task(post(server.url, "block 2"))
        await server.until_logged("handle has kept the event loop from running for more than 0.5 s")
        assert await request == "block done"
        assert await get(f"{server.url}/readiness") == 200


def test_a_loop_that_only_waits_is_nobodys_fault() -> None:
    """On a machine without time for it, the loop is late although no handler runs."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    assert thread.ident is not None
    while "select" not in {frame.f_code.co_name for frame in _frames(thread.ident)}:
        time.sleep(0.01)
    assert culprit_of(sys._current_frames()[thread.ident]) is None
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def _frames(thread: int) -> Iterator[FrameType]:
    frame: FrameType | None = sys._current_frames().get(thread)
    while frame is not None:
        yield frame
        frame = frame.f_back
