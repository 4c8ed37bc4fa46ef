"""Idempotent POSTs without durability: the repetition of a request is given the first one's answer.

The first of them runs the handler, in a task that its client's leaving does not cancel: whoever lost the
connection asks again, and must find what it began. What is kept is an answer, in memory, within bounds; a
failure is told to those who wait for it and forgotten, so that the next request tries again.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from aiohttp import hdrs, web
from multidict import CIMultiDict

from agentserver._hosting.protocol import HostContext
from agentserver._http.aiohttp_internals import is_buffered
from agentserver._http.exchange import Exchange
from agentserver.errors import BadRequestError, HandlerError, InvocationError
from agentserver.invocations._endpoints import Endpoints
from agentserver.invocations._handler_definition import HandlerDefinition
from agentserver.invocations._handler_factory import HandlerFactory
from agentserver.invocations._owner import owner_of
from agentserver.invocations.context import InvocationContext
from agentserver.wire import (
    IDEMPOTENCY_HEADERS,
    IDEMPOTENCY_REPLAYED_HEADER,
    INVOCATION_ID_HEADER,
    is_valid_id,
)

logger = logging.getLogger("agentserver")

MOST_ANSWERS: Final = 1000
MOST_BYTES: Final = 16 * 1024 * 1024


class Name(NamedTuple):
    """What a request is known by: of whom, and its key or its invocation id."""

    owner: str
    header: str
    value: str


class Answer(NamedTuple):
    """An answer, as it can be given again."""

    status: int
    reason: str | None
    headers: CIMultiDict[str]
    body: bytes

    @classmethod
    def of(cls, response: web.Response) -> Answer:
        """What *response*, of which nothing was sent, says."""
        headers = CIMultiDict(response.headers)
        for cookie in response.cookies.values():
            headers.add(hdrs.SET_COOKIE, cookie.OutputString())
        body = response.body if isinstance(response.body, (bytes, bytearray)) else b""
        return cls(response.status, response.reason, headers, bytes(body))

    def response(self) -> web.Response:
        """The answer once more."""
        headers = CIMultiDict(self.headers)
        headers[IDEMPOTENCY_REPLAYED_HEADER] = "true"
        return web.Response(status=self.status, reason=self.reason, headers=headers, body=self.body)


class Asked:
    """A request that was first of its names, and its answer once there is one.

    Args:
        names: What it is known by.
        digest: Of its body.
        context: Its ids.
    """

    def __init__(self, names: Sequence[Name], digest: bytes, context: InvocationContext) -> None:
        self.names = names
        self.digest = digest
        self.context = context
        self.size = 0
        self.expires = 0.0
        self.waiting = 0
        self.original: web.StreamResponse | None = None
        self.answer: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()

    async def answered(self) -> Answer | None:
        """Wait for the answer; ``None`` if it is one that cannot be given twice."""
        self.waiting += 1
        try:
            return await asyncio.shield(self.answer)
        finally:
            self.waiting -= 1


class Answers:
    """The requests that are remembered: those under way, and the last that were answered.

    Args:
        keep: Seconds an answer is kept.
        most: How many are, at most.
        most_bytes: How many bytes their bodies have, at most.
    """

    def __init__(self, keep: float, most: int = MOST_ANSWERS, most_bytes: int = MOST_BYTES) -> None:
        self._keep = keep
        self._most = most
        self._most_bytes = most_bytes
        self._by_name: dict[Name, Asked] = {}
        self._answered: OrderedDict[int, Asked] = OrderedDict()  # the oldest first
        self._bytes = 0

    def find(self, names: Sequence[Name], now: float) -> Asked | None:
        """The request that has one of *names*."""
        while self._answered and next(iter(self._answered.values())).expires <= now:
            self._forget_oldest()
        return next((self._by_name[name] for name in names if name in self._by_name), None)

    def add(self, asked: Asked) -> None:
        """Remember a request that begins."""
        self._by_name.update(dict.fromkeys(asked.names, asked))

    def keep(self, asked: Asked, answer: Answer, now: float) -> None:
        """Remember the answer of a request, as far as there is room."""
        asked.size = len(answer.body)
        if asked.size > self._most_bytes:
            self.forget(asked)
            return
        asked.expires = now + self._keep
        self._answered[id(asked)] = asked
        self._bytes += asked.size
        while len(self._answered) > self._most or self._bytes > self._most_bytes:
            self._forget_oldest()

    def forget(self, asked: Asked) -> None:
        """Forget a request."""
        for name in asked.names:
            if self._by_name.get(name) is asked:
                del self._by_name[name]

    def _forget_oldest(self) -> None:
        _, oldest = self._answered.popitem(last=False)
        self._bytes -= oldest.size
        self.forget(oldest)


class IdempotentEndpoints(Endpoints):
    """Calls the handler once for all requests of one key, or of one invocation id that the caller chose.

    Args:
        definition: What the handler offers.
        factory: Makes the handler object of a request.
        host: The host that is served.
        keep: How long an answer is kept.

    Raises:
        HandlerError: If the handler streams its answers.
    """

    def __init__(
        self, definition: HandlerDefinition, factory: HandlerFactory, host: HostContext, keep: timedelta
    ) -> None:
        if "handle" in definition.streaming:
            raise HandlerError(
                f"{definition.type.__name__} is idempotent and streams: a stream cannot be given twice;"
                " return the answer, or write durable=True, whose events can be read again"
            )
        super().__init__(definition, factory, host)
        self._answers = Answers(keep.total_seconds())

    async def invoke(self, request: web.Request, exchange: Exchange) -> web.StreamResponse:
        """Answer ``POST /invocations``."""
        context = self._new_invocation(request, exchange)
        names = _names_of(request, context)
        if not names:
            return await self._handle(request, context)
        digest = hashlib.sha256(await request.read()).digest()
        loop = asyncio.get_running_loop()
        asked = self._answers.find(names, loop.time())
        if asked is not None:
            return await self._join(asked, digest, request, exchange)
        asked = Asked(names, digest, context)
        self._answers.add(asked)
        _ = self._lifetime.spawn(self._answer(asked, request), "an idempotent invocation")
        await asked.answered()
        assert asked.original is not None
        return asked.original

    async def _join(
        self, asked: Asked, digest: bytes, request: web.Request, exchange: Exchange
    ) -> web.StreamResponse:
        if asked.digest != digest:
            raise _conflict("This id or key belongs to another body")
        first = asked.context
        self._context(request, exchange, first.invocation_id, first.session_id, request.query)
        answer = await asked.answered()
        if answer is None:
            raise _conflict("The first answer is a stream, which cannot be given twice")
        return answer.response()

    async def _answer(self, asked: Asked, request: web.Request) -> None:
        """Call the handler, and tell whoever waits."""
        now = asyncio.get_running_loop().time
        try:
            response = await self._handle(request, asked.context)
        except asyncio.CancelledError:
            self._answers.forget(asked)
            asked.answer.cancel()
            raise
        # The boundary of user code: what it raises, an exit too, is for those who wait.
        except BaseException as error:
            self._answers.forget(asked)
            if asked.waiting:
                asked.answer.set_exception(error)
            else:
                logger.exception("an idempotent invocation failed, and nobody waits for it")
            if isinstance(error, KeyboardInterrupt):
                raise
            return
        asked.original = response
        if isinstance(response, web.Response) and is_buffered(response):
            answer = Answer.of(response)
            self._answers.keep(asked, answer, now())
            asked.answer.set_result(answer)
        else:
            self._answers.forget(asked)
            asked.answer.set_result(None)

    async def _handle(self, request: web.Request, context: InvocationContext) -> web.StreamResponse:
        if self._limiter is None:
            return await self._call(request, context, "handle", (request, context))
        async with self._limiter.slot(context.session_id):
            return await self._call(request, context, "handle", (request, context))


def _names_of(request: web.Request, context: InvocationContext) -> list[Name]:
    """What the caller has named the request by; nothing if it did not."""
    owner = owner_of(context)
    key = next((request.headers[name] for name in IDEMPOTENCY_HEADERS if name in request.headers), None)
    if key is not None and not is_valid_id(key):
        raise BadRequestError("The idempotency key must be 1 to 256 letters, digits or any of . _ : -")
    names = [] if key is None else [Name(owner, IDEMPOTENCY_HEADERS[0], key)]
    if request.headers.get(INVOCATION_ID_HEADER) == context.invocation_id:
        names.append(Name(owner, INVOCATION_ID_HEADER, context.invocation_id))
    return names


def _conflict(message: str) -> InvocationError:
    return InvocationError("idempotency_conflict", message, status=409)
