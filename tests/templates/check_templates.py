"""What ``agentserver new`` makes, in an environment that has only this project's wheel and PyPI.

Run by ``make test-templates``: it installs from PyPI, so it is no part of ``make test``.
"""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from agentserver.cli.commands.new import KINDS
from agentserver.testing import run_server
from tests.cli.containers import health_check
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
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``make wheel`` makes, where it makes it for somebody else."""
    place = tmp_path_factory.mktemp("wheels")
    run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", place, ROOT, cwd=place)
    (wheel,) = place.iterdir()
    return wheel


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """An environment in which the first project's README was followed."""
    place = tmp_path_factory.mktemp("environment")
    programs = environment(place)
    run(programs / "pip", "install", "-q", "--find-links", wheel.parent, f"{wheel}[cli]", cwd=place)
    return programs


@pytest.mark.parametrize("kind", KINDS)
async def test_a_project_installs_passes_its_tests_type_checks_and_starts(
    kind: str, programs: Path, wheel: Path, tmp_path: Path
) -> None:
    flags = [] if kind == "basic" else [f"--{kind}"]
    run(programs / "agentserver", "new", f"my-{kind}", "--wheel", wheel, *flags, cwd=tmp_path)
    project = tmp_path / f"my-{kind}"
    own = environment(tmp_path / "environment") if kind == "basic" else programs
    (install,) = re.findall(
        r"^python (-m pip install .+)$", (project / "README.md").read_text(), re.MULTILINE
    )
    run(own / "python", *shlex.split(install), cwd=project)
    assert "passed" in run(own / "python", "-m", "pytest", cwd=project)
    assert "Success" in run(own / "mypy", cwd=project)
    assert "site-packages" in run(
        own / "python", "-c", "import agentserver; print(agentserver.__file__)", cwd=project
    )
    await starts(own / "python", f"my_{kind}", project)


async def test_what_the_dockerfile_does_serves_the_agent(programs: Path, wheel: Path, tmp_path: Path) -> None:
    run(programs / "agentserver", "new", "my-agent", "--wheel", wheel, cwd=tmp_path)
    container = tmp_path / "container"
    dockerfile = copy_as_docker(tmp_path / "my-agent", container)
    inside = environment(tmp_path / "inside")
    compiling, install = re.findall(r"^RUN python (.+)$", dockerfile, re.MULTILINE)
    (version,) = re.findall(r"^FROM python:(3\.\d+)-", dockerfile, re.MULTILINE)
    library = compiling.replace(f"/usr/local/lib/python{version}", sysconfig.get_path("stdlib"))
    assert library != compiling
    prefix = f"pycache_prefix={tmp_path / 'bytecode'}"
    run(inside / "python", "-X", prefix, *shlex.split(library), cwd=container)
    run(inside / "python", *shlex.split(install), cwd=container)
    assert dockerfile.endswith('CMD ["python", "-m", "my_agent"]\n')
    home = tmp_path / "home"
    home.mkdir()
    await starts(inside / "python", "my_agent", home, health_check(dockerfile))


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


async def starts(python: Path, module: str, cwd: Path, check: list[str] | None = None) -> None:
    """The agent starts with ``python -m module``, is ready, also to *check*, and stops cleanly."""
    async with run_server("-c", _exec(python, module), cwd=cwd) as server, server.client() as client:
        assert await client.ready()
        port = server.url.rpartition(":")[2]
        if check is not None:
            assert await ended([str(python), *check[1:]], port) == 0
        assert await server.stop() == 0
        if check is not None:
            assert await ended([str(python), *check[1:]], port) == 1


async def ended(command: list[str], port: str) -> int:
    """The exit code of *command*, as the engine would run it beside the agent."""
    process = await asyncio.create_subprocess_exec(
        *command, env={"PORT": port}, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


def _exec(python: Path, module: str) -> str:
    """A program that becomes the container's, without what this environment has."""
    return (
        "import os; environment = {**os.environ}; environment.pop('PYTHONPATH', None); "
        f"os.execve({str(python)!r}, [{str(python)!r}, '-m', {module!r}], environment)"
    )
