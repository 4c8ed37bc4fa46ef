"""A server as a real process: started, killed, started again."""

from __future__ import annotations

import asyncio
import inspect
import os
import random
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from agentserver._time_limit import wait_for
from agentserver.client import InvocationsClient
from agentserver.invocations.handler import InvocationHandler
from agentserver.testing.conditions import DEADLINE_SECONDS, until
from agentserver.testing.environment import without_platform
from agentserver.wire import PORT_VARIABLE

__all__ = ["ServerEndedError", "ServerProcess", "Target", "free_port", "run_server"]

Target = str | Path | type[InvocationHandler]

_MODULE_AND_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_START_SECONDS = 30.0
_random = random.SystemRandom()  # a seed of the test run must not give every process the same port
_LONGEST_LINE = 1 << 24


class ServerEndedError(AssertionError):
    """The process ended before it listened; the message has its exit code and what it said."""


class ServerProcess:
    """A server process on a port of its own; made by `run_server`, which ends it too.

    Attributes:
        log: The lines that it wrote on standard error, over all its lives.
        output: The lines that it wrote on standard output.
        process: The process of its present, or last, life.
    """

    process: Process

    def __init__(
        self, command: list[str], *, port: int, environment: Mapping[str, str], cwd: str | Path | None
    ) -> None:
        self._command = command
        self._environment = environment
        self._cwd = cwd
        self._readers: list[asyncio.Task[None]] = []
        self.port = port
        self.log: list[str] = []
        self.output: list[str] = []

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.returncode is None

    def client(self, **options: Any) -> InvocationsClient:
        """A client of it; *options* as for `InvocationsClient`."""
        return InvocationsClient(self.url, **options)

    async def start(self, *, wait: bool = True) -> None:
        """Start it, again after it has ended, on the same port.

        Args:
            wait: Whether to wait until it listens.

        Raises:
            ServerEndedError: If it ends before it listens.
        """
        self.process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._cwd,
            env=self._environment,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LONGEST_LINE,
        )
        self._readers = [
            asyncio.create_task(_read(self.process.stdout, self.output)),
            asyncio.create_task(_read(self.process.stderr, self.log)),
        ]
        if wait:
            await self._until_it_listens()

    async def _until_it_listens(self) -> None:
        listens = False
        try:
            listens = await self.listens()
        finally:
            if not listens:
                await self.kill()
        if not listens:
            raise ServerEndedError(
                f"the server ended with exit code {self.process.returncode} before it listened:\n"
                + "".join([*self.output, *self.log][-20:])
            )

    async def listens(self) -> bool:
        """Wait until it listens; False if it ends first.

        Raises:
            AssertionError: If neither happens within 30 s.
        """
        end = asyncio.get_running_loop().time() + _START_SECONDS
        while self.alive:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self.port)
            except OSError:
                if asyncio.get_running_loop().time() > end:
                    words = f"the server did not listen on port {self.port} within {_START_SECONDS:g} s"
                    raise AssertionError("\n".join([words, *self.log])) from None
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return True
        return False

    def terminate(self, number: int = signal.SIGTERM) -> None:
        """Send it the signal *number*."""
        self.process.send_signal(number)

    async def exit_code(self, timeout: float = _START_SECONDS) -> int:
        """Wait *timeout* seconds at most for its end; return its exit code, negative for a signal."""
        code = await wait_for(self.process.wait(), timeout)
        await asyncio.gather(*self._readers)
        return code

    async def stop(self) -> int:
        """Ask it to end, as the platform does, and return its exit code: 0 after a clean end."""
        self.terminate()
        return await self.exit_code()

    async def kill(self) -> None:
        """End it without a warning, as a crash does, and wait until it is gone."""
        if self.alive:
            self.process.kill()
        await self.exit_code()

    async def restart(self) -> None:
        """Kill it and start it again on the same port."""
        await self.kill()
        await self.start()

    async def until_logged(self, text: str, *, timeout: float = DEADLINE_SECONDS) -> None:
        """Wait until *text* is in its log.

        Raises:
            AssertionError: If it does not come within *timeout* seconds.
        """
        await until(lambda: text in "".join(self.log), timeout=timeout, what=f"{text!r} in the server's log")

    async def until_printed(self, text: str, *, timeout: float = DEADLINE_SECONDS) -> None:
        """Wait until *text* is in what it wrote on standard output.

        Raises:
            AssertionError: If it does not come within *timeout* seconds.
        """
        await until(lambda: text in "".join(self.output), timeout=timeout, what=f"{text!r} in the output")


@asynccontextmanager
async def run_server(
    *target: Target,
    environment: Mapping[str, str] | None = None,
    port: int | None = None,
    cwd: str | Path | None = None,
    wait: bool = True,
) -> AsyncGenerator[ServerProcess, None]:
    """Run a server as a process of its own, and kill it at the end of the block if it still lives.

    .. code-block:: python

        async with run_server("main.py") as server, server.client() as client:
            await client.invoke("hello")
            await server.restart()
            await client.invoke("hello again")

    Args:
        target: A file; ``"module:Handler"``; a handler class that can be imported; or arguments for
            ``python``, such as ``"-m", "package"``.
        environment: Its variables, over those of this process without the platform's.
        port: Its port; None takes a free one.
        cwd: Its directory; None is this process's own.
        wait: Whether to wait until it listens.

    Yields:
        The process.

    Raises:
        ServerEndedError: If it ends before it listens.
        ValueError: If the class cannot be imported by another process.
    """
    number = free_port() if port is None else port
    variables = {
        **without_platform(os.environ),
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        PORT_VARIABLE: str(number),
        **(environment or {}),
    }
    server = ServerProcess(
        [sys.executable, "-u", *_arguments(target)], port=number, environment=variables, cwd=cwd
    )
    await server.start(wait=wait)
    try:
        yield server
    finally:
        await server.kill()


def free_port() -> int:
    """A port of 127.0.0.1 that was free a moment ago.

    It is below those that systems give to outgoing connections, so that none of them takes it meanwhile.

    Raises:
        AssertionError: If none is found in a hundred tries.
    """
    for _ in range(100):
        number = _random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", number))
            except OSError:
                continue
            return number
    raise AssertionError("no free port was found between 20000 and 32000")


def _arguments(target: tuple[Target, ...]) -> list[str]:
    if len(target) == 1:
        (only,) = target
        if inspect.isclass(only):
            return _program(only.__module__, only.__qualname__)
        if isinstance(only, str) and _MODULE_AND_NAME.fullmatch(only):
            return _program(*only.split(":"))
    return [str(argument) for argument in target]


def _program(module: str, name: str) -> list[str]:
    if "<locals>" in name or module == "__main__":
        raise ValueError(
            f"another process cannot import {name} from {module}: write the class at the top of a module"
        )
    return ["-c", f"import {module} as m; from agentserver import InvocationsServer as s; s.run(m.{name})"]


async def _read(stream: asyncio.StreamReader | None, lines: list[str]) -> None:
    assert stream is not None
    async for line in stream:
        lines.append(line.decode(errors="replace"))  # noqa: PERF401 - they must be seen as they come
