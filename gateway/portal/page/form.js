/* Adding an endpoint, and changing one. */

import { patch, post } from "./api.js";
import { announce, busy, h, link } from "./dom.js";
import { one } from "./endpoints.js";
import * as options from "./options.js";
import { keepSecret } from "./secrets.js";
import { families } from "./types.js";

export async function create() {
  return { title: "Add an endpoint", body: [await form(null)] };
}

export async function edit({ parts: [id] }) {
  return { title: "Change the endpoint", body: [await form(await one(id))] };
}

async function form(hook) {
  const choice = chooser(await families(), hook ? hook.events : ["*"]);
  const url = field("url", "Address", "Where events are sent, for instance https://example.com/webhooks", { type: "url", required: true, autocomplete: "url", placeholder: "https://", value: hook && hook.url, dir: "ltr" });
  const description = field("description", "Description", "Optional. Only people see it.", { maxlength: 500, value: hook && hook.description });
  const more = options.section(hook, field);
  const problems = h("div", {});
  const save = h("button", { type: "submit", class: "primary" }, hook ? "Save" : "Add");
  const fields = { url, description, events: choice, ...more.fields };
  const made = h("form", { novalidate: true, class: "form", onsubmit: (event) => {
    event.preventDefault();
    busy(save, problems, () => submitted(hook, fields));
  } }, url.whole, description.whole, choice.whole, more.whole, problems,
    h("div", { class: "actions" }, save, link(hook ? `#endpoints/${hook.webhook_id}` : "#endpoints", "Cancel", { class: "button" })));
  return made;
}

async function submitted(hook, fields) {
  for (const each of Object.values(fields)) each.complain("");
  const body = Object.fromEntries(Object.entries(fields).map(([name, each]) => [name, each.value()]));
  const missing = !body.url ? ["url", "An address is needed."] : !body.events.length ? ["events", "Choose at least one type."] : null;
  if (missing) return complain(fields, Object.fromEntries([missing]));
  try {
    const saved = hook ? await patch(`/webhooks/${hook.webhook_id}`, body) : await post("/webhooks", body);
    keepSecret(saved.webhook_id, saved);
    announce(hook ? "Saved" : "Added");
    location.hash = `#endpoints/${saved.webhook_id}`;
  } catch (error) {
    if (!complain(fields, error.fields || {})) throw error;
  }
  return undefined;
}

/** Puts complaints beside their fields and the focus into the first. False when none is about a field. */
function complain(fields, faults) {
  const wrong = Object.keys(fields).filter((name) => faults[name]);
  for (const name of wrong) fields[name].complain(faults[name]);
  for (const folded of document.querySelectorAll("form details")) folded.open ||= wrong.some((name) => folded.querySelector(`#${name}`));
  if (wrong.length) fields[wrong[0]].focus();
  return wrong.length > 0;
}

/** A labelled input with its hint and its fault, both of which are read out with it. `choices` make it a list. */
export function field(name, label, hint, { value, choices, tag = choices ? "select" : "input", ...props } = {}) {
  const fault = h("p", { class: "fault", id: `${name}-fault` });
  const input = h(tag, { oninput: () => input.removeAttribute("aria-invalid"), id: name, name, "aria-describedby": `${name}-hint ${name}-fault`, ...(tag === "input" ? { type: "text" } : {}), ...props },
    (choices || []).map(([each, text]) => h("option", { value: each, selected: each === value }, text)));
  if (!choices) input.value = value ?? "";
  return {
    whole: h("div", { class: "field" }, h("label", { for: name }, label), h("p", { class: "hint", id: `${name}-hint` }, hint), input, fault),
    value: () => input.value.trim(),
    focus: () => input.focus(),
    complain: (text) => {
      fault.textContent = sentence(text);
      if (text) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    },
  };
}

const sentence = (text) => text && `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;

/** All events, or some: families, single types, and patterns that are written by hand. */
function chooser(found, chosen) {
  const everything = chosen.includes("*");
  const known = new Set([...found.values()].flat().map((type) => type.type));
  const patternsOf = [...found.keys()].filter(Boolean).map((family) => `${family}.*`);
  const others = chosen.filter((pattern) => pattern !== "*" && !known.has(pattern) && !patternsOf.includes(pattern));
  const own = field("patterns", "Patterns of your own", "Optional, separated by commas: * stands for anything, as in *.failed", { value: others.join(", "), dir: "ltr" });
  const groups = h("div", { hidden: everything }, [...found].map(([family, types]) => group(family, types, chosen)), own.whole);
  const fault = h("p", { class: "fault", id: "events-fault" });
  const radio = (id, text, on) => h("label", { class: "choice" },
    h("input", { type: "radio", name: "which", id, checked: on, onchange: () => { groups.hidden = id === "all"; } }), h("span", {}, text));
  const allOfThem = radio("all", "All events, and all types that will be added later", everything);
  const whole = h("fieldset", { "aria-describedby": "events-fault" }, h("legend", {}, "Events"), allOfThem, radio("some", "Only these", !everything), groups, fault);
  const ticked = () => [...groups.querySelectorAll("input[type=checkbox]:checked:not(:disabled)")].map((box) => box.value);
  return {
    whole,
    value: () => whole.querySelector("#all").checked ? ["*"] : [...ticked(), ...own.value().split(",").map((text) => text.trim()).filter(Boolean)],
    focus: () => whole.querySelector("input:checked").focus(),
    complain: (text) => {
      fault.textContent = sentence(text);
    },
  };
}

function group(family, types, chosen) {
  const box = (value, text, on, props) => h("label", { class: "choice" },
    h("input", { type: "checkbox", value, checked: on, ...props }), h("span", {}, h("code", {}, value), ` ${text}`));
  const singles = types.map((type) => box(type.type, type.description, chosen.includes(type.type)));
  if (!family) return h("fieldset", { class: "group" }, h("legend", {}, "Others"), singles);
  const cover = (on) => {
    for (const single of singles) {
      single.firstChild.disabled = on;
      if (on) single.firstChild.checked = true;
    }
  };
  const whole = chosen.includes(`${family}.*`);
  const every = box(`${family}.*`, "all of them, later ones too", whole, { onchange: (event) => cover(event.target.checked) });
  if (whole) cover(true);
  return h("fieldset", { class: "group" }, h("legend", {}, h("code", {}, family)), every, h("div", { class: "singles" }, singles));
}
