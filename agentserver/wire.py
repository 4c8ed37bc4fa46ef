"""The words of the wire contract: names and numbers that peers, balancers and log pipelines rely on.

See ``docs/wire-contract.md`` for what each word means. The only behaviour here is the shape of an id.
"""

from __future__ import annotations

import re
from enum import Enum, IntEnum
from typing import Final

# --- HTTP headers (contract, section 3; names lower-case as HTTP/2 proxies write them)

INVOCATION_ID_HEADER: Final = "x-agent-invocation-id"
"""The id of the invocation: the caller's, else a new one; on every answer of the invocation."""
SESSION_ID_HEADER: Final = "x-agent-session-id"
"""The id of the session; on every answer of an invocation and on the 101 of a WebSocket."""
REQUEST_ID_HEADER: Final = "x-request-id"
"""The id of the request: the trace id, else the caller's, else a new one; on every answer."""
SERVER_HEADER: Final = "x-platform-server"
"""Who answers: ``NAME/VERSION`` segments; on every answer."""
ERROR_SOURCE_HEADER: Final = "x-platform-error-source"
"""Who caused an error: ``user``, ``platform`` or ``upstream``; on every error of the framework."""
ERROR_DETAIL_HEADER: Final = "x-platform-error-detail"
"""Type and message of what failed; on errors of the platform alone."""
CLIENT_HEADER_PREFIX: Final = "x-client-"
"""Read: the caller's own headers, handed to the handler as they are."""
USER_ISOLATION_KEY_HEADER: Final = "x-agent-user-isolation-key"
"""Read: the isolation key of the user; never logged."""
CHAT_ISOLATION_KEY_HEADER: Final = "x-agent-chat-isolation-key"
"""Read: the isolation key of the conversation; never logged."""
USER_ID_HEADER: Final = "x-agent-user-id"
"""Read: the platform's id of the user; never logged."""
CALL_ID_HEADER: Final = "x-agent-foundry-call-id"
"""Read: the platform's id of the call, which goes out again on calls to its services; never logged."""
TRACEPARENT_HEADER: Final = "traceparent"
"""Read: the parent of the spans (W3C Trace Context)."""
TRACESTATE_HEADER: Final = "tracestate"
"""Read: what tracing systems hand on (W3C Trace Context)."""
BAGGAGE_HEADER: Final = "baggage"
"""Read: what callers hand on to everything behind them (W3C Baggage)."""
FOUNDRY_FEATURES_HEADER: Final = "Foundry-Features"
"""Sent by the client to the hosting platform: the features it asks for."""
FOUNDRY_FEATURES_PREVIEW: Final = "HostedAgents=V1Preview"

SESSION_ID_QUERY: Final = "agent_session_id"

# --- Durable runs (contract, section 11)

CLIENT_IDEMPOTENCY_KEY_HEADER: Final = "x-client-idempotency-key"
"""The caller's key of a run, in a header that the platform passes on: a repeated POST joins the first run."""
IDEMPOTENCY_KEY_HEADER: Final = "idempotency-key"
"""The same under its usual name."""
IDEMPOTENCY_HEADERS: Final = (CLIENT_IDEMPOTENCY_KEY_HEADER, IDEMPOTENCY_KEY_HEADER)
IDEMPOTENCY_REPLAYED_HEADER: Final = "idempotency-replayed"
"""On the answer to a POST that joined a run: ``true``."""
LAST_EVENT_ID_QUERY: Final = "last_event_id"
LAST_EVENT_ID_HEADER: Final = "last-event-id"
"""The id of the last event that the caller has: the stream goes on after it."""

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
    """The request cannot be understood."""
    NOT_FOUND = "not_found"
    """There is no such path, invocation or document."""
    METHOD_NOT_ALLOWED = "method_not_allowed"
    """The path does not take this method."""
    PAYLOAD_TOO_LARGE = "payload_too_large"
    """The body is over ``max_body_size``."""
    TOO_MANY_REQUESTS = "too_many_requests"
    """The agent, or the session, is busy."""
    UNAVAILABLE = "unavailable"
    """The server is full, ends, or a health check fails."""
    INTERNAL_ERROR = "internal_error"
    """The handler, or the platform, failed."""
    CANCELLED = "cancelled"
    """The invocation was cancelled, or its connection ended."""
    ACCEPT_FAILED = "accept_failed"
    """A WebSocket did not come about; in the log alone."""
    INVALID_JSON = "invalid_json"
    """A frame of the action protocol is not JSON."""
    INVALID_MESSAGE = "invalid_message"
    """A frame of the action protocol is not an object."""
    INVALID_ACTION = "invalid_action"
    """The action protocol has no such action."""
    NOT_IMPLEMENTED = "not_implemented"
    """The agent has no such action."""


class ErrorSource(str, Enum):
    """Who caused an error: the value of ``x-platform-error-source`` (contract, section 4)."""

    USER = "user"
    PLATFORM = "platform"
    UPSTREAM = "upstream"


class CloseCode(IntEnum):
    """The WebSocket close codes the framework itself uses or reports (RFC 6455, section 7.4.1)."""

    NORMAL = 1000
    """The handler returned, or one side said goodbye."""
    GOING_AWAY = 1001
    """The server ends."""
    PROTOCOL_ERROR = 1002
    """The client broke the protocol."""
    NO_STATUS = 1005
    """The client closed without a code; reported, never sent."""
    ABNORMAL = 1006
    """The connection broke, or a ping found no answer; reported, never sent."""
    INVALID_PAYLOAD = 1007
    """A text was not UTF-8."""
    MESSAGE_TOO_BIG = 1009
    """A message was over ``websocket_max_message_size``."""
    INTERNAL_ERROR = 1011
    """The handler raised."""


INTERNAL_ERROR_MESSAGE: Final = "Internal server error"

_match_id = re.compile(ID_PATTERN).fullmatch


def is_valid_id(value: str) -> bool:
    """Whether *value* may serve as an id: 1 to 256 of ``A-Z a-z 0-9 . _ : -`` (contract, section 2)."""
    return _match_id(value) is not None
