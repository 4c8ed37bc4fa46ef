"""What a caller may ask of durable runs, over whatever transport: begin, find, read on, cancel, signal, list.

The owner is who the platform says the user is; a run of another's is one that there is not.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from typing import Any, Final, TypeVar

from agentserver._telemetry.run_telemetry import with_current_span
from agentserver.durable._engine import Filter, StoreUnavailableError
from agentserver.durable._records import Created, Event, NewRun, RunRecord, Status
from agentserver.durable._values import ValueRefusedError, encode
from agentserver.errors import BadRequestError, InvocationError, NotFoundError
from agentserver.invocations._durable_service import DurableService, kept_headers
from agentserver.invocations._durable_types import RunTypes
from agentserver.invocations._owner import owner_of
from agentserver.invocations.context import InvocationContext
from agentserver.wire import ErrorCode, is_valid_id

T = TypeVar("T")

RETRY_AFTER: Final = {"Retry-After": "1"}
_MOST_LISTED: Final = 500


class DurableCalls:
    """The runs of a handler, for those who ask.

    Args:
        service: The handler's runs.
    """

    def __init__(self, service: DurableService) -> None:
        self._service = service
        self._runs = service.runs

    @property
    def types(self) -> RunTypes:
        """What ``run`` takes and gives."""
        return self._service.types

    async def begin(
        self, context: InvocationContext, headers: Mapping[str, str], value: Any, key: str | None = None
    ) -> Created:
        """Store a run and begin it, or join the one there is of its id or key.

        Args:
            context: The ids, and who asks.
            headers: Those of the request, of which some are kept for every attempt.
            value: The input, as JSON has it.
            key: The idempotency key.

        Raises:
            InvocationError: If the input is refused, the id or key belongs to another one, the session is
                busy, or the store cannot be written.
        """
        if key is not None and not is_valid_id(key):
            raise BadRequestError("The idempotency key must be 1 to 256 letters, digits or any of . _ : -")
        try:
            self._service.types.read(value)  # what cannot be read is refused now, not in the run
            digest = hashlib.sha256(_canonical(value)).hexdigest()
        except RecursionError:
            raise BadRequestError("The body is nested too deeply") from None
        new = NewRun(
            invocation_id=context.invocation_id,
            session_id=context.session_id,
            owner=owner_of(context),
            key=key,
            digest=digest,
            handler=self._runs.name,
            input=self._as_json(value, "the body"),
            headers=json.dumps(with_current_span(kept_headers(headers))),
            created=self._runs.clock(),
        )
        created = await stored(self._runs.submit(new))
        asked = created.run.asked
        if not created.is_new and (asked.owner, asked.digest) != (new.owner, new.digest):
            raise InvocationError(
                "idempotency_conflict", "This id or key belongs to another input", status=409
            )
        return created

    async def find(self, context: InvocationContext, invocation_id: str) -> RunRecord:
        """The run of that id, if it is the caller's.

        Raises:
            NotFoundError: If it is not, or there is none.
        """
        run = await stored(self._runs.get(invocation_id))
        if run is None or run.asked.owner != owner_of(context):
            raise NotFoundError("There is no such invocation")
        return run

    async def cancel(self, run: RunRecord) -> RunRecord:
        """Have *run* end; give how it then stands."""
        return await stored(self._runs.cancel(run.asked.invocation_id)) or run

    async def signal(self, run: RunRecord, name: str, payload: Any) -> None:
        """Give *run* the signal *name*.

        Raises:
            InvocationError: If it has ended, or the payload cannot be stored.
        """
        text = self._as_json(payload, "the payload")
        if not await stored(self._runs.signal(run.asked.invocation_id, name, text)):
            raise InvocationError("run_ended", "The run has ended", status=409)

    async def list(self, context: InvocationContext, query: Mapping[str, str]) -> dict[str, Any]:
        """The caller's own runs, newest first, as *query* says.

        Raises:
            BadRequestError: If it says nothing that could be.
        """
        try:
            status = Status(query["status"]) if "status" in query else None
            limit = int(query.get("limit", "50"))
        except ValueError:
            limit, status = 0, None
        if not 1 <= limit <= _MOST_LISTED:
            words = ", ".join(status.value for status in Status)
            raise BadRequestError(f"limit must be from 1 to {_MOST_LISTED}, and status one of {words}")
        which = Filter(owner_of(context), status, query.get("agent_session_id"), query.get("before"), limit)
        runs = await stored(self._runs.list(which))
        told: dict[str, Any] = {"runs": [_summary(run) for run in runs]}
        if len(runs) == limit:
            told["before"] = runs[-1].asked.invocation_id
        return told

    def follow(self, run: RunRecord, after: int) -> AsyncGenerator[Sequence[Event], None]:
        """The events of *run* above the id *after*, as they come; see `Feeds.follow`.

        Raises:
            InvocationError: If they are no longer kept.
        """
        if not run.has_events:
            raise gone()
        return self._runs.follow(run.asked.invocation_id, after)

    def _as_json(self, value: Any, what: str) -> str:
        try:
            return encode(value, what, self._runs.durable.max_value_size)
        except ValueRefusedError:
            raise InvocationError("payload_too_large", f"The run cannot store {what}", status=413) from None


def begun(created: Created) -> dict[str, Any]:
    """What a caller is told of a run that begins, or that has ended already."""
    run = created.run
    if run.status.is_terminal:
        return run.snapshot()
    place = {"position": created.position} if created.is_new and run.status is Status.QUEUED else {}
    return {**standing(run), **place}


def standing(run: RunRecord) -> dict[str, Any]:
    """What a caller is told of a run, in short."""
    return {
        "status": run.state,
        "invocation_id": run.asked.invocation_id,
        "session_id": run.asked.session_id,
    }


def gone() -> InvocationError:
    """The events of a run were purged."""
    return InvocationError("gone", "The events of this run are no longer kept", status=410)


async def stored(asking: Awaitable[T]) -> T:
    """What *asking* the store gives.

    Raises:
        InvocationError: 503, if it cannot be used now.
    """
    try:
        return await asking
    except StoreUnavailableError:
        raise InvocationError(
            ErrorCode.UNAVAILABLE, "Runs cannot be stored now", status=503, headers=RETRY_AFTER
        ) from None


def _canonical(value: Any) -> bytes:
    """The same for the same JSON, whatever its spaces and the order of its members."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _summary(run: RunRecord) -> dict[str, Any]:
    return {name: value for name, value in run.snapshot().items() if name != "output"}
