"""What goes wrong in a program on the stage fails its test, and spoils nothing for the next program."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from tests.stage import Stage

ECHO = """
import logging, os
from agentserver import InvocationHandler, InvocationsServer

class Echo(InvocationHandler):
    async def handle(self, request, context) -> str:
        return f"{await request.text()} {len(logging.getLogger().handlers)} {os.environ.get('EXTRA')}"

InvocationsServer.run(Echo)
"""


def ask(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/invocations", b"hello", timeout=20) as answer:
        return bytes(answer.read())


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit(3)", "did not listen, and ended with 3"),
        ("raise ValueError('no such thing')", "no such thing"),
        (ECHO.replace("InvocationsServer.run(Echo)", "pass"), "did not listen, and ended with 0"),
        (ECHO + "raise SystemExit(4)", "ended with 4"),
        (ECHO + "print('Traceback')", "Traceback"),
    ],
)
def test_a_program_that_fails_fails_its_test(program: str, said: str, stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(program)
    with pytest.raises(AssertionError, match=said):
        with stage.play(tmp_path / "main.py") as port:
            assert ask(port).startswith(b"hello")


def test_a_program_has_its_own_variables_and_log_whatever_was_before(stage: Stage, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(ECHO)
    for environment, expected in (({"EXTRA": "one"}, b"hello 1 one"), ({}, b"hello 1 None")):
        with stage.play(tmp_path / "main.py", environment) as port:
            assert ask(port) == expected
