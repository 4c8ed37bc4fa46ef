"""Durable agents that tests talk to over HTTP."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agentserver import BadRequestError, Durable, InvocationHandler, InvocationsServer, Run


class Gate:
    """What a handler waits for, by name; opened by the test."""

    def __init__(self) -> None:
        self.events: dict[str, asyncio.Event] = {}

    def of(self, name: str) -> asyncio.Event:
        """The event of that name."""
        return self.events.setdefault(name, asyncio.Event())


GATE = Gate()


class Worker(InvocationHandler, durable=Durable(backoff=0.01)):
    """Does as many steps as it is told, and waits at a gate if one is named."""

    async def run(self, task: dict[str, Any], run: Run) -> dict[str, Any]:
        """Work."""
        if task.get("refuse"):
            raise BadRequestError("There is no such topic")
        for number in range(task.get("steps", 1)):
            await run.step("work", int, number)
            await run.emit({"type": "part", "n": number})
        if "gate" in task:
            await run.step("gate", GATE.of(task["gate"]).wait)
        if "approval" in task:
            return {"approved": await run.wait_for("approval")}
        return {"steps": task.get("steps", 1)}


@dataclass(frozen=True)
class Topic:
    """What is asked."""

    text: str
    depth: int = 1


class Typed(InvocationHandler, durable=True):
    """Takes a dataclass."""

    async def run(self, topic: Topic, run: Run) -> str:
        """Answer with what was taken."""
        return f"{topic.text}:{topic.depth}:{run.headers.get('x-client-tone', '')}"


class Effects(InvocationHandler, durable=Durable(backoff=0.01, busy="parallel")):
    """Leaves a line in a file for each step it really does: the chaos test counts them."""

    async def run(self, task: dict[str, Any], run: Run) -> int:
        """Work."""
        path = Path(task["file"])

        async def work(number: int) -> int:
            with path.open("a") as file:  # noqa: ASYNC230 - on disk before anything else happens
                file.write(f"{run.invocation_id} {number}\n")
            await run.emit({"in": number})
            await asyncio.sleep(task["pause"])
            return number

        total = 0
        for number in range(task["steps"]):
            total += await run.step("work", work, number)
            await run.emit({"after": number})
        parts = await asyncio.gather(
            *(run.step("part", work, 100 + number) for number in range(task.get("parts", 0)))
        )
        return total + sum(parts)


if __name__ == "__main__":
    InvocationsServer.run({"Worker": Worker, "Effects": Effects}[sys.argv[1]])
