// Actions: many invocations on one WebSocket, each with what was sent and what came.
import { announce } from "./announce.js";
import { post } from "./api.js";
import { attempt } from "./attempt.js";
import { contentView } from "./content.js";
import { detailOf } from "./details.js";
import { computed, h, signal } from "./dom.js";
import { duration, line, pretty } from "./format.js";
import { isObject, parse, write } from "./json.js";
import { listing } from "./listing.js";
import { labelled } from "./request.js";
import { exchanges, failures } from "./store.js";
import { connectForm, openOf } from "./websocket.js";

/**
 * @typedef {{number: number, at: number, sender: string, frame: any, text: string}} Framed
 * @typedef {{id: string, session: string, state: string, began: number, last: number, chunks: number, frames: Framed[]}} Invocation
 */

const SHOWN = 200;

const call = signal(/** @type {number | null} */ (null));
const isOpen = openOf(call);
const exchange = computed(() => exchanges.value.find((each) => each.call === call.value && call.value !== null)?.id ?? null);

export function actionsTab() {
  const { parts } = detailOf(() => exchange.value);
  const invocations = computed(() => grouped(parts.value));
  const byId = computed(() => new Map(invocations.value.map((each) => [each.id, each])));
  const ids = computed(() => invocations.value.slice(-SHOWN).map((each) => each.id).join("\n"));
  const chosen = signal(/** @type {string | null} */ (null));
  return h("div", { class: "split" },
    h("div", {}, connectForm(call, () => isOpen.value), actionForm(), closeButton()),
    h("section", { "aria-label": "Invocations" },
      h("h2", {}, () => `Invocations, ${invocations.value.length}${invocations.value.length ? `, ${running(invocations.value)} running` : ""}`),
      h("p", { class: "error", role: "alert" }, () => (call.value && failures.value[call.value]) || ""),
      h("table", {},
        h("thead", {}, h("tr", {}, ...["Invocation", "State", "Chunks", "Time", ""].map((name) => h("th", { scope: "col" }, name || h("span", { class: "unseen" }, "What to do"))))),
        h("tbody", {}, () => ids.value.split("\n").filter(Boolean).map((id) => row(id, byId, chosen)))),
      h("div", {}, () => frames(invocations, chosen))));
}

/** @param {Invocation[]} all */
function running(all) {
  return all.filter((each) => each.state === "running").length;
}

/**
 * What went each way, by invocation.
 * @param {import("./details.js").Part[]} parts
 * @returns {Invocation[]}
 */
function grouped(parts) {
  /** @type {Map<string, Invocation>} */
  const found = new Map();
  for (const part of parts) {
    const text = part.text ?? "";
    const frame = part.kind === "text" ? parse(text) : undefined;
    const id = isObject(frame) ? frame.invocation_id : undefined;
    if (typeof id !== "string") continue;
    const known = found.get(id) ?? { id, session: "", state: "?", began: part.at, last: part.at, chunks: 0, frames: [] };
    found.set(id, known);
    known.frames.push({ number: part.number, at: part.at, sender: part.sender, frame, text });
    take(known, frame, part);
  }
  return [...found.values()];
}

/**
 * @param {Invocation} known
 * @param {any} frame
 * @param {import("./details.js").Part} part
 */
function take(known, frame, part) {
  if (part.sender === "client") {
    if (frame.action === "invoke") Object.assign(known, { state: "running", began: part.at, last: part.at });
    return;
  }
  if (frame.session_id === undefined) return; // it answers a get or a cancel
  known.session = String(frame.session_id);
  known.last = part.at;
  if (frame.type === "stream_chunk") known.chunks += 1;
  else known.state = frame.type === "error" ? `error: ${frame.error?.code}` : "done";
}

/**
 * A row that follows its invocation, so that whoever is on one of its buttons stays there.
 * @param {string} id
 * @param {import("./dom.js").Signal<Map<string, Invocation>>} byId
 * @param {import("./dom.js").Signal<string | null>} chosen
 */
