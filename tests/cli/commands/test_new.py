"""What ``new`` makes: it passes its own tests, type-checks, starts and answers.

`make test-templates` does the same with nothing but the wheel and PyPI; here it is quick.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from agentserver.cli.commands.new import FRAMEWORKS, KINDS
from agentserver.testing import run_server
from tests.cli.containers import health_check
from tests.cli.process import clean_environment, cli
from tests.servers import ROOT, free_port
from tests.warm_start import warm_starts

FLAGS = {"basic": [], **{kind: [f"--{kind}"] for kind in KINDS if kind != "basic"}}
FILES = {
    ".dockerignore",
    ".gitignore",
    "Dockerfile",
    "README.md",
    "agent.manifest.yaml",
    "agent.yaml",
    "pyproject.toml",
    "wheels/README.md",
}


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each kind, made once."""

    async def make() -> None:
        for kind, flags in FLAGS.items():
            done = await cli("new", f"{kind}-agent", *flags, "--json", cwd=place)
            assert (done.code, done.err) == (0, "")
            assert set(json.loads(done.out)) == FILES | {
                f"{kind}_agent/__init__.py",
                f"{kind}_agent/__main__.py",
                f"{kind}_agent/handler.py",
                f"tests/test_{kind}_agent.py",
            }

    place = tmp_path_factory.mktemp("projects")
    asyncio.run(make())
    return {kind: place / f"{kind}-agent" for kind in FLAGS}


def places(projects: dict[str, Path]) -> list[str]:
    return [str(project) for project in projects.values()]


async def tool(*arguments: str, cwd: Path, paths: list[Path] | None = None) -> tuple[int, str]:
    """Run a tool of this environment in *cwd*."""
    search = {"PYTHONPATH": str(ROOT), "MYPYPATH": ":".join(map(str, paths or []))}
    with warm_starts():
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *arguments,
            cwd=cwd,
            env=clean_environment(search),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    out, _ = await asyncio.wait_for(process.communicate(), 50)
    assert process.returncode is not None
    return process.returncode, out.decode()


async def test_every_project_passes_its_own_tests(projects: dict[str, Path]) -> None:
    # One process for all: they have the same settings but for where they are.
    settings = [
        "-c",
        str(projects["basic"] / "pyproject.toml"),
        "-o",
        "pythonpath=" + " ".join(places(projects)),
    ]
    tests = [f"{place}/tests" for place in places(projects)]
    code, output = await tool("pytest", "-q", "-p", "no:cacheprovider", *settings, *tests, cwd=ROOT)
    assert code == 0, output
    assert "8 passed" in output


async def test_every_project_type_checks(projects: dict[str, Path]) -> None:
    files = [str(path) for project in projects.values() for path in sorted(project.rglob("*.py"))]
    paths = [ROOT, *projects.values()]
    code, output = await tool("mypy", "--strict", "--config-file=", *files, cwd=ROOT, paths=paths)
    assert code == 0, output


@pytest.mark.parametrize("kind", KINDS)
async def test_a_project_is_tidy(kind: str, projects: dict[str, Path]) -> None:
    for command in (["check"], ["format", "--check"]):
        code, output = await tool("ruff", *command, "--isolated", ".", cwd=projects[kind])
        assert code == 0, output


@pytest.mark.parametrize("kind", KINDS)
async def test_a_project_starts_and_is_talked_to_as_its_readme_says(
    kind: str, projects: dict[str, Path]
) -> None:
    said = {
        "basic": ("", '{"text":"You said: hello"}'),
        "streaming": ("", 'word: {"text":"hello"}\nword: {"text":"there"}\ndone: {"words":2}\n'),
        "websocket": (
            '{"type": "say", "text": "hello"}\n{"type": "stop"}\n',
            '{"type":"said","text":"You said: hello"}\n',
        ),
        "actions": ('{"message": "hi"}\n', '{"word": "hi"}\n'),
    }
    readme = (projects[kind] / "README.md").read_text()
    command = shlex.split(KINDS[kind].talk)[1:]
    assert KINDS[kind].talk in readme
    async with run_server("-m", f"{kind}_agent", cwd=projects[kind]) as server:
        stdin, answer = said[kind]
        done = await cli(*command, "--url", server.url, stdin=stdin)
        assert (done.code, done.out, done.err) == (0, answer, "")
        assert await server.stop() == 0


