"""The arguments of every command. Imports nothing that the commands use."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, NoReturn, TypeAlias

from agentserver import __version__

__all__ = ["build", "command_of"]

_EXIT_CODES: Final = """\
exit codes:
  0 done   1 could not start, or a check failed   2 wrong usage   3 the target cannot be loaded
  4 no server answers   5 token missing or refused   6 the agent answered with an error
  7 connection broken or timed out   8 the watched invocation was cancelled   130 interrupted
"""

_COMMANDS: Final[Mapping[str, str]] = {
    "run": "agentserver.cli.commands.run:run",
    "dev": "agentserver.cli.commands.dev:dev",
    "invoke": "agentserver.cli.commands.invoke:invoke",
    "get": "agentserver.cli.commands.state:get",
    "cancel": "agentserver.cli.commands.state:cancel",
    "watch": "agentserver.cli.commands.state:watch",
    "connect": "agentserver.cli.commands.connect:connect",
    "new": "agentserver.cli.commands.new:new",
    "doctor": "agentserver.cli.commands.doctor:doctor",
    "conformance": "agentserver.cli.commands.conformance:conformance",
    "completion": "agentserver.cli.commands.completion:completion",
}


def command_of(name: str) -> Callable[[argparse.Namespace], int]:
    """Import the function that carries out the command *name*."""
    module, _, function = _COMMANDS[name].partition(":")
    command: Callable[[argparse.Namespace], int] = getattr(import_module(module), function)
    return command


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one sentence, without the usage before it."""

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message} (see '{self.prog} --help')\n")


