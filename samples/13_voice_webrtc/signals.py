"""What client and agent tell each other before they hear each other: offer, answer, candidates."""

import msgspec
from agentserver.integrations.pipecat import WebSocketTransport
from agentserver.integrations.voice import AppMessage, Failed
from aiortc.sdp import candidate_from_sdp
from pipecat.frames.frames import Frame, InputTransportMessageFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection


class Offer(msgspec.Struct, tag="offer"):
    """The client's side, with one track of sound, in *sdp*."""

    sdp: str


class Candidate(msgspec.Struct, tag="candidate", rename="camel"):
    """An address where the client may be reached, as a browser's ``RTCIceCandidate`` writes it.

    Attributes:
        candidate: The address; empty after the last one.
        sdp_mid: Whose it is.
        sdp_m_line_index: The same, as a number.
    """

    candidate: str
    sdp_mid: str | None = None
    sdp_m_line_index: int | None = None


class Signals(FrameProcessor):
    """Agrees with a client on a peer connection, and ends it with the call.

    Args:
        transport: Over which they do so.
        peer: The connection.
    """

    def __init__(self, transport: WebSocketTransport, peer: SmallWebRTCConnection) -> None:
        super().__init__()
        self._transport = transport
        self._peer = peer

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Keep the client's messages, and pass on what else there is."""
        await super().process_frame(frame, direction)
        if isinstance(frame, InputTransportMessageFrame) and direction is FrameDirection.DOWNSTREAM:
            try:
                await self._hear(msgspec.convert(frame.message, Offer | Candidate))
            except msgspec.ValidationError as error:
                await self._transport.send(Failed(f"this is neither offer nor candidate: {error}"))
        else:
            await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """End the connection, however far it has come."""
        await super().cleanup()
        await self._peer.disconnect()

    async def _hear(self, signal: Offer | Candidate) -> None:
        try:
            if isinstance(signal, Offer):
                await self._answer(signal)
            else:
                await self._add(signal)
        except Exception as error:  # noqa: BLE001 - aiortc has no exception of its own for what it cannot read
            kind, why = type(signal).__struct_config__.tag, str(error) or type(error).__name__
            await self._transport.send(Failed(f"this {kind} cannot be used: {why}"))

    async def _answer(self, offer: Offer) -> None:
        if "m=audio" not in offer.sdp:
            raise ValueError("it has no track of sound")
        agree = self._peer.initialize if self._peer.get_answer() is None else self._peer.renegotiate
        await agree(sdp=offer.sdp, type="offer")
        answer = self._peer.get_answer()
        assert answer is not None
        await self._transport.send(AppMessage({"type": "answer", "sdp": answer["sdp"]}))

    async def _add(self, told: Candidate) -> None:
        candidate = None
        if told.candidate:
            candidate = candidate_from_sdp(told.candidate.removeprefix("candidate:"))
            candidate.sdpMid = told.sdp_mid
            candidate.sdpMLineIndex = told.sdp_m_line_index
        await self._peer.add_ice_candidate(candidate)
