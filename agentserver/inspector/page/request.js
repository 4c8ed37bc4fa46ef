// The request that Invoke and Stream send: the same draft in both.
import { announce } from "./announce.js";
import { post } from "./api.js";
import { h, signal } from "./dom.js";

const KEY = "inspector-draft";

/** @typedef {{method: string, path: string, headers: string, body: string, session: string, key: string, type: string, rate: string, drop: string, filled: string}} Draft */

/** @type {Draft} */
const FIRST = {
  method: "POST",
  path: "/invocations",
  headers: "",
  body: "Hello",
  session: "",
  key: "",
  type: "",
  rate: "",
  drop: "",
  filled: "Hello",
};

/** @type {import("./dom.js").Signal<Draft>} */
export const draft = signal({ ...FIRST, ...JSON.parse(sessionStorage.getItem(KEY) ?? "{}") });

/** @param {Partial<Draft>} changes */
export function change(changes) {
  draft.value = { ...draft.peek(), ...changes };
  sessionStorage.setItem(KEY, JSON.stringify(draft.peek()));
}

/**
 * Put a body where nobody has written one.
 * @param {string} body
 */
export function fill(body) {
  const { body: now, filled } = draft.peek();
  if (now === filled) change({ body, filled: body });
}

/**
 * Lines of `Name: value` as pairs.
 * @param {string} text
 * @returns {[string, string][]}
 */
export function headersOf(text) {
  return text.split("\n").filter((line) => line.trim()).map((line) => {
    const at = line.indexOf(":");
    return at < 0 ? [line.trim(), ""] : [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
}

/** @param {string} body */
function looksLikeJson(body) {
  try {
    return typeof JSON.parse(body) === "object";
  } catch {
    return false;
  }
}

/** What is sent for the draft. */
export function requestOf(/** @type {Draft} */ from) {
  const headers = headersOf(from.headers);
  const has = (/** @type {string} */ name) => headers.some(([each]) => each.toLowerCase() === name);
  const type = from.type || (looksLikeJson(from.body) ? "application/json" : "text/plain; charset=utf-8");
  if (from.body && !has("content-type")) headers.push(["Content-Type", type]);
  if (from.key && !has("idempotency-key")) headers.push(["Idempotency-Key", from.key]);
  const path = from.session
    ? `${from.path}${from.path.includes("?") ? "&" : "?"}agent_session_id=${encodeURIComponent(from.session)}`
    : from.path;
  return {
    method: from.method,
    path,
    headers,
    body: from.body,
    faults: { rate: Number(from.rate) || 0, drop_after: Number(from.drop) || 0 },
  };
}

/**
 * @param {import("./dom.js").Signal<number | null>} call
 * @param {Node[]} [before] what stands before the body
 */
export function requestForm(call, before = []) {
  const problem = signal("");

  async function send(/** @type {Event} */ event) {
    event.preventDefault();
    try {
      problem.value = "";
      call.value = (await post("/api/send", requestOf(draft.peek()))).call;
      announce("Sent.");
    } catch (error) {
      problem.value = String(error instanceof Error ? error.message : error);
    }
  }

  const form = h(
    "form",
    { class: "request", "aria-label": "Request", onsubmit: send },
    h("h2", {}, "Request"),
    h("div", { class: "row" },
      labelled("Method", choice("method", ["POST", "GET", "PUT", "DELETE", "HEAD", "OPTIONS"])),
      labelled("Path", input("path"), "grow"),
      h("button", { type: "submit", class: "primary" }, "Send")),
    h("p", { class: "error", role: "alert" }, () => problem.value),
    ...before,
    labelled("Body", h("textarea", {
      rows: 10,
      spellcheck: "false",
      value: () => draft.value.body,
      oninput: (/** @type {Event} */ event) => change({ body: valueOf(event) }),
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
      },
    }), "block"),
    h("p", { class: "hint" }, "Ctrl+Enter in the body sends it too."),
    h("div", { class: "row" },
      labelled("Content type", input("type", { placeholder: "by the body" }), "grow"),
      labelled("Session", input("session", { placeholder: "a new one" }), "grow"),
      labelled("Idempotency key", input("key"), "grow")),
    labelled("Headers, one a line", h("textarea", {
      rows: 3,
      spellcheck: "false",
      placeholder: "x-client-tenant: acme",
      value: () => draft.value.headers,
      oninput: (/** @type {Event} */ event) => change({ headers: valueOf(event) }),
    }), "block"),
    h("fieldset", { class: "row" }, h("legend", {}, "Faults"),
      labelled("Read slowly, bytes a second", input("rate", { type: "number", min: 0, placeholder: "as they come" })),
      labelled("Leave after so many bytes", input("drop", { type: "number", min: 0, placeholder: "never" }))),
  );
  return form;
}

/** @param {Event} event */
export function valueOf(event) {
  return /** @type {HTMLInputElement} */ (event.target).value;
}

/**
 * @param {keyof Draft} name
 * @param {Record<string, any>} [attributes]
 */
function input(name, attributes = {}) {
  return h("input", {
    ...attributes,
    spellcheck: "false",
    autocomplete: "off",
    value: () => draft.value[name],
    oninput: (/** @type {Event} */ event) => change({ [name]: valueOf(event) }),
  });
}

/**
 * @param {keyof Draft} name
 * @param {string[]} values
 */
function choice(name, values) {
  const select = h("select", {
    onchange: (/** @type {Event} */ event) => change({ [name]: valueOf(event) }),
  }, ...values.map((value) => h("option", { value }, value)));
  select.value = draft.peek()[name];
  return select;
}

/**
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [kind] `grow` takes the room that is left, `block` all of a line
 */
export function labelled(label, control, kind = "") {
  return h("div", { class: `field ${kind}` }, h("label", { for: control.id }, label), control);
}
