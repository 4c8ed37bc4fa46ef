"""What ``dev`` gives the server of ``.env`` and ``agent.yaml``, and what it watches."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.commands.test_dev import listening, said, save
from tests.cli.pseudo_terminal import Terminal, terminal
from tests.servers import free_port

AGENT = """
import os
from agentserver import InvocationHandler

class Shower(InvocationHandler):
    async def handle(self, request, context):
        return os.environ.get(await request.text(), "nothing")
"""
MANIFEST = """
kind: hosted
environment_variables:
  - name: GREETING
    value: "hello: there"
  - {name: BOTH, value: of agent.yaml}
  - {name: LIMIT, value: 5}
  - {name: REFERENCE, value: "${BOTH}, said"}
  - {name: LOST, value: "${NO_SUCH_VARIABLE}"}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "agent.py").write_text(AGENT)
    return tmp_path


async def restarted(screen: Terminal, name: str) -> None:
    await screen.until(f"{name} changed: restarted")


async def test_variables_of_both_files_reach_the_agent_and_are_named_without_their_values(
    project: Path,
) -> None:
    save(project / "agent.yaml", MANIFEST)
    save(project / ".env", "# mine\nexport KEY='a secret'\nBOTH=of .env\nSHELL_TOO=no\n")
    env = {"SHELL_TOO": "yes"}
    async with terminal("dev", str(project / "agent.py"), "--port", "0", env=env) as screen:
        shown = await screen.until("listening")
        assert "variables of .env: KEY, BOTH and of agent.yaml: GREETING, LIMIT, REFERENCE; " in shown
        assert "left out, as they refer to what is not set: LOST" in shown
        screen.rewind()
        url = await listening(screen)
        for name, value in (
            ("KEY", "a secret"),
            ("BOTH", "of .env"),
            ("GREETING", "hello: there"),
            ("LIMIT", "5"),
            ("REFERENCE", "of .env, said"),
            ("LOST", "nothing"),
            ("SHELL_TOO", "yes"),
        ):
            assert await said(url, name) == value
    assert "a secret" not in screen.text


async def test_a_changed_variable_is_there_after_the_restart(project: Path) -> None:
    save(project / ".env", "WORD=one\n")
    async with terminal("dev", str(project / "agent.py"), "--port", "0") as screen:
        url = await listening(screen)
        assert await said(url, "WORD") == "one"
        save(project / ".env", "WORD=two\nOTHER=three\n")
        await screen.until("variables of .env: WORD, OTHER")
        await restarted(screen, ".env")
        assert await said(url, "OTHER") == "three"


async def test_the_port_of_a_file_is_the_port_and_may_change(project: Path) -> None:
    first, second = free_port(), free_port()
    save(project / ".env", f"PORT={first}\n")
    async with terminal("dev", "agent", cwd=project) as screen:
        assert str(first) in await listening(screen)
        save(project / ".env", f"PORT={second}\n")
        await restarted(screen, ".env")
        assert await said(f"http://127.0.0.1:{second}/invocations", "PORT") == str(second)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("agent.yaml", "a: [", "agent.yaml cannot be read: "),
        ("agent.yaml", "environment_variables: {A: b}", "environment_variables must be a list of {name: "),
        (".env", "PORT=http", "PORT is 'http', but it must be a whole number from 1 to 65535"),
    ],
)
async def test_a_file_that_cannot_be_used_is_named_and_mended_by_the_next_change(
    name: str, text: str, words: str, project: Path
) -> None:
    save(project / ".env", f"PORT={free_port()}")
    async with terminal("dev", str(project / "agent.py")) as screen:
        await screen.until("listening")
        save(project / name, text)
        await screen.until(words)
        await screen.until("waiting for a change")
        save(project / name, f"PORT={free_port()}" if name == ".env" else "kind: hosted")
        await restarted(screen, name)
    assert "Traceback" not in screen.text


@pytest.mark.parametrize("name", ["prompt.md", "words.txt", "page.j2", "deep/settings.yaml", "query.sql"])
async def test_prompts_templates_and_what_is_included_are_watched(name: str, project: Path) -> None:
    (project / "deep").mkdir()
    async with terminal(
        "dev", str(project / "agent.py"), "--port", "0", "--include", "*.sql", cwd=project
    ) as screen:
        await listening(screen)
        save(project / name, "x")
        await restarted(screen, Path(name).name)
    assert len(re.findall("changed", screen.text)) == 1
