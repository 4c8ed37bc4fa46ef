"""The agent and its pipeline, whatever carries the sound; sample 13 has the same."""

import os
import shutil
import sys
from collections.abc import Sequence

from agentserver import InvocationsServer
from agentserver.integrations.pipecat import PipecatHandler, VoiceCall
from agentserver.integrations.voice import Heard
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.audio.vad.vad_analyzer import VADParams
from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregator,
    LLMUserAggregatorParams,
    UserTurnStoppedMessage,
)
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.stt_service import STTService
from pipecat.services.tts_service import TTSService
from pipecat.turns.user_start import VADUserTurnStartStrategy
from pipecat.turns.user_stop import SpeechTimeoutUserTurnStopStrategy
from pipecat.turns.user_turn_strategies import UserTurnStrategies
from speech import EspeakTTS, PocketSphinxSTT

STORY = (
    "Once upon a time there was a king who lived in a castle by the sea. Every morning he went down to the"
    " water and counted the ships. One day there was a ship that he had never seen before."
)
ANSWERS = {
    "hello": "Hello.",
    "how are you": "I am fine.",
    "how is the weather in rome": "It is sunny in Rome.",
    "tell me a story": STORY,
    "please stop": "Good.",
}


class Agent(FrameProcessor):
    """Answers what was said last. A language model of Pipecat takes its place: see `language_model`."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer if *frame* is a conversation, and pass on what is not."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        for word in answer(frame.context).split():
            await self.push_frame(LLMTextFrame(f"{word} "))
        await self.push_frame(LLMFullResponseEndFrame())


def answer(context: LLMContext) -> str:
    """What to say to the last of the user's messages in *context*."""
    messages = [message for message in context.messages if isinstance(message, dict)]
    told = [str(message.get("content")) for message in messages if message["role"] == "user"]
    said = told[-1].lower().strip(" .?!")
    names = [text.split()[-1] for text in told if text.startswith("my name is")]
    if said.startswith("my name is"):
        return f"Hello, {names[-1].title()}."
    if said == "do you remember me":
        return f"Your name is {names[-1].title()}." if names else "I do not know you."
    return ANSWERS.get(said, "I do not understand.")


def speech_to_text() -> STTService:
    """Who listens: Azure's speech service if there is a key, else PocketSphinx."""
    if key := os.environ.get("AZURE_SPEECH_KEY"):  # pip install 'pipecat-ai[azure]'
        from pipecat.services.azure.stt import AzureSTTService

        return AzureSTTService(api_key=key, region=os.environ["AZURE_SPEECH_REGION"])
    return PocketSphinxSTT()


def language_model() -> FrameProcessor:
    """Who answers: a model on Azure OpenAI if there is a key, else the few lines above."""
    if key := os.environ.get("AZURE_OPENAI_API_KEY"):
        from pipecat.services.azure.llm import AzureLLMService

        settings = AzureLLMService.Settings(model=os.environ.get("AZURE_OPENAI_MODEL", "gpt-4.1"))
        return AzureLLMService(api_key=key, endpoint=os.environ["AZURE_OPENAI_ENDPOINT"], settings=settings)
    return Agent()


def text_to_speech() -> TTSService:
    """Who speaks: Azure's speech service if there is a key, else eSpeak NG."""
    if key := os.environ.get("AZURE_SPEECH_KEY"):
        from pipecat.services.azure.tts import AzureTTSService

        return AzureTTSService(api_key=key, region=os.environ["AZURE_SPEECH_REGION"])
    return EspeakTTS()


def conversation(
    call: VoiceCall, microphone: Sequence[FrameProcessor], speaker: Sequence[FrameProcessor]
) -> list[FrameProcessor]:
    """The pipeline of *call*, from *microphone* to *speaker*."""
    # The user's turn begins, and interrupts, after a tenth of a second of speech; it ends after four
    # tenths without.
    turns = UserTurnStrategies(
        start=[VADUserTurnStartStrategy()],
        stop=[SpeechTimeoutUserTurnStopStrategy(user_speech_timeout=0.2)],
    )
    aggregators = LLMContextAggregatorPair(
        call.context, user_params=LLMUserAggregatorParams(user_turn_strategies=turns)
    )

    async def heard(_: LLMUserAggregator, __: object, message: UserTurnStoppedMessage) -> None:
        await call.transport.send(Heard(str(message.content)))

    aggregators.user().add_event_handler("on_user_turn_stopped", heard)
    activity = SileroVADAnalyzer(params=VADParams(start_secs=0.1, stop_secs=0.2, min_volume=0.3))
    return [
        *microphone,
        VADProcessor(vad_analyzer=activity),
        speech_to_text(),
        aggregators.user(),
        language_model(),
        text_to_speech(),
        *speaker,
        aggregators.assistant(),
    ]


def run(handler: type[PipecatHandler]) -> None:
    """Serve *handler*."""
    if shutil.which("espeak-ng") is None and not os.environ.get("AZURE_SPEECH_KEY"):
        sys.exit("espeak-ng is not installed: apt-get install espeak-ng, or set AZURE_SPEECH_KEY")
    logger.remove()  # Pipecat's log has what was said
    logger.add(sys.stderr, level="ERROR")
    InvocationsServer.run(handler)
