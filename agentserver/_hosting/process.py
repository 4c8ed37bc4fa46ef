"""The process around a host: the loop, the stop signals, and errors that end it with one line."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from types import FrameType, TracebackType
from typing import Any, Final, NamedTuple, NoReturn

from typing_extensions import Self

from agentserver.errors import StartupError

logger = logging.getLogger("agentserver")

CLEAN_UP_TIME: Final = 5.0
"""Seconds that what was cancelled has for its own cleaning up."""

_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


class ListenOn(NamedTuple):
    """Where the host that is run as this process listens, by its command line; ``None`` is left to the host.

    Args:
        host: The address.
        port: The TCP port.
    """

    host: str | None = None
    port: int | None = None


_listen_on = ListenOn()


def set_listen_on(listen_on: ListenOn) -> None:
    """Have a host that is run as this process listen there, whatever its options say.

    Hosts that are used within a program, as context managers, are the program's own and keep theirs.
    """
    global _listen_on  # noqa: PLW0603 - a process has one command line
    _listen_on = listen_on


def get_listen_on() -> ListenOn:
    """What `set_listen_on` was told."""
    return _listen_on


def exit_with(error: StartupError) -> NoReturn:
    """Leave the process as *error* says: one line on standard error, its cause only at log level DEBUG."""
    if error.__cause__ is not None:
        logging.getLogger("agentserver").debug("it was", exc_info=error.__cause__)
    print(f"agentserver: error: {error}", file=sys.stderr)
    raise SystemExit(error.exit_code)


class StopSignals:
    """Within its ``with`` block SIGTERM and SIGINT ask for a stop; the second of them ends the process.

    Python's own handlers and not the loop's: they run also while a handler blocks the loop, and on Windows.
    Outside of the main thread signals are somebody else's, and nothing happens here.
    """

    def __init__(self) -> None:
        self._asked = False
        self._stop: Callable[[], object] | None = None
        self._before: dict[int, Any] = {}

    def call(self, stop: Callable[[], object]) -> None:
        """Have *stop* called in the running loop at the first signal; at once if it has come already."""
        loop = asyncio.get_running_loop()
        self._stop = lambda: loop.call_soon_threadsafe(stop)
        if self._asked:
            stop()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in _STOP_SIGNALS}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._asked:
            exit_at_once(130)
        self._asked = True
        if self._stop is not None:
            # A loop that has closed meanwhile is about to end anyway.
            with contextlib.suppress(RuntimeError):
                self._stop()


def exit_at_once(code: int) -> NoReturn:
    """End the process now, with what the log still holds if it can be written within half a second."""
    # In a thread of its own: a log that nobody reads may be the very thing that blocks this one. In a bare
    # one: a signal may call this at any point, also where `threading` holds a lock.
    flushed = _thread.allocate_lock()
    flushed.acquire()
    _thread.start_new_thread(_flush, (flushed,))
    flushed.acquire(timeout=0.5)
    os._exit(code)


def _flush(done: _thread.LockType) -> None:
    for flush in (logging.shutdown, sys.stdout.flush, sys.stderr.flush):
        with contextlib.suppress(Exception):  # whoever reads them may be gone
            flush()
    done.release()


def refuse_second_loop() -> None:
    """See that no loop runs in this thread, where another could not be run.

    Raises:
        StartupError: If one does. It says what to write.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise StartupError("run() makes a loop of its own, and one runs here: write 'async with host:' instead")


def run_in_fastest_loop(main: Coroutine[Any, Any, None]) -> list[asyncio.Task[Any]]:
    """Run *main* on uvloop where the platform has it, else on asyncio's own loop, and then end what is left.

    Returns:
        The tasks that ignored their cancellation.
    """
    try:
        import uvloop  # optional: not on Windows or PyPy

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        try:
            loop.run_until_complete(main)
        finally:
            left = loop.run_until_complete(_end_tasks())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return left


async def _end_tasks() -> list[asyncio.Task[Any]]:
    """Cancel and await every task there is, as ``asyncio.run`` does, but not without end.

    The threads of ``asyncio.to_thread`` are told to end by the loop's close, and awaited after it.
    """
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CLEAN_UP_TIME)
    closing = asyncio.ensure_future(asyncio.get_running_loop().shutdown_asyncgens())
    await asyncio.wait((closing,), timeout=CLEAN_UP_TIME)
    for task in tasks:
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            logger.error("%s failed while the process ended", task.get_name(), exc_info=error)
    return [task for task in (*tasks, closing) if not task.done()]


def leave_behind(tasks: Sequence[asyncio.Task[Any]], grace: float = 1.0) -> None:
    """End the process with code 0 if something is left that nothing can end; else return.

    That is *tasks* that ignored their cancellation, and threads that Python would wait for, without end if
    need be: what is left of a blocking call in a handler.

    Args:
        tasks: Those that are left.
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
    if tasks:
        names = ", ".join(sorted(task.get_name() for task in tasks))
        logger.warning("ending without %d tasks that ignored their cancellation: %s", len(tasks), names)
    if busy or tasks:
        exit_at_once(0)


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
