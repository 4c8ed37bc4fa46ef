"""What ``agentserver new`` makes, in an environment that has only this project's wheel and PyPI.

Run by ``make test-templates``: it installs from PyPI, so it is no part of ``make test``.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from agentserver.cli.new import KINDS
from agentserver.testing import run_server
from tests.cli.process import clean_environment
from tests.servers import ROOT


def run(*command: str | Path, cwd: Path) -> str:
    """Run *command*, and return what it prints; it must end with 0."""
    environment = clean_environment()
    del environment["PYTHONPATH"]  # the wheel must do, not the source
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(map(str, command))}\n{done.stdout}"
    return done.stdout


def environment(place: Path) -> Path:
    """Make an empty environment and return the directory of its programs."""
    venv.create(place, with_pip=True)
    return place / "bin"


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with nothing but the wheel."""
    place = tmp_path_factory.mktemp("wheels")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, ROOT, cwd=place)
    assert len(list(place.iterdir())) == 1
    return place


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    """An environment in which the first project's README was followed."""
    place = tmp_path_factory.mktemp("environment")
    programs = environment(place)
    (wheel,) = wheels.iterdir()
    run(programs / "pip", "install", "-q", f"{wheel}[cli]", cwd=place)
    return programs


@pytest.mark.parametrize("kind", KINDS)
async def test_a_project_installs_passes_its_tests_type_checks_and_starts(
    kind: str, programs: Path, wheels: Path, tmp_path: Path
) -> None:
    flags = [] if kind == "basic" else [f"--{kind}"]
    run(programs / "agentserver", "new", f"my-{kind}", *flags, cwd=tmp_path)
    project = tmp_path / f"my-{kind}"
    run(programs / "pip", "install", "-q", "--find-links", wheels, "-e", ".[dev]", cwd=project)
    assert "passed" in run(programs / "python", "-m", "pytest", cwd=project)
    assert "Success" in run(programs / "mypy", cwd=project)
    assert "site-packages" in run(
        programs / "python", "-c", "import agentserver; print(agentserver.__file__)", cwd=project
    )
    await starts(programs / "python", f"my_{kind}", project)


async def test_what_the_dockerfile_does_serves_the_agent(
    programs: Path, wheels: Path, tmp_path: Path
) -> None:
    run(programs / "agentserver", "new", "my-agent", cwd=tmp_path)
    container = tmp_path / "container"
    dockerfile = copy_as_docker(tmp_path / "my-agent", container)
    inside = environment(tmp_path / "inside")
    (install,) = re.findall(r"^RUN python (.+)$", dockerfile, re.MULTILINE)
    run(inside / "python", *shlex.split(install), "--find-links", wheels, cwd=container)
    assert dockerfile.endswith('CMD ["python", "-m", "my_agent"]\n')
    await starts(inside / "python", "my_agent", tmp_path)


def copy_as_docker(project: Path, container: Path) -> str:
    """Carry out the COPY lines of the Dockerfile, which is returned."""
    dockerfile = (project / "Dockerfile").read_text()
    container.mkdir()
    for names, target in re.findall(r"^COPY (.+) (\S+)$", dockerfile, re.MULTILINE):
        for name in names.split():
            if (project / name).is_dir():
                shutil.copytree(project / name, container / target)
            else:
                shutil.copy(project / name, container / target)
    return dockerfile


async def starts(python: Path, module: str, cwd: Path) -> None:
    """The agent starts with ``python -m module``, is ready and stops cleanly."""
    async with run_server("-c", _exec(python, module), cwd=cwd) as server, server.client() as client:
        assert await client.ready()
        assert await server.stop() == 0


def _exec(python: Path, module: str) -> str:
    """A program that becomes the container's, without what this environment has."""
    return (
        "import os; environment = {**os.environ}; environment.pop('PYTHONPATH', None); "
        f"os.execve({str(python)!r}, [{str(python)!r}, '-m', {module!r}], environment)"
    )
