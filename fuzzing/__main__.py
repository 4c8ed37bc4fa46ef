"""`python -m fuzzing`: every fuzzer on both loops, then the soak; bounded in count and time."""

from __future__ import annotations

import argparse
import asyncio
import logging
import random
import secrets
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, TypeVar

import uvloop

from tests.servers import running

from . import http, websocket
from .leaving import figures, settled, soak

T = TypeVar("T")
Judge = Callable[[random.Random], Awaitable[str]]
"""Makes a case, gives it to both servers, and says how they differ; empty if they do not."""

_ROUNDS: Final = 5
_GROWTH: Final = 4 << 20  # bytes from the second round of the soak to its last
_MOST_SHOWN: Final = 10


@asynccontextmanager
async def judge_websocket() -> AsyncGenerator[Judge, None]:
    """WebSocket frames, ours beside the protocol of `websockets`."""
    async with websocket.ours() as ours:

        async def judge(rng: random.Random) -> str:
            case = websocket.generate(rng)
            expected, found = websocket.expected(case), await ours.judge(case)
            return "" if found == expected else f"websockets: {expected}\nours: {found}\nsent: {case.frames}"

        yield judge


@asynccontextmanager
async def judge_http() -> AsyncGenerator[Judge, None]:
    """Pipelines of HTTP/1.1, ours beside aiohttp's server."""
    async with http.servers() as (theirs, ours):

        async def judge(rng: random.Random) -> str:
            case = http.generate(rng)
            expected, found = await asyncio.gather(http.run(theirs, case), http.run(ours, case))
            return "" if found == expected else f"aiohttp: {expected}\nours: {found}\nsent: {case.pieces}"

        yield judge


JUDGES: Final[dict[str, Callable[[], AbstractAsyncContextManager[Judge]]]] = {
    "websocket": judge_websocket,
    "http": judge_http,
}
LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}


def run_in(loop: Callable[[], asyncio.AbstractEventLoop], coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* to its end in a new loop."""
    made = loop()
    try:
        return made.run_until_complete(coroutine)
    finally:
        made.run_until_complete(made.shutdown_asyncgens())
        made.close()


async def fuzz(name: str, seed: str, numbers: Sequence[int], seconds: float) -> tuple[int, list[str]]:
    """Try the cases of *numbers*, for *seconds* at most.

    Returns:
        How many were tried, and a text for each difference: its case can be told by seed and number.
    """
    tried, found, end = 0, list[str](), time.monotonic() + seconds
    async with JUDGES[name]() as judge:
        for number in numbers:
            if time.monotonic() > end or len(found) >= _MOST_SHOWN:
                break
            difference = await judge(random.Random(f"{seed}-{number}"))
            tried += 1
            if difference:
                found.append(f"SEED={seed} number {number}\n{difference}")
    return tried, found


async def soaked(seed: str, count: int, rounds: int = _ROUNDS) -> list[str]:
    """What a server keeps or complains of after *rounds* times *count* clients have left it in all ways."""
    found: list[str] = []
    async with running("-m", "fuzzing.agent") as server:
        before = await figures(server.port)
        held: list[int] = []
        try:
            for number in range(rounds):
                await soak(server.port, random.Random(f"{seed}-{number}"), count)
                after = await settled(server.port, before)
                held.append(after.memory)
                print(f"soak: {count} have left, {after}", flush=True)
        except AssertionError as error:
            found.append(str(error))
            await server.kill()
        if len(held) > 2 and held[-1] - held[1] > _GROWTH:
            found.append(f"memory grew from {held[1]:,} to {held[-1]:,} bytes")
        if any("Traceback" in line for line in server.log):
            found.append("a client that leaves is no failure of the agent:\n" + "".join(server.log)[-5000:])
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; 1 if something differs or is kept."""
    parser = argparse.ArgumentParser(prog="python -m fuzzing", description=__doc__)
    parser.add_argument(
        "what", nargs="*", default=[*JUDGES, "soak"], help="websocket, http, soak; default: all"
    )
    parser.add_argument("--seed", default=secrets.token_hex(4), help="repeats a run; default: a new one")
    parser.add_argument("--number", type=int, help="only this case")
    parser.add_argument("--count", type=int, default=5000, help="cases of each fuzzer; default: %(default)s")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each fuzzer; default: %(default)s")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    print(f"SEED={options.seed}", flush=True)
    numbers = range(options.count) if options.number is None else [options.number]
    found: list[str] = []
    for name in (name for name in JUDGES if name in options.what):
        for kind, loop in LOOPS.items():
            tried, differences = run_in(loop, fuzz(name, options.seed, numbers, options.seconds / 2))
            print(f"{name} on {kind}: {tried} cases, {len(differences)} differ", flush=True)
            found += differences
    if "soak" in options.what:
        found += run_in(LOOPS["asyncio"], soaked(options.seed, options.count // 10))
    print("\n\n".join(found), file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
