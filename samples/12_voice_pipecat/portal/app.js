// Sound over the WebSocket: 16 kHz PCM, either way.
import { callWith, openMicrophone } from "./call.js";

async function openSound() {
  const sound = new AudioContext({ sampleRate: 16000 });
  await Promise.all(["microphone.js", "speaker.js"].map((name) => sound.audioWorklet.addModule(name)));
  const microphone = new AudioWorkletNode(sound, "microphone", { numberOfOutputs: 0 });
  sound.createMediaStreamSource(await openMicrophone()).connect(microphone);
  const speaker = new AudioWorkletNode(sound, "speaker", { outputChannelCount: [1] });
  speaker.connect(sound.destination);
  const drop = () => speaker.port.postMessage("drop");
  return {
    connect(websocket) {
      microphone.port.onmessage = ({ data }) => {
        // What the network cannot take now would be late: it is left out.
        if (websocket.readyState === WebSocket.OPEN && websocket.bufferedAmount < 32000) websocket.send(data);
      };
    },
    play: (data) => speaker.port.postMessage(data, [data]),
    told() {},
    drop,
    end: drop,
  };
}

callWith(openSound);
