// A form for a JSON value, made of its schema. The text of the value is the truth: the form reads and writes it.
import { effect, h, newId, signal, untracked } from "./dom.js";
import { isObject, number, parse, write } from "./json.js";
import { choices, fits, isOfType, resolved, sample } from "./schema.js";

/** @typedef {import("./schema.js").Schema} Schema */
/** @typedef {(string | number)[]} Keys */
/** @typedef {{target: string, message: string}} Fault */
/**
 * What of a form is the same for all its fields.
 * @typedef {{document: any, get: (keys: Keys) => any, set: (keys: Keys, value: any, isAnew?: boolean) => void,
 *   shown: Set<string>, fault: () => Fault | null}} Form
 */
/** @typedef {{label: string, isRequired: boolean, buttons?: HTMLElement[]}} Look */

/**
 * @param {{schema: Schema, document: any, text: () => string, change: (text: string) => void,
 *   fault: () => Fault | null}} options `fault` is what the agent has found wrong, and where
 * @returns {HTMLElement}
 */
export function valueForm(options) {
  const version = signal(0);
  const place = signal(/** @type {Fault | null} */ (null));
  let written = untracked(options.text);
  let value = parse(written);
  let focus = "";
  /** @type {Set<string>} */
  const shown = new Set();

  effect(() => {
    const text = options.text();
    if (text === written) return;
    written = text;
    value = parse(text);
    version.value += 1;
  });

  /** @type {Form} */
  const form = {
    document: options.document,
    shown,
    fault: () => place.value,
    get: (keys) => keys.reduce((here, key) => here?.[key], /** @type {any} */ (value)),
    set(keys, next, isAnew = false) {
      value = replaced(value, keys, next);
      written = write(value);
      options.change(written);
      focus = pathOf(keys);
      if (isAnew) version.value += 1;
    },
  };
  const box = h("div", { class: "form" }, () => {
    void version.value;
    shown.clear();
    if (value === undefined) return h("p", { class: "hint" }, "The body is not JSON: there is no form for it.");
    return field(form, options.schema, [], { label: "The whole body", isRequired: true });
  });
  effect(() => {
    void version.value;
    place.value = placed(options.fault(), shown);
  });
  effect(() => {
    if (!version.value) return;
    const wanted = focus;
    focus = "";
    queueMicrotask(() => {
      const found = [...box.querySelectorAll("[data-path]")].find((each) => each.getAttribute("data-path") === wanted);
      if (found instanceof HTMLElement) found.focus();
    });
  });
  return box;
}

/**
 * A fault at the field that it names, or at the nearest one around it.
 * @param {Fault | null} fault
 * @param {Set<string>} shown
 */
