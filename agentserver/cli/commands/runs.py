"""``agentserver runs``: the durable runs of a store, looked at and tidied up without the agent."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from agentserver.cli.errors import CommandError, Exit
from agentserver.cli.terminal.output import note, print_json, print_text

if TYPE_CHECKING:
    from agentserver.durable._engine import Engine

__all__ = ["runs"]

_PAGE: Final = 500
_COLUMNS: Final = (
    "invocation_id",
    "status",
    "session_id",
    "created_at",
    "recoveries",
    "last_event_id",
    "handler",
)
_END_OF_TIME: Final = 32_503_680_000.0  # in the year 3000: nothing expires later

# What to do instead, while an agent holds the store.
_INSTEAD: Final[Mapping[str, str]] = {
    "cancel": "while an agent runs, cancel through it: agentserver cancel ID",
    "purge": "an agent that runs forgets what has expired by itself; to forget more, stop it first",
}


def runs(arguments: argparse.Namespace) -> int:
    """Look at the store, or change it, as *arguments* say."""
    import asyncio

    return asyncio.run(_carry_out(arguments))


async def _carry_out(arguments: argparse.Namespace) -> int:
    from agentserver.durable._engine import StoreUnavailableError
    from agentserver.durable._inspection import existing_store
    from agentserver.environment import FoundryEnvironment

    environment = FoundryEnvironment.read()
    if arguments.store is not None:
        environment = replace(environment, store=arguments.store)
    operation = _OPERATIONS[arguments.operation]
    try:
        async with existing_store(environment, read_only=arguments.operation not in _INSTEAD) as engine:
            return await operation(engine, arguments)
    except StoreUnavailableError as error:
        instead = _INSTEAD.get(arguments.operation, "try again in a moment")
        raise CommandError(f"{error}: {instead}", Exit.FAILED) from None


async def _list(engine: Engine, arguments: argparse.Namespace) -> int:
    from agentserver.durable._engine import Filter
    from agentserver.durable._inspection import described
    from agentserver.durable._records import Status

    status = None if arguments.status is None else Status(arguments.status)
    before: str | None = None
    left = arguments.limit or math.inf
    told: list[dict[str, Any]] = []
    while left:
        page = int(min(left, _PAGE))
        found = await engine.list(Filter(None, status, arguments.session, before, page))
        told += [_without_output(described(run)) for run in found]
        left = left - len(found) if len(found) == page else 0
        before = found[-1].asked.invocation_id if found else None
    if arguments.json:
        for run in told:
            print_json(run)
    elif told:
        _print_table(told)
    else:
        note("no runs")
    return Exit.OK


def _without_output(told: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in told.items() if name != "output"}


def _print_table(told: Sequence[Mapping[str, Any]]) -> None:
    rows = [_COLUMNS, *(tuple(str(run.get(column, "")) for column in _COLUMNS) for run in told)]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    for row in rows:
        print_text("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


async def _show(engine: Engine, arguments: argparse.Namespace) -> int:
    from agentserver.durable._inspection import described, described_event

    run = await engine.get(arguments.id)
    if run is None:
        raise _unknown(arguments.id)
    told = {**described(run), "input": json.loads(run.asked.input)}
    if arguments.events:
        told["events"] = []
        after = 0
        while events := await engine.events(arguments.id, after, _PAGE):
            told["events"] += [described_event(event) for event in events]
            after = events[-1].id
    if arguments.json:
        print_json(told)
    else:
        print_text(json.dumps(told, indent=2, ensure_ascii=False))
    return Exit.OK


async def _cancel(engine: Engine, arguments: argparse.Namespace) -> int:
    from agentserver.durable._inspection import cancel

    run = await cancel(engine, arguments.id, time.time())
    if run is None:
        raise _unknown(arguments.id)
    told = {"status": run.state, "invocation_id": run.asked.invocation_id, "session_id": run.asked.session_id}
    if arguments.json:
        print_json(told)
    else:
        then = ": it ends when its agent starts again" if run.state == "cancelling" else ""
        print_text(f"{arguments.id} is {run.state}{then}")
    return Exit.OK


async def _purge(engine: Engine, arguments: argparse.Namespace) -> int:
    from agentserver.durable._inspection import purge

    count = await purge(engine, _END_OF_TIME if arguments.all else time.time())
    if arguments.json:
        print_json({"purged": count})
    else:
        print_text(f"{count} runs forgotten")
    return Exit.OK


def _unknown(invocation_id: str) -> CommandError:
    return CommandError(
        f"the store has no run {invocation_id!r}: 'agentserver runs list' shows those it has", Exit.AGENT
    )


_OPERATIONS: Final[Mapping[str, Callable[[Engine, argparse.Namespace], Awaitable[int]]]] = {
    "list": _list,
    "show": _show,
    "cancel": _cancel,
    "purge": _purge,
}
