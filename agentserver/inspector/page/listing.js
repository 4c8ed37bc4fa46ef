// A list of any length, of which only the rows in sight are elements: a listbox that the keyboard moves in.
import { effect, h, newId, signal } from "./dom.js";

const ROW = 24;
const BEYOND = 8;

/**
 * @template T
 * @param {{label: string, items: () => T[], row: (item: T) => (Node | string)[], key: (item: T) => number | string,
 *   choose: (item: T) => void, chosen?: () => number | string | null, follows?: () => boolean, tall?: boolean, fits?: boolean,
 *   turn?: (item: T, isOpen: boolean) => void}} options `items` are read anew when their signals change; `follows`
 *   says whether the newest row is kept in sight; `turn` folds a row, or unfolds it; what `fits` is no higher than its rows
 */
export function listing(options) {
  const id = newId();
  const top = signal(0);
  const height = signal(400);
  const active = signal(/** @type {number | string | null} */ (null));
  const space = h("div", { class: "listing-space", role: "presentation" });
  const box = h(
    "div",
    {
      class: options.tall ? "listing tall" : "listing",
      role: "listbox",
      tabindex: 0,
      "aria-label": options.label,
      "aria-activedescendant": () => (active.value === null ? null : `${id}-${active.value}`),
      onscroll: () => {
        top.value = box.scrollTop;
      },
      onkeydown: keydown,
    },
    space,
  );
  new ResizeObserver(() => {
    height.value = box.clientHeight;
  }).observe(box);

  effect(() => {
    const items = options.items();
    space.style.height = `${items.length * ROW}px`;
    if (options.fits) box.style.height = `${items.length * ROW + 2}px`; // with its border
    if (options.follows?.()) box.scrollTop = items.length * ROW;
    const first = Math.max(0, Math.floor(top.value / ROW) - BEYOND);
    const last = Math.min(items.length, Math.ceil((top.value + height.value) / ROW) + BEYOND);
    const chosen = options.chosen?.() ?? active.value;
    const rows = [];
    for (let index = first; index < last; index += 1) {
      rows.push(row(items[index], index, items.length, chosen));
    }
    space.replaceChildren(...rows);
  });

  /**
   * @param {T} item
   * @param {number} index
   * @param {number} count
   * @param {number | string | null} chosen
   */
  function row(item, index, count, chosen) {
    const key = options.key(item);
    const made = h(
      "div",
      {
        id: `${id}-${key}`,
        class: "listing-row",
        role: "option",
        "aria-selected": key === chosen ? "true" : "false",
        "aria-posinset": index + 1,
        "aria-setsize": count,
        onclick: () => choose(item),
      },
      ...options.row(item),
    );
    made.style.transform = `translateY(${index * ROW}px)`;
    return made;
  }

  /** @param {T} item */
  function choose(item) {
    active.value = options.key(item);
    options.choose(item);
  }

  /** @param {KeyboardEvent} event */
  function keydown(event) {
    const items = options.items();
    const chosen = options.chosen?.() ?? active.peek();
    const at = items.findIndex((item) => options.key(item) === chosen);
    if (options.turn && at >= 0 && (event.key === "ArrowLeft" || event.key === "ArrowRight")) {
      event.preventDefault();
      options.turn(items[at], event.key === "ArrowRight");
      return;
    }
    const page = Math.max(1, Math.floor(height.peek() / ROW) - 1);
    /** @type {Record<string, number>} */
    const targets = {
      ArrowDown: at + 1,
      ArrowUp: at < 0 ? items.length - 1 : at - 1,
      Home: 0,
      End: items.length - 1,
      PageDown: at + page,
      PageUp: at - page,
    };
    const target = targets[event.key];
    if (target === undefined || !items.length) return;
    event.preventDefault();
    const index = Math.min(items.length - 1, Math.max(0, target));
    if (index * ROW < box.scrollTop) box.scrollTop = index * ROW;
    if ((index + 1) * ROW > box.scrollTop + box.clientHeight) box.scrollTop = (index + 1) * ROW - box.clientHeight;
    choose(items[index]);
  }

  return box;
}
