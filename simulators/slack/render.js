// Messages as DOM nodes.

import { blocks } from "./blocks.js";
import { element, emoji, mrkdwn } from "./mrkdwn.js";

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const REACTIONS = ["+1", "eyes", "white_check_mark"];

function size(bytes) {
  return bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

function file(one, hands) {
  const href = hands.fileUrl(one.id);
  if (/^image\/(png|jpeg|gif|webp)$/.test(one.mimetype)) return element("img", { src: href, alt: one.title, loading: "lazy" });
  return element("a", { className: "file", href, download: one.name },
    element("span", { className: "file-icon", ariaHidden: "true", textContent: "📄" }),
    element("span", {}, element("b", { textContent: one.title }), element("small", { textContent: `${one.pretty_type} · ${size(one.size)}` })));
}

export function tone(id) {
  return [...id].reduce((sum, letter) => sum + letter.charCodeAt(0), 0) % 6;
}

// `hands`: what a reader can do and needs to know. { me, names, fileUrl, press, thread, edit, remove, react, stop, inThread }
export function bubble(seen, hands) {
  const { message } = seen;
  const author = message.username || hands.names.user(message.user) || hands.names.app;
  const mine = message.user === hands.me;
  const item = element("li", { className: "message", dataset: { ts: message.ts } });
  item.append(element("div", { className: `avatar tone-${tone(message.user || message.bot_id)}`, ariaHidden: "true", textContent: author[0].toUpperCase() }));
  const body = element("div", { className: "body" });
  const time = new Date(Number(message.ts) * 1000);
  body.append(element("p", { className: "author" }, element("b", { textContent: author }),
    message.bot_id ? element("span", { className: "tag", textContent: "APP" }) : null,
    element("time", { dateTime: time.toISOString(), textContent: clock.format(time) })));
  if (seen.deleted) {
    item.classList.add("deleted");
    body.append(element("div", { className: "content", textContent: "This message was deleted." }));
    item.append(body);
    return item;
  }
  if (message.is_ephemeral) {
    item.classList.add("ephemeral");
    body.append(element("p", { className: "only", textContent: "Only visible to you" }));
  }
  body.append(content(seen, hands));
  for (const one of message.files || []) body.append(file(one, hands));
  body.append(footer(message, hands));
  item.append(body);
  if (!message.is_ephemeral) item.append(tools(message, mine, hands));
  return item;
}

function content(seen, hands) {
  const { message } = seen;
  const node = element("div", { className: "content", dir: "auto" });
  for (const task of message.tasks || []) node.append(element("p", { className: "task", dataset: { status: task.status }, textContent: task.title }));
  const act = { ...hands, press: (one, block, value, button) => hands.press(message, one, block, value, button) };
  if (message.blocks?.length) node.append(...blocks(message.blocks, act));
  else node.append(element("div", { className: "plain" }, mrkdwn(message.text || "", hands.names)));
  if (seen.streaming) node.append(element("span", { className: "streaming", ariaLabel: "still writing" }), stopper(message, hands));
  if (message.edited && !message.bot_id) node.append(edited(seen));
  return node;
}

function stopper(message, hands) {
  const button = element("button", { type: "button", className: "key stop", textContent: "Stop" });
  button.addEventListener("click", () => hands.stop(message));
  return button;
}

function edited(seen) {
  const before = (seen.edits || []).map((edit) => edit.text).join("\n———\n");
  return element("span", { className: "edited", textContent: "(edited)", title: `Before:\n${before}` });
}

function footer(message, hands) {
  const line = element("div", { className: "foot" });
  for (const one of message.reactions || []) {
    const own = one.users.includes(hands.me);
    const chip = element("button", { type: "button", className: "chip", ariaPressed: String(own), textContent: `${emoji(one.name)} ${one.count}` });
    chip.title = one.users.map((id) => hands.names.user(id) || id).join(", ");
    chip.addEventListener("click", () => hands.react(message, one.name, own));
    line.append(chip);
  }
  const chat = message.subtype === "assistant_app_thread";
  if ((message.reply_count || chat) && !hands.inThread) {
    const count = message.reply_count === 1 ? "1 reply" : `${message.reply_count || 0} replies`;
    const more = element("button", { type: "button", className: "replies", textContent: chat ? `Open chat, ${count}` : count });
    more.addEventListener("click", () => hands.thread(message));
    line.append(more);
  }
  return line;
}

function tools(message, mine, hands) {
  const bar = element("div", { className: "tools", role: "group", ariaLabel: "Message" });
  for (const name of REACTIONS) {
    bar.append(tool(`React with ${name}`, emoji(name), () => hands.react(message, name, (message.reactions || []).some((one) => one.name === name && one.users.includes(hands.me)))));
  }
  if (!hands.inThread) bar.append(tool("Reply in thread", "💬", () => hands.thread(message)));
  if (mine) bar.append(tool("Edit", "✎", () => hands.edit(message)), tool("Delete", "🗑", () => hands.remove(message)));
  return bar;
}

function tool(label, sign, act) {
  const button = element("button", { type: "button", className: "tool", title: label, ariaLabel: label, textContent: sign });
  button.addEventListener("click", act);
  return button;
}

export function toast(place, text) {
  place.replaceChildren(element("span", { textContent: text }));
  setTimeout(() => place.replaceChildren(), 5000);
}
