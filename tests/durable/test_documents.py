"""What docs/durable.md shows runs."""

from __future__ import annotations

import json
from typing import Any

from agentserver.testing import in_process
from tests.documents import blocks


async def test_the_program_of_the_document_runs() -> None:
    program = next(block.text for block in blocks("docs/durable.md") if block.language == "python")
    names: dict[str, Any] = {"__name__": "document"}
    exec(compile(program, "durable.md", "exec"), names)  # noqa: S102 - the document is the subject
    async with in_process(names["Researcher"], environment={"AGENTSERVER_STORE": "memory"}) as agent:
        answer = await agent.client.invoke({"topic": "bees"}, invocation_id="a")
        assert answer.status == 202
        told = json.loads((await agent.client.wait("a", interval=0.01)).body)
    assert (told["status"], told["output"]) == ("completed", {"parts": 3})
