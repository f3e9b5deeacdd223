// The fields of the form. A value is text as JSON has it: 1.50, "Biscoe", null.

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const OTHER = "other";

/** An element with these properties and children; names with a dash are attributes. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key === "role" || key === "list" || key.includes("-")) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/** The text that a person sees of a value. */
const shown = (value) => (value.startsWith('"') ? JSON.parse(value) : value);

/** What a field of text gives: `value` is null and `error` says what is wrong where it is not right. */
function typed(kind, text) {
  if (kind === "text") return { value: JSON.stringify(text) };
  const number = text.trim().replace(/^\+/, "").replace(/^(-?)\./, "$10.").replace(/\.$/, "");
  if (kind === "boolean") return /^(true|false)$/.test(number) ? { value: number } : { error: "give true or false" };
  if (!NUMBER.test(number)) return { error: text.trim() ? `${text.trim()} is no number; write it as 12.5` : "give a number" };
  if (kind === "integer" && !/^-?\d+(\.0+)?$/.test(number)) return { error: `${number} is no whole number` };
  return { value: number };
}

/** A control for typing. `read` gives {value} or {error}, and `fill` takes a value. */
function typing(field, id, lines) {
  const numeric = field.kind === "number" || field.kind === "integer";
  const control = lines
    ? element("textarea", { id, rows: 5 })
    : element("input", { id, type: "text", inputMode: numeric ? "decimal" : "text", autocomplete: "off", spellcheck: false });
  return {
    parts: [control],
    control,
    read: () => typed(field.kind, control.value),
    fill: (value) => { control.value = value === "null" ? "" : shown(value); },
  };
}

/** A list of the categories; where others are taken, its last entry opens a field for one. */
function choosing(field, id) {
  const list = element("select", { id }, ...field.choices.map((value) => new Option(shown(value), value)));
  const other = typing(field, `${id}-other`, false);
  other.control.setAttribute("aria-label", `Another value of ${field.name}`);
  other.control.hidden = true;
  if (field.open) list.add(new Option("another value …", OTHER));
  list.addEventListener("change", () => {
    other.control.hidden = list.value !== OTHER;
    if (!other.control.hidden) other.control.focus();
  });
  return {
    parts: [list, other.control],
    get control() { return list.value === OTHER ? other.control : list; },
    read: () => (list.value === OTHER ? other.read() : { value: list.value }),
    fill: (value) => {
      const known = field.choices.includes(value) || value === "null";
      list.value = value === "null" ? field.choices[0] : known ? value : OTHER;
      other.control.hidden = known;
      if (!known) other.fill(value);
    },
  };
}

function switching(field, id) {
  const control = element("input", { id, type: "checkbox", role: "switch" });
  return {
    parts: [control],
    control,
    read: () => ({ value: String(control.checked) }),
    fill: (value) => { control.checked = value === "true"; },
  };
}

/** A date and time, in UTC where training's dates have an offset. */
function dating(field, id) {
  const control = element("input", { id, type: "datetime-local", step: "1" });
  return {
    parts: [control],
    control,
    read: () => {
      if (!control.value) return { error: "give a date and a time" };
      const text = control.value.length === 16 ? `${control.value}:00` : control.value;
      return { value: JSON.stringify(text + (field.zoned ? "Z" : "")) };
    },
    fill: (value) => {
      if (value === "null") { control.value = ""; return; }
      const [day, time = "00:00:00"] = shown(value).split(/[T ]/);
      const offset = /([+-]\d\d:?\d\d)$/.exec(time);
      const seconds = time.slice(0, 8).padEnd(8, ":00");
      control.value = offset
        ? new Date(`${day}T${seconds}${offset[1]}`).toISOString().slice(0, 19)
        : `${day}T${seconds}`;
    },
  };
}

function inner(field, id) {
  if (field.choices.length) return choosing(field, id);
  if (field.kind === "boolean") return switching(field, id);
  if (field.kind === "datetime") return dating(field, id);
  return typing(field, id, !field.name);
}

/** The field of a column: `block` to show, `read` for its value or null after it showed what is wrong, `fill` with one. */
export function makeField(field, at) {
  const id = `column-${at}`;
  const made = inner(field, id);
  const hint = element("span", { id: `${id}-hint`, className: "hint" });
  const error = element("span", { id: `${id}-error`, className: "hint wrong" });
  const missing = element("input", { type: "checkbox", id: `${id}-missing` });
  const name = field.name || "Text";
  hint.textContent = [field.zoned ? "in UTC" : "", field.hint].filter(Boolean).join("; ");
  for (const part of made.parts) part.setAttribute("aria-describedby", `${hint.id} ${error.id}`);
  const block = element("div", { className: "field" }, element("label", { htmlFor: id, textContent: name }), ...made.parts, hint, error);
  if (field.missing) {
    block.append(element("label", { className: "missing" }, missing, ` ${name} is missing`));
    missing.addEventListener("change", () => disable());
  }
  function disable() {
    for (const part of made.parts) part.disabled = missing.checked;
  }
  return {
    block,
    name: field.name,
    get control() { return made.control; },
    read() {
      const { value = null, error: wrong = "" } = missing.checked ? { value: "null" } : made.read();
      error.textContent = wrong;
      for (const part of made.parts) part.removeAttribute("aria-invalid");
      if (wrong) made.control.setAttribute("aria-invalid", "true");
      return value;
    },
    fill(value) {
      missing.checked = field.missing && value === "null";
      made.fill(value);
      disable();
    },
  };
}
