"""The other end of a peer connection: a caller whose sound goes over WebRTC, on aiortc."""

from __future__ import annotations

import asyncio
import fractions
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiortc import MediaStreamTrack, RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame, AudioResampler

from tests.voice.at_home import stay_at_home
from tests.voice.caller import PIECE, Caller, calling

RATE = 16_000


class Microphone(MediaStreamTrack):
    """What *caller* says, in time."""

    kind = "audio"

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self._caller = caller
        self._began = time.monotonic()
        self._samples = 0

    async def recv(self) -> AudioFrame:
        """The next 20 ms."""
        await asyncio.sleep(self._began + self._samples / RATE - time.monotonic())
        samples = np.frombuffer(self._caller.piece(), np.int16)
        frame = AudioFrame.from_ndarray(samples[None, :], layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._samples, fractions.Fraction(1, RATE)
        self._samples += PIECE // 2
        return frame


async def listen(caller: Caller, track: Any) -> None:
    """Let *caller* hear what comes over *track*."""
    resampler = AudioResampler("s16", "mono", RATE)
    while True:
        try:
            frame = await track.recv()
        except MediaStreamError:
            return
        for piece in resampler.resample(frame):
            caller.hear(piece.to_ndarray().tobytes())


@asynccontextmanager
async def calling_over_webrtc(
    url: str, session: str = ""
) -> AsyncGenerator[tuple[Caller, RTCPeerConnection], None]:
    """Call the agent at *url*, and say where one is reached as browsers do: after the offer."""
    stay_at_home()
    async with calling(url, session, silent=True) as caller:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # its own would be at Google
        listening: list[asyncio.Task[None]] = []
        peer.addTrack(Microphone(caller))

        def heard(track: Any) -> None:
            listening.append(asyncio.create_task(listen(caller, track)))

        peer.on("track", heard)
        try:
            await caller.told("ready")
            await peer.setLocalDescription(await peer.createOffer())
            lines = peer.localDescription.sdp.splitlines()
            found = [line for line in lines if line.startswith("a=candidate:")]
            sdp = "".join(f"{line}\r\n" for line in lines if line not in [*found, "a=end-of-candidates"])
            await signal(caller, type="offer", sdp=sdp)
            for candidate in [*(line.removeprefix("a=") for line in found), ""]:
                await signal(caller, type="candidate", candidate=candidate, sdpMid="0", sdpMLineIndex=0)
            await caller.told("message")
            answer = caller.last["data"]
            assert answer["type"] == "answer"
            await peer.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
            await caller.until(
                lambda: len(caller.audio) > 25
            )  # half a second of silence: nobody speaks at once
            yield caller, peer
        finally:
            await peer.close()
            for task in listening:
                task.cancel()


async def signal(caller: Caller, **data: object) -> None:
    """Send a signal with the members *data*."""
    await caller.websocket.send_json({"type": "message", "data": data})
