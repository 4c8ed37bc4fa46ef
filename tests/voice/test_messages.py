"""What a pipeline tells its client, also where its sound goes another way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from pipecat.frames.frames import (
    Frame,
    InputTransportMessageFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.utils.text.base_text_aggregator import TextType

from agentserver.integrations.pipecat import PipecatHandler, VoiceCall
from agentserver.integrations.voice import CHANNELS, SAMPLE_RATE
from agentserver.testing import on_socket

pytestmark = pytest.mark.asyncio


class Speaking(FrameProcessor):
    """A text-to-speech service that says when each word is due, as most do."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputTransportMessageFrame):
            for word in str(frame.message).split():
                said = TTSTextFrame(word, TextType.WORD)
                said.pts = self.get_clock().get_time()
                await self.push_frame(said)
        else:
            await self.push_frame(frame, direction)


class Voice(PipecatHandler):
    def processors(self, call: VoiceCall) -> list[FrameProcessor]:
        return [call.transport.input(), Speaking(), call.transport.output()]


class Telephone(BaseOutputTransport):
    """Where sound goes instead."""

    heard: int = 0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        type(self).heard += len(frame.audio)
        return True


class Sounding(FrameProcessor):
    """Says half a second of something to each message."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputTransportMessageFrame):
            await self.push_frame(TTSAudioRawFrame(b"\1\2" * (SAMPLE_RATE // 2), SAMPLE_RATE, CHANNELS))
            await self.push_frame(TTSTextFrame("hello", TextType.SENTENCE))
            await self.push_frame(TTSStoppedFrame())
        else:
            await self.push_frame(frame, direction)


class Called(PipecatHandler):
    sound = False

    def processors(self, call: VoiceCall) -> list[FrameProcessor]:
        telephone = Telephone(TransportParams(audio_out_enabled=True, audio_out_sample_rate=SAMPLE_RATE))

        return [call.transport.input(), Sounding(), telephone, call.transport.output()]


@asynccontextmanager
async def connected(
    handler: type[PipecatHandler],
) -> AsyncGenerator[aiohttp.ClientWebSocketResponse[bool], None]:
    async with (
        on_socket(handler) as agent,
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{agent.url}/invocations_ws") as websocket,
    ):
        assert (await message(websocket))["type"] == "ready"
        yield websocket


async def message(websocket: aiohttp.ClientWebSocketResponse[bool]) -> dict[str, Any]:
    """The next that comes, which is no sound."""
    found: dict[str, Any] = json.loads((await asyncio.wait_for(websocket.receive(), 10)).data)
    return found


async def test_words_whose_time_the_service_knows_are_told_too() -> None:
    async with connected(Voice) as websocket:
        await websocket.send_json({"type": "message", "data": "good morning"})
        assert await message(websocket) == {"type": "said", "text": "good"}
        assert await message(websocket) == {"type": "said", "text": "morning"}


async def test_where_sound_goes_another_way_the_messages_are_the_same_and_each_comes_once() -> None:
    async with connected(Called) as websocket:
        await websocket.send_json({"type": "message", "data": "?"})
        told = [await message(websocket) for _ in range(3)]  # sound that takes no time may overtake its text
        assert {"type": "said", "text": "hello"} in told
        assert [one["active"] for one in told if one["type"] == "speaking"] == [True, False]
        assert Telephone.heard >= SAMPLE_RATE  # half a second, filled up to whole pieces
        await websocket.send_json({"type": "interrupt"})
        assert await message(websocket) == {"type": "interrupted"}


async def test_sound_over_the_websocket_is_refused_where_it_goes_another_way() -> None:
    async with connected(Called) as websocket:
        await websocket.send_bytes(bytes(640))
        assert (await message(websocket))["message"] == (
            "sound goes another way here: send none over the WebSocket"
        )
        await websocket.send_json({"type": "end"})
        await websocket.receive()
        assert websocket.close_code == 1000
