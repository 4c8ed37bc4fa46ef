"""Options are checked when they are made: every one of them, with one sentence."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

from agentserver import AgentHostOptions, InvocationsServerOptions, options
from agentserver.errors import ConfigurationError
from agentserver.invocations import options as invocations_options

WRONG: list[tuple[type[Any], str, Any, str]] = [
    (AgentHostOptions, "host", 5, "a text, or None for every interface"),
    (AgentHostOptions, "port", True, "a whole number from 0 to 65535, or None for PORT or 8088"),
    (AgentHostOptions, "max_body_size", 1.5, "a whole number, 0 or more"),
    (AgentHostOptions, "max_body_size", None, "a whole number, 0 or more"),
    (AgentHostOptions, "shutdown_timeout", "30", "a finite number, 0 or more, or None for the environment's"),
    (AgentHostOptions, "cancel_on_disconnect", "no", "True or False"),
    (AgentHostOptions, "request_logging", 0, "True or False"),
    (AgentHostOptions, "keepalive_timeout", True, "a finite number, 0 or more"),
    (AgentHostOptions, "max_connections", 2.0, "a whole number, 1 or more, or None for no limit"),
    (AgentHostOptions, "retry_after", 1.5, "a whole number, 0 or more"),
    (AgentHostOptions, "server_segments", "a/1", "a tuple of texts, such as ('assistant/1.0',)"),
    (AgentHostOptions, "server_segments", (1,), "a tuple of texts, such as ('assistant/1.0',)"),
    (InvocationsServerOptions, "websocket_protocols", "chat", "a tuple of texts, such as ('chat',)"),
    (InvocationsServerOptions, "websocket_protocols", ["chat"], "a tuple of texts, such as ('chat',)"),
    (InvocationsServerOptions, "websocket_compression", "yes", "True or False"),
    (InvocationsServerOptions, "websocket_max_message_size", "1 MB", "a whole number, 1 or more"),
    (InvocationsServerOptions, "websocket_close_timeout", 0, "a finite number above 0"),
]


@pytest.mark.parametrize(("kind", "name", "value", "expected"), WRONG)
def test_an_option_of_a_wrong_type_is_refused(kind: type[Any], name: str, value: Any, expected: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        kind(**{name: value})
    assert str(refusal.value) == f"{name} is {value!r}, but it must be {expected}"


@pytest.mark.parametrize(
    ("kind", "module"),
    [(AgentHostOptions, options), (InvocationsServerOptions, invocations_options)],
)
def test_every_option_is_checked(kind: type[Any], module: Any) -> None:
    assert list(module._CHECKS) == [field.name for field in fields(kind)]


def test_whole_seconds_may_be_written_without_a_point() -> None:
    assert AgentHostOptions(keepalive_timeout=5).keepalive_timeout == 5
