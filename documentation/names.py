"""The public names of the project: which there are, by the module that users import them from."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Final

from sphinx.ext.autodoc import mock

__all__ = ["FRAMEWORKS", "MODULES", "documented", "imported", "public_names"]

# The modules that users import from.
MODULES: Final = (
    "agentserver",
    "agentserver.errors",
    "agentserver.durable.errors",
    "agentserver.client",
    "agentserver.testing",
    "agentserver.testing.plugin",
    "agentserver.conformance",
    "agentserver.integrations.events",
    "agentserver.integrations.sessions",
    "agentserver.integrations.handler",
    "agentserver.integrations.voice",
    "agentserver.integrations.agent_framework",
    "agentserver.integrations.langgraph",
    "agentserver.integrations.openai_agents",
    "agentserver.integrations.pydantic_ai",
    "agentserver.integrations.pipecat",
)

# What the last of them import and the site is built without: stand-ins will do to read our docstrings.
FRAMEWORKS: Final = (
    *("agent_framework", "langgraph", "langchain_core", "agents", "openai", "pydantic_ai", "pydantic_core"),
    "pipecat",
)

# What our own layers tell each other of errors.
_INTERNAL: Final = {"agentserver.errors": {"ErrorSource", "Failure", "classify", "text_of"}}


def imported(module: str) -> ModuleType:
    """Import *module*, with stand-ins for the frameworks that are not installed."""
    absent = [name for name in FRAMEWORKS if find_spec(name) is None]
    with mock(absent):
        return import_module(module)


def public_names() -> Mapping[str, Sequence[str]]:
    """The public names of each module; each object once, with the first module that has it."""
    seen: set[int] = set()
    found: dict[str, list[str]] = {}
    for module in MODULES:
        home = imported(module)
        found[module] = []
        for name in home.__all__:
            value = getattr(home, name)
            if id(value) not in seen and name not in _INTERNAL.get(module, ()):
                seen.add(id(value))
                found[module].append(name)
    return found


def documented(module: str) -> str:
    """The reference of *module*: what the builder is told, in Markdown, to make it of the docstrings."""
    home = imported(module)
    parts = (_directive(f"{module}.{name}", getattr(home, name)) for name in public_names()[module])
    return "```{eval-rst}\n" + "\n".join(parts) + "```\n"


def _directive(path: str, value: object) -> str:
    if not inspect.isclass(value):
        return f".. {'autofunction' if callable(value) else 'autodata'}:: {path}\n"
    options = ":members:" if not issubclass(value, BaseException) else ":members:\n   :show-inheritance:"
    return f".. autoclass:: {path}\n   {options}\n"
