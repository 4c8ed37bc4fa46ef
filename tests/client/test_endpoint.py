"""Addresses on a developer's machine and on the hosting platform."""

from __future__ import annotations

import pytest

from agentserver.client import (
    InvocationsClient,
)
from agentserver.client import endpoint as endpoints


@pytest.mark.parametrize("bad", ["localhost:8088", "ftp://x", "", "http://", "http://[::1"])
def test_an_address_that_is_none_says_which_form_it_needs(bad: str) -> None:
    with pytest.raises(ValueError, match="needs the form http://localhost:8088"):
        InvocationsClient(bad)


PROJECT = "https://acct.services.ai.azure.com/api/projects/proj"


def test_the_hosted_addresses_are_those_of_the_contract() -> None:
    endpoint = endpoints.hosted(PROJECT + "/", "my-agent")
    base = (
        "https://acct.services.ai.azure.com/api/projects/proj/agents/my-agent/endpoint/protocols/invocations"
    )
    assert str(endpoint.invoke("s-1")) == base + "?api-version=v1&agent_session_id=s-1"
    assert str(endpoint.invocation("i-1")) == base + "/i-1?api-version=v1"
    assert str(endpoint.cancel("i-1")) == base + "/i-1/cancel?api-version=v1"
    assert str(endpoint.cancel("i-1", "s-1")) == base + "/i-1/cancel?api-version=v1&agent_session_id=s-1"
    socket = (
        "wss://acct.services.ai.azure.com/api/projects/agents/endpoint/protocols/invocations_ws"
        "?project_name=proj&agent_name=my-agent"
    )
    assert str(endpoint.connect(None)) == socket
    assert str(endpoint.connect("s-1", actions=True)) == socket + "&agent_session_id=s-1"
    assert endpoint.headers == {"Foundry-Features": "HostedAgents=V1Preview"}


def test_the_local_addresses_are_below_the_prefix() -> None:
    endpoint = endpoints.local("https://host:1/v1/")
    assert str(endpoint.connect("s", actions=True)) == "wss://host:1/v1/invocations_ws/ws?agent_session_id=s"
    assert str(endpoint.invocation("i")) == "https://host:1/v1/invocations/i"


@pytest.mark.parametrize(
    ("project", "agent", "says"),
    [
        ("https://acct.services.ai.azure.com", "a", "api/projects/PROJECT"),
        ("acct", "a", "needs the form"),
        (PROJECT, "", "agent name"),
        (PROJECT, "../x", "agent name"),
    ],
)
def test_a_wrong_project_or_agent_says_which_form_it_needs(project: str, agent: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        InvocationsClient.hosted(project, agent)


def test_the_preview_flag_can_be_left_out() -> None:
    assert endpoints.hosted(PROJECT, "a", preview=False).headers == {}
    InvocationsClient.hosted(PROJECT, "a", preview=False)
