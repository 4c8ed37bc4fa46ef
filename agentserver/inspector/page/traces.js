// Traces: the agent's spans as a waterfall, those that run and those that have failed too.
import { get } from "./api.js";
import { choose as chooseTab } from "./chosen.js";
import { contentView } from "./content.js";
import { computed, effect, h, signal } from "./dom.js";
import { filtered } from "./filtered.js";
import { duration, line, plural, time } from "./format.js";
import { write } from "./json.js";
import { listing } from "./listing.js";
import { began, traces, tracesForgotten } from "./store.js";

/**
 * @typedef {import("./store.js").TraceSummary} Summary
 * @typedef {{trace: string, span: string, parent: string, name: string, kind: string, scope: string, at: number,
 *   duration: number | null, lost: boolean, status?: string, message?: string, attributes: Record<string, any>,
 *   events: {at: number, name: string, attributes: Record<string, any>}[]}} Span
 * @typedef {Summary & {dropped: number, list: Span[]}} Detail
 * @typedef {{span: Span, level: number, number: number, parts: number, isOpen: boolean}} Row
 */

const chosen = signal(/** @type {string | null} */ (null));

/**
 * Show a trace, whichever tab is shown now.
 * @param {string} id
 */
export function showTrace(id) {
  chosen.value = id;
  chooseTab("Traces");
}

export function tracesTab() {
  const { listed, controls } = filtered(() => traces.value, (each) => `${each.id} ${each.name} ${each.invocations.join(" ")}`);
  return h(
    "div",
    { class: "split even" },
    h(
      "section",
      { "aria-label": "Traces" },
      h("h2", {}, () => `Traces, ${listed.value.length}${tracesForgotten.value ? ` (${tracesForgotten.value} older ones forgotten)` : ""}`),
      h("div", { class: "row" }, ...controls),
      listing({
        label: "Traces",
        tall: true,
        items: () => listed.value,
        key: (each) => each.id,
        row: traceRow,
        choose: (each) => {
          chosen.value = each.id;
        },
        chosen: () => chosen.value,
      }),
    ),
    waterfall(),
  );
}

/** @param {Summary} each */
function traceRow(each) {
  return [
    h("span", { class: "time" }, time(began.value + each.at)),
    h("span", { class: each.failed ? "text bad" : "text" }, line(each.name)),
    h("span", { class: each.failed ? "size bad" : "size" }, each.failed ? `${each.failed} failed` : plural(each.spans, "span")),
    h("span", { class: "size" }, each.running ? "running" : duration(each.duration)),
  ];
}

function waterfall() {
  const detail = signal(/** @type {Detail | null} */ (null));
  const problem = signal("");
  const folded = signal(/** @type {ReadonlySet<string>} */ (new Set()));
  const opened = signal(/** @type {string | null} */ (null));
  const summary = computed(() => traces.value.find((each) => each.id === chosen.value) ?? null);

  effect(() => {
    void summary.value;
    const id = chosen.value;
    if (id !== null) void load(id);
  });

  /** @param {string} id */
  async function load(id) {
    try {
      const found = /** @type {Detail} */ (await get(`/api/traces/${id}`));
      if (chosen.peek() === id) detail.value = found;
      problem.value = "";
    } catch (error) {
      problem.value = String(error instanceof Error ? error.message : error);
    }
  }

  const rows = computed(() => (detail.value ? rowsOf(detail.value.list, folded.value) : []));
  const end = computed(() => Math.max(0.001, ...(detail.value?.list ?? []).map((span) => span.at + (span.duration ?? 0))));
  const openedSpan = computed(() => detail.value?.list.find((span) => span.span === opened.value) ?? null);
  const id = computed(() => detail.value?.id ?? null);

  return h("section", { "aria-label": "Trace" },
    h("p", { class: "error", role: "alert" }, () => problem.value),
    () => (id.value === null ? h("p", { class: "hint" }, () => (traces.value.length ? "Choose a trace."
      : "There is no trace yet: send something. Without OpenTelemetry's SDK (the extra telemetry) there will be none.")) : h("div", {},
      h("h2", { class: "headline" }, () => detail.value && headline(detail.value)),
      h("p", { class: "hint" }, "Left and Right fold and unfold what a span contains."),
      listing({
        label: "Spans",
        tall: true,
        fits: true,
        items: () => rows.value,
        key: (row) => row.span.span,
        row: (row) => spanRow(row, end.value),
        choose: (row) => {
          opened.value = row.span.span;
        },
        turn: (row, isOpen) => {
          const next = new Set(folded.peek());
          if (isOpen) next.delete(row.span.span);
          else if (row.parts) next.add(row.span.span);
          folded.value = next;
        },
      }),
      h("div", {}, () => openedSpan.value && spanView(openedSpan.value)))));
}

