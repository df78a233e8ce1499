// A person chats as several people. The server is the truth: events say what changed, and the page reads it again.

import { $, api, guarded, problem } from "./api.js";
import { cancel, startEdit, startReply, writing } from "./compose.js";
import { panel, showFaults } from "./faults.js";
import { element, line, toast } from "./render.js";

const DM = 1;
const FORUM = 15;
const THREADS = [11, 12];
const POSITION = "discord-simulator-me";
const asked = new URLSearchParams(location.search);
const state = { bots: [], users: [], guilds: [], channels: [], faults: [] };
const view = { me: null, channel: null, messages: new Map(), unread: new Map(), threadFrom: null, typed: 0 };

// -- what there is ----------------------------------------------------------------------------------------------------

async function refresh() {
  Object.assign(state, await api("state"));
  const wanted = view.me ? null : asked.get("person") || localStorage.getItem(POSITION);
  if (!state.users.some((user) => user.id === view.me)) {
    view.me = (state.users.find((user) => [user.id, user.username].includes(wanted)) || state.users[0]).id;
  }
  $("user").replaceChildren(...state.users.map((user) =>
    element("option", { value: user.id, textContent: user.global_name, selected: user.id === view.me })));
  showChannels();
  showFaults(state.faults);
}

const user = (id) => state.users.find((one) => one.id === id) || state.bots.find((one) => one.id === id);
const named = (id) => user(id)?.global_name || user(id)?.username || "unknown";
const bare = (id) => state.channels.find((one) => one.id === id);

// What the present person sees, in order: a dialogue with every bot, opened or not, then channels with their threads.
function mine() {
  const seen = state.channels.filter((channel) => channel.users.includes(view.me));
  const dialogues = state.bots.map((bot) => {
    const open = seen.find((channel) => channel.type === DM && channel.bot_id === bot.id);
    return { typing: [], ...open, id: open?.id || `dm:${bot.id}`, opened: Boolean(open), type: DM, bot_id: bot.id, name: bot.username };
  });
  const tops = seen.filter((channel) => channel.type !== DM && !THREADS.includes(channel.type)).sort((a, b) => a.position - b.position);
  const nested = tops.flatMap((top) => [{ ...top, opened: true }, ...seen.filter((one) => one.parent_id === top.id && THREADS.includes(one.type))
    .map((one) => ({ ...one, opened: true, inner: true, forum: top.type === FORUM }))]);
  return [...dialogues, ...nested];
}

const current = () => mine().find((channel) => channel.id === view.channel);
const sign = (channel) => channel.type === DM ? "@" : channel.type === FORUM ? "❖" : channel.inner ? "🧵" : channel.private ? "🔒" : "#";

function showChannels() {
  const channels = mine();
  if (!channels.some((one) => one.id === view.channel)) {
    const opened = channels.find((one) => one.bot_id && view.channel === `dm:${one.bot_id}`);
    const first = channels.find((one) => one.name === asked.get("channel"));
    view.channel = (opened || first || channels[0])?.id ?? null;
  }
  const focused = $("channels").contains(document.activeElement);
  const items = channels.map((channel) => {
    const count = view.unread.get(channel.id);
    const button = element("button", { type: "button", ariaCurrent: String(channel.id === view.channel), className: channel.inner ? "inner" : "" },
      element("span", { className: "sign", ariaHidden: "true", textContent: sign(channel) }),
      element("b", { textContent: channel.name }),
      count ? element("span", { className: "badge", textContent: count, ariaLabel: `${count} new` }) : null);
    button.addEventListener("click", () => open(channel.id));
    return element("li", {}, button);
  });
  const dialogues = state.bots.length;
  $("channels").replaceChildren(element("li", { className: "group", textContent: "Direct messages" }), ...items.slice(0, dialogues),
    element("li", { className: "group", textContent: state.guilds[0]?.name || "" }), ...items.slice(dialogues));
  $("jump").replaceChildren(...channels.map((channel) =>
    element("option", { value: channel.id, textContent: `${sign(channel)} ${channel.name}`, selected: channel.id === view.channel })));
  if (focused) $("channels").querySelector("[aria-current=true]")?.focus();
  showHead();
}

