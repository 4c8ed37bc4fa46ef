"""What the user has called when the host begins and when it ends."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from typing import TypeAlias

from agentserver.errors import StartupError, text_of

Hook: TypeAlias = Callable[[], object]
"""A function without arguments; if it is async, or what it returns can be awaited, it is awaited."""

logger = logging.getLogger("agentserver")


async def run_at_startup(hooks: Iterable[Hook]) -> None:
    """Call *hooks* one after another.

    Raises:
        StartupError: If one of them raises; it says which, and what.
    """
    for hook in hooks:
        try:
            await _call(hook)
        except StartupError:
            raise
        # The boundary of user code: the process ends with a sentence, and with where it was on request.
        except Exception as error:
            raise failed_at_startup(f"the start-up hook {_name_of(hook)}", error) from error


async def run_at_shutdown(hooks: Iterable[Hook]) -> None:
    """Call all of *hooks*, whatever each of them raises."""
    for hook in hooks:
        try:
            await _call(hook)
        # One hook's failure must not keep the others from running, nor the exit code from being 0.
        except (Exception, SystemExit):
            logger.exception("the shutdown hook %s failed", _name_of(hook))


def failed_at_startup(what: str, error: Exception) -> StartupError:
    """The sentence for *error*, raised by *what* of the user's before the server could start."""
    message = " ".join(text_of(error).split())
    reason = type(error).__name__ + (f": {message}" if message else "")
    return StartupError(f"{what} failed: {reason} (AGENTSERVER_LOG_LEVEL=DEBUG shows where)")


async def _call(hook: Hook) -> None:
    result = hook()
    if inspect.isawaitable(result):
        await result


def _name_of(hook: Hook) -> str:
    name = str(getattr(hook, "__qualname__", None) or repr(hook))
    return name.rpartition("<locals>.")[2]
