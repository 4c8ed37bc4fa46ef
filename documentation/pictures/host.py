"""The host's life: the steps that its ``start`` and ``stop`` take, read from their source, in their order."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from agentserver._hosting.host import Host
from agentserver.errors import ConfigurationError, StartupError
from documentation.pictures.drawing import Arrow, Box, Picture

# What each call is, in words. A call that stands neither here nor below has none yet: a test says so.
WORDS: Final[Mapping[str, str]] = {
    "self._telemetry.start": "telemetry begins",
    "run_at_startup": "start-up hooks run",
    "self._listen": "listens: ready",
    "self.lifetime.begin_shutdown": "readiness turns 503",
    "self._listener.close": "the listener closes",
    "self.lifetime.begin_drain": "WebSockets get 1001",
    "self.lifetime.drain": "requests may finish",
    "self._server.shutdown": "clients read the rest",
    "run_at_shutdown": "shutdown hooks run",
    "self._telemetry.stop": "telemetry is flushed",
}
DETAILS: Final[Mapping[str, str]] = {
    "run_at_startup": "eager services, on_startup",
    "self.lifetime.begin_shutdown": "for shutdown_delay seconds",
    "self.lifetime.drain": "then they are cancelled",
    "run_at_shutdown": "and services are closed",
}
# Parts of the steps above.
SILENT: Final = frozenset(
    {
        *(
            "list",
            "hooks.insert",
            "self._app.freeze",
            "HostServer",
            "asyncio.sleep",
            "self._watchdog.stop",
            "_report",
        ),
        *(
            "self._server.close_kept_alive",
            "self._server.pre_shutdown",
            "asyncio.get_running_loop",
            "loop.time",
            "max",
        ),
    }
)
_DRAIN: Final = "self.lifetime.drain"
_READY: Final = "self._listen"


def steps(method: Callable[..., Any]) -> Iterator[str]:
    """The calls in *method*, in the order in which they stand there."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(method)))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: (node.lineno, node.col_offset)):
        yield ast.unparse(call.func)


def picture() -> Picture:
    """Draw it."""
    starting = [name for name in steps(Host.start) if name in WORDS]
    stopping = [name for name in steps(Host.stop) if name in WORDS]
    boxes = {
        name: Box(
            WORDS[name], 0, row, detail=DETAILS.get(name, ""), kind="own" if name == _READY else "state"
        )
        for row, name in enumerate([*starting, *stopping])
    }
    last = len(boxes)
    boxes["exit 0"] = Box("exit code 0", 0, last, kind="end")
    way = [*boxes]
    arrows = [
        Arrow(one, other, "SIGTERM or SIGINT" if one == _READY else "")
        for one, other in itertools.pairwise(way)
    ]
    wrong = f"exit code {StartupError.exit_code} or {ConfigurationError.exit_code}"
    boxes["failed"] = Box(
        wrong, 1.6, starting.index("run_at_startup"), detail="one line on standard error", kind="failure"
    )
    boxes["at once"] = Box("exit code 130", 1.6, way.index(_DRAIN), detail="at once", kind="failure")
    arrows += [
        Arrow("run_at_startup", "failed", "a hook fails", kind="failure"),
        Arrow(_READY, "failed", "the port is taken", kind="failure", by=((1.6, way.index(_READY)),), at=0.3),
        Arrow(_DRAIN, "at once", "a second signal", kind="failure"),
    ]
    return Picture(
        title="The life of a host",
        description=(
            "It starts telemetry and hooks, listens until a signal, then turns readiness to 503, closes the"
            " listener, lets requests finish, runs its shutdown hooks and ends with exit code 0."
        ),
        boxes=boxes,
        arrows=arrows,
        words=[
            *(f"{WORDS[name]}." for name in starting),
            "SIGTERM or SIGINT comes.",
            *(f"{WORDS[name]}." for name in stopping),
            "The process ends with exit code 0.",
            f"A start that fails ends with {wrong} and one line on standard error.",
            "A second signal ends it at once, with 130.",
        ],
        column_width=230,
        row_height=78,
    )
