// An exchange with its parts, kept up to date while it goes on.
import { get } from "./api.js";
import { computed, effect, signal } from "./dom.js";
import { exchanges } from "./store.js";

/**
 * @typedef {{at: number, sender: string, kind: string, size: number, text?: string, base64?: string,
 *   status?: number, event?: string, event_id?: string, code?: number, reason?: string, more?: boolean,
 *   compressed?: boolean, number: number, gap: number}} Part
 * @typedef {{size: number, whole: boolean, text?: string, base64?: string}} Body
 * @typedef {import("./store.js").Summary & {request: {headers: [string, string][], body: Body},
 *   response: {reason: string, headers: [string, string][], body: Body} | null, dropped: number,
 *   from: number, next: number, list: Part[]}} Detail
 */

const PARTS_KEPT = 20000;

/**
 * @param {() => number | null} chosen the exchange's id
 * @returns {{detail: import("./dom.js").Signal<Detail | null>, parts: import("./dom.js").Signal<Part[]>,
 *   problem: import("./dom.js").Signal<string>}}
 */
export function detailOf(chosen) {
  const wanted = computed(chosen);
  const detail = signal(/** @type {Detail | null} */ (null));
  const parts = signal(/** @type {Part[]} */ ([]));
  const problem = signal("");
  let isLoading = false;
  let isStale = false;

  async function load() {
    isStale = true;
    if (isLoading) return;
    isLoading = true;
    try {
      while (isStale) {
        isStale = false;
        await loadOnce();
      }
    } finally {
      isLoading = false;
    }
  }

  async function loadOnce() {
    const id = wanted.peek();
    if (id === null) {
      detail.value = null;
      parts.value = [];
      return;
    }
    const known = detail.peek()?.id === id ? parts.peek() : [];
    const last = known.at(-1);
    const from = last ? last.number + 1 : 0;
    try {
      const found = /** @type {Detail} */ (await get(`/api/exchanges/${id}?from=${from}`));
      if (wanted.peek() !== id) {
        isStale = true;
        return;
      }
      const fresh = found.list.map((part, index) => ({
        ...part,
        number: found.from + index,
        gap: part.at - (index ? found.list[index - 1].at : (last?.at ?? part.at)),
      }));
      parts.value = [...known, ...fresh].slice(-PARTS_KEPT);
      detail.value = found;
      problem.value = "";
      if (found.next < found.parts) isStale = true;
    } catch (error) {
      problem.value = String(error instanceof Error ? error.message : error);
    }
  }

  const summary = computed(() => exchanges.value.find((each) => each.id === wanted.value) ?? null);
  effect(() => {
    void summary.value;
    void wanted.value;
    void load();
  });
  return { detail, parts, problem };
}
