"""An agent whose work outlasts its request, its client and its process: start it, poll for it, cancel it."""

import asyncio
from datetime import timedelta
from typing import Any

from agentserver import Durable, InvocationHandler, InvocationsServer, Run


class Researcher(InvocationHandler, durable=Durable(retries=3, keep=timedelta(days=7))):
    """Writes chapter after chapter; after a crash it goes on with the one that was under way."""

    async def run(self, question: dict[str, Any], run: Run) -> dict[str, Any]:
        """Do the research; what is a step is done once, whatever happens to the process."""
        plan = await run.step("plan", make_plan, question["topic"], question["chapters"])
        for title in plan:
            text = await run.step("write", write, title, question.get("seconds", 0))
            await run.emit({"type": "chapter", "text": text})
        return {"chapters": len(plan)}


async def make_plan(topic: str, chapters: int) -> list[str]:
    """Stand in for a model that plans."""
    return [f"{topic}, part {number}" for number in range(1, chapters + 1)]


async def write(title: str, seconds: float) -> str:
    """Stand in for a model that writes."""
    await asyncio.sleep(seconds)
    return f"All there is to know about {title}."


if __name__ == "__main__":
    InvocationsServer.run(Researcher)
