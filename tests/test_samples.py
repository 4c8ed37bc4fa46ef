"""Every sample runs as its README says: as a real process, asked by real curl lines."""

from __future__ import annotations

import asyncio
import re
import shlex
import shutil
from pathlib import Path

import pytest

from tests.servers import ROOT, running

SAMPLES = sorted((ROOT / "samples").glob("0[1-8]_*"))
BLOCK = re.compile(r"```bash\n(?P<command>curl .*?)```\s*```text\n(?P<answer>.*?)```", re.DOTALL)

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_a_sample_answers_as_its_readme_says_and_stops_cleanly(sample: Path) -> None:
    readme = (sample / "README.md").read_text()
    steps = [(match["command"], match["answer"]) for match in BLOCK.finditer(readme)]
    assert len(steps) == readme.count("```bash\ncurl"), "a curl line without an answer"
    async with running(sample / "main.py") as server:
        for command, answer in steps:
            assert await curl(command, server.url) == answer.strip(), command
        server.terminate()
        assert await server.exit_code() == 0
    assert "Traceback" not in "".join(server.log)


async def curl(command: str, url: str) -> str:
    """Run a README's curl line against *url*."""
    arguments = [word.replace("localhost:8088", url) for word in shlex.split(command.replace("\\\n", " "))]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    return output.decode().strip()
