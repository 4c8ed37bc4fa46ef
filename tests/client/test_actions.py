"""The action protocol's caller against servers that say exactly what each test needs."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from agentserver.client import (
    ActionError,
    ActionsConnection,
    ClientError,
    ConnectionClosedError,
    DeadlineError,
    InvocationsClient,
    ResponseError,
)
from agentserver.client import action_stream as module

Frame = dict[str, Any]


Reply = Callable[[Frame, "Peer"], Awaitable[None]]


class Peer:
    """The server's end of one connection: what it got, and how it answers."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self.socket = socket
        self.frames: list[Frame] = []
        self.changed = asyncio.Event()

    async def send(self, kind: str, frame: Frame, **members: Any) -> None:
        """Answer *frame*; ids as the contract has them for an invocation."""
        ids = {"invocation_id": frame["invocation_id"], "session_id": frame.get("session_id", "s-0")}
        await self.socket.send_json({"type": kind, **ids, **members})

    async def until(self, action: str, count: int = 1) -> list[Frame]:
        """Wait until that many frames of *action* have come."""
        while len(found := [frame for frame in self.frames if frame["action"] == action]) < count:
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), 5)
        return found


Open = Callable[[Reply], "AbstractAsyncContextManager[tuple[ActionsConnection, Peer]]"]


@pytest.fixture
def opened(aiohttp_server: Callable[[web.Application], Awaitable[TestServer]]) -> Open:
    @asynccontextmanager
    async def start(reply: Reply) -> AsyncGenerator[tuple[ActionsConnection, Peer], None]:
        peers: list[Peer] = []

        async def handler(request: web.Request) -> web.StreamResponse:
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            peer = Peer(socket)
            peers.append(peer)
            async for message in socket:
                frame = json.loads(message.data)
                peer.frames.append(frame)
                peer.changed.set()
                await reply(frame, peer)
            return socket

        app = web.Application()
        app.router.add_get("/invocations_ws/ws", handler)
        server = await aiohttp_server(app)
        async with InvocationsClient(server.make_url("/"), session_id="s-1") as client:
            async with client.actions() as actions:
                await actions.ping()
                yield actions, peers[0]

    return start


async def silent(_frame: Frame, _peer: Peer) -> None:
    """Answers nothing."""


async def tokens(frame: Frame, peer: Peer) -> None:
    """Streams as many payloads as asked for; says yes to everything else."""
    if frame["action"] == "invoke":
        for number in range(frame["payload"]["count"]):
            await peer.send("stream_chunk", frame, payload={"n": number})
        await peer.send("stream_end", frame)
    elif "invocation_id" in frame:
        answer = {"type": "result", "invocation_id": frame["invocation_id"], "payload": frame["action"]}
        await peer.socket.send_json(answer)


async def test_an_invocation_gets_its_answer_and_ids(opened: Open) -> None:
    async def reply(frame: Frame, peer: Peer) -> None:
        await peer.send("result", frame, payload={"echo": frame["payload"]})

    async with opened(reply) as (actions, peer):
        result = await actions.invoke({"a": 1}, invocation_id="i-1")
        other = await actions.invoke({}, session_id="s-2")
    assert (result.payload, result.invocation_id, result.session_id) == ({"echo": {"a": 1}}, "i-1", "s-1")
    assert other.session_id == "s-2"
    assert peer.frames[0] == {
        "action": "invoke",
        "invocation_id": "i-1",
        "session_id": "s-1",
        "payload": {"a": 1},
    }


async def test_many_invocations_run_at_once_and_each_gets_its_own_answer(opened: Open) -> None:
    waiting: list[Frame] = []

    async def last_first(frame: Frame, peer: Peer) -> None:
        waiting.append(frame)
        if len(waiting) == 50:
            for earlier in reversed(waiting):
                await peer.send("result", earlier, payload=earlier["payload"]["n"])

    async with opened(last_first) as (actions, _):
        results = await asyncio.gather(*(actions.invoke({"n": number}) for number in range(50)))
    assert [result.payload for result in results] == list(range(50))


async def test_a_stream_gives_its_payloads_as_they_come(opened: Open) -> None:
    async with opened(tokens) as (actions, _):
        async with actions.stream({"count": 3}) as stream:
            assert [payload async for payload in stream] == [{"n": 0}, {"n": 1}, {"n": 2}]
            assert stream.session_id == "s-1"
            assert [payload async for payload in stream] == []
        assert (await actions.invoke({"count": 2})).payload == [{"n": 0}, {"n": 1}]
        assert (await actions.invoke({"count": 0})).payload == []


