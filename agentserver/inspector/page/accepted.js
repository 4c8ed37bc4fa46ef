// A call that only asks the agent for something: what it answers matters if it refuses.
import { get, post } from "./api.js";
import { effect } from "./dom.js";
import { parse } from "./json.js";
import { exchanges, failures } from "./store.js";

/**
 * Send a request and wait until the agent has accepted it.
 * @param {object} request
 */
export async function accepted(request) {
  const { call } = await post("/api/send", request);
  const found = await ended(call);
  if (found.status !== null && found.status < 400) return;
  if (found.status === null) throw new Error(`There was no answer: ${found.end}`);
  const detail = await get(`/api/exchanges/${found.id}`);
  const message = parse(detail.response?.body?.text ?? "")?.error?.message;
  throw new Error(message ? `${found.status}: ${message}` : `The agent answered ${found.status}`);
}

/**
 * @param {number} call
 * @returns {Promise<import("./store.js").Summary>}
 */
function ended(call) {
  return new Promise((resolve, reject) => {
    let isOver = false;
    effect(() => {
      if (isOver) return; // what reads no signal does not run again
      const failure = failures.value[call];
      const found = exchanges.value.find((each) => each.call === call && each.end);
      isOver = Boolean(failure || found);
      if (found) resolve(found);
      else if (failure) reject(new Error(failure));
    });
  });
}
