// Fill the page from /openapi.json, and send the typed body to the chosen route.
"use strict";

const find = (id) => document.getElementById(id);

async function load() {
  const description = await (await fetch("/openapi.json")).json();
  find("about").textContent = `${description.info.description} Release ${description.info.version}.`;
  const examples = {};
  for (const [path, { post }] of Object.entries(description.paths)) {
    const example = post?.requestBody?.content["application/json"].example;
    if (!example) continue;
    const query = (post.parameters ?? []).map(({ name, example: value }) => `${name}=${value}`).join("&");
    const target = query ? `${path}?${query}` : path;
    examples[target] = example;
    find("route").add(new Option(`${target}: ${post.summary}`, target));
  }
  const show = () => {
    find("body").value = JSON.stringify(examples[find("route").value], null, 2);
  };
  find("route").addEventListener("change", show);
  find("route").value = "/predict"; // the route most readers want
  show();
}

async function send(event) {
  event.preventDefault();
  const headers = { "Content-Type": "application/json" };
  if (find("key").value) headers["X-API-Key"] = find("key").value;
  try {
    const response = await fetch(find("route").value, { method: "POST", headers, body: find("body").value });
    const text = await response.text();
    find("status").textContent = `${response.status}, request ${response.headers.get("X-Request-Id")}`;
    try {
      find("answer").textContent = JSON.stringify(JSON.parse(text), null, 2);
    } catch {
      find("answer").textContent = text;
    }
  } catch (error) {
    find("status").textContent = "No answer";
    find("answer").textContent = String(error);
  }
}

find("try").addEventListener("submit", send);
load();
