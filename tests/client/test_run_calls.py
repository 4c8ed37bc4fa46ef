"""The client's other calls for durable runs, and its reading of events from servers of every kind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web

from agentserver.client import AnswerError, InvocationsClient, LostConnectionError, ResponseError, Retry
from agentserver.client.run_state import RunState
from agentserver.testing import in_process
from tests.client.servers import Handler, Routes, Serve
from tests.durable.agents import Worker

MEMORY = {"AGENTSERVER_STORE": "memory"}
QUICK = Retry(attempts=3, first_delay=0.01, max_delay=0.02)
FIRST = b"retry: 1000\n\nid: 1\nevent: run_start\ndata: {}\n\n"


def streaming(piece: bytes) -> Handler:
    """Answers with *piece* as a stream of events, and ends it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(piece)
        return response

    return answer


async def ids(client: InvocationsClient, **options: Any) -> list[str]:
    return [event.id async for event in client.events("a", reconnect=QUICK, **options)]


async def test_an_answer_is_read_as_how_the_run_stands() -> None:
    async with in_process(Worker, environment=MEMORY) as agent:
        session = agent.client.session("s")
        begun = (await session.start({"approval": True})).run()
        assert (begun.status, begun.ended, begun.session_id) == ("in_progress", False, "s")
        behind = (await session.start({})).run()
        assert (behind.status, behind.position) == ("queued", 1)
        await agent.client.signal(begun.invocation_id, "approval", {"by": "Ada"})
        run = (await agent.client.wait(behind.invocation_id, interval=0.01)).run()
        assert (run.status, run.ended, run.output, run.last_event_id) == ("completed", True, {"steps": 1}, 3)
        assert (run.attempt, run.recoveries, run.error) == (1, 0, None)
        assert run.created_at <= run.updated_at
        first = (await agent.client.get(begun.invocation_id)).run()
        assert first.output == {"approved": {"by": "Ada"}}
        with pytest.raises(ResponseError) as late:
            await agent.client.signal(begun.invocation_id, "approval")
        assert late.value.code == "run_ended"


def test_what_tells_of_no_run_is_no_run_state() -> None:
    odd: list[Any] = [None, [], {"status": "completed"}, {"status": 1, "invocation_id": "a"}]
    for told in odd:
        with pytest.raises(AnswerError, match="is the handler durable"):
            RunState.read(told)
    assert RunState.read({"status": "queued", "invocation_id": "a", "more": 1}).invocation_id == "a"


async def test_all_runs_are_listed_page_by_page_and_by_what_was_asked() -> None:
    async with in_process(Worker, environment=MEMORY) as agent:
        names = [(await agent.client.session(f"s-{n}").start({})).invocation_id for n in range(5)]
        for name in names:
            await agent.client.wait(name, interval=0.01)
        waiting = (await agent.client.start({"approval": True})).invocation_id
        listed = [run.invocation_id async for run in agent.client.list(page=2)]
        assert listed == [waiting, *reversed(names)]
        assert [run.status async for run in agent.client.list(status="in_progress")] == ["in_progress"]
        of_session = [run.invocation_id async for run in agent.client.session("s-2").list()]
        assert of_session == [names[2]]
        with pytest.raises(ResponseError) as refused:
            _ = [run async for run in agent.client.list(status="odd")]
        assert refused.value.status == 400


async def test_a_server_that_lists_something_else_lists_no_runs(serve: Serve) -> None:
    async def get(_request: web.Request) -> web.Response:
        return web.json_response({"something": "else"})

    async with InvocationsClient(await serve(get)) as client:
        with pytest.raises(AnswerError, match="is no list of runs"):
            _ = [run async for run in client.list()]


async def test_a_reader_names_the_last_event_in_the_query_and_in_the_header(routes: Routes) -> None:
    asked: list[tuple[str, str]] = []

    async def get(request: web.Request) -> web.StreamResponse:
        asked.append((request.query["last_event_id"], request.headers["Last-Event-ID"]))
        more = b"id: 2\ndata: {}\n\nevent: done\ndata: {}\n\n"
        return await streaming(FIRST if len(asked) == 1 else more)(request)

    async with InvocationsClient(await routes(get=get)) as client:
        assert await ids(client) == ["1", "2"]
    assert asked == [("0", "0"), ("1", "1")]


async def test_a_server_that_ends_its_streams_before_their_end_is_not_asked_for_ever(routes: Routes) -> None:
    async with InvocationsClient(await routes(get=streaming(b"retry: 1000\n\n"))) as client:
        with pytest.raises(LostConnectionError, match="ended before the run"):
            await asyncio.wait_for(ids(client), 5)


async def test_events_that_were_purged_in_mid_stream_are_gone(routes: Routes) -> None:
    purged = FIRST + b"event: superseded\ndata: {}\n\n"
    async with InvocationsClient(await routes(get=streaming(purged))) as client:
        with pytest.raises(ResponseError) as gone:
            await ids(client)
        assert (gone.value.status, gone.value.code, gone.value.invocation_id) == (410, "gone", "a")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_agent_that_is_not_durable_has_no_events_of_runs(routes: Routes, *, stream: bool) -> None:
    async def state(_request: web.Request) -> web.Response:
        return web.json_response({"status": "running"})

    get = streaming(b"data: hello\n\n") if stream else state
    async with InvocationsClient(await routes(get=get)) as client:
        with pytest.raises(AnswerError, match="is the handler durable"):
            await asyncio.wait_for(ids(client), 5)


async def test_a_reader_asks_no_earlier_than_the_server_says(routes: Routes) -> None:
    loop = asyncio.get_running_loop()
    asked: list[float] = []

    async def get(request: web.Request) -> web.StreamResponse:
        asked.append(loop.time())
        if len(asked) == 1:
            return web.Response(status=503, headers={"Retry-After": "1"})
        return await streaming(FIRST + b"event: done\ndata: {}\n\n")(request)

    async with InvocationsClient(await routes(get=get)) as client:
        patient = Retry(attempts=3, first_delay=0.01, max_delay=5)
        assert [event.id async for event in client.events("a", reconnect=patient)] == ["1"]
    assert asked[1] - asked[0] >= 0.95


async def test_a_reader_that_leaves_lets_go_of_its_connection(routes: Routes) -> None:
    left = asyncio.Event()

    async def get(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(FIRST)
        try:
            while True:
                await response.write(b": keep-alive\n\n")
                await asyncio.sleep(0.01)
        finally:
            left.set()

    async with InvocationsClient(await routes(get=get)) as client:
        events = client.events("a")
        assert (await anext(events)).id == "1"
        await events.aclose()
        await asyncio.wait_for(left.wait(), 5)
