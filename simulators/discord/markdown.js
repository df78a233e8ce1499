// Discord's markdown as DOM nodes. Text reaches the document only as text nodes.

import { element, safe } from "./render.js";

const INLINE = [
  ["escape", /^\\([\\*_~|`>#[\]()-])/],
  ["code", /^(`+)([\s\S]*?[^`])\1(?!`)/],
  ["mention", /^<@!?(\d+)>/],
  ["channel", /^<#(\d+)>/],
  ["time", /^<t:(-?\d+)(?::([tTdDfFR]))?>/],
  ["autolink", /^<(https?:\/\/[^\s<>]+)>/],
  ["link", /^\[([^\]\n]+)\]\(<?(https?:\/\/[^\s)<>]+)>?(?:\s+"[^"\n]*")?\)/],
  ["url", /^https?:\/\/[^\s<>]*[^\s<>.,:;"'\])]/],
  ["spoiler", /^\|\|([\s\S]+?)\|\|/],
  ["strong", /^\*\*((?:\\[\s\S]|[^\\])+?)\*\*(?!\*)/],
  ["u", /^__((?:\\[\s\S]|[^\\])+?)__(?!_)/],
  ["s", /^~~([\s\S]+?)~~/],
  ["em", /^\*(?![\s*])((?:\*\*|\\[\s\S]|[^*\\])+?)\*(?!\*)/],
  ["em", /^_((?:__|\\[\s\S]|[^\\_])+?)_(?![A-Za-z0-9_])/],
  ["everyone", /^@(everyone|here)\b/],
];
const STYLES = {
  t: { timeStyle: "short" }, T: { timeStyle: "medium" }, d: { dateStyle: "short" }, D: { dateStyle: "long" },
  f: { dateStyle: "long", timeStyle: "short" }, F: { dateStyle: "full", timeStyle: "short" }, R: { dateStyle: "medium", timeStyle: "short" },
};

// `names`: { user(id), channel(id) } give what mentions show.
export function markdown(text, names) {
  const fragment = document.createDocumentFragment();
  blocks(fragment, text, names, true);
  return fragment;
}

function blocks(parent, text, names, quotes) {
  const fence = /```(?:([\w+#.-]+)\n)?\n*([\s\S]*?)\n*```/g;
  let at = 0;
  for (const match of text.matchAll(fence)) {
    if (!match[2].trim()) continue;
    lines(parent, text.slice(at, match.index).replace(/\n$/, ""), names, quotes);
    const pre = element("pre", {}, element("code", { textContent: match[2] }));
    if (match[1]) pre.dataset.language = match[1];
    parent.append(pre);
    at = match.index + match[0].length;
    if (text[at] === "\n") at += 1;
  }
  lines(parent, text.slice(at), names, quotes);
}

function lines(parent, text, names, quotes) {
  if (!text) return;
  const rows = text.split("\n");
  let plain = [];
  const flush = () => {
    if (plain.length) parent.append(element("p", {}, inline(plain.join("\n"), names)));
    plain = [];
  };
  for (let index = 0; index < rows.length; index += 1) {
    const row = rows[index];
    const heading = /^(#{1,3})\s+(.+)/.exec(row);
    const small = /^-#\s+(.+)/.exec(row);
    const item = /^(\s*)([-*]|\d{1,9}\.)\s+(.+)/.exec(row);
    if (quotes && /^>>> /.test(row)) {
      flush();
      return quote(parent, [row.slice(4), ...rows.slice(index + 1)], names);
    }
    if (quotes && /^> ?/.test(row) && /^>( |$)/.test(row)) {
      flush();
      const inner = [];
      for (; index < rows.length && /^>( |$)/.test(rows[index]); index += 1) inner.push(rows[index].replace(/^> ?/, ""));
      index -= 1;
      quote(parent, inner, names);
    } else if (heading) {
      flush();
      parent.append(element(`h${heading[1].length + 2}`, {}, inline(heading[2], names)));
    } else if (small) {
      flush();
      parent.append(element("p", { className: "subtext" }, inline(small[1], names)));
    } else if (item) {
      flush();
      index = list(parent, rows, index, names);
    } else {
      plain.push(row);
    }
  }
  flush();
}

function quote(parent, rows, names) {
  const node = element("blockquote");
  blocks(node, rows.join("\n"), names, false);
  parent.append(node);
}

// Consecutive items; deeper ones go into a list of the item before. Returns the last row used.
function list(parent, rows, index, names) {
  const stack = [];
  for (; index < rows.length; index += 1) {
    const item = /^(\s*)([-*]|(\d{1,9})\.)\s+(.+)/.exec(rows[index]);
    if (!item) break;
    const depth = item[1].length;
    while (stack.length && depth < stack[stack.length - 1].depth) stack.pop();
    const top = stack[stack.length - 1];
    if (top && depth === top.depth && top.node.tagName !== (item[3] ? "OL" : "UL")) stack.pop();
    if (!stack.length || depth > stack[stack.length - 1].depth) {
      const node = element(item[3] ? "ol" : "ul");
      if (item[3]) node.start = Number(item[3]);
      (stack.length ? stack[stack.length - 1].node.lastElementChild || parent : parent).append(node);
      stack.push({ depth, node });
    }
    stack[stack.length - 1].node.append(element("li", {}, inline(item[4], names)));
  }
  return index - 1;
}

function inline(text, names) {
  const fragment = document.createDocumentFragment();
  let plain = "";
  let at = 0;
  const flush = () => { if (plain) fragment.append(plain); plain = ""; };
  while (at < text.length) {
    const found = token(text, at);
    if (!found) { plain += text[at]; at += 1; continue; }
    if (found.kind === "escape") { plain += found.match[1]; at += found.match[0].length; continue; }
    flush();
    fragment.append(node(found.kind, found.match, names));
    at += found.match[0].length;
  }
  flush();
  return fragment;
}

function token(text, at) {
  if (!/[\\`<[|*_~h@]/.test(text[at])) return null;
  if (text[at] === "_" && at > 0 && /[A-Za-z0-9_]/.test(text[at - 1])) return null;
  if (text[at] === "h" && at > 0 && /[A-Za-z0-9]/.test(text[at - 1])) return null;
  const rest = text.slice(at);
  for (const [kind, pattern] of INLINE) {
    const match = pattern.exec(rest);
    if (match) return { kind, match };
  }
  return null;
}

function node(kind, match, names) {
  if (kind === "code") return element("code", { textContent: match[2].replace(/^ (.*) $/, "$1") });
  if (kind === "mention") return element("span", { className: "mention", textContent: `@${names.user(match[1])}` });
  if (kind === "channel") return element("span", { className: "mention", textContent: `#${names.channel(match[1])}` });
  if (kind === "everyone") return element("span", { className: "mention", textContent: match[0] });
  if (kind === "time") return element("time", { textContent: new Intl.DateTimeFormat([], STYLES[match[2] || "f"]).format(Number(match[1]) * 1000) });
  if (kind === "autolink" || kind === "url") return link(match[1] || match[0], match[1] || match[0], names);
  if (kind === "link") return link(match[2], match[1], names);
  if (kind === "spoiler") {
    const button = element("button", { type: "button", className: "spoiler", title: "Show" }, inline(match[1], names));
    button.addEventListener("click", () => button.classList.toggle("shown"));
    return button;
  }
  return element(kind, {}, inline(match[1], names));
}

function link(target, label, names) {
  const href = safe(target);
  if (!href) return element("span", { textContent: label });
  const shown = label === target ? document.createTextNode(label) : inline(label, names);
  return element("a", { href, rel: "noopener noreferrer", target: "_blank", title: href }, shown);
}