/** @param {Detail} found */
function headline(found) {
  const parts = [line(found.name), plural(found.spans, "span"), found.running ? `${found.running} running` : duration(found.duration)];
  if (found.failed) parts.push(`${found.failed} failed`);
  if (found.dropped) parts.push(`${found.dropped} older ones dropped`);
  return parts.join(" · ");
}

/**
 * Each span below the one that contains it, without what is folded away.
 * @param {Span[]} spans
 * @param {ReadonlySet<string>} folded
 * @returns {Row[]}
 */
function rowsOf(spans, folded) {
  const known = new Set(spans.map((span) => span.span));
  /** @type {Map<string, Span[]>} */
  const parts = new Map();
  for (const span of spans) {
    const parent = known.has(span.parent) && span.parent !== span.span ? span.parent : "";
    parts.set(parent, [...(parts.get(parent) ?? []), span]);
  }
  /** @type {Row[]} */
  const rows = [];
  /** @type {[Span, number][]} */
  const waiting = (parts.get("") ?? []).map((span) => /** @type {[Span, number]} */ ([span, 0])).reverse();
  for (let next = waiting.pop(); next; next = waiting.pop()) {
    const [span, level] = next;
    const inner = parts.get(span.span) ?? [];
    const isOpen = !folded.has(span.span);
    rows.push({ span, level, number: rows.length, parts: inner.length, isOpen });
    if (isOpen) waiting.push(...inner.map((each) => /** @type {[Span, number]} */ ([each, level + 1])).reverse());
  }
  return rows;
}

/** @param {Span} span */
function state(span) {
  if (span.lost) return "lost with its process";
  if (span.duration === null) return "running";
  return span.status === "error" ? "failed" : "";
}

/**
 * @param {Row} row
 * @param {number} end
 */
function spanRow({ span, level, parts, isOpen }, end) {
  const bar = h("span", { class: `bar ${state(span).split(" ")[0]}` });
  bar.style.left = `${(100 * span.at) / end}%`;
  bar.style.width = `${(100 * (span.duration ?? end - span.at)) / end}%`;
  const name = h("span", { class: "span-name" }, `${parts ? (isOpen ? "▾ " : "▸ ") : "· "}${line(span.name)}`);
  name.style.paddingInlineStart = `${Math.min(level, 20) * 0.8}rem`;
  return [
    name,
    h("span", { class: "bars", "aria-hidden": "true" }, bar),
    h("span", { class: "time" }, `+${span.at.toFixed(1)}`),
    h("span", { class: state(span) === "failed" ? "span-end bad" : "span-end" },
      span.duration === null ? state(span) : `${span.duration.toFixed(1)} ms ${state(span)}`),
  ];
}

/** @param {Span} span */
function spanView(span) {
  const facts = [span.kind, span.scope, `+${span.at.toFixed(3)} ms`, span.duration === null ? state(span) : `${span.duration.toFixed(3)} ms`];
  return h("div", { class: "part" },
    h("h3", {}, line(span.name)),
    h("p", {}, facts.filter(Boolean).join(" · ")),
    h("p", { class: "error" }, span.status === "error" ? `failed: ${span.message || "no description"}` : ""),
    pairs(span.attributes),
    ...(span.events ?? []).map((event) => h("div", {},
      h("h3", {}, `${line(event.name)}, +${event.at.toFixed(3)} ms`), pairs(event.attributes))));
}

/** @param {Record<string, any>} attributes */
function pairs(attributes) {
  return h("dl", { class: "headers" }, ...Object.entries(attributes).flatMap(([name, value]) => {
    const text = typeof value === "string" ? value : write(value);
    return [h("dt", {}, name), h("dd", {}, text.includes("\n") ? contentView(name, text) : text)];
  }));
}
