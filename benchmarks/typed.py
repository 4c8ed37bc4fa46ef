"""`python -m benchmarks.typed`: what types cost beside the same by hand, in CPU time of the server alone.

Each pair is measured in turn, so that what else the machine does meets both; the median of the ratios counts.
What the client uses is not counted: it has a thread of its own. A start answers one request of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import compileall
import json
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from aiohttp import web

from agentserver import AgentHost, InvocationContext, InvocationHandler, ServerSentEvent
from agentserver._typed.contract import Contract
from agentserver.environment import FoundryEnvironment

TEXT = "x" * 960
EVENTS = 500
PACKAGE = Path(__file__).parents[1] / "agentserver"
START = Path(__file__).parent / "apps" / "typed_start.py"


@dataclass
class Ask:
    """About 1 KB of JSON."""

    message: str
    language: str = "en"
    times: int = 1


@dataclass
class Reply:
    """The same back."""

    message: str
    language: str
    times: int


@dataclass
class Delta:
    """An event."""

    text: str
    number: int


class EchoByHand(InvocationHandler):
    """Parses and checks, as one does without types."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        """Answer with what came."""
        try:
            body = json.loads(await request.read())
            message, language, times = body["message"], body.get("language", "en"), body.get("times", 1)
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": {}}, status=400)
        if not isinstance(message, str) or not isinstance(language, str) or not isinstance(times, int):
            return web.json_response({"error": {}}, status=400)
        return {"message": message, "language": language, "times": times}


class Echo(InvocationHandler[Ask, Reply]):
    """The same with types."""

    async def handle(self, request: Ask, context: InvocationContext) -> Reply:
        """Answer with what came."""
        return Reply(request.message, request.language, request.times)


class EventsByHand(InvocationHandler):
    """Events as one makes them without types."""

    async def handle(
        self, request: web.Request, context: InvocationContext
    ) -> AsyncIterator[ServerSentEvent]:
        """Yield 500."""
        for number in range(EVENTS):
            yield ServerSentEvent({"text": "hello", "number": number}, event="delta")


class Events(InvocationHandler[web.Request, Delta]):
    """The same with types."""

    async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Delta]:
        """Yield 500."""
        for number in range(EVENTS):
            yield Delta("hello", number)


class EventsOneByOne(InvocationHandler[web.Request, Delta]):
    """The same, each when it is there, as of a model, and not all in one burst."""

    async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Delta]:
        """Yield 500."""
        for number in range(EVENTS):
            yield Delta("hello", number)
            await asyncio.sleep(0)


class Bench:
    """One handler behind the server, on a socket whose other end a thread has.

    Args:
        handler: The handler.
        end: The last bytes of each response.
    """

    def __init__(self, handler: type[InvocationHandler], end: bytes) -> None:
        builder = AgentHost.create_builder(FoundryEnvironment.read({}))
        builder.configure(request_logging=False).add_invocations(handler)
        self.host = builder.build()
        self._end = end

    async def start(self) -> None:
        """Connect."""
        await self.host.start(listen=False)
        self._ours, theirs = socket.socketpair()
        await self.host.accept(theirs)

    async def seconds(self, body: bytes, times: int) -> float:
        """The CPU time that the server's thread spends on *times* requests."""
        head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        before = time.thread_time()
        await asyncio.get_running_loop().run_in_executor(None, self._ask, head + body, times)
        return time.thread_time() - before

    def _ask(self, request: bytes, times: int) -> None:
        for _ in range(times):
            self._ours.sendall(request)
            last = b""
            while not last.endswith(self._end):
                last = (last + self._ours.recv(1 << 18))[-16:]

    async def stop(self) -> None:
        """Disconnect."""
        self._ours.close()
        await self.host.stop()


async def requests(name: str, pair: tuple[Bench, Bench], body: bytes, times: int, rounds: int) -> None:
    """Print what the second of *pair* costs beside the first."""
    first, second = pair
    await first.start()
    await second.start()
    for bench in (first, second):
        await bench.seconds(body, times)
    pairs = [(await first.seconds(body, times), await second.seconds(body, times)) for _ in range(rounds)]
    tell(name, [(a / times * 1e6, b / times * 1e6) for a, b in pairs], "µs")
    await first.stop()
    await second.stop()


async def checked_events(name: str, handler: type[InvocationHandler], times: int, rounds: int) -> None:
    """Print what the check of events costs, beside events that go out unchecked."""
    unchecked, checked = Bench(handler, b"0\r\n\r\n"), Bench(handler, b"0\r\n\r\n")
    write = Contract.write

    plain: Callable[[bytes, int], Awaitable[float]] = unchecked.seconds

    async def without(body: bytes, times: int) -> float:
        # Writing without a check is not a way that the library has.
        Contract.write = lambda self, value: self.reply._dump(value)  # type: ignore[method-assign,union-attr]
        try:
            return await plain(body, times)
        finally:
            Contract.write = write  # type: ignore[method-assign]

    unchecked.seconds = without  # type: ignore[method-assign]
    await requests(f"500 events {name}, checked beside unchecked", (unchecked, checked), b"", times, rounds)


def starts(rounds: int) -> None:
    """Print what a start with a dataclass handler costs beside one without types."""

    def start(kind: str) -> tuple[float, float]:
        done = subprocess.run([sys.executable, START, kind], capture_output=True, text=True, check=True)
        seconds, kilobytes = done.stdout.split()
        return float(seconds), float(kilobytes)

    # Bytecode that is out of date would be made anew in each start.
    compileall.compile_dir(PACKAGE, quiet=1)
    for kind in ("raw", "typed"):
        start(kind)
    pairs = [(start("raw"), start("typed")) for _ in range(rounds)]
    tell("start to the first 200", [(raw[0] * 1e3, typed[0] * 1e3) for raw, typed in pairs], "ms")
    more = median(typed[1] - raw[1] for raw, typed in pairs) / 1024
    print(f"memory of a start: {more:+.1f} MB")


def tell(name: str, pairs: list[tuple[float, float]], unit: str) -> None:
    """Print both medians and the median of the ratios."""
    ratios = sorted(second / first for first, second in pairs)
    first, second = (median(pair[side] for pair in pairs) for side in (0, 1))
    quartiles = f"{ratios[len(ratios) // 4]:.2f} to {ratios[-1 - len(ratios) // 4]:.2f}"
    print(f"{name}: {first:.1f} and {second:.1f} {unit}: {median(ratios):.3f} ({quartiles})", flush=True)


async def main(rounds: int) -> None:
    """Measure all."""
    body = json.dumps({"message": TEXT, "language": "fr", "times": 2}).encode()
    echoes = Bench(EchoByHand, b"}"), Bench(Echo, b"}")
    await requests("echo of 1 KB, typed beside by hand", echoes, body, 300, rounds)
    events = Bench(EventsByHand, b"0\r\n\r\n"), Bench(Events, b"0\r\n\r\n")
    await requests("500 events, typed beside by hand", events, b"", 20, rounds)
    await checked_events("one by one", EventsOneByOne, 20, rounds)
    await checked_events("in one burst", Events, 20, rounds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.typed", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--starts", type=int, default=25)
    options = parser.parse_args()
    if options.rounds:
        asyncio.run(main(options.rounds))
    if options.starts:
        starts(options.starts)
