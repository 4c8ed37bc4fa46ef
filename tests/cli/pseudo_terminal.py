"""A command in a pseudo-terminal, typed to and read from as a person does."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.cli.process import clean_environment
from tests.servers import DEADLINE
from tests.warm_start import take_terminal, warm_starts

_TERMINAL = {
    "TERM": "xterm",
    "COLUMNS": "200",
    "PROMPT_TOOLKIT_NO_CPR": "1",
    "XDG_STATE_HOME": os.devnull,  # no history is kept
}
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()=>][A-Z0-9]?)")


class Terminal:
    """The person's side of a pseudo-terminal."""

    def __init__(self, descriptor: int, process: asyncio.subprocess.Process) -> None:
        self._descriptor = descriptor
        self._process = process
        self._changed = asyncio.Event()
        self._seen = 0
        self.raw = ""
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def text(self) -> str:
        """What is on the screen, without colours and cursor movements."""
        return _ESCAPES.sub("", self.raw).replace("\r", "")

    def type(self, text: str) -> None:
        """Press the keys of *text*."""
        os.write(self._descriptor, text.encode())

    async def until(self, words: str) -> str:
        """Wait until *words* appear after what was waited for last, and return what came up to them."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + DEADLINE
        while (place := self.text.find(words, self._seen)) < 0:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - loop.time())
            except asyncio.TimeoutError:
                raise AssertionError(f"{words!r} did not appear in:\n{self.text}") from None
        found = self.text[self._seen : place + len(words)]
        self._seen = place + len(words)
        return found

    def rewind(self) -> None:
        """Look at everything again that has come up so far."""
        self._seen = 0

    async def exit_code(self) -> int:
        """Wait for the end."""
        return await asyncio.wait_for(self._process.wait(), DEADLINE)

    def close(self) -> None:
        """Let go of the terminal."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)

    def _read(self) -> None:
        try:
            data = os.read(self._descriptor, 65_536)
        except OSError:  # Linux's way to say that the last process has let go
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self.raw += data.decode(errors="replace")
        self._changed.set()


@asynccontextmanager
async def terminal(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> AsyncGenerator[Terminal, None]:
    """Run ``agentserver ARGUMENTS`` in a pseudo-terminal; in the end it is killed if it lives."""
    ours, theirs = pty.openpty()
    with warm_starts():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agentserver.cli", *arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=clean_environment({**_TERMINAL, **(env or {})}),
            cwd=cwd,
            preexec_fn=take_terminal,
        )
    os.close(theirs)
    screen = Terminal(ours, process)
    try:
        yield screen
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        screen.close()
