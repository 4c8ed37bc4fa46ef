"""Idempotent POSTs of a handler that is not durable: one call of the handler, one answer for all."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from agentserver import InvocationContext, InvocationHandler, NotFoundError
from agentserver.errors import HandlerError
from agentserver.invocations._idempotent_endpoints import Answer, Answers, Asked, Name
from tests.durable.agents import Gate
from tests.servers import serving

KEY = "x-client-idempotency-key"
URL = "/invocations"


class Till(InvocationHandler, idempotent=True):
    """Counts its calls, and does what the body says."""

    calls: list[str] = []  # noqa: RUF012 - of the class: each request has an object of its own
    gate = Gate()

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        """Answer with the number of the call."""
        text = await request.text()
        Till.calls.append(text)
        number = len(Till.calls)
        if text.startswith("wait"):
            await Till.gate.of(text).wait()
        if text.startswith("fail"):
            raise RuntimeError("once")
        if text == "exit":
            sys.exit(3)
        if text == "refuse":
            raise NotFoundError("There is no such thing")
        if text == "stream":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"piece")
            return response
        response = web.json_response({"call": number}, status=201, headers={"x-mine": "yes"})
        response.set_cookie("seat", "12")
        return response


@pytest.fixture
async def client() -> AsyncGenerator[aiohttp.ClientSession, None]:
    Till.calls.clear()
    Till.gate = Gate()
    async with serving(Till) as client:
        yield client


async def post(
    client: aiohttp.ClientSession, body: str, **headers: str
) -> tuple[int, str, CIMultiDictProxy[str]]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with client.post(URL, data=body, headers=named) as response:
        return response.status, await response.text(), response.headers


async def begun(body: str) -> None:
    while body not in Till.calls:
        await asyncio.sleep(0.005)


@pytest.mark.parametrize("header", [KEY, "idempotency-key", "x-agent-invocation-id"])
async def test_a_repeated_post_is_given_the_first_answer(client: aiohttp.ClientSession, header: str) -> None:
    first = await post(client, "order", **{header: "k-1"})
    again = await post(client, "order", **{header: "k-1"})
    assert (first[0], first[1]) == (again[0], again[1]) == (201, '{"call": 1}')
    assert "idempotency-replayed" not in first[2]
    assert again[2]["idempotency-replayed"] == "true"
    for name in ("x-agent-invocation-id", "x-agent-session-id", "x-mine", "Content-Type", "Set-Cookie"):
        assert first[2][name] == again[2][name]
    status, text, _ = await post(client, "another", **{header: "k-1"})
    assert (status, "idempotency_conflict" in text) == (409, True)
    assert Till.calls == ["order"]


async def test_without_a_key_or_an_id_each_post_is_a_call_of_its_own(client: aiohttp.ClientSession) -> None:
    assert [(await post(client, "order"))[1] for _ in range(2)] == ['{"call": 1}', '{"call": 2}']
    status, text, _ = await post(client, "order", **{KEY: "not a key"})
    assert (status, "idempotency key" in text) == (400, True)


async def test_ten_posts_at_once_are_one_call(client: aiohttp.ClientSession) -> None:
    asking = [asyncio.create_task(post(client, "wait", **{KEY: "k"})) for _ in range(10)]
    await begun("wait")
    Till.gate.of("wait").set()
    assert {text for _, text, _ in await asyncio.gather(*asking)} == {'{"call": 1}'}


async def test_a_client_that_leaves_finds_what_it_began(client: aiohttp.ClientSession) -> None:
    leaving = asyncio.create_task(post(client, "wait", **{KEY: "k"}))
    await begun("wait")
    leaving.cancel()
    await asyncio.wait([leaving])
    joining = asyncio.create_task(post(client, "wait", **{KEY: "k"}))
    await asyncio.sleep(0.05)
    Till.gate.of("wait").set()
    assert (await joining)[1] == '{"call": 1}'
    assert Till.calls == ["wait"]


async def test_a_key_belongs_to_its_owner_and_a_request_is_known_by_both_its_names(
    client: aiohttp.ClientSession,
) -> None:
    both = {KEY: "k", "x-agent-invocation-id": "i"}
    assert (await post(client, "order", **both))[1] == '{"call": 1}'
    assert (await post(client, "order", **{"x-agent-invocation-id": "i"}))[1] == '{"call": 1}'
    theirs = await post(client, "another", **{KEY: "k", "x-agent-user-id": "them"})
    assert theirs[1] == '{"call": 2}'


async def test_a_failure_is_not_kept(client: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture) -> None:
    for body, status in (("fail", 500), ("exit", 500), ("refuse", 404)):
        assert [(await post(client, body, **{KEY: body}))[0] for _ in range(2)] == [status, status]
    assert Till.calls == ["fail", "fail", "exit", "exit", "refuse", "refuse"]
    asking = [asyncio.create_task(post(client, "wait", **{KEY: "w"})) for _ in range(1)]
    await begun("wait")
    asking[0].cancel()
    await asyncio.wait(asking)
    Till.gate.of("wait").set()
    caplog.clear()
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_stream_is_given_once(client: aiohttp.ClientSession) -> None:
    assert (await post(client, "stream", **{KEY: "k"}))[1] == "piece"
    assert (await post(client, "stream", **{KEY: "k"}))[1] == "piece"
    assert Till.calls == ["stream", "stream"]


async def test_a_server_that_ends_waits_for_what_a_client_has_left() -> None:
    Till.calls.clear()
    Till.gate = Gate()
    async with serving(Till) as client:
        leaving = asyncio.create_task(post(client, "wait", **{KEY: "k"}))
        await begun("wait")
        leaving.cancel()
        asyncio.get_running_loop().call_later(0.1, Till.gate.of("wait").set)
    assert Till.calls == ["wait"]


async def asked(number: int) -> Asked:
    context = InvocationContext(invocation_id=f"i-{number}", session_id="s")
    return Asked([Name("", KEY, f"k-{number}")], b"", context)


async def test_what_is_kept_is_bounded_by_time_number_and_size() -> None:
    def answer(size: int) -> Answer:
        return Answer.of(web.Response(body=b"x" * size))

    answers = Answers(10.0, most=3, most_bytes=100)
    all_asked = [await asked(number) for number in range(5)]
    for number, each in enumerate(all_asked):
        answers.add(each)
        answers.keep(each, answer(10), float(number))
    found = [answers.find(each.names, 5.0) is each for each in all_asked]
    assert found == [False, False, True, True, True]
    assert answers.find(all_asked[2].names, 12.0) is None
    assert answers.find(all_asked[3].names, 12.0) is all_asked[3]
    large, larger = await asked(6), await asked(7)
    for each, size in ((large, 95), (larger, 101)):
        answers.add(each)
        answers.keep(each, answer(size), 12.0)
    assert answers.find(all_asked[3].names, 12.0) is None
    assert answers.find(large.names, 12.0) is large
    assert answers.find(larger.names, 12.0) is None


def test_an_odd_flag_a_durable_class_and_a_stream_are_refused() -> None:
    create: Any = type(InvocationHandler)
    with pytest.raises(HandlerError, match="write idempotent=True, or how long"):
        create("Mine", (InvocationHandler,), {}, idempotent="yes")
    with pytest.raises(HandlerError, match="is durable, and so idempotent already"):
        create("Mine", (InvocationHandler,), {}, durable=True, idempotent=True)
    assert create("Mine", (InvocationHandler,), {}, idempotent=timedelta(days=1))._idempotent.days == 1
    assert create("Mine", (Till,), {}, idempotent=False)._idempotent is None


async def test_a_handler_that_streams_is_refused_at_the_start() -> None:
    class Streams(InvocationHandler, idempotent=True):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[str]:
            yield "a"

    with pytest.raises(HandlerError, match="a stream cannot be given twice"):
        async with serving(Streams):
            pass
