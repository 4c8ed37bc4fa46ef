"""``agentserver dev`` with its inspector, and a client of the inspector's interface."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.cli.process import clean_environment
from tests.servers import DEADLINE
from tests.warm_start import warm_starts

AGENT = Path(__file__).with_name("agent.py")


class Inspected:
    """A running ``agentserver dev``.

    Attributes:
        address: The page's, with the token.
        origin: The inspector's scheme, host and port.
        agent: The agent's.
        said: The lines on standard error.
    """

    def __init__(self, process: asyncio.subprocess.Process, session: aiohttp.ClientSession) -> None:
        self.process = process
        self.session = session
        self.said: list[str] = []
        self.address = self.origin = self.token = self.agent = ""

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])

    async def listens(self) -> None:
        """Read its lines until it has said where it is."""
        assert self.process.stderr is not None
        while not self.agent:
            line = (await asyncio.wait_for(self.process.stderr.readline(), DEADLINE)).decode()
            assert line, self.said
            self.said.append(line)
            if found := re.search(r"inspector at (http://\S+)/#(\S+)", line):
                self.origin, self.token = found.groups()
                self.address = f"{self.origin}/#{self.token}"
            if found := re.search(r"listening on (http://[^,\s]+)", line):
                self.agent = found[1]

    async def get(self, path: str, /) -> Any:
        async with self.session.get(self.origin + path, headers={"x-inspector-token": self.token}) as answer:
            text = await answer.text()
            assert answer.status == 200, text
            return json.loads(text) if answer.content_type == "application/json" else text

    async def post(self, path: str, /, **body: Any) -> Any:
        headers = {"x-inspector-token": self.token, "content-type": "application/json"}
        async with self.session.post(self.origin + path, data=json.dumps(body), headers=headers) as answer:
            found = await answer.json()
            return found if answer.status == 200 else {"status": answer.status, **found}

    async def invoke(self, body: str | bytes, **headers: str) -> bytes:
        """Call the agent as any client does."""
        async with self.session.post(f"{self.agent}/invocations", data=body, headers=headers) as answer:
            return await answer.read()

    async def known(self) -> dict[str, Any]:
        """What a page is told first."""
        async with self.session.get(
            f"{self.origin}/api/events", headers={"x-inspector-token": self.token}
        ) as answer:
            about = json.loads(await answer.content.readline())
            known: dict[str, Any] = {**about, **json.loads(await answer.content.readline())}
            answer.close()
            return known

    async def exchange(self, **facts: Any) -> dict[str, Any]:
        """Wait for an exchange with these facts, and return all of it."""
        end = asyncio.get_running_loop().time() + DEADLINE
        while asyncio.get_running_loop().time() < end:
            found = [each for each in (await self.known())["exchanges"] if facts.items() <= each.items()]
            if found:
                detail: dict[str, Any] = await self.get(f"/api/exchanges/{found[-1]['id']}")
                return detail
            await asyncio.sleep(0.05)
        raise AssertionError(f"no exchange with {facts}: {(await self.known())['exchanges']}")

    async def agent_is(self, state: str, life: int | None = None) -> dict[str, Any]:
        """Wait until the agent's process is in that state."""
        found: dict[str, Any] = {}
        end = asyncio.get_running_loop().time() + DEADLINE
        while asyncio.get_running_loop().time() < end:
            found = (await self.known())["agent"]
            if found["state"] == state and life in {None, found["life"]}:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"the agent is {found}")


@asynccontextmanager
async def inspected(
    *options: str,
    agent: Path | str = AGENT,
    environment: Mapping[str, str] | None = None,
    command: str = "dev",
    python: str = sys.executable,
) -> AsyncGenerator[Inspected, None]:
    """Run ``agentserver dev`` with the inspector's agent, or another one or *command*, and end it."""
    with warm_starts():
        process = await asyncio.create_subprocess_exec(
            *(python, "-m", "agentserver.cli", command, str(agent), "--port", "0", *options),
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(environment) if python == sys.executable else environment,
            cwd=None if python == sys.executable else Path(agent).parent,
        )
    async with aiohttp.ClientSession() as session:
        dev = Inspected(process, session)
        reading: asyncio.Task[None] | None = None
        try:
            await dev.listens()
            reading = asyncio.create_task(_read_on(dev))
            yield dev
        finally:
            if process.returncode is None:
                process.terminate()
            await asyncio.wait_for(process.wait(), DEADLINE)
            if reading is not None:
                await reading
        assert not [line for line in dev.said if "Error handling request" in line], "".join(dev.said)


async def _read_on(dev: Inspected) -> None:
    assert dev.process.stderr is not None
    async for line in dev.process.stderr:
        dev.said.append(line.decode())


__all__ = ["AGENT", "Inspected", "inspected"]
