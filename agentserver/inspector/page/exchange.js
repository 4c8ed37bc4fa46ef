// One exchange, whole: what was sent, what came, when each part did; replayed and copied from here.
import { announce } from "./announce.js";
import { getText, post } from "./api.js";
import { contentView } from "./content.js";
import { detailOf } from "./details.js";
import { computed, h, signal } from "./dom.js";
import { filtered } from "./filtered.js";
import { bytesOf, duration, hex, line, pretty, shown, size } from "./format.js";
import { listing } from "./listing.js";
import { traces } from "./store.js";
import { showTrace } from "./traces.js";

/** @typedef {import("./details.js").Part} Part */
/** @typedef {import("./details.js").Body} Body */
/** @typedef {import("./details.js").Detail} Detail */

/**
 * The chosen exchange, kept up to date while it goes on.
 * @param {import("./dom.js").Signal<number | null>} chosen
 */
export function exchangeView(chosen) {
  const { detail, parts, problem } = detailOf(() => chosen.value);
  const shownId = computed(() => (chosen.value === null ? null : (detail.value?.id ?? null)));
  return h("section", { class: "exchange", "aria-label": "Exchange" }, () => {
    if (problem.value) return h("p", { class: "error", role: "alert" }, problem.value);
    const id = shownId.value;
    if (id === null) {
      return h("p", { class: "hint" }, "Send something, or choose an exchange: those of other clients are here too.");
    }
    return shownExchange(id, detail, parts);
  });
}

/**
 * The elements of an exchange are made once, and follow its changes.
 * @param {number} id
 * @param {import("./dom.js").Signal<Detail | null>} detail
 * @param {import("./dom.js").Signal<Part[]>} parts
 */
function shownExchange(id, detail, parts) {
  const current = () => /** @type {Detail} */ (detail.value);
  const isSocket = () => current().kind === "websocket";
  return h(
    "div",
    {},
    h("h2", { class: "headline" }, () => headline(current())),
    actions(id, detail, isSocket),
    h("details", { open: current().kind === "http", hidden: isSocket },
      h("summary", {}, () => bodyTitle(current())),
      h("div", {}, () => bodyOf(current()))),
    timeline(parts, () => current().dropped),
    h("details", {}, h("summary", {}, "Request"), h("div", {}, () => messageOf(current().request, isSocket()))),
    h("details", {}, h("summary", {}, "Response headers"), h("div", {}, () => headersOf(current().response?.headers ?? []))),
  );
}

/** @param {Detail} found */
function headline(found) {
  const words = [`${found.method} ${found.path}`];
  if (found.status !== null) words.push(`${found.status} ${found.response?.reason ?? ""}`.trim());
  if (found.first !== null && found.duration !== null) words.push(`first ${duration(found.first)}`);
  words.push(found.end ? duration(found.duration) : "open");
  if (found.closed) words.push(closeWords(found.closed));
  else if (found.end && found.end !== "complete") words.push(found.end);
  return words.join(" · ");
}

/** @param {{by: string, code: number, reason: string}} closed */
export function closeWords(closed) {
  const by = closed.by === "nobody" ? "" : ` by the ${closed.by}`;
  return `close ${closed.code}${closed.reason ? ` "${line(closed.reason)}"` : ""}${by}`;
}

/**
 * @param {number} id
 * @param {import("./dom.js").Signal<Detail | null>} detail
 * @param {() => boolean} isSocket whose frames are no request to send again
 */
function actions(id, detail, isSocket) {
  const copied = signal("");
  const words = signal("");
  const trace = computed(() => {
    const invocation = detail.value?.response?.headers.find(([name]) => name.toLowerCase() === "x-agent-invocation-id")?.[1];
    return traces.value.find((each) => invocation !== undefined && each.invocations.includes(invocation)) ?? null;
  });

  /**
   * @param {string} form
   * @param {string} name
   */
  async function copy(form, name) {
    try {
      copied.value = await getText(`/api/exchanges/${id}/${form}`);
      await navigator.clipboard.writeText(copied.peek());
      words.value = `Copied as ${name}.`;
    } catch (error) {
      words.value = copied.peek() ? `As ${name}:` : String(error instanceof Error ? error.message : error);
    }
    announce(words.peek());
  }

  async function replay() {
    try {
      await post("/api/replay", { exchange: id });
      words.value = "Sent again.";
    } catch (error) {
      words.value = String(error instanceof Error ? error.message : error);
    }
    announce(words.peek());
  }

  const button = (/** @type {string} */ label, /** @type {() => void} */ click) =>
    h("button", { type: "button", onclick: click, hidden: () => isSocket() && !label.endsWith("lines") }, label);
  return h(
    "div",
    { class: "row" },
    h("button", {
      type: "button",
      hidden: () => !trace.value,
      onclick: () => showTrace(trace.peek()?.id ?? ""),
    }, "Trace"),
    button("Replay", () => void replay()),
    button("Copy as curl", () => void copy("curl", "curl")),
    button("Copy as Python", () => void copy("python", "Python")),
    button("Copy as JSON lines", () => void copy("jsonl", "JSON lines")),
    h("button", {
      type: "button",
      hidden: () => Boolean(detail.value?.end) || !detail.value?.call,
      onclick: () => void post("/api/leave", { call: detail.peek()?.call }),
    }, "Leave"),
    h("span", { class: "hint" }, () => words.value),
    h("textarea", {
      class: "copied",
      readonly: true,
      rows: 4,
      "aria-label": "What was copied",
      hidden: () => !copied.value,
      value: () => copied.value,
    }),
  );
}

