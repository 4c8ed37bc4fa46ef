"""The inspector's page and its interface, over HTTP on a loopback port of its own.

The page has one stream of changes to read, ``GET /api/events``, lines of JSON; it is a fetch like any other,
so that the token travels in a header and there is no WebSocket that another page could open.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast
from urllib.parse import quote

from aiohttp import web
from aiohttp.typedefs import Handler

from agentserver._time_limit import wait_for
from agentserver._version import __version__
from agentserver.inspector import copies
from agentserver.inspector.calls import MistakeError, fields_of, read_call, read_message
from agentserver.inspector.driver import Driver
from agentserver.inspector.exchanges import Exchange
from agentserver.inspector.guard import SECURITY_HEADERS, refusal
from agentserver.inspector.state import State
from agentserver.wire import (
    ACTIONS_OPENAPI_ROUTE,
    ASYNCAPI_JSON_ROUTE,
    ASYNCAPI_YAML_ROUTE,
    INVOCATIONS_ROUTE,
    OPENAPI_ROUTE,
    READINESS_ROUTE,
)

__all__ = ["Interface"]

_PAGE: Final = Path(__file__).parent / "page"
_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_PARTS_AT_ONCE: Final = 2000
_BODY_LIMIT: Final = 16 * 1024 * 1024
_RUNS_LISTED: Final = 100
_BEAT_SECONDS: Final = 5.0
_DOCUMENTS: Final = {
    "OpenAPI": OPENAPI_ROUTE,
    "AsyncAPI, JSON": ASYNCAPI_JSON_ROUTE,
    "AsyncAPI, YAML": ASYNCAPI_YAML_ROUTE,
    "OpenAPI of the actions": ACTIONS_OPENAPI_ROUTE,
}
_NO_RUNS: Final = "The agent has no durable runs, or not this one"
_COMMANDS: Final = frozenset({"reload", "terminate", "kill"})


class Interface:
    """Answers the page.

    Args:
        state: What is shown.
        driver: Sends what is asked for.
        token: Of this start.
        target: What is developed, as the command line named it.
        command: Told ``reload``, ``terminate`` or ``kill``.
        variables: Gives the agent's variables: names, where from, and values of those that may be shown.
    """

    def __init__(
        self,
        state: State,
        driver: Driver,
        token: str,
        target: str,
        *,
        command: Callable[[str], object],
        variables: Callable[[], list[dict[str, Any]]],
    ) -> None:
        self._state = state
        self._driver = driver
        self._token = token
        self._command = command
        self._variables = variables
        self._target = target

    def application(self) -> web.Application:
        """What is to be served."""
        app = web.Application(middlewares=[self._guard], client_max_size=_BODY_LIMIT)
        for file in sorted(_PAGE.iterdir()):
            if file.suffix in _TYPES:
                app.router.add_get("/" if file.name == "index.html" else f"/{file.name}", _file(file))
        app.router.add_get("/api/events", self._events)
        app.router.add_get("/api/exchanges/{id:[0-9]+}", self._exchange)
        app.router.add_get("/api/exchanges/{id:[0-9]+}/{form:curl|python|jsonl}", self._copy)
        app.router.add_get("/api/export", self._export)
        app.router.add_get("/api/traces/{id:[0-9a-f]{32}}", self._trace)
        app.router.add_get("/api/runs", self._runs)
        app.router.add_get("/api/runs/{id}", self._run)
        app.router.add_get("/api/environment", self._environment)
        app.router.add_get("/api/documents", self._documents)
        for path, work in (
            ("/api/send", self._send),
            ("/api/replay", self._replay),
            ("/api/leave", self._leave),
            ("/api/connect", self._connect),
            ("/api/say", self._say),
            ("/api/agent", self._agent),
            ("/api/clear", self._clear),
        ):
            app.router.add_post(path, _post(work))
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        port = request.get_extra_info("sockname")[1]
        refused = refusal(request.method, request.path, request.headers, port, self._token)
        try:
            response = await handler(request) if refused is None else _say(*refused)
        except web.HTTPException as error:
            response = _say(error.status, error.reason)
        except MistakeError as error:
            response = _say(400, str(error))
        if refused is not None:
            response.force_close()
        if not response.prepared:
            response.headers.update(SECURITY_HEADERS)
        return response

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**SECURITY_HEADERS, "content-type": "application/x-ndjson"})
        await response.prepare(request)
        about = {"version": __version__, "target": self._target}
        queue = self._state.subscribe()
        line: str | None = json.dumps({"about": about})
        try:
            with suppress(ConnectionError):  # the page was closed, or loaded anew
                while line is not None:
                    await response.write(line.encode() + b"\n")
                    try:
                        line = await wait_for(queue.get(), _BEAT_SECONDS)
                    except asyncio.TimeoutError:
                        line = "{}"  # shows the page, and whoever serves it, that the other is there
        finally:
            self._state.unsubscribe(queue)
        return response

    async def _exchange(self, request: web.Request) -> web.Response:
        first = request.query.get("from", "0")
        if not first.isdigit():
            raise MistakeError("from must be a whole number")
        detail = self._found(request).detail(self._state.start, int(first), _PARTS_AT_ONCE)
        return web.json_response(detail)

    async def _copy(self, request: web.Request) -> web.Response:
        exchange, form = self._found(request), request.match_info["form"]
        if form == "jsonl":
            return _plain(copies.as_json_lines(exchange, self._state.start))
        if exchange.kind == "websocket":
            raise MistakeError("A WebSocket's frames cannot be copied as one request")
        if not exchange.sent.is_whole:
            raise MistakeError("The request's body is larger than what is kept of it")
        make = copies.as_curl if form == "curl" else copies.as_python
        return _plain(make(exchange, self._driver.authority))

    async def _export(self, request: web.Request) -> web.Response:
        exchanges = self._state.exchanges.all()
        return _plain("".join(copies.as_json_lines(each, self._state.start) for each in exchanges))

    async def _trace(self, request: web.Request) -> web.Response:
        trace = self._state.traces.get(request.match_info["id"])
        if trace is None:
            raise web.HTTPNotFound(reason="That trace is not kept any more")
        return web.json_response(trace.detail(self._state.zero))

    async def _runs(self, request: web.Request) -> web.Response:
        found, problem = await self._asked(f"{INVOCATIONS_ROUTE}?limit={_RUNS_LISTED}")
        runs: Any = cast("dict[str, Any]", found).get("runs", []) if isinstance(found, dict) else []
        return web.json_response({"runs": runs, "problem": problem, "durable": problem != _NO_RUNS})

    async def _run(self, request: web.Request) -> web.Response:
        name = request.match_info["id"]
        run, problem = await self._asked(f"{INVOCATIONS_ROUTE}/{quote(name, safe='')}")
        steps = list(self._state.steps.get(name, ()))
        return web.json_response({"run": run, "steps": steps, "problem": problem})

    async def _asked(self, path: str) -> tuple[Any, str]:
        """What the agent says at *path*, which a durable handler alone answers with JSON; else why not."""
        try:
            status, _, body = await self._driver.ask(path)
        except MistakeError as error:
            return None, str(error)
        if status in {404, 405}:
            return None, _NO_RUNS
        if status != 200:
            return None, f"The agent answered {status}"
        try:
            return json.loads(body), ""
        except (ValueError, RecursionError):
            return None, "The agent answered with something that is no JSON"

    async def _environment(self, request: web.Request) -> web.Response:
        try:
            status, _, body = await self._driver.ask(READINESS_ROUTE)
            readiness = {"status": status, "body": body.decode(errors="replace")}
        except MistakeError as error:
            readiness = {"status": None, "body": str(error)}
        return web.json_response({"readiness": readiness, "variables": self._variables()})

    async def _documents(self, request: web.Request) -> web.Response:
        documents: list[dict[str, Any]] = []
        for name, path in _DOCUMENTS.items():
            try:
                status, kind, body = await self._driver.ask(path)
            except MistakeError as error:
                return web.json_response({"documents": [], "problem": str(error)})
            found = body.decode(errors="replace") if status == 200 else None
            documents.append({"name": name, "path": path, "status": status, "type": kind, "text": found})
        return web.json_response({"documents": documents, "problem": ""})

    async def _send(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"call": self._driver.send(read_call(asked))}

    async def _connect(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        return {"call": self._driver.connect(read_call({**asked, "method": "GET"}))}

    async def _replay(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        exchange = self._state.exchanges.get(asked.get("exchange", 0))
        if exchange is None:
            raise MistakeError("That exchange is not kept any more")
        if exchange.kind == "websocket":
            raise MistakeError("A WebSocket cannot be replayed: connect, and send its messages again")
        if not exchange.sent.is_whole:
            raise MistakeError("The request's body is larger than what is kept of it")
        return {"call": self._driver.send(copies.as_call(exchange))}

    async def _leave(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._driver.leave(_number(asked))
        return {}

    async def _say(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        await self._driver.say(_number(asked), read_message(asked))
        return {}

    async def _agent(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        command = asked.get("do")
        if command not in _COMMANDS:
            raise MistakeError(f"do must be one of {', '.join(sorted(_COMMANDS))}")
        self._command(command)
        return {}

    async def _clear(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        self._state.clear()
        return {}

    def _found(self, request: web.Request) -> Exchange:
        exchange = self._state.exchanges.get(int(request.match_info["id"]))
        if exchange is None:
            raise web.HTTPNotFound(reason="That exchange is not kept any more")
        return exchange


def _post(work: Callable[[Mapping[str, Any]], Awaitable[dict[str, Any]]]) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read())
        except (ValueError, RecursionError):
            raise MistakeError("The body is no JSON") from None
        return web.json_response(await work(fields_of(asked, "The body")))

    return handle


def _file(path: Path) -> Handler:
    content = path.read_bytes()

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=content, content_type=_TYPES[path.suffix], charset="utf-8")

    return handle


def _number(asked: Mapping[str, Any]) -> int:
    number = asked.get("call")
    if not isinstance(number, int):
        raise MistakeError("call must be a whole number")
    return number


def _plain(text: str) -> web.Response:
    return web.Response(text=text, content_type="text/plain")


def _say(status: int, sentence: str) -> web.Response:
    return web.json_response({"error": sentence}, status=status)
