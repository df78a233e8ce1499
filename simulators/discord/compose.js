// Writing: messages with files, replies and edits, and slash commands with their options.

import { $, answered, api, guarded } from "./api.js";
import { element } from "./render.js";

const KINDS = { 3: "text", 4: "number", 6: "person", 7: "channel", 10: "number" };
const draft = { reply: null, edit: null, commands: [], chosen: null };
let page; // { place(): { user, channel } | null, typed(), people(), channels() }

export function startReply(message) {
  cancel();
  draft.reply = message.id;
  context(`Reply to ${message.author.global_name || message.author.username}: ${message.content || "attachment"}`);
}

export function startEdit(message) {
  cancel();
  draft.edit = message.id;
  $("text").value = message.content;
  context("Edit message");
}

function context(text) {
  $("context-text").textContent = text;
  $("context").hidden = false;
  grow();
  $("text").focus();
}

export function cancel() {
  if (draft.edit) $("text").value = "";
  draft.reply = draft.edit = draft.chosen = null;
  $("context").hidden = $("picker").hidden = true;
  grow();
}

function grow() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight + 2, 150)}px`;
}

const submit = guarded(async () => {
  const content = $("text").value.trim();
  const files = [...$("file").files];
  const place = page.place();
  if (!place || (!content && !files.length)) return;
  if (content.startsWith("/") && draft.commands.length) {
    const words = content.slice(1).split(/\s+/)[0];
    const command = flat(draft.commands).find((one) => one.path.split(" ")[0] === words || one.path === content.slice(1));
    if (command) return choose(command);
  }
  if (draft.edit) await api("edits", { ...place, message_id: draft.edit, content });
  else await api("messages", upload({ ...place, content, ...(draft.reply ? { reply_to: draft.reply } : {}) }, files));
  $("text").value = "";
  $("file").value = "";
  draft.edit = null;
  cancel();
});

function upload(message, files) {
  if (!files.length) return message;
  const form = new FormData();
  form.append("payload_json", JSON.stringify(message));
  files.forEach((file, index) => form.append(`files[${index}]`, file, file.name));
  return form;
}

// -- slash commands ----------------------------------------------------------------------------------------------------

function flat(commands) {
  return commands.flatMap((command) => expand(command, command.name, command.options || [], command.bot_id, command.description));
}

function expand(command, path, options, bot, description) {
  const inner = options.filter((option) => option.type <= 2);
  if (!inner.length) return [{ path, options, bot, description }];
  return inner.flatMap((option) => expand(command, `${path} ${option.name}`, option.options || [], bot, option.description));
}

const typed = guarded(async () => {
  grow();
  const place = page.place();
  const value = $("text").value;
  if (!place) return;
  if (!value.startsWith("/")) {
    $("picker").hidden = true;
    draft.commands = [];
    if (value) page.typed();
    return;
  }
  if (value === "/" || !draft.commands.length) {
    const query = new URLSearchParams(place);
    draft.commands = (await answered(await fetch(`sim/commands?${query}`))).commands;
  }
  offer(flat(draft.commands).filter((one) => `/${one.path}`.startsWith(value.trimEnd())));
});

function offer(found) {
  $("options").hidden = true;
  $("offers").hidden = false;
  $("picker").hidden = !found.length;
  $("offers").replaceChildren(...found.map((command) => {
    const button = element("button", { type: "button", role: "option" },
      element("b", { textContent: `/${command.path}` }), element("span", { textContent: command.description }));
    button.addEventListener("click", () => choose(command));
    return element("li", {}, button);
  }));
}

function choose(command) {
  draft.chosen = command;
  $("offers").hidden = true;
  $("picker").hidden = $("options").hidden = false;
  $("options").replaceChildren(element("b", { textContent: `/${command.path}` }), ...command.options.map(field),
    element("div", { className: "row end" },
      element("button", { type: "submit", className: "primary", textContent: "Run" })));
  ($("options").querySelector("input, select, textarea") || $("options").querySelector("button")).focus();
}

function field(option) {
  const shared = { name: option.name, required: Boolean(option.required), autocomplete: "off" };
  const choices = option.type === 5 ? [["true", "Yes"], ["false", "No"]] : (option.choices || []).map((one) => [one.value, one.name]);
  if (option.type === 6) choices.push(...page.people());
  if (option.type === 7) choices.push(...page.channels());
  const input = choices.length
    ? element("select", shared, element("option", { value: "", textContent: "" }),
        ...choices.map(([value, label]) => element("option", { value, textContent: label })))
    : element("input", { ...shared, type: KINDS[option.type] === "number" ? "number" : "text", step: option.type === 10 ? "any" : "1" });
  return element("label", {}, `${option.name}${option.required ? "" : " (optional)"} — ${option.description}`, input);
}

const run = guarded(async () => {
  const options = Object.fromEntries([...new FormData($("options"))].filter(([, value]) => value !== ""));
  await api("commands", { ...page.place(), bot: draft.chosen.bot, command: draft.chosen.path, options });
  $("text").value = "";
  draft.commands = [];
  cancel();
  $("text").focus();
});

export function writing(given) {
  page = given;
  $("compose").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  $("options").addEventListener("submit", (event) => { event.preventDefault(); run(); });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
    if (event.key === "Escape") cancel();
    if (event.key === "ArrowUp" && !$("picker").hidden) { event.preventDefault(); $("offers").querySelector("button")?.focus(); }
  });
  $("picker").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { cancel(); $("text").focus(); }
  });
  $("text").addEventListener("input", typed);
  $("file").addEventListener("change", () => {
    const names = [...$("file").files].map((file) => file.name);
    if (names.length) context(`Attached: ${names.join(", ")}`);
  });
  $("context-cancel").addEventListener("click", () => { $("file").value = ""; cancel(); $("text").focus(); });
}
