"""Where the agent is that a relay stands for, and the headers that a call to it needs."""

from __future__ import annotations

import os
import re
from http import HTTPStatus
from typing import Final

from yarl import URL

from agentserver.cli.client import TOKEN_VARIABLE, has_azure_identity
from agentserver.cli.errors import CommandError, Exit
from agentserver.client.credentials import TokenCache
from agentserver.client.endpoint import Endpoint, hosted, local
from agentserver.wire import ACTIONS_ROUTE, INVOCATIONS_ROUTE, READINESS_ROUTE, WEBSOCKET_ROUTE

__all__ = ["Upstream", "endpoint_of"]

_AGENT: Final = re.compile(r"(.*/api/projects/[^/]+)/agents/([^/]+)(?:/endpoint/protocols/invocations)?/?")
_TOKEN_SECONDS: Final = 60.0


def endpoint_of(url: str, agent: str | None = None) -> Endpoint:
    """The addresses that *url* stands for: an agent's or a project's on the hosting platform, or a server's.

    Args:
        url: ``https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT/agents/AGENT``, the same without the
            agent, or where any server is.
        agent: The agent's name, if *url* is a project's.

    Raises:
        CommandError: If there is no such address.
    """
    try:
        if agent is not None:
            return hosted(url, agent)
        parsed = URL(url)
        found = _AGENT.fullmatch(parsed.path)
        return local(url) if found is None else hosted(parsed.with_path(found[1]).with_query(None), found[2])
    except ValueError as error:
        raise CommandError(str(error)) from None


class Upstream:
    """An agent that is called by way of a relay.

    Args:
        endpoint: Its addresses.

    Raises:
        CommandError: If it needs a token and there is none, or one that would travel in the open.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        token = os.environ.get(TOKEN_VARIABLE)
        self._is_given = bool(token)
        self._tokens: TokenCache | None = None
        if token or endpoint.needs_token:
            if not token and not has_azure_identity():
                raise CommandError(
                    f"A hosted agent needs a token: set {TOKEN_VARIABLE},"
                    " or pip install 'agentserver-invocations[hosted]'",
                    Exit.REFUSED,
                )
            if not endpoint.secure:
                raise CommandError(f"A token must not travel in the open: give {endpoint.origin} with https")
            self._tokens = TokenCache((lambda: token) if token else None, _TOKEN_SECONDS)

    async def headers(self) -> dict[str, str]:
        """What each call carries beside what its caller says.

        Raises:
            CredentialError: If there is no token to be had.
        """
        headers = dict(self.endpoint.headers)
        if self._tokens is not None:
            headers["Authorization"] = f"Bearer {await self._tokens.get()}"
        return headers

    def refused(self, status: int) -> str:
        """The agent has refused a call: say what to do, and have the next call ask for another token.

        Args:
            status: 401 or 403.
        """
        if status == HTTPStatus.FORBIDDEN:
            return (
                "The agent knows the token and refuses it (403): its owner needs a role on the project that"
                " may call agents"
            )
        if self._tokens is None:
            return f"The agent wants a token (401): set {TOKEN_VARIABLE}"
        self._tokens.forget()
        remedy = (
            f"set {TOKEN_VARIABLE} to one that holds, of the agent's tenant"
            if self._is_given
            else "the next call asks for another; if that is refused too, sign in again with 'az login'"
        )
        return f"The agent refused the token (401): {remedy}"

    async def close(self) -> None:
        """Release what gives tokens."""
        if self._tokens is not None:
            await self._tokens.close()

    def http(self, url: URL) -> URL | None:
        """The address of what is at *url* of the relay; none if an agent has nothing there."""
        if url.path == READINESS_ROUTE and self.endpoint.readiness is not None:
            return self.endpoint.readiness
        if url.path != INVOCATIONS_ROUTE and not url.path.startswith(f"{INVOCATIONS_ROUTE}/"):
            return None
        base = self.endpoint.invocations
        rest = url.raw_path.removeprefix(INVOCATIONS_ROUTE)
        if ".." in rest.split("/") or "%2f" in rest.lower() or "%2e" in rest.lower():
            return None  # it would leave the agent's own addresses, and the token with it
        target = URL.build(
            scheme=base.scheme, authority=base.raw_authority, path=base.raw_path + rest, encoded=True
        )
        return target.with_query(url.query).update_query(base.query)

    def websocket(self, url: URL) -> URL | None:
        """The address of the WebSocket at *url* of the relay; none if an agent has none there."""
        if url.path not in {WEBSOCKET_ROUTE, ACTIONS_ROUTE}:
            return None
        base = self.endpoint.actions if url.path == ACTIONS_ROUTE else self.endpoint.websocket
        return base.with_query(url.query).update_query(base.query)
