// A person chats as several users; ?person=ada picks one, ?compact=1 hides the side bar. The server is the truth: events say what changed, and the page reads it again.

import { $, api, guarded, problem } from "./api.js";
import { panel, showFaults } from "./faults.js";
import { avatar, bubble, element, formatted, toast } from "./render.js";

const state = { bots: [], users: [], chats: [], faults: [] };
const view = { me: null, chat: null, topic: 0, messages: new Map(), reply: null, edit: null, unread: new Map() };
const POSITION = "telegram-simulator-me";
const asked = new URLSearchParams(location.search);

// -- what there is ----------------------------------------------------------------------------------------------------

async function refresh() {
  Object.assign(state, await api("state"));
  if (!state.users.length) {
    for (const first_name of ["Ada", "Ben", "Chloe"]) await api("users", { first_name, username: first_name.toLowerCase() });
    Object.assign(state, await api("state"));
  }
  const named = state.users.find((user) => user.username === asked.get("person"));
  const kept = named ? named.id : Number(localStorage.getItem(POSITION));
  if (!state.users.some((user) => user.id === view.me)) {
    view.me = state.users.some((user) => user.id === kept) ? kept : state.users[0].id;
  }
  showUsers();
  showChats();
  showFaults(state.faults);
}

// The chats of the present user: a dialogue with every bot, opened or not, and the groups.
function myChats() {
  const dialogues = state.bots.map((bot) => {
    const open = state.chats.find((chat) => chat.id === view.me && chat.bots.includes(bot.id));
    return { ...(open || { id: view.me, type: "private", topics: [] }), bot: bot.id, name: bot.first_name, key: `${bot.id}:${view.me}` };
  });
  const groups = state.chats.filter((chat) => chat.type !== "private" && !chat.migrated_to)
    .map((chat) => ({ ...chat, bot: chat.bots[0] ?? state.bots[0].id, name: chat.title, key: `${chat.id}` }));
  return [...dialogues, ...groups];
}

function current() {
  return myChats().find((chat) => chat.key === view.chat);
}

function showUsers() {
  $("user").replaceChildren(...state.users.map((user) =>
    element("option", { value: user.id, textContent: user.first_name, selected: user.id === view.me })));
}

function showChats() {
  const chats = myChats();
  if (!chats.some((chat) => chat.key === view.chat)) view.chat = chats[0]?.key ?? null;
  const focused = $("chats").contains(document.activeElement);
  $("chats").replaceChildren(...chats.map((chat) => {
    const count = view.unread.get(chat.key);
    const button = element("button", { type: "button", ariaCurrent: String(chat.key === view.chat) },
      avatar(element("span", { ariaHidden: "true" }), chat.name, chat.bot + chat.id),
      element("b", { textContent: chat.name }),
      count ? element("span", { className: "badge", textContent: count, ariaLabel: `${count} new` }) : null,
      element("small", { textContent: chat.type === "private" ? "bot" : chat.is_forum ? "forum" : chat.type }));
    button.addEventListener("click", () => open(chat.key));
    return element("li", {}, button);
  }));
  if (focused) $("chats").querySelector("[aria-current=true]")?.focus();
  showHead();
}

function showHead() {
  const chat = current();
  if (!chat) return;
  $("title").textContent = chat.name;
  avatar($("head-avatar"), chat.name, chat.bot + chat.id);
  $("block").hidden = chat.type !== "private";
  $("block").textContent = chat.blocked ? "Unblock bot" : "Block bot";
  $("topic").hidden = $("new-topic").hidden = !chat.is_forum;
  $("topic").replaceChildren(element("option", { value: 0, textContent: "General" }), ...(chat.topics || []).map((topic) =>
    element("option", { value: topic.id, textContent: topic.name, selected: topic.id === view.topic })));
  showActivity(chat.action, chat);
}

let activityTimer = 0;
function showActivity(action, chat) {
  clearTimeout(activityTimer);
  const busy = action && action.until * 1000 > Date.now() && (action.message_thread_id || 0) === view.topic;
  const people = (chat.users || []).length + (chat.bots || []).length;
  $("subtitle").className = busy ? "busy" : "";
  $("subtitle").textContent = busy
    ? (action.action === "typing" ? "typing" : action.action.replaceAll("_", " "))
    : chat.type === "private" ? (chat.blocked ? "blocked" : "bot") : `${people} members`;
  if (busy) activityTimer = setTimeout(() => showActivity(null, chat), action.until * 1000 - Date.now());
}