async def test_doctor_finds_a_new_project_well(projects: dict[str, Path]) -> None:
    arguments = ["websocket_agent.handler", "--json"]
    done = await cli("doctor", *arguments, cwd=projects["websocket"], env={"PORT": str(free_port())})
    found = {finding["check"]: finding for finding in json.loads(done.out)}
    assert {finding["status"] for finding in found.values()} == {"ok"}
    assert found["agent.yaml"]["words"] == "declares invocations_ws"


@pytest.mark.parametrize("kind", KINDS)
def test_the_yaml_declares_what_the_handler_serves(kind: str, projects: dict[str, Path]) -> None:
    for name in ("agent.yaml", "agent.manifest.yaml"):
        text = (projects[kind] / name).read_text()
        assert re.findall(r"protocol: (\w+)\n\s+version: 1\.0\.0\n", text) == [KINDS[kind].protocol]
        assert f"name: {kind}-agent\n" in text
        assert "kind: hosted\n" in text
        assert "\t" not in text


def test_no_template_names_another_distribution(projects: dict[str, Path]) -> None:
    for project in projects.values():
        for path in filter(Path.is_file, project.rglob("*")):
            for line in path.read_text(errors="replace").splitlines():
                assert not re.search(r"pip install .*\bagentserver\b(?!-invocations)", line), line
        assert (
            'dependencies = ["agentserver-invocations[telemetry]>='
            in (project / "pyproject.toml").read_text()
        )


def test_the_container_holds_what_the_dockerfile_copies_and_nothing_else(projects: dict[str, Path]) -> None:
    for kind, project in projects.items():
        copied = re.findall(r"^COPY (.+) \S+$", (project / "Dockerfile").read_text(), re.MULTILINE)
        kept = re.findall(r"^!(.+)$", (project / ".dockerignore").read_text(), re.MULTILINE)
        assert (
            sorted(" ".join(copied).split())
            == sorted(kept)
            == sorted(["README.md", f"{kind}_agent", "pyproject.toml", "wheels"])
        )
        assert all((project / name).exists() for name in kept)


async def test_new_says_what_it_made_and_what_comes_next(tmp_path: Path) -> None:
    done = await cli("new", "deep/My-Agent", cwd=tmp_path)
    assert done.code == 0
    assert "deep/My-Agent/my_agent/handler.py\n" in done.out
    assert done.err == (
        "Next: cd deep/My-Agent, python -m pip install --find-links wheels -e '.[dev]', "
        "agentserver dev my_agent.handler\n"
    )
    project = tmp_path / "deep" / "My-Agent"
    for path, words in (
        ("my_agent/handler.py", "class MyAgentHandler("),
        ("README.md", "docker build -t my-agent ."),
    ):
        assert words in await asyncio.to_thread((project / path).read_text)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("1agent", "'1agent' is no name of an agent: give up to 63 letters, digits and hyphens"),
        ("my agent", "'my agent' is no name of an agent"),
        ("a" * 64, "is no name of an agent"),
        ("json", "'json' is the name of another Python module: choose another name"),
        ("agentserver", "'agentserver' is the name of another Python module"),
        ("class", "'class' is the name of another Python module"),
        ("full", "full is there and not empty: choose another name"),
        ("file", "file cannot be written: Not a directory"),
    ],
)
async def test_a_name_that_cannot_be_used_ends_with_one_sentence(
    name: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "full" / "x").mkdir(parents=True)
    (tmp_path / "file").touch()
    done = await cli("new", name, cwd=tmp_path)
    assert done.code in {1, 2}
    assert words in done.sentence


