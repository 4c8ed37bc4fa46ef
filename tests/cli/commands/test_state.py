"""``get``, ``cancel`` and ``watch`` against a real server."""

from __future__ import annotations

import json

from tests.cli.commands.talkative import TalkativeHandler
from tests.cli.process import cli


async def test_get_and_cancel_print_what_the_agent_says(url: str) -> None:
    assert json.loads((await cli("get", "i-1", "--url", url)).out) == {"status": "running", "id": "i-1"}
    done = await cli("cancel", "i-1", "--json", "--url", url)
    assert json.loads(done.out)["body"] == {"status": "cancelled", "id": "i-1"}


async def test_watch_prints_each_state_once_until_the_invocation_is_done(url: str) -> None:
    done = await cli("watch", "i-1", "--interval", "0.05", "--url", url)
    assert [json.loads(line)["status"] for line in done.out.splitlines()] == ["running", "done"]
    assert TalkativeHandler.polls == 4


async def test_watch_ends_with_7_when_its_time_is_up(url: str) -> None:
    TalkativeHandler.polls = -10_000
    done = await cli("watch", "i-1", "--interval", "0.05", "--timeout", "0.3", "--url", url)
    assert done.code == 7
    assert done.err.count("\n") == 1


async def test_an_error_of_the_agent_ends_with_6_and_its_words(url: str) -> None:
    done = await cli("get", "unknown", "--url", url)
    assert done.code == 6
    assert done.sentence == "404 not_found: There is no such invocation"
