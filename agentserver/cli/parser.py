"""The arguments of every command. Imports nothing that the commands use."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Final, NoReturn, TypeAlias

from agentserver import __version__
from agentserver.cli.argument_types import count, origin, pair, port, seconds

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
    "runs": "agentserver.cli.commands.runs:runs",
    "connect": "agentserver.cli.commands.connect:connect",
    "inspect": "agentserver.cli.commands.inspect:inspect",
    "proxy": "agentserver.cli.commands.proxy:proxy",
    "new": "agentserver.cli.commands.new:new",
    "docs": "agentserver.cli.commands.docs:docs",
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
    for add in (_run, _dev, _invoke, _get, _cancel, _watch, _runs, _connect):
        add(commands)
    for add in (_inspect, _proxy, _new, _docs, _doctor, _others):
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
        type=origin,
        action="append",
        default=[],
        help="let pages of that origin call the agent, such as http://localhost:3000",
    )
    parser.add_argument(
        "--inspector-port",
        metavar="PORT",
        type=port,
        default=0,
        help="TCP port of the page that shows and drives the agent; default: any free one",
    )
    parser.add_argument(
        "--no-inspector", dest="inspector", action="store_false", help="start without that page"
    )


def _server(parser: argparse.ArgumentParser, host: str | None = None) -> None:
    _target(parser)
    parser.add_argument("--port", type=port, help="TCP port; default: PORT, else 8088; 0: any free one")
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
    action = parser.add_argument(
        "body", metavar="BODY", nargs="?", help="text or JSON; '-' reads standard input"
    )
    action.completer = _bodies  # type: ignore[attr-defined]  # as for targets
    parser.add_argument("--file", metavar="PATH", help="send the bytes of a file instead")
    parser.add_argument("--text", action="store_true", help="send BODY as text even if it looks like JSON")
    parser.add_argument("--type", metavar="TYPE", help="the media type to send BODY as, unchanged")
    parser.add_argument(
        "--no-check",
        dest="check",
        action="store_false",
        help="send JSON that the agent's document does not allow all the same",
    )
    parser.add_argument("--id", metavar="ID", help="the invocation's id; default: a new one")
    parser.add_argument(
        "--query",
        metavar="NAME=VALUE",
        type=pair("="),
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
        commands,
        "watch",
        "print the events of a durable run, else the state of an invocation each time it changes, to the end",
    )
    parser.add_argument("id", metavar="ID", help="the invocation's id")
    parser.add_argument(
        "--after",
        type=count,
        default=0,
        metavar="N",
        help="the id of the last event that is known already (default: 0)",
    )
    parser.add_argument(
        "--interval",
        type=seconds,
        default=1.0,
        metavar="S",
        help="seconds between two questions (default: 1)",
    )
    _client(parser)


def _runs(commands: _Commands) -> None:
    parser = _command(
        commands, "runs", "look at the durable runs in a store, or tidy it up, without the agent"
    )
    operations = parser.add_subparsers(
        dest="operation", metavar="OPERATION", required=True, parser_class=_Parser
    )
    for name, words in (
        ("list", "print the runs, newest first"),
        ("show", "print all that is known of a run"),
        ("cancel", "have a run end: at once if it waits, else when its agent takes it up"),
        ("purge", "forget the runs whose time is up, and give the space back"),
    ):
        operation = _command(operations, name, words)
        if name in {"show", "cancel"}:
            operation.add_argument("id", metavar="ID", help="the run's id")
        if name == "list":
            statuses = ["queued", "in_progress", "completed", "failed", "cancelled"]
            operation.add_argument("--status", choices=statuses, help="only those that stand so")
            operation.add_argument("--session", metavar="ID", help="only those of a session")
            operation.add_argument(
                "--limit", type=count, default=50, metavar="N", help="how many (default: 50; 0: all)"
            )
        elif name == "show":
            operation.add_argument("--events", action="store_true", help="its events too")
        elif name == "purge":
            operation.add_argument("--all", action="store_true", help="every run that has ended")
        operation.add_argument("--store", metavar="STORE", help="the store; default: AGENTSERVER_STORE")
        operation.add_argument("--json", action="store_true", help="print JSON, one object a line")


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
        type=seconds,
        default=1.0,
        metavar="S",
        help="when the input has ended: seconds of silence before closing (default: 1)",
    )
    _client(parser, "print one JSON object a line for each message and the close")


def _inspect(commands: _Commands) -> None:
    parser = _command(commands, "inspect", "open the inspector's page for an agent that runs elsewhere")
    _elsewhere(parser)
    parser.add_argument("--port", type=port, default=0, help="the relay's TCP port; default: any free one")
    parser.add_argument(
        "--inspector-port", metavar="PORT", type=port, default=0, help="the page's; default: any free one"
    )


def _proxy(commands: _Commands) -> None:
    parser = _command(
        commands, "proxy", "let pages of a browser application call a hosted agent, with your token"
    )
    _elsewhere(parser)
    parser.add_argument(
        "--origin",
        metavar="ORIGIN",
        type=origin,
        action="append",
        required=True,
        help="of the pages that may, such as http://localhost:3000",
    )
    parser.add_argument("--port", type=port, default=8088, help="TCP port (default: 8088); 0: any free one")


def _elsewhere(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "url", metavar="URL", help="…/api/projects/PROJECT/agents/AGENT, a project's URL, or a server's"
    )
    parser.add_argument("--agent", metavar="NAME", help="the agent's name, if URL is a project's")


def _new(commands: _Commands) -> None:
    parser = _command(commands, "new", "make a project: handler, tests, Dockerfile, agent.yaml")
    parser.add_argument("name", metavar="NAME", help="the project's directory and the agent's name")
    kinds = parser.add_mutually_exclusive_group()
    for kind, words in (
        ("streaming", "an agent that streams its answer as server-sent events"),
        ("websocket", "an agent that talks over a WebSocket"),
        ("actions", "an agent that speaks the action protocol"),
        ("voice", "an agent that is spoken to, as a pipeline of Pipecat"),
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


def _docs(commands: _Commands) -> None:
    parser = _command(commands, "docs", "print the document of a handler with types, without a server")
    _target(parser)
    kinds = parser.add_mutually_exclusive_group()
    for kind, words in (
        ("openapi", "what it answers over HTTP; the default if it has types for that"),
        ("asyncapi", "its messages or actions over a WebSocket"),
    ):
        kinds.add_argument(f"--{kind}", dest="kind", action="store_const", const=kind, help=words)
    parser.add_argument("--yaml", action="store_true", help="as YAML instead of JSON")
    parser.add_argument(
        "--openapi-version",
        choices=["3.1", "3.2"],
        help="the version of an OpenAPI document; default: the handler's own",
    )


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
        type=pair(":"),
        action="append",
        default=[],
        help="a request header",
    )
    parser.add_argument(
        "--timeout", type=seconds, default=300.0, metavar="S", help="seconds to wait (default: 300)"
    )
    hosted = parser.add_argument_group(
        "hosted agents", "The token is AGENTSERVER_TOKEN, else azure-identity's."
    )
    hosted.add_argument("--agent", metavar="NAME", help="call the agent of that name on the hosting platform")
    hosted.add_argument(
        "--project", metavar="URL", help="the project's endpoint; default: FOUNDRY_PROJECT_ENDPOINT"
    )


def _bodies(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    from agentserver.cli.commands.invoke import complete_body

    return complete_body(prefix, parsed_args)


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
