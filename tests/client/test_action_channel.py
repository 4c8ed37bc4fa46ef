"""One WebSocket that speaks actions: frames that nobody asked for, readers and peers that are slow."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from agentserver.client import (
    ActionsConnection,
    ClientError,
    DeadlineError,
    InvocationsClient,
    Timeouts,
)
from agentserver.client import action_stream as module
from tests.client.peers import Peer, raw_peer, upgrade

TEXT = 0x81


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A frame of a server, of up to 64 KiB."""
    size = len(payload)
    return bytes([opcode]) + (bytes([size]) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload


@asynccontextmanager
async def acting(peer: Peer) -> AsyncGenerator[ActionsConnection, None]:
    async with raw_peer(peer) as url, InvocationsClient(url, timeouts=Timeouts(close=0.2)) as client:
        async with client.actions(heartbeat=None) as actions:
            yield actions


async def test_payloads_that_nobody_reads_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BACKLOG_SIZE", 200_000)
    head = b'{"type":"stream_chunk","invocation_id":"i","session_id":"s","payload":"'
    chunk = frame(head + b"x" * 50_000 + b'"}')

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await reader.read(1)
        for _ in range(20):
            writer.write(chunk)
            await writer.drain()
        while await reader.read(65536):
            pass

    async with acting(flood) as actions:
        async with actions.stream({}, invocation_id="i") as stream:
            await asyncio.sleep(0.5)
            payloads = aiter(stream)
            for _ in range(3):
                assert len(await anext(payloads)) == 50_000
            with pytest.raises(ClientError, match="3 payloads behind"):
                await anext(payloads)


def actions_in(data: bytearray) -> list[str]:
    """The actions in the frames of a client, one after the other."""
    found: list[str] = []
    while data:
        size, start = data[1] & 0x7F, 2
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start], "big")
        mask, payload = data[start : start + 4], data[start + 4 : start + 4 + size]
        beginning = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload[:40]))
        found += re.findall(r'"action":"(\w+)"', beginning.decode(errors="replace"))
        del data[: start + 4 + size]
    return found


async def test_an_invocation_that_could_not_be_sent_in_time_is_cancelled_when_the_agent_reads_on() -> None:
    received = bytearray()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await upgrade(reader, writer)
        await asyncio.sleep(0.5)
        while data := await reader.read(65536):
            received.extend(data)

    async with acting(late) as actions:
        with pytest.raises(DeadlineError):
            await actions.invoke({"text": "x" * 8_000_000}, invocation_id="i", timeout=0.2)
        with pytest.raises(DeadlineError):
            await actions.get("other", timeout=3)
    assert actions_in(received)[:3] == ["invoke", "cancel_invocation", "get_invocation"]
