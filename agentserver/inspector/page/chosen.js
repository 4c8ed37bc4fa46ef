// Which tab is shown; kept over a reload of the page.
import { signal } from "./dom.js";

const KEY = "inspector-tab";

export const chosen = signal(sessionStorage.getItem(KEY) ?? "Invoke");

/** @param {string} name of the tab */
export function choose(name) {
  chosen.value = name;
  sessionStorage.setItem(KEY, name);
}
