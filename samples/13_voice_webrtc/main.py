"""The voice agent of sample 12, with its sound over WebRTC: the WebSocket only signals."""

import logging
import os
import sys
from pathlib import Path

from agentserver.integrations.pipecat import PipecatHandler, VoiceCall
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import IceServer, SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from signals import Signals

sys.path.append(str(Path(__file__).parents[1] / "12_voice_pipecat"))

from conversation import conversation, run

PEER_LOST = 4010
"""The close code of a call whose sound was lost: connect again."""


def ice_servers() -> list[IceServer]:
    """Who tells the agent its address, or relays its sound; nobody on one machine."""
    urls = os.environ.get("ICE_SERVERS", "").split(",")
    name, secret = os.environ.get("ICE_USERNAME"), os.environ.get("ICE_CREDENTIAL")
    return [IceServer(url, name, secret) for url in urls if url]


class Voice(PipecatHandler):
    """One pipeline, and one peer connection, for each connection."""

    sound = False

    def processors(self, call: VoiceCall) -> list[FrameProcessor]:
        """From the microphone to the speaker, both over WebRTC."""
        peer = SmallWebRTCConnection(ice_servers(), connection_timeout_secs=20)
        sound = SmallWebRTCTransport(peer, TransportParams(audio_in_enabled=True, audio_out_enabled=True))

        async def lost(*_: object) -> None:
            await call.transport.close(PEER_LOST, "the sound was lost")

        sound.add_event_handler("on_client_disconnected", lost)
        return conversation(
            call,
            [call.transport.input(), Signals(call.transport, peer), sound.input()],
            [sound.output(), call.transport.output()],
        )


if __name__ == "__main__":
    for name in ("aioice", "aiortc"):  # they log every packet that goes another way than they thought
        logging.getLogger(name).setLevel(logging.ERROR)
    run(Voice)
