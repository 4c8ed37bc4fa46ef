"""`python -m compliance.aiohttp`: fetch aiohttp's tests, run them on both servers and loops, compare."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import aiohttp

from .differences import LIST, differences, judge, read_list

ROOT: Final = Path(__file__).parent.parent.parent
WORK: Final = ROOT / "build" / "aiohttp-suite"
SOURCE: Final = f"aiohttp-{aiohttp.__version__}"
PARTS: Final = ("tests", "pytest.ini", "README.rst")  # not the package: the installed one is what is tested
LOOPS: Final = ("pyloop", "uvloop")
# Those that talk to a server. What they check of aiohttp's inside alone is on the list of differences.
MODULES: Final = (
    "test_classbasedview",
    "test_client_exceptions",
    "test_client_functional",
    "test_client_middleware",
    "test_client_middleware_digest_auth",
    "test_client_session",
    "test_client_ws_functional",
    "test_formdata",
    "test_run_app",
    "test_test_utils",
    "test_web_app",
    "test_web_exceptions",
    "test_web_functional",
    "test_web_log",
    "test_web_middleware",
    "test_web_runner",
    "test_web_sendfile_functional",
    "test_web_server",
    "test_web_urldispatcher",
    "test_web_websocket_functional",
)
# aiohttp's settings count, but for the coverage and the parallel runs of its own.
_PYTEST: Final = (
    "-c", "pytest.ini", "-o", "addopts=", "-m", "not dev_mode and not autobahn and not internal",
    "-p", "compliance.aiohttp.plugin", "-p", "no:aiohttp", "-p", "no:asyncio", "-p", "no:cacheprovider",
    "-p", "no:agentserver.testing.plugin", "-q", "--no-header", "--timeout", "30",
)  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    """Run the suite with further *arguments* for pytest; 1 if the differences are not those on the list.

    With such arguments only some tests may run, and only what is not listed counts.
    """
    fetch()
    found: set[str] = set()
    for loop in LOOPS:
        found |= asyncio.run(compare(loop, arguments))
    verdict = judge(found, read_list())
    print(f"{len(found)} differences, {len(read_list())} entries on the list")
    for test in verdict.unlisted:
        print(f"aiohttp-suite: passes on aiohttp's server and not on ours: {test}", file=sys.stderr)
    stale = [] if arguments else verdict.stale
    for name in stale:
        print(f"aiohttp-suite: no difference any more, take it off {LIST.name}: {name}", file=sys.stderr)
    return 1 if verdict.unlisted or stale else 0


def fetch() -> None:
    """Have the tests of the installed aiohttp in `WORK`."""
    if (WORK / SOURCE / "tests").is_dir():
        return
    WORK.mkdir(parents=True, exist_ok=True)
    print(f"fetching the source distribution of {SOURCE} ...", flush=True)
    requirement = SOURCE.replace("-", "==")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    subprocess.run([*command, "--dest", str(WORK), requirement], check=True, timeout=600)
    with tarfile.open(WORK / f"{SOURCE}.tar.gz") as sdist:
        # The first part of each name is the distribution's folder, which may be a member itself.
        wanted = [member for member in sdist if set(member.name.split("/")[1:2]) & set(PARTS)]
        sdist.extractall(WORK, wanted, filter="data")


async def compare(loop: str, arguments: Sequence[str]) -> set[str]:
    """The tests that differ on *loop*; what is not listed has failed twice, the second time alone."""
    tests = [f"tests/{module}.py" for module in MODULES]
    theirs, ours = await asyncio.gather(
        run("aiohttp", loop, tests, arguments), run("ours", loop, tests, arguments)
    )
    found = differences(theirs, ours)
    doubtful = judge(found, read_list()).unlisted
    if doubtful:
        again = await run("ours", loop, doubtful, arguments, name="again")
        found -= set(doubtful) - differences(theirs, {**ours, **again})
    return found


async def run(
    server: str, loop: str, tests: Collection[str], arguments: Sequence[str], *, name: str = ""
) -> Mapping[str, str]:
    """The outcome of each of *tests* on *server* and *loop*."""
    stem = "-".join(filter(None, (server, loop, name)))
    outcomes, log = WORK / f"{stem}.json", WORK / f"{stem}.log"
    outcomes.unlink(missing_ok=True)
    command = (*_PYTEST, "--server", server, "--aiohttp-loop", loop, "--outcomes", str(outcomes), *arguments)
    with log.open("wb") as told:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pytest", *command, *tests,
            cwd=WORK / SOURCE, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=told, stderr=told,
        )  # fmt: skip
        await process.wait()
    lines = log.read_text(errors="replace").splitlines()
    if not outcomes.exists():
        raise SystemExit("\n".join([*lines[-20:], f"aiohttp-suite: the tests did not run, see {log}"]))
    print(f"{stem}: {lines[-1]}", flush=True)
    found: dict[str, str] = json.loads(outcomes.read_text())
    return found


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
