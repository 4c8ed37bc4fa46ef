"""Every snippet about the client runs, and prints what the document says."""

from __future__ import annotations

import ast
import contextlib
import inspect
import io
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from agentserver import FoundryEnvironment, map_invocations_server
from agentserver.testing import on_socket
from tests.documents import Block, blocks

PLATFORM = "https://account.services.ai.azure.com"


async def run(snippet: str) -> str:
    """Run *snippet*, in which ``await`` may stand anywhere, and return what it prints."""
    code = compile(snippet, "snippet", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result: Any = eval(code, {"__name__": "snippet"})  # noqa: S307 - the document is the subject
        if inspect.isawaitable(result):
            await result
    return printed.getvalue()


def handlers() -> dict[str, Any]:
    """The handlers that the document shows, by the name of their file."""
    shown: dict[str, Any] = {}
    for block in blocks("docs/client.md"):
        if block.name:
            scope: dict[str, Any] = {"__name__": block.name.removesuffix(".py")}
            exec(compile(block.text, block.name, "exec"), scope)  # noqa: S102 - the document is the subject
            shown[block.name] = scope.get("Agent") or scope["Adder"]
    return shown


@contextlib.asynccontextmanager
async def platform(agent: Any) -> AsyncGenerator[str, None]:
    """A stand-in for the hosting platform: its addresses, and the flag and the token that it demands."""

    @web.middleware
    async def gate(request: web.Request, handler: Handler) -> web.StreamResponse:
        assert request.headers["Foundry-Features"] == "HostedAgents=V1Preview"
        assert request.headers["Authorization"] == "Bearer a token from your own service"
        return await handler(request)

    app = web.Application(middlewares=[gate])
    for prefix in (
        "/api/projects/project/agents/my-agent/endpoint/protocols",
        "/api/projects/agents/endpoint/protocols",
    ):
        environment = FoundryEnvironment.read({})
        map_invocations_server(app, agent, prefix=prefix, environment=environment, readiness=False)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


SNIPPETS = [block for block in blocks("docs/client.md") if block.language == "python" and not block.name]


@pytest.mark.parametrize("block", SNIPPETS, ids=range(len(SNIPPETS)))
async def test_a_snippet_prints_what_the_document_says(block: Block) -> None:
    shown = handlers()
    handler = shown["adder.py" if "actions" in block.text else "agent.py"]
    serve = platform(handler) if PLATFORM in block.text else on_socket(handler)
    async with serve as served:
        url = served if isinstance(served, str) else served.url
        snippet = block.text.replace("http://localhost:8088", url).replace(PLATFORM, url)
        assert await run(snippet) == block.output
