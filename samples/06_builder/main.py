"""A host from its builder: services of three lifetimes, a route of one's own, hooks."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agentserver import AgentHost, InvocationContext, InvocationHandler
from aiohttp import web


class Session:
    """The changes of one request; those that were not committed when its block ends are lost."""

    def __init__(self, database: "Database") -> None:
        self._database = database
        self._changes: list[str] = []

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._changes.clear()

    def add(self, note: str) -> None:
        """Note something, for now only here."""
        self._changes.append(note)

    async def commit(self) -> None:
        """Make it last."""
        await asyncio.sleep(0)  # stands in for the way to the database
        self._database.notes += self._changes


class Database:
    """One for the process."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def session(self) -> Session:
        """Begin something that is committed as a whole, or not at all."""
        return Session(self)


async def open_session(database: Database) -> AsyncIterator[Session]:
    """One for each request: committed when the handler has answered; an exception skips that."""
    async with database.session() as session:
        yield session
        await session.commit()


class NotesHandler(InvocationHandler):
    """Writes down what it is told."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def handle(self, request: web.Request, context: InvocationContext) -> dict[str, Any]:
        """Answer ``POST /invocations``."""
        note = await request.text()
        self._session.add(note)
        return {"noted": note}


def main() -> None:
    """Build the host and run it."""
    builder = AgentHost.create_builder()
    database = Database()
    builder.services.add_singleton(Database, database)
    builder.services.add_scoped(Session, open_session)
    builder.add_invocations(NotesHandler)

    async def notes(_request: web.Request) -> web.Response:
        return web.json_response(database.notes)

    builder.app.router.add_get("/notes", notes)
    builder.build().run()


if __name__ == "__main__":
    main()
