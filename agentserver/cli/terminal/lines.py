"""The lines that a person types, or a script pipes in."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document

__all__ = ["Complete", "Lines", "open_lines"]

Complete: TypeAlias = Callable[[str], tuple[int, list[str]]]
"""Given the line up to the cursor: how many of its last characters are replaced, and by what."""

_READ_SIZE: Final = 65_536
_QUEUED: Final = 100


class Lines:
    """Lines from standard input, without their line breaks, iterated over once.

    Reads on a thread that nothing waits for: the command must end while its input stays open.
    """

    def __init__(self) -> None:
        self._queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._room = threading.Semaphore(_QUEUED)

    async def __aiter__(self) -> AsyncIterator[str]:
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()
        while (line := await self._queue.get()) is not None:
            self._room.release()
            yield line

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        rest = b""
        with suppress(RuntimeError):  # the loop is closed: the command has ended
            # Not sys.stdin: its lock, held by a thread, would crash the interpreter at its end.
            while data := os.read(sys.stdin.fileno(), _READ_SIZE):
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    self._put(loop, line)
            if rest:
                self._put(loop, rest)
            loop.call_soon_threadsafe(self._queue.put_nowait, None)

    def _put(self, loop: asyncio.AbstractEventLoop, line: bytes) -> None:
        self._room.acquire()
        text = line.decode(errors="replace").removesuffix("\r")
        loop.call_soon_threadsafe(self._queue.put_nowait, text)


class _TypedLines(Lines):
    """Lines from a person, with editing, history and completion."""

    def __init__(self, session: PromptSession[str]) -> None:
        super().__init__()
        self._session = session

    async def __aiter__(self) -> AsyncIterator[str]:
        while True:
            try:
                yield await self._session.prompt_async("> ")
            except (EOFError, KeyboardInterrupt):
                return


@contextmanager
def open_lines(complete: Complete, *, interactive: bool) -> Generator[Lines, None, None]:
    """Give the lines; inside the block, what is printed appears above the line being typed.

    Args:
        complete: What the Tab key does.
        interactive: Whether a person types.
    """
    # The extra is a comfort: lines can be read without it.
    if not interactive or find_spec("prompt_toolkit") is None:
        yield Lines()
        return
    from prompt_toolkit.patch_stdout import patch_stdout

    with patch_stdout(raw=True):
        yield _TypedLines(_session(complete))


def _session(complete: Complete) -> PromptSession[str]:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.completion import Completer, Completion
    from prompt_toolkit.history import FileHistory, InMemoryHistory

    class LineCompleter(Completer):
        def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
            replaced, options = complete(document.text_before_cursor)
            return (Completion(option, -replaced) for option in options)

    file = _history_file()
    return PromptSession(
        completer=LineCompleter(),
        complete_while_typing=False,
        history=InMemoryHistory() if file is None else FileHistory(str(file)),
    )


def _history_file() -> Path | None:
    """The file that keeps what was typed, for its owner alone; None if there can be none."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        directory = (Path(state) if state else Path.home() / ".local" / "state") / "agentserver"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = directory / "history"
        file.touch(mode=0o600)
    except (OSError, RuntimeError):  # nowhere to write, no home
        return None
    return file