/** @param {Detail} found */
function bodyOf(found) {
  const body = found.response?.body;
  if (!body) return h("p", { class: "hint" }, found.end ? "There was no answer." : "Waiting for the answer…");
  return contentView("Response body", pretty(shown(body)));
}

/** @param {Detail} found */
function bodyTitle(found) {
  const body = found.response?.body;
  if (!body) return "Response body";
  return `Response body, ${body.whole ? "" : "the beginning of "}${size(body.size)}`;
}

/**
 * @param {{headers: [string, string][], body: Body}} message
 * @param {boolean} isSocket
 */
function messageOf(message, isSocket) {
  return h("div", {},
    headersOf(message.headers),
    isSocket ? null : contentView("Request body", pretty(shown(message.body))),
  );
}

/** @param {[string, string][]} headers */
function headersOf(headers) {
  return h(
    "dl",
    { class: "headers" },
    ...headers.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}

/**
 * @param {import("./dom.js").Signal<Part[]>} parts
 * @param {() => number} dropped
 */
function timeline(parts, dropped) {
  const { listed, isPaused, controls } = filtered(() => parts.value, partWords);
  const opened = signal(/** @type {Part | null} */ (null));
  return h(
    "div",
    { class: "timeline" },
    h("h3", {}, () => `Timeline, ${listed.value.length} of ${parts.value.length} parts${dropped() ? `, ${dropped()} older ones dropped` : ""}`),
    h("div", { class: "row" }, ...controls),
    listing({
      label: "Timeline",
      items: () => listed.value,
      key: (part) => part.number,
      row: partRow,
      choose: (part) => {
        opened.value = part;
      },
      follows: () => !isPaused.value && !opened.value,
    }),
    h("div", {}, () => opened.value && partView(opened.value)),
  );
}

/** @param {Part} part */
function partRow(part) {
  return [
    h("span", { class: "time" }, `+${part.at.toFixed(1)}`),
    h("span", { class: "time gap" }, `Δ${part.gap.toFixed(1)}`),
    h("span", { class: `sender ${part.sender}` }, part.sender === "client" ? "▲ client" : "▼ agent"),
    h("span", { class: "kind" }, part.kind === "event" ? line(part.event ?? "") : part.kind),
    h("span", { class: "size" }, size(part.size)),
    h("span", { class: "text" }, partText(part)),
  ];
}

/** @param {Part} part */
function partText(part) {
  if (part.kind === "close") return `${part.code} ${line(part.reason ?? "")}`;
  if (part.kind === "head") return part.status ? String(part.status) : "";
  const id = part.event_id ? `id ${line(part.event_id)} ` : "";
  return `${id}${line(shown(part))}`;
}

/** @param {Part} part */
function partWords(part) {
  return `${part.sender} ${part.kind} ${part.event ?? ""} ${partText(part)}`;
}

/** @param {Part} part */
function partView(part) {
  const facts = [part.sender, part.kind, `+${part.at.toFixed(2)} ms`, size(part.size)];
  if (part.event) facts.push(`event ${part.event}`);
  if (part.event_id) facts.push(`id ${part.event_id}`);
  if (part.compressed) facts.push("compressed");
  if (part.more) facts.push("more follows");
  if (part.code) facts.push(`code ${part.code}`, part.reason ?? "");
  const bytes = part.base64 === undefined ? new TextEncoder().encode(part.text ?? "") : bytesOf(part.base64);
  const asHex = signal(part.base64 !== undefined);
  return h(
    "div",
    { class: "part" },
    h("p", {}, facts.filter(Boolean).join(" · ")),
    h("label", {}, h("input", {
      type: "checkbox",
      checked: asHex.peek(),
      onchange: (/** @type {Event} */ event) => {
        asHex.value = /** @type {HTMLInputElement} */ (event.target).checked;
      },
    }), " hexadecimal"),
    h("div", {}, () => contentView("Part", asHex.value ? hex(bytes) : pretty(shown(part)))),
  );
}
