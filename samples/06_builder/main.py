"""A host from its builder: services of three lifetimes, a route of one's own, hooks."""

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from agentserver import AgentHost, InvocationContext, InvocationHandler


class Database:
    """One for the process."""

    def __init__(self) -> None:
        self.committed: list[str] = []


class UnitOfWork:
    """One for each request."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pending: list[str] = []

    def add(self, note: str) -> None:
        """Note something, for now only here."""
        self._pending.append(note)

    def commit(self) -> None:
        """Make it last."""
        self._database.committed += self._pending


async def unit_of_work(database: Database) -> AsyncIterator[UnitOfWork]:
    """Commit when the request has ended well; an exception skips it."""
    work = UnitOfWork(database)
    yield work
    work.commit()


class NotesHandler(InvocationHandler):
    """Writes down what it is told."""

    def __init__(self, work: UnitOfWork) -> None:
        self._work = work

    async def handle(self, request: web.Request, context: InvocationContext) -> dict[str, Any]:
        """Answer ``POST /invocations``."""
        note = await request.text()
        self._work.add(note)
        return {"noted": note}


def main() -> None:
    """Build the host and run it."""
    builder = AgentHost.create_builder()
    database = Database()
    builder.services.add_singleton(Database, database)
    builder.services.add_scoped(UnitOfWork, unit_of_work)
    builder.add_invocations(NotesHandler)

    async def notes(_request: web.Request) -> web.Response:
        return web.json_response(database.committed)

    builder.app.router.add_get("/notes", notes)
    builder.build().run()


if __name__ == "__main__":
    main()
