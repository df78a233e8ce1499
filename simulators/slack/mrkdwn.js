// Slack's two ways of marking text up, as DOM nodes. Text reaches the document only through textContent.

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
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const plain = (text) => text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
const EMOJI = { thumbsup: "👍", "+1": "👍", thumbsdown: "👎", "-1": "👎", eyes: "👀", white_check_mark: "✅", heart: "❤️", tada: "🎉", wave: "👋", warning: "⚠️", x: "❌", thinking_face: "🤔", hourglass_flowing_sand: "⏳", bulb: "💡", rocket: "🚀" };
export const emoji = (name) => EMOJI[name] || `:${name}:`;
const withEmoji = (text) => text.replace(/:([a-z0-9_+-]+):/g, (whole, name) => EMOJI[name] || whole);

export function link(target, label) {
  const href = safe(target);
  if (!href) return element("span", { textContent: label || target });
  return element("a", { href, rel: "noopener noreferrer", target: "_blank", textContent: label || target });
}

// names: { user(id), channel(id) } give what to show for a mention.
function token(body, names) {
  const [target, label] = body.split("|", 2);
  if (target.startsWith("@")) return element("span", { className: "mention", textContent: `@${names.user(target.slice(1)) || label || target.slice(1)}` });
  if (target.startsWith("#")) return element("span", { className: "mention", textContent: `#${names.channel(target.slice(1)) || label || target.slice(1)}` });
  if (target.startsWith("!")) return element("span", { className: "mention", textContent: `@${label || target.slice(1).split("^")[0]}` });
  return link(plain(target), label && plain(label));
}

