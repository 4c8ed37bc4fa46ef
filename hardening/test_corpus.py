"""Every malformed request of gunicorn's corpus is refused, or accepted for a reason we can give."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import web

from agentserver import InvocationContext, InvocationHandler
from hardening.corpus import ACCEPTED, INCOMPLETE, requests
from tests.http.raw import get, port_of
from tests.servers import serving

SILENCE = repr(b"")


class Echo(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return await request.read()


async def test_the_corpus_of_malformed_requests_is_refused(tmp_path: Path) -> None:
    corpus = list(requests(tmp_path))
    assert len(corpus) == 81
    async with serving(Echo) as client:
        port = port_of(client)
        verdicts = {name: await verdict(port, data) for name, data in corpus}
        assert (await send(port, get("/readiness", "Connection: close"))).startswith(b"HTTP/1.1 200")
    not_refused = {name: said for name, said in verdicts.items() if said != "refused"}
    assert {name for name, said in not_refused.items() if said == SILENCE} == INCOMPLETE.keys()
    assert not_refused.keys() == ACCEPTED.keys() | INCOMPLETE.keys()


async def verdict(port: int, data: bytes) -> str:
    answer = await send(port, data)
    head, _, body = answer.partition(b"\r\n\r\n")
    if head[9:12] != b"400":
        return repr(head.partition(b"\r\n")[0])
    assert b"x-request-id:" in head
    assert b"x-platform-error-source: user" in head
    assert json.loads(body)["error"]["code"] == "invalid_request"
    return "refused"


async def send(port: int, data: bytes) -> bytes:
    """Send *data* and read until the server closes, or has nothing more to say to what came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        answer = b""
        while True:
            try:
                chunk = await asyncio.wait_for(reader.read(65536), 5 if answer[9:12] == b"400" else 0.5)
            except asyncio.TimeoutError:
                assert answer[9:12] != b"400", "the connection must be closed"
                return answer
            if not chunk:
                return answer
            answer += chunk
    finally:
        writer.close()