def build() -> argparse.ArgumentParser:
    """Make the parser of the whole command line."""
    parser = _Parser(
        prog="agentserver",
        description="Run, develop, call, create and examine agent containers.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"agentserver-invocations {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for add in (_run, _dev, _invoke, _get, _cancel, _watch, _connect, _new, _doctor, _others):
        add(commands)
    return parser


_Commands: TypeAlias = Any  # argparse's own type for this is private


def _command(commands: _Commands, name: str, words: str, **options: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=words, description=words[0].upper() + words[1:] + ".", allow_abbrev=False, **options
    )
    return parser


def _run(commands: _Commands) -> None:
    parser = _command(commands, "run", "serve a handler until the process is told to stop")
    _server(parser)


def _dev(commands: _Commands) -> None:
    parser = _command(commands, "dev", "serve a handler, and start anew whenever its files change")
    _server(parser, host="127.0.0.1")
    parser.add_argument(
        "--watch", metavar="DIR", action="append", default=[], help="a further directory to watch"
    )
    parser.add_argument(
        "--include",
        metavar="PATTERN",
        action="append",
        default=[],
        help="further files to watch, such as '*.sql'",
    )
    parser.add_argument(
        "--cors",
        metavar="ORIGIN",
        type=_origin,
        action="append",
        default=[],
        help="let pages of that origin call the agent, such as http://localhost:3000",
    )
    parser.add_argument(
        "--inspector-port",
        metavar="PORT",
        type=_port,
        default=0,
        help="TCP port of the page that shows and drives the agent; default: any free one",
    )
    parser.add_argument(
        "--no-inspector", dest="inspector", action="store_false", help="start without that page"
    )


def _server(parser: argparse.ArgumentParser, host: str | None = None) -> None:
    _target(parser)
    parser.add_argument("--port", type=_port, help="TCP port; default: PORT, else 8088; 0: any free one")
    parser.add_argument("--host", default=host, help=f"address to listen on; default: {host or 'all'}")
    parser.add_argument("--log-level", choices=["DEBUG", "INFO", "WARNING", "ERROR"], type=str.upper)
    parser.add_argument("--log-format", choices=["text", "json"])


def _target(parser: argparse.ArgumentParser, *, optional: bool = False) -> None:
    action = parser.add_argument(
        "target", metavar="TARGET", help="module:Handler or file.py", nargs="?" if optional else None
    )
    # Read by argcomplete alone.
    action.completer = _python_files  # type: ignore[attr-defined]  # argcomplete's way to say it


def _invoke(commands: _Commands) -> None:
    parser = _command(commands, "invoke", "invoke an agent and print its answer, streams as they come")
    parser.add_argument("body", metavar="BODY", nargs="?", help="text or JSON; '-' reads standard input")
    parser.add_argument("--file", metavar="PATH", help="send the bytes of a file instead")
    parser.add_argument("--text", action="store_true", help="send BODY as text even if it looks like JSON")
    parser.add_argument("--type", metavar="TYPE", help="the media type to send BODY as, unchanged")
    parser.add_argument("--id", metavar="ID", help="the invocation's id; default: a new one")
    parser.add_argument(
        "--query",
        metavar="NAME=VALUE",
        type=_pair("="),
        action="append",
        default=[],
        help="a query parameter",
    )
    _client(parser, "BODY is JSON, and what is printed is one JSON object, or one a line for each event")


def _get(commands: _Commands) -> None:
    parser = _command(commands, "get", "print the state of an invocation")
    parser.add_argument("id", metavar="ID", help="the invocation's id")
    _client(parser)


def _cancel(commands: _Commands) -> None:
    parser = _command(commands, "cancel", "cancel an invocation")
    parser.add_argument("id", metavar="ID", help="the invocation's id")
    _client(parser)


def _watch(commands: _Commands) -> None:
    parser = _command(
        commands, "watch", "print the state of an invocation each time it changes, until it is done"
    )
    parser.add_argument("id", metavar="ID", help="the invocation's id")
    parser.add_argument(
        "--interval",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="seconds between two questions (default: 1)",
    )
    _client(parser)


def _connect(commands: _Commands) -> None:
    parser = _command(
        commands,
        "connect",
        "talk to an agent over a WebSocket",
        epilog="Each line is sent as text. /help says what else there is: JSON, files, pings, close codes.",
    )
    parser.add_argument("--actions", action="store_true", help="speak the action protocol")
    parser.add_argument(
        "--reconnect", action="store_true", help="resume the session when the connection breaks"
    )
    parser.add_argument(
        "--linger",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="when the input has ended: seconds of silence before closing (default: 1)",
    )
    _client(parser, "print one JSON object a line for each message and the close")


def _new(commands: _Commands) -> None:
    parser = _command(commands, "new", "make a project: handler, tests, Dockerfile, agent.yaml")
    parser.add_argument("name", metavar="NAME", help="the project's directory and the agent's name")
    kinds = parser.add_mutually_exclusive_group()
    for kind, words in (
        ("streaming", "an agent that streams its answer as server-sent events"),
        ("websocket", "an agent that talks over a WebSocket"),
        ("actions", "an agent that speaks the action protocol"),
    ):
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=words)
    kinds.add_argument(
        "--framework",
        dest="kind",
        choices=("agent-framework", "langgraph", "openai-agents", "pydantic-ai"),
        help="an agent of that framework, which asks a person before it does what it should not do alone",
    )
    parser.set_defaults(kind="basic")
    parser.add_argument(
        "--wheel",
        metavar="PATH",
        help="a wheel of agentserver-invocations for the project to install, instead of PyPI's",
    )
    parser.add_argument("--json", action="store_true", help="print the files as a JSON list")


def _doctor(commands: _Commands) -> None:
    parser = _command(
        commands, "doctor", "say what is wrong with the environment or a handler, and what to do"
    )
    _target(parser, optional=True)
    parser.add_argument("--json", action="store_true", help="print a JSON list of findings")


def _others(commands: _Commands) -> None:
    parser = _command(
        commands, "conformance", "judge any server, in any language, by the contract", add_help=False
    )
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    parser = _command(commands, "completion", "print what a shell needs to complete commands and options")
    parser.add_argument("shell", choices=["bash", "zsh", "fish"])


def _client(parser: argparse.ArgumentParser, json_help: str = "print one JSON object") -> None:
    parser.add_argument("--json", action="store_true", help=json_help)
    parser.add_argument(
        "--url", metavar="URL", help="where the server is; default: AGENTSERVER_URL, else localhost and PORT"
    )
    parser.add_argument("--session", metavar="ID", help="the session to be part of")
    parser.add_argument(
        "-H",
        "--header",
        metavar="NAME:VALUE",
        type=_pair(":"),
        action="append",
        default=[],
        help="a request header",
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=300.0, metavar="S", help="seconds to wait (default: 300)"
    )
    hosted = parser.add_argument_group(
        "hosted agents", "The token is AGENTSERVER_TOKEN, else azure-identity's."
    )
    hosted.add_argument("--agent", metavar="NAME", help="call the agent of that name on the hosting platform")
    hosted.add_argument(
        "--project", metavar="URL", help="the project's endpoint; default: FOUNDRY_PROJECT_ENDPOINT"
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a whole number from 0 to 65535")
    return int(text)


def _origin(text: str) -> str:
    scheme, _, rest = text.partition("://")
    if text != "*" and not (scheme in {"http", "https"} and rest and not set(rest) & set("/?#@ *")):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no origin: give one such as http://localhost:3000, or *"
        )
    return text.lower()


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no time: give a number of seconds above 0")
    return value


def _pair(separator: str) -> Callable[[str], tuple[str, str]]:
    def split(text: str) -> tuple[str, str]:
        name, found, value = text.partition(separator)
        if not found or not name.strip():
            raise argparse.ArgumentTypeError(f"{text!r} needs the form NAME{separator}VALUE")
        return name.strip(), value.strip()

    return split


def _python_files(prefix: str, **_: Any) -> list[str]:
    directory = os.path.dirname(prefix)
    try:
        entries = list(os.scandir(directory or "."))
    except OSError:
        return []
    paths = [(os.path.join(directory, entry.name), entry) for entry in entries if entry.name[0] != "."]
    return [
        path + ("/" if entry.is_dir() else "")
        for path, entry in paths
        if path.startswith(prefix) and (entry.is_dir() or path.endswith(".py"))
    ]
