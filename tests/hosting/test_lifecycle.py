"""The life of the process: start, readiness, stop signals, errors that end it (contract, 8 and 9)."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from agentserver import AgentHostBuilder, InvocationContext, InvocationHandler
from agentserver.errors import ConfigurationError
from tests.servers import ServerProcess, free_port, running, serving

MODULE = ("-m", "tests.agents")


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await request.read()


async def post(url: str, body: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as client, client.post(f"{url}/invocations", data=body) as response:
        return response.status, await response.text()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_signal_lets_the_request_in_flight_finish_and_exits_0(number: int) -> None:
    async with running(*MODULE) as server:
        request = asyncio.create_task(post(server.url, "wind-down"))
        await in_flight(server)
        server.terminate(number)
        assert await request == (200, "wound down")
        assert await server.exit_code() == 0
    assert "Traceback" not in "".join(server.log)


async def in_flight(server: ServerProcess) -> None:
    """Wait until the process has an established connection besides the listener, by asking readiness."""
    async with aiohttp.ClientSession() as client:
        for _ in range(3):
            async with client.get(f"{server.url}/readiness") as response:
                assert response.status == 200


async def test_a_stream_in_flight_is_finished_whole_at_shutdown() -> None:
    async with running(*MODULE) as server, aiohttp.ClientSession() as client:
        async with client.post(f"{server.url}/invocations", data="stream 0.3") as response:
            assert await response.content.readany() == b"first "
            server.terminate()
            assert await response.content.read() == b"last"
        assert await server.exit_code() == 0


async def test_requests_over_the_time_out_are_told_503_and_the_exit_code_is_still_0() -> None:
    variables = {"AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS": "0.2"}
    async with running(*MODULE, environment=variables) as server:
        request = asyncio.create_task(post(server.url, "forever"))
        await in_flight(server)
        server.terminate()
        status, body = await request
        assert (status, "unavailable" in body) == (503, True)
        assert await server.exit_code() == 0
    assert "1 requests were cancelled" in "".join(server.log)


async def test_a_stream_over_the_time_out_is_cut() -> None:
    variables = {"AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS": "0.2"}
    async with running(*MODULE, environment=variables) as server, aiohttp.ClientSession() as client:
        async with client.post(f"{server.url}/invocations", data="stream 60") as response:
            assert await response.content.readany() == b"first "
            server.terminate()
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.content.read()
        assert await server.exit_code() == 0


async def test_readiness_says_503_before_the_listener_closes() -> None:
    async with running(*MODULE, environment={"DELAY": "1.5"}) as server, aiohttp.ClientSession() as client:
        server.terminate()
        await server.until_logged("shutting down")
        async with client.get(f"{server.url}/readiness") as response:
            body = await response.json()
            assert (response.status, body["status"]) == (503, "shutting_down")
            assert response.headers["Connection"] == "close"
        assert await server.exit_code() == 0


async def test_a_second_signal_ends_at_once() -> None:
    async with running(*MODULE) as server:
        request = asyncio.create_task(post(server.url, "forever"))
        await in_flight(server)
        server.terminate()
        await server.until_logged("shutting down")
        server.terminate()
        assert await server.exit_code() == 130
        with pytest.raises(aiohttp.ClientError):
            await request


async def fails_to_start(*arguments: str | Path, **variables: str) -> tuple[int, str]:
    async with running(*arguments, environment=variables) as server:
        code = await server.exit_code()
    return code, "".join(server.log)


async def test_a_taken_port_is_one_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        async with running(*MODULE, port=int(port), wait=False) as server:
            assert await server.exit_code() == 1
    assert "".join(server.log) == (
        f"agentserver: error: port {port} is taken: stop the process that listens on it, or set PORT\n"
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "http", "a whole number from 1 to 65535"),
        ("PORT", "70000", "a whole number from 1 to 65535"),
        ("WS_KEEPALIVE_INTERVAL", "nan", "a number of seconds, 0 or more"),
        ("SSE_KEEPALIVE_INTERVAL", "1.5", "a whole number of seconds, 0 or more"),
        ("AGENTSERVER_LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR"),
        ("FOUNDRY_AGENT_SESSION_ID", "a b", "1 to 256 letters, digits or any of . _ : -"),
    ],
)
async def test_a_bad_variable_is_one_line_that_names_it_and_exit_code_2(
    name: str, value: str, expected: str
) -> None:
    code, log = await fails_to_start(*MODULE, **{name: value})
    assert (code, log) == (2, f"agentserver: error: {name} is {value!r}, but it must be {expected}\n")


async def test_a_builder_that_fails_outside_of_run_is_one_line_too() -> None:
    program = "from agentserver import AgentHost; AgentHost.create_builder()"
    code, log = await fails_to_start("-c", program, PORT="x")
    assert code == 1
    assert log.startswith("agentserver: error: PORT is 'x'")
    assert log.count("\n") == 1


async def test_the_start_up_line_masks_endpoints_and_secrets() -> None:
    variables = {
        "FOUNDRY_PROJECT_ENDPOINT": "https://user:pw@acme.example/api/projects/p?key=hidden",
        "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=hidden",
        "FOUNDRY_AGENT_NAME": "bee",
        "FOUNDRY_AGENT_VERSION": "3",
    }
    async with running(*MODULE, environment=variables) as server:
        await server.until_logged("listening")
    log = "".join(server.log)
    assert "agent=bee:3" in log
    assert "project=https://acme.example " in log
    assert "azure_monitor=present" in log
    assert "hidden" not in log
    assert "pw" not in log


async def test_a_request_writes_one_line_with_its_ids_and_nothing_of_its_content() -> None:
    async with running(*MODULE) as server:
        headers = {
            "x-agent-invocation-id": "inv-9",
            "x-agent-user-id": "secret-user",
            "Authorization": "Bearer secret-token",
        }
        async with (
            aiohttp.ClientSession() as client,
            client.post(
                f"{server.url}/invocations?agent_session_id=s-9", data="secret-body", headers=headers
            ) as response,
        ):
            assert response.status == 200
        server.terminate()
        await server.exit_code()
    lines = [line for line in server.log if "agentserver.requests" in line]
    assert len(lines) == 1
    assert "POST /invocations 200" in lines[0]
    assert "invocation_id=inv-9 session_id=s-9 request_id=" in lines[0]
    assert "secret" not in "".join(server.log)


async def test_the_log_is_json_when_asked_for() -> None:
    async with running(*MODULE, environment={"AGENTSERVER_LOG_FORMAT": "json"}) as server:
        await post(server.url, "hello")
        server.terminate()
        await server.exit_code()
    records = [json.loads(line) for line in server.log]
    (record,) = [record for record in records if record["logger"] == "agentserver.requests"]
    assert {"timestamp", "level", "message", "invocation_id", "session_id", "request_id"} <= record.keys()


async def test_readiness_names_the_failing_check_and_recovers() -> None:
    healthy = False

    async def database() -> bool:
        return healthy

    async def slow() -> None:
        await asyncio.sleep(0 if healthy else 60)

    def configure(builder: AgentHostBuilder) -> None:
        builder.configure_health(
            lambda health: health.add_check("database", database).add_check("slow", slow, timeout=0.05)
        )

    async with serving(Echo, configure) as client:
        async with client.get("/readiness") as response:
            body = await response.json()
            assert (response.status, body["status"], body["failed"]) == (
                503,
                "unhealthy",
                ["database", "slow"],
            )
        healthy = True
        async with client.get("/readiness") as response:
            assert response.status == 200


async def test_a_sync_health_check_is_refused() -> None:
    def ping() -> bool:
        return True

    with pytest.raises(ConfigurationError, match="'async def'"):
        async with serving(Echo, lambda builder: builder.health.add_check("db", ping)):  # type: ignore[arg-type]  # the mistake
            pass


async def test_a_client_that_leaves_cancels_its_handler() -> None:
    started, cancelled = asyncio.Event(), asyncio.Event()

    class Waiting(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.set()
                raise

    async with serving(Waiting) as client:
        request = asyncio.create_task(client.post("/invocations"))
        await asyncio.wait_for(started.wait(), 5)
        request.cancel()
        await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_client_that_leaves_lets_the_handler_finish_if_the_option_says_so() -> None:
    started, proceed, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    class Waiting(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> Any:
            started.set()
            await proceed.wait()
            finished.set()
            return "nobody reads this"

    async with serving(Waiting, lambda builder: builder.configure(cancel_on_disconnect=False)) as client:
        request = asyncio.create_task(client.post("/invocations"))
        await asyncio.wait_for(started.wait(), 5)
        request.cancel()
        await asyncio.wait([request])
        proceed.set()
        await asyncio.wait_for(finished.wait(), 5)


async def test_an_event_stream_is_kept_alive_between_events_and_never_within_one() -> None:
    proceed = asyncio.Event()

    class Slow(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
            response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await response.prepare(request)
            await response.write(b"data: half")
            await asyncio.sleep(1.2)
            await response.write(b" whole\n\n")
            await proceed.wait()
            return response

    async with serving(Slow, environment={"SSE_KEEPALIVE_INTERVAL": "1"}) as client:
        async with client.post("/invocations") as response:
            received = b""
            while b"keep-alive" not in received:
                received += await asyncio.wait_for(response.content.readany(), 10)
            proceed.set()
            received += await response.content.read()
    assert received.startswith(b"data: half whole\n\n: keep-alive\n\n")


async def test_a_reader_that_does_not_keep_up_slows_the_handler_down() -> None:
    sent = 0

    class Flooding(InvocationHandler):
        async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[bytes]:
            nonlocal sent
            for _ in range(1000):
                yield b"x" * 65536
                sent += 1

    async with serving(Flooding) as client:
        port = client._base_url.port if client._base_url else 0
        assert port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=65536)
        writer.write(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        before = -1
        while before != sent or sent == 0:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < 500
        while sent < 1000:
            await reader.read(1 << 20)
        writer.close()


async def test_a_process_can_listen_again_right_after_it_was_killed() -> None:
    port = free_port()
    async with running(*MODULE, port=port) as server:
        await post(server.url, "hello")
        server.terminate(signal.SIGKILL)
        await server.exit_code()
    async with running(*MODULE, port=port) as server:
        assert (await post(server.url, "again"))[0] == 200
