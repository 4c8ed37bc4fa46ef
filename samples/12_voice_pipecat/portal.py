"""What a browser talks to: serves the page, and passes its connection on to the agent.

A page cannot send the token that the hosting platform wants, so the portal does: with AGENT_PROJECT and
AGENT_NAME it talks to a deployed agent, else to the one on this machine.
"""

import asyncio
import logging
import os
from pathlib import Path
from urllib.parse import urlsplit

from agentserver.client import ClientError, Connection, InvocationsClient
from aiohttp import WSCloseCode, WSMsgType, web

PAGE = Path(__file__).with_name("portal")
FRAME = 1 << 20  # bytes; the platform drops more
PASSED_ON = {WSCloseCode.GOING_AWAY, WSCloseCode.INTERNAL_ERROR, *range(4000, 5000)}

log = logging.getLogger("portal")


def client() -> InvocationsClient:
    """Who talks to the agent."""
    if project := os.environ.get("AGENT_PROJECT"):  # pip install 'agentserver-invocations[hosted]'
        return InvocationsClient.hosted(project, os.environ["AGENT_NAME"])
    return InvocationsClient(os.environ.get("AGENT_URL", "http://localhost:8088"))


async def exchange(page: web.WebSocketResponse, agent: Connection) -> None:
    """Pass on what either sends, until one of them has closed."""

    async def up() -> None:
        async for message in page:
            if message.type in {WSMsgType.BINARY, WSMsgType.TEXT}:
                await agent.send(message.data)

    async def down() -> None:
        async for message in agent:
            await (page.send_str(message) if isinstance(message, str) else page.send_bytes(message))

    ways = [asyncio.create_task(up()), asyncio.create_task(down())]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def proxy(request: web.Request) -> web.WebSocketResponse:
    """Pass frames on, both ways, until either side closes."""
    if urlsplit(request.headers.get("Origin", "")).netloc != request.host:
        raise web.HTTPForbidden(text="This is for the portal's own page.")
    # Who is signed in decides whose session it is. Here nobody signs in: the page makes up an id.
    session = request.query.get("session", "")
    page = web.WebSocketResponse(max_msg_size=FRAME)
    await page.prepare(request)
    code: int = WSCloseCode.INTERNAL_ERROR
    try:
        async with client() as agents, agents.session(session).connect() as agent:
            await exchange(page, agent)
            ended = agent.close_code or WSCloseCode.OK
            code = ended if ended in PASSED_ON else WSCloseCode.OK
    except ClientError as error:
        log.warning("the agent cannot be reached: %s", error)
    await page.close(code=code)
    return page


def application(*pages: Path) -> web.Application:
    """The portal of the files in *pages*; a later one's are taken before."""
    files = {path.name: path for page in pages for path in page.iterdir()}

    async def file(request: web.Request) -> web.FileResponse:
        found = files.get(request.match_info["name"] or "index.html")
        if found is None:
            raise web.HTTPNotFound
        return web.FileResponse(found)

    app = web.Application()
    app.add_routes([web.get("/voice", proxy), web.get("/{name:[^/]*}", file)])
    return app


def serve(*pages: Path) -> None:
    """Serve the page, with files of *pages* instead of its own."""
    web.run_app(application(PAGE, *pages), host="localhost", port=int(os.environ.get("PORTAL_PORT", "8089")))


if __name__ == "__main__":
    serve()
