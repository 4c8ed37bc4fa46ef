"""Streams: chunks, text, server-sent events, and what a cut looks like."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from agentserver.client import (
    AnswerError,
    DeadlineError,
    InvocationsClient,
    LostConnectionError,
    ResponseError,
    StreamEvent,
    Timeouts,
)
from tests.client.servers import Handler, Serve, never


async def test_the_first_piece_of_a_stream_may_take_as_long_as_an_answer(serve: Serve) -> None:
    async def thoughtful(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return web.Response(text="at last")

    timeouts = Timeouts(idle=0.1, answer=10)
    async with InvocationsClient(await serve(thoughtful), timeouts=timeouts) as client:
        async with client.stream() as stream:
            assert b"".join([chunk async for chunk in stream]) == b"at last"


async def test_a_stream_that_never_begins_ends_at_the_time_out_of_an_answer(serve: Serve) -> None:
    async with InvocationsClient(await serve(never), timeouts=Timeouts(answer=0.5)) as client:
        with pytest.raises(DeadlineError):
            async with client.stream():
                pass


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


async def test_a_stream_gives_bytes_as_they_come(serve: Serve) -> None:
    async with InvocationsClient(await serve(streaming(b"one", b"two"))) as client:
        async with client.stream("x", invocation_id="i-1") as stream:
            assert (stream.invocation_id, stream.session_id, stream.status) == ("i-1", "s-1", 200)
            assert b"".join([chunk async for chunk in stream]) == b"onetwo"


async def test_text_is_never_cut_inside_a_character(serve: Serve) -> None:
    async with InvocationsClient(await serve(streaming(b"caf\xc3", b"\xa9", b"\xf0\x9f"))) as client:
        async with client.stream() as stream:
            pieces = [piece async for piece in stream.text()]
    assert "".join(pieces) == "café\N{REPLACEMENT CHARACTER}"


async def test_events_come_parsed_and_keep_alives_vanish(serve: Serve) -> None:
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


async def test_a_cut_stream_is_an_error_and_not_an_end(serve: Serve) -> None:
    async with InvocationsClient(await serve(streaming(b"part", cut=True))) as client:
        async with client.stream(invocation_id="i-1") as stream:
            with pytest.raises(LostConnectionError, match="cut before its end") as caught:
                _ = [chunk async for chunk in stream]
    assert (caught.value.invocation_id, caught.value.session_id) == ("i-1", "s-1")


async def test_a_silent_stream_ends_at_the_idle_time_out(serve: Serve) -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response

    async with InvocationsClient(await serve(silent)) as client:
        async with client.stream(idle_timeout=0.05) as stream:
            with pytest.raises(DeadlineError):
                _ = [chunk async for chunk in stream]


async def test_an_error_before_the_stream_is_raised_on_entering(serve: Serve) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"error": {"code": "invalid_request", "message": "No"}}, status=400)

    async with InvocationsClient(await serve(refuse)) as client:
        with pytest.raises(ResponseError, match="400 invalid_request: No"):
            async with client.stream():
                pass


async def test_leaving_a_stream_early_cuts_the_connection(serve: Serve) -> None:
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


async def test_a_stream_says_its_media_type_and_can_be_read_to_its_end_as_one_answer(serve: Serve) -> None:
    url = await serve(streaming(b'{"n":', b" 1}"))
    async with InvocationsClient(url) as client, client.stream("x", invocation_id="i-1") as stream:
        answer = await stream.answer()
    assert (stream.content_type, answer.content_type) == ("application/octet-stream",) * 2
    assert (answer.status, answer.json(), answer.invocation_id) == (200, {"n": 1}, "i-1")
