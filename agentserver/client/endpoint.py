"""Where an agent is: its addresses on a developer's machine and on the hosting platform. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from yarl import URL

from agentserver.wire import (
    ACTIONS_ROUTE,
    FOUNDRY_FEATURES_HEADER,
    FOUNDRY_FEATURES_PREVIEW,
    ID_PATTERN,
    INVOCATIONS_ROUTE,
    READINESS_ROUTE,
    SESSION_ID_QUERY,
    WEBSOCKET_ROUTE,
)

__all__ = ["DEFAULT_URL", "TOKEN_SCOPE", "Endpoint", "check_id", "hosted", "local"]

DEFAULT_URL = "http://localhost:8088"
TOKEN_SCOPE = "https://ai.azure.com/.default"  # noqa: S105 - the scope a token is asked for, no secret

_ID = re.compile(ID_PATTERN)
_PROJECT_PATH = re.compile(r"/api/projects/(?P<project>[^/]+)/?")
_AGENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Endpoint:
    """The addresses of one agent, and what every request to it carries."""

    invocations: URL
    websocket: URL
    actions: URL
    readiness: URL | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    needs_token: bool = False

    def invoke(self, session_id: str | None) -> URL:
        """The address of a new invocation, in a session if one is given."""
        return _in_session(self.invocations, session_id)

    def invocation(self, invocation_id: str, session_id: str | None = None) -> URL:
        """The address of one invocation; the platform finds its container by the session."""
        return _in_session(self._part(check_id("invocation_id", invocation_id)), session_id)

    def cancel(self, invocation_id: str, session_id: str | None = None) -> URL:
        """The address that cancels one invocation."""
        return _in_session(self._part(check_id("invocation_id", invocation_id), "cancel"), session_id)

    def signal(self, invocation_id: str, session_id: str | None = None) -> URL:
        """The address that takes signals for one durable run."""
        return _in_session(self._part(check_id("invocation_id", invocation_id), "signal"), session_id)

    def document(self, name: str) -> URL:
        """The address of a document that the agent serves of itself."""
        return self._part("docs", name)

    def connect(self, session_id: str | None, *, actions: bool = False) -> URL:
        """The address of a WebSocket, raw or speaking the action protocol."""
        return _in_session(self.actions if actions else self.websocket, session_id)

    def _part(self, *segments: str) -> URL:
        # yarl drops the query when it appends to a path.
        return self.invocations.joinpath(*segments).with_query(self.invocations.query)

    @property
    def secure(self) -> bool:
        """Whether a token may be sent there: over TLS, or without leaving the machine."""
        return self.invocations.scheme == "https" or self.invocations.host in _LOOPBACK

    @property
    def origin(self) -> str:
        """Scheme, host and port, for messages."""
        return str(self.invocations.origin())


def local(base_url: str | URL = DEFAULT_URL) -> Endpoint:
    """The addresses of a server that is reached directly, mounted under a prefix or not.

    Raises:
        ValueError: If *base_url* is no ``http`` or ``https`` address.
    """
    base = _http_url(base_url)
    prefix = base.with_path(base.path.rstrip("/"))
    socket = prefix.with_scheme(_websocket_scheme(base))
    return Endpoint(
        invocations=_below(prefix, INVOCATIONS_ROUTE),
        websocket=_below(socket, WEBSOCKET_ROUTE),
        actions=_below(socket, ACTIONS_ROUTE),
        readiness=_below(prefix, READINESS_ROUTE),
    )


def hosted(project_endpoint: str | URL, agent_name: str, *, preview: bool = True) -> Endpoint:
    """The addresses of an agent on the hosting platform (contract, section 10).

    Args:
        project_endpoint: ``https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT``, as the variable
            ``FOUNDRY_PROJECT_ENDPOINT`` holds it.
        agent_name: The name the agent was deployed under.
        preview: Whether every request carries the preview flag.

    Raises:
        ValueError: If either has another form.
    """
    base = _http_url(project_endpoint)
    match = _PROJECT_PATH.fullmatch(base.path)
    if match is None:
        raise ValueError(
            f"the project endpoint is {str(base)!r}, but needs the form"
            " https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT"
        )
    if not _AGENT_NAME.fullmatch(agent_name):
        raise ValueError(
            f"the agent name is {agent_name!r}, but may only have letters, digits, '.', '_', '-'"
        )
    http = base.with_path(
        f"/api/projects/{match['project']}/agents/{agent_name}/endpoint/protocols/invocations"
    )
    socket = base.with_scheme(_websocket_scheme(base)).with_path(
        "/api/projects/agents/endpoint/protocols/invocations_ws"
    )
    socket = socket.with_query(project_name=match["project"], agent_name=agent_name)
    return Endpoint(
        invocations=http.with_query({"api-version": "v1"}),
        websocket=socket,
        actions=socket,
        headers={FOUNDRY_FEATURES_HEADER: FOUNDRY_FEATURES_PREVIEW} if preview else {},
        needs_token=True,
    )


def check_id(name: str, value: str) -> str:
    """Return *value* if a server takes it as an id (contract, section 2).

    Raises:
        ValueError: If a server would take it as absent, or a proxy would take it for a path of its own.
    """
    if not _ID.fullmatch(value) or value in {".", ".."}:
        raise ValueError(f"{name} is {value!r}, but needs 1 to 256 letters, digits, '.', '_', ':' or '-'")
    return value


def _http_url(text: str | URL) -> URL:
    try:
        url = URL(text)
    except (TypeError, ValueError):
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise ValueError(f"the address is {str(text)!r}, but needs the form {DEFAULT_URL}")
    return url


def _websocket_scheme(url: URL) -> str:
    return "wss" if url.scheme == "https" else "ws"


def _below(prefix: URL, route: str) -> URL:
    return prefix.with_path(prefix.path.rstrip("/") + route)


def _in_session(url: URL, session_id: str | None) -> URL:
    if session_id is None:
        return url
    return url.update_query({SESSION_ID_QUERY: check_id("session_id", session_id)})
