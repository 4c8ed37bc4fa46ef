"""WebSocket conversations, step by step, with agents in process, on a socket and in a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from agentserver.client import ResponseError
from agentserver.testing import (
    AgentUnderTest,
    Close,
    CloseEvents,
    Conversation,
    in_process,
    on_socket,
    run_server,
)
from tests.testing.agents import Adder, Echo, Parrot

Serve = Callable[..., "AbstractAsyncContextManager[AgentUnderTest]"]
both = pytest.mark.parametrize("serve", [in_process, on_socket])


@both
async def test_a_conversation_reads_as_it_goes(serve: Serve) -> None:
    async with serve(Parrot) as agent, agent.converse(session_id="s-1") as conversation:
        assert conversation.session_id == "s-1"
        assert await conversation.say("hello") == "hello"
        assert await conversation.say_json({"a": 1}) == {"a": 1}
        await conversation.send(b"\x00")
        await conversation.send("two")
        await conversation.expect(b"\x00", "two")
        await conversation.send_json([1])
        await conversation.expect_json([1])
        await conversation.send("bye")
        assert await conversation.closed() == Close(4001, "as you wish")


@both
async def test_every_end_is_seen_on_both_sides(serve: Serve, close_events: CloseEvents) -> None:
    async with serve(Parrot) as agent:
        async with agent.converse() as conversation:
            assert await conversation.close(4002, "enough") == Close(4002)
        assert (await close_events.next()).close_code == 4002
        async with agent.converse() as conversation:
            await conversation.send("oops")
            assert await conversation.closed() == Close(1011, "Internal server error")
        assert (await close_events.next()).error_code == "internal_error"
        async with agent.converse(session_id="s-1") as conversation:
            conversation.vanish()
            event = await close_events.next()
            assert (event.session_id, event.close_code) == ("s-1", 1006)
        async with agent.converse() as conversation:
            pass
        assert (await close_events.next()).close_code == 1000


@both
async def test_a_handler_without_a_websocket_refuses(serve: Serve) -> None:
    async with serve(Echo) as agent:
        with pytest.raises(ResponseError) as caught:
            async with agent.converse():
                pass
    assert (caught.value.status, caught.value.code) == (404, "not_found")


@both
async def test_the_action_protocol_is_spoken_by_the_client(serve: Serve) -> None:
    async with serve(Adder) as agent, agent.client.actions() as actions:
        sums = await asyncio.gather(*(actions.invoke({"numbers": [1, n]}) for n in range(5)))
    assert [result.payload for result in sums] == [[1, 1 + n] for n in range(5)]


async def test_a_conversation_can_be_held_with_a_process() -> None:
    async with run_server(Parrot) as server, server.client() as client:
        async with Conversation(client.connect()) as conversation:
            assert await conversation.say("hello") == "hello"
            server.terminate()
            assert await conversation.closed() == Close(1001)
        assert await server.exit_code() == 0


async def test_a_wrong_message_fails_with_the_conversation_so_far() -> None:
    async with in_process(Parrot) as agent, agent.converse() as conversation:
        await conversation.send("one")
        await conversation.send("x" * 1000)
        with pytest.raises(AssertionError) as caught:
            await conversation.expect("one", "two")
    lines = str(caught.value).splitlines()
    assert lines[:2] == ["'two' was expected; the conversation so far:", "  > 'one'"]
    assert lines[3:5] == ["  < 'one'", f"  < '{'x' * 199}... (1000 in all)"]


async def test_every_way_to_go_wrong_is_a_failed_assertion() -> None:
    async with in_process(Parrot) as agent, agent.converse() as conversation:
        conversation.timeout = 0.05
        with pytest.raises(AssertionError, match=r"no message came within 0\.05 s"):
            await conversation.receive()
        with pytest.raises(AssertionError, match="did not end within"):
            await conversation.closed()
        conversation.timeout = 5
        await conversation.send("{")
        with pytest.raises(AssertionError, match="not JSON"):
            await conversation.receive_json()
        await conversation.send("1")
        with pytest.raises(AssertionError, match=r"'2' was expected"):
            await conversation.expect_json(2)
        await conversation.send("more")
        with pytest.raises(AssertionError, match="end was expected, but a message came"):
            await conversation.closed()
        await conversation.send("bye")
        with pytest.raises(AssertionError, match="the connection ended") as caught:
            await conversation.receive()
    assert "close 4001 as you wish" in str(caught.value)
