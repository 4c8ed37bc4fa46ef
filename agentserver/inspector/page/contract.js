// Contract: the documents that the agent serves.
import { get } from "./api.js";
import { effect, h, signal } from "./dom.js";
import { pretty } from "./format.js";
import { agent } from "./store.js";

/** @typedef {{name: string, path: string, status: number, type: string, text: string | null}} Document */

export function contractTab() {
  const documents = signal(/** @type {Document[]} */ ([]));
  const problem = signal("");

  async function look() {
    try {
      documents.value = (await get("/api/documents")).documents;
      problem.value = "";
    } catch (error) {
      problem.value = String(error instanceof Error ? error.message : error);
    }
  }
  effect(() => {
    if (agent.value.state === "running") void look();
  });

  return h(
    "div",
    {},
    h("h2", {}, "Documents"),
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => void look() }, "Look again")),
    h("p", { class: "error", role: "alert" }, () => problem.value),
    h("div", {}, () => documents.value.map(shownDocument)),
  );
}

/** @param {Document} found */
function shownDocument(found) {
  return h(
    "section",
    { "aria-label": found.name },
    h("h3", {}, `${found.name} · ${found.path} · ${found.status}`),
    found.text === null
      ? h("p", { class: "hint" }, "The handler has none.")
      : h("pre", { class: "content", tabindex: 0, "aria-label": found.name }, pretty(found.text)),
  );
}
