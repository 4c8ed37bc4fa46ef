"""How a command ends: its exit code, and the one sentence of an error."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final

from agentserver.errors import AgentServerError, StartupError

__all__ = ["CommandError", "Exit", "MissingPackageError", "exit_of", "sentence_of"]


class Exit(IntEnum):
    """What the exit codes mean."""

    OK = 0
    """Everything went well."""
    FAILED = 1
    """A server could not start, or a check found something wrong."""
    USAGE = 2
    """The arguments, the body or a variable of the environment cannot be used as they are."""
    TARGET = 3
    """The module, file or handler cannot be loaded."""
    UNREACHABLE = 4
    """No server answers."""
    REFUSED = 5
    """A token is missing, or was refused."""
    AGENT = 6
    """The agent answered with an error, or closed the WebSocket with a code other than 1000."""
    BROKEN = 7
    """The connection broke, or a time-out passed."""
    CANCELLED = 8
    """The invocation that was watched has been cancelled."""
    INTERRUPTED = 130
    """Ctrl-C."""


class CommandError(AgentServerError):
    """A command cannot do what it was asked to. The message says what to do instead."""

    def __init__(self, message: str, code: Exit = Exit.USAGE) -> None:
        super().__init__(message)
        self.code = code


class MissingPackageError(CommandError):
    """A command needs a package that only the extra ``cli`` installs."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs one more package: pip install 'agentserver-invocations[cli]'")


# By name: the client and aiohttp need not be imported to end a command that never used them.
_CODES: Final[Mapping[str, Exit]] = {
    "UnreachableError": Exit.UNREACHABLE,
    "RefusedError": Exit.REFUSED,
    "CredentialError": Exit.REFUSED,
    "ResponseError": Exit.AGENT,
    "ActionError": Exit.AGENT,
    "AnswerError": Exit.AGENT,
    "ConnectionClosedError": Exit.AGENT,
    "LostConnectionError": Exit.BROKEN,
    "DeadlineError": Exit.BROKEN,
}

# What to do, where the client's own sentence only says what is wrong.
_ADVICE: Final[Mapping[str, str]] = {
    "UnreachableError": "start one with 'agentserver run', or say where it is with --url",
    "RefusedError": "give a token that may call this agent in AGENTSERVER_TOKEN",
    "DeadlineError": "wait longer with --timeout",
}


def exit_of(error: AgentServerError) -> int:
    """Return the exit code that *error* ends a command with."""
    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, StartupError):
        return error.exit_code
    if getattr(error, "code", None) == 1006:
        return Exit.BROKEN
    return _CODES.get(type(error).__name__, Exit.FAILED)


def sentence_of(error: AgentServerError) -> str:
    """Say on one line what is wrong and what to do."""
    words = " ".join(str(error).split())
    advice = _ADVICE.get(type(error).__name__)
    return f"{words}; {advice}" if advice else words