async def test_an_answer_that_comes_at_once_is_a_stream_of_one(opened: Open) -> None:
    async def reply(frame: Frame, peer: Peer) -> None:
        await peer.send("result", frame, payload="all")

    async with opened(reply) as (actions, _):
        async with actions.stream({}) as stream:
            assert [payload async for payload in stream] == ["all"]


async def test_get_and_cancel_are_told_from_the_invocation_they_are_about(opened: Open) -> None:
    async def reply(frame: Frame, peer: Peer) -> None:
        if frame["action"] == "get_invocation":
            await peer.socket.send_json({"type": "result", "invocation_id": "i-1", "payload": "half"})
        elif frame["action"] == "cancel_invocation":
            await peer.socket.send_json({"type": "result", "invocation_id": "i-1", "payload": "cancelled"})
            error = {"code": "cancelled", "message": "The invocation was cancelled"}
            await peer.send("error", peer.frames[0], error=error)

    async with opened(reply) as (actions, peer):
        running = asyncio.create_task(actions.invoke({}, invocation_id="i-1"))
        await peer.until("invoke")
        assert await actions.get("i-1") == "half"
        assert await actions.cancel("i-1") == "cancelled"
        with pytest.raises(ActionError) as caught:
            await running
    assert (caught.value.code, caught.value.invocation_id, caught.value.session_id) == (
        "cancelled",
        "i-1",
        "s-1",
    )


async def test_an_error_frame_is_raised_and_the_connection_goes_on(opened: Open) -> None:
    async def reply(frame: Frame, peer: Peer) -> None:
        error = {"code": "quota_exceeded", "message": "Tomorrow"}
        if frame["action"] == "invoke" and frame["payload"]:
            await peer.send("result", frame, payload=1)
        elif frame["action"] == "invoke":
            await peer.send("error", frame, error=error)
        else:
            body = {"type": "error", "invocation_id": frame["invocation_id"], "error": error}
            await peer.socket.send_json(body)

    async with opened(reply) as (actions, _):
        with pytest.raises(ActionError, match="quota_exceeded: Tomorrow"):
            await actions.invoke({})
        with pytest.raises(ActionError, match="quota_exceeded: Tomorrow"):
            await actions.get("i-9")
        assert (await actions.invoke({"ok": True})).payload == 1


async def test_leaving_a_stream_early_cancels_its_invocation(opened: Open) -> None:
    async def endless(frame: Frame, peer: Peer) -> None:
        if frame["action"] == "invoke":
            await peer.send("stream_chunk", frame, payload=0)

    async with opened(endless) as (actions, peer):
        async with actions.stream({}, invocation_id="i-1") as stream:
            async for _ in stream:
                break
        assert (await peer.until("cancel_invocation"))[0]["invocation_id"] == "i-1"


async def test_an_answer_that_does_not_come_is_a_deadline_error_and_a_cancel(opened: Open) -> None:
    async with opened(silent) as (actions, peer):
        with pytest.raises(DeadlineError) as caught:
            await actions.invoke({}, invocation_id="i-1", timeout=0.05)
        with pytest.raises(DeadlineError):
            await actions.get("i-1", timeout=0.05)
        await peer.until("cancel_invocation")
    assert caught.value.invocation_id == "i-1"


async def test_when_the_connection_ends_everything_under_way_fails_with_its_code(opened: Open) -> None:
    async def close(_frame: Frame, peer: Peer) -> None:
        if len(peer.frames) == 2:
            await peer.socket.close(code=1011, message=b"Internal server error")

    async with opened(close) as (actions, _):
        outcomes = await asyncio.gather(actions.invoke({}), actions.get("i-1"), return_exceptions=True)
        late = await asyncio.gather(actions.invoke({}), return_exceptions=True)
    for outcome in (*outcomes, *late):
        assert isinstance(outcome, ConnectionClosedError)
        assert (outcome.code, outcome.reason) == (1011, "Internal server error")


@pytest.mark.parametrize(
    "nonsense", ["{", '{"type": "what"}', '{"type": "stream_end", "invocation_id": "a", "session_id": "b"}']
)
async def test_a_server_that_breaks_the_protocol_is_left_with_1002(opened: Open, nonsense: str) -> None:
    async def reply(_frame: Frame, peer: Peer) -> None:
        await peer.socket.send_str(nonsense)

    async with opened(reply) as (actions, peer):
        with pytest.raises(ConnectionClosedError, match="broke the protocol") as caught:
            await actions.invoke({})
    assert caught.value.code == 1002
    assert peer.socket.close_code == 1002


