"""Streams: chunks, text, server-sent events, and what a cut looks like."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from agentserver.client import (
    AnswerError,
    DeadlineError,
    InvocationsClient,
    LostConnectionError,
    ResponseError,
    StreamEvent,
)
from agentserver.client.events import EventParser

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Start = Callable[[Handler], Awaitable[str]]


@pytest.fixture
def serve(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> Start:
    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_post("/invocations", handler)
        return str((await aiohttp_server(app)).make_url("/"))

    return start


def streaming(*chunks: bytes, cut: bool = False) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"x-agent-session-id": "s-1"})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
            await asyncio.sleep(0.01)
        if cut:
            assert request.transport is not None
            request.transport.close()
        return response

    return handler


async def test_a_stream_gives_bytes_as_they_come(serve: Start) -> None:
    async with InvocationsClient(await serve(streaming(b"one", b"two"))) as client:
        async with client.stream("x", invocation_id="i-1") as stream:
            assert (stream.invocation_id, stream.session_id, stream.status) == ("i-1", "s-1", 200)
            assert b"".join([chunk async for chunk in stream]) == b"onetwo"


async def test_text_is_never_cut_inside_a_character(serve: Start) -> None:
    async with InvocationsClient(await serve(streaming(b"caf\xc3", b"\xa9", b"\xf0\x9f"))) as client:
        async with client.stream() as stream:
            pieces = [piece async for piece in stream.text()]
    assert "".join(pieces) == "café\N{REPLACEMENT CHARACTER}"


async def test_events_come_parsed_and_keep_alives_vanish(serve: Start) -> None:
    chunks = (
        b'event: token\nid: 1\ndata: {"t"',
        b': "a"}\n',
        b"\n: keep-alive\n\ndata: x\ndata: y\n\ndata: half",
    )
    async with InvocationsClient(await serve(streaming(*chunks))) as client:
        async with client.stream({"q": 1}) as stream:
            events = [event async for event in stream.events()]
    assert events == [StreamEvent('{"t": "a"}', "token", "1"), StreamEvent("x\ny", id="1")]
    assert events[0].json() == {"t": "a"}
    with pytest.raises(AnswerError, match="not JSON"):
        events[1].json()


async def test_a_cut_stream_is_an_error_and_not_an_end(serve: Start) -> None:
    async with InvocationsClient(await serve(streaming(b"part", cut=True))) as client:
        async with client.stream(invocation_id="i-1") as stream:
            with pytest.raises(LostConnectionError, match="cut before its end") as caught:
                _ = [chunk async for chunk in stream]
    assert (caught.value.invocation_id, caught.value.session_id) == ("i-1", "s-1")


async def test_a_silent_stream_ends_at_the_idle_time_out(serve: Start) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async with InvocationsClient(await serve(silent)) as client:
        async with client.stream(idle_timeout=0.05) as stream:
            with pytest.raises(DeadlineError):
                _ = [chunk async for chunk in stream]


async def test_an_error_before_the_stream_is_raised_on_entering(serve: Start) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"code": "invalid_request", "message": "No"}}, status=400)

    async with InvocationsClient(await serve(refuse)) as client:
        with pytest.raises(ResponseError, match="400 invalid_request: No"):
            async with client.stream():
                pass


async def test_leaving_a_stream_early_cuts_the_connection(serve: Start) -> None:
    gone = asyncio.Event()

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"more")
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    async with InvocationsClient(await serve(endless)) as client:
        async with client.stream() as stream:
            async for _ in stream:
                break
        await asyncio.wait_for(gone.wait(), 5)


STREAMS = [
    (b"\xef\xbb\xbfdata: bom\n\n", [StreamEvent("bom")]),
    (b"data\n\ndata:\n\n", [StreamEvent(""), StreamEvent("")]),
    (b"event: lonely\n\ndata: 1\n\n", [StreamEvent("1")]),
    (b"data:  two spaces\r\n\r\n", [StreamEvent(" two spaces")]),
    (b"data: cr\r\rdata: only\r\r", [StreamEvent("cr"), StreamEvent("only")]),
    (b"retry: 250\ndata: a\n\nretry: x\ndata: b\n\n", [StreamEvent("a", retry=250), StreamEvent("b")]),
    (b"id: 7\ndata: a\n\nid: bad\0\ndata: b\n\n", [StreamEvent("a", id="7"), StreamEvent("b", id="7")]),
    (b"unknown: x\n:\ndata: caf\xc3\xa9\n\n", [StreamEvent("café")]),
]


@pytest.mark.parametrize(("text", "events"), STREAMS)
def test_the_event_grammar_is_read_as_the_standard_says(text: bytes, events: list[StreamEvent]) -> None:
    assert EventParser().feed(text) == events


@given(st.sampled_from(STREAMS), st.lists(st.integers(0, 60), max_size=6))
def test_events_are_the_same_wherever_the_chunks_are_cut(
    case: tuple[bytes, list[StreamEvent]], cuts: list[int]
) -> None:
    text, events = case
    edges = [0, *sorted(cuts), len(text)]
    parser = EventParser()
    found = [event for start, end in pairwise(edges) for event in parser.feed(text[start:end])]
    assert found == events


async def test_a_stream_says_its_media_type_and_can_be_read_to_its_end_as_one_answer(serve: Start) -> None:
    url = await serve(streaming(b'{"n":', b" 1}"))
    async with InvocationsClient(url) as client, client.stream("x", invocation_id="i-1") as stream:
        answer = await stream.answer()
    assert (stream.content_type, answer.content_type) == ("application/octet-stream",) * 2
    assert (answer.status, answer.json(), answer.invocation_id) == (200, {"n": 1}, "i-1")
