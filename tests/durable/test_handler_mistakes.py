"""Mistakes of durable classes, each said with a sentence when the class is made or registered."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from agentserver import Durable, InvocationHandler, Run
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError, HandlerError
from agentserver.invocations.builder import AgentHost
from tests.servers import ROOT


def register(handler: Any, store: str = "memory") -> None:
    builder = AgentHost.create_builder(FoundryEnvironment.read({"AGENTSERVER_STORE": store}))
    builder.add_invocations(handler).build()


def made(
    name: str, bases: tuple[Any, ...] = (InvocationHandler,), durable: Any = True, **members: Any
) -> Any:
    create: Any = type(InvocationHandler)
    return create(name, bases, members, **({} if durable is None else {"durable": durable}))


async def run(self: object, value: dict[str, Any], run: Run) -> None: ...


@pytest.mark.parametrize("name", ["handle", "get", "cancel"])
def test_a_method_that_the_framework_answers_for_is_refused(name: str) -> None:
    members: dict[str, Any] = {name: run}
    with pytest.raises(HandlerError, match=f"Mine is durable and has {name} of its own"):
        made("Mine", run=run, **members)


def test_a_class_without_run_a_sync_one_a_generator_and_other_arguments_are_refused() -> None:
    def sync(self: object, value: object, run: Run) -> None: ...

    async def generator(self: object, value: object, run: Run) -> Any:
        yield 1

    async def few(self: object, value: object) -> None: ...

    async def odd(self: object, value: complex, run: Run) -> None: ...

    for method, sentence in (
        (None, "does not say what to do: write 'async def run"),
        (sync, "run is not async"),
        (generator, "must not yield"),
        (few, "takes other arguments"),
        (odd, "takes complex, but it has no form in JSON"),
    ):
        members: dict[str, Any] = {} if method is None else {"run": method}
        mine = made("Mine", **members)
        with pytest.raises(HandlerError, match=sentence):
            register(mine)


def test_a_version_of_openapi_that_there_is_not_is_refused() -> None:
    class Old(InvocationHandler, durable=True):
        openapi_version = "2.0"

        async def run(self, value: Any, run: Run) -> Any:
            """Answer."""

    with pytest.raises(HandlerError, match=r"Old\.openapi_version is '2\.0': set it to '3\.1' or '3\.2'"):
        register(Old)


def test_an_odd_flag_and_an_unknown_store_are_refused() -> None:
    with pytest.raises(HandlerError, match=r"write durable=True or durable=Durable\(…\)"):
        made("Mine", durable="yes", run=run)
    with pytest.raises(ConfigurationError, match="AGENTSERVER_STORE names a store of the kind 'redis'"):
        register(made("Mine", run=run), "redis://localhost")


def test_a_class_derived_from_a_durable_one_is_durable_and_may_say_otherwise() -> None:
    base = made("Base", run=run)

    other = made("Other", (base,), Durable(retries=9))
    assert made("Same", (base,), None)._durable == Durable()
    assert other._durable == Durable(retries=9)
    register(other)


def test_a_raw_handler_loads_nothing_of_it() -> None:
    code = (
        "import sys\nfrom agentserver import AgentHost, InvocationHandler\n"
        "class Raw(InvocationHandler):\n    async def handle(self, request, context):\n        return 'x'\n"
        "AgentHost.create_builder().add_invocations(Raw).build()\n"
        "print([name for name in sys.modules if 'durable' in name or 'sqlite' in name])"
    )
    # Where the coverage of processes is measured, that loads SQLite for itself.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.strip() == "[]"
