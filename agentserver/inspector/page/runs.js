// Runs: what a durable handler has under way and behind it, with steps and events.
import { accepted } from "./accepted.js";
import { announce } from "./announce.js";
import { get, post } from "./api.js";
import { attempt } from "./attempt.js";
import { chosen as tab } from "./chosen.js";
import { contentView } from "./content.js";
import { computed, effect, h, signal } from "./dom.js";
import { exchangeView } from "./exchange.js";
import { line, pretty, time } from "./format.js";
import { parse, write } from "./json.js";
import { labelled } from "./request.js";
import { agent, began, exchanges } from "./store.js";

/**
 * @typedef {{invocation_id: string, session_id: string, status: string, attempt: number, recoveries: number,
 *   created_at: string | number, updated_at: string | number, last_event_id: number}} Run
 * @typedef {{at: number, name: string, number: number, outcome: string, failures: number}} Step
 */

const KEY = "inspector-run";
const POLL = 1000;
const ENDS = new Set(["completed", "failed", "cancelled"]);

export function runsTab() {
  const runs = signal(/** @type {Run[]} */ ([]));
  const problem = signal("");
  const isDurable = signal(true);
  const chosen = signal(sessionStorage.getItem(KEY));
  const shown = signal(/** @type {{run: Run, steps: Step[]} | null} */ (null));
  const call = signal(/** @type {number | null} */ (null));
  let timer = 0;

  async function look() {
    clearTimeout(timer);
    try {
      const listed = await get("/api/runs");
      if (!listed.problem) runs.value = listed.runs;
      const id = chosen.peek();
      const found = id === null ? null : await get(`/api/runs/${encodeURIComponent(id)}`);
      if (found?.run) shown.value = found;
      isDurable.value = listed.durable;
      problem.value = listed.durable ? listed.problem || found?.problem || "" : "";
    } catch (error) {
      problem.value = String(error instanceof Error ? error.message : error);
    }
    const goesOn = problem.peek() || runs.peek().some((run) => !ENDS.has(run.status));
    if (goesOn && tab.peek() === "Runs" && agent.peek().state === "running") {
      timer = setTimeout(() => void look(), POLL);
    }
  }
  const ended = computed(() => exchanges.value.filter((each) => each.end && each.method === "POST").length);
  effect(() => {
    void [agent.value, chosen.value, ended.value];
    if (tab.value === "Runs") void look();
  });

  /** @param {string} id */
  function choose(id) {
    sessionStorage.setItem(KEY, id);
    call.value = null;
    chosen.value = id;
  }

  const byId = computed(() => new Map(runs.value.map((run) => [run.invocation_id, run])));
  const ids = computed(() => runs.value.map((run) => run.invocation_id).join("\n"));
  const isShown = computed(() => (shown.value && shown.value.run.invocation_id === chosen.value ? shown.value : null));
  return h("div", { class: "split even" },
    h("section", { "aria-label": "Runs" },
      h("h2", {}, () => `Runs, ${runs.value.length}`),
      h("div", { class: "row" }, h("button", { type: "button", onclick: () => void look() }, "Look again")),
      h("p", { class: "error", role: "alert" }, () => problem.value),
      h("p", { class: "hint" }, () => (isDurable.value ? "" : "The agent has no durable runs.")),
      h("table", {},
        h("thead", {}, h("tr", {}, ...["Run", "Status", "Attempt", "Events"].map((name) => h("th", { scope: "col" }, name)))),
        h("tbody", {}, () => ids.value.split("\n").filter(Boolean).map((id) => h("tr", {},
          h("th", { scope: "row" }, h("button", {
            type: "button",
            "aria-pressed": () => String(chosen.value === id),
            onclick: () => choose(id),
          }, line(id))),
          h("td", { class: () => (byId.value.get(id)?.status === "failed" ? "bad" : "") }, () => line(byId.value.get(id)?.status ?? "")),
          h("td", {}, () => byId.value.get(id)?.attempt),
          h("td", {}, () => byId.value.get(id)?.last_event_id)))))),
    h("section", { "aria-label": "Run" }, () => (chosen.value === null
      ? h("p", { class: "hint" }, () => (isDurable.value ? "Begin a run on Invoke, and choose it here."
        : "A handler that is made durable has: class Agent(InvocationHandler, durable=True)."))
      : runView(chosen.value, isShown, call))));
}

/**
 * @param {string} id
 * @param {import("./dom.js").Signal<{run: Run, steps: Step[]} | null>} shown
 * @param {import("./dom.js").Signal<number | null>} call that reads the events
 */
function runView(id, shown, call) {
  const path = `/invocations/${encodeURIComponent(id)}`;
  const events = computed(() => exchanges.value.find((each) => call.value !== null && each.call === call.value)?.id ?? null);
  const cancel = attempt(async () => {
    await accepted({ method: "POST", path: `${path}/cancel` });
    announce("Cancel asked for.");
  });
  const follow = attempt(async () => {
    const headers = [["Accept", "text/event-stream"]];
    call.value = (await post("/api/send", { method: "GET", path: `${path}?last_event_id=0`, headers })).call;
  });
  return h("div", {},
    h("h2", { class: "headline" }, () => `${line(id)} · ${shown.value?.run.status ?? "…"}`),
    h("div", { class: "row" },
      h("button", { type: "button", disabled: () => ENDS.has(shown.value?.run.status ?? ""), onclick: cancel.run }, "Cancel the run"),
      h("button", { type: "button", onclick: follow.run }, "Follow its events")),
    cancel.words,
    follow.words,
    signalForm(path),
    h("h3", {}, () => `Steps seen, ${shown.value?.steps.length ?? 0}`),
    h("table", {},
      h("thead", {}, h("tr", {}, ...["Time", "Step", "Outcome", "Failed tries"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, () => (shown.value?.steps ?? []).map((step) => h("tr", {},
        h("td", {}, time(began.value + step.at)),
        h("th", { scope: "row" }, `${line(step.name.replace(/^~/, ""))} ${step.number + 1}`),
        h("td", {}, step.outcome),
        h("td", {}, step.failures))))),
    h("h3", {}, "Snapshot"),
    h("div", {}, () => shown.value && contentView("Snapshot", pretty(write(shown.value.run)))),
    h("div", {}, () => events.value !== null && exchangeView(events)));
}

/** @param {string} path of the run */
function signalForm(path) {
  const name = h("input", { autocomplete: "off", spellcheck: "false" });
  const payload = h("input", { autocomplete: "off", spellcheck: "false", value: "null" });
  const { run, words } = attempt(async () => {
    if (parse(payload.value) === undefined) throw new Error("The payload is not JSON: text stands in quotes, such as \"yes\"");
    await accepted({
      method: "POST",
      path: `${path}/signal`,
      headers: [["Content-Type", "application/json"]],
      body: `{"name": ${JSON.stringify(name.value)}, "payload": ${payload.value}}`,
    });
    announce("Signal sent.");
  });
  return h("form", { class: "row", "aria-label": "Signal", onsubmit: run },
    labelled("Signal", name, "grow"), labelled("Payload, as JSON", payload, "grow"),
    h("button", { type: "submit" }, "Send the signal"), words);
}
