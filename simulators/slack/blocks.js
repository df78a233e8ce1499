// Block Kit as DOM nodes. `hands`: { names, press(element, block, value), fileUrl(id) }

import { element, emoji, link, markdown, mrkdwn, safe } from "./mrkdwn.js";

export function textOf(object, names) {
  if (!object) return "";
  return object.type === "mrkdwn" ? mrkdwn(object.text, names) : object.text;
}

export function blocks(list, hands) {
  return list.map((block) => {
    const make = BLOCKS[block.type];
    const node = make ? make(block, hands) : element("p", { className: "unknown", textContent: `[${block.type}]` });
    node.classList.add("block", `block-${block.type}`);
    return node;
  });
}

const BLOCKS = {
  section: (block, hands) => element("div", {},
    element("div", { className: "section-text" },
      block.text ? element("div", {}, textOf(block.text, hands.names)) : null,
      block.fields ? element("div", { className: "fields" }, ...block.fields.map((field) => element("div", {}, textOf(field, hands.names)))) : null),
    block.accessory ? control(block.accessory, block, hands) : null),
  header: (block) => element("h3", { textContent: block.text.text }),
  divider: () => element("hr"),
  markdown: (block, hands) => element("div", { className: "markdown" }, markdown(block.text, hands.names)),
  context: (block, hands) => element("div", {}, ...block.elements.map((one) =>
    one.type === "image" ? image(one) : element("span", {}, textOf(one, hands.names)))),
  actions: (block, hands) => element("div", { role: "group" }, ...block.elements.map((one) => control(one, block, hands))),
  context_actions: (block, hands) => element("div", { role: "group" }, ...block.elements.flatMap((one) => feedback(one, block, hands))),
  image: (block) => element("div", {}, image(block)),
  rich_text: (block, hands) => element("div", {}, ...block.elements.map((one) => rich(one, hands.names))),
  input: (block, hands) => element("div", {}, element("b", { textContent: block.label.text }), control(block.element, block, hands)),
};

// Pictures are never fetched from elsewhere: the page shows where they would come from.
function image(block) {
  return element("span", { className: "picture", title: block.alt_text }, "🖼 ", link(block.image_url || "", block.alt_text));
}

const RICH = { rich_text_section: "span", rich_text_quote: "blockquote", rich_text_preformatted: "pre" };

function rich(part, names) {
  if (part.type === "rich_text_list") {
    const node = element(part.style === "ordered" ? "ol" : "ul", {}, ...part.elements.map((one) => element("li", {}, rich(one, names))));
    if (part.indent) node.dataset.indent = part.indent;
    return node;
  }
  return element(RICH[part.type] || "span", {}, ...(part.elements || []).map((one) => piece(one, names)));
}

function piece(one, names) {
  let node;
  if (one.type === "text") node = document.createTextNode(one.text);
  else if (one.type === "link") node = link(one.url, one.text);
  else if (one.type === "user") node = element("span", { className: "mention", textContent: `@${names.user(one.user_id) || one.user_id}` });
  else if (one.type === "channel") node = element("span", { className: "mention", textContent: `#${names.channel(one.channel_id) || one.channel_id}` });
  else if (one.type === "broadcast") node = element("span", { className: "mention", textContent: `@${one.range}` });
  else if (one.type === "emoji") node = document.createTextNode(one.unicode ? String.fromCodePoint(...one.unicode.split("-").map((code) => Number.parseInt(code, 16))) : emoji(one.name));
  else node = document.createTextNode(`[${one.type}]`);
  for (const [style, tag] of [["code", "code"], ["strike", "s"], ["italic", "em"], ["bold", "strong"]]) {
    if (one.style?.[style]) node = element(tag, {}, node);
  }
  return node;
}

function feedback(one, block, hands) {
  if (one.type !== "feedback_buttons") return [control(one, block, hands)];
  return [["positive_button", "👍"], ["negative_button", "👎"]].filter(([name]) => one[name]).map(([name, sign]) => {
    const button = element("button", { type: "button", className: "key", title: one[name].text.text }, `${sign} `, one[name].text.text);
    button.addEventListener("click", () => hands.press(one, block, one[name].value, button));
    return button;
  });
}

export function control(one, block, hands) {
  if (one.type === "button") {
    const href = one.url && safe(one.url);
    const button = href
      ? element("a", { className: "key", href, rel: "noopener noreferrer", target: "_blank", textContent: `${one.text.text} ↗` })
      : element("button", { type: "button", className: `key ${one.style || ""}`, textContent: one.text.text });
    button.addEventListener("click", () => hands.press(one, block, one.value ?? null, button));
    return button;
  }
  if (one.type === "image") return image(one);
  if (one.options) return choice(one, block, hands);
  if (one.type.endsWith("picker")) {
    const input = element("input", { type: one.type === "timepicker" ? "time" : "date", ariaLabel: one.action_id });
    input.addEventListener("change", () => hands.press(one, block, input.value, input));
    return input;
  }
  return element("span", { className: "unknown", textContent: `[${one.type}]` });
}

function choice(one, block, hands) {
  const first = element("option", { value: "", textContent: one.placeholder?.text || "Choose…" });
  const select = element("select", { ariaLabel: one.placeholder?.text || one.action_id }, first,
    ...one.options.map((option) => element("option", { value: option.value, textContent: option.text.text })));
  if (one.initial_option) select.value = one.initial_option.value;
  select.addEventListener("change", () => { if (select.value) hands.press(one, block, select.value, select); });
  return select;
}
