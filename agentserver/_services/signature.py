"""What a function takes, whatever its annotations say."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature of *function*, even if a name in its annotations is imported only for type checkers.

    Raises:
        TypeError: If *function* cannot be called.
        ValueError: If it is written in C and does not tell.
    """
    if sys.version_info >= (3, 14):  # Annotations are evaluated when they are asked for (PEP 649).
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)
