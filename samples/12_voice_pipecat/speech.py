"""Speech without a service: PocketSphinx hears, eSpeak NG speaks."""

import asyncio
import contextlib
import datetime
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

from pipecat.frames.frames import Frame, StartFrame, TranscriptionFrame
from pipecat.services.settings import STTSettings, TTSSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.services.tts_service import TTSService
from pocketsphinx import Decoder  # type: ignore[import-untyped]  # it has no types

SENTENCES = Path(__file__).with_name("sentences.gram")


class PocketSphinxSTT(SegmentedSTTService):
    """Understands the sentences of ``sentences.gram``, with the model that is in PocketSphinx's wheel.

    Its general English is poor; of a few sentences it knows almost always which.
    """

    def __init__(self) -> None:
        super().__init__(settings=STTSettings(model=None, language=None), ttfs_p99_latency=0.2)
        self._decoder: Decoder | None = None

    @property
    def wants_wav_segments(self) -> bool:
        """No: bare samples."""
        return False

    async def start(self, frame: StartFrame) -> None:
        """Load the model."""
        await super().start(frame)
        # Some tenths of a second, which other connections need not wait for.
        self._decoder = await asyncio.to_thread(
            Decoder, samprate=16000, loglevel="FATAL", jsgf=str(SENTENCES), lm=None
        )

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Say what was said in *audio*, if that was one of the sentences."""
        text = await asyncio.to_thread(self._recognize, audio)
        if text:
            now = datetime.datetime.now(datetime.timezone.utc).isoformat()
            yield TranscriptionFrame(text, self._user_id, now)

    def _recognize(self, audio: bytes) -> str:
        assert self._decoder is not None
        self._decoder.start_utt()
        self._decoder.process_raw(audio, full_utt=True)
        self._decoder.end_utt()
        best = self._decoder.hyp()
        return "" if best is None else str(best.hypstr)


class EspeakTTS(TTSService):
    """Speaks with the command ``espeak-ng``."""

    def __init__(self) -> None:
        settings = TTSSettings(model=None, voice="en-us", language=None)
        super().__init__(settings=settings, push_start_frame=True, push_stop_frames=True)

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Speak *text*."""
        process = await asyncio.create_subprocess_exec(
            *("espeak-ng", "-v", "en-us", "-s", "130", "--stdin", "--stdout"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(text.encode())
            process.stdin.close()
            async for frame in self._stream_audio_frames_from_iterator(
                pieces(process.stdout), strip_wav_header=True, context_id=context_id
            ):
                yield frame
        finally:
            # Nobody listens any more when the user interrupts.
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def pieces(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """What comes out of *stream*; the first has the whole header of a WAV file."""
    piece = await stream.readexactly(44)
    while piece:
        yield piece
        piece = await stream.read(4096)
