"""The echo of `benchmarks.voice` as a pipeline of Pipecat; imported where that is installed."""

from __future__ import annotations

import sys

from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import TransportParams

from agentserver.integrations.pipecat import PipecatHandler, VoiceCall

logger.remove()
logger.add(sys.stderr, level="ERROR")


class _Back(FrameProcessor):
    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            frame = OutputAudioRawFrame(frame.audio, frame.sample_rate, frame.num_channels)
        await self.push_frame(frame, direction)


class PipecatEcho(PipecatHandler):
    """Sends back what it gets."""

    transport_params = TransportParams(audio_out_10ms_chunks=2)

    def processors(self, call: VoiceCall) -> list[FrameProcessor]:
        """Microphone to speaker."""
        return [call.transport.input(), _Back(), call.transport.output()]
