// Figures and texts as people read them.
import { parse, write } from "./json.js";

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function plural(count, noun) {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}

/** @param {number | null} milliseconds */
export function duration(milliseconds) {
  if (milliseconds === null) return "…";
  if (milliseconds < 1000) return `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
  return `${(milliseconds / 1000).toFixed(2)} s`;
}

/**
 * The time of day.
 * @param {number} epoch milliseconds
 */
export function time(epoch) {
  const date = new Date(epoch);
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** @param {string} text Base64 */
export function bytesOf(text) {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** @param {Uint8Array} bytes */
export function base64Of(bytes) {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}

/** @param {Uint8Array} bytes */
export function hex(bytes) {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

/**
 * Bytes as hexadecimal digits with or without spaces between them; null if they are none.
 * @param {string} text
 */
export function fromHex(text) {
  const digits = text.replace(/\s+/g, "");
  if (digits.length % 2 || /[^0-9a-fA-F]/.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

/**
 * What came, as text; bytes that are none in hexadecimal.
 * @param {{text?: string, base64?: string}} content
 */
export function shown(content) {
  return content.base64 === undefined ? (content.text ?? "") : hex(bytesOf(content.base64));
}

/**
 * JSON indented, its numbers as they were written; everything else as it is.
 * @param {string} text
 */
export function pretty(text) {
  const value = /^\s*[[{]/.test(text) ? parse(text) : undefined;
  return value === undefined ? text : write(value);
}

/**
 * One line, control characters shown rather than sent to the eye.
 * @param {string} text
 */
export function line(text) {
  return text.slice(0, 500).replace(/[\u0000-\u001f\u007f-\u009f]/g, (character) =>
    character === "\n" ? "⏎" : character === "\t" ? " " : "·");
}
