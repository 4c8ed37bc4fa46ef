"""Sessions that outlive their process, and spans that hang below their request."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agentserver.integrations.events import Done, ToolResult, Usage
from agentserver.integrations.handler import AgentHandler
from agentserver.integrations.sessions import FileSessionStore, MemorySessionStore
from agentserver.testing import AgentUnderTest, capture_spans, on_socket
from tests.frameworks.agents import AGENTS, is_installed
from tests.frameworks.calls import ask, new_session, stream
from tests.frameworks.model import StandIn

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEPT_BY_US = [name for name in AGENTS if name != "langgraph_with_its_own"]


@pytest.fixture
def made(name: str, model: StandIn) -> type[AgentHandler]:
    if not is_installed(name):
        pytest.skip(f"{name} is not installed: make frameworks-test installs it")
    return AGENTS[name][1](model.url)


@asynccontextmanager
async def next_process(name: str, model: StandIn, place: Path) -> AsyncGenerator[AgentUnderTest, None]:
    """The agent anew, with nothing but the files of the one before it."""
    handler = AGENTS[name][1](model.url)
    handler.sessions = FileSessionStore(place)
    async with on_socket(handler) as agent:
        yield agent


@pytest.mark.parametrize("name", KEPT_BY_US)
async def test_a_session_in_files_goes_on_in_the_next_process(
    name: str, made: type[AgentHandler], model: StandIn, tmp_path: Path
) -> None:
    async with next_process(name, model, tmp_path) as agent:
        await stream(agent, "weather in Rome", "s")
    async with next_process(name, model, tmp_path) as agent:
        assert (await stream(agent, "two", "s"))[-1] == Done("You said: two (2)", Usage(10, 5))
        _, answer = await ask(agent, "refund A-7", "s")
    ids = [{"id": asked["id"], "approved": True, "value": True} for asked in answer["requests"]]
    async with next_process(name, model, tmp_path) as agent:
        assert (await ask(agent, "now?", "s"))[0] == 409
        assert (await ask(agent, {"answers": ids}, "s"))[1]["output"] == "The tool says: refunded A-7"
    async with next_process(name, model, tmp_path) as agent:
        assert (await ask(agent, "four", "s"))[1]["output"] == "You said: four (4)"


@pytest.mark.parametrize("name", KEPT_BY_US)
async def test_memory_holds_as_many_sessions_as_it_may(name: str, made: type[AgentHandler]) -> None:
    made.sessions = MemorySessionStore(limit=1)
    async with on_socket(made) as agent:
        for session in ("a", "b"):
            await ask(agent, "one", session)
        assert (await ask(agent, "two", "b"))[1]["output"] == "You said: two (2)"
        assert (await ask(agent, "two", "a"))[1]["output"] == "You said: two (1)"


@pytest.mark.parametrize("name", AGENTS)
async def test_what_tools_gave_is_shown_if_the_handler_says_so(name: str, made: type[AgentHandler]) -> None:
    made.tool_outputs = True
    async with on_socket(made) as agent:
        for city, failed, output in (("Rome", False, "sunny in Rome"), ("Nowhere", True, None)):
            events = await stream(agent, f"weather in {city}", new_session())
            (result,) = [event for event in events if isinstance(event, ToolResult)]
            assert (result.failed, result.output) == (failed, output)


@pytest.mark.parametrize("name", AGENTS)
@pytest.mark.parametrize("events", [True, False])
async def test_the_spans_of_a_run_hang_below_its_request_and_say_nothing_of_what_was_said(
    events: bool, name: str, made: type[AgentHandler]
) -> None:
    with capture_spans() as spans:
        async with on_socket(made) as agent:
            await (stream if events else ask)(agent, "weather in Timbuktu", new_session())
            request = await spans.named("invoke_agent")
    found: dict[str, Any] = {}
    above = [request]
    while above:
        parent = above.pop()
        for child in spans.children_of(parent):
            found[child.name] = dict(child.attributes or {})
            above.append(child)
    assert {"chat stand-in", "execute_tool get_weather"} <= found.keys()
    assert "Timbuktu" not in str(found)
    assert found["chat stand-in"]["gen_ai.usage.output_tokens"] == 5


@pytest.mark.parametrize("name", AGENTS)
async def test_a_run_that_fails_marks_its_spans(name: str, made: type[AgentHandler]) -> None:
    with capture_spans() as spans:
        async with on_socket(made) as agent:
            assert (await ask(agent, "fail 500", new_session()))[0] == 503
            await spans.named("invoke_agent")
        (chat,) = [span for span in spans if span.name == "chat stand-in"]
    assert not chat.status.is_ok


@pytest.mark.parametrize("name", AGENTS)
async def test_nobody_is_called_but_the_model(
    name: str, made: type[AgentHandler], model: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The OpenAI Agents SDK would send its traces to api.openai.com, LangGraph to LangSmith if told to.
    monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
    called: list[str] = []

    def noting(send: Any) -> Any:
        async def note(self: Any, request: Any, *args: Any, **more: Any) -> Any:
            called.append(str(request.url.host))
            return await send(self, request, *args, **more)

        return note

    for library in ("httpx", "httpx2"):
        client: Any = pytest.importorskip(library).AsyncClient
        monkeypatch.setattr(client, "send", noting(client.send))
    async with on_socket(made) as agent:
        assert (await ask(agent, "hello", new_session()))[0] == 200
    assert set(called) == {"127.0.0.1"}
