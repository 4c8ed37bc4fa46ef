"""What ``dev`` shows a developer: close codes, reasons, single actions, own frames; and ``--cors``."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path
from typing import cast

import aiohttp
import pytest

from agentserver import InvocationContext, InvocationHandler
from agentserver.cli.development.log import own_traceback
from agentserver.client import ResponseError
from agentserver.testing import in_process
from tests.cli.commands.test_dev import listening, save
from tests.cli.process import cli
from tests.cli.pseudo_terminal import terminal

AGENT = """
from agentserver import BadRequestError, InvocationActionHandler, InvocationError

class Counter(InvocationActionHandler):
    async def handle(self, request, context):
        if await request.text() == "bad":
            raise BadRequestError("Send something good")
        return "good"

    async def invoke(self, payload, context):
        if "to" not in payload:
            raise InvocationError("no_number", "Say how far to count")
        for number in range(payload["to"]):
            yield {"n": number}

    async def handle_websocket(self, websocket, context):
        await websocket.close(code=4001)
"""
ORIGIN = "http://localhost:3000"


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    path = tmp_path / "agent.py"
    path.write_text(AGENT)
    return path


async def test_a_refused_request_is_shown_with_its_reason(agent: Path) -> None:
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = await listening(screen)
        async with aiohttp.ClientSession() as client:
            async with client.post(url, data="good"), client.post(url, data="bad"):
                pass
            async with client.put(url):
                pass
        await screen.until("POST /invocations 200")
        assert re.fullmatch(r" [\d.]+ ms\n", await screen.until("\n"))
        await screen.until("POST /invocations 400")
        await screen.until(" ms: invalid_request: Send something good")
        await screen.until("PUT /invocations 405")
        await screen.until(" ms: method_not_allowed: PUT is not allowed here, use POST")


async def test_a_connection_is_shown_with_its_close_code_and_each_of_its_actions(agent: Path) -> None:
    save(agent, AGENT.partition("    async def handle_websocket")[0])
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = (await listening(screen)).removesuffix("/invocations")
        done = await cli("connect", "--actions", "--json", "--url", url, stdin='{"to": 2}\n{}\n')
        ids = [json.loads(line)["invocation_id"] for line in done.out.splitlines() if '"invoke"' in line]
        await screen.until("WebSocket closed with 1000")
    assert len(ids) == 2
    lines = screen.text.splitlines()
    (counted,) = (line for line in lines if ids[0] in line)
    (refused,) = (line for line in lines if ids[1] in line)
    assert " invoke done after " in counted
    assert " invoke no_number: Say how far to count after " in refused


async def test_a_close_code_of_the_agents_own_is_shown(agent: Path) -> None:
    save(agent, AGENT.replace("InvocationActionHandler", "InvocationWebSocketHandler"))
    async with terminal("dev", str(agent), "--port", "0") as screen:
        url = (await listening(screen)).removesuffix("/invocations")
        assert (await cli("connect", "--url", url)).code == 6
        await screen.until("WebSocket closed with 4001")


async def test_a_page_of_the_origin_may_call_and_no_other(agent: Path) -> None:
    async with terminal("dev", str(agent), "--port", "0", "--cors", ORIGIN) as screen:
        url = await listening(screen)
        page = {"Origin": ORIGIN}
        asked = {
            **page,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-client-mood",
        }
        async with aiohttp.ClientSession() as client:
            async with client.options(url, headers=asked) as answer:
                assert (answer.status, await answer.read()) == (204, b"")
                assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
                assert "POST" in answer.headers["Access-Control-Allow-Methods"]
                assert answer.headers["Access-Control-Allow-Headers"] == "x-client-mood"
            for body, status in (("good", 200), ("bad", 400)):
                async with client.post(url, data=body, headers=page) as answer:
                    assert answer.status == status
                    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
                    assert "x-agent-invocation-id" in answer.headers["Access-Control-Expose-Headers"]
            async with client.post(url, data="good", headers={"Origin": "http://elsewhere"}) as answer:
                assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("origin", ["localhost:3000", "http://localhost:3000/", "http://", "ftp://x"])
async def test_what_is_no_origin_ends_with_2_and_one_sentence(origin: str, agent: Path) -> None:
    done = await cli("dev", str(agent), "--cors", origin)
    assert done.code == 2
    assert f"'{origin}' is no origin: give one such as http://localhost:3000, or *" in done.sentence


def test_a_traceback_of_own_frames_needs_nothing_deprecated() -> None:
    with pytest.raises(SyntaxError) as broken:
        compile("def f(:", "agent.py", "exec")
    error = LookupError("outer")
    error.__cause__ = ValueError("inner")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "def f(:" in own_traceback(broken.value)
        text = own_traceback(error)
    assert "ValueError: inner" in text
    assert text.endswith("LookupError: outer")


class Wrong(InvocationHandler[int, int]):
    async def handle(self, request: int, context: InvocationContext) -> int:
        return cast("int", "one")


async def test_what_the_framework_says_of_an_answer_is_one_line_without_its_own_frames(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with in_process(Wrong) as agent:
        with pytest.raises(ResponseError):
            await agent.client.invoke(1)
    (error,) = (record.exc_info[1] for record in caplog.records if record.exc_info)
    assert error is not None
    assert own_traceback(error) == (
        "TypeError: Wrong gave a reply, a str, that is not what it says:"
        " $: expected a whole number, got a string"
    )
