"""Invoke, get, cancel, sessions: what goes out, and what is refused before it does."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver.client import (
    InvocationsClient,
    Retry,
)
from tests.client.servers import Routes, Scripted, Serve, echo, never


@pytest.mark.parametrize(
    ("body", "media_type", "sent"),
    [
        ("héllo", "text/plain; charset=utf-8", "héllo"),
        (b"raw", "application/octet-stream", "raw"),
        ({"a": [1, None]}, "application/json", '{"a": [1, null]}'),
        (None, None, ""),
    ],
)
async def test_a_body_is_sent_as_what_it_is(
    routes: Routes, body: object, media_type: str | None, sent: str
) -> None:
    async with InvocationsClient(await routes(post=echo)) as client:
        seen = (await client.invoke(body)).json()
    assert seen["body"] == sent
    assert seen["type"] in {media_type, "application/octet-stream" if body is None else media_type}


async def test_a_body_of_megabytes_arrives_whole_and_again_when_it_is_repeated(routes: Routes) -> None:
    sizes: list[int] = []

    async def measure(request: web.Request) -> web.Response:
        sizes.append(len(await request.read()))
        assert request.content_length == sizes[-1]
        return web.Response(status=503 if len(sizes) == 1 else 200)

    retry = Retry(attempts=2, first_delay=0, repeat_posts=True)
    app = web.Application(client_max_size=0)
    app.router.add_post("/invocations", measure)
    async with TestServer(app) as server, InvocationsClient(server.make_url("/"), retry=retry) as client:
        await client.invoke("x" * 5_000_000)
    assert sizes == [5_000_000, 5_000_000]


async def test_an_answer_has_the_servers_ids_before_the_callers(routes: Routes) -> None:
    async with InvocationsClient(await routes(post=echo)) as client:
        answer = await client.invoke("x", invocation_id="mine")
    assert (answer.invocation_id, answer.session_id, answer.request_id) == ("mine", "s-1", "r-1")
    assert answer.json()["headers"]["x-agent-invocation-id"] == "mine"


async def test_client_headers_get_their_prefix_once(routes: Routes) -> None:
    headers = {"tenant": "a", "X-Client-Region": "b"}
    async with InvocationsClient(await routes(post=echo), client_headers=headers) as client:
        seen = (await client.invoke("x", headers={"x-one": "1"})).json()["headers"]
    assert (seen["x-client-tenant"], seen["x-client-region"], seen["x-one"]) == ("a", "b", "1")


async def test_a_session_is_in_every_post_and_shares_the_connections(routes: Routes) -> None:
    async with InvocationsClient(await routes(post=echo)) as client:
        session = client.session()
        first, second = [(await session.invoke("x")).json()["query"] for _ in range(2)]
        other = (await client.session("abc").invoke("x", query={"v": "1"})).json()["query"]
        bare = (await client.invoke("x")).json()["query"]
    assert first == second == {"agent_session_id": session.session_id}
    assert other == {"agent_session_id": "abc", "v": "1"}
    assert bare == {}


async def test_a_server_mounted_under_a_prefix_is_reached(routes: Routes) -> None:
    url = await routes(post=echo, prefix="/v1")
    for base in (url, url + "/"):
        async with InvocationsClient(base) as client:
            assert (await client.invoke("x")).json()["path"] == "/v1/invocations"


async def test_cancel_posts_to_the_invocations_own_path(routes: Routes) -> None:
    async with InvocationsClient(await routes(post=echo)) as client:
        assert (await client.cancel("a:b.c")).json()["path"] == "/invocations/a:b.c/cancel"


async def test_a_session_is_named_in_get_and_cancel_too_so_that_a_platform_finds_its_container(
    routes: Routes,
) -> None:
    async with InvocationsClient(await routes(post=echo, get=echo)) as client:
        session = client.session("s-9")
        for answer in (await session.get("i"), await session.cancel("i"), await session.wait("i")):
            assert answer.json()["query"] == {"agent_session_id": "s-9"}


@pytest.mark.parametrize("bad", ["", "a b", "ä", "a/b", "..", ".", "x" * 257, "a\r\nb"])
async def test_an_id_no_server_would_take_is_refused_before_it_is_sent(bad: str) -> None:
    async with InvocationsClient() as client:
        for call in (client.get(bad), client.cancel(bad), client.invoke("x", invocation_id=bad)):
            with pytest.raises(ValueError, match="1 to 256"):
                await call
        with pytest.raises(ValueError, match="1 to 256"):
            client.session(bad)


@pytest.mark.parametrize("bad", [{1}, float("nan"), object()])
async def test_a_body_that_is_no_json_is_refused_before_it_is_sent(bad: object) -> None:
    async with InvocationsClient() as client:
        with pytest.raises(ValueError, match="cannot be sent as JSON"):
            await client.invoke(bad)


async def test_the_callers_active_span_is_the_parent(routes: Routes) -> None:
    trace = pytest.importorskip("opentelemetry.sdk.trace")
    span = trace.TracerProvider().get_tracer("caller").start_span("caller")
    from opentelemetry.trace import use_span

    async with InvocationsClient(await routes(post=echo)) as client:
        with use_span(span):
            seen = json.loads((await client.invoke("x")).body)
    assert format(span.get_span_context().trace_id, "032x") in seen["headers"]["traceparent"]


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


async def test_ready_is_false_for_a_server_that_does_not_answer_in_time(serve: Serve) -> None:
    async with InvocationsClient(await serve(never)) as client:
        assert await client.ready(timeout=0.1) is False


async def test_a_closed_client_says_so(serve: Serve) -> None:
    server = Scripted((200, None))
    client = InvocationsClient(await serve(server.answer))
    async with client:
        await client.invoke()
    for call in (client.invoke(), client.connect().__aenter__()):
        with pytest.raises(RuntimeError, match="the client is closed: call it inside"):
            await call


async def test_the_connections_are_closed_with_the_last_that_uses_them(serve: Serve) -> None:
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


async def test_a_trace_parent_of_the_callers_own_wins(serve: Serve) -> None:
    async def tell(request: web.Request) -> web.Response:
        return web.json_response(request.headers.getall("traceparent"))

    trace = pytest.importorskip("opentelemetry.sdk.trace")
    from opentelemetry.trace import use_span

    given = "00-" + "a" * 32 + "-" + "b" * 16 + "-01"
    async with InvocationsClient(await serve(tell)) as client:
        with use_span(trace.TracerProvider().get_tracer("caller").start_span("caller")):
            answer = await client.invoke(headers={"Traceparent": given})
    assert json.loads(answer.body) == [given]


async def test_a_text_that_is_no_unicode_is_refused_before_it_is_sent() -> None:
    async with InvocationsClient() as client:
        with pytest.raises(ValueError, match="cannot be sent as UTF-8: surrogates not allowed at 1"):
            await client.invoke("a\ud800")


async def test_a_hosted_agent_has_no_readiness_to_ask_for() -> None:
    project = "https://account.services.ai.azure.com/api/projects/project"
    async with InvocationsClient.hosted(project, "a", credential=lambda: "t") as client:
        with pytest.raises(ValueError, match="no readiness route"):
            await client.ready()
