// A person chats as several users. The server is the truth: events say what changed, and the page reads it again.
// ?person=ada picks the person, ?channel=general the conversation, ?team=Acme the workspace; ?compact=1 hides the side bar.

import { $, api, guarded, problem } from "./api.js";
import { blocks } from "./blocks.js";
import { panel } from "./faults.js";
import { element } from "./mrkdwn.js";
import { bubble, toast } from "./render.js";
import { asked, current, DM, hooks, names, POSITION, refresh, showChannels, showHead, showMail, state, view, where } from "./rooms.js";
import { showErrors, showViews, wireViews } from "./views.js";

// -- the messages of one conversation ---------------------------------------------------------------------------------

async function open(id) {
  view.channel = id;
  view.thread = null;
  view.home = false;
  view.unread.delete(id);
  $("app").classList.remove("listing");
  showChannels();
  await load();
  $("text").focus();
}

let loading = 0;
async function load() {
  const channel = current();
  const turn = ++loading;
  const found = channel && channel.id !== DM ? await api(`channels/${channel.id}/messages?user=${view.me}`) : { messages: [], ephemerals: [] };
  if (turn !== loading) return;
  if (found.channel) Object.assign(state.channels.find((one) => one.id === channel.id) || {}, found.channel);
  view.messages = new Map(found.messages.map((seen) => [seen.message.ts, seen]));
  view.ephemerals = found.ephemerals;
  showHead();
  showMessages(true);
  await showViews(view.me, { me: view.me, names });
}

function sorted() {
  const all = [...view.messages.values(), ...view.ephemerals.map((message) => ({ message, edits: [] }))];
  return all.sort((a, b) => (a.message.ts < b.message.ts ? -1 : 1));
}

const inChannel = ({ message }) => (message.thread_ts ?? message.ts) === message.ts || message.subtype === "thread_broadcast";

function fill(list, found, inThread, always) {
  const near = list.scrollHeight - list.scrollTop - list.clientHeight < 240;
  const focus = document.activeElement?.closest?.(".message")?.dataset.ts;
  list.replaceChildren(...found.map((seen) => bubble(seen, handsOf(inThread))));
  if (focus && !list.contains(document.activeElement)) list.querySelector(`[data-ts="${focus}"] button`)?.focus({ preventScroll: true });
  if (always || near) list.scrollTop = list.scrollHeight;
}

// Pictures come after their message: stay at the end when that is where the reader was.
function follow(list) {
  let end = true;
  list.addEventListener("scroll", () => { end = list.scrollHeight - list.scrollTop - list.clientHeight < 60; });
  list.addEventListener("load", () => { if (end) list.scrollTop = list.scrollHeight; }, true);
}

function showMessages(always) {
  $("home").textContent = view.home ? "Messages" : "Home";
  if (view.home) showHome();
  else fill($("messages"), sorted().filter(inChannel), false, always);
  showThread(always);
}

async function showHome() {
  const { home } = await api(`views?user=${view.me}`);
  const press = guarded((one, block, value) => api("presses", { user: view.me, view: home.id, action_id: one.action_id, block_id: block.block_id, value }));
  const shown = home ? blocks(home.blocks, { names, press }) : [element("p", { textContent: "The app has published no home." })];
  $("messages").replaceChildren(element("li", { className: "home content" }, ...shown));
}

function showThread(always) {
  $("thread").hidden = !view.thread;
  $("app").classList.toggle("threaded", Boolean(view.thread));
  if (!view.thread) return;
  fill($("replies"), sorted().filter(({ message }) => message.ts === view.thread || message.thread_ts === view.thread), true, always);
  const thread = current()?.threads?.[view.thread] || {};
  $("thread-title").textContent = thread.title || "Thread";
  $("thread-status").textContent = thread.status ? `${names.app} ${thread.status}` : thread.loading_messages?.[0] || "";
  $("thread-status").className = thread.status ? "busy" : "";
  $("prompts").replaceChildren(...(thread.prompts || []).map((prompt) => {
    const button = element("button", { type: "button", className: "key", title: prompt.message, textContent: prompt.title });
    button.addEventListener("click", guarded(() => api("messages", { user: view.me, ...where(), thread_ts: view.thread, text: prompt.message })));
    return button;
  }));
}

