"""The public names of the project: which there are, by the module that users import them from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Final

__all__ = ["MODULES", "documented", "public_names"]

# The modules that users import from.
MODULES: Final = (
    "agentserver",
    "agentserver.errors",
    "agentserver.client",
    "agentserver.testing",
    "agentserver.testing.plugin",
    "agentserver.conformance",
    "agentserver.integrations.events",
    "agentserver.integrations.sessions",
    "agentserver.integrations.handler",
    "agentserver.integrations.voice",
)

# What our own layers tell each other of errors.
_INTERNAL: Final = {"agentserver.errors": {"ErrorSource", "Failure", "classify", "text_of"}}


def public_names() -> Mapping[str, Sequence[str]]:
    """The public names of each module; each object once, with the first module that has it."""
    seen: set[int] = set()
    found: dict[str, list[str]] = {}
    for module in MODULES:
        home = import_module(module)
        found[module] = []
        for name in home.__all__:
            value = getattr(home, name)
            if id(value) not in seen and name not in _INTERNAL.get(module, ()):
                seen.add(id(value))
                found[module].append(name)
    return found


def documented(module: str) -> str:
    """The reference of *module*: what the builder is told, in Markdown, to make it of the docstrings."""
    home = import_module(module)
    parts = (_directive(f"{module}.{name}", getattr(home, name)) for name in public_names()[module])
    return "```{eval-rst}\n" + "\n".join(parts) + "```\n"


def _directive(path: str, value: object) -> str:
    if not inspect.isclass(value):
        return f".. {'autofunction' if callable(value) else 'autodata'}:: {path}\n"
    options = ":members:" if not issubclass(value, BaseException) else ":members:\n   :show-inheritance:"
    return f".. autoclass:: {path}\n   {options}\n"
