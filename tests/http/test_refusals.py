"""What cannot serve is refused at start-up, in one sentence that says what to write instead."""

from __future__ import annotations

import functools
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from agentserver import (
    AgentHostBuilder,
    AgentHostOptions,
    InvocationContext,
    InvocationHandler,
    InvocationWebSocketHandler,
)
from agentserver.errors import ConfigurationError, HandlerError, StartupError
from tests.http.raw import ask, get, post
from tests.servers import running, serving


class Good(InvocationHandler):
    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return "good"


class Nothing(InvocationHandler):
    pass


class NoSocket(InvocationWebSocketHandler):
    pass


class Sync(InvocationHandler):
    def handle(self, request: web.Request, context: InvocationContext) -> Any:
        return "sync"


class SyncGenerator(InvocationHandler):
    def handle(self, request: web.Request, context: InvocationContext) -> Any:
        yield "sync"


class SyncGet(Good):
    def get(self, invocation_id: str, request: web.Request, context: InvocationContext) -> Any:
        return "sync"


class SyncDocument(Good):
    def get_openapi(self, request: web.Request) -> Any:
        return {}


class TooFew(InvocationHandler):
    async def handle(self, request: web.Request) -> Any:  # type: ignore[override]  # the mistake
        return "few"


class TooMany(Good):
    async def cancel(  # type: ignore[override]  # the mistake
        self, invocation_id: str, request: web.Request, context: InvocationContext, more: int
    ) -> Any:
        return "many"


class ByName(InvocationHandler):
    async def handle(self, *, request: web.Request, context: InvocationContext) -> Any:  # type: ignore[override]  # the mistake
        return "by name"


class Static(InvocationHandler):
    @staticmethod
    async def handle(request: web.Request, context: InvocationContext) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]  # the mistake
        return "static"


class NoMethod(InvocationHandler):
    handle: Any = "not a method"


class Untyped(Good):
    def __init__(self, store) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the mistake
        self.store = store


class Unregistered(Good):
    def __init__(self, store: AgentHostOptions) -> None:
        self.store = store


class Plain(Good):
    def __init__(self, name: str) -> None:
        self.name = name


async def loose_function(request: web.Request, context: InvocationContext) -> Any:
    return "not a handler"


async def silent_factory() -> Any:
    return Good()


async def wrong_factory() -> web.Response:
    return web.Response()


def failing_factory() -> InvocationHandler:
    raise LookupError("no\nmodel")


class NoHandler:
    pass


HANDLE = "write 'async def handle(self, request, context)'"


@pytest.mark.parametrize(
    ("handler", "sentence"),
    [
        (Nothing, f"Nothing does not say what to do: {HANDLE}"),
        (
            NoSocket,
            "NoSocket does not say what to do: write 'async def handle_websocket(self, websocket, context)'",
        ),
        (Sync, f"Sync.handle is not async: {HANDLE}"),
        (SyncGenerator, f"SyncGenerator.handle is not async: {HANDLE}"),
        (
            SyncGet,
            "SyncGet.get is not async: write 'async def get(self, invocation_id, request, context)'",
        ),
        (SyncDocument, "SyncDocument.get_openapi is not async: write 'async def get_openapi(self, request)'"),
        (TooFew, f"TooFew.handle takes other arguments: {HANDLE}"),
        (
            TooMany,
            "TooMany.cancel takes other arguments: "
            "write 'async def cancel(self, invocation_id, request, context)'",
        ),
        (ByName, f"ByName.handle takes other arguments: {HANDLE}"),
        (Static, f"Static.handle takes other arguments: {HANDLE}"),
        (NoMethod, f"NoMethod.handle is not async: {HANDLE}"),
        (Sync(), f"Sync.handle is not async: {HANDLE}"),
        (
            Untyped,
            "Untyped: the parameter store of Untyped has no type annotation;"
            " write store: TheServiceItNeeds, or give it a default",
        ),
        (
            Unregistered,
            "Unregistered -> AgentHostOptions: nobody registered AgentHostOptions;"
            " add builder.services.add_singleton(AgentHostOptions) (or add_scoped/add_transient)",
        ),
        (
            Plain,
            "Plain -> str: str is no service that can be injected as name;"
            " give name a default, or register Plain with a factory that passes it",
        ),
        (
            loose_function,
            "loose_function is a function that does not say which handler it makes: derive a class from"
            " InvocationHandler, or annotate the function with '-> MyHandler'",
        ),
        (
            silent_factory,
            "silent_factory is a function that does not say which handler it makes: derive a class from"
            " InvocationHandler, or annotate the function with '-> MyHandler'",
        ),
        (
            wrong_factory,
            "wrong_factory makes a Response, which is no handler: derive a class from InvocationHandler"
            " and give that",
        ),
        (
            failing_factory,
            "the handler factory failing_factory failed: LookupError: no model"
            " (AGENTSERVER_LOG_LEVEL=DEBUG shows where)",
        ),
        (lambda: None, "NoneType is no handler: derive it from InvocationHandler"),
        (NoHandler, "NoHandler is no handler: derive it from InvocationHandler"),
        (None, "None is no handler: derive it from InvocationHandler"),
        ("agent:Handler", "'agent:Handler' is no handler: derive it from InvocationHandler"),
    ],
)
async def test_a_handler_that_cannot_serve_is_refused_with_what_to_write(handler: Any, sentence: str) -> None:
    with pytest.raises(StartupError) as refusal:
        async with serving(handler):
            pass
    assert str(refusal.value) == sentence


