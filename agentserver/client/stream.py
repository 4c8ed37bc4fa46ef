"""An answer while it arrives: bytes, text, or server-sent events."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncIterator, Mapping
from types import TracebackType

import aiohttp
from typing_extensions import Self

from agentserver.client.aiohttp_internals import next_chunk
from agentserver.client.answer import Answer
from agentserver.client.errors import DeadlineError, LostConnectionError
from agentserver.client.response import ids_of, media_type_of
from agentserver.client.sse import MAX_EVENT_SIZE, EventParser, StreamEvent
from agentserver.wire import REQUEST_ID_HEADER

__all__ = ["Stream"]


class Stream:
    """The answer of an invocation while it arrives. Iterate over it once, in one of three ways.

    ``async for chunk in stream`` gives bytes as they come, ``stream.text()`` gives strings that are never
    cut inside a character, ``stream.events()`` gives server-sent events.
    Made by :meth:`InvocationsClient.stream`.

    Raises:
        LostConnectionError: If the connection breaks before the end, after all that came before it.
        DeadlineError: If nothing comes for as long as the idle time-out says, while somebody waits for it.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        invocation_id: str,
        session_id: str | None,
        idle_timeout: float,
    ) -> None:
        self._response = response
        self._idle_timeout = idle_timeout
        self._is_late = False
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.invocation_id, self.session_id = ids_of(response.headers, invocation_id, session_id)
        self.request_id = response.headers.get(REQUEST_ID_HEADER)

    @property
    def content_type(self) -> str:
        """The media type, without its parameters, in lower case."""
        return media_type_of(self.headers)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while chunk := await self._next():
            yield chunk

    async def _next(self) -> bytes:
        timer = asyncio.get_running_loop().call_later(self._idle_timeout, self._give_up)
        try:
            return await next_chunk(self._response.content)
        except (aiohttp.ClientError, OSError) as error:
            if self._is_late:
                raise DeadlineError("nothing more came within the idle time-out", **self._ids) from None
            raise LostConnectionError(
                "the stream was cut before its end: what came so far is not the whole answer", **self._ids
            ) from error
        finally:
            timer.cancel()

    def _give_up(self) -> None:
        self._is_late = True
        self.close()

    async def answer(self) -> Answer:
        """Wait for the end and return the whole answer."""
        body = b"".join([chunk async for chunk in self])
        return Answer(self.status, body, self.headers, self.invocation_id, self.session_id, self.request_id)

    async def text(self) -> AsyncIterator[str]:
        """The answer as UTF-8 text, piece by piece as it comes."""
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        async for chunk in self:
            if piece := decoder.decode(chunk):
                yield piece
        if rest := decoder.decode(b"", final=True):
            yield rest

    async def events(self, *, max_event_size: int = MAX_EVENT_SIZE) -> AsyncIterator[StreamEvent]:
        """The answer as server-sent events, comments and keep-alives left out.

        Args:
            max_event_size: The most characters of one event, 0 for no limit.

        Raises:
            AnswerError: If an event is larger.
        """
        parser = EventParser(limit=max_event_size)
        async for chunk in self:
            for event in parser.feed(chunk):
                yield event

    def close(self) -> None:
        """Let go of the answer. Before its end this cuts the connection, which cancels the handler."""
        self._response.close()

    @property
    def _ids(self) -> dict[str, str | None]:
        return {"invocation_id": self.invocation_id, "session_id": self.session_id}