function handsOf(inThread) {
  return { me: view.me, names, inThread, press, react, stop, thread: openThread, edit: startEdit, remove, fileUrl: (id) => `sim/files/${encodeURIComponent(id)}` };
}

function openThread(message) {
  view.thread = message.thread_ts || message.ts;
  showThread(true);
  $("reply-text").focus();
}

const press = guarded(async (message, one, block, value, button) => {
  button.disabled = true;
  setTimeout(() => { button.disabled = false; }, 800);
  await api("presses", { user: view.me, ...where(), ts: message.ts, action_id: one.action_id, block_id: block.block_id, value });
});

const react = guarded(async (message, name, away) => {
  await api("reactions", { user: view.me, ...where(), ts: message.ts, name, remove: away });
});

const stop = guarded(async (message) => { await api("stops", { user: view.me, ...where(), ts: message.ts }); });

const remove = guarded(async (message) => { await api("deletes", { user: view.me, ...where(), ts: message.ts }); });

// -- writing -----------------------------------------------------------------------------------------------------------

function startEdit(message) {
  view.edit = message.ts;
  $("text").value = readable(message.text || "");
  $("text").placeholder = "Edit, or Escape to leave it";
  grow($("text"));
  $("text").focus();
}

function stopEdit() {
  view.edit = null;
  $("text").placeholder = "Message, or /command";
}

