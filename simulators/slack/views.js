// Modals on a person's screen, and the app's home.

import { $, api, guarded } from "./api.js";
import { blocks } from "./blocks.js";
import { element } from "./mrkdwn.js";

let shown = null;
let hands = null;

export async function showViews(who, given) {
  hands = given;
  const { modals } = await api(`views?user=${who}`);
  const top = modals.at(-1) || null;
  if (!top) {
    shown = null;
    if ($("view-dialog").open) $("view-dialog").close();
    return;
  }
  if (shown && shown.id === top.id && shown.hash === top.hash) return;
  shown = top;
  $("view-heading").textContent = top.title?.text || "";
  $("view-submit").hidden = !top.submit;
  $("view-submit").textContent = top.submit?.text || "";
  $("view-close").textContent = top.close?.text || "Close";
  $("view-blocks").replaceChildren(...fields(top.blocks));
  if (!$("view-dialog").open) $("view-dialog").showModal();
}

function fields(list) {
  const press = guarded(async (one, block, value) => {
    await api("presses", { user: hands.me, view: shown.id, action_id: one.action_id, block_id: block.block_id, value });
  });
  return list.flatMap((block) => block.type === "input" ? [field(block)] : blocks([block], { ...hands, press }));
}

function field(block) {
  const one = block.element;
  const label = element("label", { className: "field", dataset: { block: block.block_id } },
    element("span", { textContent: block.label.text + (block.optional ? " (optional)" : "") }));
  let input;
  if (one.options) {
    input = element("select", { multiple: ["checkboxes", "multi_static_select"].includes(one.type) },
      ...(block.optional ? [element("option", { value: "" })] : []),
      ...one.options.map((option) => element("option", { value: option.value, textContent: option.text.text })));
    if (one.initial_option) input.value = one.initial_option.value;
  } else {
    input = element(one.multiline ? "textarea" : "input", { value: one.initial_value || "", placeholder: one.placeholder?.text || "" });
  }
  label.append(input, element("small", { className: "error", role: "alert" }));
  if (block.hint) label.append(element("small", { textContent: block.hint.text }));
  return label;
}

export function showErrors(errors) {
  for (const label of $("view-blocks").querySelectorAll("[data-block]")) {
    label.querySelector(".error").textContent = errors[label.dataset.block] || "";
  }
}

function values() {
  const given = {};
  for (const label of $("view-blocks").querySelectorAll("[data-block]")) {
    const input = label.querySelector("input, select, textarea");
    const value = input.multiple ? [...input.selectedOptions].map((option) => option.value) : input.value;
    if (value.length) given[label.dataset.block] = value;
  }
  return given;
}

export function wireViews() {
  $("view-form").addEventListener("submit", (event) => {
    event.preventDefault();
    showErrors({});
    api("submissions", { user: hands.me, view: shown.id, values: values() }).catch((error) => {
      const first = $("view-blocks").querySelector(".error");
      if (first) first.textContent = error.message;
    });
  });
  const dismiss = guarded(async () => {
    if (shown) await api("closes", { user: hands.me, view: shown.id });
  });
  $("view-close").addEventListener("click", dismiss);
  $("view-dialog").addEventListener("cancel", (event) => { event.preventDefault(); dismiss(); });
}
