// The page: a form for the chosen model, its answer, and the same request to copy.

import { element, makeField } from "/docs/fields.js";
import { asCurl, asPython, bodyOf } from "/docs/request.js";

const find = (id) => document.getElementById(id);
let models = [];
let model;
let fields = [];

/** JSON whose whole numbers beyond 2^53 stay as they are written. */
const parse = (text) => JSON.parse(text, (_, value, context) =>
  (Number.isInteger(value) && !Number.isSafeInteger(value) && context ? context.source : value));

async function load() {
  const response = await fetch("/docs/models.json");
  if (!response.ok) throw new Error(`/docs/models.json answers ${response.status}`);
  const page = parse(await response.text());
  models = page.models;
  for (const { name, version } of models) find("model").add(new Option(`${name}, version ${version}`, name));
  find("about").textContent = `Release ${page.release}, as endpoint ${page.endpoint} serves it.`;
  find("form").hidden = false;
  show();
}

function show() {
  model = models.find(({ name }) => name === find("model").value);
  find("description").textContent = model.description;
  fields = model.fields.map(makeField);
  find("fields").replaceChildren(...fields.map(({ block }) => block));
  find("result").hidden = true;
  find("copies").hidden = true;
  fill();
}

function fill() {
  fields.forEach((field, at) => field.fill(model.fields[at].example));
}

async function send(event) {
  event.preventDefault();
  const values = fields.map((field) => field.read());
  const wrong = values.indexOf(null);
  if (wrong >= 0) {
    fields[wrong].control.focus();
    return;
  }
  const cells = fields.map(({ name }, at) => [name, values[at]]);
  const key = find("key").value;
  const url = `${location.origin}/predict`;
  find("curl").textContent = asCurl(url, model, cells, Boolean(key));
  find("python").textContent = asPython(url, model, cells, Boolean(key));
  find("copies").hidden = false;
  const headers = { "Content-Type": "application/json", ...(key ? { "X-API-Key": key } : {}) };
  find("send").disabled = true;
  try {
    const start = performance.now();
    const response = await fetch("/predict", { method: "POST", headers, body: bodyOf(model, cells) });
    const text = await response.text();
    tell(response, text, performance.now() - start);
  } catch (error) {
    fail(`no answer: ${error.message}`);
  } finally {
    find("send").disabled = false;
  }
}

function tell(response, text, milliseconds) {
  let answer;
  try {
    answer = parse(text);
  } catch {
    answer = { error: text };
  }
  if (response.ok) {
    const prediction = answer.predictions[0];
    const warnings = (answer.warnings ?? []).map((textContent) => element("p", { className: "note", textContent }));
    find("answer").replaceChildren(Array.isArray(prediction) ? prediction.join(", ") : String(prediction), ...warnings);
    find("classes").replaceChildren(...bars(answer.outputs?.predict_proba?.[0]));
  } else {
    fail(answer.error ?? text);
  }
  const told = (name) => response.headers.get(name) ?? "not shown to clients";
  facts({
    Time: `${milliseconds.toFixed(1)} ms, as this page measured it`,
    Release: told("X-Release"),
    Endpoint: told("X-Endpoint"),
    Request: told("X-Request-Id"),
    Status: String(response.status),
  });
  find("whole").textContent = text;
  find("result").hidden = false;
}

function fail(words) {
  find("answer").replaceChildren(element("p", { className: "wrong", textContent: words }));
  find("classes").replaceChildren();
  find("facts").replaceChildren();
  find("whole").textContent = "";
  find("result").hidden = false;
}

function facts(values) {
  find("facts").replaceChildren(...Object.entries(values).flatMap(([name, value]) =>
    [element("dt", { textContent: name }), element("dd", { textContent: value })]));
}

/** A table of bars for the classes' probabilities; one for each output where the model has several. */
function bars(probabilities) {
  if (!probabilities) return [];
  const several = Array.isArray(probabilities[0]);
  const groups = several ? probabilities : [probabilities];
  return groups.map((group, number) => {
    const classes = several ? model.classes[number] ?? [] : model.classes;
    const caption = several ? `Probabilities of output ${number + 1}` : "Probabilities";
    const table = element("table", { className: "bars" }, element("caption", { textContent: caption }));
    table.append(element("tbody", {}, ...group.map((share, at) => {
      const bar = element("div", { className: "bar" });
      bar.style.width = `${share * 100}%`;
      return element("tr", {}, element("th", { scope: "row", textContent: String(classes[at] ?? at) }),
        element("td", {}, bar), element("td", { textContent: `${(share * 100).toFixed(1)} %` }));
    })));
    return table;
  });
}

async function copy(event) {
  const source = event.target.dataset.copy && find(event.target.dataset.copy);
  if (!source) return;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch { // browsers give the clipboard to pages over TLS and on this machine
    getSelection().selectAllChildren(source);
    document.execCommand("copy");
  }
  find("copied").textContent = `Copied: ${event.target.dataset.copy}`;
}

find("form").addEventListener("submit", send);
find("model").addEventListener("change", show);
find("example").addEventListener("click", fill);
find("copies").addEventListener("click", copy);
load().catch((error) => { find("about").textContent = `The models can't be shown: ${error.message}`; });
