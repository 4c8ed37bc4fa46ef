"""Fuzzers: the parsers by coverage, the HTTP surface by its description, connections by fragments."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings

from agentserver import AgentHost, FoundryEnvironment
from hardening.agent import Agent
from hardening.process import note
from tests.hardening.wire_double import WireDouble, responses
from tests.servers import ROOT, running

SECONDS = int(os.environ.get("FUZZ_SECONDS", "30"))
SEEDS = (
    b'{"action": "invoke", "invocation_id": "i-1", "session_id": "s", "payload": {"a": [1, 2.5, null]}}',
    b'{"type": "error", "invocation_id": "i-1", "error": {"code": "x", "message": "y"}}',
    b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\nreq-1",
    b"event: a\nid: 1\nretry: 10\ndata: one\ndata: two\n\n: keep-alive\n\r\n",
)
FRAGMENTS = (
    b"GET", b"POST", b"HEAD", b"OPTIONS", b" ", b"/readiness", b"/invocations", b"/invocations/x/cancel",
    b"*", b"?agent_session_id=", b"http://x", b"%00", b"%", b" HTTP/1.1", b" HTTP/1.0", b" HTTP/2.0", b"\r\n",
    b"\n", b"\r", b"\0", b": ", b":", b"Host: x", b"Host: ", b"Content-Length: 5", b"Content-Length: 0",
    b"Content-Length: -1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Connection: close",
    b"Connection: upgrade", b"Upgrade: websocket", b"Expect: 100-continue", b"Content-Encoding: gzip",
    b"hello", b"5\r\nhello\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"\xff\xfe", b"x" * 9000,
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"GET /readiness HTTP/1.1\r\nHost: x\r\n\r\n",
)  # fmt: skip


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="atheris has no release for it")
async def test_the_parsers_keep_their_promises_whatever_comes(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS):
        (corpus / str(number)).write_bytes(seed)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hardening.parsers", str(corpus), f"-max_total_time={SECONDS}",
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), SECONDS + 60)
    text = output.decode(errors="replace")
    assert process.returncode == 0, text[-5000:]
    note("parsers fuzzed by coverage", text.strip().splitlines()[-1])


async def test_the_reference_agent_keeps_its_description_whatever_is_asked(tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance,response_headers_conformance"
    )
    async with running("-m", "agentserver.conformance.reference_agent") as server:
        process = await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "st"), "run", str(ROOT / "hardening" / "openapi.json"),
            "--url", server.url, "--checks", checks, "--phases", "coverage,fuzzing", "--max-examples", "200",
            "--seed", "1", "--no-color", cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await asyncio.wait_for(process.communicate(), 300)
    text = output.decode(errors="replace")
    assert process.returncode == 0, text[-8000:]
    assert "Traceback" not in "".join(server.log)
    note("schemathesis", next(line.strip() for line in text.splitlines() if " generated, " in line))


@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=4), max_size=30), st.integers(1, 500))
def test_a_connection_answers_in_http_whatever_it_is_told(fragments: list[bytes], size: int) -> None:
    sent = asyncio.run(told(b"".join(fragments), size))
    for answer in responses(sent.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")):
        assert answer.status != 500
        if answer.status >= 400 and answer.body:
            assert json.loads(answer.body)["error"].keys() == {"code", "message"}


async def told(data: bytes, size: int) -> bytes:
    """What a connection sends on *data*, that comes in pieces of *size* bytes."""
    host = AgentHost.create_builder(FoundryEnvironment()).add_invocations(Agent()).build()
    await host.start(listen=False)
    assert host._server is not None
    connection, wire = host._server(), WireDouble()
    connection.connection_made(wire)
    for begin in range(0, len(data), size):
        if wire.closed or not wire.reading:
            break
        connection.data_received(data[begin : begin + size])
        await asyncio.sleep(0)
    for _ in range(10):
        await asyncio.sleep(0)
    connection.connection_lost(None)
    for _ in range(10):
        await asyncio.sleep(0)
    assert host.lifetime.active == 0
    await host.stop()
    return bytes(wire.sent)
