"""The calls of a client for durable runs (contract, section 11): begin one surely, read it to its end."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final

from agentserver.client.answer import Answer
from agentserver.client.endpoint import check_id
from agentserver.client.errors import (
    AnswerError,
    DeadlineError,
    LostConnectionError,
    ResponseError,
    UnreachableError,
)
from agentserver.client.http_session import HttpSession
from agentserver.client.request import Body, Call, encode_body
from agentserver.client.retry import Retry
from agentserver.client.run_state import RunState
from agentserver.client.sse import StreamEvent
from agentserver.client.stream import Stream
from agentserver.wire import (
    IDEMPOTENCY_HEADERS,
    INVOCATION_ID_HEADER,
    LAST_EVENT_ID_HEADER,
    LAST_EVENT_ID_QUERY,
)

__all__ = ["DurableCalls"]

_NOT_DURABLE: Final = "the answer is no stream of a durable run's events: is the handler durable?"
_PURGED: Final = "The events of this run are no longer kept"
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
            What the server says: 202 and where it stands, or 200 and its snapshot if it has ended; its
            ``run()`` reads either.

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
    ) -> AsyncGenerator[StreamEvent, None]:
        """The events of a durable run, to its last one; a lost connection is taken up where it was.

        .. code-block:: python

            answer = await client.start({"topic": "bees"})
            async for event in client.events(answer.invocation_id):
                print(event.id, event.event, event.data)

        Who leaves early closes the connection with ``aclosing``, and changes nothing for the run.

        Args:
            invocation_id: The run.
            after: The id of the last event that is known already; 0 begins with the first.
            reconnect: How often in a row, and after how long, a connection is tried again; by default for
                some minutes, in which a new process has begun.

        Raises:
            ResponseError: 404 if there is no such run, 410 if its events are no longer kept.
            AnswerError: If the agent's answer is no stream of a durable run's events.
            ClientError: If no connection comes about any more.
        """
        retry = reconnect or _RECONNECT
        failures = 0
        while True:
            asked: float | None = None
            try:
                async with aclosing(self._events_once(invocation_id, after)) as events:
                    async for event in events:
                        after, failures = int(event.id), 0
                        yield event
            except (UnreachableError, LostConnectionError, DeadlineError, ResponseError) as error:
                failures += 1
                asked = error.retry_after if isinstance(error, ResponseError) else None
                is_final = isinstance(error, ResponseError) and not error.temporary
                if is_final or failures >= retry.attempts or (asked or 0) > retry.max_delay:
                    raise
            else:
                return
            await asyncio.sleep(retry.delay(failures, asked))

    async def _events_once(self, invocation_id: str, after: int) -> AsyncGenerator[StreamEvent, None]:
        """The events that one connection brings; raises if they end before the run's last one."""
        url = self._http.endpoint.invocation(invocation_id, self.session_id)
        url = url.update_query({LAST_EVENT_ID_QUERY: str(after)})
        headers = {"Accept": "text/event-stream", LAST_EVENT_ID_HEADER: str(after)}
        call = Call("GET", url, invocation_id, self.session_id, headers)
        response = await self._http.stream(call)
        idle = self._http.timeouts.idle
        async with Stream(response, invocation_id, self.session_id, idle) as stream:
            if stream.content_type != "text/event-stream":
                raise AnswerError(_NOT_DURABLE, **call.ids)
            async for event in stream.events():
                if event.id not in {"", str(after)}:
                    if not event.id.isdecimal():
                        raise AnswerError(_NOT_DURABLE, **call.ids)
                    after = int(event.id)
                    yield event
                elif event.event == "done":
                    return
                elif event.event == "superseded":
                    raise ResponseError(410, "gone", _PURGED, invocation_id=invocation_id)
                elif event.event != "reconnect":
                    raise AnswerError(_NOT_DURABLE, **call.ids)
        raise LostConnectionError("the stream ended before the run did", **call.ids)

    async def signal(
        self, invocation_id: str, name: str, payload: Any = None, *, timeout: float | None = None
    ) -> Answer:
        """Give a durable run what it waits for with ``run.wait_for(name)``; kept until it does.

        A signal whose answer was lost is not sent again, for the run would get it twice.

        Args:
            invocation_id: The run.
            name: The name of the signal, shaped as an id.
            payload: What comes with it, as JSON.
            timeout: As for ``invoke``.

        Raises:
            ResponseError: 404 if there is no such run, 409 ``run_ended`` if it has ended.
            ClientError: If the call fails as ``invoke`` can.
            ValueError: If the id, the name or the payload cannot be sent.
        """
        url = self._http.endpoint.signal(invocation_id, self.session_id)
        data, media_type = encode_body({"name": check_id("name", name), "payload": payload})
        headers = {"Content-Type": media_type}
        return await self._http.answer(
            Call("POST", url, invocation_id, self.session_id, headers, data, timeout)
        )

    async def list(
        self, *, status: str | None = None, page: int = 50, timeout: float | None = None
    ) -> AsyncGenerator[RunState, None]:
        """The caller's own durable runs, newest first; of a client with a session, those of the session.

        Args:
            status: Only those that stand so: ``queued``, ``in_progress``, ``completed``, ``failed`` or
                ``cancelled``.
            page: How many are asked for at once, 1 to 500.
            timeout: Seconds that one page may take; None is the client's ``timeouts.answer``.

        Raises:
            ResponseError: If the agent answers with an error; 404 or 405 if it has no durable runs.
            AnswerError: If the answer is no list of runs.
            ClientError: If a question fails as ``get`` can.
        """
        query = {"limit": str(page), **({} if status is None else {"status": status})}
        while True:
            url = self._http.endpoint.invoke(self.session_id).update_query(query)
            answer = await self._http.answer(Call("GET", url, session_id=self.session_id, timeout=timeout))
            runs, before = RunState.read_list(answer.json())
            for run in runs:
                yield run
            if before is None:
                return
            query["before"] = before
