"""The line of a request: the same whoever writes it, in order, and never lost at a clean end."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import aiohttp
import pytest
from multidict import CIMultiDict

from agentserver._telemetry.correlation import CurrentRequest, current_request
from agentserver._telemetry.log_format import JsonFormatter, RequestLine, TextFormatter
from agentserver._telemetry.request_log import BatchingHandler
from tests.servers import running

LINE = RequestLine(
    1_700_000_000.123456, "POST", "/invocations", 200, 0.0123, {"invocation_id": "i", "session_id": "s"}, "r"
)


@dataclass
class Log:
    """What a batching handler, alone on the root logger, has written."""

    handler: BatchingHandler
    output: io.StringIO

    @property
    def lines(self) -> list[str]:
        return self.output.getvalue().splitlines()


@contextmanager
def alone() -> Generator[Log, None, None]:
    root = logging.getLogger()
    output = io.StringIO()
    handler = BatchingHandler(TextFormatter())
    handler.setStream(output)
    only: list[logging.Handler] = [handler]
    before, root.handlers = root.handlers, only
    try:
        yield Log(handler, output)
    finally:
        root.handlers = before


@pytest.mark.parametrize("formatter", [TextFormatter(), JsonFormatter()])
def test_a_line_of_a_batch_is_the_line_its_record_would_be(formatter: TextFormatter | JsonFormatter) -> None:
    request = CurrentRequest(LINE.request_id, CIMultiDict())
    request.correlation = LINE.correlation
    record = logging.LogRecord("agentserver.requests", logging.INFO, "", 0, LINE.message, None, None)
    record.created, record.msecs = LINE.created, 123.0
    token = current_request.set(request)
    assert formatter.format_request(LINE) == formatter.format(record)
    current_request.reset(token)


async def test_a_record_comes_after_the_requests_that_came_before_it() -> None:
    with alone() as log:
        log.handler.note(LINE)
        logging.getLogger("agentserver").warning("later")
        first, second = log.lines
    assert "POST /invocations 200" in first
    assert second.endswith("later")


async def test_a_batch_is_written_although_nothing_follows() -> None:
    with alone() as log:
        log.handler.note(LINE)
        assert log.lines == []
        while not log.lines:
            await asyncio.sleep(0.01)
        assert len(log.lines) == 1


async def test_a_batch_does_not_grow_without_end() -> None:
    with alone() as log:
        for _ in range(500):
            log.handler.note(LINE)
        assert len(log.lines) == 500


@pytest.mark.parametrize("name", ["", "agentserver", "agentserver.requests"])
def test_whoever_else_listens_gets_records(name: str) -> None:
    other, listened = logging.NullHandler(), logging.getLogger(name)
    with alone() as log:
        assert log.handler.is_alone()
        listened.addHandler(other)
        assert not log.handler.is_alone()
        listened.removeHandler(other)
        assert log.handler.is_alone()


def test_a_root_logger_without_handlers_has_nobody_who_is_alone() -> None:
    with alone() as log:
        logging.getLogger().removeHandler(log.handler)
        assert not log.handler.is_alone()
        logging.getLogger().addHandler(log.handler)
        assert log.handler.is_alone()


def test_a_filter_gets_records() -> None:
    filtered, keep = logging.getLogger("agentserver.requests"), logging.Filter("agentserver")
    with alone() as log:
        filtered.addFilter(keep)
        assert not log.handler.is_alone()
        filtered.removeFilter(keep)


async def test_a_log_that_cannot_be_written_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    with alone() as log:
        log.output.close()
        log.handler.note(LINE)
        log.handler.emit(logging.makeLogRecord({"msg": "and on it goes"}))


@pytest.mark.parametrize("ending", [1, 2])
async def test_a_server_that_ends_has_written_every_request(ending: int) -> None:
    async with running("-m", "tests.agents", environment={"AGENTSERVER_LOG_FORMAT": "json"}) as server:
        async with aiohttp.ClientSession() as client:
            for number in range(20):
                async with client.post(f"{server.url}/invocations?secret=1", data=f"{number}") as response:
                    assert response.status == 200
            if ending == 2:
                stream = await client.post(f"{server.url}/invocations", data="stream 60")
                assert await stream.content.readany() == b"first "
                server.terminate()
                while not any("shutting down" in line for line in server.log):
                    await asyncio.sleep(0.01)
            server.terminate()
            assert await server.exit_code() == (0 if ending == 1 else 130)
    lines = [json.loads(line) for line in server.log]
    requests = [line for line in lines if line["logger"] == "agentserver.requests"]
    assert len([line for line in requests if line["message"].startswith("POST /invocations 200")]) == 20
    assert all(re.fullmatch(r"[0-9a-f-]{36}", line["session_id"]) for line in requests[:20])
    assert "secret" not in "".join(server.log)
