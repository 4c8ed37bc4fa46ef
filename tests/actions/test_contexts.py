"""What one action sets in its context reaches no other, on whichever connection and in whatever order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextvars import ContextVar
from typing import Any

from opentelemetry import baggage, trace

from agentserver import ActionContext, InvocationActionHandler
from agentserver._telemetry.correlation import correlation
from agentserver.actions._frame_writer import FrameWriter
from agentserver.testing import on_socket
from tests.actions.agents import Payload
from tests.actions.conversation import conversing
from tests.websocket.wire import on_both_loops

WHO: ContextVar[str] = ContextVar("who", default="nobody")


class Leaving(InvocationActionHandler):
    """Answers whom it found in its context, and leaves its own id there."""

    async def invoke(self, payload: Payload, context: ActionContext) -> AsyncIterator[Any]:
        for _ in range(payload.get("times", 2)):
            yield {
                "who": WHO.get(),
                "id": correlation()["invocation_id"],
                "baggage": baggage.get_baggage("azure.ai.agentserver.invocation_id"),
                "trace": trace.get_current_span().get_span_context().trace_id,
            }
            WHO.set(context.invocation_id)
            await asyncio.sleep(payload.get("pause", 0))

    async def get_invocation(self, context: ActionContext) -> str:
        found = WHO.get()
        WHO.set("a get")
        return found

    async def cancel_invocation(self, context: ActionContext) -> str:
        found = WHO.get()
        WHO.set("a cancel")
        return found


@on_both_loops
async def test_actions_of_one_connection_and_of_two_see_their_own_context_alone() -> None:
    async with on_socket(Leaving) as agent, conversing(agent.url) as one, conversing(agent.url) as two:
        for number in range(5):
            for talk in (one, two):
                await talk.invoke(f"i{number}", "s", pause=0.01, times=3)
        seen: dict[tuple[int, str], list[dict[str, Any]]] = {}
        for index, talk in enumerate((one, two)):
            ended = 0
            while ended < 5:
                frame = await talk.frame()
                if frame["type"] == "stream_end":
                    ended += 1
                else:
                    seen.setdefault((index, frame["invocation_id"]), []).append(frame["payload"])
            for action in ("get_invocation", "cancel_invocation", "get_invocation"):
                await talk.act(action, "i1")
                assert (await talk.frame())["payload"] == "nobody"
    assert len(seen) == 10
    for (_, invocation_id), payloads in seen.items():
        assert [payload["who"] for payload in payloads] == ["nobody", invocation_id, invocation_id]
        assert {payload["id"] for payload in payloads} == {invocation_id}
        assert {payload["baggage"] for payload in payloads} == {invocation_id}
        assert len({payload["trace"] for payload in payloads}) == 1


class Sink:
    """Notes who is in the context in which frames go out."""

    def __init__(self) -> None:
        self.users: list[str] = []

    def write_texts(self, texts: Sequence[bytes]) -> bool:
        self.users.append(WHO.get())
        return False

    async def drain(self) -> None:
        self.users.append(WHO.get())


@on_both_loops
async def test_frames_go_out_in_the_context_of_the_connection_and_not_of_an_action() -> None:
    WHO.set("the connection")
    sink = Sink()
    writer = FrameWriter(sink)

    async def action(name: str) -> None:
        WHO.set(name)
        for _ in range(3):
            await writer.put(b"x" * 20_000)

    await asyncio.gather(*[asyncio.create_task(action(name)) for name in ("a", "b")])
    await asyncio.sleep(0.01)
    assert len(sink.users) > 6
    assert set(sink.users) == {"the connection"}
