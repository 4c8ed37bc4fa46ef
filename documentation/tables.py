"""The tables of the reference, made from the code; nothing in them is written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from enum import Enum
from typing import Any, Final, cast

from agentserver import options as host_options
from agentserver import wire
from agentserver._checks import Check
from agentserver._telemetry import attributes as spans
from agentserver._telemetry.instruments import Instruments
from agentserver._telemetry.observer import RequestEnd
from agentserver._telemetry.opentelemetry_runs import RunInstruments
from agentserver.cli.errors import Exit
from agentserver.durable import options as durable_options
from agentserver.environment import FoundryEnvironment
from agentserver.errors import ConfigurationError
from agentserver.invocations import options as invocations_options
from documentation.docstrings import arguments, assigned
from documentation.error_codes import further_codes

__all__ = ["TABLES", "table"]

Rows = Iterable[Sequence[str]]


def table(head: Sequence[str], rows: Rows) -> str:
    """A table in Markdown, with *head* above its *rows*."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _default(field: Any) -> str:
    value = field.default
    if value is MISSING or value == "":
        return "none"
    return (
        f"`{value:,}`"
        if isinstance(value, int) and value >= 10_000
        else f"`{value!r}`".replace("datetime.", "")
    )


def _options(kind: type, checks: Mapping[str, Check]) -> str:
    meanings = arguments(kind)
    rows = (
        (f"`{field.name}`", _default(field), checks[field.name].expected, meanings[field.name])
        for field in fields(cast("Any", kind))
    )
    return table(("option", "default", "must be", "meaning"), rows)


def _expected(variable: str) -> str:
    """What a variable must be, as its error says when it is not."""
    try:
        FoundryEnvironment.read({variable: "?"})
    except ConfigurationError as error:
        return str(error).partition("but it must be ")[2]
    return "any text"


def _variables() -> str:
    defaults = {field.name: _default(field) for field in fields(FoundryEnvironment)}
    meanings = arguments(FoundryEnvironment)

    def row(variable: str) -> Sequence[str]:
        named = [name for name, text in meanings.items() if f"``{variable}``" in text]
        (name, *_) = named
        return (f"`{variable}`", defaults[name], _expected(variable), f"`{name}`: {meanings[name]}")

    named = [value for name, value in vars(wire).items() if name.endswith("_VARIABLE")]
    return table(("variable", "default", "must be", "field of `FoundryEnvironment`"), map(row, named))


def _headers() -> str:
    meanings = assigned(wire)
    named = {
        name: value for name, value in vars(wire).items() if "_HEADER" in name and isinstance(value, str)
    }
    return table(("header", "meaning"), ((f"`{value}`", meanings[name]) for name, value in named.items()))


def _members(kind: type[Enum], head: str) -> str:
    meanings = assigned(kind)
    return table((head, "meaning"), ((f"`{member.value}`", meanings[member.name]) for member in kind))


def _further_codes() -> str:
    rows = ((f"`{use.code}`", use.status or "a failed run", use.meaning) for use in further_codes())
    return table(("code", "status", "meaning"), rows)


class _Meter:
    """Notes the instruments that are made of it."""

    def __init__(self) -> None:
        self.made: list[tuple[str, ...]] = []

    def __getattr__(self, method: str) -> Callable[..., None]:
        kind = method.removeprefix("create_").replace("_", " ")

        def note(name: str, *rest: Any, **_options: Any) -> None:
            unit, meaning = (argument for argument in rest if isinstance(argument, str))
            self.made.append((f"`{name}`", kind, f"`{unit}`", meaning))

        return note


def _metrics() -> str:
    meter = _Meter()
    Instruments(cast("Any", meter), {})
    RunInstruments(cast("Any", meter), dict)
    return table(("metric", "instrument", "unit", "meaning"), sorted(meter.made))


def _span_attributes() -> str:
    environment = FoundryEnvironment(
        agent_name="NAME", agent_version="VERSION", agent_id="NAME:VERSION", project_arm_id="PROJECT"
    )
    agent = spans.AgentAttributes.of(environment, "SERVICE")
    end = RequestEnd(operation=spans.WEBSOCKET, status=101, seconds=1.5, close_code=1011, error_code="CODE")
    closed = spans.of_closed_connection(end)
    on: dict[str, list[str]] = {}
    values: dict[str, set[str]] = {}
    for operation in spans.SPAN_NAMES:
        ids = {key: f"the {name.replace('_', ' ')}" for key, name in spans.IDS_OF_REQUESTS[operation].items()}
        of_connection = closed if operation == spans.WEBSOCKET else {}
        for key, value in {**agent.fixed(operation), **ids, **of_connection}.items():
            on.setdefault(key, []).append(f"`{spans.SPAN_NAMES[operation]}`")
            values.setdefault(key, set()).add(str(value))
    for key, (where, value) in spans.OF_RUNS.items():
        on[key] = [f"`{kind}`" for kind in where]
        values[key] = {value}
    rows = (
        (
            f"`{key}`",
            "all" if len(where) == len(spans.SPAN_NAMES) else ", ".join(where),
            ", ".join(sorted(values[key])),
        )
        for key, where in sorted(on.items())
    )
    return table(("attribute", "on spans", "value, or an example"), rows)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "host-options": lambda: _options(host_options.AgentHostOptions, host_options._CHECKS),
    "protocol-options": lambda: _options(
        invocations_options.InvocationsServerOptions, invocations_options._CHECKS
    ),
    "durable-options": lambda: _options(durable_options.Durable, durable_options._CHECKS),
    "variables": _variables,
    "exit-codes": lambda: _members(Exit, "exit code"),
    "headers": _headers,
    "error-codes": lambda: _members(wire.ErrorCode, "code"),
    "further-error-codes": _further_codes,
    "close-codes": lambda: _members(wire.CloseCode, "code"),
    "metrics": _metrics,
    "span-attributes": _span_attributes,
}
