"""The page on voice: its program runs, and its tables have what goes over the wire."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from agentserver.integrations import voice
from tests.documents import blocks
from tests.servers import ROOT, running
from tests.voice.caller import calling

PAGE = "docs/voice.md"
PINS = "tests/voice/requirements.txt"


@pytest.mark.asyncio
async def test_the_program_of_the_page_starts_and_listens(tmp_path: Path) -> None:
    (program,) = (block for block in blocks(PAGE) if block.language == "python")
    (tmp_path / "main.py").write_text(program.text)
    async with running(tmp_path / "main.py") as server:
        async with calling(server.url) as caller:
            await caller.told("ready", resumed=False)
        server.terminate()
        assert await server.exit_code() == 0


def test_the_tables_have_every_message_with_its_members() -> None:
    text = (ROOT / PAGE).read_text()
    for kind in {*get_args(voice.ToClient), *get_args(voice.FromClient)}:
        (row, *_) = re.findall(rf"^\| `{kind.__struct_config__.tag}` \|(.*?)\|", text, re.MULTILINE)
        members = re.findall(r"`(\w+)`(?=[,;:]? ?)", row)
        assert {*kind.__struct_fields__} <= {*members}, kind
    assert str(voice.TAKEN_OVER) in text


def test_the_page_names_the_versions_that_are_pinned() -> None:
    pinned = re.findall(r"^[\w-]+(?:\[\w+\])?==(\S+)$", (ROOT / PINS).read_text(), re.MULTILINE)
    assert len(pinned) == 2
    for version in pinned:
        assert re.search(rf"versions tried are .*\b{re.escape(version)}\b", (ROOT / PAGE).read_text())
