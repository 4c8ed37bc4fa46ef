"""The words of the wire contract: names and numbers that peers, balancers and log pipelines rely on.

See ``docs/wire-contract.md`` for what each word means. The only behaviour here is the shape of an id.
"""

from __future__ import annotations

import re
from enum import Enum, IntEnum
from typing import Final

# --- HTTP headers (contract, section 3; names lower-case as HTTP/2 proxies write them)

INVOCATION_ID_HEADER: Final = "x-agent-invocation-id"
SESSION_ID_HEADER: Final = "x-agent-session-id"
REQUEST_ID_HEADER: Final = "x-request-id"
SERVER_HEADER: Final = "x-platform-server"
ERROR_SOURCE_HEADER: Final = "x-platform-error-source"
ERROR_DETAIL_HEADER: Final = "x-platform-error-detail"
CLIENT_HEADER_PREFIX: Final = "x-client-"
USER_ISOLATION_KEY_HEADER: Final = "x-agent-user-isolation-key"
CHAT_ISOLATION_KEY_HEADER: Final = "x-agent-chat-isolation-key"
USER_ID_HEADER: Final = "x-agent-user-id"
CALL_ID_HEADER: Final = "x-agent-foundry-call-id"
TRACEPARENT_HEADER: Final = "traceparent"
TRACESTATE_HEADER: Final = "tracestate"
BAGGAGE_HEADER: Final = "baggage"
FOUNDRY_FEATURES_HEADER: Final = "Foundry-Features"
FOUNDRY_FEATURES_PREVIEW: Final = "HostedAgents=V1Preview"

SESSION_ID_QUERY: Final = "agent_session_id"

# --- Durable runs (contract, section 11)

IDEMPOTENCY_HEADERS: Final = ("x-client-idempotency-key", "idempotency-key")
IDEMPOTENCY_REPLAYED_HEADER: Final = "idempotency-replayed"
LAST_EVENT_ID_QUERY: Final = "last_event_id"
LAST_EVENT_ID_HEADER: Final = "last-event-id"

# --- Identifiers (contract, section 2)

ID_PATTERN: Final = r"[A-Za-z0-9._:-]{1,256}"
REQUEST_ID_MAX_LENGTH: Final = 256
ERROR_DETAIL_MAX_LENGTH: Final = 2048
ERROR_DETAIL_TRUNCATED: Final = "...[truncated]"

# --- Routes (contract, section 1)

READINESS_ROUTE: Final = "/readiness"
INVOCATIONS_ROUTE: Final = "/invocations"
INVOCATION_ROUTE: Final = "/invocations/{invocation_id}"
CANCEL_ROUTE: Final = "/invocations/{invocation_id}/cancel"
SIGNAL_ROUTE: Final = "/invocations/{invocation_id}/signal"
OPENAPI_ROUTE: Final = "/invocations/docs/openapi.json"
ASYNCAPI_JSON_ROUTE: Final = "/invocations/docs/asyncapi.json"
ASYNCAPI_YAML_ROUTE: Final = "/invocations/docs/asyncapi.yaml"
WEBSOCKET_ROUTE: Final = "/invocations_ws"
ACTIONS_ROUTE: Final = "/invocations_ws/ws"
ACTIONS_OPENAPI_ROUTE: Final = "/invocations_ws/docs/openapi.json"

# --- Protocol names, as an agent.yaml declares them

INVOCATIONS_PROTOCOL: Final = "invocations"
INVOCATIONS_WS_PROTOCOL: Final = "invocations_ws"
PROTOCOL_VERSION: Final = "1.0.0"

# --- Environment variables (contract, section 8)

PORT_VARIABLE: Final = "PORT"
AGENT_NAME_VARIABLE: Final = "FOUNDRY_AGENT_NAME"
AGENT_VERSION_VARIABLE: Final = "FOUNDRY_AGENT_VERSION"
AGENT_ID_VARIABLE: Final = "FOUNDRY_AGENT_ID"
PROJECT_ENDPOINT_VARIABLE: Final = "FOUNDRY_PROJECT_ENDPOINT"
PROJECT_ARM_ID_VARIABLE: Final = "FOUNDRY_PROJECT_ARM_ID"
SESSION_ID_VARIABLE: Final = "FOUNDRY_AGENT_SESSION_ID"
HOSTING_VARIABLE: Final = "FOUNDRY_HOSTING_ENVIRONMENT"
AZURE_MONITOR_VARIABLE: Final = "APPLICATIONINSIGHTS_CONNECTION_STRING"
OTLP_ENDPOINT_VARIABLE: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SSE_KEEPALIVE_VARIABLE: Final = "SSE_KEEPALIVE_INTERVAL"
WS_KEEPALIVE_VARIABLE: Final = "WS_KEEPALIVE_INTERVAL"
SHUTDOWN_TIMEOUT_VARIABLE: Final = "AGENTSERVER_GRACEFUL_SHUTDOWN_TIMEOUT_SECONDS"
LOG_LEVEL_VARIABLE: Final = "AGENTSERVER_LOG_LEVEL"
LOG_FORMAT_VARIABLE: Final = "AGENTSERVER_LOG_FORMAT"
STORE_VARIABLE: Final = "AGENTSERVER_STORE"

# --- Fields of the close event and the spans (contract, sections 5 and 7)

WS_NAMESPACE: Final = "azure.ai.agentserver.invocations_ws"
WS_SESSION_ID_FIELD: Final = WS_NAMESPACE + ".session_id"
WS_CLOSE_CODE_FIELD: Final = WS_NAMESPACE + ".close_code"
WS_DURATION_FIELD: Final = WS_NAMESPACE + ".duration_ms"
WS_ERROR_CODE_FIELD: Final = WS_NAMESPACE + ".error.code"
HTTP_NAMESPACE: Final = "azure.ai.agentserver.invocations"
INVOCATION_ID_BAGGAGE: Final = "azure.ai.agentserver.invocation_id"
SESSION_ID_BAGGAGE: Final = "azure.ai.agentserver.session_id"
REQUEST_ID_BAGGAGE: Final = "x-request-id"


class ErrorCode(str, Enum):
    """The ``code`` of the error envelope and of action error frames (contract, sections 4 and 6)."""

    INVALID_REQUEST = "invalid_request"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    TOO_MANY_REQUESTS = "too_many_requests"
    UNAVAILABLE = "unavailable"
    INTERNAL_ERROR = "internal_error"
    CANCELLED = "cancelled"
    ACCEPT_FAILED = "accept_failed"
    INVALID_JSON = "invalid_json"
    INVALID_MESSAGE = "invalid_message"
    INVALID_ACTION = "invalid_action"
    NOT_IMPLEMENTED = "not_implemented"


class ErrorSource(str, Enum):
    """Who caused an error: the value of ``x-platform-error-source`` (contract, section 4)."""

    USER = "user"
    PLATFORM = "platform"
    UPSTREAM = "upstream"


class CloseCode(IntEnum):
    """The WebSocket close codes the framework itself uses or reports (RFC 6455, section 7.4.1)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
    ABNORMAL = 1006
    INVALID_PAYLOAD = 1007
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011


INTERNAL_ERROR_MESSAGE: Final = "Internal server error"

_match_id = re.compile(ID_PATTERN).fullmatch


def is_valid_id(value: str) -> bool:
    """Whether *value* may serve as an id: 1 to 256 of ``A-Z a-z 0-9 . _ : -`` (contract, section 2)."""
    return _match_id(value) is not None
