const TAKEN_OVER = 4009;
const element = (id) => document.getElementById(id);
// The same tab goes on with its conversation, also after the connection was lost.
const session = (sessionStorage.session ??= crypto.randomUUID());
let websocket = null;

function show(state) {
  element("state").textContent = state;
}

function note(who, text) {
  const line = document.createElement("li");
  line.className = who;
  line.textContent = `${who === "user" ? "You" : "Agent"}: ${text}`;
  element("said").append(line);
}

async function openSound() {
  const sound = new AudioContext({ sampleRate: 16000 });
  await Promise.all(["microphone.js", "speaker.js"].map((name) => sound.audioWorklet.addModule(name)));
  // Recognizers hear better what was not made prettier; the echo of the agent must go, or it interrupts itself.
  const audio = { echoCancellation: true, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const microphone = new AudioWorkletNode(sound, "microphone", { numberOfOutputs: 0 });
  sound.createMediaStreamSource(stream).connect(microphone);
  const speaker = new AudioWorkletNode(sound, "speaker", { outputChannelCount: [1] });
  speaker.connect(sound.destination);
  return { microphone: microphone.port, speaker: speaker.port };
}

function connect(sound, wait = 500) {
  websocket = new WebSocket(`${location.origin.replace("http", "ws")}/voice?session=${session}`);
  websocket.binaryType = "arraybuffer";
  sound.microphone.onmessage = ({ data }) => {
    // What the network cannot take now would be late: it is left out.
    if (websocket.readyState === WebSocket.OPEN && websocket.bufferedAmount < 32000) websocket.send(data);
  };
  websocket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) {
      sound.speaker.postMessage(data, [data]);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "ready") {
      wait = 500;
      element("silence").disabled = false;
      show(message.resumed ? "Connected; your conversation goes on." : "Connected.");
    } else if (message.type === "interrupted") sound.speaker.postMessage("drop");
    else if (message.type === "speaking") show(`${message.who} ${message.active ? "speaks" : "is silent"}`);
    else if (message.type === "heard") note("user", message.text);
    else if (message.type === "said") note("agent", message.text);
  };
  websocket.onclose = ({ code }) => {
    sound.speaker.postMessage("drop");
    element("silence").disabled = true;
    if (code === TAKEN_OVER) {
      show("You go on in another window.");
    } else {
      show("Connection lost; connecting again.");
      setTimeout(() => connect(sound, Math.min(2 * wait, 10000)), wait);
    }
  };
}

element("call").onclick = async () => {
  element("call").disabled = true;
  try {
    connect(await openSound());
  } catch (error) {
    show(`No sound: ${error.message}`);
    element("call").disabled = false;
  }
};
element("silence").onclick = () => websocket.send(JSON.stringify({ type: "interrupt" }));
