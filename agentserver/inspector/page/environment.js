// Environment: the agent's process, its readiness, and the variables that it was given.
import { announce } from "./announce.js";
import { get, post } from "./api.js";
import { effect, h, signal } from "./dom.js";
import { pretty } from "./format.js";
import { agent } from "./store.js";

/** @typedef {{name: string, set: boolean, source: string, value: string | null}} Variable */

export function environmentTab() {
  const found = signal(/** @type {{readiness: {status: number | null, body: string}, variables: Variable[]} | null} */ (null));
  const problem = signal("");

  async function look() {
    try {
      found.value = await get("/api/environment");
      problem.value = "";
    } catch (error) {
      problem.value = String(error instanceof Error ? error.message : error);
    }
  }
  effect(() => {
    void agent.value;
    void look();
  });

  const command = (/** @type {string} */ name, /** @type {string} */ label) =>
    h("button", {
      type: "button",
      disabled: () => name !== "reload" && agent.value.state !== "running",
      onclick: () => {
        announce(`${label} asked for.`);
        void post("/api/agent", { do: name });
      },
    }, label);

  return h(
    "div",
    {},
    h("h2", {}, "The agent's process"),
    h("p", {}, () => processWords()),
    h("div", { class: "row" },
      command("reload", "Reload"), command("terminate", "SIGTERM"), command("kill", "kill -9")),
    h("h2", {}, "Readiness"),
    h("div", { class: "row" }, h("button", { type: "button", onclick: () => void look() }, "Look again")),
    h("p", { class: "error", role: "alert" }, () => problem.value),
    h("p", {}, () => found.value && `GET /readiness: ${found.value.readiness.status ?? "no answer"}`),
    h("pre", { class: "content", tabindex: 0, "aria-label": "Readiness" }, () => found.value && pretty(found.value.readiness.body)),
    h("h2", {}, "Variables"),
    h("p", { class: "hint" }, "Values are shown of those alone that are no secret."),
    h("table", {},
      h("thead", {}, h("tr", {}, ...["Name", "Set", "From", "Value"].map((name) => h("th", { scope: "col" }, name)))),
      h("tbody", {}, () => (found.value?.variables ?? []).map((variable) =>
        h("tr", {},
          h("th", { scope: "row" }, variable.name),
          h("td", {}, variable.set ? "set" : "not set"),
          h("td", {}, variable.source),
          h("td", {}, variable.value ?? (variable.set ? "(not shown)" : "")))))),
  );
}

function processWords() {
  const { state, life, pid, exit, address } = agent.value;
  if (state === "ended") return `Ended with ${exitWords(exit)}; it was start ${life}. A change of a file or Reload starts it anew.`;
  return `${state === "running" ? `Process ${pid}` : "Starting"}, start ${life}, at ${address}`;
}

/** @param {number | null} exit */
export function exitWords(exit) {
  return exit !== null && exit < 0 ? `signal ${-exit}` : `exit code ${exit}`;
}
