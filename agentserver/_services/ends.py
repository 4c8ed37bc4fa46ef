"""How an object is entered and left: asked of every handler's class, also where there are no services."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from agentserver._services.signature import signature_of

__all__ = ["has_end", "ways"]


def has_end(kind: Any) -> bool:
    """Whether objects of *kind* are to be closed."""
    return ways(kind)[1] is not None


@functools.lru_cache(maxsize=1024)
def ways(kind: Any) -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    """How an object of *kind* is entered and left; the way to leave takes what ``__exit__`` takes."""
    closes = next((close for close in ("aclose", "close") if _needs_no_arguments(kind, close)), None)
    # To enter a lock is to take it. Conditions have "acquire" on the object only; pools have it, and close.
    is_lock = closes is None and (hasattr(kind, "acquire") or hasattr(kind, "notify"))
    for enter, leave in (("__aenter__", "__aexit__"), ("__enter__", "__exit__")):
        if hasattr(kind, enter) and hasattr(kind, leave) and not is_lock:
            return getattr(kind, enter), getattr(kind, leave)
    if closes is None:
        return None, None
    return None, functools.partial(_close, closes)


def _close(method: str, made: Any, *_exception: object) -> Any:
    return getattr(made, method)()


def _needs_no_arguments(kind: Any, name: str) -> bool:
    method = getattr(kind, name, None)
    if not callable(method):
        return False
    try:
        signature_of(method).bind(None)
    except TypeError:
        return False
    except ValueError:  # a method written in C that does not tell
        pass
    return True
