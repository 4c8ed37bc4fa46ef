"""`python -m compliance.autobahn`: set the suite up, run its cases, count, and write docs/conformance.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .results import count, misses, table

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "conformance.md"
WORK = ROOT / "build" / "autobahn"
SUITE = "autobahntestsuite==25.10.1"
RUN = "from autobahntestsuite.wstest import run; run()"
BEGIN, END = "<!-- autobahn:begin -->", "<!-- autobahn:end -->"
# Side by side: the client is one Python 2.7 process each, and it is the slow one.
GROUPS = (("1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"), ("12.*",), ("13.*",))


def main() -> int:
    """Run the suite; 0 if the results are good enough, 1 if not, 2 if there is no Python 2.7 to run it."""
    parser = argparse.ArgumentParser(prog="python -m compliance.autobahn", description=__doc__)
    parser.add_argument("--page", action="store_true", help="write the results into docs/conformance.md")
    parser.add_argument("--cases", nargs="+", metavar="CASE", help="only these, such as '1.*' or 7.1.3")
    options = parser.parse_args()
    if options.page and options.cases:
        parser.error("--page is for all cases: leave --cases out")
    python = find_python()
    if python is None:
        print(
            "autobahn: the suite runs on Python 2.7 alone: install one, or name it in PYTHON2",
            file=sys.stderr,
        )
        return 2
    prepare(python)
    asyncio.run(run_all(python, [options.cases] if options.cases else GROUPS))
    sections = count(WORK.glob("reports-*/index.json"))
    print(table(sections))
    if options.page:
        write(table(sections))
    found = misses(sections, whole=not options.cases)
    for miss in found:
        print(f"autobahn: {miss}: see {WORK}/reports-*/index.html", file=sys.stderr)
    return 1 if found else 0


def find_python() -> str | None:
    """A Python 2.7: `PYTHON2`, or on the path, or one of pyenv's."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [os.environ.get("PYTHON2"), shutil.which("python2.7")]
    candidates += sorted(map(str, root.glob("versions/2.7.*/bin/python")))
    for candidate in filter(None, candidates):
        done = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if "Python 2.7" in done.stderr + done.stdout:
            return candidate
    return None


def prepare(python: str) -> None:
    """Install the suite into a folder of its own, unless it is there."""
    base = _environment()["PYTHONUSERBASE"]
    if not list(Path(base).glob("lib/python2.7/site-packages/autobahntestsuite")):
        print(f"installing {SUITE} ...", flush=True)
        command = [python, "-m", "pip", "install", "--quiet", "--user", "--ignore-installed", SUITE]
        subprocess.run(command, check=True, env=_environment())
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)


async def run_all(python: str, groups: Sequence[Sequence[str]]) -> None:
    """Judge *groups* of cases, side by side."""
    await asyncio.gather(*(run(python, number, cases) for number, cases in enumerate(groups)))


async def run(python: str, number: int, cases: Sequence[str]) -> None:
    """Judge some *cases* on an agent of their own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = {"agent": "agentserver", "url": f"ws://127.0.0.1:{port}/invocations_ws"}
    specification = WORK / f"specification-{number}.json"
    specification.write_text(
        json.dumps(
            {
                "outdir": str(WORK / f"reports-{number}"),
                "servers": [server],
                "cases": list(cases),
                "exclude-cases": [],
                "exclude-agent-cases": {},
            }
        )
    )
    with (WORK / f"agent-{number}.log").open("wb") as log, (WORK / f"wstest-{number}.log").open("wb") as told:
        agent = await asyncio.create_subprocess_exec(
            sys.executable, str(Path(__file__).parent / "agent.py"),
            env={**os.environ, "PORT": str(port)}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            await _until_it_listens(port)
            suite = await asyncio.create_subprocess_exec(
                python, "-c", RUN, "-m", "fuzzingclient", "-s", str(specification),
                cwd=WORK, env=_environment(), stdout=told, stderr=told,
            )  # fmt: skip
            await suite.wait()
        finally:
            agent.terminate()
            await agent.wait()


def write(text: str) -> None:
    """Put *text* between the markers of the page."""
    before, rest = PAGE.read_text().split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}")


async def _until_it_listens(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise SystemExit("autobahn: the agent does not start, see build/autobahn/agent-*.log")


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {**environment, "PYTHONUSERBASE": str(ROOT / ".venv" / "autobahn")}


if __name__ == "__main__":
    raise SystemExit(main())
