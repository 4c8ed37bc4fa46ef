"""What the inspector sees of the agent: every exchange, whoever the client is."""

from __future__ import annotations

import asyncio
import base64
import signal
import time
from itertools import pairwise

import aiohttp

from tests.inspector.inspected import inspected
from tests.servers import exchange_raw


async def test_an_exchange_of_any_client_is_seen_with_its_headers_and_bytes() -> None:
    async with inspected() as dev:
        assert await dev.invoke(b"\x00\xff", **{"x-client-tenant": "acme"}) == b"\x00\xff"
        found = await dev.exchange(by="client", end="complete")
    assert (found["method"], found["path"], found["status"], found["kind"]) == (
        "POST",
        "/invocations",
        200,
        "http",
    )
    assert ["x-client-tenant", "acme"] in found["request"]["headers"]
    assert ["x-said", "yes"] in found["response"]["headers"]
    for body in (found["request"]["body"], found["response"]["body"]):
        assert base64.b64decode(body["base64"]) == b"\x00\xff"
    assert [(part["sender"], part["kind"]) for part in found["list"]] == [
        ("client", "head"),
        ("client", "body"),
        ("agent", "head"),
        ("agent", "body"),
    ]
    offsets = [part["at"] for part in found["list"]]
    assert offsets == sorted(offsets)
    assert 0 <= found["first"] <= found["duration"]


async def test_events_of_a_stream_are_seen_one_by_one_with_their_times() -> None:
    async with inspected() as dev:
        await dev.invoke("events 20")
        found = await dev.exchange(kind="stream", end="complete")
    events = [part for part in found["list"] if part["kind"] == "event"]
    assert [event["text"] for event in events] == [f"event {number}" for number in range(20)]
    assert [event["event_id"] for event in events] == [str(number) for number in range(20)]
    gaps = [later["at"] - one["at"] for one, later in pairwise(events)]
    assert min(gaps) >= 9  # the agent waits for 10 ms between two of them


async def test_the_gaps_between_twenty_events_are_right_to_five_milliseconds() -> None:
    async with inspected() as dev:
        await dev.invoke("clock")
        found = await dev.exchange(kind="stream", end="complete")
    events = [part for part in found["list"] if part["kind"] == "event"]
    assert len(events) == 20
    errors = [
        abs((later["at"] - one["at"]) - (int(later["text"]) - int(one["text"])) / 1e6)
        for one, later in pairwise(events)
    ]
    # The agent may be interrupted between its clock and its write, on a machine that is busy.
    assert sorted(errors)[-3] < 5, errors


async def test_requests_on_one_connection_and_in_one_packet_are_seen_apart() -> None:
    async with inspected() as dev:
        port = int(dev.agent.rpartition(":")[2])
        one = b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n"
        chunked = b"POST /invocations HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        chunked += b"Transfer-Encoding: chunked\r\n\r\n"
        await exchange_raw(port, one + b"1" + one + b"2" + chunked + b"2\r\n34\r\n1\r\n5\r\n0\r\n\r\n")
        await dev.exchange(sent=3, end="complete")
        found = (await dev.known())["exchanges"]
        bodies = [
            (await dev.get(f"/api/exchanges/{each['id']}"))["response"]["body"]["text"] for each in found
        ]
    assert bodies == ["1", "2", "345"]


async def test_frames_of_a_websocket_are_seen_unmasked_and_inflated_with_the_close() -> None:
    async with inspected() as dev:
        url = dev.agent.replace("http", "ws") + "/invocations_ws"
        async with dev.session.ws_connect(url, compress=15) as websocket:
            for _ in range(2):
                await websocket.send_str("hello " * 50)
                assert await websocket.receive_str() == "hello " * 50
            await websocket.send_bytes(b"\xff")
            assert await websocket.receive_bytes() == b"\xff"
            await websocket.send_str("close 4001 bye")
            await websocket.receive()
        found = await dev.exchange(kind="websocket", end="closed")
    frames = [(part["sender"], part["kind"]) for part in found["list"] if part["kind"] != "head"]
    assert frames[:6] == [
        *[("client", "text"), ("agent", "text")] * 2,
        ("client", "binary"),
        ("agent", "binary"),
    ]
    assert [part["text"] for part in found["list"] if part["kind"] == "text"][:4] == ["hello " * 50] * 4
    assert found["closed"] == {"by": "agent", "code": 4001, "reason": "bye"}


async def test_a_client_that_vanishes_is_told_from_one_that_closes() -> None:
    async with inspected() as dev:
        url = dev.agent.replace("http", "ws") + "/invocations_ws"
        async with aiohttp.ClientSession() as other:
            websocket = await other.ws_connect(url)
            transport = websocket.get_extra_info("socket")
            assert transport is not None
            transport.shutdown(2)
            found = await dev.exchange(kind="websocket", end="broken")
        assert (found["closed"]["by"], found["closed"]["code"]) == ("nobody", 1006)
        reader, writer = await asyncio.open_connection("127.0.0.1", int(dev.agent.rpartition(":")[2]))
        writer.write(b"POST /invocations HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12")
        await dev.exchange(kind="http", end="")
        writer.close()
        assert (await dev.exchange(kind="http", end="broken off before its end"))["sent"] == 2
        await reader.read()


async def test_what_the_agent_logs_is_seen_with_its_ids_and_exceptions() -> None:
    async with inspected() as dev:
        await dev.invoke("log hello", **{"x-agent-invocation-id": "inv-1"})
        await dev.invoke("fail")
        await dev.exchange(status=500)
        logs = (await dev.known())["logs"]
    (said,) = [entry for entry in logs if entry["logger"] == "developed"]
    assert (said["level"], said["message"]) == ("WARNING", "the agent says hello")
    assert said["ids"]["invocation_id"]
    assert any("LookupError: no such word" in entry["exception"] for entry in logs)


async def test_an_agent_that_is_killed_leaves_what_was_seen_and_can_be_started_again() -> None:
    async with inspected() as dev:
        url = dev.agent.replace("http", "ws") + "/invocations_ws"
        async with dev.session.ws_connect(url) as websocket:
            await websocket.send_str("hello")
            assert await websocket.receive_str() == "hello"
            await dev.exchange(kind="websocket", parts=4)
            await dev.post("/api/agent", do="kill")
            assert (await dev.agent_is("ended"))["exit"] == -9
        found = await dev.exchange(kind="websocket", end="the agent's process ended")
        assert [part["kind"] for part in found["list"]] == ["head", "head", "text", "text"]
        await dev.post("/api/agent", do="reload")
        await dev.agent_is("running", life=2)
        assert await dev.invoke("again") == b"again"
        await dev.exchange(kind="http", end="complete")
        await dev.post("/api/agent", do="terminate")
        assert (await dev.agent_is("ended"))["exit"] == 0


async def test_an_inspector_that_reads_nothing_does_not_delay_the_agent_and_counts_what_it_missed() -> None:
    async with inspected() as dev:
        await dev.invoke("before")
        await dev.exchange(sent=6, end="complete")
        dev.process.send_signal(signal.SIGSTOP)
        try:
            slowest = 0.0
            for _ in range(120):
                began = time.monotonic()
                assert len(await dev.invoke(b"x" * 100_000)) == 100_000
                slowest = max(slowest, time.monotonic() - began)
        finally:
            dev.process.send_signal(signal.SIGCONT)
        assert slowest < 2  # a pipe that is waited for would never be read
        await dev.invoke("behind it")
        await dev.exchange(sent=9, end="complete")  # on a connection of which some is missing
        assert (await dev.known())["unrecorded"] > 0
