// A request of one row, as JSON, as a curl command and as a Python program. `cells` are [name, value] of each column.

const KEY = "KEY"; // stands in for the API key, which no copy has

const rowOf = ({ named }, cells) =>
  (named ? `{${cells.map(([name, value]) => `${JSON.stringify(name)}: ${value}`).join(", ")}}` : cells[0][1]);

/** The body of a request to /predict. */
export function bodyOf(model, cells) {
  const outputs = model.probabilities ? ', "outputs": ["predict_proba"]' : "";
  return `{"model": ${JSON.stringify(model.name)}, "instances": [${rowOf(model, cells)}]${outputs}}`;
}

export function asCurl(url, model, cells, key) {
  const body = bodyOf(model, cells).replaceAll("'", "'\\''");
  const header = key ? ` -H 'X-API-Key: ${KEY}'` : "";
  return `curl ${url} -H 'Content-Type: application/json'${header} -d '${body}'`;
}

export function asPython(url, model, cells, key) {
  const words = { null: "None", true: "True", false: "False" };
  const inPython = cells.map(([name, value]) => [name, words[value] ?? value]);
  return [
    "import requests",
    "",
    "answer = requests.post(",
    `    ${JSON.stringify(url)},`,
    ...(key ? [`    headers={"X-API-Key": "${KEY}"},`] : []),
    `    json=${bodyOf(model, inPython)},`,
    ")",
    "print(answer.json())",
  ].join("\n");
}
