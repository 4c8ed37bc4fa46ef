"""The inspector beside ``agentserver dev``: a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import os
import queue
import secrets
import socket
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from aiohttp import web

from agentserver import wire
from agentserver.inspector.application import Interface
from agentserver.inspector.driver import Driver, Makers
from agentserver.inspector.malformed import keep_quiet_of_malformed_requests
from agentserver.inspector.state import State

__all__ = ["Inspector"]

_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 2.0
_EVERY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # an address to listen on, and one to call

# What may be shown of the environment: none of these is a secret.
_SHOWN: Final = (
    wire.PORT_VARIABLE,
    wire.AGENT_NAME_VARIABLE,
    wire.AGENT_VERSION_VARIABLE,
    wire.LOG_LEVEL_VARIABLE,
    wire.LOG_FORMAT_VARIABLE,
    wire.SSE_KEEPALIVE_VARIABLE,
    wire.WS_KEEPALIVE_VARIABLE,
    wire.SHUTDOWN_TIMEOUT_VARIABLE,
)
_LISTED: Final = (
    *_SHOWN,
    wire.AGENT_ID_VARIABLE,
    wire.PROJECT_ENDPOINT_VARIABLE,
    wire.PROJECT_ARM_ID_VARIABLE,
    wire.SESSION_ID_VARIABLE,
    wire.AZURE_MONITOR_VARIABLE,
    wire.OTLP_ENDPOINT_VARIABLE,
)


class Inspector:
    """Serves the page until it is closed; its methods may be called from any thread.

    Args:
        listener: The socket to serve on, bound to a loopback address.
        target: What is developed, as the command line named it.

    Attributes:
        commands: What the page has asked for: ``reload``, ``terminate``, ``kill``.
        address: What to open, with the token of this start in the fragment, which no browser sends.
    """

    def __init__(self, listener: socket.socket, target: str) -> None:
        self._listener = listener
        self._target = target
        self._token = secrets.token_urlsafe(32)
        self._loop = asyncio.new_event_loop()
        makers = Makers()
        self._state = State(makers.of)
        self._driver = Driver(makers, self._state.call_failed)
        self._variables: list[dict[str, Any]] = []
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="inspector", daemon=True)
        self._stop = asyncio.Event()
        self.commands: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.address = f"http://127.0.0.1:{listener.getsockname()[1]}/#{self._token}"

    def start(self) -> None:
        """Serve the page from now on."""
        self._thread.start()
        self._is_ready.wait(_START_SECONDS)

    def close(self) -> None:
        """End serving it."""
        self._call(self._stop.set)
        self._thread.join(_STOP_SECONDS)

    def tap(self) -> int:
        """Make a pipe for a new process of the agent, and return the end that it is to inherit.

        Whoever starts the process closes it after that.
        """
        reading, writing = os.pipe()
        self._call(lambda: self._loop.create_task(self._read(reading)))
        return writing

    def agent_started(
        self, pid: int, address: tuple[str, int], environment: Mapping[str, str], sources: Mapping[str, str]
    ) -> None:
        """The agent's process has been started.

        Args:
            pid: Of the process.
            address: Where it listens.
            environment: Its variables.
            sources: Of which file a variable is, by its name; the others are the shell's.
        """
        names = sorted({*_LISTED, *sources, *(name for name in environment if name.startswith(_PREFIXES))})
        variables = [
            {
                "name": name,
                "set": name in environment,
                "source": sources.get(name, "shell" if name in environment else ""),
                "value": environment.get(name) if name in _SHOWN else None,
            }
            for name in names
        ]
        host = _EVERY.get(address[0], address[0])

        def tell() -> None:
            self._variables = variables
            self._driver.address = (host, address[1])
            life = self._state.agent["life"] + 1
            self._state.set_agent(
                state="running", life=life, pid=pid, exit=None, address=f"http://{self._driver.authority}"
            )
            self._state.note(f"the agent was started as process {pid}")

        self._call(tell)

    def agent_ended(self, code: int | None, *, expected: bool) -> None:
        """The agent's process has ended, with an exit code, or by the signal of that negative number."""

        def tell() -> None:
            self._state.set_agent(state="ended", pid=None, exit=code)
            self._state.note(f"the agent's process ended with {code}", "INFO" if expected else "WARNING")

        self._call(tell)

    def note(self, message: str, level: str = "INFO") -> None:
        """Show a line of ``agentserver dev``'s own in the log."""
        self._call(lambda: self._state.note(message, level))

    def _call(self, work: Callable[[], object]) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        interface = Interface(
            self._state,
            self._driver,
            self._token,
            self._target,
            command=self.commands.put,
            variables=lambda: self._variables,
        )
        keep_quiet_of_malformed_requests()
        runner = web.AppRunner(
            interface.application(), access_log=None, handle_signals=False, shutdown_timeout=0.2
        )
        await runner.setup()
        await web.SockSite(runner, self._listener).start()
        self._is_ready.set()
        try:
            await self._stop.wait()
        finally:
            await self._driver.stop()
            await runner.cleanup()

    async def _read(self, descriptor: int) -> None:
        pipe = os.fdopen(descriptor, "rb", buffering=0)
        await self._loop.connect_read_pipe(self._state.life, pipe)


_PREFIXES: Final = ("AGENTSERVER_", "FOUNDRY_", "OTEL_", "APPLICATIONINSIGHTS_")
