"""A machine that runs out: of file descriptors, of connections, of patience; and one that is killed."""

from __future__ import annotations

import asyncio
import signal
import time

import aiohttp

from hardening.process import agent, descriptors, note, set_descriptor_limit, status, until
from tests.http.raw import get
from tests.servers import ServerProcess, free_port, running

AGENT = ("-m", "hardening.agent")


def port_of(server: ServerProcess) -> int:
    return int(server.url.rpartition(":")[2])


async def ready(server: ServerProcess) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as client,
            client.get(f"{server.url}/readiness") as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, asyncio.TimeoutError):
        return False


async def test_the_server_survives_that_file_descriptors_run_out_and_recovers() -> None:
    async with agent() as server:
        assert await ready(server)
        set_descriptor_limit(server, descriptors(server) + 20)
        held: list[asyncio.StreamWriter] = []
        for _ in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            held.append(writer)
        served = sum([await answers(writer) for writer in held[:10]])
        assert server.process.returncode is None
        for writer in held:
            writer.close()
        begin = time.monotonic()
        while not await ready(server):
            assert time.monotonic() - begin < 10
            await asyncio.sleep(0.05)
        note(
            "file descriptors run out", f"ready again {time.monotonic() - begin:.2f} s after they were freed"
        )
        assert served == 10, "those that were accepted are served all the time"


async def answers(writer: asyncio.StreamWriter) -> bool:
    # The reader of the same connection is the transport's protocol's own.
    reader: asyncio.StreamReader = writer.transport.get_protocol()._stream_reader  # type: ignore[attr-defined]
    writer.write(get("/readiness"))
    return (await asyncio.wait_for(reader.readuntil(b"}"), 5)).startswith(b"HTTP/1.1 200")


async def test_five_thousand_idle_connections_are_held() -> None:
    number = 5000
    async with agent() as server:
        before = status(server, "VmRSS")
        writers = []
        for _ in range(number):
            _, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
            writers.append(writer)
        await until(lambda: descriptors(server) >= number)
        assert await ready(server)
        each = (status(server, "VmRSS") - before) / number
        note(f"{number} idle connections", f"{each:.1f} KiB each")
        begin = time.monotonic()
        for _ in range(100):
            assert await ready(server)
        note(f"readiness beside {number} idle connections", f"{(time.monotonic() - begin) * 10:.1f} ms each")
        for writer in writers:
            writer.close()
        await until(lambda: descriptors(server) < 100)


async def test_slow_headers_from_a_thousand_clients_do_not_keep_others_out_and_are_ended() -> None:
    number = 1000
    async with agent({"HEADER_TIMEOUT": "3"}) as server:
        connections = [await asyncio.open_connection("127.0.0.1", port_of(server)) for _ in range(number)]
        for _, writer in connections:
            writer.write(b"POST /invocations HTTP/1.1\r\nHost: x\r\nX-A: ")
        begin, slowest = time.monotonic(), 0.0
        while descriptors(server) > 100:
            asked = time.monotonic()
            assert await ready(server)
            slowest = max(slowest, time.monotonic() - asked)
            if time.monotonic() - begin < 2:  # who writes to a closed connection loses the answer on it
                for _, writer in connections:
                    writer.write(b"a")
            await asyncio.sleep(0.2)
            assert time.monotonic() - begin < 30
        note(
            f"{number} clients that send headers byte by byte",
            f"all ended after {time.monotonic() - begin:.1f} s with a limit of 3 s,"
            f" slowest readiness meanwhile {slowest * 1000:.0f} ms",
        )
        answers = [await asyncio.wait_for(reader.read(), 5) for reader, _ in connections]
        assert all(answer.startswith(b"HTTP/1.1 408") for answer in answers)
        for _, writer in connections:
            writer.close()


async def test_it_starts_again_on_the_same_port_right_after_it_was_killed_under_load() -> None:
    port = free_port()
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        running(*AGENT, port=port) as server,
        aiohttp.ClientSession(server.url, connector=connector) as client,
    ):
        requests = [
            asyncio.create_task(client.post("/invocations", params={"sleep": "60"})) for _ in range(200)
        ]
        await until(lambda: descriptors(server) >= 200)
        server.terminate(signal.SIGKILL)
        assert await server.exit_code() == -signal.SIGKILL
        begin = time.monotonic()
        async with running(*AGENT, port=port) as second:
            assert await ready(second)
            note("killed with 200 requests in flight", f"serves again after {time.monotonic() - begin:.2f} s")
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert all(isinstance(outcome, aiohttp.ClientError) for outcome in outcomes)
