"""Waiting for the end of an invocation: asked no earlier, longer or more often than it may be."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from agentserver.client import (
    DeadlineError,
    InvocationsClient,
    ResponseError,
    Retry,
)
from tests.client.servers import Routes, Scripted, Serve, never


class Job:
    """Runs for a few questions, then is done."""

    def __init__(self, *states: tuple[int, dict[str, str]]) -> None:
        self.states = list(states)
        self.times: list[float] = []

    async def answer(self, _request: web.Request) -> web.Response:
        self.times.append(asyncio.get_running_loop().time())
        status, state = self.states.pop(0)
        return web.json_response(state, status=status, headers={"Retry-After": "0"} if self.states else {})


async def test_wait_asks_until_the_state_is_final(routes: Routes) -> None:
    job = Job(
        (202, {}), (200, {"status": "Running"}), (200, {"status": "queued"}), (200, {"status": "failed"})
    )
    async with InvocationsClient(await routes(get=job.answer)) as client:
        assert (await client.wait("i-3", interval=60)).json() == {"status": "failed"}


async def test_wait_takes_the_callers_own_idea_of_done(routes: Routes) -> None:
    job = Job((200, {"phase": "1"}), (200, {"phase": "2"}))
    async with InvocationsClient(await routes(get=job.answer)) as client:
        answer = await client.wait("i-3", done=lambda answer: answer.json()["phase"] == "2", interval=60)
    assert answer.json() == {"phase": "2"}


async def test_wait_honours_retry_after_over_its_own_interval(routes: Routes) -> None:
    async def slow(_request: web.Request) -> web.Response:
        return web.Response(status=202, headers={"Retry-After": "3600"})

    async with InvocationsClient(await routes(get=slow)) as client:
        with pytest.raises(DeadlineError, match="not done within 5 s"):
            await client.wait("i-3", interval=0.001, timeout=5)


async def test_wait_goes_on_after_an_answer_that_says_not_now(serve: Serve) -> None:
    server = Scripted((503, None), (429, "0"), (202, None), (502, "0"), (200, None))
    async with InvocationsClient(await serve(server.answer), retry=Retry(attempts=1)) as client:
        answer = await client.wait("i-1", interval=0.01)
    assert (answer.json(), server.asked) == ({"status": "done"}, 5)


async def test_wait_gives_up_on_an_error_that_will_not_pass(serve: Serve) -> None:
    server = Scripted((404, None))
    async with InvocationsClient(await serve(server.answer)) as client:
        with pytest.raises(ResponseError):
            await client.wait("i-1", interval=0.01)
    assert server.asked == 1


async def test_wait_ends_in_time_even_when_the_server_does_not_answer(serve: Serve) -> None:
    async with InvocationsClient(await serve(never)) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            await client.wait("i-1", timeout=0.2)
    assert time.monotonic() - started < 5


async def test_wait_does_not_spin_when_the_server_says_at_once(serve: Serve) -> None:
    server = Scripted((202, "0"))
    async with InvocationsClient(await serve(server.answer)) as client:
        with pytest.raises(DeadlineError, match="not done within 1 s"):
            await client.wait("i-1", timeout=1)
    assert 2 <= server.asked <= 21
