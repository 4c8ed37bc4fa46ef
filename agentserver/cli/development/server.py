"""What ``agentserver dev`` starts: ``run`` on a socket that is held for it, with a log for a person."""

from __future__ import annotations

import argparse
import os
import socket
import sys
import threading
import time
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from agentserver import FoundryEnvironment
from agentserver._hosting.builder import HostBuilder
from agentserver.cli.commands.run import serve, set_variables
from agentserver.cli.development.cors import allow_origins
from agentserver.cli.development.listener import address_of
from agentserver.cli.development.log import log_for_a_person, own_traceback
from agentserver.cli.development.process import end_with_parent
from agentserver.cli.errors import Exit, exit_of
from agentserver.cli.target import TargetError
from agentserver.cli.terminal.output import note, styled
from agentserver.errors import AgentServerError
from agentserver.wire import LOG_FORMAT_VARIABLE

if TYPE_CHECKING:
    from agentserver.inspector.span_tap import SpanTap
    from agentserver.inspector.tap import Tap

__all__ = ["can_trace", "main"]

_SDK: Final = "opentelemetry.sdk.trace"
_SDK_DISABLED: Final = "OTEL_SDK_DISABLED"


def main() -> int:
    """Serve the target that the arguments name."""
    arguments = _arguments()
    threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        set_variables(arguments)
        held = _Held(arguments)
        if arguments.log_format is None and LOG_FORMAT_VARIABLE not in os.environ:
            log_for_a_person(FoundryEnvironment.read().log_level, held.announcement)
        if arguments.tap is not None:
            from agentserver.inspector.step_tap import tap_steps
            from agentserver.inspector.tap import install

            held.tap = install(arguments.tap)
            tap_steps(held.tap)
        HostBuilder.adjust = held.adjust
        # Bytecode is told from its source by size and second: of two saves in one, the first would be served.
        sys.dont_write_bytecode = True
        web.TCPSite = held.site  # type: ignore[assignment,misc]  # what makes one, in place of the class
        serve(arguments.target)
    except TargetError as error:
        if error.__cause__ is not None:
            print(own_traceback(error.__cause__), file=sys.stderr)
        return _say(error)
    except AgentServerError as error:
        return _say(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    return Exit.OK


def can_trace() -> bool:
    """Whether OpenTelemetry's SDK is installed and wanted, without which there are no spans to show."""
    if os.environ.get(_SDK_DISABLED, "").strip().lower() == "true":
        return False
    try:
        return find_spec("opentelemetry.sdk") is not None
    except ImportError:  # of the package around it
        return False


class _Held:
    """What ``agentserver dev`` holds and wants, given to the first host of the program, or its own site."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._listener: socket.socket | None = None
        if arguments.listener is not None:
            self._listener = socket.socket(fileno=arguments.listener)
            self._listener.set_inheritable(False)
            self._address = address_of(self._listener)
        self._is_taken = False
        self.tap: Tap | None = None

    def adjust(self, builder: HostBuilder) -> None:
        """Have the first host listen where the developer is told that it does, and end without delay."""
        if self._is_taken:
            return
        self._is_taken = True
        arguments = self._arguments
        builder.listener = self._listener
        builder.configure(
            host=arguments.host,
            port=arguments.port,
            shutdown_timeout=builder.environment.shutdown_timeout,
            shutdown_delay=0,
        )
        if _SDK in sys.modules and self._spans is not None:
            self._spans.watch()  # a provider of the program's own: its start-up hooks are seen too
        builder.on_startup(self._trace)  # the last of them, so that each may set a provider
        if arguments.cors:
            allow_origins(builder.app, arguments.cors)

    @cached_property
    def _spans(self) -> SpanTap | None:
        if self.tap is None or not can_trace():
            return None
        from agentserver.inspector.span_tap import SpanTap

        return SpanTap(self.tap)

    def _trace(self) -> None:
        if self._spans is not None:
            self._spans.watch(FoundryEnvironment.read())

    def site(
        self,
        runner: web.BaseRunner,
        host: str | None = None,
        port: int | None = None,
        *,
        reuse_address: bool | None = None,
        reuse_port: bool | None = None,
        **options: Any,
    ) -> web.BaseSite:
        """What ``web.run_app`` and its like make to listen: on the held socket, if it is the same port."""
        listener = self._listener
        if self._is_taken or listener is None or port != listener.getsockname()[1]:
            return _TCPSite(runner, host, port, reuse_address=reuse_address, reuse_port=reuse_port, **options)
        self._is_taken = True
        self._trace()  # the application has started, and set what it sets
        if self._arguments.cors:
            note("--cors is for the agent's own host: the application answers for its own headers", "yellow")
        return web.SockSite(runner, listener, **options)

    def announcement(self, words: str) -> str:
        """What to say when the server listens."""
        if self._arguments.reason:
            seconds = time.monotonic() - self._arguments.since
            return f"{self._arguments.reason}: restarted in {seconds:.2f} s"
        if self._listener is None:
            return words
        serving = words.partition(", serving ")[2].partition(";")[0]
        return f"listening on {self._address}, serving {serving}"


_TCPSite = web.TCPSite


def _say(error: AgentServerError) -> int:
    print(styled(f"agentserver: error: {error}", "red", sys.stderr), file=sys.stderr)
    return exit_of(error)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--host")
    parser.add_argument("--port", type=int)
    parser.add_argument("--listener", type=int, help="a descriptor that listens already")
    parser.add_argument("--tap", type=int, help="a pipe's descriptor, for the inspector")
    parser.add_argument("--reason", help="why it was restarted")
    parser.add_argument("--since", type=float, help="when that began, in monotonic seconds")
    parser.add_argument("--cors", action="append")
    parser.add_argument("--log-level")
    parser.add_argument("--log-format")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
