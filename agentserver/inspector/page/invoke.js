// Invoke: a request and its answer. Stream: the same, for answers that come as events.
import { announce } from "./announce.js";
import { get } from "./api.js";
import { documents, openapi } from "./documents.js";
import { computed, effect, h, signal } from "./dom.js";
import { exchangesView } from "./exchanges.js";
import { valueForm } from "./form.js";
import { parse, write } from "./json.js";
import { change, draft, fill, requestForm } from "./request.js";
import { bodyOf } from "./schema.js";
import { exchanges } from "./store.js";

/** The page's newest call over HTTP; both tabs show it. */
const call = signal(/** @type {number | null} */ (null));

const path = computed(() => (draft.value.method === "POST" ? draft.value.path : ""));
const body = computed(() => bodyOf(openapi.value, path.value));
effect(() => {
  if (body.value) fill(write(body.value.example));
});

/** What the agent has found wrong in the newest call's body. */
const fault = signal(/** @type {import("./form.js").Fault | null} */ (null));
let asked = 0;
effect(() => {
  if (call.value !== null) fault.value = null; // it was of the call before
});
effect(() => {
  const number = call.value;
  const found = exchanges.value.find((each) => each.call === number && each.end);
  if (number === null || number === asked || !found) return;
  asked = number;
  void takeFault(found.status === 400 ? found.id : null);
});

/** @param {number | null} id of an exchange that was refused */
async function takeFault(id) {
  const detail = id && (await get(`/api/exchanges/${id}`).catch(() => null));
  const error = parse(detail?.response?.body?.text ?? "")?.error;
  fault.value = typeof error?.target === "string" ? { target: error.target, message: String(error.message) } : null;
  if (fault.peek()) announce(`400, ${fault.peek()?.message}`);
}

function bodyForm() {
  return h("div", {}, () => body.value && h("details", { open: true },
    h("summary", {}, "Form"),
    h("div", { class: "row" },
      h("button", {
        type: "button",
        onclick: () => {
          const text = write(body.peek()?.example);
          change({ body: text, filled: text });
        },
      }, "The example again")),
    valueForm({
      schema: body.value.schema,
      document: openapi.peek(),
      text: () => draft.value.body,
      change: (text) => change({ body: text }),
      fault: () => fault.value,
    })));
}

/** @returns {HTMLElement} */
function hint() {
  return h("p", { class: "hint" }, () => (documents.value.length && !body.value
    ? "The agent has no OpenAPI document with a JSON body for this path, so there is no form." : ""));
}

export function invokeTab() {
  return h("div", { class: "split" }, requestForm(call, [bodyForm(), hint()]),
    exchangesView("Requests", (each) => each.kind !== "websocket", call));
}

export function streamTab() {
  return h("div", { class: "split" }, requestForm(call, [bodyForm(), hint()]),
    exchangesView("Streams", (each) => each.kind === "stream", call));
}