const SPANS = [
  [/`([^`\n]+)`/, (found) => element("code", { textContent: plain(found[1]) })],
  [/<([^<>]+)>/, (found, inner, names) => token(found[1], names)],
  [/(?<![\w*])\*(?!\s)([^*\n]+?)(?<!\s)\*(?![\w*])/, (found, inner) => element("strong", {}, inner(found[1]))],
  [/(?<![\w_])_(?!\s)([^_\n]+?)(?<!\s)_(?![\w_])/, (found, inner) => element("em", {}, inner(found[1]))],
  [/(?<![\w~])~(?!\s)([^~\n]+?)(?<!\s)~(?![\w~])/, (found, inner) => element("s", {}, inner(found[1]))],
];

const MARKDOWN_SPANS = [
  [/`([^`\n]+)`/, (found) => element("code", { textContent: found[1] })],
  [/<(https?:[^<>\s|]+)(?:\|([^<>]*))?>/, (found) => link(found[1], found[2])],
  [/<([@#!][^<>]+)>/, (found, inner, names) => token(found[1], names)],
  [/\[([^\]\n]+)\]\(([^)\s]+)\)/, (found) => link(found[2], found[1])],
  [/\*\*([^\n]+?)\*\*/, (found, inner) => element("strong", {}, inner(found[1]))],
  [/~~([^\n]+?)~~/, (found, inner) => element("s", {}, inner(found[1]))],
  [/(?<![\w*])\*(?!\s)([^*\n]+?)(?<!\s)\*(?![\w*])/, (found, inner) => element("em", {}, inner(found[1]))],
  [/(?<![\w_])_(?!\s)([^_\n]+?)(?<!\s)_(?![\w_])/, (found, inner) => element("em", {}, inner(found[1]))],
];

function spans(text, rules, names, clean) {
  const fragment = document.createDocumentFragment();
  let rest = text;
  while (rest) {
    let first = null;
    for (const [pattern, make] of rules) {
      const found = pattern.exec(rest);
      if (found && (!first || found.index < first.found.index)) first = { found, make };
    }
    if (!first) break;
    if (first.found.index) fragment.append(clean(rest.slice(0, first.found.index)));
    fragment.append(first.make(first.found, (inner) => spans(inner, rules, names, clean), names));
    rest = rest.slice(first.found.index + first.found[0].length);
  }
  if (rest) fragment.append(clean(rest));
  return fragment;
}

// https://docs.slack.dev/messaging/formatting-message-text
export function mrkdwn(text, names) {
  const fragment = document.createDocumentFragment();
  const clean = (piece) => withEmoji(plain(piece));
  text.split(/```\n?([\s\S]*?)```/).forEach((piece, index) => {
    if (index % 2) return fragment.append(element("pre", { textContent: plain(piece.replace(/\n$/, "")) }));
    const lines = (index ? piece.replace(/^\n/, "") : piece).split("\n");
    let quote = null;
    lines.forEach((line, number) => {
      const quoted = /^(?:>|&gt;) ?(.*)$/.exec(line);
      if (quoted) {
        if (!quote) fragment.append(quote = element("blockquote"));
        else quote.append("\n");
        quote.append(spans(quoted[1], SPANS, names, clean));
        return;
      }
      const broken = number && !quote ? "\n" : "";
      quote = null;
      fragment.append(broken, spans(line, SPANS, names, clean));
    });
  });
  return fragment;
}

const inline = (text, names) => spans(text.replace(/\\([\\`*_{}[\]()#+.!|~>-])/g, "$1"), MARKDOWN_SPANS, names, withEmoji);

// The markdown block: headings, lists, quotes, fences, tables, rules and paragraphs.
export function markdown(text, names) {
  const fragment = document.createDocumentFragment();
  const lines = text.split("\n");
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at];
    let found;
    if ((found = /^\s*(```+|~~~+)\s*(\S*)/.exec(line))) {
      const body = [];
      for (at += 1; at < lines.length && !lines[at].trim().startsWith(found[1]); at += 1) body.push(lines[at]);
      fragment.append(element("pre", { textContent: body.join("\n"), dataset: found[2] ? { language: found[2] } : {} }));
    } else if ((found = /^(#{1,6})\s+(.*)$/.exec(line))) {
      fragment.append(element(`h${Math.min(6, found[1].length + 2)}`, {}, inline(found[2], names)));
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      fragment.append(element("hr"));
    } else if (/^\s*([-*+]|\d+[.)])\s+/.test(line)) {
      at = list(fragment, lines, at, names);
    } else if (/^\s*>/.test(line)) {
      const body = [];
      for (; at < lines.length && /^\s*>/.test(lines[at]); at += 1) body.push(lines[at].replace(/^\s*> ?/, ""));
      at -= 1;
      fragment.append(element("blockquote", {}, markdown(body.join("\n"), names)));
    } else if (line.includes("|") && /^\s*\|?[\s:|-]+\|[\s:|-]*$/.test(lines[at + 1] || "")) {
      at = table(fragment, lines, at, names);
    } else if (line.trim()) {
      const body = [line];
      while (at + 1 < lines.length && lines[at + 1].trim() && !/^\s*(```|~~~|#{1,6}\s|>|[-*+]\s|\d+[.)]\s)/.test(lines[at + 1])) body.push(lines[at += 1]);
      fragment.append(element("p", {}, inline(body.join("\n"), names)));
    }
  }
  return fragment;
}

function list(fragment, lines, start, names) {
  const ordered = /^\s*\d/.test(lines[start]);
  const node = element(ordered ? "ol" : "ul");
  if (ordered) node.start = Number.parseInt(lines[start], 10) || 1;
  const depth = /^\s*/.exec(lines[start])[0].length;
  let at = start;
  for (; at < lines.length; at += 1) {
    const found = /^(\s*)([-*+]|\d+[.)])\s+(.*)$/.exec(lines[at]);
    if (found && found[1].length > depth + 1 && node.lastChild) at = list(node.lastChild, lines, at, names);
    else if (found && found[1].length >= depth && /\d/.test(found[2]) === ordered) node.append(element("li", {}, inline(found[3], names)));
    else if (!found && /^\s+\S/.test(lines[at]) && node.lastChild) node.lastChild.append(" ", inline(lines[at].trim(), names));
    else break;
  }
  fragment.append(node);
  return at - 1;
}

function table(fragment, lines, start, names) {
  const cells = (line) => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const row = (line, tag) => element("tr", {}, ...cells(line).map((cell) => element(tag, {}, inline(cell, names))));
  const body = element("tbody");
  let at = start + 2;
  for (; at < lines.length && lines[at].includes("|"); at += 1) body.append(row(lines[at], "td"));
  fragment.append(element("table", {}, element("thead", {}, row(lines[start], "th")), body));
  return at - 1;
}
