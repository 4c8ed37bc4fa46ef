"""The variables of the hosting platform, faked, or taken away (contract, section 8)."""

from __future__ import annotations

from collections.abc import Mapping

from agentserver import wire

__all__ = ["fake_environment", "without_platform"]

_HOSTED = {
    wire.HOSTING_VARIABLE: "test",
    wire.AGENT_NAME_VARIABLE: "test-agent",
    wire.AGENT_VERSION_VARIABLE: "1",
    wire.AGENT_ID_VARIABLE: "test-agent:1",
    wire.PROJECT_ENDPOINT_VARIABLE: "https://account.invalid/api/projects/test-project",
    wire.PROJECT_ARM_ID_VARIABLE: "/subscriptions/test/resourceGroups/test/projects/test-project",
    wire.SESSION_ID_VARIABLE: "test-session",
}
_OURS = frozenset(value for name, value in vars(wire).items() if name.endswith("_VARIABLE"))


def fake_environment(**variables: str | None) -> dict[str, str]:
    """The variables that the hosting platform gives a container, with made-up values.

    Args:
        variables: Further variables, or other values; None takes a variable away.

    .. code-block:: python

        async with in_process(MyHandler, environment=fake_environment(FOUNDRY_AGENT_SESSION_ID="s-1")):
            ...
    """
    merged = {**_HOSTED, **variables}
    return {name: value for name, value in merged.items() if value is not None}


def without_platform(variables: Mapping[str, str]) -> dict[str, str]:
    """*variables* without those that configure a server, so that a test does not hang on who runs it."""
    return {
        name: value
        for name, value in variables.items()
        if name not in _OURS and not name.startswith(("FOUNDRY_", "OTEL_"))
    }
