"""``connect --actions``: many invocations, typed in a terminal and fed by a pipe, against a real server."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest
from aiohttp import web

from tests.cli.process import cli
from tests.cli.pseudo_terminal import terminal
from tests.cli.terminal.conversation import enter, events, ready
from tests.servers import free_port


async def test_actions_from_a_pipe_run_side_by_side_to_their_ends(counter: str) -> None:
    lines = ['{"to": 2}', '{"to": 3}']
    done = await cli("connect", "--actions", "--json", "--url", counter, stdin="\n".join(lines))
    assert done.code == 0
    shown = events(done)
    first, second = (event["invocation_id"] for event in shown if event["type"] == "invoke")
    for invocation_id, count in ((first, 2), (second, 3)):
        answers = [
            e["payload"] for e in shown if e["type"] == "payload" and e["invocation_id"] == invocation_id
        ]
        assert answers == [{"n": number} for number in range(count)]
        assert {"type": "end", "invocation_id": invocation_id} in shown
    assert shown[-1] == {"type": "close", "code": 1000, "reason": ""}


async def test_an_action_that_fails_ends_a_pipe_with_6(counter: str) -> None:
    done = await cli("connect", "--actions", "--url", counter, stdin='{"to": 1}\n{}\n')
    assert (done.code, done.out) == (6, '{"n": 0}\n')
    assert done.err == "agentserver: error: no_number: Say how far to count\n"


@pytest.mark.parametrize("line", ["hello", "[1]", "{"])
async def test_an_action_needs_a_json_object(line: str, counter: str) -> None:
    done = await cli("connect", "--actions", "--url", counter, stdin=line)
    assert done.code == 2
    assert done.sentence == 'An invocation is a JSON object, such as {"message": "hello"}'


async def test_a_person_invokes_gets_and_cancels(counter: str) -> None:
    async with terminal("connect", "--actions", "--url", counter) as screen:
        await ready(screen)
        await enter(screen, '{"to": 0}', '< #1 {"n": 0}')
        await enter(screen, "/get #1", '< #1 {"state": "known"')
        await enter(screen, "/get #9", "There is no invocation #9")
        await enter(screen, "/cancel 1", "#1 cancelled: ")
        await enter(screen, '{"to": 1}', "#2 done")
        screen.type("/quit\r")
        await screen.until("closed with code 1000")
        assert await screen.exit_code() == 0


async def test_tab_completes_words_and_the_numbers_of_invocations(counter: str) -> None:
    async with terminal("connect", "--actions", "--url", counter) as screen:
        await ready(screen)
        await enter(screen, '{"to": 0}', '< #1 {"n": 0}')
        screen.type("/ca\t")
        await screen.until("ncel")
        screen.type(" #\t")
        await screen.until("1")
        screen.type("\r")
        await screen.until("#1 cancelled: ")
        await screen.until(">")
        screen.type("\x04")
        assert await screen.exit_code() == 0


class Breaking:
    """A server of actions whose first connection ends while an invocation runs."""

    def __init__(self) -> None:
        self.sessions: list[str | None] = []

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """Answer ``GET /invocations_ws/ws``."""
        self.sessions.append(request.query.get("agent_session_id"))
        socket = web.WebSocketResponse()
        socket.headers["x-agent-session-id"] = "s-7"
        await socket.prepare(request)
        async for message in socket:
            invoked = json.loads(message.data)
            if len(self.sessions) == 1:
                await socket.close(code=1001)
            else:
                answer = {"type": "result", "invocation_id": invoked["invocation_id"], "payload": {"n": 2}}
                await socket.send_json(answer)
        return socket


@pytest.fixture
async def breaking() -> AsyncGenerator[tuple[str, Breaking], None]:
    server = Breaking()
    app = web.Application()
    app.router.add_get("/invocations_ws/ws", server.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"127.0.0.1:{port}", server
    await runner.cleanup()


async def test_actions_go_on_over_another_connection_when_asked(breaking: tuple[str, Breaking]) -> None:
    url, server = breaking
    async with terminal("connect", "--actions", "--reconnect", "--url", url) as screen:
        await ready(screen)
        screen.type('{"to": 1}\r')
        await screen.until("#1 may have run: the connection was closed with code 1001")
        await enter(screen, "", "connected again, session s-7")
        await enter(screen, '{"to": 2}', '< #2 {"n": 2}')
        screen.type("\x04")
        await screen.until("closed with code 1000")
        assert await screen.exit_code() == 0
    assert (len(server.sessions), server.sessions[1]) == (2, "s-7")


async def test_a_script_learns_which_invocation_was_lost_and_ends_with_its_code(
    breaking: tuple[str, Breaking],
) -> None:
    url, _ = breaking
    done = await cli("connect", "--actions", "--reconnect", "--json", "--url", url, stdin='{"to": 1}\n')
    assert done.code == 6
    lost = [event for event in events(done) if event["type"] == "lost"]
    assert len(lost) == 1
    assert "closed with code 1001" in done.err


async def test_without_being_asked_the_end_of_the_connection_is_the_end(
    breaking: tuple[str, Breaking],
) -> None:
    url, server = breaking
    done = await cli("connect", "--actions", "--url", url, stdin='{"to": 1}\n')
    assert (done.code, len(server.sessions)) == (6, 1)