def make_at_once() -> Any:
    return Good()


async def make_later() -> Good:
    return Good()


async def make_and_close() -> AsyncIterator[Good]:
    yield Good()


@asynccontextmanager
async def make_within() -> AsyncGenerator[Good, None]:
    yield Good()


@pytest.mark.parametrize(
    "source",
    [Good, Good(), make_at_once, functools.partial(Good), make_later, make_and_close, make_within],
)
async def test_a_handler_comes_from_a_class_an_object_or_any_function_that_makes_one(source: Any) -> None:
    async with serving(source) as client:
        assert (await ask(client, post())).body == b"good"


async def test_what_a_factory_made_is_closed_after_its_request() -> None:
    closed: list[int] = []

    class Closing(Good):
        async def aclose(self) -> None:
            closed.append(id(self))

    def make() -> Closing:  # the annotation cannot be resolved, so the function is called once to find out
        return Closing()

    async with serving(make) as client:
        assert (await ask(client, post())).body == b"good"
        assert (await ask(client, get("/invocations/x"))).status == 404
    assert len(closed) == 2


sync_check: Any = print

UNRESOLVED = """
from agentserver import InvocationHandler

class Late(InvocationHandler):
    async def handle(self, request: OnlyForTypeCheckers, context: OnlyForTypeCheckers) -> OnlyForTypeCheckers:
        return "late"
"""


@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations are evaluated with the function before")
async def test_annotations_that_only_a_type_checker_can_resolve_do_not_matter() -> None:
    scope: dict[str, Any] = {"__name__": "late"}
    exec(compile(UNRESOLVED, "late.py", "exec", dont_inherit=True), scope)  # noqa: S102 - without our future import
    async with serving(scope["Late"]) as client:
        assert (await ask(client, post())).body == b"late"


BAD_OPTIONS: list[tuple[Callable[[AgentHostBuilder], object], str]] = [
    (lambda builder: builder.configure(prot=1), "there is no option 'prot'; there are: host, port, "),
    (
        lambda builder: builder.configure(port="8088"),
        "port is '8088', but it must be a whole number from 0 to 65535",
    ),
    (
        lambda builder: builder.configure(port=65536),
        "port is 65536, but it must be a whole number from 0 to 65535",
    ),
    (
        lambda builder: builder.configure(max_body_size=-1),
        "max_body_size is -1, but it must be a whole number, 0 or more",
    ),
    (
        lambda builder: builder.configure(max_body_size="1 MB"),
        "max_body_size is '1 MB', but it must be a whole number, 0 or more",
    ),
    (
        lambda builder: builder.configure_shutdown(timeout=float("nan")),
        "shutdown_timeout is nan, but it must be a finite number, 0 or more",
    ),
    (
        lambda builder: builder.configure(max_invocations=0),
        "max_invocations is 0, but it must be a whole number, 1 or more, or None for no limit",
    ),
    (
        lambda builder: builder.configure(server_segments="assistant/1.0"),
        "server_segments is 'assistant/1.0', but it must be a tuple of texts, such as ('assistant/1.0',)",
    ),
    (
        lambda builder: builder.configure(server_segments=("a b/1\r\nx: y",)),
        "server segment 'a b/1\\r\\nx: y' must look like NAME/VERSION or NAME/VERSION (comment)",
    ),
    (
        lambda builder: builder.add_invocations(Good),
        "the protocol 'invocations' is registered twice: register it once",
    ),
    (
        lambda builder: builder.configure_health(lambda health: health.add_check("a", sync_check)),
        "health check 'a' must be an async function: write 'async def'",
    ),
]


