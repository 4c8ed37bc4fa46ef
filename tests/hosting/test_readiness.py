"""``/readiness`` and the checks behind it (contract, section 1)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from agentserver.errors import ConfigurationError
from tests.http.raw import ask, get
from tests.servers import serving

Check = Callable[[], Awaitable[object]]


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await request.read()


def checks(*given: tuple[str, Check], timeout: float = 5.0) -> Callable[[AgentHostBuilder], object]:
    def configure(builder: AgentHostBuilder) -> None:
        for name, check in given:
            builder.health.add_check(name, check, timeout=timeout)

    return configure


async def passes() -> None:
    pass


async def says_no() -> bool:
    return False


async def raises() -> None:
    raise ConnectionError("secret-host:5432 refused")


async def hangs() -> None:
    await asyncio.Event().wait()


async def exits() -> None:
    sys.exit(3)


async def cancels_itself() -> None:
    raise asyncio.CancelledError


async def says_nothing_of_itself() -> None:
    raise UnspeakableError


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


class Pinger:
    async def ping(self, answer: bool) -> bool:
        return answer

    async def __call__(self) -> bool:
        return True


@pytest.mark.parametrize(
    "check", [passes, Pinger().__call__, Pinger(), functools.partial(Pinger().ping, True)]
)
async def test_any_async_function_may_be_a_check(check: Check) -> None:
    async with serving(Echo, checks(("store", check))) as client:
        answer = await ask(client, get("/readiness"))
    assert (answer.status, answer.body) == (200, b'{"status":"healthy"}')


FAILING: list[Check] = [says_no, raises, hangs, exits, cancels_itself, says_nothing_of_itself]


@pytest.mark.parametrize("check", [*FAILING, functools.partial(Pinger().ping, False)])
async def test_a_check_that_fails_is_named_and_nothing_of_its_exception_is_told(
    check: Check, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(Echo, checks(("fine", passes), ("store", check), timeout=0.05)) as client:
        async with client.get("/readiness") as response:
            body = await response.json()
            text = await response.text()
    assert response.status == 503
    assert body == {
        "status": "unhealthy",
        "failed": ["store"],
        "error": {"code": "unavailable", "message": "Health check failed: store"},
    }
    assert response.headers["x-platform-error-source"] == "upstream"
    assert "secret" not in text
    if check is not says_no and not isinstance(check, functools.partial):
        assert "health check store" in caplog.text


async def test_a_check_that_ignores_its_cancellation_fails_and_is_not_run_again_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runs = 0
    release = asyncio.Event()

    async def stubborn() -> None:
        nonlocal runs
        runs += 1
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    async with serving(Echo, checks(("store", stubborn), timeout=0.05)) as client:
        for _ in range(3):
            assert (await asyncio.wait_for(ask(client, get("/readiness")), 5)).status == 503
        assert runs == 1
        assert "health check store has not ended since it was cancelled" in caplog.text
        release.set()
        assert (await ask(client, get("/readiness"))).status == 200


async def test_checks_run_side_by_side() -> None:
    both = asyncio.Event()
    waiting = 0

    async def together() -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 2:
            both.set()
        await both.wait()

    async with serving(Echo, checks(("one", together), ("two", together))) as client:
        assert (await ask(client, get("/readiness"))).status == 200


async def test_a_client_that_leaves_while_checks_run_cancels_them() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def waits() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(Echo, checks(("store", waits))) as client:
        request = asyncio.create_task(client.get("/readiness"))
        await asyncio.wait_for(started.wait(), 10)
        request.cancel()
        await asyncio.wait_for(cancelled.wait(), 10)


@pytest.mark.parametrize(
    ("configure", "sentence"),
    [
        (checks(("a", passes), ("a", says_no)), "there are two health checks named 'a'"),
        (checks(("a", passes), timeout=0), "the time-out of health check 'a' must be more than 0 seconds"),
        (checks(("a", passes), timeout=float("nan")), "the time-out of health check 'a' must be more than 0"),
    ],
)
async def test_a_check_that_cannot_work_is_refused(
    configure: Callable[[AgentHostBuilder], object], sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        async with serving(Echo, configure):
            pass
    assert str(refusal.value).startswith(sentence)
