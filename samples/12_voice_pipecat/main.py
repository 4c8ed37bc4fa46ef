"""A voice agent: it listens, answers, stops when it is interrupted, and knows whom it talked to."""

from agentserver.integrations.pipecat import PipecatHandler, VoiceCall
from conversation import conversation, run
from pipecat.processors.frame_processor import FrameProcessor


class Voice(PipecatHandler):
    """One pipeline for each connection."""

    def processors(self, call: VoiceCall) -> list[FrameProcessor]:
        """From the microphone to the speaker, both over the WebSocket."""
        return conversation(call, [call.transport.input()], [call.transport.output()])


if __name__ == "__main__":
    run(Voice)
