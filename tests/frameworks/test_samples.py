"""The samples of the frameworks: real processes, asked by the curl lines of their READMEs."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.documents import blocks
from tests.frameworks.agents import is_installed
from tests.frameworks.model import StandIn
from tests.servers import ROOT, running

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed"),
]

SAMPLES = sorted((ROOT / "samples").glob("1[4-7]_*"))
BLOCK = re.compile(r"```bash\n(?P<command>curl .*?)```\s*```text\n(?P<answer>.*?)```", re.DOTALL)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_a_sample_answers_as_its_readme_says_and_stops_cleanly(sample: Path, model: StandIn) -> None:
    needs_framework(sample)
    readme = await asyncio.to_thread((sample / "README.md").read_text)
    steps = [(match["command"], match["answer"]) for match in BLOCK.finditer(readme)]
    assert len(steps) == readme.count("```bash\ncurl") == 3
    variables = {"OPENAI_API_KEY": "not-a-key", "OPENAI_BASE_URL": model.url}
    request_id = ""
    found: list[dict[str, Any]] = []
    async with running(sample / "main.py", environment=variables) as server:
        for command, answer in steps:
            found = events_of(await curl(command.replace("ID", request_id), server.url))
            assert shape(found) == shape(events_of(answer)), command
            request_id = found[-1].get("requests", [{"id": ""}])[0]["id"]
        assert found[-1]["output"] == "The tool says: Order A-7 has been refunded."
        server.terminate()
        assert await server.exit_code() == 0
    assert "Traceback" not in "".join(server.log)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
async def test_a_sample_without_a_key_ends_with_one_sentence(sample: Path) -> None:
    needs_framework(sample)
    async with running(sample / "main.py", environment={"OPENAI_API_KEY": ""}, wait=False) as server:
        assert await server.exit_code() == 1
    assert [line for line in server.log if "Set OPENAI_API_KEY" in line] == server.log


async def test_the_program_of_the_page_answers(tmp_path: Path, model: StandIn) -> None:
    if not is_installed("pydantic_ai"):
        pytest.skip("pydantic_ai is not installed: make frameworks-test installs it")
    (program,) = [
        block.text for block in blocks("docs/frameworks.md") if "InvocationsServer.run" in block.text
    ]
    await asyncio.to_thread((tmp_path / "main.py").write_text, program)
    variables = {"OPENAI_API_KEY": "not-a-key", "OPENAI_BASE_URL": model.url}
    async with running(tmp_path / "main.py", environment=variables) as server:
        told = await curl("""curl -s localhost:8088/invocations -d '{"message": "hello"}'""", server.url)
    assert json.loads(told)["type"] == "done"


def needs_framework(sample: Path) -> None:
    name = sample.name.partition("_")[2]
    if not is_installed(name):
        pytest.skip(f"{name} is not installed: make frameworks-test installs it")


def events_of(answer: str) -> list[dict[str, Any]]:
    """The events in what came, or the one answer."""
    lines = [line.removeprefix("data: ") for line in answer.splitlines()]
    return [json.loads(line) for line in lines if line.startswith("{")]


def shape(value: Any) -> Any:
    """*value* without what a model or chance decides: texts other than the names of things, numbers."""
    kind = type(value).__name__
    if kind == "dict":
        return {key: item if key in {"type", "kind", "name"} else shape(item) for key, item in value.items()}
    if kind == "list":
        return [shape(item) for item in value]
    return kind


async def curl(command: str, url: str) -> str:
    """Run a README's curl line against *url*."""
    arguments = [word.replace("localhost:8088", url) for word in shlex.split(command.replace("\\\n", " "))]
    process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    return output.decode()