function showHead() {
  const channel = current();
  if (!channel) return;
  $("title").textContent = `${sign(channel)} ${channel.name}`;
  const me = user(view.me);
  $("block").hidden = channel.type !== DM;
  $("block").textContent = me.closed?.includes(channel.bot_id) ? "Unblock bot" : "Block bot";
  $("new-thread").hidden = channel.type !== FORUM && channel.type !== 0;
  $("new-thread").textContent = channel.type === FORUM ? "New post" : "New thread";
  $("compose").hidden = channel.type === FORUM;
  $("subtitle").textContent = channel.topic || (channel.type === DM ? "Direct messages" : channel.inner ? `in ${bare(channel.parent_id)?.name}` : "");
  $("text").placeholder = `Message ${channel.type === DM ? "@" : "#"}${channel.name}`;
  showTyping();
}

let typingTimer = 0;
function showTyping() {
  clearTimeout(typingTimer);
  const now = Date.now() / 1000;
  const typing = (current()?.typing || []).filter((one) => one.until > now && one.user_id !== view.me);
  $("typing").textContent = typing.length ? `${typing.map((one) => named(one.user_id)).join(" and ")} ${typing.length > 1 ? "are" : "is"} typing` : "";
  if (typing.length) typingTimer = setTimeout(showTyping, Math.max(100, (Math.min(...typing.map((one) => one.until)) - now) * 1000));
}

// -- the messages of one channel ---------------------------------------------------------------------------------------

async function open(id) {
  view.channel = id;
  view.unread.delete(id);
  cancel();
  $("app").classList.remove("listing");
  showChannels();
  await load();
  $("text").focus();
}

let loading = 0;
async function load() {
  const channel = current();
  const turn = ++loading;
  const seen = channel?.opened ? (await api(`channels/${channel.id}/messages?user=${view.me}`)).messages : [];
  if (turn !== loading) return;
  view.messages = new Map(seen.map((one) => [one.message.id, one]));
  if (channel?.type === FORUM) showPosts(channel);
  else $("messages").replaceChildren(...[...view.messages.values()].map(shown));
  group();
  scroll(true);
}

function showPosts(forum) {
  const posts = mine().filter((one) => one.parent_id === forum.id);
  $("messages").replaceChildren(...posts.map((post) => {
    const button = element("button", { type: "button", className: "post" }, element("b", { textContent: post.name }),
      element("small", { textContent: `${named(post.owner_id)} · ${post.message_count} messages` }));
    button.addEventListener("click", () => open(post.id));
    return element("li", {}, button);
  }));
}

function shown(seen) {
  const channel = current();
  return line(seen, {
    me: view.me, names: { user: named, channel: (id) => bare(id)?.name || "unknown" }, press, react, remove, open,
    reply: startReply, edit: startEdit, thread: startThread, canThread: channel?.type === 0,
    threadOf: (id) => channel && channel.id !== id ? bare(id)?.name : null,
  });
}

// Messages of one author within minutes stand under one name.
function group() {
  let before = null;
  for (const node of $("messages").querySelectorAll(".message")) {
    const message = view.messages.get(node.dataset.id)?.message;
    const close = before && message && before.author.id === message.author.id && !node.querySelector(".quoted") && !node.classList.contains("service")
      && new Date(message.timestamp) - new Date(before.timestamp) < 300000;
    node.classList.toggle("follows", Boolean(close));
    before = node.classList.contains("service") ? null : message;
  }
}

function scroll(always) {
  const list = $("messages");
  if (always || list.scrollHeight - list.scrollTop - list.clientHeight < 240) list.scrollTop = list.scrollHeight;
}

async function reread(id) {
  const channel = view.channel;
  const after = (BigInt(id) - 1n).toString();
  const { messages } = await api(`channels/${channel}/messages?user=${view.me}&after=${after}&limit=1`);
  if (channel !== view.channel || !messages.length || messages[0].message.id !== id) return;
  const fresh = !view.messages.has(id);
  view.messages.set(id, messages[0]);
  const node = shown(messages[0]);
  const old = $("messages").querySelector(`[data-id="${id}"]`);
  if (old) old.replaceWith(node);
  else $("messages").append(node);
  group();
  scroll(fresh && messages[0].message.author.id === view.me);
}

const place = () => {
  const channel = current();
  if (!channel) return null;
  return channel.type === DM ? { user: view.me, bot: channel.bot_id } : { user: view.me, channel: channel.id };
};

const press = guarded(async (id, custom_id, key, values) => {
  key.disabled = true;
  setTimeout(() => { key.disabled = false; }, 800);
  await api("presses", { ...place(), message_id: id, custom_id, values });
});
const react = guarded((id, emoji, remove) => api("reactions", { ...place(), message_id: id, emoji, remove }));
const remove = guarded((message) => api("deletions", { ...place(), message_id: message.id }));

