// Messages as DOM nodes.

import { markdown } from "./markdown.js";

const EPHEMERAL = 64;
const LOADING = 128;
const THREAD_CREATED = 18;
const STYLES = { 1: "blurple", 2: "grey", 3: "green", 4: "red", 5: "link" };
const QUICK = ["👍", "👎", "❤️", "👀", "🎉"];

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  const { dataset, ...rest } = properties;
  Object.assign(node, rest);
  Object.assign(node.dataset, dataset || {});
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export function safe(target) {
  try {
    const url = new URL(target);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

export function avatar(user) {
  const name = user.global_name || user.username;
  const tone = Number(BigInt(user.id) % 6n);
  return element("span", { className: `avatar tone-${tone}`, ariaHidden: "true", textContent: [...name][0]?.toUpperCase() || "?" });
}

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });

// `hands`: what a reader can do and look up. { me, names, press, reply, edit, remove, react, thread, open, pick }
export function line(seen, hands) {
  const { message } = seen;
  const item = element("li", { className: "message", dataset: { id: message.id } });
  if (message.type === THREAD_CREATED) return started(item, message, hands);
  const meant = message.mentions.some((user) => user.id === hands.me) || message.mention_everyone;
  if (meant) item.classList.add("meant");
  if (seen.only) item.classList.add("ephemeral");
  if (seen.deleted) {
    item.classList.add("deleted");
    item.append(element("div", { className: "body" }, element("p", { className: "content", textContent: "Message deleted" })));
    return item;
  }
  const above = header(message, hands);
  if (above) item.append(above);
  item.append(avatar(message.author), body(seen, hands), tools(seen, hands));
  return item;
}

function started(item, message, hands) {
  const open = element("button", { type: "button", className: "plain", textContent: message.content });
  open.addEventListener("click", () => hands.open(message.message_reference.channel_id));
  item.classList.add("service");
  item.append(element("p", {}, `${name(message.author)} started a thread: `, open));
  return item;
}

function name(user) {
  return user.global_name || user.username;
}

function header(message, hands) {
  const asked = message.interaction_metadata;
  if (asked?.name) {
    return element("p", { className: "quoted" }, element("b", { textContent: name(asked.user) }), ` used /${asked.name}`);
  }
  const quoted = message.referenced_message;
  if (!quoted) return null;
  return element("p", { className: "quoted" }, element("b", { textContent: name(quoted.author) }),
    element("span", {}, quoted.content ? quoted.content.split("\n")[0] : "attachment"));
}

function body(seen, hands) {
  const { message } = seen;
  const node = element("div", { className: "body" });
  node.append(element("p", { className: "by" },
    element("b", { className: `tone-${Number(BigInt(message.author.id) % 6n)}`, textContent: name(message.author) }),
    message.author.bot ? element("span", { className: "app", textContent: "APP" }) : null,
    element("time", { dateTime: message.timestamp, textContent: clock.format(new Date(message.timestamp)) })));
  if (message.flags & LOADING) {
    node.append(element("p", { className: "content thinking", textContent: `${name(message.author)} is thinking` }));
  } else {
    node.append(content(seen, hands));
  }
  for (const embed of message.embeds) node.append(embedded(embed, hands));
  for (const file of message.attachments) node.append(attachment(file));
  for (const row of message.components) node.append(buttons(message, row, hands));
  const reactions = Object.entries(seen.reactions || {});
  if (reactions.length) node.append(reacted(message, reactions, hands));
  if (hands.threadOf(message.id)) {
    const open = element("button", { type: "button", className: "thread", textContent: `🧵 ${hands.threadOf(message.id)}` });
    open.addEventListener("click", () => hands.open(message.id));
    node.append(open);
  }
  if (seen.only) node.append(element("p", { className: "note", textContent: "👁 Only you can see this" }));
  return node;
}

