/* The catalogue: what there is to subscribe to, and what it looks like. */

import { all } from "./api.js";
import { code, h } from "./dom.js";

/** Types by family: `chat` and what begins with `chat.`; kept, because it does not change while a page is open. */
export async function families() {
  families.held = families.held || (await all("/event-types"));
  const found = new Map();
  for (const type of families.held) {
    const family = type.type.includes(".") ? type.type.split(".")[0] : "";
    found.set(family, [...(found.get(family) || []), type]);
  }
  return found;
}

export async function view() {
  const body = [...(await families())].map(([family, types]) => h("section", { class: "family" },
    h("h3", {}, family ? h("code", {}, `${family}.*`) : "Others"),
    h("ul", { class: "cards" }, types.map((type) => h("li", { class: "card" },
      h("details", {},
        h("summary", {}, h("code", {}, type.type), ` ${type.description}`),
        part("Example of its data", type.example),
        part("JSON Schema of its data", type.schema)))))));
  return { title: "Event types", body };
}

function part(name, value) {
  return h("div", { class: "part" }, h("h4", {}, name), code(JSON.stringify(value, null, 2), name));
}
