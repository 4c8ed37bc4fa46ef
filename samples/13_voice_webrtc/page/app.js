// Sound over WebRTC: the WebSocket carries the offer, the answer and the candidates.
import { callWith, openMicrophone } from "./call.js";

async function openSound() {
  const microphone = await openMicrophone();
  const speaker = document.body.appendChild(document.createElement("audio"));
  speaker.autoplay = true;
  let peer = null;
  return {
    connect(websocket) {
      const send = (data) => {
        if (websocket.readyState === WebSocket.OPEN) websocket.send(JSON.stringify({ type: "message", data }));
      };
      peer = new RTCPeerConnection();
      for (const track of microphone.getTracks()) peer.addTrack(track, microphone);
      peer.ontrack = ({ track }) => {
        speaker.srcObject = new MediaStream([track]);
      };
      peer.onicecandidate = ({ candidate }) => {
        if (candidate) send({ type: "candidate", ...candidate.toJSON() });
      };
      websocket.onopen = async () => {
        await peer.setLocalDescription();
        send({ type: "offer", sdp: peer.localDescription.sdp });
      };
    },
    play() {},
    told(data) {
      if (data.type === "answer") peer.setRemoteDescription(data);
    },
    drop() {}, // the agent has no more than a few hundredths of a second ahead
    end: () => peer.close(),
  };
}

callWith(openSound);
