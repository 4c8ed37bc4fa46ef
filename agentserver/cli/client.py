"""The client that the arguments of a command describe."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Coroutine
from importlib.util import find_spec
from typing import TYPE_CHECKING

from agentserver.cli.errors import CommandError, Exit
from agentserver.wire import PORT_VARIABLE, PROJECT_ENDPOINT_VARIABLE

if TYPE_CHECKING:
    from agentserver.client import InvocationsClient

__all__ = ["TOKEN_VARIABLE", "URL_VARIABLE", "calling", "has_azure_identity", "url_of"]

URL_VARIABLE = "AGENTSERVER_URL"
TOKEN_VARIABLE = "AGENTSERVER_TOKEN"  # noqa: S105 - the name of a variable, no secret


def url_of(arguments: argparse.Namespace) -> str:
    """Where the server is: --url, else AGENTSERVER_URL, else this machine and PORT; ``http`` unless said."""
    url: str | None = arguments.url or os.environ.get(URL_VARIABLE)
    return _with_scheme(url or f"localhost:{os.environ.get(PORT_VARIABLE) or 8088}", "http")


def _with_scheme(url: str, scheme: str) -> str:
    return url if "://" in url else f"{scheme}://{url}"


def calling(
    arguments: argparse.Namespace, command: Callable[[InvocationsClient], Coroutine[None, None, int]]
) -> int:
    """Run *command* with the client that *arguments* describe, and return its exit code.

    Raises:
        CommandError: If the arguments describe none.
        ClientError: If the call fails.
    """
    import asyncio

    async def call() -> int:
        try:
            client = _client(arguments)
        except ValueError as error:
            raise CommandError(str(error)) from None
        async with client:
            try:
                return await command(client)
            except ValueError as error:
                raise _as_command_error(error) from None

    return asyncio.run(call())


def _as_command_error(error: ValueError) -> Exception:
    from agentserver.errors import AgentServerError

    return error if isinstance(error, AgentServerError) else CommandError(str(error))


def _client(arguments: argparse.Namespace) -> InvocationsClient:
    from agentserver.client import NO_RETRY, InvocationsClient, Timeouts

    token = os.environ.get(TOKEN_VARIABLE)
    credential = (lambda: token) if token else None
    headers = dict(arguments.header)
    timeouts = Timeouts(answer=arguments.timeout, idle=arguments.timeout)
    if arguments.agent is None:
        return InvocationsClient(
            url_of(arguments),
            session_id=arguments.session,
            headers=headers,
            credential=credential,
            timeouts=timeouts,
            retry=NO_RETRY,
        )
    client = InvocationsClient.hosted(
        _project(arguments),
        arguments.agent,
        session_id=arguments.session,
        headers=headers,
        credential=credential,
        timeouts=timeouts,
        retry=NO_RETRY,
    )
    if credential is None and not has_azure_identity():
        raise CommandError(
            f"A hosted agent needs a token: set {TOKEN_VARIABLE},"
            " or pip install 'agentserver-invocations[hosted]'",
            Exit.REFUSED,
        )
    return client


def has_azure_identity() -> bool:
    """Whether the package is installed that gives tokens of the hosting platform."""
    try:
        return find_spec("azure.identity") is not None
    except ImportError:  # of the package around it
        return False


def _project(arguments: argparse.Namespace) -> str:
    project: str | None = arguments.project or os.environ.get(PROJECT_ENDPOINT_VARIABLE)
    if project is None:
        raise CommandError(f"--agent needs a project: give --project URL, or set {PROJECT_ENDPOINT_VARIABLE}")
    return _with_scheme(project, "https")