function row(id, byId, chosen) {
  const state = () => byId.value.get(id)?.state ?? "";
  const button = (/** @type {string} */ label, /** @type {string} */ action) => h("button", {
    type: "button",
    "aria-label": `${label} ${id}`,
    hidden: () => !isOpen.value || (label === "Cancel" && state() !== "running"),
    onclick: () => void say({ action, invocation_id: id }),
  }, label);
  return h("tr", {},
    h("th", { scope: "row" }, h("button", {
      type: "button",
      "aria-pressed": () => String(chosen.value === id),
      onclick: () => {
        chosen.value = id;
      },
    }, line(id))),
    h("td", { class: () => (state().startsWith("error") ? "bad" : "") }, () => line(state())),
    h("td", {}, () => byId.value.get(id)?.chunks),
    h("td", {}, () => {
      const each = byId.value.get(id);
      return each && duration(each.last - each.began);
    }),
    h("td", {}, button("Cancel", "cancel_invocation"), button("Get", "get_invocation")));
}

/**
 * @param {import("./dom.js").Signal<Invocation[]>} invocations
 * @param {import("./dom.js").Signal<string | null>} chosen
 */
function frames(invocations, chosen) {
  const id = chosen.value;
  if (id === null) return h("p", { class: "hint" }, invocations.value.length ? "Choose an invocation to see its frames." : "Connect, and invoke an action.");
  const opened = signal(/** @type {Framed | null} */ (null));
  return h("div", { class: "timeline" },
    h("h3", {}, `Frames of ${line(id)}`),
    listing({
      label: "Frames",
      items: () => invocations.value.find((each) => each.id === id)?.frames ?? [],
      key: (framed) => framed.number,
      row: (framed) => [
        h("span", { class: "time" }, `+${framed.at.toFixed(1)}`),
        h("span", { class: `sender ${framed.sender}` }, framed.sender === "client" ? "▲ client" : "▼ agent"),
        h("span", { class: "kind" }, line(String(framed.frame.action ?? framed.frame.type))),
        h("span", { class: "text" }, line(framed.text)),
      ],
      choose: (framed) => {
        opened.value = framed;
      },
      follows: () => !opened.value,
    }),
    h("div", {}, () => opened.value && contentView("Frame", pretty(opened.value.text))));
}

/** @param {object} frame */
async function say(frame) {
  await post("/api/say", { call: call.peek(), kind: "text", data: JSON.stringify(frame) });
}

function actionForm() {
  const id = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "a new one" });
  const session = h("input", { autocomplete: "off", spellcheck: "false", placeholder: "the connection's" });
  const payload = h("textarea", {
    rows: 6,
    spellcheck: "false",
    onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    },
  });
  payload.value = write({});
  let last = 0;
  const { run, words } = attempt(async () => {
    if (parse(payload.value) === undefined) throw new Error("The payload is not JSON");
    last += 1;
    const name = id.value || `page-${call.peek()}-${last}`;
    const belongs = session.value ? `"session_id": ${JSON.stringify(session.value)}, ` : "";
    const text = `{"action": "invoke", "invocation_id": ${JSON.stringify(name)}, ${belongs}"payload": ${payload.value}}`;
    await post("/api/say", { call: call.peek(), kind: "text", data: text });
    announce(`${name} begun.`);
  });
  const form = h("form", { class: "request", "aria-label": "Invocation", onsubmit: run },
    h("h2", {}, "Invocation"),
    h("div", { class: "row" }, labelled("Id", id, "grow"), labelled("Session of it", session, "grow")),
    labelled("Payload of the action", payload, "block"),
    h("div", { class: "row" },
      h("button", { type: "submit", class: "primary", disabled: () => !isOpen.value }, "Invoke action"),
      h("span", { class: "hint" }, "Ctrl+Enter in the payload")),
    words);
  return form;
}

function closeButton() {
  const close = attempt(() => post("/api/say", { call: call.peek(), kind: "close", code: 1000 }));
  return h("div", {},
    h("button", { type: "button", disabled: () => !isOpen.value, onclick: close.run }, "Close the connection"),
    close.words);
}
