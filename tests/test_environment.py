"""What the platform says, as a value."""

from __future__ import annotations

import pytest

from agentserver import FoundryEnvironment


@pytest.mark.parametrize(
    ("variables", "agent_id"),
    [
        ({"FOUNDRY_AGENT_NAME": "bee", "FOUNDRY_AGENT_VERSION": "3"}, "bee:3"),
        ({"FOUNDRY_AGENT_NAME": "bee"}, "bee"),
        ({"FOUNDRY_AGENT_VERSION": "3"}, ""),
        ({"FOUNDRY_AGENT_ID": "id", "FOUNDRY_AGENT_NAME": "bee", "FOUNDRY_AGENT_VERSION": "3"}, "id"),
    ],
)
def test_an_agents_id_has_a_name_in_it_or_is_empty(variables: dict[str, str], agent_id: str) -> None:
    assert FoundryEnvironment.read(variables).agent_id == agent_id


def test_its_repr_shows_no_secret() -> None:
    environment = FoundryEnvironment.read(
        {
            "APPLICATIONINSIGHTS_CONNECTION_STRING": "InstrumentationKey=hidden",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=hidden",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:hidden@collector.example/v1",
            "FOUNDRY_PROJECT_ENDPOINT": "https://me:hidden@acme.example/api/projects/p?key=hidden",
        }
    )
    assert "hidden" not in repr(environment)
    assert "otlp=https://collector.example" in repr(environment)
    assert "azure_monitor=present" in repr(environment)


def test_it_is_a_value() -> None:
    variables = {"PORT": "1", "OTEL_SERVICE_NAME": "bee"}
    environment = FoundryEnvironment.read(variables)
    assert environment == FoundryEnvironment.read(variables)
    assert hash(environment) == hash(FoundryEnvironment.read(variables))
    assert environment != FoundryEnvironment.read({"PORT": "1"})
