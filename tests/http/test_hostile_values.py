"""Nothing a client sends reaches a response header or the log unchecked (contract, section 2)."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentserver import InvocationContext, InvocationHandler
from agentserver._telemetry.logging import JsonFormatter, TextFormatter
from tests.http.raw import Answer, ask, get, post
from tests.servers import ROOT, running, serving

ID = re.compile(r"[A-Za-z0-9._:-]{1,256}")
TRACE = "0af7651916cd43dd8448eb211c80319c"


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        body = await request.read()
        if body == b"fail":
            raise RuntimeError("it failed")
        return {
            "invocation_id": context.invocation_id,
            "session_id": context.session_id,
            "client": dict(context.client_headers),
            "query": list(context.query_parameters.items()),
        }

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return {"invocation_id": invocation_id, "context": context.invocation_id}


@contextmanager
def logged(formatter: logging.Formatter) -> Generator[io.StringIO, None, None]:
    """What the log says meanwhile, as a process would write it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    logger = logging.getLogger("agentserver")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield written
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def check(answer: Answer) -> None:
    """What holds for every answer there is."""
    for name in ("x-request-id", "x-platform-server"):
        assert len(answer.headers.getall(name)) == 1
    assert ID.fullmatch(answer.headers["x-request-id"])
    for name in ("x-agent-invocation-id", "x-agent-session-id"):
        for value in answer.headers.getall(name, []):
            assert ID.fullmatch(value)
    for name, value in answer.headers.items():
        assert f"{name}{value}".isprintable()


# What HTTP lets a client put into a header's value: any bytes but control characters (RFC 9110, 5.5).
CONTROLS = bytes(range(9)) + bytes(range(10, 32)) + b"\x7f"
header_values = st.binary(max_size=300).map(
    lambda value: value.translate(None, CONTROLS).decode("latin-1").strip(" \t")
)
hostile = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


@pytest.fixture(scope="module")
def client(loop: asyncio.AbstractEventLoop) -> Iterator[aiohttp.ClientSession]:
    context = serving(Echo)
    yield loop.run_until_complete(context.__aenter__())
    loop.run_until_complete(context.__aexit__(None, None, None))


class Ids(NamedTuple):
    invocation_id: str
    session_id: str
    request_id: str
    traceparent: str
    body: bytes


@hostile
@given(
    ids=st.builds(
        Ids,
        header_values,
        st.text(max_size=300),
        header_values,
        header_values | st.just(f"00-{TRACE}-b7ad6b7169203331-01"),
        st.sampled_from([b"", b"fail"]),
    )
)
def test_whatever_ids_a_client_sends_headers_and_log_lines_stay_clean(
    loop: asyncio.AbstractEventLoop, client: aiohttp.ClientSession, ids: Ids
) -> None:
    invocation_id, session_id, request_id, traceparent, body = ids
    path = "/invocations?agent_session_id=" + quote(session_id.encode("utf-8", "replace"), safe="")
    headers = (
        f"x-agent-invocation-id: {invocation_id}",
        f"x-request-id: {request_id}",
        f"traceparent: {traceparent}",
    )
    with logged(JsonFormatter()) as written:
        answer = loop.run_until_complete(ask(client, post(body, *headers, path=path)))
    check(answer)
    answered = answer.headers["x-agent-invocation-id"]
    assert (answered == invocation_id) == bool(ID.fullmatch(invocation_id))
    assert (answer.headers["x-agent-session-id"] == session_id) == bool(ID.fullmatch(session_id))
    for line in written.getvalue().splitlines():
        record = json.loads(line)
        assert record["invocation_id"] == answered
        assert record["request_id"] == answer.headers["x-request-id"]