// What a person would have typed: @name and #name, links and signs as they are.
function readable(text) {
  return text.replace(/<@(\w+)>/g, (whole, id) => `@${state.users.find((user) => user.id === id)?.name || id}`)
    .replace(/<#\w+\|([^>]+)>/g, "#$1").replace(/<(https?:[^>|]+)>/g, "$1")
    .replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

function grow(text) {
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight + 2, 150)}px`;
}

const submit = guarded(async () => {
  const text = $("text").value.trim();
  const file = $("file").files[0];
  if (!text && !file) return;
  const place = { user: view.me, team: view.team, ...where() };
  const command = /^(\/[a-z][\w-]*)(?:\s+([\s\S]*))?$/i.exec(text);
  if (view.edit) await api("edits", { ...place, ts: view.edit, text });
  else if (command && !file) await api("commands", { ...place, command: command[1], text: command[2] || "" });
  else await api("messages", file ? upload({ ...place, text }, file) : { ...place, text });
  stopEdit();
  $("text").value = $("file").value = "";
  $("compose").classList.remove("attached");
  grow($("text"));
  if (view.channel === DM) await refresh().then(load);
});

function upload(message, file) {
  const form = new FormData();
  for (const [name, value] of Object.entries(message)) form.append(name, value);
  form.append("file", file, file.name);
  return form;
}

const reply = guarded(async () => {
  const text = $("reply-text").value.trim();
  if (!text) return;
  await api("messages", { user: view.me, ...where(), thread_ts: view.thread, text });
  $("reply-text").value = "";
  grow($("reply-text"));
});

const newChat = guarded(async () => {
  const opened = await api("threads", { user: view.me });
  view.channel = opened.channel;
  await refresh();
  await load();
  openThread({ ts: opened.ts });
});

// -- events ------------------------------------------------------------------------------------------------------------

let waiting = 0;
function soon() {
  if (!waiting) waiting = setTimeout(() => { waiting = 0; guarded(load)(); }, 30);
}

function count(event) {
  if (event.type !== "send" || !String(event.method).includes("post")) return;
  view.unread.set(event.channel, (view.unread.get(event.channel) || 0) + 1);
  showChannels();
}

const QUIET = new Set(["delivery", "connections", "interaction", "view", "view_errors"]);
const handle = guarded(async (event) => {
  if (["delivery", "connections"].includes(event.type)) {
    if (!$("faults").hidden) later();
    return;
  }
  if (event.type === "interaction") {
    if (event.user === view.me && !event.interaction.ok) toast($("toast"), `${names.app} did not manage: ${event.interaction.error}`);
    return;
  }
  if (event.type === "view_errors") return void (event.user === view.me && showErrors(event.errors || {}));
  if (event.type === "view") {
    if (event.user !== view.me) return;
    if (event.view.type !== "home") await showViews(view.me, { me: view.me, names });
    else if (view.home) showMessages(false);
    return;
  }
  if (["user", "channel", "installed", "reset"].includes(event.type) || !state.channels.some((one) => one.id === event.channel)) await refresh();
  if (!QUIET.has(event.type) && event.channel && event.channel !== view.channel) return count(event);
  if (event.type === "send" && event.message?.ts && view.messages.has(event.message.ts) && event.method === "chat.appendStream") {
    Object.assign(view.messages.get(event.message.ts), { message: event.message, streaming: true });
    return showMessages(false);
  }
  join(event.message);
  soon();
});

// An answer in a thread of one's own question opens that thread, so that it can be watched growing.
function join(message) {
  if (view.thread || !message?.bot_id || !message.thread_ts || message.thread_ts === message.ts) return;
  if (view.messages.get(message.thread_ts)?.message.user === view.me) view.thread = message.thread_ts;
}

let mailing = 0;
function later() {
  if (!mailing) mailing = setTimeout(async () => { mailing = 0; Object.assign(state, await api("state")); showMail(); }, 300);
}

function listen() {
  const events = new EventSource("sim/events");
  let lost = false;
  events.onmessage = (event) => handle(JSON.parse(event.data));
  events.onerror = () => { lost = true; problem("The simulator does not answer; trying again."); };
  events.onopen = guarded(async () => {
    if (lost) await refresh().then(load);
    lost = false;
  });
}

// -- start -------------------------------------------------------------------------------------------------------------

async function become(change) {
  Object.assign(view, { thread: null, edit: null, home: false, unread: new Map() }, change);
  const room = current();
  if (!room || room.kind === "im") view.channel = DM;
  await refresh();
  if (!asked.has("person")) localStorage.setItem(POSITION, JSON.stringify({ team: view.team, me: view.me }));
  await load();
}

function writing(form, text, act) {
  $(form).addEventListener("submit", (event) => { event.preventDefault(); act(); });
  $(text).addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); act(); }
    if (event.key === "Escape" && view.edit) { stopEdit(); $(text).value = ""; }
  });
  $(text).addEventListener("input", () => grow($(text)));
}

function wire() {
  hooks.open = guarded(open);
  document.body.classList.toggle("compact", asked.get("compact") === "1");
  $("team").addEventListener("change", guarded(() => become({ team: $("team").value, me: null, channel: DM })));
  $("user").addEventListener("change", guarded(() => become({ me: $("user").value })));
  $("add-user").addEventListener("click", () => { $("user-form").hidden = false; $("user-name").focus(); });
  $("user-form").addEventListener("submit", guarded(async (event) => {
    event.preventDefault();
    const user = await api("users", { team: view.team, name: $("user-name").value.trim() });
    $("user-form").reset();
    $("user-form").hidden = true;
    await become({ me: user.id, channel: DM });
  }));
  writing("compose", "text", submit);
  writing("reply", "reply-text", reply);
  $("file").addEventListener("change", () => {
    $("compose").classList.toggle("attached", Boolean($("file").files[0]));
    $("text").placeholder = $("file").files[0] ? `With ${$("file").files[0].name}` : "Message, or /command";
  });
  $("place").addEventListener("change", () => hooks.open($("place").value));
  $("back").addEventListener("click", () => { $("app").classList.add("listing"); $("channels").querySelector("button")?.focus(); });
  $("close-thread").addEventListener("click", () => { view.thread = null; showThread(false); $("text").focus(); });
  $("new-chat").addEventListener("click", newChat);
  $("home").addEventListener("click", guarded(async () => {
    view.home = !view.home;
    await api("home", { user: view.me, tab: view.home ? "home" : "messages" });
    showMessages(true);
  }));
  for (const list of ["messages", "replies"]) follow($(list));
  $("new-channel").addEventListener("click", () => $("channel-dialog").showModal());
  $("channel-cancel").addEventListener("click", () => $("channel-dialog").close());
  $("channel-form").addEventListener("submit", guarded(async () => {
    const form = new FormData($("channel-form"));
    const made = await api("channels", { team: view.team, name: form.get("name"), kind: form.get("private") === "on" ? "group" : "channel", bot: true });
    await refresh();
    await open(made.id);
  }));
  wireViews();
  panel();
}

wire();
listen();
guarded(async () => { await refresh(); await load(); if (!asked.get("compact")) $("text").focus(); })();
