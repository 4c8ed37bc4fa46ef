"""A process that runs one program after another, each as ``python FILE`` would: one start of Python for all.

Every program is run with ``__main__`` for a name, in its own directory, with its own ``PORT``, until SIGTERM
ends it; `Stage.play` starts one, waits until it listens, and sees that it has ended cleanly. What a program
leaves behind in the process (its modules, the logging, signal handlers) is cleared before the next.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from agentserver.testing import free_port
from agentserver.testing.environment import without_platform

DEADLINE = 20.0


class Stage:
    """The process, from the outside."""

    def __init__(self, directory: Path) -> None:
        self._log = directory / "stage.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.stage"],
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    @contextmanager
    def play(
        self, program: Path, environment: Mapping[str, str] | None = None, *, may_fail: bool = False
    ) -> Generator[int, None, None]:
        """Run *program* within the block, and give the port that it listens on.

        Args:
            program: The file.
            environment: Further variables.
            may_fail: Whether a handler of it may raise, which writes a traceback to the log.

        Raises:
            AssertionError: If it does not listen, or does not end with exit code 0 and without a traceback.
        """
        port = free_port()
        begin = self._log.stat().st_size
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        told = {"program": str(program), "environment": {"PORT": str(port), **(environment or {})}}
        self._process.stdin.write(json.dumps(told) + "\n")
        self._process.stdin.flush()
        try:
            listens = self._listens(port)
            if listens:
                yield port
        finally:
            self._process.send_signal(signal.SIGTERM)
            code = self._process.stdout.readline().strip()
        said = self._log.read_text()[begin:]
        assert listens, f"it did not listen, and ended with {code}:\n{said}"
        assert code == "0", f"it ended with {code}:\n{said}"
        assert may_fail or "Traceback" not in said, said

    def _listens(self, port: int) -> bool:
        """Wait until something listens on *port*; ``False`` if the program ends before."""
        assert self._process.stdout is not None
        end = time.monotonic() + DEADLINE
        while time.monotonic() < end:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                return True
            if select.select([self._process.stdout], [], [], 0.01)[0]:
                break
        return False

    def close(self) -> None:
        """End the process, which ends by itself when there is nothing to play any more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            assert self._process.wait(DEADLINE) == 0
        finally:
            self._process.kill()
            self._process.stdout.close()


def _run(program: Path, environment: Mapping[str, str]) -> int:
    """Run *program* to its end, and give the exit code that its process would have."""
    before = set(sys.modules)
    os.chdir(program.parent)
    os.environ.update(environment)
    sys.path.insert(0, str(program.parent))
    code: Any = 0
    try:
        runpy.run_path(str(program), run_name="__main__")
    except SystemExit as exit_:
        code = exit_.code or 0
    # Somebody else's program: whatever it raises is for the log, as it would be in a process of its own.
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # asyncio's own runners put the default back
    sys.path.remove(str(program.parent))
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(program.parent)):
            del sys.modules[name]
    for handler in list(logging.getLogger().handlers):
        handler.close()
        logging.getLogger().removeHandler(handler)
    return int(code)


def main(orders: TextIO, answers: TextIO) -> None:
    """Run the program of each line of *orders*, and write its exit code to *answers*."""
    clean = without_platform(os.environ)
    for line in orders:
        os.environ.clear()
        os.environ.update(clean)
        told = json.loads(line)
        code = _run(Path(told["program"]), told["environment"])
        sys.stdout.flush()
        sys.stderr.flush()
        answers.write(f"{code}\n")
        answers.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # between two programs; a program sets its own
    own = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what programs print is no answer
    main(sys.stdin, own)
