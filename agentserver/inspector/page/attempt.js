// What a form does when it is sent, and the words beside it when that fails.
import { h, signal } from "./dom.js";

/** @param {() => Promise<unknown>} work */
export function attempt(work) {
  const problem = signal("");
  const run = async (/** @type {Event} */ event) => {
    event.preventDefault();
    problem.value = "";
    try {
      await work();
    } catch (error) {
      problem.value = String(error instanceof Error ? error.message : error);
    }
  };
  return { run, words: h("p", { class: "error", role: "alert" }, () => problem.value) };
}
