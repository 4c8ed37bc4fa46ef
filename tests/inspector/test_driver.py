"""What the page's client starts for a call ends with that call, however it ends."""

from __future__ import annotations

import asyncio
import gc
import socket
import struct
from typing import Any

import pytest

from agentserver.inspector.calls import Call
from agentserver.inspector.driver import Driver, Makers
from agentserver.testing import until

LARGE = b"x" * 20_000_000


@pytest.mark.parametrize("way", ["reset", "left"])
async def test_a_body_that_nobody_takes_leaves_no_task_and_no_error_behind(way: str) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    said: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        if way == "reset":  # without a word
            own: socket.socket = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        else:
            driver.leave(number)
            while await reader.read(65536):
                pass
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4096)
    before = asyncio.all_tasks()
    driver = Driver(Makers(), lambda _, words: said.append(words))
    driver.address = server.sockets[0].getsockname()
    number = driver.send(Call("POST", "/invocations", body=LARGE))
    await until(lambda: not asyncio.all_tasks() - before, what="the end of all tasks")
    gc.collect()
    await asyncio.sleep(0)
    server.close()
    assert not reported
    assert bool(said) == (way == "reset")
