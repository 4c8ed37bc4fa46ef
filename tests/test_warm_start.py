"""A warm start is a start: arguments, variables, streams, signals and exit codes are those of a cold one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.warm_start import take_terminal, warm_starts

TELL = """
import json, os, sys
told = {
    "argv": sys.argv,
    "path": [entry for entry in sys.path if "tests" not in entry],
    "name": __name__,
    "file": globals().get("__file__"),
    "cwd": os.getcwd(),
    "variables": {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
    "parent": os.getppid(),
    "main": vars(sys.modules["__main__"]) is globals(),
    "streams": [[s.encoding, s.errors, s.line_buffering] for s in (sys.stdin, sys.stdout, sys.stderr)],
    "stdin": sys.stdin.read(),
    "tests": "tests" in sys.modules,
}
print(json.dumps(told))
"""


def run(
    *arguments: str, is_warm: bool, environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    variables = {**os.environ, **(environment or {})}
    if not is_warm:
        return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, **options)
    with warm_starts():
        return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, **options)


def is_warm(*arguments: str, **options: Any) -> bool:
    """Whether *arguments* find aiohttp in their process before they import anything."""
    code = "import sys; print('aiohttp' in sys.modules)"
    return run(*arguments, "-c", code, is_warm=True, **options).stdout == "True\n"


warm_where_it_can = pytest.mark.skipif(
    sys.platform != "linux" or bool(os.environ.get("COLD")), reason="everything starts cold"
)


@warm_where_it_can
def test_warm_is_what_asks_for_nothing_else(tmp_path: Path) -> None:
    assert is_warm()
    assert is_warm("-u")
    assert is_warm(environment={"EXTRA": "1", "PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": "1"})
    assert not is_warm("-X", "dev")
    assert not is_warm(environment={"PYTHONHASHSEED": "1"})
    assert not is_warm(start_new_session=True)
    assert not is_warm(preexec_fn=str)
    (tmp_path / "sitecustomize.py").touch()
    assert not is_warm(environment={"PYTHONPATH": str(tmp_path)})
    code = "import sys; print('aiohttp' in sys.modules)"
    assert run("-c", code, is_warm=False).stdout == "False\n"


@pytest.mark.parametrize("way", ["file", "module", "code"])
def test_a_program_finds_what_it_would_after_a_cold_start(way: str, tmp_path: Path) -> None:
    (tmp_path / "tell.py").write_text(TELL)
    arguments = {"file": ["tell.py"], "module": ["-m", "tell"], "code": ["-c", TELL]}[way]
    both = [
        run(
            *arguments, "one", "--two", is_warm=warm, environment={"EXTRA": "1"}, cwd=tmp_path, input="said\n"
        )
        for warm in (True, False)
    ]
    warm, cold = (json.loads(done.stdout) for done in both)
    assert warm == cold
    assert (warm["stdin"], warm["parent"]) == ("said\n", os.getpid())


@pytest.mark.parametrize(
    ("code", "exit_code", "out", "err"),
    [
        ("raise SystemExit(3)", 3, "", ""),
        ("import sys; sys.exit('no')", 1, "", "no\n"),
        ("print('said', end='')", 0, "said", ""),
        ("import atexit; atexit.register(print, 'last')", 0, "last\n", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, "", ""),
        ("import os; os._exit(7)", 7, "", ""),
    ],
)
def test_a_program_ends_as_after_a_cold_start(code: str, exit_code: int, out: str, err: str) -> None:
    done = run("-c", code, is_warm=True)
    assert (done.returncode, done.stdout, done.stderr) == (exit_code, out, err)


def test_an_error_that_nobody_handles_is_a_traceback_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def f():\n    raise ValueError('broken')\nf()\n")
    done = run("broken.py", is_warm=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ValueError: broken\n")
    assert 'broken.py", line 2, in f' in done.stderr


def test_a_program_that_waits_gets_signals_and_writes_at_once_when_it_is_unbuffered() -> None:
    code = "import time, sys; sys.stdout.write('x'); time.sleep(60)"
    with warm_starts():
        process = subprocess.Popen([sys.executable, "-u", "-c", code], stdout=subprocess.PIPE)
    with process:
        assert process.stdout is not None
        assert process.stdout.read(1) == b"x"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == -signal.SIGINT


def test_a_program_on_a_terminal_has_it_to_itself() -> None:
    ours, theirs = pty.openpty()
    code = "import os, sys; print(os.getsid(0) == os.getpid(), os.ttyname(0), sys.stdout.line_buffering)"
    with warm_starts():
        process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            preexec_fn=take_terminal,  # noqa: PLW1509 - what is warm has no threads
        )
    try:
        assert process.wait(20) == 0
        assert os.read(ours, 1000).decode().split() == ["True", os.ttyname(theirs), "True"]
    finally:
        os.close(ours)
        os.close(theirs)


def test_two_programs_draw_different_numbers() -> None:
    code = "import random, uuid; print(random.random(), uuid.uuid4())"
    first, second = (run("-c", code, is_warm=True).stdout.split() for _ in range(2))
    assert not {*first} & {*second}
