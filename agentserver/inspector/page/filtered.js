// What a list shows of all that there is: what its filter lets through, as it was when it was paused.
import { computed, h, signal } from "./dom.js";

/**
 * @template T
 * @param {() => T[]} all read anew when its signals change
 * @param {(item: T) => string} words what the filter looks in
 * @returns {{listed: import("./dom.js").Signal<T[]>, isPaused: import("./dom.js").Signal<boolean>, controls: Node[]}}
 */
export function filtered(all, words) {
  const filter = signal("");
  const isPaused = signal(false);
  /** @type {T[]} */
  let held = [];
  const listed = computed(() => {
    if (!isPaused.value) held = all();
    const wanted = filter.value.toLowerCase();
    return wanted ? held.filter((item) => words(item).toLowerCase().includes(wanted)) : held;
  });
  const search = h("input", {
    type: "search",
    oninput: () => {
      filter.value = search.value;
    },
  });
  const pause = h("input", {
    type: "checkbox",
    onchange: () => {
      isPaused.value = pause.checked;
    },
  });
  return { listed, isPaused, controls: [h("label", {}, "Filter ", search), h("label", {}, pause, " Pause")] };
}
