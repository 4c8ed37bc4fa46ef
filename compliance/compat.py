"""Runs the tests on the lowest and on the newest aiohttp and OpenTelemetry: ``python -m compliance.compat``.

The ranges in ``pyproject.toml`` say what this has proved, no more. *Lowest* is the lower bound of each range;
*newest* is whatever the package index has, pre-releases and releases above the range included, so that a
change in a library is known before its users are. *Frameworks* runs the tests of the adapters on the newest
releases of the agent frameworks, and *voice* those of voice on the newest Pipecat, above the range too.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
ENVIRONMENTS: Final = ROOT / "build" / "compat"
LIBRARIES: Final[tuple[str, ...]] = (
    "aiohttp",
    "opentelemetry-api",
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp",
)
FRAMEWORKS: Final[tuple[str, ...]] = (
    "agent-framework-core",
    "agent-framework-openai",
    "langgraph",
    "langchain-openai",
    "openai-agents",
    "pydantic-ai-slim[openai]",
)
_EXTRAS: Final = "agent-framework,langgraph,openai-agents,pydantic-ai"
VOICE: Final = ROOT / "tests" / "voice" / "requirements.txt"
_SIDE_BY_SIDE: Final = ("-n", "2", "--dist", "loadfile")
# Pipecat imports it from Python 3.11 on; voice is tested one thing after the other, for it measures.
_ONE_BY_ONE: Final = ("-W", "ignore:'audioop' is deprecated:DeprecationWarning")
_IN_PARALLEL: Final = "not alone and not browser and not long and not postgres"  # as make test
_DEPENDENCY: Final = re.compile(r'"(?P<name>[a-z-]+)>=(?P<lowest>[0-9.]+)')
_PINNED: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==")


def lower_bounds(pyproject: str) -> dict[str, str]:
    """The lower bound of each library's range, as the text of ``pyproject.toml`` has it."""
    found = {match["name"]: match["lowest"] for match in _DEPENDENCY.finditer(pyproject)}
    return {name: found[name] for name in LIBRARIES}


def without_versions(requirements: str) -> list[str]:
    """What the lines of *requirements* name, whichever version they pin."""
    lines = (line.partition("#")[0].strip() for line in requirements.splitlines())
    return [line.partition("==")[0] for line in lines if line]


def others(lock: str) -> str:
    """The lines of the lock that pin neither our libraries nor what follows their versions."""
    return "".join(line for line in lock.splitlines(keepends=True) if not _follows(line))


def _follows(line: str) -> bool:
    match = _PINNED.match(line)
    return match is not None and (match["name"] == "aiohttp" or match["name"].startswith("opentelemetry"))


class Wanted(NamedTuple):
    """One environment.

    Args:
        requirements: What is installed last, and by itself.
        options: How: options of ``pip install``.
        libraries: Whose versions are shown.
        extras: Extras of the project beside those that every test needs.
        groups: Dependency groups of the project.
        tests: What is run if nothing else is asked for; nothing is all.
        pytest: How: options of pytest.
    """

    requirements: list[str]
    options: tuple[str, ...] = ()
    libraries: tuple[str, ...] = LIBRARIES
    extras: str = ""
    groups: tuple[str, ...] = ("test", "lint", "docs")  # as for make test: some tests run a type checker
    tests: tuple[str, ...] = ()
    pytest: tuple[str, ...] = _SIDE_BY_SIDE


def make_environment(name: str, wanted: Wanted) -> Path:
    """Make the environment *name* with the project, its tests and what is *wanted*; its interpreter."""
    folder = ENVIRONMENTS / name
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    constraints = folder / "constraints.txt"
    # What the frameworks bring follows their versions, so that nothing of theirs is pinned.
    constraints.write_text("" if wanted.extras else others((ROOT / "requirements.lock").read_text()))
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
    subprocess.run(
        [
            *pip,
            "--editable",
            f".[telemetry,cli,postgres{wanted.extras}]",
            *(word for group in wanted.groups for word in ("--group", group)),
            "--constraint",
            constraints,
        ],
        cwd=ROOT,
        check=True,
    )
    # The libraries last and by themselves: a release above our range is what "newest" is there to try.
    subprocess.run([*pip, "--upgrade", *wanted.options, *wanted.requirements], cwd=ROOT, check=True)
    return python


def versions(python: Path, libraries: tuple[str, ...]) -> str:
    """What the environment of *python* has of *libraries*."""
    names = [name.partition("[")[0] for name in libraries]
    code = (
        "from importlib.metadata import version\n"
        f"print(*(name + ' ' + version(name) for name in {names!r}), sep=', ')"
    )
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Make the environments and run the tests in each; 1 if one fails."""
    parser = argparse.ArgumentParser(prog="python -m compliance.compat", description=__doc__)
    parser.add_argument("--only", choices=("lowest", "newest", "frameworks", "voice"), help="run one of them")
    parser.add_argument("pytest", nargs="*", help="arguments for pytest, such as tests/http")
    arguments = parser.parse_args()
    lowest = [
        f"{name}=={bound}" for name, bound in lower_bounds((ROOT / "pyproject.toml").read_text()).items()
    ]
    voice = tuple(without_versions(VOICE.read_text()))
    environments = {
        "lowest": Wanted(lowest),
        "newest": Wanted([*LIBRARIES], ("--pre",)),
        "frameworks": Wanted(
            [*FRAMEWORKS], (), FRAMEWORKS, f",{_EXTRAS}", ("test", "lint"), ("tests/frameworks",)
        ),
        "voice": Wanted([*voice], (), voice, ",pipecat", ("test", "lint"), ("tests/voice",), _ONE_BY_ONE),
    }
    failed: list[str] = []
    for name, wanted in environments.items():
        if arguments.only not in (None, name):
            continue
        python = make_environment(name, wanted)
        print(f"{name}: {versions(python, wanted.libraries)}", flush=True)
        tests = arguments.pytest or wanted.tests
        if subprocess.run(
            [python, "-m", "pytest", "-q", *wanted.pytest, "-m", _IN_PARALLEL, *tests],
            cwd=ROOT,
            check=False,
        ).returncode:
            failed.append(name)
    print(f"failed on: {', '.join(failed)}" if failed else "passed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
