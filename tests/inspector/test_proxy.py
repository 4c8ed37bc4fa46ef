"""``agentserver proxy`` with a browser application: its pages reach the agent, and other pages do not."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from tests.cli.process import clean_environment
from tests.cli.relay.platform import TOKEN, platform
from tests.inspector.browser import CHROMIUM, NO_CHROMIUM, browser
from tests.servers import DEADLINE, exchange_raw

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason=NO_CHROMIUM)]

PAGE = """<!doctype html><title>application</title><script>
const tried = async (work) => { try { return await work() } catch (error) { return "refused" } };
const called = async () => {
  const headers = {"content-type": "application/json", "x-client-a": "1"}, body = '{"text": "h\u00e4llo"}';
  const answer = await fetch("PROXY/invocations?agent_session_id=s-1", {method: "POST", body, headers});
  return [answer.status, await answer.text(), answer.headers.get("x-agent-invocation-id")];
};
const streamed = async () => {
  const answer = await fetch("PROXY/invocations", {method: "POST", body: "events"});
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const first = (await reader.read()).value;
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
  return [first, rest];
};
const talked = () => new Promise((done, fail) => {
  const socket = new WebSocket("PROXY/invocations_ws?agent_session_id=s-1".replace("http", "ws"), ["chat"]);
  const said = [socket.protocol];
  socket.binaryType = "arraybuffer";
  socket.onerror = fail;
  socket.onopen = () => { said[0] = socket.protocol; socket.send("h\u00e4llo"); };
  socket.onmessage = ({data}) => {
    said.push(typeof data === "string" ? data : [...new Uint8Array(data)]);
    socket.send(typeof data === "string" ? new Uint8Array([0, 255]) : "close 4001 bye");
  };
  socket.onclose = ({code, reason}) => done([...said, code, reason]);
});
window.results = (async () => ({
  called: await tried(called), streamed: await tried(streamed), talked: await tried(talked)}))();
</script>"""


@asynccontextmanager
async def application() -> AsyncGenerator[tuple[dict[str, str], str, str], None]:
    """Serve a page on two origins: what it is, and where."""
    page = {"text": ""}

    async def serve(_: web.BaseRequest) -> web.Response:
        return web.Response(text=page["text"], content_type="text/html")

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    for _ in range(2):
        await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        one, other = (f"http://localhost:{address[1]}" for address in runner.addresses)
        yield page, one, other
    finally:
        await runner.cleanup()


async def test_a_page_of_a_named_origin_calls_the_agent_and_one_of_another_origin_does_not() -> None:
    async with platform() as agent, application() as (page, named, other), browser() as chromium:
        process = await asyncio.create_subprocess_exec(
            *(
                sys.executable,
                "-m",
                "agentserver.cli",
                "proxy",
                agent.agent,
                "--origin",
                named,
                "--port",
                "0",
            ),
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment({"AGENTSERVER_TOKEN": TOKEN}),
        )
        try:
            assert process.stderr is not None
            line = (await asyncio.wait_for(process.stderr.readline(), DEADLINE)).decode()
            page["text"] = PAGE.replace("PROXY", line.split("calls to ")[1].split(" go to")[0])

            async def results(origin: str) -> dict[str, Any]:
                shown = await chromium.page(f"{origin}/")
                await shown.until("window.results !== undefined")
                found: dict[str, Any] = await shown.run("window.results")
                seen = json.dumps([found, shown.asked, shown.sent_headers])
                assert TOKEN not in seen
                await shown.close()
                return found

            assert await results(named) == {
                "called": [200, '{"text": "h\u00e4llo"}', "i-1"],
                "streamed": ["data: 0\n\n", "data: 1\n\ndata: 2\n\n"],
                "talked": ["chat", "h\u00e4llo", [0, 255], 4001, "bye"],
            }
            assert agent.seen[0].headers["x-client-a"] == "1"
            before = len(agent.seen)
            assert set((await results(other)).values()) == {"refused"}
            assert len(agent.seen) == before
            port = int(page["text"].split('fetch("http://127.0.0.1:')[1].split("/")[0])
            assert (await exchange_raw(port, b"no HTTP\r\n\r\n")).startswith(b"HTTP/1.0 400")
        finally:
            process.terminate()
            rest = await process.stderr.read() if process.stderr is not None else b""
            assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
    assert b"Traceback" not in rest
