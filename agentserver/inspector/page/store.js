// What the page knows: it is told of every change by the inspector.
import { ApiError, readChanges } from "./api.js";
import { signal } from "./dom.js";

/**
 * @typedef {{id: number, at: number, kind: string, by: string, call: number, method: string, path: string,
 *   status: number | null, first: number | null, duration: number | null, sent: number, received: number,
 *   parts: number, end: string, closed: Closed | null}} Summary
 * @typedef {{by: string, code: number, reason: string}} Closed
 * @typedef {{id: string, name: string, at: number, duration: number | null, spans: number, failed: number,
 *   running: number, invocations: string[]}} TraceSummary
 * @typedef {{at: number, level: string, logger: string, message: string, exception: string,
 *   ids: Record<string, string>}} LogEntry
 * @typedef {{state: string, life: number, pid: number | null, exit: number | null, address: string}} Agent
 */

export const agent = signal(/** @type {Agent} */ ({ state: "starting", life: 0, pid: null, exit: null, address: "" }));
export const about = signal({ version: "", target: "" });
/** Of `agentserver dev`: "connecting", "here", or a sentence that says what to do. */
export const connection = signal("connecting");
export const exchanges = signal(/** @type {Summary[]} */ ([]));
export const logs = signal(/** @type {LogEntry[]} */ ([]));
export const traces = signal(/** @type {TraceSummary[]} */ ([]));
export const forgotten = signal(0);
export const tracesForgotten = signal(0);
export const unrecorded = signal(0);
/** The exchanges of the page's calls, by the call's number, or why there is none. */
export const failures = signal(/** @type {Record<number, string>} */ ({}));
/** Milliseconds since the epoch at which the inspector began. */
export const began = signal(0);

const LOGS_KEPT = 2000;
const EXCHANGES_KEPT = 1000;
const TRACES_KEPT = 200;

/** @type {Map<number, Summary>} */
let known = new Map();
/** @type {Map<string, TraceSummary>} */
let knownTraces = new Map();

/** @param {any} change */
function take(change) {
  if (change.about) about.value = change.about;
  if (change.clock) {
    known = new Map();
    knownTraces = new Map();
    logs.value = [];
    began.value = change.clock.started_at * 1000;
  }
  if (change.cleared) {
    known = only(known, change.cleared.exchanges);
    knownTraces = only(knownTraces, change.cleared.traces);
    exchanges.value = [...known.values()];
    traces.value = [...knownTraces.values()];
    logs.value = [];
  }
  if (change.agent) agent.value = change.agent;
  if (change.exchanges) takeExchanges(change.exchanges);
  if (change.traces) takeTraces(change.traces);
  if (change.logs) logs.value = [...logs.peek(), ...change.logs].slice(-LOGS_KEPT);
  if (change.failed) failures.value = { ...failures.peek(), [change.failed.call]: change.failed.message };
  if (change.traces_forgotten !== undefined) tracesForgotten.value = change.traces_forgotten;
  if (change.forgotten !== undefined) forgotten.value = change.forgotten;
  if (change.unrecorded !== undefined) unrecorded.value = change.unrecorded;
}

/** @param {Summary[]} changed */
function takeExchanges(changed) {
  for (const each of changed) known.set(each.id, each);
  const sorted = [...known.values()].sort((one, other) => one.id - other.id).slice(-EXCHANGES_KEPT);
  if (sorted.length < known.size) known = new Map(sorted.map((each) => [each.id, each]));
  exchanges.value = sorted;
}

/** @param {TraceSummary[]} changed */
function takeTraces(changed) {
  for (const each of changed) knownTraces.set(each.id, each);
  // Told of at their ends, they are listed by their beginnings.
  knownTraces = new Map([...knownTraces].sort(([, one], [, other]) => one.at - other.at).slice(-TRACES_KEPT));
  traces.value = [...knownTraces.values()];
}

/**
 * @template Key, Value
 * @param {Map<Key, Value>} all
 * @param {Key[]} keys
 */
function only(all, keys) {
  return new Map([...all].filter(([key]) => keys.includes(key)));
}

/** Follow the inspector for as long as the page is there. */
export async function follow() {
  for (;;) {
    try {
      await readChanges((change) => {
        connection.value = "here";
        take(change);
      });
      connection.value = "agentserver dev has ended or is busy; trying again";
    } catch (error) {
      connection.value = error instanceof ApiError ? error.message : "agentserver dev has ended";
      if (error instanceof ApiError && error.status === 401) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
