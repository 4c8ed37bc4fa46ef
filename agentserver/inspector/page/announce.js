// Tells a screen reader what has happened, at most once a second.
import { h, signal } from "./dom.js";

const said = signal("");
let waiting = "";
let timer = 0;

/**
 * Say `words` politely; of what comes within a second the last is said.
 * @param {string} words
 */
export function announce(words) {
  waiting = words;
  if (timer) return;
  said.value = words;
  timer = setTimeout(() => {
    timer = 0;
    if (waiting !== said.peek()) announce(waiting);
  }, 1000);
}

/** The region that is read out. */
export function liveRegion() {
  return h("div", { class: "unseen", role: "status", "aria-live": "polite" }, () => said.value);
}
