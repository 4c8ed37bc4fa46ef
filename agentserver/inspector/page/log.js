// Log: what the agent and agentserver dev have logged.
import { computed, h, signal } from "./dom.js";
import { filtered } from "./filtered.js";
import { line, plural, time } from "./format.js";
import { listing } from "./listing.js";
import { valueOf } from "./request.js";
import { began, logs } from "./store.js";

/** @typedef {import("./store.js").LogEntry & {number: number}} Entry */

const LEVELS = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"];

export function logTab() {
  const least = signal("DEBUG");
  const chosen = signal(/** @type {Entry | null} */ (null));
  const { listed: found, isPaused, controls } = filtered(() => logs.value.map((entry, number) => ({ ...entry, number })), words);
  const listed = computed(() => {
    const level = LEVELS.indexOf(least.value);
    return found.value.filter((entry) => LEVELS.indexOf(entry.level) >= level);
  });
  return h(
    "div",
    {},
    h("h2", {}, () => `Log, ${plural(listed.value.length, "record")}`),
    h("div", { class: "row" },
      ...controls,
      h("label", {}, "Level ", h("select", {
        onchange: (/** @type {Event} */ event) => {
          least.value = valueOf(event);
        },
      }, ...LEVELS.map((level) => h("option", { value: level }, level))))),
    listing({
      label: "Log",
      tall: true,
      items: () => listed.value,
      key: (entry) => entry.number,
      row,
      choose: (entry) => {
        chosen.value = entry;
      },
      follows: () => !isPaused.value && !chosen.value,
    }),
    h("section", { "aria-label": "Record" }, () => (chosen.value ? record(chosen.value) : null)),
  );
}

/** @param {Entry} entry */
function row(entry) {
  return [
    h("span", { class: "time" }, time(began.value + entry.at)),
    h("span", { class: `level ${entry.level.toLowerCase()}` }, entry.level),
    h("span", { class: "logger" }, line(entry.logger)),
    h("span", { class: "text" }, line(entry.message)),
  ];
}

/** @param {Entry} entry */
function record(entry) {
  return h(
    "div",
    {},
    h("h3", {}, `${entry.level} of ${entry.logger}`),
    h("pre", { class: "content", tabindex: 0, "aria-label": "Message" }, entry.message + (entry.exception ? `\n${entry.exception}` : "")),
    h("dl", { class: "headers" }, ...Object.entries(entry.ids).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)])),
  );
}

/** @param {Entry} entry */
function words(entry) {
  return `${entry.level} ${entry.logger} ${entry.message} ${Object.values(entry.ids).join(" ")} ${entry.exception}`;
}
