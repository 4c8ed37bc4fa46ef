"""One pipeline of Pipecat for each connection, and one conversation for each session."""

from __future__ import annotations

import asyncio
import gc
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final
from weakref import WeakValueDictionary

import msgspec
from aiohttp import web
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker, ProcessorUnusablePolicy
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from agentserver.integrations.pipecat.transport import WebSocketTransport
from agentserver.integrations.sessions import MemorySessionStore, SessionStore, session_key
from agentserver.integrations.voice import SAMPLE_RATE, TAKEN_OVER, Ready
from agentserver.invocations.context import InvocationContext
from agentserver.invocations.handler import InvocationWebSocketHandler

__all__ = ["PipecatHandler", "VoiceCall"]

_ENCODE: Final = msgspec.json.Encoder().encode


@dataclass(eq=False)
class VoiceCall:
    """One connection of a conversation; made by the handler.

    Args:
        transport: Where its sound and messages come from and go to.
        context: The conversation so far, which Pipecat's aggregators and language models write on.
        invocation: Ids and headers of the connection.
        resumed: Whether the conversation began on an earlier connection.
    """

    transport: WebSocketTransport
    context: LLMContext
    invocation: InvocationContext
    resumed: bool


@dataclass(eq=False)
class _Line:
    """A session's connection: one at a time."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    websocket: web.WebSocketResponse | None = None


# Of each session that is connected. Whoever talks on a line, or waits for it, keeps it alive.
_LINES: Final[WeakValueDictionary[tuple[type, str], _Line]] = WeakValueDictionary()


class PipecatHandler(InvocationWebSocketHandler):
    """Serves a voice agent of Pipecat over ``invocations_ws``.

    Write `processors`. A conversation is kept under its session's id whenever somebody begins or ends to
    speak, and when the connection ends, so that a client that connects again goes on with it. A session has
    one connection: a newer one takes it over, and the older is closed with ``TAKEN_OVER``.

    Attributes:
        sessions: Where conversations are kept; by default in this process, see `MemorySessionStore`.
        transport_params: Further parameters of the transport, such as filters, or
            ``audio_out_10ms_chunks``: how long a frame of sound is.
        sound: Whether sound goes over the WebSocket. If not, another transport of Pipecat carries it, and the
            WebSocket the messages: see `WebSocketTransport`.
    """

    sessions: SessionStore = MemorySessionStore()
    transport_params: TransportParams = TransportParams()
    sound: bool = True

    @abstractmethod
    def processors(self, call: VoiceCall) -> Sequence[FrameProcessor]:
        """The pipeline of *call*, from ``call.transport.input()`` to ``call.transport.output()``."""

    async def handle_websocket(self, websocket: web.WebSocketResponse, context: InvocationContext) -> None:
        """Serve one connection, *websocket*, of the session of *context*."""
        _settle()
        key = f"{type(self).__name__}/{session_key(context)}"
        async with _line(type(self), key, websocket):
            kept = await self.sessions.load(key)
            messages: list[Any] = [] if kept is None else msgspec.json.decode(kept)
            call = VoiceCall(
                WebSocketTransport(websocket, self.transport_params, sound=self.sound),
                LLMContext(messages),
                context,
                resumed=kept is not None,
            )
            try:
                await self._talk(call, _Keeper(self.sessions, key, call.context))
            finally:
                await call.transport.cleanup()

    async def _talk(self, call: VoiceCall, keeper: _Keeper) -> None:
        processors = [*self.processors(call)]
        worker = PipelineWorker(
            Pipeline(processors),
            params=PipelineParams(audio_in_sample_rate=SAMPLE_RATE, audio_out_sample_rate=SAMPLE_RATE),
            idle_timeout_secs=None,  # whoever is silent is still there: pings say so
            enable_rtvi=False,
            enable_turn_tracking=False,
            processor_unusable_policy=ProcessorUnusablePolicy.CANCEL,
        )

        async def connected(_: WebSocketTransport) -> None:
            await call.transport.send(Ready(call.invocation.session_id, call.resumed))

        async def disconnected(_: WebSocketTransport) -> None:
            await worker.cancel(reason="the client has gone")

        async def changed(_: WebSocketTransport) -> None:
            await keeper.keep()

        call.transport.add_event_handler("on_client_connected", connected)
        call.transport.add_event_handler("on_client_disconnected", disconnected)
        call.transport.add_event_handler("on_turn_change", changed)
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())
        try:
            await asyncio.shield(running)
        finally:
            # The runner takes a cancellation for an end and says nothing of it, so it is not the one
            # that is cancelled; but the pipeline must have ended when this has.
            if not running.done():
                await runner.cancel("the handler was cancelled")
                await asyncio.wait({running})
            await keeper.keep()
        if broken := [processor for processor in processors if not processor.is_usable]:
            raise RuntimeError(f"{broken[0]} cannot work any more: Pipecat's log says why")


@cache
def _settle() -> None:
    """Keep what the process has by now out of every later garbage collection, once.

    Pipecat and what it brings are a hundred thousand objects. To go through them takes some hundredths of a
    second, in which nobody is heard.
    """
    gc.freeze()


class _Keeper:
    """Keeps a conversation as far as it has come, one save after the other."""

    def __init__(self, sessions: SessionStore, key: str, context: LLMContext) -> None:
        self._sessions = sessions
        self._key = key
        self._context = context
        self._saved = self._state()
        self._lock = asyncio.Lock()

    async def keep(self) -> None:
        async with self._lock:
            state = self._state()
            if state != self._saved:
                await self._sessions.save(self._key, state)
                self._saved = state

    def _state(self) -> bytes:
        # Messages of one service alone are objects that only it can read: it has to do without.
        return _ENCODE([message for message in self._context.messages if isinstance(message, dict)])


@asynccontextmanager
async def _line(
    kind: type[PipecatHandler], key: str, websocket: web.WebSocketResponse
) -> AsyncGenerator[None, None]:
    """The session's line for *websocket* alone: who was on it before is told, and has ended."""
    line = _LINES.get((kind, key))
    if line is None:
        _LINES[kind, key] = line = _Line()
    before, line.websocket = line.websocket, websocket
    if before is not None:
        await before.close(code=TAKEN_OVER, message=b"the session goes on over another connection")
    async with line.lock:
        try:
            yield
        finally:
            if line.websocket is websocket:
                line.websocket = None
