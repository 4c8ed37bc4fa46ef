"""An agent whose work outlasts the request: start it, poll for it, cancel it."""

import asyncio
from typing import Any

from aiohttp import web

from agentserver import InvocationContext, InvocationHandler, InvocationsServer, NotFoundError


class ResearchHandler(InvocationHandler):
    """Starts research in the background; one object serves all requests, so it can remember the tasks."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[str]] = {}

    async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
        """Start: 202, and where to ask again."""
        question = await request.json()
        self._tasks[context.invocation_id] = asyncio.create_task(
            research(question["topic"], question["seconds"])
        )
        body = {"invocation_id": context.invocation_id, "status": "running"}
        return web.json_response(body, status=202, headers={"Retry-After": "1"})

    async def get(
        self, invocation_id: str, request: web.Request, context: InvocationContext
    ) -> dict[str, Any]:
        """Poll."""
        return report(invocation_id, self._task(invocation_id))

    async def cancel(
        self, invocation_id: str, request: web.Request, context: InvocationContext
    ) -> dict[str, Any]:
        """Cancel; what is finished stays finished."""
        task = self._task(invocation_id)
        task.cancel()
        await asyncio.wait([task])
        return report(invocation_id, task)

    def _task(self, invocation_id: str) -> asyncio.Task[str]:
        if invocation_id not in self._tasks:
            raise NotFoundError("There is no such invocation")
        return self._tasks[invocation_id]


def report(invocation_id: str, task: asyncio.Task[str]) -> dict[str, Any]:
    """Say how a task stands."""
    if task.cancelled():
        return {"invocation_id": invocation_id, "status": "cancelled"}
    if not task.done():
        return {"invocation_id": invocation_id, "status": "running"}
    return {"invocation_id": invocation_id, "status": "completed", "result": task.result()}


async def research(topic: str, seconds: float) -> str:
    """Stand in for the work of a model."""
    await asyncio.sleep(seconds)
    return f"All there is to know about {topic}."


if __name__ == "__main__":
    InvocationsServer.run(ResearchHandler())
