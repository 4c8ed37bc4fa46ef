// Invoke: a request and its answer. Stream: the same, for answers that come as events.
import { h, signal } from "./dom.js";
import { exchangesView } from "./exchanges.js";
import { requestForm } from "./request.js";

/** The page's newest call over HTTP; both tabs show it. */
const call = signal(/** @type {number | null} */ (null));

export function invokeTab() {
  return h("div", { class: "split" }, requestForm(call), exchangesView("Requests", (each) => each.kind !== "websocket", call));
}

export function streamTab() {
  return h("div", { class: "split" }, requestForm(call), exchangesView("Streams", (each) => each.kind === "stream", call));
}
