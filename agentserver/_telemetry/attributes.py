"""Names and attributes of the framework's spans (contract, section 7): plain data."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Final

from agentserver._telemetry.observer import RequestEnd
from agentserver.environment import FoundryEnvironment
from agentserver.wire import (
    HTTP_NAMESPACE,
    WS_CLOSE_CODE_FIELD,
    WS_DURATION_FIELD,
    WS_ERROR_CODE_FIELD,
    WS_NAMESPACE,
    WS_SESSION_ID_FIELD,
)

SCOPE: Final = "agentserver"  # the instrumentation scope of the framework's spans and metrics

SESSION_ID: Final = "microsoft.session.id"
PROJECT_ID: Final = "microsoft.foundry.project.id"
OPERATION_NAME: Final = "gen_ai.operation.name"
RESPONSE_ID: Final = "gen_ai.response.id"
ERROR_TYPE: Final = "error.type"
STATUS_CODE: Final = "http.response.status_code"

INVOKE_AGENT: Final = "invoke_agent"
WEBSOCKET_SESSION: Final = "websocket_session"
WEBSOCKET: Final = "websocket"

# The operations of requests and actions that get a span, and what it is called.
SPAN_NAMES: Final = {
    "invoke": INVOKE_AGENT,
    "get_invocation": "get_invocation",
    "cancel_invocation": "cancel_invocation",
    WEBSOCKET: WEBSOCKET_SESSION,
}

# What is said of durable runs, beside the ids and the agent.
RUN_STATE: Final = "agentserver.run.state"
RUN_STATUS: Final = "agentserver.run.status"
RUN_ATTEMPT: Final = "agentserver.run.attempt"
RUN_RECOVERIES: Final = "agentserver.run.recoveries"
STEP_NAME: Final = "agentserver.run.step.name"
STEP_FAILURES: Final = "agentserver.run.step.failures"
# On which of their spans that is, and an example.
OF_RUNS: Final = {
    RUN_STATUS: (("run", "attempt"), "completed"),
    RUN_ATTEMPT: (("run",), "1"),
    RUN_RECOVERIES: (("run", "attempt"), "0"),
    STEP_NAME: (("step",), "plan"),
    STEP_FAILURES: (("step",), "0"),
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
        name, version = safe_text(environment.agent_name), safe_text(environment.agent_version)
        known = {
            PROJECT_ID: safe_text(environment.project_arm_id),
            "gen_ai.agent.name": name,
            "gen_ai.agent.version": version,
            "gen_ai.agent.id": safe_text(environment.agent_id),
        }
        everywhere: Attributes = {key: value for key, value in known.items() if value}
        own: Attributes = {
            "service.name": safe_text(service),
            "gen_ai.system": "azure.ai.agentserver",
            "gen_ai.provider.name": "AzureAI Hosted Agents",
            **everywhere,
        }
        return cls(f"{name}:{version}" if name and version else name, everywhere, own)

    def span_name(self, operation: str) -> str:
        """The name of the span of *operation*, a key of `SPAN_NAMES`."""
        name = SPAN_NAMES[operation]
        return f"{name} {self.label}" if self.label and operation != WEBSOCKET else name

    def run_span_name(self, kind: str) -> str:
        """The name of the span of a durable run, or of an attempt of it."""
        return f"{kind} {self.label}" if self.label else kind

    def fixed(self, operation: str) -> Attributes:
        """The attributes of all spans of *operation*."""
        name = INVOKE_AGENT if operation == WEBSOCKET else SPAN_NAMES[operation]
        return {**self.own, OPERATION_NAME: name}


# The attributes that tell one span from the next, and the ids of the request that they are.
_IDS: Final = {RESPONSE_ID: "invocation_id", SESSION_ID: "session_id"}
_IDS_OF_INVOCATION: Final = {
    **_IDS,
    HTTP_NAMESPACE + ".invocation_id": "invocation_id",
    HTTP_NAMESPACE + ".session_id": "session_id",
}
IDS_OF_REQUESTS: Final = {
    **dict.fromkeys(SPAN_NAMES, _IDS_OF_INVOCATION),
    WEBSOCKET: {**_IDS, WS_SESSION_ID_FIELD: "session_id"},
}
IDS_OF_ACTION: Final = {
    **IDS_OF_REQUESTS[WEBSOCKET],
    WS_NAMESPACE + ".invocation_id": "invocation_id",
}


def of_closed_connection(end: RequestEnd) -> Attributes:
    """The attributes that a connection's span gets when it ends."""
    return {
        WS_CLOSE_CODE_FIELD: end.close_code,
        WS_DURATION_FIELD: round(end.seconds * 1000, 3),
        **({WS_ERROR_CODE_FIELD: end.error_code} if end.error_code else {}),
    }


def type_of(error: BaseException | None, code: str) -> str:
    """The value of ``error.type``: the exception's full name, else the error's code."""
    if error is None:
        return code
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def safe_text(value: object) -> str:
    """*value* as text that can be sent: what cannot be printed or encoded costs no span and no record."""
    try:
        text = str(value)
    # Anybody's ``__str__``.
    except Exception:  # noqa: BLE001
        return f"<{type(value).__qualname__} that cannot be printed>"
    return text.encode("utf-8", "replace").decode()


def exception_attributes(error: BaseException) -> Attributes:
    """What OpenTelemetry's conventions say of an exception, on the event of a span and on a log record."""
    return {
        "exception.type": type_of(error, ""),
        "exception.message": safe_text(error),
        "exception.stacktrace": safe_text("".join(traceback.format_exception(error))),
    }
