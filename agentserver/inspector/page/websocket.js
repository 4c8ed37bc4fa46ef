// WebSocket: connections of the page and of others, their frames, and what to send on the page's own.
import { announce } from "./announce.js";
import { post } from "./api.js";
import { attempt } from "./attempt.js";
import { computed, h, signal } from "./dom.js";
import { exchangesView } from "./exchanges.js";
import { base64Of, fromHex } from "./format.js";
import { headersOf, labelled, valueOf } from "./request.js";
import { exchanges } from "./store.js";

const call = signal(/** @type {number | null} */ (null));

const isOpen = openOf(call);

/**
 * Whether the WebSocket of a call is open.
 * @param {import("./dom.js").Signal<number | null>} call
 */
export function openOf(call) {
  return computed(() => exchanges.value.some((each) => each.call === call.value && each.status === 101 && !each.end));
}

export function websocketTab() {
  return h(
    "div",
    { class: "split" },
    h("div", {}, connectForm(call, () => isOpen.value), messageForm(), closeForm()),
    exchangesView("WebSockets", (each) => each.kind === "websocket", call),
  );
}

/**
 * @param {import("./dom.js").Signal<number | null>} call the number of the call that connects
 * @param {() => boolean} isOpen
 */
export function connectForm(call, isOpen) {
  const path = h("input", { value: "/invocations_ws", spellcheck: "false", autocomplete: "off" });
  const headers = h("textarea", { rows: 3, spellcheck: "false", placeholder: "x-client-tenant: acme" });
  const { run, words } = attempt(async () => {
    const asked = { path: path.value, headers: headersOf(headers.value) };
    call.value = (await post("/api/connect", asked)).call;
    announce("Connecting.");
  });
  return h(
    "form",
    { class: "request", "aria-label": "Connection", onsubmit: run },
    h("h2", {}, "Connection"),
    labelled("Path", path, "block"),
    labelled("Headers, one a line", headers, "block"),
    h("div", { class: "row" },
      h("button", { type: "submit", class: "primary" }, "Connect"),
      h("span", { class: "hint" }, () => (isOpen() ? "open" : "not open"))),
    words,
  );
}

function messageForm() {
  const kind = signal("text");
  const select = h("select", {
    onchange: (/** @type {Event} */ event) => {
      kind.value = valueOf(event);
    },
  }, ...["text", "binary", "ping", "pong"].map((value) => h("option", { value }, value)));
  const isHex = h("input", { type: "checkbox" });
  const message = h("textarea", {
    rows: 5,
    spellcheck: "false",
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    },
  });
  const { run, words } = attempt(async () => {
    const asked = { call: call.peek(), kind: kind.peek() };
    if (!isHex.checked) {
      await post("/api/say", { ...asked, data: message.value });
      return;
    }
    const bytes = fromHex(message.value);
    if (!bytes) throw new Error("That is not hexadecimal: give two digits for each byte, such as 00 ff");
    await post("/api/say", { ...asked, data64: base64Of(bytes) });
  });
  const form = h(
    "form",
    { class: "request", "aria-label": "Message", onsubmit: run },
    h("h2", {}, "Message"),
    h("div", { class: "row" },
      labelled("Kind", select),
      h("label", {}, isHex, " in hexadecimal")),
    labelled("Payload", message, "block"),
    h("div", { class: "row" },
      h("button", { type: "submit", class: "primary", disabled: () => !isOpen.value }, "Send"),
      h("span", { class: "hint" }, "Ctrl+Enter in the payload")),
    words,
  );
  return form;
}

function closeForm() {
  const code = h("input", { type: "number", min: 1000, max: 4999, value: "1000" });
  const reason = h("input", { autocomplete: "off" });
  const close = attempt(() =>
    post("/api/say", { call: call.peek(), kind: "close", code: Number(code.value), data: reason.value }));
  const vanish = attempt(() => post("/api/leave", { call: call.peek() }));
  return h(
    "form",
    { class: "request", "aria-label": "Close", onsubmit: close.run },
    h("h2", {}, "Close"),
    h("div", { class: "row" }, labelled("Code", code), labelled("Reason", reason, "grow")),
    h("div", { class: "row" },
      h("button", { type: "submit", disabled: () => !isOpen.value }, "Close"),
      h("button", { type: "button", disabled: () => !isOpen.value, onclick: vanish.run }, "Vanish without a close")),
    close.words,
    vanish.words,
  );
}
