// Renders /openapi.json. Everything goes through textContent, and nothing is loaded from elsewhere.
"use strict";

function element(tag, text, ...children) {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
}

function resolved(api, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.split("/").slice(1).reduce((node, key) => node[key], api);
}

function typeName(api, schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.map((part) => typeName(api, part)).join(" or ");
  if (schema.type === "array") return `list of ${typeName(api, schema.items)}`;
  if (schema.type === "object" && schema.additionalProperties) return `object of ${typeName(api, schema.additionalProperties)}`;
  return schema.format === "binary" ? "file" : schema.type || "any";
}

function properties(api, schema) {
  const table = element("table");
  const head = element("tr");
  for (const title of ["key", "type", "meaning"]) {
    const cell = element("th", title);
    cell.scope = "col";
    head.append(cell);
  }
  table.append(head);
  const needed = schema.required || [];
  for (const [name, value] of Object.entries(schema.properties || {})) {
    const row = element("tr");
    const type = typeName(api, value) + (needed.includes(name) ? ", needed" : "");
    row.append(element("td", "", element("code", name)), element("td", type), element("td", value.description || ""));
    table.append(row);
  }
  return table;
}

function bodies(api, content) {
  const parts = [];
  for (const [kind, media] of Object.entries(content || {})) {
    parts.push(element("h3", kind), properties(api, resolved(api, media.schema)));
  }
  return parts;
}

function operation(api, path, method, value) {
  const section = element("section");
  const title = element("h2");
  const verb = element("span", method.toUpperCase());
  verb.className = "method";
  title.append(verb, " ", element("code", path));
  section.append(title, element("p", value.description || value.summary || ""));
  if (value.requestBody) section.append(element("h3", "Request"), ...bodies(api, value.requestBody.content));
  const table = element("table");
  for (const [status, answer] of Object.entries(value.responses || {})) {
    const json = (answer.content || {})["application/json"];
    const kind = json && json.schema ? typeName(api, json.schema) : "";
    table.append(element("tr", "", element("td", "", element("code", status)), element("td", answer.description), element("td", kind)));
  }
  section.append(element("h3", "Answers"), table);
  return section;
}

async function main() {
  const page = document.getElementById("reference");
  try {
    const answer = await fetch("/openapi.json");
    if (!answer.ok) throw new Error(`the service answered ${answer.status}`);
    const api = await answer.json();
    page.append(element("p", api.info.description || ""));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, value] of Object.entries(methods)) page.append(operation(api, path, method, value));
    }
    page.append(element("h2", "Documents"));
    for (const [name, schema] of Object.entries((api.components || {}).schemas || {})) {
      page.append(element("section", "", element("h3", name), element("p", schema.description || ""), properties(api, schema)));
    }
  } catch (error) {
    page.append(element("p", `openapi.json can't be read: ${error.message}`));
  }
}

main();
