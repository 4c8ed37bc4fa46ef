"""The command line as a whole: quick, quiet, completed by shells, in colour on terminals alone."""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from agentserver.cli import main
from agentserver.cli.errors import Exit
from tests.cli.process import clean_environment, cli
from tests.cli.pseudo_terminal import terminal
from tests.servers import ROOT, free_port

COMMANDS = [
    "run",
    "dev",
    "invoke",
    "get",
    "cancel",
    "watch",
    "connect",
    "new",
    "docs",
    "doctor",
    "conformance",
    "completion",
]


def test_the_distribution_installs_the_command() -> None:
    (script,) = entry_points(group="console_scripts", name="agentserver")
    assert script.load() is main


async def test_help_names_every_command_and_exit_code() -> None:
    done = await cli("--help")
    assert (done.code, done.err) == (0, "")
    for command in COMMANDS:
        assert f"\n    {command}" in done.out
    for code in Exit:
        assert str(code.value) in done.out.partition("exit codes:")[2]


@pytest.mark.parametrize("command", COMMANDS)
async def test_every_command_has_a_help_of_its_own(command: str) -> None:
    done = await cli(command, "--help")
    assert (done.code, done.err) == (0, "")
    assert f"agentserver {command}" in done.out


@pytest.mark.alone  # what coverage has loaded in the process before would not be seen
def test_help_imports_neither_the_server_nor_the_client() -> None:
    program = (
        "import sys; before = set(sys.modules); from agentserver.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=clean_environment()
    )
    imported = done.stderr.split()
    assert len(imported) <= 60
    heavy = {"aiohttp", "asyncio", "logging", "dataclasses", "inspect", "json", "typing_extensions", "ssl"}
    assert not heavy & set(imported)


@pytest.mark.alone
def test_help_takes_less_than_150_milliseconds() -> None:
    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "agentserver.cli", "--help"],
            stdout=subprocess.DEVNULL,
            check=True,
            env=clean_environment(),
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Of the processor, the best of many: what else the machine does is not what is measured.
    assert min(once() for _ in range(10)) < 0.15


async def test_no_command_shows_the_help_and_ends_with_2() -> None:
    done = await cli()
    assert (done.code, done.out) == (2, "")
    assert "exit codes:" in done.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sing"], "invalid choice: 'sing'"),
        (["invoke", "hi", "--loud"], "unrecognized arguments: --loud"),
        (["invoke", "hi", "--sess", "x"], "unrecognized arguments: --sess x"),
        (["completion", "tcsh"], "invalid choice: 'tcsh'"),
    ],
)
async def test_wrong_usage_ends_with_2_and_one_sentence(arguments: list[str], words: str) -> None:
    done = await cli(*arguments)
    assert done.code == 2
    assert words in done.sentence
    assert "--help" in done.sentence


async def test_colours_are_for_terminals_alone() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    async with terminal("dev", "samples/01_getting_started/main.py", "--port", "0", cwd=ROOT) as screen:
        await screen.until("listening")
        assert "\x1b[2mwatching" in screen.raw
    async with terminal(
        "dev", "samples/01_getting_started/main.py", "--port", "0", cwd=ROOT, env={"NO_COLOR": "1"}
    ) as screen:
        await screen.until("listening")
        assert "\x1b" not in screen.raw
    assert "\x1b" not in (await cli("invoke", "hi", "--url", address)).err


@pytest.mark.parametrize(
    ("package", "arguments", "what"),
    [
        ("watchfiles", ["dev", "samples/01_getting_started/main.py"], "'agentserver dev'"),
        ("argcomplete", ["completion", "bash"], "Completion"),
    ],
)
async def test_a_command_without_its_package_says_what_to_install(
    package: str, arguments: list[str], what: str, tmp_path: Path
) -> None:
    (tmp_path / f"{package}.py").write_text("raise ImportError")
    paths = os.pathsep.join([str(tmp_path), str(ROOT)])
    done = await cli(*arguments, cwd=ROOT, env={"PYTHONPATH": paths})
    assert done.code == 2
    assert done.sentence == f"{what} needs one more package: pip install 'agentserver-invocations[cli]'"


async def test_conformance_is_the_kit_with_its_own_arguments_and_codes() -> None:
    done = await cli("conformance", "--list")
    assert done.code == 0
    assert "must" in done.out
    done = await cli("conformance")
    assert done.code == 2
    assert "give either a URL or --command" in done.sentence


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
async def test_completion_prints_what_a_shell_can_read(shell: str, tmp_path: Path) -> None:
    done = await cli("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert "agentserver" in done.out
    if shutil.which(shell) is None:
        return
    script = tmp_path / "completion"
    script.write_text(done.out)
    check = await asyncio.create_subprocess_exec(shell, "-n", str(script))
    assert await check.wait() == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("agentserver in", ["invoke", "inspect"]),
        ("agentserver invoke --se", ["--session"]),
        ("agentserver run sa", ["samples/"]),
        ("agentserver completion z", ["zsh"]),
    ],
)
async def test_bash_completes_commands_options_and_files(line: str, words: list[str]) -> None:
    script = (await cli("completion", "bash")).out
    ask = (
        f"{script}\nCOMP_WORDS=({line}); COMP_CWORD=$(({len(line.split())} - 1)); COMP_LINE='{line}'; "
        f"COMP_POINT={len(line)}; COMP_TYPE=9; _python_argcomplete agentserver; "
        "printf '%s\\n' \"${COMPREPLY[@]}\""
    )
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", ask, stdout=asyncio.subprocess.PIPE, env=clean_environment(), cwd=ROOT
    )
    out, _ = await process.communicate()
    assert [word.strip() for word in out.decode().splitlines()] == words
