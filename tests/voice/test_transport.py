"""The transport and the handler, without speech: what goes over the wire, and who ends what."""

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
    InputAudioRawFrame,
    InputTransportMessageFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from agentserver.integrations.pipecat import PipecatHandler, VoiceCall
from agentserver.integrations.sessions import MemorySessionStore
from agentserver.integrations.voice import CHANNELS, MAX_AUDIO_FRAME, SAMPLE_RATE, Heard
from agentserver.testing import on_socket, until

pytestmark = pytest.mark.asyncio

SECOND = bytes(2 * SAMPLE_RATE)


class Answering(FrameProcessor):
    """Says ten seconds of something to each sound, and repeats messages."""

    def __init__(self, call: VoiceCall) -> None:
        super().__init__()
        self.call = call

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            await self.push_frame(OutputAudioRawFrame(SECOND * 10, SAMPLE_RATE, CHANNELS))
        elif isinstance(frame, InputTransportMessageFrame):
            self.call.context.add_message({"role": "user", "content": str(frame.message)})
            await self.push_frame(OutputTransportMessageUrgentFrame(frame.message))
            await self.push_frame(OutputTransportMessageUrgentFrame(Heard(str(frame.message))))
        else:
            await self.push_frame(frame, direction)


SESSIONS = MemorySessionStore()


class Voice(PipecatHandler):
    sessions = SESSIONS

    def processors(self, call: VoiceCall) -> list[FrameProcessor]:
        return [call.transport.input(), Answering(call), call.transport.output()]


class Broken(PipecatHandler):
    def processors(self, call: VoiceCall) -> list[FrameProcessor]:
        raise ValueError("the key is 1234")


class Refused(FrameProcessor):
    """A service whose key is not taken any more."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputTransportMessageFrame):
            await self.push_error("the key is 1234", force_treat_as_permanent=True)
        else:
            await self.push_frame(frame, direction)


class Unusable(PipecatHandler):
    def processors(self, call: VoiceCall) -> list[FrameProcessor]:
        return [call.transport.input(), Refused(), call.transport.output()]


@asynccontextmanager
async def connected(
    handler: type[PipecatHandler] = Voice, session: str = ""
) -> AsyncGenerator[aiohttp.ClientWebSocketResponse[bool], None]:
    query = f"?agent_session_id={session}" if session else ""
    async with (
        on_socket(handler) as agent,
        aiohttp.ClientSession() as client,
        client.ws_connect(f"{agent.url}/invocations_ws{query}", max_msg_size=0) as websocket,
    ):
        yield websocket


async def message(websocket: aiohttp.ClientWebSocketResponse[bool]) -> dict[str, Any]:
    """The next message; sound before it is left out."""
    while (received := await asyncio.wait_for(websocket.receive(), 10)).type is aiohttp.WSMsgType.BINARY:
        pass
    found: dict[str, Any] = json.loads(received.data)
    return found


async def test_the_first_message_says_how_to_go_on_and_in_what_rate() -> None:
    async with connected(session="somebody") as websocket:
        ready = {"type": "ready", "session_id": "somebody", "resumed": False, "sample_rate": 16_000}
        assert await message(websocket) == ready


async def test_what_is_not_understood_is_told_and_the_call_goes_on() -> None:
    async with connected() as websocket:
        await message(websocket)
        for wrong in ("{", "[]", '{"type": "shout"}'):
            await websocket.send_str(wrong)
            assert (await message(websocket))["message"].startswith("this is none of the messages interrupt")
        await websocket.send_bytes(b"\0" * 3)
        assert (await message(websocket))["message"] == (
            "3 bytes are no whole number of samples: send 2 bytes for each"
        )
        await websocket.send_json({"type": "message", "data": [1]})
        assert await message(websocket) == {"type": "message", "data": [1]}
        assert await message(websocket) == {"type": "heard", "text": "[1]"}


async def test_a_frame_over_the_platforms_limit_is_refused() -> None:
    async with connected() as websocket:
        await message(websocket)
        await websocket.send_bytes(bytes(MAX_AUDIO_FRAME + 2))
        await asyncio.wait_for(websocket.receive(), 10)
        assert websocket.close_code == 1009


async def test_sound_goes_out_in_time_and_an_interruption_drops_the_rest() -> None:
    async with connected() as websocket:
        await message(websocket)
        await websocket.send_bytes(bytes(640))
        started = asyncio.get_running_loop().time()
        sound = 0
        while sound < len(SECOND) // 2:
            received = await asyncio.wait_for(websocket.receive(), 10)
            if received.type is aiohttp.WSMsgType.BINARY:
                assert len(received.data) <= 3200
                sound += len(received.data)
        assert 0.3 < asyncio.get_running_loop().time() - started < 0.8
        await websocket.send_json({"type": "interrupt"})
        while (await message(websocket))["type"] != "interrupted":
            pass
        await websocket.send_json({"type": "message", "data": "?"})
        kinds = []
        while "heard" not in kinds:
            received = await asyncio.wait_for(websocket.receive(), 10)
            is_sound = received.type is aiohttp.WSMsgType.BINARY
            kinds.append("sound" if is_sound else json.loads(received.data)["type"])
        assert "sound" not in kinds


async def test_what_was_said_is_kept_when_the_network_breaks() -> None:
    async with connected(session="broken-off") as websocket:
        await message(websocket)
        await websocket.send_json({"type": "message", "data": "first"})
        await message(websocket)
        websocket._response.connection.transport.abort()  # type: ignore[union-attr]  # a cut, not a close
        key = "Voice/broken-off"
        await until(lambda: key in SESSIONS._kept)
    async with connected(session="broken-off") as websocket:
        assert (await message(websocket))["resumed"] is True


async def test_a_handler_that_fails_closes_with_1011_and_tells_nothing() -> None:
    async with connected(Broken) as websocket:
        received = await asyncio.wait_for(websocket.receive(), 10)
        assert websocket.close_code == 1011
        assert "1234" not in str(received.extra)


async def test_a_service_that_cannot_work_any_more_ends_the_call_with_1011_and_tells_nothing() -> None:
    async with connected(Unusable) as websocket:
        await message(websocket)
        await websocket.send_json({"type": "message", "data": "?"})
        received = await asyncio.wait_for(websocket.receive(), 10)
        assert websocket.close_code == 1011
        assert "1234" not in str(received.extra)
