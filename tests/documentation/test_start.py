"""The first page's program answers as the page says, and stops cleanly."""

from __future__ import annotations

from pathlib import Path

from tests.documents import blocks, matches, write
from tests.servers import running
from tests.test_pages import needs_curl, printed


@needs_curl
async def test_the_first_agent_answers_as_the_page_says_and_stops_cleanly(tmp_path: Path) -> None:
    shown = list(blocks("docs/start.md", "The first agent"))
    write(tmp_path, shown)
    commands = [block for block in shown if block.language == "bash"]
    assert len(commands) == 3
    async with running(tmp_path / "main.py", cwd=tmp_path) as server:
        for command in commands:
            assert command.output is not None
            output = printed(command.text, server.port)
            assert matches(output, command.output), output
        server.terminate()
        assert await server.exit_code() == 0
    assert "Traceback" not in "".join(server.log)
