"""The host: it runs a process from start to exit."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Final, NamedTuple

from aiohttp import web
from typing_extensions import Self

from agentserver._hosting.hooks import Hook, run_at_shutdown, run_at_startup
from agentserver._hosting.process import (
    CLEAN_UP_TIME,
    ListenOn,
    StopSignals,
    exit_with,
    get_listen_on,
    leave_behind,
    refuse_second_loop,
    run_in_fastest_loop,
)
from agentserver._hosting.protocol import HostContext
from agentserver._hosting.watchdog import Watchdog
from agentserver._http.lifetime import Drained, Lifetime
from agentserver._http.pipeline import Pipeline
from agentserver._http.server import HostServer
from agentserver._telemetry.logging import configure_logging
from agentserver._telemetry.setup import Telemetry
from agentserver.errors import StartupError

logger = logging.getLogger("agentserver")

ARRIVAL_TIME: Final = 0.02
"""Seconds in which a request that is on its way over an accepted connection can still arrive."""


class HostParts(NamedTuple):
    """What a builder makes a host of."""

    context: HostContext
    pipeline: Pipeline
    telemetry: Telemetry
    protocols: tuple[str, ...]
    app: web.Application | None
    listener: socket.socket | None
    on_startup: tuple[Hook, ...]
    on_shutdown: tuple[Hook, ...]


class Host:
    """A host, ready to run.

    ``run()`` is the whole life of a process. To run it inside a loop of your own, use it as an async
    context manager: it listens inside the block and has drained when the block is left.
    """

    def __init__(self, parts: HostParts) -> None:
        self._context = parts.context
        self._pipeline = parts.pipeline
        self._telemetry = parts.telemetry
        self._protocols = parts.protocols
        self._app = parts.app
        self._inherited = parts.listener
        self._on_startup = parts.on_startup
        self._on_shutdown = parts.on_shutdown
        self._server: HostServer | None = None
        self._listener: asyncio.Server | None = None
        self._watchdog: Watchdog | None = None
        self._listen_on = ListenOn()

    @property
    def lifetime(self) -> Lifetime:
        """The life of the host, as requests see it."""
        return self._context.lifetime

    @property
    def port(self) -> int:
        """The TCP port that is listened on.

        Raises:
            RuntimeError: If the host does not run.
        """
        if self._listener is None or not self._listener.sockets:
            raise RuntimeError("the host does not run: start() it first")
        return int(self._listener.sockets[0].getsockname()[1])

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT; the second of them ends the process at once.

        Exits with code 0 after a clean end, 1 or 2 with one line on standard error if it cannot start.

        Raises:
            StartupError: If it is called where a loop runs already.
        """
        configure_logging(self._context.environment)
        self._listen_on = get_listen_on()
        refuse_second_loop()
        with StopSignals() as signals:
            try:
                left = run_in_fastest_loop(self._serve(signals))
            except StartupError as error:
                exit_with(error)
            leave_behind(left)

    async def start(self, *, listen: bool = True) -> None:
        """Run the start-up hooks and listen.

        Args:
            listen: Whether to listen on a port; without one, `accept` is the way in.

        Raises:
            StartupError: If a start-up hook fails or the port cannot be listened on.
        """
        self._telemetry.start()
        hooks = list(self._on_startup)
        if self._app is not None:
            self._app.freeze()
            hooks.insert(0, self._app.startup)
        await run_at_startup(hooks)
        self._server = HostServer(self._pipeline, self._context.options)  # its context is what hooks have set
        if listen:
            await self._listen(self._server)

    async def accept(self, connection: socket.socket) -> None:
        """Serve a connection that somebody else has accepted, or that never needed a port.

        Args:
            connection: A connected stream socket; it is the host's from here on.

        Raises:
            RuntimeError: If the host does not run.
        """
        if self._server is None:
            raise RuntimeError("the host does not run: start() it first")
        await asyncio.get_running_loop().connect_accepted_socket(self._server, connection)

    async def _listen(self, server: HostServer) -> None:
        options, environment = self._context.options, self._context.environment
        address = options.host if self._listen_on.host is None else self._listen_on.host
        # What is said last is nearest: the variable, the code, the command line.
        ports = (self._listen_on.port, options.port, environment.port)
        port = next(port for port in ports if port is not None)
        loop = asyncio.get_running_loop()
        try:
            if self._inherited is None:
                self._listener = await loop.create_server(server, address, port, backlog=1024)
            else:
                self._listener = await loop.create_server(server, sock=self._inherited, backlog=1024)
        except OSError as error:
            raise _cannot_listen(address, port, error) from None
        if options.blocked_loop_threshold:
            self._watchdog = Watchdog(options.blocked_loop_threshold, self.lifetime)
        logger.info(
            "listening on port %d, serving %s; %s",
            self.port,
            ", ".join(self._protocols),
            environment.describe(),
        )

    async def stop(self) -> None:
        """End: readiness turns 503, the listener closes, requests in flight finish or are cancelled."""
        options = self._context.options
        self.lifetime.begin_shutdown()
        if options.shutdown_delay and self._listener is not None:
            await asyncio.sleep(options.shutdown_delay)
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._listener is not None:
            self._listener.close()
            if self._server is not None:
                self._server.close_kept_alive()
            await asyncio.sleep(ARRIVAL_TIME)
        if self._server is not None:
            self._server.pre_shutdown()
            self.lifetime.begin_drain()
            loop = asyncio.get_running_loop()
            deadline = loop.time() + self._context.shutdown_timeout
            _report(await self.lifetime.drain(self._context.shutdown_timeout))
            # What was answered is still to be read; those who were cut off have a moment to read that.
            await self._server.shutdown(max(deadline - loop.time(), 1.0))
        hooks = list(self._on_shutdown)
        if self._app is not None:
            hooks += [self._app.shutdown, self._app.cleanup]
        await run_at_shutdown(hooks)
        await self._telemetry.stop()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    async def _serve(self, signals: StopSignals) -> None:
        stopped = asyncio.Event()
        signals.call(stopped.set)
        try:
            if await _completes_before(stopped, self.start()):
                await stopped.wait()
                logger.info("shutting down: %d requests in flight", self.lifetime.active)
            else:
                logger.info("stopped while starting")
        finally:
            await self.stop()
        logger.info("stopped")


def _report(drained: Drained) -> None:
    if drained.cancelled:
        logger.warning("%d requests were cancelled after the shutdown time-out", drained.cancelled)
    if drained.cancelled_spawned:
        count = drained.cancelled_spawned
        logger.warning("%d spawned tasks were cancelled after the shutdown time-out", count)
    if drained.left:
        names = ", ".join(drained.left)
        logger.warning("%d of them ignored it and still run: %s", len(drained.left), names)


async def _completes_before(stopped: asyncio.Event, starting: Coroutine[Any, Any, None]) -> bool:
    start, stop = asyncio.ensure_future(starting), asyncio.ensure_future(stopped.wait())
    await asyncio.wait((start, stop), return_when=asyncio.FIRST_COMPLETED)
    if stop.done() and not start.done():
        start.cancel()
        await asyncio.wait((start,), timeout=CLEAN_UP_TIME)
        return False
    stop.cancel()
    await start
    return True


def _cannot_listen(host: str | None, port: int, error: OSError) -> StartupError:
    where = f"{host or '*'}:{port}"
    if error.errno == errno.EADDRINUSE:
        return StartupError(f"port {port} is taken: stop the process that listens on it, or set PORT")
    if error.errno == errno.EACCES:
        return StartupError(f"may not listen on {where}: choose a PORT above 1023")
    return StartupError(f"cannot listen on {where}: {error.strerror or error}")