function startThread(message) {
  view.threadFrom = message?.id || null;
  $("thread-heading").textContent = current().type === FORUM ? "New post" : "New thread";
  $("thread-dialog").showModal();
}

// -- events ------------------------------------------------------------------------------------------------------------

const handle = guarded(async (event) => {
  if (event.type === "reset") return refresh().then(load);
  if (["user", "channel", "endpoint", "commands"].includes(event.type)) return refresh().then(() => (current()?.type === FORUM ? load() : null));
  if (event.only && event.only !== view.me) return;
  const channel = bare(event.channel_id);
  if (event.type === "action") {
    if (channel) channel.typing = [...channel.typing.filter((one) => one.user_id !== event.user_id), event];
    if (event.channel_id === view.channel) showTyping();
    return;
  }
  if (event.type === "interaction") {
    if (event.state === "failed" && event.user_id === view.me) toast($("toast"), "The application did not respond");
    return;
  }
  const id = event.message?.id || event.message_id;
  if (!channel) {
    await refresh();
    if (event.channel_id === view.channel) await load();
    return;
  }
  const author = event.message?.author?.id;
  if (author && event.type !== "edited_message") channel.typing = channel.typing.filter((one) => one.user_id !== author);
  if (event.channel_id === view.channel) {
    showTyping();
    if (id) await reread(id);
  } else if (channel.users.includes(view.me) && author !== view.me && (event.type === "message" || event.method?.startsWith("create_"))) {
    view.unread.set(channel.id, (view.unread.get(channel.id) || 0) + 1);
    showChannels();
  }
});

function listen() {
  const events = new EventSource("sim/events");
  let lost = false;
  let turn = Promise.resolve();
  events.onmessage = (event) => { turn = turn.then(() => handle(JSON.parse(event.data))); };
  events.onerror = () => { lost = true; problem("The simulator does not answer; trying again."); };
  events.onopen = guarded(async () => {
    if (lost) await refresh().then(load);
    lost = false;
  });
}

// -- start -------------------------------------------------------------------------------------------------------------

function typed() {
  if (Date.now() - view.typed < 8000) return;
  view.typed = Date.now();
  guarded(() => api("typing", place()))();
}

function become(id) {
  view.me = id;
  localStorage.setItem(POSITION, id);
}

function wire() {
  $("app").classList.toggle("compact", asked.get("compact") === "1");
  writing({
    place, typed,
    people: () => [...state.users, ...state.bots].map((one) => [one.id, one.global_name || one.username]),
    channels: () => mine().filter((one) => one.type !== DM).map((one) => [one.id, one.name]),
  });
  $("user").addEventListener("change", guarded(async () => { become($("user").value); showChannels(); await load(); }));
  $("add-user").addEventListener("click", () => { $("user-form").hidden = false; $("user-form").elements.name.focus(); });
  $("user-form").addEventListener("submit", guarded(async (event) => {
    event.preventDefault();
    const made = await api("users", { name: $("user-form").elements.name.value });
    $("user-form").reset();
    $("user-form").hidden = true;
    become(made.id);
    await refresh();
    await load();
  }));
  $("jump").addEventListener("change", guarded(() => open($("jump").value)));
  $("back").addEventListener("click", () => { $("app").classList.add("listing"); $("channels").querySelector("button")?.focus(); });
  $("block").addEventListener("click", guarded(async () => {
    const closed = user(view.me).closed.includes(current().bot_id);
    await api(closed ? "unblock" : "block", place());
    await refresh();
  }));
  $("new-thread").addEventListener("click", () => startThread(null));
  $("new-channel").addEventListener("click", () => $("channel-dialog").showModal());
  for (const button of document.querySelectorAll("[data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  $("thread-form").addEventListener("submit", guarded(async () => {
    const form = new FormData($("thread-form"));
    const made = await api("threads", { ...place(), name: form.get("name"), content: form.get("content"), message_id: view.threadFrom });
    $("thread-form").reset();
    await refresh();
    await open(made.channel.id);
  }));
  $("channel-form").addEventListener("submit", guarded(async () => {
    const form = new FormData($("channel-form"));
    const made = await api("channels", { name: form.get("name"), type: form.get("forum") ? "forum" : "text", private: Boolean(form.get("private")), users: [view.me] });
    $("channel-form").reset();
    await refresh();
    await open(made.id);
  }));
  panel();
}

wire();
listen();
guarded(async () => { await refresh(); await load(); if (!asked.get("compact")) $("text").focus(); })();
