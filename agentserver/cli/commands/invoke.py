"""``agentserver invoke``: one call, its answer on standard output while it comes."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from agentserver.cli.client import calling, url_of
from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.files import read_file
from agentserver.cli.terminal.answers import print_answer, print_event
from agentserver.cli.terminal.output import note
from agentserver.errors import AgentServerError
from agentserver.wire import ACTIONS_ROUTE, WEBSOCKET_ROUTE

if TYPE_CHECKING:
    from agentserver.client import InvocationsClient, Stream

__all__ = ["complete_body", "invoke"]

_PROBE_SECONDS: Final = 2.0


def invoke(arguments: argparse.Namespace) -> int:
    """Invoke the agent; a stream is printed as it comes."""
    body, media_type = _body(arguments)

    async def call(client: InvocationsClient) -> int:
        from agentserver.client import ResponseError

        if media_type == "application/json" and arguments.check:
            await _check(client, body)
        try:
            async with client.stream(
                body, content_type=media_type, invocation_id=arguments.id, query=dict(arguments.query)
            ) as stream:
                if sys.stderr.isatty() and not arguments.json:
                    note(f"invocation {stream.invocation_id}  session {stream.session_id}")
                await _print_stream(stream, as_json=arguments.json)
        except ResponseError as error:
            if error.status == 404 and arguments.agent is None:
                await _point_to_websocket(url_of(arguments))
            raise
        return Exit.OK

    return calling(arguments, call)


def complete_body(prefix: str, arguments: argparse.Namespace) -> list[str]:
    """What *prefix* of a body may become, by the document of the agent that *arguments* name."""
    from agentserver.cli.documents import body_schema
    from agentserver.cli.json_completion import complete_json

    found: list[str] = []

    async def ask(client: InvocationsClient) -> int:
        schema = await body_schema(client)
        if schema is not None:
            replaced, ends = complete_json(prefix, schema)
            found.extend(prefix[: len(prefix) - replaced] + end for end in ends)
        return Exit.OK

    with suppress(AgentServerError):
        calling(arguments, ask)
    return found


async def _check(client: InvocationsClient, body: str | bytes) -> None:
    """Hold *body* against the document of the agent, if it has one.

    Raises:
        CommandError: If the agent does not take it.
    """
    from agentserver.cli.documents import body_schema
    from agentserver.cli.json_schema import fault_of

    schema = await body_schema(client)
    if schema is None:
        return
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return  # of a file: the agent says what is wrong with it
    fault = fault_of(value, schema)
    if fault is not None:
        sentence = fault.sentence("the body")
        raise CommandError(f"The agent does not take that: {sentence}; --no-check sends it all the same")


async def _point_to_websocket(url: str) -> None:
    """Say so, if there is a WebSocket where the agent takes no invocations over HTTP.

    Raises:
        CommandError: If there is one.
    """
    import aiohttp

    timeout = aiohttp.ClientTimeout(_PROBE_SECONDS)
    for route, option in ((ACTIONS_ROUTE, " --actions"), (WEBSOCKET_ROUTE, "")):
        try:
            # Without an upgrade a server that has the route refuses it, with no 404, and runs nothing.
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(url.rstrip("/") + route) as answer,
            ):
                is_there = answer.status in {400, 426}
        except (aiohttp.ClientError, asyncio.TimeoutError):
            return
        if is_there:
            words = "The agent takes no invocations over HTTP there, but a WebSocket"
            raise CommandError(f"{words}: try 'agentserver connect{option}'", Exit.AGENT)


def _body(arguments: argparse.Namespace) -> tuple[Any, str | None]:
    """What is to be sent, and as which media type; None leaves the type to the client."""
    if arguments.file is not None:
        return _file(arguments)
    text = sys.stdin.read() if arguments.body == "-" else arguments.body
    if text is None or arguments.text or arguments.type:
        return text, arguments.type
    if not arguments.json and not text.lstrip().startswith(("{", "[")):
        return text, None
    try:
        json.loads(text)
    except ValueError as error:
        if not arguments.json:
            return text, None
        raise CommandError(f"--json needs a body that is JSON: {error}; --text sends it as it is") from None
    return text, "application/json"


def _file(arguments: argparse.Namespace) -> tuple[bytes, str | None]:
    if arguments.body is not None:
        raise CommandError("BODY and --file exclude each other: give one")
    body = read_file(arguments.file)
    if arguments.type is None and arguments.file.endswith(".json"):
        return body, "application/json"
    return body, arguments.type


async def _print_stream(stream: Stream, *, as_json: bool) -> None:
    if stream.content_type == "text/event-stream":
        async for event in stream.events():
            print_event(event, as_json=as_json)
    elif as_json or (stream.content_type == "application/json" and sys.stdout.isatty()):
        print_answer(await stream.answer(), as_json=as_json)
    else:
        await _print_chunks(stream)


async def _print_chunks(stream: Stream) -> None:
    end = b"\n"
    async for chunk in stream:
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        end = chunk[-1:] or end
    if end != b"\n" and sys.stdout.isatty():
        print()