@pytest.mark.parametrize(("configure", "sentence"), BAD_OPTIONS)
async def test_an_option_that_cannot_be_used_is_refused(
    configure: Callable[[AgentHostBuilder], object], sentence: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        async with serving(Good, configure):
            pass
    assert str(refusal.value).startswith(sentence)


async def test_a_host_without_a_protocol_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"call add_invocations\(MyHandler\) first"):
        AgentHostBuilder().build()


async def test_hooks_may_be_async_or_not_and_one_that_fails_at_start_ends_it_with_a_sentence() -> None:
    events: list[str] = []

    async def begin() -> None:
        events.append("begin")

    def configure(builder: AgentHostBuilder) -> None:
        builder.on_startup(begin).on_startup(lambda: events.append("begin too"))
        builder.configure_shutdown(hook=lambda: events.append("end"))

    async with serving(Good, configure):
        assert events == ["begin", "begin too"]
    assert events == ["begin", "begin too", "end"]

    async def connect() -> None:
        raise ConnectionError("the store\ncannot be reached")

    with pytest.raises(StartupError) as refusal:
        async with serving(Good, lambda builder: builder.on_startup(connect)):
            pass
    assert "connect failed: ConnectionError: the store cannot be reached" in str(refusal.value)


async def test_an_application_whose_start_fails_ends_it_with_a_sentence() -> None:
    async def fail(_app: web.Application) -> None:
        raise OSError("no disk")

    with pytest.raises(StartupError, match=r"Application\.startup failed: OSError: no disk"):
        async with serving(Good, lambda builder: builder.app.on_startup.append(fail)):
            pass


PROGRAM = """
from agentserver import AgentHost, InvocationHandler, InvocationsServer

class Handler(InvocationHandler):
    {method}

{run}
"""
RUN = "InvocationsServer.run(Handler)"
BUILD = "AgentHost.create_builder().add_invocations(Handler).build().run()"
FINE = "async def handle(self, request, context): return 1"


@pytest.mark.parametrize(
    ("method", "run", "line"),
    [
        ("pass", RUN, f"Handler does not say what to do: {HANDLE}"),
        ("pass", BUILD, f"Handler does not say what to do: {HANDLE}"),
        ("def handle(self, request, context): return 1", RUN, f"Handler.handle is not async: {HANDLE}"),
        (
            FINE,
            "InvocationsServer.run(Handler, configure=lambda b: b.configure(prt=1))",
            "there is no option 'prt'",
        ),
        (
            FINE,
            "InvocationsServer.run(Handler, configure=lambda b: b.on_startup(lambda: 1 / 0))",
            "the start-up hook <lambda> failed: ZeroDivisionError: division by zero",
        ),
        (FINE, "AgentHost.create_builder().build().run()", "the host serves no protocol"),
    ],
)
async def test_a_process_that_cannot_start_ends_with_one_line_and_no_traceback(
    method: str, run: str, line: str
) -> None:
    async with running("-c", PROGRAM.format(method=method, run=run), wait=False) as server:
        assert await server.exit_code() in (1, 2)
    assert len(server.log) == 1
    assert server.log[0].startswith(f"agentserver: error: {line}")


async def test_at_level_debug_the_log_shows_where_a_start_up_hook_failed() -> None:
    run = "InvocationsServer.run(Handler, configure=lambda b: b.on_startup(lambda: 1 / 0))"
    program = PROGRAM.format(method=FINE, run=run)
    debug = {"AGENTSERVER_LOG_LEVEL": "DEBUG"}
    async with running("-c", program, environment=debug, wait=False) as server:
        assert await server.exit_code() == 1
    assert "ZeroDivisionError" in "".join(server.log[:-1])
    assert server.log[-1].startswith("agentserver: error: the start-up hook")


def test_a_handler_error_is_a_start_up_error_with_an_exit_code() -> None:
    assert issubclass(HandlerError, StartupError)
    assert (HandlerError("x").exit_code, ConfigurationError("x").exit_code) == (1, 2)