function content(seen, hands) {
  const { message } = seen;
  const node = element("div", { className: "content", dir: "auto" });
  if (message.content) node.append(markdown(message.content, hands.names));
  if (message.edited_timestamp) {
    const before = seen.edits.map((edit) => edit.content).join("\n———\n");
    const mark = element("span", { className: "edited", textContent: " (edited)", title: `Before:\n${before}` });
    (node.lastElementChild?.tagName === "P" ? node.lastElementChild : node).append(mark);
  }
  return node;
}

function embedded(embed, hands) {
  const title = embed.title ? element("b", { textContent: embed.title }) : null;
  const text = embed.description ? element("div", { className: "content" }, markdown(embed.description, hands.names)) : null;
  const fields = (embed.fields || []).map((field) => element("div", { className: field.inline ? "field inline" : "field" },
    element("b", { textContent: field.name }), element("div", { className: "content" }, markdown(field.value, hands.names))));
  const foot = embed.footer ? element("small", { textContent: embed.footer.text }) : null;
  const node = element("div", { className: "embed" }, title, text, ...fields, foot);
  if (embed.color) node.style.borderInlineStartColor = `#${embed.color.toString(16).padStart(6, "0")}`;
  return node;
}

// Attachments are fetched from where this page is, whatever host the message names.
function attachment(file) {
  const url = new URL(file.url);
  const path = url.pathname.slice(url.pathname.indexOf("/attachments/") + 1) + url.search;
  if (/^image\/(png|jpeg|gif|webp)/.test(file.content_type)) {
    return element("img", { src: path, alt: file.description || file.filename, loading: "lazy", width: file.width || 200, height: file.height || 200 });
  }
  return element("a", { className: "file", href: path, download: file.filename },
    element("span", { ariaHidden: "true", textContent: "📄" }),
    element("span", {}, element("b", { textContent: file.filename }), element("small", { textContent: `${file.size} bytes` })));
}

function buttons(message, row, hands) {
  return element("div", { className: "buttons", role: "group", ariaLabel: "Buttons" }, ...row.components.map((one) => {
    const label = [one.emoji?.name, one.label].filter(Boolean).join(" ");
    if (one.type !== 2) return menu(message, one, hands);
    const href = one.url && safe(one.url);
    if (href) return element("a", { className: "key link", href, rel: "noopener noreferrer", target: "_blank", textContent: `${label} ↗` });
    const key = element("button", { type: "button", className: `key ${STYLES[one.style]}`, textContent: label, disabled: Boolean(one.disabled) });
    key.addEventListener("click", () => hands.press(message.id, one.custom_id, key));
    return key;
  }));
}

function menu(message, one, hands) {
  const select = element("select", { ariaLabel: one.placeholder || "Choose", disabled: Boolean(one.disabled) },
    element("option", { value: "", textContent: one.placeholder || "Choose" }),
    ...(one.options || []).map((option) => element("option", { value: option.value, textContent: option.label })));
  select.addEventListener("change", () => select.value && hands.press(message.id, one.custom_id, select, [select.value]));
  return select;
}

function reacted(message, reactions, hands) {
  return element("div", { className: "reactions" }, ...reactions.map(([emoji, users]) => {
    const mine = users.includes(hands.me);
    const key = element("button", { type: "button", className: mine ? "mine" : "", ariaPressed: String(mine),
      title: users.map(hands.names.user).join(", "), textContent: `${emoji} ${users.length}` });
    key.addEventListener("click", () => hands.react(message.id, emoji, mine));
    return key;
  }));
}

function tools(seen, hands) {
  const { message } = seen;
  const bar = element("div", { className: "tools" });
  if (seen.only) return bar;
  for (const emoji of QUICK) bar.append(tool(`React ${emoji}`, emoji, () => hands.react(message.id, emoji, (seen.reactions[emoji] || []).includes(hands.me))));
  bar.append(tool("Reply", "↩", () => hands.reply(message)));
  if (hands.canThread && !hands.threadOf(message.id)) bar.append(tool("Start a thread", "🧵", () => hands.thread(message)));
  if (message.author.id === hands.me) {
    bar.append(tool("Edit", "✎", () => hands.edit(message)), tool("Delete", "🗑", () => hands.remove(message)));
  }
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
