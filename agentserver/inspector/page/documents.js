// The documents that the agent serves, read anew whenever it has started.
import { get } from "./api.js";
import { effect, signal } from "./dom.js";
import { parse } from "./json.js";
import { agent } from "./store.js";

/** @typedef {{name: string, path: string, status: number, type: string, text: string | null}} Document */

export const documents = signal(/** @type {Document[]} */ ([]));
export const problem = signal("");
/** The agent's OpenAPI document, if it has one. */
export const openapi = signal(/** @type {any} */ (undefined));

const AGAIN = 1000;

export async function look() {
  const { life } = agent.peek();
  try {
    const answer = await get("/api/documents");
    if (answer.problem) throw new Error(answer.problem);
    const found = /** @type {Document[]} */ (answer.documents);
    documents.value = found;
    problem.value = "";
    const text = found.find((each) => each.name === "OpenAPI")?.text ?? "";
    if (text !== shown) openapi.value = parse(text);
    shown = text;
  } catch (error) {
    problem.value = String(error instanceof Error ? error.message : error);
    setTimeout(() => {
      if (agent.peek().state === "running" && agent.peek().life === life) void look();
    }, AGAIN);
  }
}

let shown = "";
let known = 0;

/** Read them from now on. */
export function followDocuments() {
  effect(() => {
    const { state, life } = agent.value;
    if (state !== "running" || life === known) return;
    known = life;
    void look();
  });
}
