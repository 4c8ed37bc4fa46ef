"""The client of an agent, on a developer's machine and hosted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, overload

import aiohttp
from typing_extensions import Self
from yarl import URL

from agentserver.client import endpoint as endpoints
from agentserver.client.calls import Calls
from agentserver.client.credentials import Credential
from agentserver.client.endpoint import DEFAULT_URL, Endpoint, check_id
from agentserver.client.http_session import HttpSession
from agentserver.client.request import as_client_headers
from agentserver.client.retry import Retry, Timeouts

if TYPE_CHECKING:
    from agentserver.actions.handler import InvocationActionHandler
    from agentserver.client.typed import TypedActionsClient, TypedClient, TypedWebSocketClient
    from agentserver.invocations.handler import In, InvocationHandler, InvocationWebSocketHandler, Out

__all__ = ["InvocationsClient"]


class InvocationsClient(Calls):
    """A client of one agent, used as an asynchronous context manager.

    .. code-block:: python

        async with InvocationsClient("http://localhost:8088") as client:
            answer = await client.invoke({"question": "why?"})
            print(answer.json())

    Args:
        url: Where the server is, with the prefix it is mounted under, if any.
        session_id: The session of every call; None leaves each call a session of its own.
        headers: Headers of every request.
        client_headers: ``x-client-*`` headers of every request, named with or without that prefix.
        credential: For a server behind a gateway of one's own: a callable that returns a token, or a
            credential of azure-identity. Tokens go over TLS or stay on the machine.
        timeouts: How long each part of a call may take.
        retry: What is tried again, and how often.
        max_connections: How many connections are open at once; further calls wait for one, 0 is no limit.
        connector: An aiohttp connector instead of the client's own, for certificates of one's own or a Unix
            socket. It is the client's from here on, and *max_connections* then is its business.

    Raises:
        ValueError: If *url* or *session_id* cannot be used.
    """

    def __init__(
        self,
        url: str | URL = DEFAULT_URL,
        *,
        session_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        client_headers: Mapping[str, str] | None = None,
        credential: Credential | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        max_connections: int = 100,
        connector: aiohttp.BaseConnector | None = None,
        _endpoint: Endpoint | None = None,
    ) -> None:
        self.session_id = None if session_id is None else check_id("session_id", session_id)
        self._http = HttpSession(
            _endpoint or endpoints.local(url),
            credential=credential,
            headers={**(headers or {}), **as_client_headers(client_headers)},
            timeouts=timeouts or Timeouts(),
            retry=retry or Retry(),
            max_connections=max_connections,
            connector=connector,
        )

    @classmethod
    def hosted(
        cls,
        project_endpoint: str,
        agent_name: str,
        *,
        credential: Credential | None = None,
        preview: bool = True,
        session_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        client_headers: Mapping[str, str] | None = None,
        timeouts: Timeouts | None = None,
        retry: Retry | None = None,
        max_connections: int = 100,
    ) -> Self:
        """A client of an agent on the hosting platform (contract, section 10).

        Args:
            project_endpoint: ``https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT``.
            agent_name: The name the agent was deployed under.
            credential: A callable that returns a token for the scope ``https://ai.azure.com/.default``, or a
                credential of azure-identity; None takes azure-identity's default (extra ``hosted``).
            preview: Whether every request carries the preview flag ``HostedAgents=V1Preview``.
            session_id: The session to resume; None lets the platform make one for each call.
            headers, client_headers, timeouts, retry, max_connections: As for the class itself.

        Raises:
            ValueError: If the endpoint or the name has another form.
        """
        return cls(
            session_id=session_id,
            headers=headers,
            client_headers=client_headers,
            credential=credential,
            timeouts=timeouts,
            retry=retry,
            max_connections=max_connections,
            _endpoint=endpoints.hosted(project_endpoint, agent_name, preview=preview),
        )

    @overload
    @classmethod
    def of(
        cls, handler: type[InvocationActionHandler[In, Out]], on: str | URL | InvocationsClient = DEFAULT_URL
    ) -> TypedActionsClient[In, Out]: ...

    @overload
    @classmethod
    def of(
        cls,
        handler: type[InvocationWebSocketHandler[In, Out]],
        on: str | URL | InvocationsClient = DEFAULT_URL,
    ) -> TypedWebSocketClient[In, Out]: ...

    @overload
    @classmethod
    def of(
        cls, handler: type[InvocationHandler[In, Out]], on: str | URL | InvocationsClient = DEFAULT_URL
    ) -> TypedClient[In, Out]: ...

    @classmethod
    def of(
        cls, handler: type[InvocationHandler[Any, Any]], on: str | URL | InvocationsClient = DEFAULT_URL
    ) -> Any:
        """A client with the types that *handler* names: it takes and gives objects, checked both ways.

        .. code-block:: python

            async with InvocationsClient.of(Chat, "http://localhost:8088") as chat:
                async with chat.stream(ChatRequest("Hello")) as events:
                    async for event in events:
                        print(event)

        Args:
            handler: The class of the agent's handler. Nothing of it runs.
            on: Where the server is; or a client, with all its settings, which is closed with this one.

        Raises:
            StartupError: If *handler* names no types, or some that nothing can read.
        """
        from agentserver.client.typed import typed_client  # with it comes the server's part

        return typed_client(handler, on if isinstance(on, InvocationsClient) else cls(on))
