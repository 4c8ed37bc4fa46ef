"""``docs`` prints the documents of a handler with types, without a server."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from agentserver.cli import main
from agentserver.testing import in_process
from agentserver.wire import ASYNCAPI_JSON_ROUTE, OPENAPI_ROUTE
from tests.cli.process import cli

AGENT = """
from dataclasses import dataclass
from typing import Any
from agentserver import AgentHost, InvocationHandler, InvocationWebSocketHandler

@dataclass
class Question:
    text: str

class Typed(InvocationHandler[Question, Question]):
    async def handle(self, request: Question, context: Any) -> Question:
        return request

class Both(InvocationWebSocketHandler[Question, Question]):
    async def handle_websocket(self, websocket: Any, context: Any) -> None: ...
    async def handle(self, request: Question, context: Any) -> Question:
        return request

class Own(Typed):
    async def get_openapi(self, request: Any) -> Any:
        return {}

class Raw(InvocationHandler):
    async def handle(self, request, context): ...

class Wrong(InvocationHandler[complex, Question]):
    async def handle(self, request: complex, context: Any) -> Question: ...

host = AgentHost.create_builder().add_invocations(Typed)
"""


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    path = tmp_path / "documented.py"
    path.write_text(AGENT)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return str(path)


@pytest.mark.parametrize(
    ("options", "route"),
    [([], OPENAPI_ROUTE), (["--asyncapi"], ASYNCAPI_JSON_ROUTE), (["--openapi"], OPENAPI_ROUTE)],
)
async def test_it_prints_what_a_server_serves(
    agent: str, options: list[str], route: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["docs", f"{agent}:Both", *options]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert main(["docs", f"{agent}:Both", *options, "--yaml"]) == 0
    assert yaml.safe_load(capsys.readouterr().out) == printed
    from agentserver.cli.target import load

    async with in_process(load(f"{agent}:Both")) as served, served.http.get(route) as answer:
        assert await answer.json() == printed


def test_the_version_can_be_chosen(agent: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["docs", f"{agent}:Typed", "--openapi-version", "3.2"]) == 0
    assert json.loads(capsys.readouterr().out)["openapi"] == "3.2.0"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ("Raw", 1, "Raw names no types"),
        ("Typed --asyncapi", 1, "Typed has no types for that: it has --openapi"),
        ("Own", 1, "Own.get_openapi writes that document itself: start it"),
        ("Wrong", 1, "Wrong takes complex, but"),
        ("host", 3, "documented.py:host is a host: name its handler"),
        ("Nobody", 3, "there is no 'Nobody'"),
    ],
)
def test_what_has_no_document_is_said_in_a_sentence(
    agent: str, arguments: str, code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["docs", *f"{agent}:{arguments}".split(" ")]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert words in err
    assert len(err.splitlines()) == 1


async def test_a_module_is_found_from_the_working_directory(agent: str) -> None:
    done = await cli("docs", "documented:Typed", cwd=Path(agent).parent)
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["info"]["title"] == "Typed"