function placed(fault, shown) {
  if (!fault) return null;
  let target = fault.target;
  while (target && !shown.has(target)) target = target.replace(/(\.[^.[]*|\[[^[]*\]|[^.[]+)$/, "");
  return { target: target || "$", message: target === fault.target ? fault.message : `${fault.target}: ${fault.message}` };
}

/** @param {Keys} keys */
function pathOf(keys) {
  return keys.reduce((/** @type {string} */ path, key) => (typeof key === "number" ? `${path}[${key}]` : `${path}.${key}`), "$");
}

/**
 * A copy of a value with another one in it, or with one less.
 * @param {any} value
 * @param {Keys} keys
 * @param {any} next
 * @returns {any}
 */
function replaced(value, [key, ...rest], next) {
  if (key === undefined) return next;
  const part = replaced(value?.[key], rest, next);
  if (typeof key === "number") {
    return part === undefined ? value.toSpliced(key, 1) : Object.assign([...(value ?? [])], { [key]: part });
  }
  const { [key]: _, ...others } = isObject(value) ? value : {};
  if (part === undefined) return others;
  return isObject(value) && key in value ? { ...value, [key]: part } : { ...others, [key]: part };
}

/**
 * @param {Form} form
 * @param {any} schema
 * @param {Keys} keys
 * @param {Look} look
 * @returns {HTMLElement}
 */
function field(form, schema, keys, look) {
  const found = resolved(schema, form.document);
  const value = form.get(keys);
  form.shown.add(pathOf(keys));
  const among = choices(found, form.document);
  if (among.length > 1 && !found.enum) return choiceField(form, among, keys, look, found);
  const inner = among.length === 1 ? resolved(among[0].schema, form.document) : found;
  if (value === undefined && !isScalar(inner)) return absentField(form, schema, keys, look);
  if (inner.const !== undefined) return optionsField(form, inner, [inner.const], keys, look);
  if (Array.isArray(inner.enum)) return optionsField(form, inner, inner.enum, keys, look);
  if (value !== undefined && !isOfType(value, inner)) return jsonField(form, inner, keys, look);
  if (inner.type === "boolean") return optionsField(form, inner, [true, false], keys, look);
  if (inner.type === "string") return textField(form, inner, keys, look, (text) => text);
  if (inner.type === "integer" || inner.type === "number") {
    return textField(form, inner, keys, look, (text) => number(text.trim()) ?? text);
  }
  if (inner.type === "null") return group(form, inner, keys, look, h("p", { class: "hint" }, "null"));
  if (isObject(value)) return objectField(form, inner, keys, look);
  if (Array.isArray(value) && inner.type === "array") return arrayField(form, inner, keys, look);
  return jsonField(form, inner, keys, look);
}

/** @param {Schema} schema */
function isScalar(schema) {
  return schema.const !== undefined || schema.enum || ["string", "integer", "number", "boolean"].includes(schema.type);
}

/**
 * The words below a field: what it is for, and what is wrong with it.
 * @param {Form} form
 * @param {Schema} schema
 * @param {Keys} keys
 */
function words(form, schema, keys) {
  const path = pathOf(keys);
  const isWrong = () => form.fault()?.target === path;
  const about = schema.description
    ? h("p", { class: "hint", id: newId() }, String(schema.description))
    : null;
  const wrong = h("p", { class: "error fault", id: newId() }, () => (isWrong() ? (form.fault()?.message ?? "") : ""));
  const described = () => [about && about.id, isWrong() && wrong.id].filter(Boolean).join(" ") || null;
  return {
    nodes: [about, wrong],
    attributes: { "data-path": path, "aria-invalid": () => (isWrong() ? "true" : null), "aria-describedby": described },
  };
}

/**
 * A control with its label.
 * @param {Form} form
 * @param {Schema} schema
 * @param {Keys} keys
 * @param {Look} look
 * @param {(attributes: Record<string, any>) => HTMLElement} make
 */
function labelledField(form, schema, keys, look, make) {
  const { nodes, attributes } = words(form, schema, keys);
  const control = make({ ...attributes, "aria-required": look.isRequired ? "true" : null });
  return h("div", { class: "field block" },
    h("div", { class: "row" }, h("label", { for: control.id }, look.label, look.isRequired ? "" : " (optional)"), ...(look.buttons ?? [])),
    control,
    ...nodes);
}

/**
 * Several fields with one name.
 * @param {Form} form
 * @param {Schema} schema
 * @param {Keys} keys
 * @param {Look} look
 * @param {...(Node | null)} children
 */
function group(form, schema, keys, look, ...children) {
  const { nodes, attributes } = words(form, schema, keys);
  const { "aria-invalid": _, ...others } = attributes;
  return h("fieldset", { ...others, tabindex: -1 },
    h("legend", {}, look.label, look.isRequired ? "" : " (optional)"),
    look.buttons?.length ? h("div", { class: "row" }, ...look.buttons) : null,
    ...nodes,
    ...children);
}

/**
 * @param {Form} form
 * @param {Schema} schema
 * @param {Keys} keys
 * @param {Look} look
 * @param {(text: string) => any} read
 */
function textField(form, schema, keys, look, read) {
  const value = form.get(keys);
  const isNumber = schema.type !== "string";
  return labelledField(form, schema, keys, look, (attributes) => {
    const control = h(isNumber ? "input" : "textarea", {
      ...attributes,
      ...(isNumber ? { inputmode: "decimal", autocomplete: "off" } : { rows: 1, spellcheck: "false" }),
      oninput: () => form.set(keys, read(control.value)),
    });
    control.value = value === undefined ? "" : isNumber ? write(value) : String(value);
    return control;
  });
}

/**
 * @param {Form} form
 * @param {Schema} schema
 * @param {any[]} options
 * @param {Keys} keys
 * @param {Look} look
 */
function optionsField(form, schema, options, keys, look) {
  const now = write(form.get(keys));
  const all = options.map(write);
  const listed = all.includes(now) ? all : [now, ...all];
  return labelledField(form, schema, keys, look, (attributes) => {
    const control = h("select", {
      ...attributes,
      onchange: () => form.set(keys, parse(control.value)),
    }, ...listed.map((text) => h("option", { value: text }, text.replace(/^"(.*)"$/, "$1"))));
    control.value = now;
    return control;
  });
}

/**
 * @param {Form} form
 * @param {Schema} schema
 * @param {Keys} keys
 * @param {Look} look
 */
function jsonField(form, schema, keys, look) {
  const isWrong = signal(false);
  return labelledField(form, schema, keys, { ...look, label: `${look.label}, as JSON` }, (attributes) => {
    const control = h("textarea", {
      ...attributes,
      rows: 2,
      spellcheck: "false",
      "aria-invalid": () => (isWrong.value ? "true" : attributes["aria-invalid"]()),
      oninput: () => {
        const value = parse(control.value);
        isWrong.value = value === undefined;
        if (value !== undefined) form.set(keys, value);
      },
      onchange: () => {
        if (!isWrong.peek()) form.set(keys, parse(control.value), true);
      },
    });
    control.value = write(form.get(keys));
    return control;
  });
}

/**
 * @param {Form} form
 * @param {any} schema
 * @param {Keys} keys
 * @param {Look} look
 */
function absentField(form, schema, keys, look) {
  const path = pathOf(keys);
  return h("div", { class: "field block" },
    button(`Add ${look.label}`, () => form.set(keys, sample(schema, form.document) ?? {}, true), path),
    ...words(form, {}, keys).nodes);
}

/**
 * @param {string} label
 * @param {() => void} click
 * @param {string} [path]
 */
function button(label, click, path) {
  return h("button", { type: "button", onclick: click, "data-path": path ?? null }, label);
}

/**
 * @param {Form} form
 * @param {import("./schema.js").Choice[]} among
 * @param {Keys} keys
 * @param {Look} look
 * @param {Schema} around what the choices have in common
 */
function choiceField(form, among, keys, look, around) {
  const value = form.get(keys);
  const chosen = among.findIndex((choice) => fits(value, choice.schema, form.document));
  const select = h("select", {
    "aria-label": `Kind of ${look.label}`,
    onchange: () => form.set(keys, sample(among[Number(select.value)].schema, form.document), true),
  }, ...(chosen < 0 ? [h("option", { value: "-1" }, "none of these")] : []),
  ...among.map((choice, index) => h("option", { value: index }, choice.label)));
  select.value = String(chosen);
  const inner = chosen < 0
    ? jsonField(form, {}, keys, { label: "Value", isRequired: true })
    : field(form, among[chosen].schema, keys, { label: among[chosen].label, isRequired: true });
  return h("fieldset", { class: "choice" },
    h("legend", {}, look.label, look.isRequired ? "" : " (optional)"),
    h("div", { class: "row" }, select, ...(look.buttons ?? [])),
    around.description ? h("p", { class: "hint" }, String(around.description)) : null,
    inner);
}

/**
 * @param {Form} form
 * @param {Schema} schema
 * @param {Keys} keys
 * @param {Look} look
 */
function objectField(form, schema, keys, look) {
  const value = form.get(keys);
  const properties = schema.properties ?? {};
  const required = new Set(schema.required ?? []);
  const remove = (/** @type {string} */ name) => button(`Remove ${name}`, () => form.set([...keys, name], undefined, true));
  const known = Object.entries(properties).map(([name, part]) => {
    const at = [...keys, name];
    if (required.has(name)) return field(form, part, at, { label: name, isRequired: true });
    if (!(name in value)) return absentField(form, part, at, { label: name, isRequired: false });
    return field(form, part, at, { label: name, isRequired: false, buttons: [remove(name)] });
  });
  const more = isObject(schema.additionalProperties) ? schema.additionalProperties : {};
  const others = Object.keys(value).filter((name) => !(name in properties)).map((name) =>
    field(form, more, [...keys, name], { label: name, isRequired: false, buttons: [remove(name)] }));
  const isOpen = isObject(schema.additionalProperties) || schema.additionalProperties === true || !schema.properties;
  return group(form, schema, keys, look, ...known, ...others, isOpen ? newField(form, more, keys, look) : null);
}

/**
 * @param {Form} form
 * @param {Schema} schema
 * @param {Keys} keys
 * @param {Look} look
 */
function newField(form, schema, keys, look) {
  const name = h("input", { "aria-label": `Name of a new field of ${look.label}`, spellcheck: "false", autocomplete: "off" });
  const add = () => {
    if (name.value && !(name.value in form.get(keys))) {
      form.set([...keys, name.value], sample(schema, form.document) ?? null, true);
    }
  };
  return h("div", { class: "row" }, name, button("Add a field", add));
}

/**
 * @param {Form} form
 * @param {Schema} schema
 * @param {Keys} keys
 * @param {Look} look
 */
function arrayField(form, schema, keys, look) {
  const items = form.get(keys);
  const first = schema.prefixItems ?? [];
  const swap = (/** @type {number} */ one, /** @type {number} */ other) => {
    const now = form.get(keys);
    form.set(keys, Object.assign([...now], { [one]: now[other], [other]: now[one] }), true);
  };
  const fields = items.map((/** @type {any} */ _item, /** @type {number} */ index) => {
    const label = `${look.label} ${index + 1}`;
    const buttons = index < first.length ? [] : [
      index > first.length && button(`Move ${label} up`, () => swap(index, index - 1)),
      index < items.length - 1 && button(`Move ${label} down`, () => swap(index, index + 1)),
      button(`Remove ${label}`, () => form.set([...keys, index], undefined, true)),
    ].filter((each) => each !== false);
    return field(form, first[index] ?? schema.items ?? {}, [...keys, index], { label, isRequired: true, buttons });
  });
  const isOpen = schema.items !== false && (schema.items !== undefined || !first.length);
  const add = () => form.set([...keys, items.length], sample(schema.items ?? {}, form.document) ?? null, true);
  return group(form, schema, keys, look, ...fields, isOpen ? button(`Add to ${look.label}`, add) : null);
}

