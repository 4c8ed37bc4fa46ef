"""What ``agentserver dev`` starts: ``run`` with a log for a person, and tracebacks of their own code."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

from agentserver.cli.console import styled
from agentserver.cli.outcome import Exit, exit_of
from agentserver.cli.run import prepare, serve
from agentserver.cli.target import TargetError
from agentserver.environment import FoundryEnvironment
from agentserver.errors import AgentServerError
from agentserver.wire import LOG_FORMAT_VARIABLE

__all__ = ["main"]

_ExcInfo: TypeAlias = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)

_FOREIGN: Final = (
    "<frozen",
    str(Path(__file__).parent.parent) + os.sep,
    str(Path(sys.base_prefix, "lib")) + os.sep,
)
_LEVEL_STYLES: Final = {logging.WARNING: "yellow", logging.ERROR: "red", logging.CRITICAL: "red"}


class FriendlyFormatter(logging.Formatter):
    """One line a record: the time, the message; of an exception the frames that the developer wrote."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Render *record*, in the colour of its level."""
        text = super().format(record)
        style = _LEVEL_STYLES.get(record.levelno)
        return text if style is None else styled(text, style, sys.stderr)

    def formatException(self, ei: _ExcInfo) -> str:  # noqa: N802 - logging's name
        """Render an exception without the frames of the framework."""
        return "" if ei[1] is None else own_traceback(ei[1])


def own_traceback(error: BaseException) -> str:
    """The traceback of *error* with the developer's own frames alone; with all, if none is theirs."""
    report = traceback.TracebackException.from_exception(error)
    link: traceback.TracebackException | None = report
    while link is not None:
        own = [frame for frame in link.stack if not _is_foreign(frame.filename)]
        if own or link.exc_type is SyntaxError:  # which names its place itself
            link.stack = traceback.StackSummary.from_list(own)
        link = link.__cause__ or link.__context__
    return "".join(report.format()).rstrip("\n")


def _is_foreign(filename: str) -> bool:
    return filename.startswith(_FOREIGN) or "site-packages" in Path(filename).parts


def main() -> int:
    """Serve the target that the arguments name."""
    arguments = _arguments()
    prepare(arguments)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        if arguments.log_format is None and LOG_FORMAT_VARIABLE not in os.environ:
            _log_for_a_person()
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


def _say(error: AgentServerError) -> int:
    print(styled(f"agentserver: error: {error}", "red", sys.stderr), file=sys.stderr)
    return exit_of(error)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--port", type=int)
    parser.add_argument("--host")
    parser.add_argument("--log-level")
    parser.add_argument("--log-format")
    return parser.parse_args()


def _end_with_parent(parent: int) -> None:
    """Stop serving when ``agentserver dev`` is gone, however it went: it would hold the port for ever."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)


def _log_for_a_person() -> None:
    level = FoundryEnvironment.read().log_level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(FriendlyFormatter())
    logging.basicConfig(level=level, handlers=[handler])


if __name__ == "__main__":
    sys.exit(main())
