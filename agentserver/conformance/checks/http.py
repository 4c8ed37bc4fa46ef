"""Checks of ids, headers and errors over HTTP."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from agentserver.conformance.checks.registry import check
from agentserver.conformance.observation import Observation, json_body
from agentserver.wire import INVOCATION_ID_HEADER, REQUEST_ID_HEADER, SESSION_ID_HEADER


def _repeated(values: Iterable[object]) -> str | None:
    seen = [str(value) for value in values]
    # A recording keeps no UUIDs: two that are both normalised cannot be told apart and pass.
    repeated = len(set(seen)) < len(seen) and not any(value.startswith("<") for value in seen)
    return f"the same value came twice: {', '.join(seen)}" if repeated else None


@check("ids.invocation-differs")
def _invocation_ids_differ(seen: Observation) -> str | None:
    return _repeated(answer["headers"][INVOCATION_ID_HEADER] for answer in seen.results)


@check("ids.session-differs")
def _session_ids_differ(seen: Observation) -> str | None:
    return _repeated(answer["headers"][SESSION_ID_HEADER] for answer in seen.results)


@check("ids.ws-invocation-differs")
def _websocket_ids_differ(seen: Observation) -> str | None:
    return _repeated(json.loads(answer["frames"][0]["text"])["invocation_id"] for answer in seen.results)


@check("headers.request-ids-differ", "lifetime.keep-alive-ids")
def _request_ids_differ(seen: Observation) -> str | None:
    return _repeated(answer["headers"][REQUEST_ID_HEADER] for answer in seen.results)


@check("ids.handler-sees-generated")
def _handler_sees_generated(seen: Observation) -> str | None:
    body, headers = json_body(seen.last), seen.last["headers"]
    for name, header in (("invocation_id", INVOCATION_ID_HEADER), ("session_id", SESSION_ID_HEADER)):
        if body[name] != headers[header]:
            return f"the handler saw {name} {body[name]}, the header {header} says {headers[header]}"
    return None


@check("context.client-headers-only")
def _client_headers_only(seen: Observation) -> str | None:
    names = set(json_body(seen.last)["client_headers"])
    return (
        None
        if names == {"x-client-one"}
        else f"client_headers has {sorted(names)}, expected only x-client-one"
    )


@check("errors.no-exception-text", "errors.no-argument-text", "errors.no-get-text")
def _no_exception_text(seen: Observation) -> str | None:
    answer = seen.last
    everything = answer.get("body", "") + json.dumps(answer["headers"])
    told = [
        word for word in ("secret", "detail", "Traceback", "RuntimeError", "ValueError") if word in everything
    ]
    return f"the answer tells {', '.join(told)}: {answer.get('body', '')[:200]!r}" if told else None


@check("errors.large-body")
def _large_body(seen: Observation) -> str | None:
    digest = hashlib.sha256(b"x" * 5_000_000).hexdigest()
    return (
        None
        if seen.last.get("body_sha256") == digest
        else "the body that came back is not the one that was sent"
    )
