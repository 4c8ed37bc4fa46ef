// The page's way to the inspector: the token, requests, the stream of changes.

const KEY = "inspector-token";

/** The token travels in the fragment, which no browser sends, and leaves the address at once. */
function takeToken() {
  const found = location.hash.slice(1);
  if (found) {
    sessionStorage.setItem(KEY, found);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY) ?? "";
}

const token = takeToken();

export class ApiError extends Error {
  /**
   * @param {number} status
   * @param {string} message
   */
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/**
 * @param {string} path
 * @param {object} [body] a POST's
 * @returns {Promise<Response>}
 */
async function ask(path, body) {
  /** @type {Record<string, string>} */
  const headers = { "x-inspector-token": token };
  /** @type {RequestInit} */
  const options = { headers, credentials: "omit", cache: "no-store" };
  if (body !== undefined) {
    headers["content-type"] = "application/json";
    options.method = "POST";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new ApiError(0, "agentserver dev does not answer: has it ended?");
  }
  if (response.ok) return response;
  let words = `The inspector answered ${response.status}`;
  try {
    words = (await response.json()).error ?? words;
  } catch {
    // then that is all there is to say
  }
  throw new ApiError(response.status, words);
}

/**
 * @param {string} path
 * @returns {Promise<any>}
 */
export async function get(path) {
  return (await ask(path)).json();
}

/**
 * @param {string} path
 * @returns {Promise<string>}
 */
export async function getText(path) {
  return (await ask(path)).text();
}

/**
 * @param {string} path
 * @param {object} body
 * @returns {Promise<any>}
 */
export async function post(path, body) {
  return (await ask(path, body)).json();
}

/**
 * Read the stream of changes to its end.
 * @param {(change: any) => void} take
 */
export async function readChanges(take) {
  const response = await ask("/api/events");
  if (!response.body) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(JSON.parse(line));
  }
}
