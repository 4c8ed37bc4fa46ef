"""The process around a host: the loop, the stop signals, and errors that end it with one line."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, NoReturn

from agentserver.errors import StartupError

logger = logging.getLogger("agentserver")


def exit_with(error: StartupError) -> NoReturn:
    """Leave the process as *error* says: one line on standard error, its cause only at log level DEBUG."""
    if error.__cause__ is not None:
        logging.getLogger("agentserver").debug("it was", exc_info=error.__cause__)
    print(f"agentserver: error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code)


def on_stop_signal(stopped: asyncio.Event) -> None:
    """Have SIGTERM and SIGINT set *stopped*; the second of them ends the process at once."""

    def stop() -> None:
        if stopped.is_set():
            logging.shutdown()
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


def end_without_busy_threads(grace: float = 1.0) -> None:
    """End the process with code 0 if threads still run that Python would wait for, without end if need be.

    Such a thread is what is left of a blocking call in a handler: nothing can cancel it.

    Args:
        grace: Seconds the threads have to end by themselves.
    """
    deadline = time.monotonic() + grace
    threads = [thread for thread in threading.enumerate() if not thread.daemon]
    others = [thread for thread in threads if thread is not threading.current_thread()]
    for thread in others:
        thread.join(max(0.0, deadline - time.monotonic()))
    busy = [thread.name for thread in others if thread.is_alive()]
    if busy:
        logger.warning("ending without %d threads that are still busy: %s", len(busy), ", ".join(busy))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


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
