// JSON Schema, as far as a form needs it: what a value may be, and one that fits. What it does not know it lets pass.
import { isObject, typeOf } from "./json.js";

/** @typedef {Record<string, any>} Schema */
/** @typedef {{label: string, schema: Schema}} Choice */

const DEEPEST = 12;
/** What is looked at of a schema at a time: one that refers to itself many times over has no end. */
const MOST = 3000;
let left = MOST;
/** @type {Record<string, string>} */
const FORMATS = {
  "date-time": "2026-01-31T12:00:00Z",
  date: "2026-01-31",
  time: "12:00:00Z",
  duration: "PT30S",
  uuid: "123e4567-e89b-12d3-a456-426614174000",
  decimal: "1.5",
};

/**
 * The schema of the body that a document has for a POST to a path, and an example of it.
 * @param {any} document
 * @param {string} path
 * @returns {{schema: Schema, example: any} | null}
 */
export function bodyOf(document, path) {
  const body = follow(document?.paths?.[path.split("?")[0]]?.post?.requestBody, document);
  const content = body?.content?.["application/json"];
  if (!isObject(content?.schema)) return null;
  const listed = Object.values(content.examples ?? {}).map((each) => follow(each, document)?.value);
  const example = content.example ?? listed[0];
  return { schema: content.schema, example: example === undefined ? sample(content.schema, document) : example };
}

/**
 * Follow references within the document.
 * @param {any} value
 * @param {any} document
 */
function follow(value, document) {
  const seen = new Set();
  let found = value;
  while (typeof found?.$ref === "string" && !seen.has(found.$ref)) {
    const { $ref, ...rest } = found;
    seen.add($ref);
    /** @type {any} */
    let here = $ref.startsWith("#") ? document : undefined;
    for (const step of $ref.split("/").slice(1)) here = here?.[decodeURIComponent(step).replaceAll("~1", "/").replaceAll("~0", "~")];
    found = { ...here, ...rest };
  }
  return found;
}

/**
 * A schema without references and `allOf` at its top.
 * @param {any} schema
 * @param {any} document
 * @returns {Schema}
 */
export function resolved(schema, document, depth = 0) {
  const found = follow(schema, document);
  if (!isObject(found) || depth > DEEPEST) return {};
  if (!Array.isArray(found.allOf)) return found;
  const { allOf, ...rest } = found;
  return [...allOf.map((/** @type {any} */ each) => resolved(each, document, depth + 1)), rest].reduce((one, other) => ({
    ...one,
    ...other,
    properties: { ...one.properties, ...other.properties },
    required: [...(one.required ?? []), ...(other.required ?? [])],
  }), {});
}

/**
 * Of what a value may be one: none if there is nothing to choose.
 * @param {Schema} schema resolved
 * @param {any} document
 * @returns {Choice[]}
 */
export function choices(schema, document) {
  const types = Array.isArray(schema.type) ? schema.type : [];
  const { oneOf, anyOf, ...rest } = schema;
  const members = oneOf ?? anyOf ?? types.map((type) => ({ ...rest, type }));
  return members.map((/** @type {any} */ member, /** @type {number} */ index) => {
    const found = resolved(member, document);
    return { label: labelOf(member, found, index), schema: member };
  });
}

/**
 * @param {any} member
 * @param {Schema} found
 * @param {number} index
 */
function labelOf(member, found, index) {
  const name = typeof member?.$ref === "string" ? member.$ref.split("/").at(-1) : found.title;
  return name ?? (found.const === undefined ? undefined : JSON.stringify(found.const)) ?? found.type ?? `choice ${index + 1}`;
}

/**
 * Whether a value may be meant for a schema; more is not asked.
 * @param {any} value
 * @param {any} schema
 * @param {any} document
 * @returns {boolean}
 */
export function fits(value, schema, document, depth = 0) {
  const found = resolved(schema, document);
  left = depth ? left - 1 : MOST;
  if (depth > DEEPEST || left < 0) return true;
  if (found.const !== undefined) return value === found.const;
  if (Array.isArray(found.enum)) return found.enum.includes(value);
  const among = choices(found, document);
  if (among.length) return among.some((choice) => fits(value, choice.schema, document, depth + 1));
  if (!isOfType(value, found)) return false;
  if (!isObject(value)) return true;
  return (found.required ?? []).every((/** @type {string} */ name) => name in value)
    && Object.entries(found.properties ?? {}).every(([name, part]) => !(name in value) || fits(value[name], part, document, depth + 1));
}

/**
 * @param {any} value
 * @param {Schema} schema resolved
 */
export function isOfType(value, schema) {
  const type = schema.type ?? (schema.properties ? "object" : undefined);
  return type === undefined || typeOf(value) === (type === "integer" ? "number" : type);
}

/**
 * The least that fits, as far as that can be told.
 * @param {any} schema
 * @param {any} document
 * @returns {any}
 */
export function sample(schema, document, depth = 0) {
  const found = resolved(schema, document);
  const given = [found.examples?.[0], found.example, found.default, found.const, found.enum?.[0]].find((each) => each !== undefined);
  left = depth ? left - 1 : MOST;
  if (given !== undefined || depth > DEEPEST || left < 0) return given;
  const among = choices(found, document);
  if (among.some((choice) => resolved(choice.schema, document).type === "null")) return null;
  if (among.length) return sample(among[0].schema, document, depth + 1);
  const type = found.type ?? (found.properties ? "object" : undefined);
  if (type === "object" || type === undefined) {
    const names = (found.required ?? []).filter((/** @type {string} */ name) => found.properties?.[name]);
    return Object.fromEntries(names.map((/** @type {string} */ name) => [name, sample(found.properties[name], document, depth + 1)]));
  }
  if (type === "array") {
    const first = (found.prefixItems ?? []).map((/** @type {any} */ part) => sample(part, document, depth + 1));
    const more = Math.max(0, (found.minItems ?? 0) - first.length);
    return [...first, ...Array.from({ length: more }, () => sample(found.items, document, depth + 1))];
  }
  if (type === "boolean") return false;
  if (type === "null") return null;
  if (type === "string") return FORMATS[found.format] ?? "".padEnd(found.minLength ?? 0, "x");
  return found.minimum ?? (found.exclusiveMinimum === undefined ? 0 : found.exclusiveMinimum + 1);
}