async def test_only_one_kind_can_be_chosen(tmp_path: Path) -> None:
    done = await cli("new", "my-agent", "--actions", "--streaming", cwd=tmp_path)
    assert done.code == 2
    assert "not allowed with argument" in done.sentence


async def test_a_wheel_goes_into_the_project_which_asks_for_its_version(tmp_path: Path) -> None:
    wheel = tmp_path / "agentserver_invocations-7.3.1rc1-py3-none-any.whl"
    wheel.write_bytes(b"PK")
    done = await cli("new", "my-agent", "--wheel", wheel.name, "--json", cwd=tmp_path)
    assert f"wheels/{wheel.name}" in json.loads(done.out)
    project = tmp_path / "my-agent"
    assert await asyncio.to_thread((project / "wheels" / wheel.name).read_bytes) == b"PK"
    assert ">=7.3.1rc1,<7.4" in await asyncio.to_thread((project / "pyproject.toml").read_text)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("other-1.0-py3-none-any.whl", "is no wheel of agentserver-invocations: 'make wheel' in its repo"),
        ("agentserver_invocations-0.1.0-py3-none-any.whl", "There is no file 'agentserver_invocations-"),
    ],
)
async def test_what_is_no_wheel_ends_with_2_and_one_sentence(path: str, words: str, tmp_path: Path) -> None:
    done = await cli("new", "my-agent", "--wheel", path, cwd=tmp_path)
    assert done.code == 2
    assert words in done.sentence
    assert not await asyncio.to_thread((tmp_path / "my-agent").exists)


def test_the_health_check_of_the_container_asks_whether_the_agent_is_ready(
    projects: dict[str, Path],
) -> None:
    for project in projects.values():
        text = (project / "Dockerfile").read_text()
        program, *arguments = health_check(text)
        assert (program, arguments[0]) == ("python", "-c")
        compile(arguments[1], "HEALTHCHECK", "exec")
        assert re.search(r"^RUN useradd .* agent\nUSER agent$", text, re.MULTILINE)


@pytest.fixture(scope="session")
def of_frameworks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project of each framework; make frameworks-test runs them."""

    async def make() -> None:
        for name in FRAMEWORKS:
            done = await cli("new", f"my-{name}", "--framework", name, cwd=place)
            assert (done.code, done.out.count("\n")) == (0, 12)

    place = tmp_path_factory.mktemp("frameworks")
    asyncio.run(make())
    return {name: place / f"my-{name}" for name in FRAMEWORKS}


async def test_a_project_of_a_framework_is_tidy(of_frameworks: dict[str, Path]) -> None:
    for command in (["check"], ["format", "--check"]):
        for project in of_frameworks.values():
            code, output = await tool("ruff", *command, "--isolated", ".", cwd=project)
            assert code == 0, output


def test_a_project_of_a_framework_asks_for_it_and_for_the_key_of_its_model(
    of_frameworks: dict[str, Path],
) -> None:
    for name, project in of_frameworks.items():
        assert f"agentserver-invocations[{name},telemetry]>=" in (project / "pyproject.toml").read_text()
        assert "set `OPENAI_API_KEY` before" in (project / "README.md").read_text()
        for text in ((project / "agent.yaml").read_text(), (project / "agent.manifest.yaml").read_text()):
            assert re.search(r"- name: OPENAI_API_KEY\n +value: \${OPENAI_API_KEY}\n", text)
            assert "protocol: invocations\n" in text


async def test_a_framework_that_there_is_none_for_is_refused(tmp_path: Path) -> None:
    done = await cli("new", "my-agent", "--framework", "autogen", cwd=tmp_path)
    assert done.code == 2
    assert "langgraph" in done.sentence


async def test_a_project_must_not_hide_its_framework(tmp_path: Path) -> None:
    done = await cli("new", "langgraph", "--framework", "langgraph", cwd=tmp_path)
    assert done.code == 2
    assert "'langgraph' is the name of another Python module" in done.sentence
