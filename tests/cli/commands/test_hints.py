"""Where a command can tell what was meant: addresses without a scheme, WebSockets, ends of invocations."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import pytest
from aiohttp import web

from agentserver import (
    ActionContext,
    InvocationActionHandler,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
)
from tests.cli.process import cli
from tests.servers import free_port, serving


class Echo(InvocationHandler):
    """Echoes; the id of an invocation is its state."""

    async def handle(self, request: web.Request, context: InvocationContext) -> str:
        return await request.text()

    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return {"status": invocation_id}


class Talker(InvocationWebSocketHandler):
    """Talks over a WebSocket alone."""

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        raise AssertionError("nothing may run")


class Actor(InvocationActionHandler):
    """Speaks the action protocol alone."""

    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> Any:
        raise AssertionError("nothing may run")


@pytest.fixture
async def address() -> AsyncGenerator[str, None]:
    async with serving(Echo) as client:
        yield str(client._base_url).removeprefix("http://").rstrip("/")


async def test_an_address_needs_no_scheme(address: str) -> None:
    assert (await cli("invoke", "hi", "--url", address)).out == "hi"
    assert (await cli("invoke", "hi", env={"AGENTSERVER_URL": address})).out == "hi"
    assert (await cli("get", "done", "--url", f"{address}/")).code == 0
    assert (await cli("watch", "done", "--url", address)).code == 0
    done = await cli("connect", "--url", address)
    assert done.sentence == "The agent serves no WebSocket there: try 'agentserver invoke'"
    assert (await cli("conformance", address, "--only", "^headers.request")).code in {0, 1}


async def test_a_project_needs_no_scheme() -> None:
    project = f"127.0.0.1:{free_port()}/api/projects/project"
    done = await cli("invoke", "hi", "--agent", "a", "--project", project, env={"AGENTSERVER_TOKEN": "t"})
    assert (done.code, "https://127.0.0.1:" in done.sentence) == (4, True)


@pytest.mark.parametrize(
    ("state", "code"),
    [("completed", 0), ("failed", 6), ("Error", 6), ("cancelled", 8), ("canceled", 8), ("my-own", 0)],
)
async def test_watch_ends_with_a_code_that_says_how_the_invocation_ended(
    state: str, code: int, address: str
) -> None:
    done = await cli("watch", state, "--url", address)
    assert (done.code, done.err) == (code, "")
    assert state in done.out


@pytest.mark.parametrize(("handler", "command"), [(Talker, "connect"), (Actor, "connect --actions")])
async def test_invoke_says_connect_where_there_is_a_websocket_alone(
    handler: type[InvocationHandler], command: str
) -> None:
    async with serving(handler) as client:
        done = await cli("invoke", "hi", "--url", str(client._base_url))
    assert done.code == 6
    assert done.sentence == (
        f"The agent takes no invocations over HTTP there, but a WebSocket: try 'agentserver {command}'"
    )


async def test_invoke_where_there_is_nothing_says_what_was_answered(address: str) -> None:
    done = await cli("invoke", "hi", "--url", f"{address}/nowhere")
    assert (done.code, done.sentence) == (6, "404 not_found: Not found")
