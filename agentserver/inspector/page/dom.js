// Elements and signals: all that the page needs of a framework.
//
// A signal holds a value; an effect runs anew when a signal that it has read changes, in the next microtask.
// What an effect has made while it ran, other effects among it, ends when it runs anew. Text is only ever set
// as text: nothing here makes an element out of a string.

/**
 * @template T
 * @typedef {{value: T, peek: () => T}} Signal
 */

/** @typedef {{run: () => void, sources: Set<Set<Effect>>, owned: Effect[], isOver: boolean}} Effect */

/** @typedef {Node | string | number | null | undefined | false} Simple */
/** @typedef {Simple | Simple[] | (() => Simple | Simple[])} Child */

/** @type {Effect | null} */
let current = null;
/** @type {Set<Effect>} */
const waiting = new Set();

/**
 * @template T
 * @param {T} value
 * @returns {Signal<T>}
 */
export function signal(value) {
  /** @type {Set<Effect>} */
  const readers = new Set();
  return {
    get value() {
      if (current) {
        readers.add(current);
        current.sources.add(readers);
      }
      return value;
    },
    set value(next) {
      if (Object.is(next, value)) return;
      value = next;
      for (const reader of readers) {
        if (!waiting.size) queueMicrotask(flush);
        waiting.add(reader);
      }
    },
    peek: () => value,
  };
}

function flush() {
  for (const effect of waiting) {
    waiting.delete(effect);
    try {
      if (!effect.isOver) effect.run();
    } catch (error) {
      reportError(error); // the others run all the same
    }
  }
}

/** @param {Effect} effect */
function release(effect) {
  for (const readers of effect.sources) readers.delete(effect);
  effect.sources.clear();
  for (const owned of effect.owned) {
    owned.isOver = true;
    release(owned);
  }
  effect.owned = [];
}

/**
 * Run `work` now, and anew when a signal changes that it reads.
 * @param {() => void} work
 */
export function effect(work) {
  /** @type {Effect} */
  const made = {
    sources: new Set(),
    owned: [],
    isOver: false,
    run() {
      release(made);
      const before = current;
      current = made;
      try {
        work();
      } finally {
        current = before;
      }
    },
  };
  current?.owned.push(made);
  made.run();
}

/**
 * Read signals without running anew when they change.
 * @template T
 * @param {() => T} work
 * @returns {T}
 */
export function untracked(work) {
  const before = current;
  current = null;
  try {
    return work();
  } finally {
    current = before;
  }
}

/**
 * A signal whose value is made of others'.
 * @template T
 * @param {() => T} make
 * @returns {Signal<T>}
 */
export function computed(make) {
  const made = signal(/** @type {any} */ (undefined));
  effect(() => {
    made.value = make();
  });
  return made;
}

/**
 * Make an element.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name its tag; a control gets an id, if it has none
 * @param {Record<string, any>} [properties] attributes; `on...` is a listener; a function is read anew when
 *   its signals change, but for listeners; false, null and undefined are no attribute
 * @param {...Child} children text and nodes; of a function what it returns, anew when its signals change
 * @returns {HTMLElementTagNameMap[Name]}
 */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (typeof value === "function") effect(() => set(element, key, value()));
    else set(element, key, value);
  }
  if (element.matches("input, select, textarea")) element.id ||= newId();
  for (const child of children) append(element, child);
  return element;
}

/** Those that are the element's state rather than its first value. */
const STATE = new Set(["value", "checked", "disabled", "selected", "open", "hidden", "className", "textContent"]);

/**
 * @param {HTMLElement} element
 * @param {string} key
 * @param {any} value
 */
function set(element, key, value) {
  if (STATE.has(key)) /** @type {any} */ (element)[key] = value ?? "";
  else if (value === false || value === null || value === undefined) element.removeAttribute(key);
  else element.setAttribute(key, value === true ? "" : String(value));
}

/**
 * @param {HTMLElement} element
 * @param {Child} child
 */
function append(element, child) {
  if (typeof child !== "function") {
    element.append(...nodes(child));
    return;
  }
  const end = document.createComment("");
  element.append(end);
  /** @type {ChildNode[]} */
  let shown = [];
  effect(() => {
    const made = nodes(child());
    for (const node of shown) node.remove();
    end.before(...made);
    shown = /** @type {ChildNode[]} */ (made);
  });
}

/**
 * @param {Simple | Simple[]} child
 * @returns {Node[]}
 */
function nodes(child) {
  return (Array.isArray(child) ? child : [child])
    .filter((each) => each !== null && each !== undefined && each !== false)
    .map((each) => (each instanceof Node ? each : document.createTextNode(String(each))));
}

let lastId = 0;

/** A new id for an element. */
export function newId() {
  lastId += 1;
  return `e${lastId}`;
}
