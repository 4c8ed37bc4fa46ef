"""Builds wheel and sdist, installs each in clean environments and runs the README's quick start from it.

``python -m hardening.distributions 3.10 3.13`` says in one line for each what was found, and ends with 1 if
anything failed.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DEADLINE = 30.0
QUICK_START = re.compile(r"```python\n(from aiohttp.*?)```", re.DOTALL)


def main(versions: list[str]) -> int:
    with tempfile.TemporaryDirectory() as directory:
        where = Path(directory)
        distributions = build(where / "dist")
        for version in versions:
            for distribution in distributions:
                begin = time.monotonic()
                try_out(interpreter(version), distribution, where / f"{version}-{distribution.suffix[1:]}")
                print(f"{distribution.name} on Python {version}: fine, {time.monotonic() - begin:.0f} s")
    return 0


def build(target: Path) -> list[Path]:
    """Build both in environments of their own, the wheel from the sdist."""
    run(sys.executable, "-m", "build", "--outdir", str(target), str(ROOT))
    wheel, sdist = next(target.glob("*.whl")), next(target.glob("*.tar.gz"))
    return [wheel, sdist]


def interpreter(version: str) -> str:
    """Find Python *version*, such as ``3.10``, on the path or among pyenv's."""
    candidates = [shutil.which(f"python{version}")]
    candidates += map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}"))
    for candidate in candidates:
        if candidate and not subprocess.run((candidate, "-V"), capture_output=True, check=False).returncode:
            return candidate
    raise SystemExit(f"there is no Python {version}: install it, or name others with PYTHONS='3.11 3.12'")


def try_out(python: str, distribution: Path, where: Path) -> None:
    """Install *distribution* alone, import all of its names, serve the quick start."""
    run(python, "-m", "venv", str(where / "venv"))
    own = str(where / "venv" / "bin" / "python")
    run(own, "-m", "pip", "install", "--quiet", str(distribution), cwd=where)
    run(own, "-m", "pip", "check", cwd=where)
    names = "import agentserver as a, sys; [getattr(a, n) for n in a.__all__]; print(a.__file__)"
    assert str(where) in run(own, "-W", "error", "-c", names, cwd=where), "not the installed package"
    found = QUICK_START.search((ROOT / "README.md").read_text())
    assert found, "the README has no quick start any more"
    (where / "main.py").write_text(found[1])
    with serving(own, where) as port:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE)
        client.request("POST", "/invocations", b"hello")
        assert client.getresponse().read() == b"You said: hello"
        client.close()


@contextlib.contextmanager
def serving(python: str, where: Path) -> Iterator[int]:
    """Run the quick start, and end it as a platform does."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "PORT": str(port), "AGENTSERVER_LOG_LEVEL": "WARNING"}
    process = subprocess.Popen((python, "main.py"), cwd=where, env=environment)
    try:
        until_listening(process, port)
        yield port
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    finally:
        process.kill()
        process.wait()


def until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit("the quick start does not listen")


def run(*command: str, cwd: Path = ROOT) -> str:
    """Run *command* and give what it printed; a failure ends the check with it."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:] or ["3.10", "3.13"]))
