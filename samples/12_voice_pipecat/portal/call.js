// One connection after the other, and what is told over it; where the sound goes is its user's.
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

function connect(sound, wait = 500) {
  websocket = new WebSocket(`${location.origin.replace("http", "ws")}/voice?session=${session}`);
  websocket.binaryType = "arraybuffer";
  sound.connect(websocket);
  websocket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) {
      sound.play(data);
      return;
    }
    const message = JSON.parse(data);
    if (message.type === "ready") {
      wait = 500;
      element("silence").disabled = false;
      show(message.resumed ? "Connected; your conversation goes on." : "Connected.");
    } else if (message.type === "interrupted") sound.drop();
    else if (message.type === "speaking") show(`${message.who} ${message.active ? "speaks" : "is silent"}`);
    else if (message.type === "heard") note("user", message.text);
    else if (message.type === "said") note("agent", message.text);
    else if (message.type === "message") sound.told(message.data);
  };
  websocket.onclose = ({ code }) => {
    sound.end();
    element("silence").disabled = true;
    if (code === TAKEN_OVER) {
      show("You go on in another window.");
    } else {
      show("Connection lost; connecting again.");
      setTimeout(() => connect(sound, Math.min(2 * wait, 10000)), wait);
    }
  };
}

// What recognizers hear best was not made prettier; the echo of the agent must go, or it interrupts itself.
export function openMicrophone() {
  const audio = { echoCancellation: true, noiseSuppression: false, autoGainControl: false };
  return navigator.mediaDevices.getUserMedia({ audio });
}

// Sound has connect(websocket), play(bytes), told(data), drop() for what has not been played, and end().
export function callWith(openSound) {
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
}
