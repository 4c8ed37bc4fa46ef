"""What a server answered: a whole answer, a stream, or an error."""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any

import aiohttp
from typing_extensions import Self

from agentserver.client.errors import (
    AnswerError,
    DeadlineError,
    LostConnectionError,
    RefusedError,
    ResponseError,
)
from agentserver.client.events import MAX_EVENT_SIZE, EventParser, StreamEvent
from agentserver.wire import (
    ERROR_DETAIL_HEADER,
    ERROR_SOURCE_HEADER,
    INVOCATION_ID_HEADER,
    REQUEST_ID_HEADER,
    SESSION_ID_HEADER,
)

__all__ = ["Answer", "Stream", "error_from", "ids_of", "retry_after"]

_CHARSET = re.compile(r"""; *charset *= *["']?([^\s"';]{1,40})""", re.IGNORECASE)
_NO_CHARSETS = frozenset({"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"})
"""Codecs by which Python makes text of bytes too, but that are no charset, and refuse or warn about bytes."""

_RUNNING = frozenset({"accepted", "in_progress", "pending", "queued", "running", "started", "working"})
_ERROR_BODY_LIMIT = 65_536


@dataclass(frozen=True)
class Answer:
    """A whole answer to an invocation, a ``get`` or a ``cancel``.

    Args:
        status: The HTTP status, 200 to 299.
        body: The bytes of the body.
        headers: The response headers; look-up ignores case.
        invocation_id: The invocation's id, the server's word before the caller's.
        session_id: The session's id, to be given to the next call of the same conversation.
        request_id: The ``x-request-id`` to look for in the server's log and traces.
    """

    status: int
    body: bytes
    headers: Mapping[str, str]
    invocation_id: str
    session_id: str | None
    request_id: str | None

    @property
    def content_type(self) -> str:
        """The media type, without its parameters, in lower case."""
        return _media_type(self.headers)

    @property
    def text(self) -> str:
        """The body as text, in the charset the server named, else UTF-8; what cannot be read is replaced."""
        return self.body.decode(_charset(self.headers), errors="replace")

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asked to wait before the next ``get``; None when it did not ask."""
        return retry_after(self.headers)

    @property
    def running(self) -> bool:
        """Whether the invocation goes on: status 202, or a JSON member ``status`` such as ``running``."""
        if self.status == 202:
            return True
        try:
            state: Any = json.loads(self.body)["status"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        return isinstance(state, str) and state.lower() in _RUNNING

    def json(self) -> Any:
        """The body, read as JSON.

        Raises:
            AnswerError: If it is not JSON.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            raise AnswerError(
                f"the answer is {self.content_type}, which cannot be read as JSON: use .text or .body",
                invocation_id=self.invocation_id,
                session_id=self.session_id,
            ) from None


class Stream:
    """The answer of an invocation while it arrives. Iterate over it once, in one of three ways.

    ``async for chunk in stream`` gives bytes as they come, ``stream.text()`` gives strings that are never
    cut inside a character, ``stream.events()`` gives server-sent events.

    Raises:
        LostConnectionError: If the connection breaks before the end.
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
        return _media_type(self.headers)

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
            return await self._response.content.readany()
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


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("Content-Type", "application/octet-stream").partition(";")[0].strip().lower()


def _charset(headers: Mapping[str, str]) -> str:
    """The charset that the server named, if Python knows it, else UTF-8."""
    match = _CHARSET.search(headers.get("Content-Type", ""))
    try:
        name = codecs.lookup(match[1] if match else "utf-8").name.replace("-", "_")
        if name not in _NO_CHARSETS:
            b"-".decode(name, errors="replace")  # a codec between bytes, such as base64, is refused here
            return name
    except (LookupError, ValueError):
        pass
    return "utf-8"


def ids_of(headers: Mapping[str, str], invocation_id: str, session_id: str | None) -> tuple[str, str | None]:
    """The ids of an answer: the server's word before the caller's."""
    return headers.get(INVOCATION_ID_HEADER, invocation_id), headers.get(SESSION_ID_HEADER, session_id)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read ``Retry-After``, seconds or a date (RFC 9110, section 10.2.3), as seconds of 0 or more."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError, IndexError):  # OverflowError, IndexError: no date either
        return None


async def error_from(
    response: aiohttp.ClientResponse, invocation_id: str | None, session_id: str | None
) -> ResponseError:
    """Read the error that *response* is, whoever wrote it: the framework, the handler, or a proxy."""
    body = await _beginning(response.content)
    code, message = _envelope(body) or (f"http_{response.status}", _plain_words(response))
    kind = RefusedError if response.status in {401, 403} else ResponseError
    return kind(
        response.status,
        code,
        message,
        source=response.headers.get(ERROR_SOURCE_HEADER),
        detail=response.headers.get(ERROR_DETAIL_HEADER),
        invocation_id=response.headers.get(INVOCATION_ID_HEADER, invocation_id or "") or None,
        session_id=response.headers.get(SESSION_ID_HEADER, session_id or "") or None,
        request_id=response.headers.get(REQUEST_ID_HEADER),
        retry_after=retry_after(response.headers),
        headers=response.headers,
    )


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    body = b""
    while len(body) < _ERROR_BODY_LIMIT and (more := await content.read(_ERROR_BODY_LIMIT - len(body))):
        body += more
    return body


def _envelope(body: bytes) -> tuple[str, str] | None:
    try:
        error = json.loads(body)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def _plain_words(response: aiohttp.ClientResponse) -> str:
    if target := response.headers.get("Location"):
        return f"the server redirects to {target}: use that address"
    return response.reason or "no further words"
