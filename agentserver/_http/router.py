"""Which path leads to which endpoint: fixed paths in a dictionary, the few with an id as patterns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias
from urllib.parse import unquote

from aiohttp import web

from agentserver._http.exchange import Exchange

Endpoint: TypeAlias = Callable[[web.Request, Exchange], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """One path and what it answers.

    Args:
        path: The path; one segment may be a name in braces, whose value becomes ``exchange.parameter``.
        operation: The word for the log line.
        endpoints: An endpoint for each method. HEAD is answered wherever GET is (RFC 9110, section 9.3.2).
        identify: Gives the exchange its ids, for a request that is refused before it reaches its endpoint.
    """

    path: str
    operation: str
    endpoints: Mapping[str, Endpoint]
    identify: Callable[[web.Request, Exchange], object] | None = None

    @property
    def allow(self) -> str:
        """The value of ``Allow`` (RFC 9110, section 10.2.1)."""
        methods = list(self.endpoints)
        if "GET" in methods:
            methods.insert(methods.index("GET") + 1, "HEAD")
        return ", ".join(methods)

    def parameters(self, value: str) -> dict[str, str]:
        """The path's parameter by its name, if there is one and it has *value*."""
        return {self.path[self.path.index("{") + 1 : self.path.index("}")]: value} if value else {}

    def endpoint(self, method: str) -> Endpoint | None:
        """The endpoint for *method*, or ``None`` for a 405."""
        return self.endpoints.get("GET" if method == "HEAD" else method)


class RouteTable:
    """All routes of a host, under one prefix.

    Args:
        routes: The routes; the first that fits a path wins, fixed paths before patterns.
        prefix: A path before all of them, ``""`` or ``"/v1"``; a trailing slash is trimmed.

    Attributes:
        routes: All of them, with their whole paths.
        fixed: Those without a parameter, by path.
    """

    def __init__(self, routes: Iterable[Route], prefix: str = "") -> None:
        self.routes = list(routes)
        self.move("/" + prefix.strip("/") if prefix.strip("/") else "")

    def move(self, prefix: str) -> None:
        """Put *prefix* before all paths, such as that of the sub-application they turn out to be in."""
        self.routes = [route._replace(path=prefix + route.path) for route in self.routes]
        self.fixed = {route.path: route for route in self.routes if "{" not in route.path}
        self._patterns = [
            (route.path[: route.path.index("{")], route.path[route.path.index("}") + 1 :], route)
            for route in self.routes
            if "{" in route.path
        ]

    def match(self, path: str) -> tuple[Route, str] | None:
        """Find the route for a raw, still percent-encoded path, and the value of its parameter.

        A trailing slash names the same path (contract, section 1).
        """
        route = self.fixed.get(path)
        if route is not None:
            return route, ""
        if path.endswith("/") and len(path) > 1:
            return self.match(path[:-1]) if not path.endswith("//") else None
        for head, tail, candidate in self._patterns:
            value = path[len(head) : len(path) - len(tail)]
            if value and path == head + value + tail and "/" not in value:
                return candidate, unquote(value)
        return None
