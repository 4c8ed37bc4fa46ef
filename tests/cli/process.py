"""The command line as a real process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.servers import DEADLINE, ROOT
from tests.warm_start import warm_starts

# What the developer's own shell sets must not reach a test.
_OURS = ("PORT", "NO_COLOR", "FORCE_COLOR", "AGENTSERVER_", "FOUNDRY_", "OTEL_", "APPLICATIONINSIGHTS_")


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert self.out == ""
        return lines[0].removeprefix("agentserver: error: ")


def clean_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process's environment without what steers the command line."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    python_path = os.pathsep.join(filter(None, (kept.get("PYTHONPATH"), str(ROOT))))
    return {**kept, "PATH": path, "PYTHONPATH": python_path, **(extra or {})}


async def cli(
    *arguments: str,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Outcome:
    """Run ``agentserver ARGUMENTS`` to its end."""
    with warm_starts():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agentserver.cli", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(env),
            cwd=cwd,
        )
    try:
        data = stdin.encode() if isinstance(stdin, str) else stdin
        out, err = await asyncio.wait_for(process.communicate(data), DEADLINE)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Outcome(process.returncode, out.decode(errors="replace"), err.decode())
