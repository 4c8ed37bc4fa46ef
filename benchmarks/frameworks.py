"""`python -m benchmarks.frameworks`: an adapter beside the same framework called in a raw handler.

The model is the tests' stand-in, in this process; what is compared is the CPU time of the servers' processes,
round by round. It takes the environment that `make frameworks-test` makes.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import subprocess
from contextlib import ExitStack
from statistics import median

import aiohttp

from tests.frameworks.model import standing_in

from .environments import ROOT
from .process import LOAD_CORE, ServerProcess
from .report import put_between_markers

PYTHON = ROOT / "build" / "frameworks" / "bin" / "python"
PAGE = ROOT / "docs" / "decisions" / "frameworks.md"
APP = ROOT / "benchmarks" / "apps" / "framework.py"
NAMES = ("agent_framework", "langgraph", "openai_agents", "pydantic_ai")
KINDS = {"langgraph": ("raw", "adapter", "adapter, own checkpointer")}
TURNS, SESSIONS, PIECES, STREAMS = 10, 4, 200, 4
Figures = dict[str, float]


def main() -> None:
    """Measure, and print the table or write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.frameworks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--page", action="store_true", help=f"write the table into {PAGE.name}")
    options = parser.parse_args()
    if not PYTHON.exists():
        raise SystemExit("there is no environment with the frameworks: make frameworks-test makes it")
    os.sched_setaffinity(0, {LOAD_CORE})
    lines = [
        "| | a turn of a conversation, JSON | ratio | 200 pieces as events | ratio |",
        "|---|---|---|---|---|",
    ]
    for name in NAMES if options.only is None else (options.only,):
        lines += asyncio.run(_compare(name, options.rounds))
    text = f"{_about(options.rounds)}\n\n" + "\n".join(lines)
    print(text)
    if options.page:
        PAGE.write_text(put_between_markers(PAGE.read_text(), text))


async def _compare(name: str, rounds: int) -> list[str]:
    kinds = KINDS.get(name, ("raw", "adapter"))
    taken: dict[str, list[Figures]] = {kind: [] for kind in kinds}
    async with standing_in() as model, aiohttp.ClientSession() as client:
        variables = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "not-a-key", "PYTHONPATH": str(ROOT)}
        with ExitStack() as stack:
            servers: dict[str, ServerProcess] = {}
            for kind in kinds:
                command = [str(PYTHON), str(APP), name, kind]
                server = await asyncio.to_thread(ServerProcess, command, variables, "/readiness")
                servers[kind] = stack.enter_context(server)
                await _round(client, server, -1)  # what is imported or cached at the first call
            for number in range(rounds):
                for kind, server in servers.items():
                    taken[kind].append(await _round(client, server, number))
    return [_line(name, kind, taken[kind], taken["raw"]) for kind in kinds]


async def _round(client: aiohttp.ClientSession, server: ServerProcess, number: int) -> Figures:
    url = f"http://127.0.0.1:{server.port}/invocations?agent_session_id="
    before = server.cpu_seconds()
    for session in range(SESSIONS):
        for turn in range(TURNS):
            async with client.post(f"{url}t{number}-{session}", json={"message": f"turn {turn}"}) as answer:
                assert f"({turn + 1})" in (await answer.json())["output"], await answer.text()
    between = server.cpu_seconds()
    for session in range(STREAMS):
        body, headers = {"message": f"count {PIECES}"}, {"Accept": "text/event-stream"}
        async with client.post(f"{url}s{number}-{session}", json=body, headers=headers) as answer:
            assert (await answer.text()).count("event: text_delta") >= PIECES
    after = server.cpu_seconds()
    return {"turn": (between - before) / SESSIONS / TURNS, "stream": (after - between) / STREAMS}


def _line(name: str, kind: str, own: list[Figures], raw: list[Figures]) -> str:
    cells = [f"{name}, {kind}"]
    for case in ("turn", "stream"):
        ratios = [a[case] / b[case] for a, b in zip(own, raw, strict=True)]
        cells.append(f"{median(figures[case] for figures in own) * 1000:.2f} ms")
        cells.append(
            "1" if kind == "raw" else f"**{median(ratios):.2f}** ({min(ratios):.2f}–{max(ratios):.2f})"
        )
    return f"| {' | '.join(cells)} |"


def _about(rounds: int) -> str:
    code = (
        "import json, platform; from importlib.metadata import version as v; print(json.dumps([platform."
        "python_version()] + [n + ' ' + v(n) for n in ('agent-framework-core', 'langgraph', 'openai-agents',"
        " 'pydantic-ai-slim')]))"
    )
    python, *versions = json.loads(subprocess.check_output([str(PYTHON), "-c", code]))
    return (
        f"Measured on {datetime.datetime.now(datetime.timezone.utc).date().isoformat()}: CPU time of the"
        f" server's process, the median of {rounds} rounds, the ratio within each round (least–most);"
        f" {SESSIONS} conversations of {TURNS} turns, {STREAMS} streams.\nPython {python},"
        f" {', '.join(versions)}, {platform.system()} {platform.release()};"
        f" load average at the start {os.getloadavg()[0]:.1f}."
    )


if __name__ == "__main__":
    main()
