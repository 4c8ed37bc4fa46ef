"""What the handlers of all frameworks have in common: one turn of a conversation after the other."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from functools import cache
from typing import Any, ClassVar, Final
from weakref import WeakValueDictionary

import msgspec
from aiohttp import hdrs, web

from agentserver._typed.contract import Contract
from agentserver._typed.engine import codec_for
from agentserver.actions.context import ActionContext
from agentserver.actions.handler import ACTIONS, InvocationActionHandler
from agentserver.errors import HandlerError
from agentserver.integrations._errors import unavailable
from agentserver.integrations._turn import Turn, check_request
from agentserver.integrations.events import (
    OUTCOMES,
    AgentEvent,
    AgentRequest,
    HumanRequest,
    ToolCall,
    TurnOutcome,
)
from agentserver.integrations.sessions import MemorySessionStore, SessionStore, session_key
from agentserver.invocations._handler_interface import HTTP, WEBSOCKET, HandlerInterface
from agentserver.invocations.context import InvocationContext
from agentserver.wire import INVOCATIONS_ROUTE, OPENAPI_ROUTE

__all__ = ["AgentHandler", "Turn"]

_EVENTS: Final = "text/event-stream"
_JSON: Final = "application/json"
_ENCODE: Final = msgspec.json.Encoder().encode
_EXAMPLES: Final = ({"message": "Hello"},)


class _Kept(msgspec.Struct):
    """What a session store is given."""

    state: msgspec.Raw
    waiting: list[HumanRequest] = msgspec.field(default_factory=list[HumanRequest])


_READ_KEPT: Final = msgspec.json.Decoder(_Kept).decode
# Of each session that has a turn under way. Whoever holds or awaits a lock keeps it alive.
_LOCKS: Final[WeakValueDictionary[tuple[type, str], asyncio.Lock]] = WeakValueDictionary()


class AgentHandler(InvocationActionHandler):
    """Serves an agent of some framework, over HTTP and over actions.

    The handlers of the frameworks derive from it. For another framework, write `events` and `answer`.

    A body is an `AgentRequest`. A caller that accepts ``text/event-stream`` gets every `AgentEvent` as it
    happens, any other the last one as JSON; an ``invoke`` of the action protocol streams all of them. A
    session has one turn after the other; a second call waits for the first. A turn that fails, or whose
    client leaves, is as if it had never been: the session is kept when a turn ends.

    Attributes:
        sessions: Where conversations are kept; by default in this process, see `MemorySessionStore`.
        tool_outputs: Whether `ToolResult` shows what a tool gave. Tools may say more than a caller should
            know, so by default it does not.
    """

    sessions: SessionStore = MemorySessionStore()
    tool_outputs: bool = False

    _interface: ClassVar[HandlerInterface] = HTTP | WEBSOCKET | ACTIONS

    @classmethod
    def _check(cls) -> None:
        super()._check()
        shown: Any = cls.tool_outputs
        if not isinstance(shown, bool):
            raise HandlerError(f"{cls.__name__}.tool_outputs is {shown!r}: set it to True or False")

    @abstractmethod
    def events(self, turn: Turn) -> AsyncIterator[AgentEvent]:
        """What happens while *turn* runs; the last event is how it ended.

        An async generator. It is closed, or cancelled where it waits, when the client leaves; the framework's
        run must have ended when it has. Before the last event it sets ``turn.state`` to what must be kept.
        """

    @abstractmethod
    async def answer(self, turn: Turn) -> TurnOutcome:
        """How *turn* ends, run without events; otherwise as `events`."""

    async def handle(self, request: web.Request, context: InvocationContext) -> Any:
        """Answer ``POST /invocations``: *request* in, events or JSON out; *context* is the invocation's."""
        asked: AgentRequest = contract_of(type(self)).read(await request.read())
        if _EVENTS in request.headers.get(hdrs.ACCEPT, "").lower():
            return self._frames(asked, context)
        async with self._turn(asked, context) as turn:
            outcome = await self.answer(turn)
            body = _ENCODE(outcome)  # what cannot be told is not kept either
            await self._keep(turn, outcome)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: _JSON})

    async def invoke(self, payload: Mapping[str, Any], context: ActionContext) -> AsyncGenerator[Any, None]:
        """The events of the turn in *payload*, in the session of *context*: each is a chunk of the stream."""
        asked: AgentRequest = contract_of(type(self)).read(_ENCODE(payload))
        async with aclosing(self._written(asked, context, msgspec.to_builtins)) as chunks:
            async for chunk in chunks:
                yield chunk

    async def get_openapi(self, request: web.Request) -> Any:
        """Answer *request* for the document: the body, the events, the JSON."""
        server = request.rel_url.raw_path.rstrip("/").removesuffix(OPENAPI_ROUTE)
        return _document(type(self), server)

    async def _frames(self, asked: AgentRequest, context: InvocationContext) -> AsyncGenerator[Any, None]:
        yield web.StreamResponse(headers={hdrs.CONTENT_TYPE: _EVENTS, hdrs.CACHE_CONTROL: "no-cache"})
        async with aclosing(self._written(asked, context, frame_of)) as frames:
            async for frame in frames:
                yield frame

    async def _written(
        self, asked: AgentRequest, context: InvocationContext, write: Callable[[AgentEvent], Any]
    ) -> AsyncGenerator[Any, None]:
        """What *write* makes of each event of a turn."""
        async with self._turn(asked, context) as turn:
            items = self.events(turn)
            told = {asked.id for asked in turn.waiting}  # in the turn before, as it came to wait
            try:
                async for event in items:
                    if told and isinstance(event, ToolCall) and event.id in told:
                        continue
                    written = write(event)
                    if isinstance(event, OUTCOMES):
                        await self._keep(
                            turn, event
                        )  # before the client knows, so that its next call finds it
                    yield written
            finally:
                if isinstance(items, AsyncGenerator):
                    await items.aclose()

    @asynccontextmanager
    async def _turn(self, asked: AgentRequest, context: InvocationContext) -> AsyncGenerator[Turn, None]:
        kind, key = type(self), session_key(context)
        lock = _LOCKS.get((kind, key))
        if lock is None:
            _LOCKS[kind, key] = lock = asyncio.Lock()
        async with lock:
            turn = Turn(asked, context, key)
            with unavailable(), turn.ending:
                await self._load(turn)
                check_request(asked, turn.waiting)
                yield turn

    async def _load(self, turn: Turn) -> None:
        """Find what is kept of *turn*'s session."""
        found = await self.sessions.load(f"{type(self).__name__}/{turn.key}")
        if found is not None:
            kept = _READ_KEPT(found)
            turn.state, turn.waiting = bytes(kept.state), kept.waiting

    async def _keep(self, turn: Turn, outcome: TurnOutcome) -> None:
        """Keep what *turn* has made of its session."""
        if turn.state is not None:
            waiting = [] if not isinstance(outcome, OUTCOMES[1]) else outcome.requests
            kept = _ENCODE(_Kept(msgspec.Raw(turn.state), waiting))
            await self.sessions.save(f"{type(self).__name__}/{turn.key}", kept)


_HEADS: Final = {
    event: f"event: {event.__struct_config__.tag}\ndata: ".encode() for event in AgentEvent.__args__
}


def frame_of(event: AgentEvent) -> bytes:
    """*event* as a server-sent event."""
    return b"%b%b\n\n" % (_HEADS[type(event)], _ENCODE(event))


@cache
def contract_of(handler: type[AgentHandler]) -> Contract:
    """What *handler* takes and gives."""
    return Contract(
        handler.__name__,
        codec_for(AgentRequest),
        codec_for(AgentEvent, by_class=True),
        streams=True,
        examples=[*handler.examples, *_EXAMPLES],
    )


@cache
def _document(handler: type[AgentHandler], server: str) -> bytes:
    from agentserver.invocations._typed_documents import openapi_of  # no start pays for documents

    document = openapi_of(handler, contract_of(handler), server)
    answers = document["paths"][INVOCATIONS_ROUTE]["post"]["responses"]["200"]["content"]
    outcomes = [{"$ref": f"#/components/schemas/{kind.__name__}"} for kind in OUTCOMES]
    answers[_JSON] = {"schema": {"anyOf": outcomes}}
    return _ENCODE(document)