// -- the messages of one chat ------------------------------------------------------------------------------------------

async function open(key) {
  view.chat = key;
  view.topic = 0;
  view.unread.delete(key);
  cancelContext();
  $("app").classList.remove("listing");
  showChats();
  await load();
  $("text").focus();
}

let loading = 0;
async function load() {
  const chat = current();
  const turn = ++loading;
  let messages = [];
  if (chat?.bots) messages = (await api(`chats/${chat.id}/messages?bot=${chat.bot}`)).messages;
  if (turn !== loading) return;
  view.messages = new Map(messages.map((seen) => [seen.message.message_id, seen]));
  showMessages();
}

function here(message) {
  const chat = current();
  return !chat?.is_forum || (message.message_thread_id || 0) === view.topic;
}

function showMessages() {
  const items = [...view.messages.values()].filter((seen) => here(seen.message)).map(bubbleOf);
  $("messages").replaceChildren(...items);
  showDraft(current()?.draft);
  scroll(true);
}

function bubbleOf(seen) {
  return bubble(seen, { me: view.me, fileUrl: (id) => `sim/files/${encodeURIComponent(id)}`, press, reply: startReply, edit: startEdit });
}

function scroll(always) {
  const list = $("messages");
  const near = list.scrollHeight - list.scrollTop - list.clientHeight < 240;
  if (always || near) list.scrollTop = list.scrollHeight;
}

function put(seen) {
  const number = seen.message.message_id;
  const before = view.messages.get(number);
  view.messages.set(number, { edits: [], reactions: {}, deleted: null, ...before, ...seen });
  if (!here(seen.message)) return;
  $("messages").querySelector(".draft")?.remove();
  const node = bubbleOf(view.messages.get(number));
  const old = $("messages").querySelector(`[data-id="${number}"]`);
  if (old) old.replaceWith(node);
  else $("messages").append(node);
  scroll(seen.message.from.id === view.me);
}

function showDraft(draft) {
  $("messages").querySelector(".draft")?.remove();
  if (!draft || draft.until * 1000 < Date.now()) return;
  const body = element("div", { className: "bubble" }, element("div", { className: "content" }, formatted(draft.text || "Thinking…", draft.entities)));
  $("messages").append(element("li", { className: "message theirs draft" }, body));
  scroll(false);
}

const press = guarded(async (messageId, data, key) => {
  key.disabled = true;
  setTimeout(() => { key.disabled = false; }, 800);
  const chat = current();
  await api("callbacks", { user_id: view.me, chat_id: chat.id, bot: chat.bot, message_id: messageId, data });
});

// -- writing -----------------------------------------------------------------------------------------------------------

function startReply(message) {
  cancelContext();
  view.reply = message.message_id;
  showContext(`Reply to ${message.from.first_name}: ${message.text || message.caption || "attachment"}`);
}

function startEdit(message) {
  cancelContext();
  view.edit = message.message_id;
  $("text").value = message.text || message.caption || "";
  showContext("Edit message");
}

function showContext(text) {
  $("context-text").textContent = text;
  $("context").hidden = false;
  grow();
  $("text").focus();
}

function cancelContext() {
  if (view.edit) $("text").value = "";
  view.reply = view.edit = null;
  $("context").hidden = true;
  grow();
}

function grow() {
  const text = $("text");
  text.style.height = "auto";
  text.style.height = `${Math.min(text.scrollHeight + 2, 150)}px`;
}

const submit = guarded(async () => {
  const text = $("text").value.trim();
  const file = $("file").files[0];
  if (!text && !file) return;
  const chat = current();
  const place = { user_id: view.me, chat_id: chat.id, bot: chat.bot };
  if (view.edit) {
    await api("edits", { ...place, message_id: view.edit, text });
  } else {
    const message = { ...place, text };
    if (view.reply) message.reply_to_message_id = view.reply;
    if (view.topic) message.message_thread_id = view.topic;
    await api("messages", file ? upload(message, file) : message);
  }
  $("text").value = "";
  $("file").value = "";
  cancelContext();
  if (!chat.bots) await refresh().then(load);
});

function upload(message, file) {
  const form = new FormData();
  for (const [name, value] of Object.entries(message)) form.append(name, value);
  const picture = ["image/png", "image/jpeg", "image/gif", "image/webp"].includes(file.type);
  form.append(picture ? "photo" : "document", file, file.name);
  return form;
}

// -- events ------------------------------------------------------------------------------------------------------------