@hostile
@given(path=st.binary(max_size=200), method=st.sampled_from(["GET", "POST", "DELETE"]))
def test_whatever_path_a_client_asks_for_is_one_clean_line_of_the_log(
    loop: asyncio.AbstractEventLoop, client: aiohttp.ClientSession, path: bytes, method: str
) -> None:
    target = "/invocations/" + quote(path, safe="/?#[]!$&'()*+,;=:@")
    with logged(TextFormatter()) as written:
        answer = loop.run_until_complete(ask(client, get(target, method=method)))
    check(answer)
    lines = written.getvalue().split("\n")
    assert len([line for line in lines if " INFO " in line]) == 1
    assert all(line.isprintable() for line in lines)


@hostile
@given(name=st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,40}", fullmatch=True), value=header_values)
def test_whatever_header_a_client_sends_reaches_the_handler_alone(
    loop: asyncio.AbstractEventLoop, client: aiohttp.ClientSession, name: str, value: str
) -> None:
    with logged(TextFormatter()) as written:
        answer = loop.run_until_complete(ask(client, post(b"", f"x-client-{name}: sent-{value}")))
    check(answer)
    assert answer.status == 200
    assert json.loads(answer.body)["client"].keys() == {f"x-client-{name}"}
    assert "sent-" not in str(answer.headers)
    assert "sent-" not in written.getvalue()


@hostile
@given(pairs=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=5))
def test_whatever_query_a_client_sends_reaches_the_handler_unchanged(
    loop: asyncio.AbstractEventLoop, client: aiohttp.ClientSession, pairs: list[tuple[str, str]]
) -> None:
    def encoded(text: str) -> str:
        return quote(text.encode("utf-8", "surrogatepass"), safe="")

    pairs = [(name or "n", value) for name, value in pairs]
    query = "&".join(f"{encoded(name)}={encoded(value)}" for name, value in pairs)
    answer = loop.run_until_complete(ask(client, post(path=f"/invocations?{query}")))
    check(answer)
    assert json.loads(answer.body)["query"] == [[name, value] for name, value in pairs]


SECRETS = {
    "x-agent-user-isolation-key": "secret-user-key",
    "x-agent-chat-isolation-key": "secret-chat-key",
    "x-agent-user-id": "secret-user-id",
    "x-agent-foundry-call-id": "secret-call-id",
    "Authorization": "Bearer secret-token",
    "Cookie": "session=secret-cookie",
    "x-client-key": "secret-client",
    "x-api-key": "secret-api-key",
}


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize("level", ["INFO", "DEBUG"])
async def test_bodies_keys_and_tokens_never_reach_the_log(log_format: str, level: str) -> None:
    variables = {"AGENTSERVER_LOG_FORMAT": log_format, "AGENTSERVER_LOG_LEVEL": level}
    async with running("-m", "tests.agents", environment=variables) as server:
        async with aiohttp.ClientSession(server.url, headers=SECRETS) as client:
            for method, path in (
                ("POST", "/invocations?code=secret-query"),
                ("GET", "/invocations/i?code=secret-query"),
                ("POST", "/invocations/i/cancel"),
                ("POST", "/nope?code=secret-query"),
                ("PUT", "/readiness?code=secret-query"),
            ):
                async with client.request(method, path, data="secret-body") as response:
                    assert response.status < 500
                    assert "secret" not in str(response.headers)
        server.terminate()
        assert await server.exit_code() == 0
    assert "agentserver.requests" in "".join(server.log)
    assert "secret" not in "".join(server.log)


@pytest.mark.parametrize("path", [b"/inv\xc2\x85ocations/\x9babc", b"/invocations/\x85?a=\x85", b"/\xff"])
async def test_a_path_with_control_characters_as_bytes_is_refused_and_not_in_the_log(path: bytes) -> None:
    with logged(TextFormatter()) as written:
        async with serving(Echo) as client:
            answer = await ask(client, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.error == (400, "invalid_request", "user")
    assert all(line.isprintable() for line in written.getvalue().split("\n"))


def test_the_same_holds_without_aiohttps_parser_in_c() -> None:
    if "AIOHTTP_NO_EXTENSIONS" in os.environ:
        pytest.skip("this is the run without it")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", "as_bytes"]
    done = subprocess.run(
        command,
        env={**os.environ, "AIOHTTP_NO_EXTENSIONS": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr
