"""``agentserver proxy``: token and preview flag for the pages that the command line names, and no others."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import WSMsgType, web
from yarl import URL

from agentserver.cli.errors import CommandError
from agentserver.cli.relay.carrier import application
from agentserver.cli.relay.upstream import Upstream, endpoint_of
from agentserver.testing import until
from tests.cli.process import clean_environment, cli
from tests.cli.relay.platform import INVOCATIONS, TOKEN, Platform, install_identity, platform
from tests.servers import DEADLINE
from tests.warm_start import warm_starts

PAGE = "http://localhost:3000"
OURS = {"Origin": PAGE}


@asynccontextmanager
async def proxied() -> AsyncGenerator[tuple[Platform, aiohttp.ClientSession, str], None]:
    """The stand-in, a client of a relay to it that pages of `PAGE` may use, and where that is."""
    async with platform() as agent:
        runner = web.AppRunner(application(Upstream(endpoint_of(agent.agent)), [PAGE]))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession(url) as session:
                yield agent, session, url
        finally:
            await runner.cleanup()


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSERVER_TOKEN", TOKEN)


async def test_a_call_of_a_named_page_gets_token_and_preview_flag_and_its_answer_as_it_is() -> None:
    async with proxied() as (agent, session, _):
        headers = {**OURS, "Cookie": "secret=1", "Authorization": "Bearer the-pages-own", "x-client-a": "1"}
        call = session.post("/invocations?agent_session_id=s-1", data=b"created", headers=headers)
        async with call as answer:
            assert (answer.status, await answer.read()) == (201, b"created")
            assert answer.headers["Access-Control-Allow-Origin"] == PAGE
            assert answer.headers["x-agent-invocation-id"] == "i-1"
            assert "Set-Cookie" not in answer.headers
            assert TOKEN not in str(answer.headers)
        (seen,) = agent.seen
        assert (seen.path, dict(seen.query)) == (
            INVOCATIONS,
            {"agent_session_id": "s-1", "api-version": "v1"},
        )
        assert seen.headers.getall("Authorization") == [f"Bearer {TOKEN}"]
        assert seen.headers["x-client-a"] == "1"
        assert not {"Cookie", "Origin", "Referer"} & set(seen.headers)
        async with session.post("/invocations/i-1/cancel", headers=OURS) as answer:
            assert answer.status == 200
        assert agent.seen[-1].path == f"{INVOCATIONS}/i-1/cancel"


async def test_events_come_as_they_happen_and_a_broken_answer_is_broken() -> None:
    async with proxied() as (_, session, _):
        async with session.post("/invocations", data=b"events", headers=OURS) as answer:
            assert await answer.content.readuntil(b"\n\n") == b"data: 0\n\n"
            assert await answer.read() == b"data: 1\n\ndata: 2\n\n"
        with pytest.raises(aiohttp.ClientError):
            async with session.post("/invocations", data=b"events broken", headers=OURS) as answer:
                await answer.read()


async def test_only_pages_that_were_named_are_let_in() -> None:
    async with proxied() as (agent, session, url):
        port = URL(url).port
        for headers in (
            {},
            {"Origin": "null"},
            {"Origin": "http://evil.test"},
            {"Origin": f"{PAGE}0"},
            {"Origin": PAGE, "Host": f"evil.test:{port}"},
        ):
            async with session.post("/invocations", data=b"x", headers=headers) as answer:
                assert answer.status == 403, headers
                if headers.get("Origin") != PAGE:
                    assert "Access-Control-Allow-Origin" not in answer.headers
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                await session.ws_connect("/invocations_ws", headers=headers)
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        async with session.options("/invocations", headers={**OURS, **asked}) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (204, PAGE)
        async with session.options("/invocations", headers={"Origin": "http://evil.test", **asked}) as answer:
            assert answer.status == 403
        assert agent.seen == []


@pytest.mark.parametrize(
    "path", ["/", "/invocations/../../other", "/invocations/%2e%2e/x", "/invocations/a%2Fb", "/x"]
)
async def test_no_path_leaves_the_agents_own_addresses(path: str) -> None:
    async with proxied() as (agent, _, url), aiohttp.ClientSession() as other:
        async with other.get(URL(url + path, encoded=True), headers=OURS) as answer:
            assert answer.status == 404
        assert agent.seen == []


async def test_a_websocket_is_carried_with_pings_protocols_and_closes() -> None:
    async with proxied() as (agent, session, _):
        async with session.ws_connect(
            "/invocations_ws?agent_session_id=s-1", headers=OURS, protocols=["chat"], autoping=False
        ) as websocket:
            assert websocket.protocol == "chat"
            await websocket.send_str("h\u00e4llo")
            assert await websocket.receive_str() == "h\u00e4llo"
            await websocket.send_bytes(b"\x00\xff")
            assert await websocket.receive_bytes() == b"\x00\xff"
            await websocket.ping(b"there?")
            assert await websocket.receive() == (WSMsgType.PONG, b"there?", "")
            await websocket.send_str("close 4001 bye")
            assert await websocket.receive() == (WSMsgType.CLOSE, 4001, "bye")
        assert agent.seen[0].query["agent_session_id"] == "s-1"
        websocket = await session.ws_connect("/invocations_ws", headers=OURS)
        await websocket.send_str("vanish")
        assert (await websocket.receive()).type in {WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR}
        assert websocket.close_code == 1006
        before = len(agent.seen)
        websocket = await session.ws_connect("/invocations_ws", headers=OURS)
        await websocket.close()
        await until(lambda: len(agent.seen) == before + 2, timeout=DEADLINE)  # its end, too


async def test_a_refused_token_and_an_agent_that_is_not_there_are_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENTSERVER_TOKEN", "wrong")
    async with proxied() as (_, session, _):
        async with session.post("/invocations", headers=OURS) as answer:
            assert (answer.status, (await answer.json())["error"]["code"]) == (401, "unauthorized")
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await session.ws_connect("/invocations_ws", headers=OURS)
    runner = web.AppRunner(
        application(Upstream(endpoint_of("http://127.0.0.1:9/api/projects/p/agents/a")), [PAGE])
    )
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/invocations"
        async with session.post(url, headers=OURS) as answer:
            error = (await answer.json())["error"]
    await runner.cleanup()
    assert (answer.status, error["code"]) == (502, "unreachable")


def test_addresses_are_read_and_bad_ones_named() -> None:
    project = "https://x.services.ai.azure.com/api/projects/p"
    for url, agent in (
        (f"{project}/agents/a", None),
        (f"{project}/agents/a/endpoint/protocols/invocations", None),
        (project, "a"),
    ):
        assert endpoint_of(url, agent).invocations.path == INVOCATIONS
    assert str(endpoint_of("http://localhost:8088").invocations) == "http://localhost:8088/invocations"
    with pytest.raises(CommandError, match="the address is 'nowhere'"):
        endpoint_of("nowhere")
    with pytest.raises(CommandError, match="the project endpoint is"):
        endpoint_of("http://localhost", "a")


async def test_what_is_missing_is_said_in_one_sentence() -> None:
    hosted = "https://x.services.ai.azure.com/api/projects/p/agents/a"
    outcome = await cli("proxy", hosted, "--origin", PAGE)
    assert (outcome.code, outcome.sentence.partition(":")[0]) == (5, "A hosted agent needs a token")
    outcome = await cli("proxy", hosted, "--origin", "*", env={"AGENTSERVER_TOKEN": TOKEN})
    assert "every page could use your token" in outcome.sentence
    outcome = await cli(
        "proxy", hosted.replace("https", "http"), "--origin", PAGE, env={"AGENTSERVER_TOKEN": TOKEN}
    )
    assert "must not travel in the open" in outcome.sentence


async def test_the_command_takes_its_token_from_azure_identity(tmp_path: Path) -> None:
    install_identity(tmp_path)
    environment = clean_environment()
    environment["PYTHONPATH"] = f"{tmp_path}:{environment['PYTHONPATH']}"
    async with platform() as agent, aiohttp.ClientSession() as session:
        with warm_starts():
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agentserver.cli", "proxy", agent.agent),
                *("--origin", PAGE, "--port", "0"),
                stderr=asyncio.subprocess.PIPE,
                env=environment,
            )
        try:
            assert process.stderr is not None
            line = (await asyncio.wait_for(process.stderr.readline(), DEADLINE)).decode()
            url = line.split("calls to ")[1].split(" go to")[0]
            async with session.post(f"{url}/invocations", data=b"hello", headers=OURS) as answer:
                assert (answer.status, await answer.read()) == (200, b"hello")
        finally:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), DEADLINE) == 0