function keyOf(event) {
  return event.chat_id < 0 ? `${event.chat_id}` : `${event.bot_id}:${event.chat_id}`;
}

const REREAD = new Set(["deleteMessage", "setMessageReaction"]);
const handle = guarded(async (event) => {
  if (["user", "chat", "membership", "reset"].includes(event.type)) {
    await refresh();
    if (event.type === "reset") await load();
    return;
  }
  const key = keyOf(event);
  const shown = key === view.chat;
  const chat = state.chats.find((one) => one.id === event.chat_id && (one.id < 0 || `${one.bots[0]}:${one.id}` === key));
  if (event.type === "callback_answer") {
    if (event.user_id === view.me && event.text) toast($("toast"), event.text);
  } else if (event.type === "action") {
    if (chat) chat.action = event;
    if (shown && current()) showActivity(event, current());
  } else if (event.type === "draft") {
    if (shown) showDraft(event.draft);
  } else {
    if (!chat) await refresh();
    else chat.action = chat.draft = null;
    if (!shown) {
      if (event.type === "send") view.unread.set(key, (view.unread.get(key) || 0) + 1);
      return showChats();
    }
    const edited = event.message.edit_date || REREAD.has(event.method);
    if (event.message.forum_topic_created) await refresh();
    await (edited ? reread(event.message.message_id) : put({ message: event.message }));
    if (event.type === "send" && current()) showActivity(null, current());
  }
});

async function reread(number) {
  const chat = current();
  const { messages } = await api(`chats/${chat.id}/messages?bot=${chat.bot}&after=${number - 1}`);
  const seen = messages.find((one) => one.message.message_id === number);
  if (seen) put(seen);
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

function wire() {
  $("user").addEventListener("change", guarded(async () => {
    view.me = Number($("user").value);
    localStorage.setItem(POSITION, view.me);
    const chat = state.chats.find((one) => `${one.id}` === view.chat);
    view.chat = chat ? view.chat : null;
    showChats();
    await load();
  }));
  $("add-user").addEventListener("click", () => { $("user-form").hidden = false; $("user-name").focus(); });
  $("user-form").addEventListener("submit", guarded(async (event) => {
    event.preventDefault();
    const user = await api("users", { first_name: $("user-name").value.trim() });
    $("user-form").reset();
    $("user-form").hidden = true;
    view.me = user.id;
    view.chat = null;
    localStorage.setItem(POSITION, view.me);
    await refresh();
    await load();
    $("text").focus();
  }));
  $("compose").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); submit(); }
    if (event.key === "Escape") cancelContext();
  });
  $("text").addEventListener("input", grow);
  $("file").addEventListener("change", () => {
    const file = $("file").files[0];
    if (file) showContext(`Attached: ${file.name}`);
  });
  $("context-cancel").addEventListener("click", () => { $("file").value = ""; cancelContext(); $("text").focus(); });
  $("back").addEventListener("click", () => { $("app").classList.add("listing"); $("chats").querySelector("button")?.focus(); });
  $("topic").addEventListener("change", () => { view.topic = Number($("topic").value); showMessages(); });
  $("block").addEventListener("click", guarded(async () => {
    const chat = current();
    await api(chat.blocked ? "unblock" : "block", { user_id: view.me, bot: chat.bot });
  }));
  $("new-group").addEventListener("click", () => $("group-dialog").showModal());
  $("group-cancel").addEventListener("click", () => $("group-dialog").close());
  $("group-form").addEventListener("submit", guarded(async () => {
    const form = new FormData($("group-form"));
    const forum = form.get("forum") === "on";
    const users = state.users.map((user) => user.id);
    const chat = await api("chats", { type: forum ? "supergroup" : "group", title: form.get("title"), forum, users, user_id: view.me });
    await refresh();
    await open(`${chat.id}`);
  }));
  $("new-topic").addEventListener("click", () => $("topic-dialog").showModal());
  $("topic-cancel").addEventListener("click", () => $("topic-dialog").close());
  $("topic-form").addEventListener("submit", guarded(async () => {
    const topic = await api("topics", { user_id: view.me, chat_id: current().id, name: new FormData($("topic-form")).get("name") });
    $("topic-form").reset();
    view.topic = topic.message_thread_id;
    await refresh();
    await load();
  }));
  panel();
}

wire();
listen();
$("app").classList.toggle("compact", asked.get("compact") === "1");
guarded(async () => { await refresh(); await load(); if (!asked.get("compact")) $("text").focus(); })();
