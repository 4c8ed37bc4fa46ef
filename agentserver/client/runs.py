"""The calls of a client for durable runs (contract, section 11): begin one surely, read it to its end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Final

from agentserver.client.answer import Answer
from agentserver.client.endpoint import check_id
from agentserver.client.errors import (
    DeadlineError,
    LostConnectionError,
    ResponseError,
    UnreachableError,
)
from agentserver.client.http_session import HttpSession
from agentserver.client.request import Body, Call, encode_body
from agentserver.client.retry import Retry
from agentserver.client.sse import StreamEvent
from agentserver.client.stream import Stream
from agentserver.wire import IDEMPOTENCY_HEADERS, INVOCATION_ID_HEADER, LAST_EVENT_ID_QUERY

__all__ = ["DurableCalls"]

_RECONNECT: Final = Retry(attempts=60, first_delay=0.2, max_delay=5.0)


class DurableCalls:
    """The calls of a client that are for durable runs; part of `InvocationsClient`."""

    session_id: str | None
    _http: HttpSession

    async def start(
        self,
        body: Body = None,
        *,
        key: str | None = None,
        invocation_id: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Begin a durable run, or join the one of that key; repeated until it is certain, it begins once.

        Args:
            body: As for ``invoke``.
            key: The idempotency key: the same key and body are the same run, as long as it is kept. None
                makes one for this call.
            invocation_id: The id of a new run; None lets the client choose.
            headers: Further headers.
            timeout: Seconds until it must have begun; None is the client's ``timeouts.answer``.

        Returns:
            What the server says: 202 and where it stands, or 200 and its snapshot if it has ended.

        Raises:
            ResponseError: 409 if the key belongs to another body, or the session is busy; 429 if too many
                wait.
            ClientError: If it cannot be known whether it began; ask again with the same key.
            ValueError: If the body, the key, the id or a header cannot be sent.
        """
        chosen = str(uuid.uuid4()) if invocation_id is None else check_id("invocation_id", invocation_id)
        data, media_type = encode_body(body)
        outgoing = {
            INVOCATION_ID_HEADER: chosen,
            IDEMPOTENCY_HEADERS[0]: str(uuid.uuid4()) if key is None else check_id("key", key),
            **({"Content-Type": media_type} if media_type else {}),
            **(headers or {}),
        }
        url = self._http.endpoint.invoke(self.session_id)
        call = Call("POST", url, chosen, self.session_id, outgoing, data, timeout)
        return await self._http.answer(replace(call, is_idempotent=True))

    async def events(
        self, invocation_id: str, *, after: int = 0, reconnect: Retry | None = None
    ) -> AsyncIterator[StreamEvent]:
        """The events of a durable run, to its last one; a lost connection is taken up where it was.

        .. code-block:: python

            answer = await client.start({"topic": "bees"})
            async for event in client.events(answer.invocation_id):
                print(event.id, event.event, event.data)

        Args:
            invocation_id: The run.
            after: The id of the last event that is known already; 0 begins with the first.
            reconnect: How often in a row, and after how long, a connection is tried again; by default for
                some minutes, in which a new process has begun.

        Raises:
            ResponseError: 404 if there is no such run, 410 if its events are no longer kept.
            ClientError: If no connection comes about any more.
        """
        retry = reconnect or _RECONNECT
        failures = 0
        while True:
            try:
                async for event in self._events_once(invocation_id, after):
                    if event.event in {"done", "superseded"} and event.id in {"", str(after)}:
                        return
                    if event.event != "reconnect":
                        after, failures = int(event.id), 0
                        yield event
                failures += 1  # the server has ended the stream: it is about to end itself
            except (UnreachableError, LostConnectionError, DeadlineError, ResponseError) as error:
                failures += 1
                if failures >= retry.attempts or (isinstance(error, ResponseError) and not error.temporary):
                    raise
            await asyncio.sleep(retry.delay(max(failures, 1)))

    async def _events_once(self, invocation_id: str, after: int) -> AsyncIterator[StreamEvent]:
        url = self._http.endpoint.invocation(invocation_id, self.session_id)
        url = url.update_query({LAST_EVENT_ID_QUERY: str(after)})
        call = Call("GET", url, invocation_id, self.session_id, {"Accept": "text/event-stream"})
        response = await self._http.stream(call)
        idle = self._http.timeouts.idle
        async with Stream(response, invocation_id, self.session_id, idle) as stream:
            async for event in stream.events():
                yield event
