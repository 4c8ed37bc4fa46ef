"""The voice sample with speech services that take no time."""

from __future__ import annotations

import importlib
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

from pipecat.frames.frames import Frame, TranscriptionFrame, TTSAudioRawFrame
from pipecat.services.settings import STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService

from agentserver import InvocationsServer
from agentserver.integrations.voice import SAMPLE_RATE

SAMPLE = Path(__file__).parents[2] / "samples" / "12_voice_pipecat"


class InstantSTT(SegmentedSTTService):
    """Understands "hello", whatever is said."""

    def __init__(self) -> None:
        super().__init__(settings=STTSettings(model=None, language=None), ttfs_p99_latency=0.2)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Take no time."""
        yield TranscriptionFrame("hello", "", "")


class InstantTTS(TTSService):
    """Says a tenth of a second of something."""

    def __init__(self) -> None:
        settings = TTSSettings(model=None, voice=None, language=None)
        super().__init__(
            settings=settings, push_start_frame=True, push_stop_frames=True, stop_frame_timeout_s=0.1
        )

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Take no time."""
        yield TTSAudioRawFrame(b"\1\2" * 1600, SAMPLE_RATE, 1, context_id=context_id)


if __name__ == "__main__":
    sys.path.insert(0, str(SAMPLE))
    conversation = importlib.import_module("conversation")
    vars(conversation).update(speech_to_text=InstantSTT, text_to_speech=InstantTTS)
    InvocationsServer.run(importlib.import_module("main").Voice)
