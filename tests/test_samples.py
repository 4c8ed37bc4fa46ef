"""Every sample runs as its README says: from its file to SIGTERM, asked by real curl lines."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import ROOT, running
from tests.stage import Stage
from tests.warm_start import warm_starts

SAMPLES = sorted(path for form in ("0[1-8]_*", "18_*", "20_*") for path in (ROOT / "samples").glob(form))
BLOCK = re.compile(r"```bash\n(?P<command>curl .*?)```\s*```text\n(?P<answer>.*?)```", re.DOTALL)

TIME = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.+]+")

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


@needs_curl
@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_a_sample_answers_as_its_readme_says_and_stops_cleanly(sample: Path, stage: Stage) -> None:
    readme = (sample / "README.md").read_text()
    steps = [(match["command"], match["answer"]) for match in BLOCK.finditer(readme)]
    assert len(steps) == readme.count("```bash\ncurl"), "a curl line without an answer"
    with stage.play(sample / "main.py", {"AGENTSERVER_STORE": "memory"}) as port:
        for command, answer in steps:
            assert timeless(curl(command, f"127.0.0.1:{port}")) == timeless(answer.strip()), command


def test_a_sample_gets_what_it_needs_and_its_clients_are_at_hand() -> None:
    for sample in sorted((ROOT / "samples").glob("[0-9]*")):
        readme = (sample / "README.md").read_text()
        assert "make run" in readme
        for line in re.findall(r"^(?:\S+/)?python\b.*$", readme, re.MULTILINE):
            assert line.startswith(f".venv/bin/python samples/{sample.name}/"), line
        programs = "".join(path.read_text() for path in sample.glob("*.py"))
        more = ("opentelemetry", "postgresql", "agentserver.integrations")
        assert any(word in programs for word in more) == (sample / "requirements.txt").exists()


async def test_a_sample_takes_its_port_and_so_does_its_client() -> None:
    sample = ROOT / "samples" / "10_websocket_actions"
    async with running(sample / "main.py") as server:
        with warm_starts():
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, str(sample / "client.py")),
                env={**os.environ, "PORT": server.url.rpartition(":")[2]},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        output, _ = await asyncio.wait_for(process.communicate(b"Why?\n"), 20)
    assert output.decode().startswith("> You asked: Why?")


def test_make_run_names_the_samples_when_there_is_no_such() -> None:
    done = subprocess.run(
        ["make", "-n", "run", "SAMPLE=12_none"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "there is no sample 12_none: choose one of 01_getting_started 02_" in done.stderr


def timeless(answer: str) -> str:
    """*answer* with each point in time made the same."""
    return TIME.sub("(a time)", answer)


def curl(command: str, address: str) -> str:
    """Run a README's curl line against *address*."""
    arguments = [
        word.replace("localhost:8088", address) for word in shlex.split(command.replace("\\\n", " "))
    ]
    done = subprocess.run(arguments, stdout=subprocess.PIPE, text=True, timeout=20, check=True)
    return done.stdout.strip()
