"""The process around a host: the loop, the stop signals, and errors that end it with one line."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, NoReturn

from agentserver.errors import StartupError


def exit_with(error: StartupError) -> NoReturn:
    """Leave the process as *error* says: one line on standard error, no traceback."""
    print(f"agentserver: error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code)


def on_stop_signal(stopped: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set *stopped*; the second of them ends the process at once."""

    def stop() -> None:
        if stopped.is_set():
            os._exit(130)
        stopped.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def run_in_fastest_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run *main* on uvloop where the platform has it, else on asyncio's own loop."""
    try:
        import uvloop  # optional: not on Windows or PyPy

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(main)
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def install_one_line_errors() -> None:
    """Let an uncaught `StartupError` end the process with one line instead of a traceback."""
    previous = sys.excepthook
    if getattr(previous, "one_line", False):
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        if isinstance(error, StartupError):
            print(f"agentserver: error: {error}", file=sys.stderr)
        else:
            previous(kind, error, traceback)

    hook.one_line = True  # type: ignore[attr-defined]  # a mark, so that it is installed once
    sys.excepthook = hook
