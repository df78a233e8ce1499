// Messages as DOM nodes. Text of messages reaches the document only through textContent.

const TAGS = {
  bold: "strong", italic: "em", underline: "u", strikethrough: "s", code: "code", pre: "pre",
  blockquote: "blockquote", expandable_blockquote: "blockquote", spoiler: "span",
};
const LINKS = new Set(["url", "text_link", "email", "mention", "hashtag", "bot_command", "text_mention", "cashtag"]);

const BLOCKS = new Set(["pre", "blockquote", "expandable_blockquote"]);

export function element(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  const { dataset, ...rest } = properties;
  Object.assign(node, rest);
  Object.assign(node.dataset, dataset || {});
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// JavaScript strings count UTF-16 units, as entities do, so offsets fit without conversion.
export function formatted(text, entities = []) {
  const sorted = [...entities].sort((a, b) => a.offset - b.offset || b.length - a.length);
  const fragment = document.createDocumentFragment();
  build(fragment, text, sorted, 0, text.length);
  return fragment;
}

function build(parent, text, entities, start, end) {
  let at = start;
  let index = 0;
  while (index < entities.length) {
    const entity = entities[index];
    const stop = Math.min(entity.offset + entity.length, end);
    const block = BLOCKS.has(entity.type);
    if (entity.offset > at) parent.append(block ? text.slice(at, entity.offset).replace(/\n$/, "") : text.slice(at, entity.offset));
    const inner = [];
    for (index += 1; index < entities.length && entities[index].offset < stop; index += 1) inner.push(entities[index]);
    const node = wrapper(entity, text.slice(entity.offset, stop));
    build(node, text, inner, Math.max(at, entity.offset), stop);
    parent.append(node);
    at = Math.max(at, stop);
    if (block && at < end && text[at] === "\n") at += 1; // a block ends its line by itself
  }
  if (at < end) parent.append(text.slice(at, end));
}

function wrapper(entity, text) {
  if (entity.type === "spoiler") {
    const node = element("button", { type: "button", className: "spoiler", title: "Show" });
    node.addEventListener("click", () => node.classList.toggle("shown"));
    return node;
  }
  if (LINKS.has(entity.type)) return link(entity, text);
  const node = element(TAGS[entity.type] || "span");
  if (entity.type === "pre" && entity.language) node.dataset.language = entity.language;
  return node;
}

function link(entity, text) {
  const target = entity.type === "text_link" ? entity.url : entity.type === "url" ? text : "";
  const href = safe(target);
  if (!href) return element("span", { className: "mention" });
  return element("a", { href, rel: "noopener noreferrer", target: "_blank" });
}

export function safe(target) {
  if (!target) return null;
  try {
    const url = new URL(/^[a-z][a-z0-9+.-]*:/i.test(target) ? target : `http://${target}`);
    return url.protocol === "http:" || url.protocol === "https:" ? url.href : null;
  } catch {
    return null;
  }
}

function attachment(message, fileUrl) {
  if (message.photo) {
    const photo = message.photo[message.photo.length - 1];
    const image = element("img", { src: fileUrl(photo.file_id), alt: "Photo", loading: "lazy" });
    image.width = photo.width;
    image.height = photo.height;
    return image;
  }
  const file = message.document || message.voice || message.sticker;
  if (file) {
    const name = message.voice ? "Voice message" : message.sticker ? "Sticker" : file.file_name || "File";
    return element("a", { className: "file", href: fileUrl(file.file_id), download: name },
      element("span", { className: "file-icon", ariaHidden: "true", textContent: "📄" }),
      element("span", {}, element("b", { textContent: name }), element("small", { textContent: size(file.file_size) })));
  }
  if (message.location) {
    return element("p", { textContent: `📍 ${message.location.latitude}, ${message.location.longitude}` });
  }
  if (message.contact) {
    return element("p", { textContent: `👤 ${message.contact.first_name || ""} ${message.contact.phone_number || ""}` });
  }
  return null;
}

function size(bytes) {
  if (!bytes) return "";
  return bytes < 1024 ? `${bytes} B` : bytes < 1048576 ? `${Math.round(bytes / 1024)} KB` : `${(bytes / 1048576).toFixed(1)} MB`;
}

function keyboard(markup, press) {
  return element("div", { className: "keyboard", role: "group", ariaLabel: "Buttons" }, ...markup.inline_keyboard.map((row) =>
    element("div", { className: "keyboard-row" }, ...row.map((button) => {
      const href = safe(button.url);
      if (href) return element("a", { className: "key", href, rel: "noopener noreferrer", target: "_blank", textContent: `${button.text} ↗` });
      const key = element("button", { type: "button", className: "key", textContent: button.text, disabled: !button.callback_data });
      key.addEventListener("click", () => press(button.callback_data, key));
      return key;
    }))));
}

function serviceText(message) {
  if (message.forum_topic_created) return `Topic “${message.forum_topic_created.name}” was created`;
  if (message.migrate_to_chat_id) return "This group was upgraded to a supergroup";
  if (message.migrate_from_chat_id) return "This supergroup was upgraded from a group";
  return null;
}

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });

