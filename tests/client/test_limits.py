"""Time-outs everywhere, and nothing asked earlier, longer or more often than it may be."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver.client import (
    NO_RETRY,
    DeadlineError,
    InvocationsClient,
    LostConnectionError,
    ResponseError,
    Retry,
    Timeouts,
    UnreachableError,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Start = Callable[[Handler], Awaitable[str]]


@pytest.fixture
def serve(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> Start:
    """Answers every request with one handler."""

    async def start(handler: Handler) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handler)
        return str((await aiohttp_server(app)).make_url("/"))

    return start


class Scripted:
    """Answers with one prepared status and ``Retry-After`` after the other; the last stays."""

    def __init__(self, *answers: tuple[int, str | None]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def answer(self, _request: web.Request) -> web.Response:
        status, retry_after = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        headers = {} if retry_after is None else {"Retry-After": retry_after}
        return web.json_response({"status": "done"}, status=status, headers=headers)


async def never(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    return web.Response()


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
async def test_a_time_out_that_is_none_is_refused_before_anything_is_sent(seconds: float) -> None:
    async with InvocationsClient() as client:
        for call in (
            client.invoke(timeout=seconds),
            client.get("i", timeout=seconds),
            client.cancel("i", timeout=seconds),
            client.wait("i", timeout=seconds),
            client.wait("i", interval=seconds),
            client.ready(timeout=seconds),
        ):
            with pytest.raises(ValueError, match="needs a number of seconds above 0"):
                await call
        with pytest.raises(ValueError, match="above 0"):
            async with client.stream(idle_timeout=seconds):
                pass


async def test_no_attempt_is_waited_for_beyond_the_time_out_of_the_call(serve: Start) -> None:
    server = Scripted((503, "100"))
    retry = Retry(attempts=100, max_delay=1000)
    async with InvocationsClient(await serve(server.answer), retry=retry) as client:
        started = time.monotonic()
        with pytest.raises(ResponseError):
            await client.get("i-1", timeout=60)
    assert server.asked == 1
    assert time.monotonic() - started < 50


async def test_a_later_attempt_has_what_the_earlier_ones_left_of_the_time_out(serve: Start) -> None:
    asked = 0

    async def first_busy_then_silent(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.Response(status=503, headers={"Retry-After": "2"}) if asked == 1 else await never(request)

    async with InvocationsClient(await serve(first_busy_then_silent)) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            await client.get("i-1", timeout=3)
        assert 2.9 < time.monotonic() - started < 4.6
    assert asked == 2


async def test_a_server_is_never_asked_earlier_than_it_said(serve: Start) -> None:
    server = Scripted((503, "60"))
    retry = Retry(attempts=5, first_delay=0, max_delay=10)
    async with InvocationsClient(await serve(server.answer), retry=retry) as client:
        with pytest.raises(ResponseError) as caught:
            await client.get("i-1")
    assert (server.asked, caught.value.retry_after, caught.value.temporary) == (1, 60.0, True)


async def test_wait_goes_on_after_an_answer_that_says_not_now(serve: Start) -> None:
    server = Scripted((503, None), (429, "0"), (202, None), (502, "0"), (200, None))
    async with InvocationsClient(await serve(server.answer), retry=Retry(attempts=1)) as client:
        answer = await client.wait("i-1", interval=0.01)
    assert (answer.json(), server.asked) == ({"status": "done"}, 5)


async def test_wait_gives_up_on_an_error_that_will_not_pass(serve: Start) -> None:
    server = Scripted((404, None))
    async with InvocationsClient(await serve(server.answer)) as client:
        with pytest.raises(ResponseError):
            await client.wait("i-1", interval=0.01)
    assert server.asked == 1


async def test_wait_ends_in_time_even_when_the_server_does_not_answer(serve: Start) -> None:
    async with InvocationsClient(await serve(never)) as client:
        started = time.monotonic()
        with pytest.raises(DeadlineError):
            await client.wait("i-1", timeout=0.2)
    assert time.monotonic() - started < 5


async def test_wait_does_not_spin_when_the_server_says_at_once(serve: Start) -> None:
    server = Scripted((202, "0"))
    async with InvocationsClient(await serve(server.answer)) as client:
        with pytest.raises(DeadlineError, match="not done within 1 s"):
            await client.wait("i-1", timeout=1)
    assert 2 <= server.asked <= 21


async def test_ready_is_false_for_a_server_that_does_not_answer_in_time(serve: Start) -> None:
    async with InvocationsClient(await serve(never)) as client:
        assert await client.ready(timeout=0.1) is False


async def test_the_first_piece_of_a_stream_may_take_as_long_as_an_answer(serve: Start) -> None:
    async def thoughtful(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.4)
        return web.Response(text="at last")

    timeouts = Timeouts(idle=0.1, answer=10)
    async with InvocationsClient(await serve(thoughtful), timeouts=timeouts) as client:
        async with client.stream() as stream:
            assert b"".join([chunk async for chunk in stream]) == b"at last"


async def test_a_stream_that_never_begins_ends_at_the_time_out_of_an_answer(serve: Start) -> None:
    async with InvocationsClient(await serve(never), timeouts=Timeouts(answer=0.5)) as client:
        with pytest.raises(DeadlineError):
            async with client.stream():
                pass


async def test_an_upgrade_that_is_not_answered_ends_at_the_time_out(serve: Start) -> None:
    async with InvocationsClient(await serve(never), timeouts=Timeouts(connect=0.1)) as client:
        with pytest.raises(DeadlineError):
            async with client.connect():
                pass


async def test_an_error_that_arrives_in_pieces_is_read_whole(serve: Start) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=429, headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for piece in ('{"error": {"code": "quota', '_exceeded", "mess', 'age": "Tomorrow"}}'):
            await response.write(piece.encode())
            await asyncio.sleep(0.02)
        return response

    async with InvocationsClient(await serve(slow)) as client:
        with pytest.raises(ResponseError, match="429 quota_exceeded: Tomorrow"):
            await client.invoke()


async def test_an_error_that_never_ends_is_not_read_to_its_end(serve: Start) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=500)
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    async with InvocationsClient(await serve(endless)) as client:
        with pytest.raises(ResponseError, match="500 http_500"):
            await client.invoke(timeout=20)


async def test_a_closed_client_says_so(serve: Start) -> None:
    server = Scripted((200, None))
    client = InvocationsClient(await serve(server.answer))
    async with client:
        await client.invoke()
    for call in (client.invoke(), client.connect().__aenter__()):
        with pytest.raises(RuntimeError, match="the client is closed: call it inside"):
            await call


async def test_the_connections_are_closed_with_the_last_that_uses_them(serve: Start) -> None:
    server = Scripted((200, None))
    url = await serve(server.answer)
    async with InvocationsClient(url) as client:
        async with client.session("s-1") as session:
            await session.invoke()
        await client.invoke()
    async with InvocationsClient(url).session("s-1") as alone:
        await alone.invoke()
    for closed in (client, session, alone):
        with pytest.raises(RuntimeError, match="closed"):
            await closed.invoke()


async def test_a_trace_parent_of_the_callers_own_wins(serve: Start) -> None:
    async def tell(request: web.Request) -> web.Response:
        return web.json_response(request.headers.getall("traceparent"))

    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.trace import use_span

    given = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with InvocationsClient(await serve(tell)) as client:
        with use_span(trace.TracerProvider().get_tracer("caller").start_span("caller")):
            answer = await client.invoke(headers={"Traceparent": given})
    assert json.loads(answer.body) == [given]


async def test_a_server_without_tls_is_no_secure_connection(serve: Start) -> None:
    url = (await serve(never)).replace("http:", "https:")
    async with InvocationsClient(url, retry=NO_RETRY) as client:
        with pytest.raises(UnreachableError, match=rf"No secure connection to {url.rstrip('/')}: \w+"):
            await client.invoke("x")


@pytest.mark.parametrize("websocket", [True, False])
async def test_what_speaks_no_http_is_not_taken_for_a_server(websocket: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"SSH-2.0-OpenSSH\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server, InvocationsClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as client:
        with pytest.raises(LostConnectionError, match="broke the protocol: is it the agent's address"):
            await (client.connect().__aenter__() if websocket else client.invoke("x"))


async def test_a_text_that_is_no_unicode_is_refused_before_it_is_sent() -> None:
    async with InvocationsClient() as client:
        with pytest.raises(ValueError, match="cannot be sent as UTF-8: surrogates not allowed at 1"):
            await client.invoke("a\ud800")


@pytest.mark.parametrize(("cut", "kind"), [(True, LostConnectionError), (False, DeadlineError)])
async def test_an_answer_that_stops_half_way_is_no_answer(
    serve: Start, cut: bool, kind: type[Exception]
) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"half")
        if cut:
            assert request.transport is not None
            request.transport.close()
        else:
            await asyncio.Event().wait()
        return response

    async with InvocationsClient(await serve(half)) as client:
        with pytest.raises(kind):
            await client.invoke("x", timeout=30 if cut else 0.2)


async def test_a_redirect_is_not_followed_and_says_where_it_leads(serve: Start) -> None:
    async def elsewhere(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPTemporaryRedirect("http://elsewhere.example/")

    async with InvocationsClient(await serve(elsewhere)) as client:
        with pytest.raises(ResponseError, match=r"redirects to http://elsewhere\.example/: use that address"):
            await client.invoke("x")


async def test_a_hosted_agent_has_no_readiness_to_ask_for() -> None:
    project = "https://account.services.ai.azure.com/api/projects/project"
    async with InvocationsClient.hosted(project, "a", credential=lambda: "t") as client:
        with pytest.raises(ValueError, match="no readiness route"):
            await client.ready()


@pytest.mark.parametrize("wrong", [{"attempts": 0}, {"first_delay": -1}, {"max_delay": -1}])
def test_a_retry_that_makes_no_sense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="or more"):
        Retry(**wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the mistake


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/plain; charset=latin-1", b"caf\xe9", "café"),
        ('text/plain; charset="utf-8"; x=y', "café".encode(), "café"),
        ("text/plain; charset=no-such", "café".encode(), "café"),
        ("application/json", b"\xff", "\N{REPLACEMENT CHARACTER}"),
    ],
)
async def test_text_is_read_in_the_charset_the_server_names(
    serve: Start, content_type: str, body: bytes, text: str
) -> None:
    async def say(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": content_type})

    async with InvocationsClient(await serve(say)) as client:
        answer = await client.invoke()
    assert (answer.text, answer.running) == (text, False)
