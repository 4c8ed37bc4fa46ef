"""``connect``: the console, typed to in a terminal and fed by a pipe, against a real server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from aiohttp import WSMsgType, web

from agentserver import (
    InvocationContext,
    InvocationWebSocketHandler,
)
from tests.cli.process import Outcome, cli
from tests.cli.pseudo_terminal import terminal
from tests.cli.terminal.conversation import enter, events, ready
from tests.cli.terminal.counter import Counter
from tests.servers import free_port, serving


class Parrot(InvocationWebSocketHandler):
    """Says it back, or does what it is told."""

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        async for message in websocket:
            if message.data == "fail":
                raise RuntimeError("a secret")
            if message.data == "leave":
                await websocket.close(code=4001, message=b"enough")
            elif message.data == "done":
                return
            elif message.data == "later":
                await asyncio.sleep(0.2)
                await websocket.send_str("at last")
            elif message.data == "paint":
                await websocket.send_str("\x1b[31mred\x07")
            elif message.type is WSMsgType.BINARY:
                await websocket.send_bytes(message.data[::-1])
            else:
                await websocket.send_str(f"You said: {message.data}")


@pytest.fixture
async def parrot() -> AsyncGenerator[str, None]:
    async with serving(Parrot) as client:
        yield str(client._base_url)


@pytest.fixture
async def counter() -> AsyncGenerator[str, None]:
    async with serving(Counter) as client:
        yield str(client._base_url)


async def piped(url: str, *lines: str, options: tuple[str, ...] = ()) -> Outcome:
    """Talk to the parrot, which is told in the end that it is done."""
    stdin = "\n".join([*lines, "done"])
    return await cli("connect", "--url", url, "--linger", "10", *options, stdin=stdin)


async def test_a_pipe_sends_lines_and_prints_messages(parrot: str) -> None:
    done = await piped(parrot, "hello", "", '/json {"a": 1}', "/text /slash")
    assert (done.code, done.err) == (0, "")
    assert done.out == 'You said: hello\nYou said: {"a": 1}\nYou said: /slash\n'


async def test_a_pipe_waits_for_a_silence_before_it_closes(parrot: str) -> None:
    done = await cli("connect", "--url", parrot, "--linger", "5", stdin="later\n/close")
    assert (done.code, done.out) == (0, "")
    done = await cli("connect", "--url", parrot, "--linger", "2", stdin="later")
    assert (done.code, done.out) == (0, "at last\n")


async def test_a_file_goes_out_as_one_binary_message(parrot: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"\x00\x01abc")
    done = await piped(parrot, f"/file {tmp_path / 'data'}")
    assert done.out == "(5 bytes: 63 62 61 01 00)\n"


async def test_json_shows_everything_that_happens(parrot: str, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    lines = ["hello", f"/file {tmp_path / 'data'}", "/ping"]
    done = await piped(parrot, *lines, options=("--json", "--session", "s-1"))
    assert done.code == 0
    opened, *received, closed = events(done)
    assert opened == {"type": "open", "session_id": "s-1"}
    assert {"type": "text", "data": "You said: hello"} in received
    assert {"type": "binary", "data": base64.b64encode(b"cba").decode()} in received
    assert any(event["type"] == "pong" and event["milliseconds"] >= 0 for event in received)
    assert closed == {"type": "close", "code": 1000, "reason": ""}


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("leave", 6, "the connection was closed with code 4001: enough"),
        ("fail", 6, "the connection was closed with code 1011: Internal server error"),
        ("/json {", 2, "/json needs JSON: Expecting property name"),
        ("/file no-such-file", 2, "no-such-file cannot be read: No such file or directory"),
        ("/close 999", 2, "/close 999: a code is 1000 or from 3000 to 4999"),
        ("/dance", 2, "There is no /dance: /help says what there is"),
    ],
)
async def test_what_goes_wrong_in_a_pipe_ends_it_with_one_sentence(
    line: str, code: int, words: str, parrot: str
) -> None:
    done = await piped(parrot, line, "more")
    assert done.code == code
    assert words in done.err
    assert done.err.count("\n") == 1


async def test_no_server_no_websocket_and_a_bad_session_end_with_one_sentence(counter: str) -> None:
    done = await cli("connect", "--url", f"http://127.0.0.1:{free_port()}")
    assert done.code == 4
    assert "agentserver run" in done.sentence
    done = await cli("connect", "--url", f"{counter}/nowhere")
    assert done.code == 6
    assert done.sentence == "The agent serves no WebSocket there: try 'agentserver invoke'"
    done = await cli("connect", "--actions", "--url", f"{counter}/nowhere")
    assert (done.code, "does not speak actions" in done.sentence) == (6, True)
    done = await cli("connect", "--url", counter, "--session", "a b")
    assert done.code == 2
    assert "session_id is 'a b'" in done.sentence


async def test_a_person_talks_and_sees_what_comes(parrot: str) -> None:
    async with terminal("connect", "--url", parrot, "--session", "s-1") as screen:
        await ready(screen)
        await enter(screen, "hello", "< You said: hello")
        await enter(screen, "/ping", "pong after ")
        await enter(screen, "/json {", "/json needs JSON")
        await enter(screen, "/help", "/close")
        await enter(screen, "paint", "< \ufffd[31mred\ufffd")
        screen.type("\x04")
        await screen.until("closed with code 1000")
        assert await screen.exit_code() == 0
    assert "Traceback" not in screen.text


async def test_a_person_sees_the_agents_close_while_typing(parrot: str) -> None:
    async with terminal("connect", "--url", parrot) as screen:
        await ready(screen)
        screen.type("leave\rhalf a li")
        await screen.until("closed by the agent with code 4001: enough")
        assert await screen.exit_code() == 6


async def test_a_person_closes_with_a_code_and_completes_words(parrot: str) -> None:
    async with terminal("connect", "--url", parrot) as screen:
        await ready(screen)
        screen.type("/cl\t")
        await screen.until("ose")
        screen.type(" 4000 bye\r")
        await screen.until("closed with code 4000")
        assert await screen.exit_code() == 0


async def test_without_the_extra_a_person_can_still_talk(parrot: str, tmp_path: Path) -> None:
    hidden = tmp_path / "sitecustomize.py"
    hidden.write_text(
        "import importlib.util as u; f = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'prompt_toolkit' else f(name, *a)\n"
    )
    async with terminal("connect", "--url", parrot, env={"PYTHONPATH": str(tmp_path)}) as screen:
        await screen.until("connected")
        screen.type("hello\n")
        await screen.until("< You said: hello")
        screen.type("\x04")
        assert await screen.exit_code() == 0


async def test_a_broken_connection_is_resumed_when_asked(tmp_path: Path) -> None:
    visits: list[str | None] = []

    async def serve(request: web.Request) -> web.WebSocketResponse:
        visits.append(request.query.get("agent_session_id"))
        socket = web.WebSocketResponse()
        socket.headers["x-agent-session-id"] = "s-7"
        await socket.prepare(request)
        await socket.send_str(f"visit {len(visits)}")
        await socket.close(code=1001 if len(visits) == 1 else 1000)
        return socket

    app = web.Application()
    app.router.add_get("/invocations_ws", serve)
    port = free_port()
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        async with terminal("connect", "--reconnect", "--url", f"http://127.0.0.1:{port}") as screen:
            await screen.until("< visit 1")
            await screen.until("connected again, session s-7")
            await screen.until("< visit 2")
            assert await screen.exit_code() == 0
    finally:
        await runner.cleanup()
    assert (len(visits), visits[1]) == (2, "s-7")


async def test_tab_completes_paths(parrot: str, tmp_path: Path) -> None:
    (tmp_path / "some" / "deep place").mkdir(parents=True)
    (tmp_path / "some" / "deep place" / "data.bin").write_bytes(b"abc")
    async with terminal("connect", "--url", parrot, cwd=tmp_path) as screen:
        await ready(screen)
        for typed, completed in (("/file so\t", "me/"), ("de\t", "ep place/"), ("da\t", "ta.bin")):
            screen.type(typed)
            await screen.until(completed)
        screen.type("\r")
        await screen.until("< (3 bytes: 63 62 61)")
        await screen.until(">")
        screen.type("\x04")
        assert await screen.exit_code() == 0


async def test_what_was_typed_is_there_the_next_time_for_its_owner_alone(parrot: str, tmp_path: Path) -> None:
    env = {"XDG_STATE_HOME": str(tmp_path / "state")}
    async with terminal("connect", "--url", parrot, env=env) as screen:
        await ready(screen)
        await enter(screen, "remember me", "< You said: remember me")
        screen.type("\x04")
        assert await screen.exit_code() == 0
    async with terminal("connect", "--url", parrot, env=env) as screen:
        await ready(screen)
        screen.type("\x1b[A\r")
        await screen.until("< You said: remember me")
        await screen.until(">")
        screen.type("\x04")
        assert await screen.exit_code() == 0
    history = tmp_path / "state" / "agentserver" / "history"
    assert history.stat().st_mode & 0o077 == 0
