"""The command line ``agentserver``: run, develop, call, create and examine agents.

Nothing but :mod:`argparse` is imported until a command needs it, so that help and completion come at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: The arguments after the program's name; None for those of the process.

    Returns:
        The exit code; :class:`agentserver.cli.errors.Exit` says what each means.

    Raises:
        SystemExit: If the arguments cannot be understood, or after ``--help`` and ``--version``.
    """
    from agentserver.cli.parser import build, command_of

    words = sys.argv[1:] if argv is None else list(argv)
    parser = build()
    if "_ARGCOMPLETE" in os.environ:
        _complete(parser)
    if words[:1] == ["conformance"]:  # its arguments are its own, and argparse would read them
        return _run(command_of("conformance"), argparse.Namespace(arguments=words[1:]))
    arguments = parser.parse_args(words)
    if arguments.command is None:
        parser.print_help(sys.stderr)
        return 2
    return _run(command_of(arguments.command), arguments)


def _complete(parser: argparse.ArgumentParser) -> None:
    try:
        import argcomplete
    except ImportError:
        return
    argcomplete.autocomplete(parser)


def _run(command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace) -> int:
    from agentserver.cli.errors import Exit, exit_of, sentence_of
    from agentserver.errors import AgentServerError

    try:
        return command(arguments)
    except AgentServerError as error:
        print(f"agentserver: error: {sentence_of(error)}", file=sys.stderr)
        return exit_of(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has read enough; what Python would still flush has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
