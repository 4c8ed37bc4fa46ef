"""Names and attributes of the framework's spans (contract, section 7): plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agentserver.core._exchange import Exchange
from agentserver.core.environment import FoundryEnvironment
from agentserver.wire import (
    HTTP_NAMESPACE,
    WS_CLOSE_CODE_FIELD,
    WS_DURATION_FIELD,
    WS_ERROR_CODE_FIELD,
    WS_NAMESPACE,
    WS_SESSION_ID_FIELD,
)

SESSION_ID: Final = "microsoft.session.id"
PROJECT_ID: Final = "microsoft.foundry.project.id"
OPERATION_NAME: Final = "gen_ai.operation.name"
RESPONSE_ID: Final = "gen_ai.response.id"
ERROR_TYPE: Final = "error.type"
STATUS_CODE: Final = "http.response.status_code"

INVOKE_AGENT: Final = "invoke_agent"
WEBSOCKET_SESSION: Final = "websocket_session"
WEBSOCKET: Final = "websocket"

# The operations of exchanges and actions that get a span, and what it is called.
SPAN_NAMES: Final = {
    "invoke": INVOKE_AGENT,
    "get_invocation": "get_invocation",
    "cancel_invocation": "cancel_invocation",
    WEBSOCKET: WEBSOCKET_SESSION,
}

Attributes = dict[str, str | bool | int | float]


@dataclass(frozen=True)
class AgentAttributes:
    """What is the same for every span of the process.

    Args:
        label: ``NAME:VERSION``, ``NAME``, or empty: the second word of span names.
        everywhere: On every span of the process, a library's too.
        own: On the framework's own spans.
    """

    label: str
    everywhere: Attributes
    own: Attributes

    @classmethod
    def of(cls, environment: FoundryEnvironment, service: str) -> AgentAttributes:
        """The attributes of the agent that *environment* describes, as the service named *service*."""
        name, version = environment.agent_name, environment.agent_version
        known = {
            PROJECT_ID: environment.project_arm_id,
            "gen_ai.agent.name": name,
            "gen_ai.agent.version": version,
            "gen_ai.agent.id": environment.agent_id,
        }
        everywhere: Attributes = {key: value for key, value in known.items() if value}
        own: Attributes = {
            "service.name": service,
            "gen_ai.system": "azure.ai.agentserver",
            "gen_ai.provider.name": "AzureAI Hosted Agents",
            **everywhere,
        }
        return cls(f"{name}:{version}" if name and version else name, everywhere, own)

    def span_name(self, operation: str) -> str:
        """The name of the span of *operation*, a key of `SPAN_NAMES`."""
        name = SPAN_NAMES[operation]
        return f"{name} {self.label}" if self.label and name != WEBSOCKET_SESSION else name

    def of_exchange(self, exchange: Exchange) -> Attributes:
        """The attributes of an exchange's span when it begins."""
        ids = exchange.correlation
        operation = SPAN_NAMES[exchange.operation]
        if operation == WEBSOCKET_SESSION:
            own = {WS_SESSION_ID_FIELD: ids["session_id"]}
            operation = INVOKE_AGENT
        else:
            own = {
                HTTP_NAMESPACE + ".invocation_id": ids["invocation_id"],
                HTTP_NAMESPACE + ".session_id": ids["session_id"],
            }
        return {
            **self.own,
            OPERATION_NAME: operation,
            RESPONSE_ID: ids["invocation_id"],
            SESSION_ID: ids["session_id"],
            **own,
        }

    def of_action(self, operation: str, invocation_id: str, session_id: str) -> Attributes:
        """The attributes of an action's span when it begins."""
        return {
            **self.own,
            OPERATION_NAME: SPAN_NAMES[operation],
            RESPONSE_ID: invocation_id,
            SESSION_ID: session_id,
            WS_NAMESPACE + ".invocation_id": invocation_id,
            WS_SESSION_ID_FIELD: session_id,
        }


def outcome(exchange: Exchange, status: int) -> Attributes:
    """The attributes that an exchange's span gets when it ends, those of its failure left out."""
    if exchange.close_code:
        return {
            WS_CLOSE_CODE_FIELD: exchange.close_code,
            WS_DURATION_FIELD: round(exchange.elapsed * 1000, 3),
            **({WS_ERROR_CODE_FIELD: exchange.error_code} if exchange.error_code else {}),
        }
    return {STATUS_CODE: status}


def type_of(error: BaseException | None, code: str) -> str:
    """The value of ``error.type``: the exception's full name, else the error's code."""
    if error is None:
        return code
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
