// The page: its header, its tabs, and the panel of the one that is chosen.
import { actionsTab } from "./actions.js";
import { liveRegion } from "./announce.js";
import { choose, chosen } from "./chosen.js";
import { contractTab } from "./contract.js";
import { followDocuments } from "./documents.js";
import { effect, h } from "./dom.js";
import { environmentTab, exitWords } from "./environment.js";
import { invokeTab, streamTab } from "./invoke.js";
import { logTab } from "./log.js";
import { runsTab } from "./runs.js";
import { about, agent, connection, follow } from "./store.js";
import { tracesTab } from "./traces.js";
import { websocketTab } from "./websocket.js";

/** @type {[string, () => Node][]} */
const TABS = [
  ["Invoke", invokeTab],
  ["Stream", streamTab],
  ["WebSocket", websocketTab],
  ["Actions", actionsTab],
  ["Runs", runsTab],
  ["Traces", tracesTab],
  ["Log", logTab],
  ["Environment", environmentTab],
  ["Contract", contractTab],
];
const SCHEME_KEY = "inspector-scheme";

if (!TABS.some(([name]) => name === chosen.peek())) choose(TABS[0][0]);

function header() {
  return h(
    "header",
    {},
    h("h1", {}, "agentserver inspector"),
    h("span", { class: "target" }, () => about.value.target),
    h("span", { class: "target" }, () => agent.value.address),
    h("span", { class: () => `state ${agent.value.state}`, id: "agent-state" }, () => stateWords()),
    h("span", { class: "error", role: "alert" }, () => (connection.value === "here" ? "" : connection.value)),
    schemes(),
  );
}

function stateWords() {
  const { state, pid, exit, life } = agent.value;
  if (state === "ended") return `■ ended, ${exitWords(exit)}`;
  return state === "running" ? `● running, process ${pid}, start ${life}` : "○ starting";
}

function schemes() {
  const select = h("select", {
    onchange: () => {
      sessionStorage.setItem(SCHEME_KEY, select.value);
      show();
    },
  }, ...["system", "light", "dark"].map((name) => h("option", { value: name }, name)));
  const show = () => document.documentElement.setAttribute("data-scheme", select.value);
  select.value = sessionStorage.getItem(SCHEME_KEY) ?? "system";
  show();
  return h("label", { class: "scheme" }, "Colours ", select);
}

function tabs() {
  const list = h(
    "div",
    { role: "tablist", "aria-label": "Views", onkeydown: keydown },
    ...TABS.map(([name]) => h("button", {
      type: "button",
      role: "tab",
      id: `tab-${name}`,
      "aria-selected": () => String(name === chosen.value),
      "aria-controls": `panel-${name}`,
      tabindex: () => (name === chosen.value ? 0 : -1),
      onclick: () => choose(name),
    }, name)),
  );

  /** @param {KeyboardEvent} event */
  function keydown(event) {
    const last = TABS.length - 1;
    const now = TABS.findIndex(([name]) => name === chosen.peek());
    /** @type {Record<string, number>} */
    const targets = {
      ArrowRight: now === last ? 0 : now + 1,
      ArrowLeft: now === 0 ? last : now - 1,
      Home: 0,
      End: last,
    };
    const target = targets[event.key];
    if (target === undefined) return;
    event.preventDefault();
    choose(TABS[target][0]);
    /** @type {HTMLElement} */ (list.children[target]).focus();
  }

  return list;
}

/** A tab's panel is made when it is first shown, and kept. */
function panels() {
  return TABS.map(([name, make]) => {
    const panel = h("div", {
      role: "tabpanel",
      id: `panel-${name}`,
      "aria-labelledby": `tab-${name}`,
      hidden: () => name !== chosen.value,
    });
    let isMade = false;
    effect(() => {
      if (isMade || name !== chosen.value) return;
      isMade = true;
      queueMicrotask(() => panel.append(make()));
    });
    return panel;
  });
}

effect(() => {
  const name = about.value.target.split("/").at(-1);
  document.title = name ? `${name} · agentserver inspector` : "agentserver inspector";
});
document.body.append(header(), h("nav", {}, tabs()), h("main", {}, ...panels()), liveRegion());
followDocuments();
void follow();
