"""`python -m benchmarks`: install what is compared, measure it, write it down."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .environments import BEFORE, OURS, ROOT, prepare, prepare_revision, versions
from .load import build_client
from .measure import Bench, Sample, Settings
from .plan import CASES, SERVERS, Load, Probe, Server, before
from .plot import svg
from .process import LOAD_CORE, SERVER_CORE
from .report import Summary, chosen, put_between_markers, tables
from .sink import collector

PAGE = ROOT / "docs" / "performance.md"
PICTURE = ROOT / "docs" / "performance.svg"
FULL = Settings(rounds=5, seconds=0.8, warm_up=0.2, endurance=1_000_000)
QUICK = Settings(rounds=2, seconds=0.4, warm_up=0.1, endurance=50_000)
SHOWN = {
    "aiohttp": ("aiohttp", "uvloop"),
    "azure": ("azure-ai-agentserver-invocations",),
    "bedrock": ("bedrock-agentcore",),
    "starlette": ("starlette", "uvicorn"),
}


def main() -> None:
    """Run the benchmark that the command line asks for."""
    options = _options()
    settings = QUICK if options.quick else FULL
    settings = Settings(
        options.rounds or settings.rounds,
        options.seconds or settings.seconds,
        settings.warm_up,
        settings.endurance,
    )
    cases = [
        c
        for c in CASES
        if (c.name in options.cases.split(",") if options.cases else c.quick or not options.quick)
    ]
    servers = chosen(SERVERS, options.servers, options.quick)
    _refuse_a_small_machine()
    if options.against:
        prepare_revision(options.against)
        servers += [before(server) for server in servers if server.environment == OURS]
    for name in dict.fromkeys(server.environment for server in servers):
        if name != BEFORE:
            prepare(name)
    about = _about(settings, servers)
    os.sched_setaffinity(0, {LOAD_CORE})
    samples = _measure(settings, cases, servers)
    _write(options, about, samples)


def _measure(settings: Settings, cases: list[Load | Probe], servers: list[Server]) -> list[Sample]:
    with tempfile.TemporaryDirectory() as name, collector() as address:
        folder = Path(name)
        bench = Bench(settings, build_client(folder), folder, address)
        loads = bench.loads([case for case in cases if isinstance(case, Load)], servers)
        probes = bench.probes([case for case in cases if isinstance(case, Probe)], servers)
        return [*loads, *probes]


def _write(options: argparse.Namespace, about: dict[str, Any], samples: list[Sample]) -> None:
    summary = Summary(samples)
    text = tables(summary, about)
    output = Path(options.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"about": about, "samples": [asdict(s) for s in samples]}, indent=1) + "\n")
    print(f"{text}\n\nwritten: {output}")
    if options.page:
        PAGE.write_text(put_between_markers(PAGE.read_text(), text))
        PICTURE.write_text(svg(summary))
        print(f"written: {PAGE}, {PICTURE}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="the main cases of ours and the yardstick, in a minute"
    )
    parser.add_argument("--cases", help="names of plan.CASES, separated by commas")
    parser.add_argument("--servers", help="names of plan.SERVERS, separated by semicolons")
    parser.add_argument("--against", metavar="REVISION", help="a git revision of ours to hold ours against")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--page", action="store_true", help="write the tables and the picture into docs/")
    parser.add_argument(
        "--output", default=str(ROOT / "build" / "benchmark.json"), help="where the samples go"
    )
    return parser.parse_args()


def _refuse_a_small_machine() -> None:
    if not {SERVER_CORE, LOAD_CORE} <= os.sched_getaffinity(0):
        raise SystemExit(
            f"the benchmark needs cores {SERVER_CORE} and {LOAD_CORE}: one for the servers, one for the load"
        )


def _about(settings: Settings, servers: list[Server]) -> dict[str, Any]:
    installed = {name: versions(name) for name in dict.fromkeys(server.environment for server in servers)}
    _refuse_unequal(installed)
    shown = {p: installed[name][p] for name, packages in SHOWN.items() if name in installed for p in packages}
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "commit": _commit(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": shown,
        "load_average": round(os.getloadavg()[0], 2),
        **asdict(settings),
        "installed": installed,
    }


def _refuse_unequal(installed: dict[str, dict[str, str]]) -> None:
    """Ours stands on aiohttp: with another version beneath it, the ratio would compare two aiohttps."""
    for package in ("python", "aiohttp", "uvloop"):
        found = {installed[name].get(package) for name in ("aiohttp", "agentserver") if name in installed}
        if len(found) > 1:
            raise SystemExit(
                f"{package} differs between ours and the yardstick: {found}; remove benchmarks/.venv"
            )


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine()
    )


main()
