"""``agentserver get``, ``cancel`` and ``watch``: how an invocation stands."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Final

from agentserver.cli.client import calling
from agentserver.cli.errors import Exit
from agentserver.cli.terminal.answers import print_answer, print_event

if TYPE_CHECKING:
    from agentserver.client import Answer, InvocationsClient

__all__ = ["cancel", "get", "watch"]

_FAILED: Final = frozenset({"failed", "failure", "error", "errored", "expired", "timed_out"})
_CANCELLED: Final = frozenset({"cancelled", "canceled", "aborted"})


def get(arguments: argparse.Namespace) -> int:
    """Print the state of an invocation."""

    async def call(client: InvocationsClient) -> int:
        print_answer(await client.get(arguments.id), as_json=arguments.json)
        return Exit.OK

    return calling(arguments, call)


def cancel(arguments: argparse.Namespace) -> int:
    """Cancel an invocation and print what the agent says."""

    async def call(client: InvocationsClient) -> int:
        print_answer(await client.cancel(arguments.id), as_json=arguments.json)
        return Exit.OK

    return calling(arguments, call)


def watch(arguments: argparse.Namespace) -> int:
    """Print the events of a durable run, or the state of any other invocation each time it changes."""

    async def call(client: InvocationsClient) -> int:
        import asyncio

        from agentserver._time_limit import wait_for
        from agentserver.client import AnswerError, DeadlineError, ResponseError

        try:
            return await wait_for(_follow(client, arguments), arguments.timeout)
        except AnswerError:  # it is no durable run's
            return await _poll(client, arguments)
        except ResponseError as error:
            if error.code != "gone":
                raise
            return await _poll(client, arguments)  # its events are no longer kept, and it is
        except DeadlineError:
            raise
        except asyncio.TimeoutError:
            raise DeadlineError(f"the run was not done within {arguments.timeout:g} s") from None

    return calling(arguments, call)


async def _follow(client: InvocationsClient, arguments: argparse.Namespace) -> int:
    kind = ""
    async for event in client.events(arguments.id, after=arguments.after):
        print_event(event, as_json=arguments.json)
        kind = event.event
    if not kind:  # it had ended before
        kind = (await client.get(arguments.id)).run().status
    return _exit_of_state(kind)


async def _poll(client: InvocationsClient, arguments: argparse.Namespace) -> int:
    last: bytes | None = None

    def done(answer: Answer) -> bool:
        nonlocal last
        if answer.body != last:
            last = answer.body
            print_answer(answer, as_json=arguments.json)
        return not answer.running

    answer = await client.wait(
        arguments.id, done=done, interval=arguments.interval, timeout=arguments.timeout
    )
    return _exit_of_state(_state(answer))


def _state(answer: Answer) -> str:
    """The word that a JSON answer has as its ``status``; empty without one."""
    try:
        return str(json.loads(answer.body)["status"]).lower()
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""


def _exit_of_state(state: str) -> Exit:
    if state in _CANCELLED:
        return Exit.CANCELLED
    return Exit.AGENT if state in _FAILED else Exit.OK
