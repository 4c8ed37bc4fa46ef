"""What mypy and pyright tell a user: what is right passes, and each mistake is named where it stands.

The programs are checked as strictly as the project itself. A line that ends in ``# wrong`` must be reported
by both, and no other line may be.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import get_type_hints

import pytest

from agentserver import AgentHostOptions
from agentserver._hosting.configure_arguments import ConfigureArguments
from tests.servers import ROOT

SERVICES = """
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Generic, NewType, Protocol, TypeVar

from agentserver import ServiceCollection

T = TypeVar("T")
Region = NewType("Region", str)
Limit = NewType("Limit", int)

class Storage(ABC):
    @abstractmethod
    def load(self) -> str: ...

class Files(Storage):
    def __init__(self, folder: Region) -> None: ...
    def load(self) -> str:
        return ""

class Clock: ...

class Greets(Protocol):
    def greet(self) -> str: ...

class Waving:
    def greet(self) -> str:
        return ""

class Repository(Generic[T]):
    def get(self) -> T:
        raise NotImplementedError

class Entered:
    async def __aenter__(self) -> Clock:
        return Clock()
    async def __aexit__(self, *error: object) -> None: ...

async def files_later(region: Region) -> Files: return Files(region)
def files_in_turn() -> Iterator[Files]: yield Files(Region("a"))
async def files_in_turn_later() -> AsyncIterator[Storage]: yield Files(Region("a"))
@asynccontextmanager
async def files_within() -> AsyncGenerator[Files, None]: yield Files(Region("a"))
@contextmanager
def files_within_at_once() -> Generator[Files, None, None]: yield Files(Region("a"))
async def clock_later() -> Clock: return Clock()
async def clock_in_turn() -> AsyncIterator[Clock]: yield Clock()

services = ServiceCollection()
files = Files(Region("a"))
services.add_singleton(Storage, Files).add_scoped(Storage, Files).add_transient(Storage, Files)
services.add_singleton(Storage, files, eager=True)
services.add_singleton(Storage, files_later).add_scoped(Storage, files_later)
services.add_singleton(Storage, files_in_turn).add_scoped(Storage, files_in_turn)
services.add_singleton(Storage, files_in_turn_later).add_scoped(Storage, files_in_turn_later)
services.add_singleton(Storage, files_within).add_scoped(Storage, files_within_at_once)
services.add_singleton(Storage, lambda: files).add_scoped(Storage, lambda: files_later(Region("b")))
services.add_singleton(Greets, Waving).add_scoped(Greets, Waving).add_singleton(Greets, Waving())
services.add_singleton(Repository[int]).add_scoped(Repository[int], Repository[int])
services.add_singleton(Repository[int], Repository[int]())
services.add_singleton(Region, Region("a")).add_singleton(Limit, Limit(5))
services.add_scoped(Region, lambda: Region("b"))
services.add_singleton(Clock).add_scoped(Clock).add_transient(Clock).add_scoped(Clock, Entered)

services.add_singleton(Storage, Clock)  # wrong
services.add_singleton(Storage, Clock())  # wrong
services.add_singleton(Storage, 5)  # wrong
services.add_singleton(Storage, "files")  # wrong
services.add_singleton(Clock, files)  # wrong
services.add_singleton(Storage, clock_later)  # wrong
services.add_singleton(Storage, clock_in_turn)  # wrong
services.add_singleton(Storage, lambda: Clock())  # wrong
services.add_singleton(Storage, Files, eager=1)  # wrong
services.add_singleton(Greets, Clock)  # wrong
services.add_singleton(Greets, Clock())  # wrong
services.add_singleton(Repository[int], Repository[str]())  # wrong
services.add_singleton(5)  # wrong
services.add_singleton(clock_later())  # wrong
services.add_scoped(Storage, Clock)  # wrong
services.add_scoped(Greets, clock_later)  # wrong
services.add_scoped(Clock, Clock())  # wrong
services.add_transient(Storage, clock_later)  # wrong
services.add_transient(Clock, Clock())  # wrong
"""

HANDLERS = """
from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from agentserver import AgentHost, InvocationContext, InvocationHandler, InvocationsServer
from agentserver import InvocationWebSocketHandler, ServerSentEvent

class Returns(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> dict[str, int]:
        return {"n": 1}
    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> str:
        return invocation_id
    async def get_openapi(self, request: web.Request) -> dict[str, Any]:
        return {}

class Streams(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> AsyncIterator[Any]:
        yield ServerSentEvent("a")
    async def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        yield ServerSentEvent("a")

class Responds(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
        return web.Response()

class OnSocket(InvocationWebSocketHandler):
    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        await websocket.send_str("a")

class Nothing(InvocationHandler):
    pass

class Without(InvocationWebSocketHandler):
    pass

class OtherArguments(InvocationHandler):
    async def handle(self, request: web.Request) -> str:  # wrong
        return ""

class NotAsync(InvocationHandler):
    def handle(self, request: web.Request, context: InvocationContext) -> str:  # wrong
        return ""

async def ping(word: str) -> bool:
    return True

Returns(), Streams(), Responds(), OnSocket()
InvocationsServer.run(Returns)
InvocationsServer.run(Streams())
builder = AgentHost.create_builder().add_invocations(OnSocket)
builder.configure(host=None, port=0, max_invocations=4, shutdown_timeout=1, server_segments=("a/1",))
builder.configure_health(lambda health: health.add_check("db", ping)).on_startup(ping)
Nothing()  # wrong
Without()  # wrong
builder.configure(prot=1)  # wrong
builder.configure(port="8088")  # wrong
builder.configure(server_segments="a/1")  # wrong
"""


def wrong_lines(program: str) -> set[int]:
    return {number for number, line in enumerate(program.splitlines(), 1) if line.endswith("# wrong")}


def mypy_reports(file: Path) -> set[int]:
    # With the project's own cache: reading aiohttp anew takes a quarter of a minute.
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode in {0, 1}, done.stdout + done.stderr
    return {int(number) for number in re.findall(rf"{file.name}:(\d+): error:", done.stdout)}


def pyright_reports(file: Path) -> set[int]:
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.10", "reportUnusedExpression": "none"}
    (file.parent / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", str(file)]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, timeout=120, check=False)
    found = json.loads(done.stdout)["generalDiagnostics"]
    return {each["range"]["start"]["line"] + 1 for each in found if each["severity"] == "error"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("reports", [mypy_reports, pyright_reports], ids=["mypy", "pyright"])
@pytest.mark.parametrize("program", [SERVICES, HANDLERS], ids=["services", "handlers"])
def test_type_checkers_report_every_mistake_and_nothing_else(
    tmp_path: Path, reports: object, program: str
) -> None:
    file = tmp_path / "typed_program.py"
    file.write_text(program)
    assert callable(reports)
    assert reports(file) == wrong_lines(program)


def test_configure_takes_the_options_of_the_host_by_name_and_type() -> None:
    assert get_type_hints(ConfigureArguments) == get_type_hints(AgentHostOptions)
