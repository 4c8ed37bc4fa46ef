"""``agentserver connect``: a console for a WebSocket, for a person or for a script."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from agentserver.cli.client import calling
from agentserver.cli.documents import action_schema, message_schema
from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.terminal.screen import Screen

if TYPE_CHECKING:
    from agentserver.client import Connection, InvocationsClient, Retry

__all__ = ["connect"]

_ATTEMPTS: Final = 8


def connect(arguments: argparse.Namespace) -> int:
    """Connect, and talk until the input or the connection ends."""
    interactive = sys.stdin.isatty() and sys.stdout.isatty()
    screen = Screen(as_json=arguments.json, interactive=interactive)

    async def talk(client: InvocationsClient) -> int:
        from agentserver.client import ResponseError, Retry

        reconnect = Retry(attempts=_ATTEMPTS) if arguments.reconnect else None
        try:
            if arguments.actions:
                return await _invoke_actions(client, screen, reconnect)
            return await _exchange_messages(client, screen, reconnect, arguments.linger)
        except ResponseError as error:
            if error.status != 404:
                raise
            what = "does not speak actions" if arguments.actions else "serves no WebSocket"
            raise CommandError(f"The agent {what} there: try 'agentserver invoke'", Exit.AGENT) from None

    return calling(arguments, talk)


async def _invoke_actions(client: InvocationsClient, screen: Screen, reconnect: Retry | None) -> int:
    from agentserver.cli.terminal.actions_console import ActionsConsole

    async with client.actions(reconnect=reconnect) as actions:
        schema = await action_schema(client) if screen.interactive else None
        return await ActionsConsole(actions, screen, reconnects=reconnect is not None, schema=schema).talk()


async def _exchange_messages(
    client: InvocationsClient, screen: Screen, reconnect: Retry | None, linger: float
) -> int:
    from agentserver.cli.terminal.websocket_console import WebSocketConsole

    async def resumed(connection: Connection) -> None:
        screen.reconnected(connection.session_id)

    async with client.connect(reconnect=reconnect, on_reconnect=resumed) as connection:
        schema = await message_schema(client) if screen.interactive else None
        console = WebSocketConsole(
            connection, screen, linger, reconnects=reconnect is not None, schema=schema
        )
        return await console.talk()
