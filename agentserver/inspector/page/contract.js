// Contract: the documents that the agent serves.
import { contentView } from "./content.js";
import { documents, look, problem } from "./documents.js";
import { h } from "./dom.js";
import { pretty } from "./format.js";

export function contractTab() {
  return h(
    "div",
    {},
    h("h2", {}, "Documents"),
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => void look() }, "Look again")),
    h("p", { class: "error", role: "alert" }, () => problem.value),
    h("div", {}, () => documents.value.map(shownDocument)),
  );
}

/** @param {import("./documents.js").Document} found */
function shownDocument(found) {
  return h(
    "section",
    { "aria-label": found.name },
    h("h3", {}, `${found.name} · ${found.path} · ${found.status}`),
    found.text === null
      ? h("p", { class: "hint" }, "The handler has none.")
      : contentView(found.name, pretty(found.text)),
  );
}
