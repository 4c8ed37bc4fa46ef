"""What the page can ask for: to send, to connect, to break, to replay and to copy."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from typing import Any

import pytest

from tests.inspector.inspected import Inspected, inspected

pytestmark = pytest.mark.asyncio(loop_scope="module")

BROKEN = "broken off before its end"
BODIES = [
    b"plain",
    b'it\'s "quoted" $HOME `id` \\n %s !',
    b"two\nlines\r\n\n",
    "umlauts äöü €".encode(),
    b"\x00\x01\xfe\xff binary",
    b"@file",
    b"-",
]


async def test_a_call_goes_out_with_its_headers_and_body_and_is_seen_as_the_pages() -> None:
    async with inspected() as dev:
        asked = {
            "path": "/invocations?a=b",
            "headers": [["x-client-a", "1"], ["x-client-a", "2"]],
            "body": "é",
        }
        call = (await dev.post("/api/send", **asked))["call"]
        found = await dev.exchange(call=call, end="complete")
    assert (found["by"], found["path"]) == ("page", "/invocations?a=b")
    assert [value for name, value in found["request"]["headers"] if name == "x-client-a"] == ["1", "2"]
    assert found["response"]["body"]["text"] == "é"


@pytest.mark.parametrize(
    ("path", "asked", "words"),
    [
        ("/api/send", {"path": "http://evil.test/"}, "The path must begin with '/'"),
        ("/api/send", {"path": "/ HTTP/1.1\r\nX: y"}, "The path must begin with '/'"),
        ("/api/send", {"method": "GET /"}, "The method is 'GET /', which is none"),
        ("/api/send", {"headers": [["a", "b\r\nc: d"]]}, "The value of the header a has a line break"),
        ("/api/send", {"headers": [["a b", "c"]]}, "'a b' is no header's name"),
        ("/api/send", {"headers": 1}, "headers must be a list of pairs"),
        ("/api/send", {"faults": 1}, "faults must be a JSON object"),
        ("/api/send", {"faults": {"rate": -1}}, "rate must be a whole number, 0 or more"),
        ("/api/send", {"body": 1}, "body must be text"),
        ("/api/send", {"body": "\ud800"}, "body has half of a character"),
        ("/api/send", {"body64": "*"}, "body64 is no Base64"),
        ("/api/say", {"call": 99}, "The WebSocket is not open"),
        ("/api/say", {"call": 1, "kind": "x"}, "The kind is 'x'"),
        ("/api/say", {"call": 1, "kind": "ping", "data": "x" * 126}, "A ping has 125 bytes at most"),
        ("/api/say", {"call": 1, "kind": "close", "code": 999}, "The close code must be from 1000 to 4999"),
        ("/api/say", {"call": 1, "kind": "close", "data": "x" * 124}, "The reason of a close has 123 bytes"),
        ("/api/replay", {"exchange": 99}, "That exchange is not kept any more"),
        ("/api/agent", {"do": "rm -rf"}, "do must be one of kill, reload, terminate"),
    ],
)
async def test_a_mistake_is_named_in_one_sentence(
    dev: Inspected, path: str, asked: dict[str, Any], words: str
) -> None:
    answer = await dev.post(path, **asked)
    assert answer["status"] == 400
    assert words in answer["error"]


async def test_a_slow_reader_and_one_that_leaves_have_the_effect_they_name() -> None:
    async with inspected() as dev:
        asked: dict[str, Any] = {"body": "events 50", "faults": {"drop_after": 300}}
        left = await dev.exchange(call=(await dev.post("/api/send", **asked))["call"], end=BROKEN)
        assert 0 < left["received"] < 1900
        asked = {"body": "events 1000"}
        call = (await dev.post("/api/send", **asked))["call"]
        await dev.exchange(call=call, status=200)
        await dev.post("/api/leave", call=call)
        await dev.exchange(call=call, end=BROKEN)
        call = (await dev.post("/api/send", body="events 30", faults={"rate": 500}))["call"]
        began = asyncio.get_running_loop().time()
        await dev.exchange(call=call, end="complete")
        assert asyncio.get_running_loop().time() - began < 10


async def test_a_websocket_is_driven_with_text_bytes_pings_and_closes() -> None:
    async with inspected() as dev:
        call = await connected(dev)
        binary = base64.b64encode(b"\x00\xff").decode()
        for said in (
            {"kind": "text", "data": "hällo"},
            {"kind": "binary", "data64": binary},
            {"kind": "ping", "data": "are you there"},
            {"kind": "pong"},
            {"kind": "text", "data": "ping"},
        ):
            assert await dev.post("/api/say", call=call, **said) == {}
        await dev.exchange(call=call, parts=12)
        assert await dev.post("/api/say", call=call, kind="close", code=4000, data="done") == {}
        found = await dev.exchange(call=call, end="closed")
    frames = [(part["sender"], part["kind"]) for part in found["list"][2:]]
    for kind, (client, agent) in {"text": (2, 1), "binary": (1, 1), "ping": (1, 1), "pong": (2, 1)}.items():
        assert frames.count(("client", kind)) == client, kind
        assert frames.count(("agent", kind)) == agent, kind
    assert found["closed"] == {"by": "client", "code": 4000, "reason": "done"}


@pytest.mark.parametrize("code", [1000, 1001, 1009, 4001])
async def test_a_close_is_shown_with_side_code_and_reason(dev: Inspected, code: int) -> None:
    call = await connected(dev)
    await dev.post("/api/say", call=call, data=f"close {code} because")
    found = await dev.exchange(call=call, end="closed")
    assert found["closed"] == {"by": "agent", "code": code, "reason": "because"}


async def test_a_handler_that_fails_and_a_page_that_vanishes_are_told_apart(dev: Inspected) -> None:
    call = await connected(dev)
    await dev.post("/api/say", call=call, data="fail")
    found = await dev.exchange(call=call, end="closed")
    assert (found["closed"]["by"], found["closed"]["code"]) == ("agent", 1011)
    call = await connected(dev)
    await dev.post("/api/leave", call=call)
    assert (await dev.exchange(call=call, end="broken"))["closed"]["code"] == 1006


async def connected(dev: Inspected) -> int:
    """Open a WebSocket and return the number of the call."""
    call: int = (await dev.post("/api/connect", path="/invocations_ws", headers=[["x-client-a", "b"]]))[
        "call"
    ]
    await dev.exchange(call=call, status=101)
    return call


@pytest.mark.parametrize("body", BODIES)
async def test_replay_and_what_is_copied_give_the_same_answer(dev: Inspected, body: bytes) -> None:
    asked = {"body64": base64.b64encode(body).decode(), "headers": [["x-client-q", 'it\'s "ü"']]}
    call = (await dev.post("/api/send", **asked))["call"]
    one = await dev.exchange(call=call, end="complete")
    again = (await dev.post("/api/replay", exchange=one["id"]))["call"]
    seen = [await dev.exchange(call=again, end="complete")]
    for form, command in (("curl", ("sh", "-c")), ("python", (sys.executable, "-c"))):
        text = await dev.get(f"/api/exchanges/{one['id']}/{form}")
        before = (await dev.known())["exchanges"][-1]["id"]
        assert await run(*command, text) == 0
        seen.append(await dev.exchange(id=before + 1, end="complete"))
    for other in seen:
        assert other["status"] == one["status"] == 200
        assert other["request"]["body"] == one["request"]["body"]
        assert other["response"]["body"] == one["response"]["body"]
        assert ["x-client-q", 'it\'s "ü"'] in other["request"]["headers"]


async def run(*command: str) -> int:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL, env=dict(os.environ)
    )
    return await process.wait()


async def test_everything_is_exported_as_lines_of_json(dev: Inspected) -> None:
    await dev.post("/api/clear")
    await dev.invoke("one")
    await dev.invoke("events 2")
    await dev.exchange(kind="stream", end="complete")
    lines = [json.loads(line) for line in (await dev.get("/api/export")).splitlines()]
    heads = [line for line in lines if line["type"] == "exchange"]
    assert [head["request"]["body"]["text"] for head in heads] == ["one", "events 2"]
    assert sum(line["type"] == "part" for line in lines) == sum(head["parts"] for head in heads)


async def test_the_agents_documents_are_shown(dev: Inspected) -> None:
    found = {each["name"]: each for each in (await dev.get("/api/documents"))["documents"]}
    assert json.loads(found["OpenAPI"]["text"])["info"]["title"] == "Developed"
    assert (found["AsyncAPI, JSON"]["status"], found["AsyncAPI, JSON"]["text"]) == (404, None)
    assert not any("docs" in each["path"] for each in (await dev.known())["exchanges"])
