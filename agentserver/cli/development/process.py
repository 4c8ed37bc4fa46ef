"""The server that is developed, as a process that is started, ended and started anew.

The listening socket is this process's: while a server ends and the next one starts, requests wait in it.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from agentserver import FoundryEnvironment
from agentserver.cli.development.listener import address_of, open_listener
from agentserver.cli.development.variables import read_variables
from agentserver.cli.terminal.output import note, styled
from agentserver.errors import AgentServerError
from agentserver.wire import LOG_FORMAT_VARIABLE, SHUTDOWN_TIMEOUT_VARIABLE

if TYPE_CHECKING:
    from agentserver.inspector.inspector import Inspector

__all__ = ["ServerProcess", "end_with_parent"]

_PROGRAM: Final = "agentserver.cli.development.server"
_DRAIN_SECONDS: Final = 0.3
"""What requests under way have to end in: who saves a file does not want to wait for the old code."""
_CLEAN_UP_SECONDS: Final = 0.7
"""What shutdown hooks have after that, until the server is killed."""


def end_with_parent(parent: int) -> None:
    """Stop serving when ``agentserver dev`` is gone, however it went: it would hold the port for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


class ServerProcess:
    """The server's process, the socket that it accepts on, and the variables that it gets.

    Args:
        arguments: Those of ``agentserver dev``.
        directory: Where the files with variables are looked for, before the working directory.
        inspector: Told what becomes of the server, and given a pipe from it.
        program: The module that is the server.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        directory: Path,
        inspector: Inspector | None = None,
        program: str = _PROGRAM,
    ) -> None:
        self._program = program
        self._arguments = arguments
        self._inspector = inspector
        self._directories = dict.fromkeys((directory, Path.cwd()))
        self._listener: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._sources: list[str] = []
        self._source_of: dict[str, str] = {}
        self._patience = _DRAIN_SECONDS + _CLEAN_UP_SECONDS

    def start(self, *reason: str) -> None:
        """Start the server; *reason* is given to it for its one line that says so."""
        variables = self._variables()
        environment = FoundryEnvironment.read(variables)
        self._patience = environment.shutdown_timeout + _CLEAN_UP_SECONDS
        port = environment.port if self._arguments.port is None else self._arguments.port
        options: dict[str, object] = {"host": self._arguments.host, "port": port}
        descriptors: tuple[int, ...] = ()
        if os.name == "posix":  # elsewhere no socket can be handed on: the server listens for itself
            listener = self._listen(port)
            options["port"] = listener.getsockname()[1]
            options["listener"] = listener.fileno()
            descriptors = (listener.fileno(),)
        for name in ("log_level", "log_format"):
            options[name] = getattr(self._arguments, name)
        inspector = self._inspector
        if inspector is None:
            self._process = subprocess.Popen(  # noqa: S603 - our own
                self._command(reason, options), env=variables, pass_fds=descriptors
            )
            return
        options["tap"] = tap = inspector.tap()
        try:
            process = self._process = subprocess.Popen(  # noqa: S603 - our own
                self._command(reason, options), env=variables, pass_fds=(*descriptors, tap)
            )
        finally:
            os.close(tap)
        assert self._listener is not None
        address = self._listener.getsockname()[:2]
        inspector.agent_started(process.pid, address, variables, self._source_of)

    def _command(self, reason: tuple[str, ...], options: dict[str, object]) -> list[str]:
        command = [sys.executable, "-m", self._program, self._arguments.target, *reason]
        for name, value in options.items():
            command += [] if value is None else [f"--{name.replace('_', '-')}={value}"]
        return command + [f"--cors={origin}" for origin in self._arguments.cors]

    @property
    def address(self) -> str:
        """Where it listens."""
        assert self._listener is not None
        return address_of(self._listener)

    def restart(self, reason: str) -> None:
        """End the server and start it anew; what is wrong with the new one is said, and can be mended."""
        began = time.monotonic()
        if self._arguments.log_format or LOG_FORMAT_VARIABLE in os.environ:
            note(f"{reason}: starting anew", "cyan")
        self.stop()
        try:
            self.start(f"--reason={reason}", f"--since={began}")
        except AgentServerError as error:
            print(styled(f"agentserver: error: {error}", "red", sys.stderr), file=sys.stderr)
            note("waiting for a change", "yellow")
            if self._inspector is not None:
                self._inspector.note(f"{error}; waiting for a change", "ERROR")

    def stop(self) -> None:
        """End the server; one that does not end by itself is killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._patience)
        except subprocess.TimeoutExpired:
            note(f"the server did not end within {self._patience:g} s and was killed", "yellow")
            self._process.kill()
            self._process.wait()
        self._tell_end(expected=True)

    def signal(self, number: int) -> None:
        """Send the server a signal, if it runs."""
        if self._process is not None:
            self._process.send_signal(number)

    def close(self) -> None:
        """End the server and let go of the socket."""
        self.stop()
        if self._listener is not None:
            self._listener.close()

    def wait_after_interrupt(self) -> None:
        """Let the server end by itself: a terminal's Ctrl-C went to it too, and a second signal kills."""
        if self._process is not None and sys.stdin.isatty():
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._patience)

    def look(self) -> None:
        """Say so, once, if the server has ended by itself."""
        if self._process is not None and self._process.poll() is not None:
            code = self._process.returncode
            note(f"the server ended with exit code {code}; requests wait for a change", "yellow")
            self._tell_end(expected=False)

    def _tell_end(self, *, expected: bool) -> None:
        assert self._process is not None
        if self._inspector is not None:
            self._inspector.agent_ended(self._process.returncode, expected=expected)
        self._process = None

    def _listen(self, port: int) -> socket.socket:
        """The socket for *port*: the one at hand, unless the variables have named another port since."""
        if self._listener is not None:
            if port in {0, self._listener.getsockname()[1]}:
                return self._listener
            self._listener.close()
            self._listener = None
        self._listener = open_listener(self._arguments.host, port)
        return self._listener

    def _variables(self) -> dict[str, str]:
        """The server's environment: this process's, and what the files have beside it."""
        variables = {SHUTDOWN_TIMEOUT_VARIABLE: str(_DRAIN_SECONDS)}
        environment = dict(os.environ)
        sources = read_variables(self._directories, environment)
        self._source_of = dict.fromkeys(variables.keys() - environment.keys(), "agentserver dev")
        self._source_of.update({name: source.path.name for source in sources for name in source.variables})
        for source in reversed(sources):
            variables.update(source.variables)
        said = [str(source) for source in sources]
        if said != self._sources:
            note(f"variables of {' and of '.join(said) or 'no file any more'}")
            self._sources = said
        return {**variables, **environment}
