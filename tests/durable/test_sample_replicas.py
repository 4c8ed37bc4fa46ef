"""Sample 19 does what its README says."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import signal
import sys
from typing import Any

import aiohttp

from tests.durable.harness import timeout
from tests.durable.postgres import shared_server
from tests.servers import ROOT, free_port
from tests.warm_start import warm_starts

SAMPLE = ROOT / "samples" / "19_replicas"


async def told(url: str, name: str) -> dict[str, Any]:
    async with aiohttp.ClientSession(url) as client:
        while True:
            try:
                async with client.get(f"/invocations/{name}") as response:
                    answer: dict[str, Any] = await response.json()
                    return answer
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)


async def test_the_run_of_a_killed_replica_is_finished_by_another() -> None:
    readme = (SAMPLE / "README.md").read_text()
    line = next(line for line in readme.splitlines() if line.startswith("curl -s -X POST"))
    words = shlex.split(line)
    task = json.loads(words[words.index("-d") + 1])
    answer = re.search(r"^\{.*\}$", readme, re.MULTILINE)
    assert answer is not None
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "AGENTSERVER_STORE": shared_server().url_of("sample"), "PORT": str(port)}
    with warm_starts():
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(SAMPLE / "main.py"), env=environment, stdout=asyncio.subprocess.PIPE
        )
    assert process.stdout is not None
    try:
        async with timeout():
            replicas = {int(word) for word in (await process.stdout.readline()).split()[1:]}
            async with aiohttp.ClientSession(url) as client:
                while True:
                    async with client.get("/readiness") as response:
                        if response.status == 200:
                            break
                    await asyncio.sleep(0.05)
                body = json.dumps({**task, "seconds": 0.3})
                headers = {"x-agent-invocation-id": "job-1"}
                async with client.post(
                    "/invocations?agent_session_id=s-1", data=body, headers=headers
                ) as response:
                    assert response.status == 202
                    assert await response.text() == answer[0]
        rows = await shared_server().rows("sample", "SELECT name FROM replicas")
        assert {int(str(row[0]).rpartition(":")[2]) for row in rows} <= replicas
        while (await told(url, "job-1"))["last_event_id"] < 2:
            await asyncio.sleep(0.02)
        writers = "SELECT data::json ->> 'process' FROM events WHERE kind = ''"
        writer = int((await shared_server().rows("sample", writers))[0][0])
        os.kill(writer, signal.SIGKILL)
        async with timeout():
            while (found := await told(url, "job-1"))["status"] != "completed":
                await asyncio.sleep(0.05)
        assert (found["recoveries"], found["output"]) == (1, {"chapters": 5})
        assert {int(row[0]) for row in await shared_server().rows("sample", writers)} - {writer}
    finally:
        process.terminate()
        async with timeout():
            assert await process.wait() == 0


async def test_without_a_database_it_says_what_it_needs() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SAMPLE / "main.py"),
        env={"PATH": os.environ["PATH"]},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 1
    assert said.decode().strip().startswith("set AGENTSERVER_STORE to a database")
