"""A transport of Pipecat over a WebSocket that is open already."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

import msgspec
from aiohttp import WSCloseCode, WSMsgType, web
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    EndWorkerFrame,
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

from agentserver.integrations.voice import (
    CHANNELS,
    MAX_AUDIO_FRAME,
    SAMPLE_RATE,
    SAMPLE_WIDTH,
    AppMessage,
    End,
    Failed,
    FromClient,
    Interrupt,
    Interrupted,
    Said,
    Speaking,
    ToClient,
)

__all__ = ["WebSocketTransport"]

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(FromClient).decode
_BYTES_PER_SECOND: Final = SAMPLE_RATE * SAMPLE_WIDTH * CHANNELS
_AHEAD: Final = 0.1
"""Seconds of sound that a client is given before it needs them: what the network may lose, and what it
must drop when the user interrupts."""
_BURST: Final = 5.0
"""Seconds of sound that a client may be ahead of time: what it recorded while it was not connected."""
_MESSAGES: Final[dict[type[Frame], Speaking]] = {
    UserStartedSpeakingFrame: Speaking("user", active=True),
    UserStoppedSpeakingFrame: Speaking("user", active=False),
    BotStartedSpeakingFrame: Speaking("agent", active=True),
    BotStoppedSpeakingFrame: Speaking("agent", active=False),
}


class WebSocketTransport(BaseTransport):
    """Sound and messages of a Pipecat pipeline, over one WebSocket.

    Put `input` first and `output` last into the pipeline. Frames of Pipecat become messages of
    ``agentserver.integrations.voice``: an interruption drops what has not been sent and tells the client to
    drop what it has not played; ``OutputTransportMessageFrame`` is sent as an `AppMessage`, or as it is if
    its message is one of `ToClient`. An `AppMessage` of the client is an ``InputTransportMessageFrame``.

    Events, as of other transports: ``on_client_connected``, ``on_client_disconnected``; and
    ``on_turn_change``, when either side begins or ends to speak. Each is called with the transport alone.

    Where sound goes another way, *sound* is false: put the other transport's input behind this one's, and its
    output before this one's. Frames of sound end here then, and everything else is told as ever.

    Args:
        websocket: The open connection; it is closed by `close` alone.
        params: Other parameters of Pipecat's transports. Rate and channels are those of the protocol.
        sound: Whether sound goes over the WebSocket.
    """

    def __init__(
        self, websocket: web.WebSocketResponse, params: TransportParams | None = None, *, sound: bool = True
    ) -> None:
        super().__init__()
        given = (params or TransportParams()).model_copy(
            update={
                "audio_in_enabled": sound,
                "audio_in_sample_rate": SAMPLE_RATE,
                "audio_in_channels": CHANNELS,
                "audio_out_enabled": sound,
                "audio_out_sample_rate": SAMPLE_RATE,
                "audio_out_channels": CHANNELS,
                "audio_out_end_silence_secs": 0,
            }
        )
        self._websocket = websocket
        self._sound = sound
        for event in ("on_client_connected", "on_client_disconnected", "on_turn_change"):
            self._register_event_handler(event)
        self._input = _Input(self, given)
        self._output = _Output(self, given)

    def input(self) -> BaseInputTransport:
        """What the client sends; the first of the pipeline."""
        return self._input

    def output(self) -> BaseOutputTransport:
        """What the client is sent; where sound ends."""
        return self._output

    async def send(self, message: ToClient) -> None:
        """Send *message* at once; nothing if the client has gone."""
        with suppress(ConnectionError):  # whoever reads learns of it
            await self._websocket.send_str(_ENCODE(message).decode())

    async def send_audio(self, audio: bytes) -> bool:
        """Send *audio* at once; gives whether the client was there."""
        try:
            await self._websocket.send_bytes(audio)
        except ConnectionError:
            return False
        return True

    async def close(self, code: int, message: str = "") -> None:
        """Close the connection with *code* and *message* of up to 123 bytes; the pipeline ends then."""
        await self._websocket.close(code=code, message=message.encode())

    async def receive(self) -> bytes | FromClient | None:
        """The next thing that was understood; ``None`` at the end of the connection."""
        async for message in self._websocket:
            problem: str
            if message.type is WSMsgType.BINARY:
                audio: bytes = message.data
                if len(audio) > MAX_AUDIO_FRAME:
                    await self._websocket.close(code=WSCloseCode.MESSAGE_TOO_BIG, message=b"over 1 MiB")
                    return None
                if not self._sound:
                    problem = "sound goes another way here: send none over the WebSocket"
                elif len(audio) % SAMPLE_WIDTH:
                    problem = f"{len(audio)} bytes are no whole number of samples: send 2 bytes for each"
                else:
                    return audio
            else:
                try:
                    told: FromClient = _DECODE(message.data)
                except msgspec.MsgspecError as error:
                    problem = f"this is none of the messages interrupt, end, message: {error}"
                else:
                    return told
            await self.send(Failed(problem))
        return None

    async def tell(self, event: str) -> None:
        """Call the handlers of *event*."""
        await self._call_event_handler(event)


class _Input(BaseInputTransport):
    """What the client sends."""

    def __init__(self, transport: WebSocketTransport, params: TransportParams) -> None:
        super().__init__(params)
        self._transport = transport
        self._reader: asyncio.Task[None] | None = None

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        if self._reader is None:
            await self.set_transport_ready(frame)
            await self._transport.tell("on_client_connected")
            self._reader = self.create_task(self._read())

    async def stop(self, frame: EndFrame) -> None:
        await self._stop_reading()
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        await self._stop_reading()
        await super().cancel(frame)

    async def cleanup(self) -> None:
        await self._stop_reading()
        await super().cleanup()

    async def _stop_reading(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            await self.cancel_task(reader)

    async def _read(self) -> None:
        heard_until = 0.0
        while (received := await self._transport.receive()) is not None:
            match received:
                case bytes():
                    if not received:
                        continue
                    # Sound comes as fast as it is spoken. More than that would pile up in the pipeline, so
                    # it waits in the client instead.
                    now = time.monotonic()
                    heard_until = max(heard_until, now) + len(received) / _BYTES_PER_SECOND
                    if heard_until - now > _BURST:
                        await asyncio.sleep(heard_until - now - _BURST)
                    await self.push_audio_frame(InputAudioRawFrame(received, SAMPLE_RATE, CHANNELS))
                case Interrupt():
                    await self.broadcast_interruption()
                case End():
                    await self.push_frame(EndWorkerFrame(), FrameDirection.UPSTREAM)
                case AppMessage(data=data):
                    await self.push_frame(InputTransportMessageFrame(message=data))
        await self._transport.tell("on_client_disconnected")


class _Output(BaseOutputTransport):
    """What the client is sent, as fast as it is spoken."""

    def __init__(self, transport: WebSocketTransport, params: TransportParams) -> None:
        super().__init__(params)
        self._transport = transport
        self._plays_until = 0.0
        self._interruptions = 0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        interrupts = isinstance(frame, InterruptionFrame)
        if interrupts:
            self._interruptions += 1  # what waits for its time is not sent any more
        await super().process_frame(frame, direction)
        if interrupts:
            self._plays_until = 0.0
            await self._transport.send(Interrupted())

    async def push_frame(self, frame: Frame, direction: FrameDirection = FrameDirection.DOWNSTREAM) -> None:
        if direction is FrameDirection.DOWNSTREAM:  # its time has come, be it that of the sound or its own
            await self._tell(frame)
        await super().push_frame(frame, direction)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        interruptions = self._interruptions
        now = time.monotonic()
        self._plays_until = max(self._plays_until, now)
        if (wait := self._plays_until - now - _AHEAD) > 0:
            await asyncio.sleep(wait)
        if frame.interruptible and self._interruptions != interruptions:
            return False
        self._plays_until += len(frame.audio) / _BYTES_PER_SECOND
        return await self._transport.send_audio(frame.audio)

    async def send_message(
        self, frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame
    ) -> None:
        message: Any = frame.message
        await self._transport.send(message if isinstance(message, ToClient) else AppMessage(message))

    async def _tell(self, frame: Frame) -> None:
        if isinstance(frame, TTSTextFrame):
            await self._transport.send(Said(frame.text))
        elif (message := _MESSAGES.get(type(frame))) is not None:
            await self._transport.send(message)
            await self._transport.tell("on_turn_change")
