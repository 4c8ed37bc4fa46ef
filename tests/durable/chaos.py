"""Kill -9 at random moments, and look at what is left: ``python -m tests.durable.chaos --store postgres``.

Each round starts an agent, lets clients begin runs and repeat requests, and kills the process. At the end all
runs must be finished, no step recorded twice, every step's effect there, event ids without gap, and each run
the only one of its key.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp

from agentserver.testing import ServerProcess, run_server
from tests.durable.judge import DatabaseStore, FileStore, Store, look
from tests.durable.postgres import PostgresServer
from tests.servers import ROOT

STEPS, PARTS = 6, 3
CLIENTS = 4


class Chaos:
    """One series of kills.

    Args:
        store: Where the runs are.
        folder: Where the file of effects is.
        seed: What chance depends on.
    """

    def __init__(self, store: Store, folder: Path, seed: int) -> None:
        self.store = store
        self.effects = folder / "effects.txt"
        self.random = random.Random(seed)
        self.asked: dict[str, str] = {}  # key -> the id of the run, once somebody was told it
        self.started = 0

    def server(self, *, port: int | None = None) -> Any:
        """An agent on the store."""
        return run_server(
            "-m",
            "tests.durable.agents",
            "Effects",
            environment={"AGENTSERVER_STORE": self.store.address, "AGENTSERVER_LOG_LEVEL": "ERROR"},
            port=port,
            cwd=ROOT,
        )

    async def kill_once(self) -> None:
        """Start an agent, let clients ask, kill it."""
        async with self.server() as server:
            assert isinstance(server, ServerProcess)
            moment = self.random.uniform(0.0, 0.35)
            async with aiohttp.ClientSession(server.url) as client:
                asking = [asyncio.create_task(self.ask(client)) for _ in range(CLIENTS)]
                await asyncio.sleep(moment)
                server.process.kill()
                await asyncio.gather(*asking, return_exceptions=True)
                await server.process.wait()

    async def ask(self, client: aiohttp.ClientSession) -> None:
        """Begin runs and repeat requests until the agent is gone."""
        while True:
            fresh = not self.asked or self.random.random() < 0.5
            if fresh:
                self.started += 1
                key = f"key-{self.started}"
                self.asked[key] = ""
            else:
                key = self.random.choice(list(self.asked))
            try:
                await self.post(client, key)
            except (aiohttp.ClientError, OSError):
                return
            await asyncio.sleep(self.random.uniform(0.0, 0.1))

    async def post(self, client: aiohttp.ClientSession, key: str) -> str:
        """Ask for the run of *key*; it must be the one that was told before."""
        task = {"file": str(self.effects), "steps": STEPS, "parts": PARTS, "pause": 0.005}
        headers = {"x-client-idempotency-key": key}
        async with client.post("/invocations", json=task, headers=headers) as response:
            told = await response.json()
            assert response.status in {200, 202}, told
        name = str(told["invocation_id"])
        assert self.asked[key] in {"", name}, f"{key} was {self.asked[key]}, and is {name}"
        self.asked[key] = name
        return name

    async def finish(self) -> dict[str, int]:
        """Let the last process finish all runs; what they are then."""
        async with self.server() as server:
            async with aiohttp.ClientSession(server.url) as client:
                for key, name in self.asked.items():
                    if name:
                        assert await self.post(client, key) == name, "a run was lost"
                end = time.monotonic() + 60
                while await self.unfinished(client):
                    assert time.monotonic() < end, "runs do not end"
                    await asyncio.sleep(0.05)
        return await self.judge()

    async def unfinished(self, client: aiohttp.ClientSession) -> list[Any]:
        """The runs that are not finished."""
        async with client.get("/invocations?status=in_progress") as response:
            runs: list[Any] = (await response.json())["runs"]
            return runs

    async def judge(self) -> dict[str, int]:
        """Look at the store itself, and at the effects."""
        effects = await asyncio.to_thread(self.effects.read_text)
        names, found = await look(self.store, effects.splitlines(), STEPS, PARTS)
        assert {name for name in self.asked.values() if name} <= names
        return found


async def rounds(store: Store, folder: Path, kills: int, seed: int) -> dict[str, int]:
    """Kill *kills* times; what is left, judged."""
    chaos = Chaos(store, folder, seed)
    for _ in range(kills):
        await chaos.kill_once()
    return await chaos.finish()


def main() -> None:
    """Say what came of it, and with which seed to repeat it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=["sqlite", "postgres"], default="sqlite")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    sys.stdout.write(f"seed {arguments.seed}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        store: Store = FileStore(folder / "runs.sqlite3")
        if arguments.store == "postgres":
            server = PostgresServer()
            stack.callback(server.stop)
            store = DatabaseStore(server, "chaos")
        found = asyncio.run(rounds(store, folder, arguments.kills, arguments.seed))
    sys.stdout.write(f"{arguments.store}: {arguments.kills} kills, no violation: {found}\n")


if __name__ == "__main__":
    main()
