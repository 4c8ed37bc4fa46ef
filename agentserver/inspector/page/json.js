// JSON whose numbers stay as they were written: 1.0, and 12345678901234567890.

/** What a form edits: what JSON has, and numbers that JavaScript would write otherwise, as `JSON.rawJSON` has them. */
/** @typedef {any} Value */

const json = /** @type {any} */ (JSON);

/**
 * @param {string} text
 * @returns {Value} undefined if it is not JSON
 */
export function parse(text) {
  try {
    return json.parse(text, (/** @type {string} */ _key, /** @type {Value} */ value, /** @type {any} */ context) =>
      typeof value === "number" && context?.source && context.source !== String(value) ? number(context.source) : value);
  } catch {
    return undefined;
  }
}

/**
 * @param {string} text
 * @returns {Value} undefined if it is no number of JSON's
 */
export function number(text) {
  if (!/^-?(0|[1-9]\d*)(\.\d+)?([eE][-+]?\d+)?$/.test(text)) return undefined;
  return String(Number(text)) === text || !json.rawJSON ? Number(text) : json.rawJSON(text);
}

/** @param {Value} value */
export function write(value) {
  return JSON.stringify(value, null, 2) ?? "";
}

/**
 * The type of JSON that a value has.
 * @param {Value} value
 */
export function typeOf(value) {
  if (value === undefined) return "absent";
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value === "number" || json.isRawJSON?.(value)) return "number";
  return typeof value;
}

/**
 * @param {Value} value
 * @returns {boolean} whether it is an object of JSON's
 */
export function isObject(value) {
  return typeOf(value) === "object";
}
