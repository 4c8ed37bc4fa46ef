// A body as text: the beginning of a long one until all of it is asked for, for laying out megabytes takes seconds.
import { h, signal } from "./dom.js";

const SHOWN = 20_000;

/**
 * @param {string} label
 * @param {string} text
 */
export function contentView(label, text) {
  const isWhole = signal(text.length <= SHOWN);
  return h("div", {},
    h("pre", { class: "content", tabindex: 0, role: "group", "aria-label": label }, () => (isWhole.value ? text : text.slice(0, SHOWN))),
    h("button", {
      type: "button",
      hidden: () => isWhole.value,
      onclick: () => {
        isWhole.value = true;
      },
    }, `Show all ${text.length} characters`));
}