// `hands`: what a reader can do. { me, fileUrl, press, reply, edit }
export function bubble(seen, hands) {
  const { message } = seen;
  const service = serviceText(message);
  if (service) return element("li", { className: "service", dataset: { id: message.message_id } }, element("span", { textContent: service }));
  const mine = message.from.id === hands.me;
  const item = element("li", { className: `message ${mine ? "mine" : "theirs"}`, dataset: { id: message.message_id } });
  const body = element("div", { className: "bubble" });
  if (!mine) body.append(element("p", { className: `author tone-${message.from.id % 6}`, textContent: message.from.first_name }));
  if (seen.deleted) {
    item.classList.add("deleted");
    body.append(element("p", { className: "content", textContent: "Message deleted" }));
    item.append(body);
    return item;
  }
  const quoted = message.reply_to_message;
  if (quoted && !serviceText(quoted)) {
    body.append(element("p", { className: "quoted" }, element("b", { textContent: quoted.from.first_name }),
      element("span", { textContent: quoted.text || quoted.caption || "Attachment" })));
  }
  const piece = attachment(message, hands.fileUrl);
  if (piece) body.append(piece);
  const text = message.text ?? message.caption;
  if (text) {
    body.append(element("div", { className: "content", dir: "auto" },
      formatted(text, message.entities || message.caption_entities)));
  }
  body.append(footer(seen, mine, hands));
  item.append(body);
  if (message.reply_markup) item.append(keyboard(message.reply_markup, (data, key) => hands.press(message.message_id, data, key)));
  return item;
}

function footer(seen, mine, hands) {
  const { message } = seen;
  const line = element("div", { className: "foot" });
  const reactions = Object.values(seen.reactions || {}).flat();
  if (reactions.length) line.append(element("span", { className: "reactions", textContent: reactions.join(" ") }));
  line.append(tool("Reply", "↩", () => hands.reply(message)));
  if (mine && (message.text || message.caption)) line.append(tool("Edit", "✎", () => hands.edit(message)));
  if (message.edit_date) {
    const before = seen.edits.map((edit) => edit.text || edit.caption || "").join("\n———\n");
    line.append(element("span", { className: "edited", textContent: "edited", title: `Before:\n${before}` }));
  }
  line.append(element("time", { dateTime: new Date(message.date * 1000).toISOString(), textContent: clock.format(message.date * 1000) }));
  return line;
}

function tool(label, sign, act) {
  const button = element("button", { type: "button", className: "tool", title: label, ariaLabel: label, textContent: sign });
  button.addEventListener("click", act);
  return button;
}

export function toast(place, text) {
  place.replaceChildren(element("span", { textContent: text }));
  setTimeout(() => place.replaceChildren(), 4000);
}

export function avatar(node, name, id) {
  node.className = `avatar tone-${Math.abs(id) % 6}`;
  node.textContent = [...name][0]?.toUpperCase() || "?";
  return node;
}