async def test_the_servers_ping_is_answered_with_a_pong(opened: Open) -> None:
    async def reply(frame: Frame, peer: Peer) -> None:
        if frame["action"] == "invoke":
            await peer.socket.send_json({"type": "ping"})
        else:
            await peer.send("result", peer.frames[0], payload=frame["action"])

    async with opened(reply) as (actions, _):
        assert (await actions.invoke({})).payload == "pong"


async def test_an_error_about_nothing_is_logged_and_harms_nobody(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    async def reply(frame: Frame, peer: Peer) -> None:
        error = {"code": "invalid_json", "message": "No"}
        await peer.socket.send_json({"type": "error", "error": error})
        await peer.send("result", frame, payload=1)

    with caplog.at_level(logging.WARNING, "agentserver.client"):
        async with opened(reply) as (actions, _):
            assert (await actions.invoke({})).payload == 1
    assert "invalid_json: No" in caplog.text


async def test_a_reader_too_far_behind_loses_its_own_stream_and_no_other(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BACKLOG", 5)

    async with opened(tokens) as (actions, peer):
        async with actions.stream({"count": 50}) as slow:
            assert await actions.get("other") == "get_invocation"
            await peer.until("cancel_invocation")
            with pytest.raises(ClientError, match="5 payloads behind"):
                _ = [payload async for payload in slow]


@pytest.mark.parametrize("payload", [{"a": {1}}, {"a": float("nan")}])
async def test_a_payload_that_is_no_json_is_refused_and_its_id_stays_free(opened: Open, payload: Any) -> None:
    async with opened(tokens) as (actions, _):
        with pytest.raises(ValueError, match="cannot be sent as JSON"):
            await actions.invoke(payload, invocation_id="i-1")
        assert (await actions.invoke({"count": 1}, invocation_id="i-1")).payload == [{"n": 0}]


async def test_a_bad_id_is_refused_before_it_is_sent(opened: Open) -> None:
    async with opened(tokens) as (actions, peer):
        for call in (actions.invoke({}, invocation_id="a b"), actions.get("a b"), actions.cancel("")):
            with pytest.raises(ValueError, match="1 to 256"):
                await call
    assert peer.frames == []


async def test_a_stream_that_falls_silent_ends_at_the_idle_time_out(opened: Open) -> None:
    async def hesitant(frame: Frame, peer: Peer) -> None:
        if frame["action"] == "invoke":
            await peer.send("stream_chunk", frame, payload=0)

    async with opened(hesitant) as (actions, peer):
        async with actions.stream({}, invocation_id="i-1", idle_timeout=1) as stream:
            payloads = aiter(stream)
            assert await anext(payloads) == 0
            with pytest.raises(DeadlineError, match="nothing came within 1 s") as caught:
                await anext(payloads)
        await peer.until("cancel_invocation")
    assert caught.value.invocation_id == "i-1"


@pytest.mark.parametrize("seconds", [0, -1])
async def test_a_time_out_that_is_none_is_refused_before_anything_is_sent(
    opened: Open, seconds: float
) -> None:
    async with opened(tokens) as (actions, peer):
        for call in (
            actions.invoke({}, timeout=seconds),
            actions.get("i", timeout=seconds),
            actions.cancel("i", timeout=seconds),
        ):
            with pytest.raises(ValueError, match="needs a number of seconds above 0"):
                await call
        with pytest.raises(ValueError, match="above 0"):
            actions.stream({}, idle_timeout=seconds)
    assert peer.frames == []


async def test_a_connection_that_was_not_opened_says_how_to_open_it() -> None:
    async with InvocationsClient() as client:
        with pytest.raises(RuntimeError, match="enter it with 'async with'"):
            await client.actions().invoke({})


async def test_a_server_without_actions_is_a_404(
    aiohttp_server: Callable[[web.Application], Awaitable[TestServer]],
) -> None:
    server = await aiohttp_server(web.Application())
    async with InvocationsClient(server.make_url("/")) as client:
        with pytest.raises(ResponseError, match="no WebSocket there"):
            async with client.actions():
                pass


async def test_the_end_of_the_connection_can_be_awaited_whoever_ends_it(opened: Open) -> None:
    async with opened(silent) as (actions, peer):
        await peer.socket.close(code=4001, message=b"enough")
        closed = await actions.closed()
        assert (closed.code, closed.reason) == (4001, "enough")
    async with opened(silent) as (actions, _):
        await actions.close()
        assert (await actions.closed()).code == 1000
    with pytest.raises(RuntimeError, match="enter it with 'async with'"):
        await InvocationsClient().actions().closed()
