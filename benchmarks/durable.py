"""What durable runs cost: ``python -m benchmarks.durable --store sqlite`` (or ``postgres``, or an address).

Three questions, each on a store of its own: how long a step's record takes, and an event on its way to a
reader; and whether 10,000 finished runs make anything slower. Percentiles depend on the machine and its disk,
so the time of a bare ``fdatasync`` stands beside them; ratios do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

from agentserver.durable._engine import Filter
from agentserver.durable._records import Changes, End, NewRun, Status
from agentserver.durable._runs import Runs
from agentserver.durable._store import open_engine
from agentserver.durable.options import Durable
from agentserver.durable.run import Run
from agentserver.environment import FoundryEnvironment

RUNS, STEPS, READERS = 20, 200, 5
MANY, FEW, IN_FLIGHT, ASKED = 10_000, 10, 100, 300
PARALLEL = Durable(busy="parallel")

Body = Callable[[Run, Any], Awaitable[Any]]


def percentiles(seconds: Sequence[float]) -> str:
    """Median, 99th and largest, in milliseconds."""
    found = sorted(seconds)
    chosen = (found[len(found) // 2], found[int(len(found) * 0.99)], found[-1])
    return "p50 {:.2f}, p99 {:.2f}, most {:.2f} ms".format(*(1000 * value for value in chosen))


def fsyncs(folder: Path, count: int = 500) -> list[float]:
    """The seconds that the file system takes to have a page on its disk."""
    found: list[float] = []
    with (folder / "fsync").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - began)
            time.sleep(0.001)
    return found


@asynccontextmanager
async def opened(store: str, body: Body) -> AsyncGenerator[Runs, None]:
    """The runs of one process on *store*."""
    runs = Runs(PARALLEL, "Bench", open_engine(FoundryEnvironment(store=store)), body)
    await runs.start()
    try:
        yield runs
    finally:
        await runs.stop(1)


def asked(name: str) -> NewRun:
    """A run to ask for."""
    return NewRun(name, name, "owner", f"key-{name}", "", "Bench", "null", "{}", time.time())


async def until_idle(runs: Runs) -> None:
    """Wait until no run is in progress."""
    while await runs.list(Filter(status=Status.IN_PROGRESS)):  # noqa: ASYNC110 - the store is what is asked
        await asyncio.sleep(0.01)


async def nothing() -> int:
    """Be a step."""
    return 1


async def steps(store: str, pause: float, *, is_shared: bool) -> None:
    """Say how long records and events take, of 20 runs beside five readers."""
    commits: list[float] = []
    here: list[float] = []
    there: list[float] = []

    async def body(run: Run, _value: Any) -> None:
        for _ in range(STEPS):
            began = time.perf_counter()
            await run.step("work", nothing)
            commits.append(time.perf_counter() - began)
            await run.emit(time.perf_counter())
            await asyncio.sleep(pause)

    async def read(runs: Runs, name: str, seen: list[float]) -> None:
        since = time.perf_counter()  # what was emitted before is old, not late
        async for page in runs.follow(name, 0):
            now = time.perf_counter()
            emitted = (json.loads(event.data) for event in page if not event.kind)
            seen.extend(now - then for then in emitted if then > since)

    async with opened(store, body) as runs, opened(store if is_shared else "memory", body) as other:
        began, used = time.perf_counter(), time.process_time()
        names = [f"run-{pause}-{number}" for number in range(RUNS)]
        for name in names:
            _ = await runs.submit(asked(name))
        readers = [read(runs, name, here) for name in names[:READERS]]
        if is_shared:
            readers += [read(other, name, there) for name in names[:READERS]]
        await asyncio.gather(*readers)
        await until_idle(runs)
        seconds, used = time.perf_counter() - began, time.process_time() - used
    count = RUNS * STEPS
    say(f"{RUNS} runs of {STEPS} steps, {pause * 1000:.0f} ms between them, beside {READERS} readers:")
    say(f"  {count / seconds:.0f} steps a second, {1000 * used / count:.2f} ms of CPU a step and its event")
    say(f"  record of a step:            {percentiles(commits)}")
    say(f"  emit to a reader:            {percentiles(here)}")
    if there:
        say(f"  emit to one at a replica:    {percentiles(there)}")


async def fill(runs: Runs, count: int) -> None:
    """Have that many finished runs in the store."""
    engine = runs._engine  # the way past what a run would do
    end = End(Status.COMPLETED, '{"done": true}', None, 9e9, 9e9)

    async def one(number: int) -> None:
        name = f"finished-{number}"
        new = asked(name)._replace(handler="another")  # nobody is to take it up meanwhile
        _ = await engine.create(new, lambda _running, _waiting: Status.IN_PROGRESS)
        _ = await engine.claim(name, 1.0)
        await engine.write(name, 1, Changes(1.0, [], [], end=end))

    for first in range(0, count, 200):
        await asyncio.gather(*(one(number) for number in range(first, min(count, first + 200))))


async def questions(few: str, many: str) -> dict[str, tuple[float, float]]:
    """The median seconds of a start, a list and a GET, of two stores in turn: few finished runs, and many."""
    forever = asyncio.Event()

    async def body(_run: Run, value: Any) -> None:
        if value != "short":
            await forever.wait()

    taken: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in ("start", "list", "GET")}
    async with opened(few, body) as first, opened(many, body) as second:
        stores = ((first, FEW), (second, MANY))
        for runs, finished in stores:
            await fill(runs, finished)
            for number in range(IN_FLIGHT):
                _ = await runs.submit(asked(f"flying-{number}"))
        for number in range(ASKED):
            # In turns, as what a start leaves to do is done while the other store is asked.
            for place in (0, 1) if number % 2 else (1, 0):
                runs, finished = stores[place]
                for name, seconds in (await questioned(runs, number, finished)).items():
                    taken[name][place].append(seconds)
        forever.set()
        for runs, _ in stores:
            await until_idle(runs)
    return {name: (median(some), median(most)) for name, (some, most) in taken.items()}


async def questioned(runs: Runs, number: int, finished: int) -> dict[str, float]:
    """The seconds of one start, one list and one GET."""
    found: dict[str, float] = {}
    began = time.perf_counter()
    _ = await runs.submit(asked(f"short-{number}")._replace(input='"short"'))
    found["start"] = time.perf_counter() - began
    began = time.perf_counter()
    _ = await runs.list(Filter("owner", Status.COMPLETED, limit=10))
    found["list"] = time.perf_counter() - began
    began = time.perf_counter()
    _ = await runs.get(f"finished-{number % finished}")
    found["GET"] = time.perf_counter() - began
    return found


def say(line: str) -> None:
    """Print *line* now."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--store", default="sqlite", help="sqlite, postgres (a server of its own), or an address"
    )
    asked_for = parser.parse_args().store
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        if asked_for == "postgres":
            from tests.durable.postgres import PostgresServer

            server = PostgresServer(fsync=True)
            stack.callback(server.stop)
            asked_for = server.url
        is_shared = "://" in asked_for

        def store(number: str) -> str:
            mark = "&" if "?" in asked_for else "?"
            return (
                f"{asked_for}{mark}schema=bench_{number}" if is_shared else str(folder / f"{number}.sqlite3")
            )

        say(f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        say(f"fdatasync of 4 kB:             {percentiles(fsyncs(folder))}")
        for pause in (0.0, 0.05):
            asyncio.run(steps(store(f"steps_{int(1000 * pause)}"), pause, is_shared=is_shared))
        found = asyncio.run(questions(store("few"), store("many")))
        say(f"with {MANY} finished runs instead of {FEW}, beside {IN_FLIGHT} in flight:")
        for question, (few, many) in found.items():
            say(f"  {question:<6}{1000 * few:8.2f} ms {1000 * many:8.2f} ms  ratio {many / few:.2f}")
        say(f"memory of this process {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")


if __name__ == "__main__":
    main()
