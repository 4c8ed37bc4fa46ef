// The list of exchanges, those of other clients too, beside the one that is chosen.
import { announce } from "./announce.js";
import { getText, post } from "./api.js";
import { effect, h, signal } from "./dom.js";
import { closeWords, exchangeView } from "./exchange.js";
import { filtered } from "./filtered.js";
import { duration, line, size, time } from "./format.js";
import { listing } from "./listing.js";
import { began, exchanges, failures, forgotten, unrecorded } from "./store.js";

/** @typedef {import("./store.js").Summary} Summary */

/**
 * @param {string} label
 * @param {(exchange: Summary) => boolean} belongs
 * @param {import("./dom.js").Signal<number | null>} call the page's newest call, whose exchange is shown when it comes
 */
export function exchangesView(label, belongs, call) {
  const chosen = signal(/** @type {number | null} */ (null));
  const { listed, controls } = filtered(() => exchanges.value.filter(belongs), words);

  let shownCall = 0;
  effect(() => {
    const number = call.value;
    const found = number && number !== shownCall && exchanges.value.find((each) => each.call === number);
    if (!found) return;
    shownCall = number;
    chosen.value = found.id;
  });
  let announced = 0;
  effect(() => {
    const found = exchanges.value.find((each) => each.id === chosen.value);
    if (!found?.end || announced === found.id) return;
    announced = found.id;
    announce(`${found.status ?? "No answer"}, ${duration(found.duration)}, ${found.end}`);
  });

  return h(
    "div",
    { class: "exchanges" },
    h(
      "section",
      { "aria-label": label },
      h("h2", {}, () => `${label}, ${listed.value.length}${losses()}`),
      h(
        "div",
        { class: "row" },
        ...controls,
        h("button", { type: "button", onclick: () => void exportAll() }, "Export all"),
        h("button", { type: "button", onclick: () => void post("/api/clear", {}) }, "Clear"),
      ),
      h("p", { class: "error", role: "alert" }, () => (call.value && failures.value[call.value]) || ""),
      listing({
        label,
        items: () => listed.value,
        key: (each) => each.id,
        row,
        choose: (each) => {
          chosen.value = each.id;
        },
        chosen: () => chosen.value,
      }),
    ),
    exchangeView(chosen),
  );
}

function losses() {
  const parts = [];
  if (forgotten.value) parts.push(`${forgotten.value} older ones forgotten`);
  if (unrecorded.value) parts.push(`${unrecorded.value} records not taken`);
  return parts.length ? ` (${parts.join(", ")})` : "";
}

/** @param {Summary} each */
function row(each) {
  return [
    h("span", { class: "time" }, time(began.value + each.at)),
    h("span", { class: "maker" }, each.by === "page" ? "page" : "client"),
    h("span", { class: each.status === null || each.status >= 400 ? "status bad" : "status" }, String(each.status ?? "…")),
    h("span", { class: "text" }, `${each.method} ${line(each.path)}`),
    h("span", { class: "size" }, duration(each.duration)),
    h("span", { class: "size" }, size(each.received)),
    h("span", { class: "ending" }, ending(each)),
  ];
}

/** @param {Summary} each */
function ending(each) {
  if (each.closed) return closeWords(each.closed);
  return each.end === "complete" ? "" : each.end || "open";
}

/** @param {Summary} each */
function words(each) {
  return `${each.by} ${each.method} ${each.path} ${each.status} ${each.kind} ${ending(each)}`;
}

async function exportAll() {
  const text = await getText("/api/export");
  const link = h("a", {
    href: URL.createObjectURL(new Blob([text], { type: "application/x-ndjson" })),
    download: "exchanges.jsonl",
  });
  link.click();
  URL.revokeObjectURL(link.href);
  announce("Exported.");
}
