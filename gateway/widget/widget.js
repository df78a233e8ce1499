/* Parley's chat for other people's pages. One file, nothing else needed; docs/channels/web.md tells how to embed it.
   Text from anywhere is put into the page as text; an answer's HTML is copied tag by tag from a short list. */
(() => {
  "use strict";

  const script = document.currentScript || document.querySelector("script[data-account][src*='widget.js']");
  const waiting = Array.isArray(window.Parley) ? window.Parley : [];
  if (!script || (window.Parley && window.Parley.version)) return;

  const STYLE = `/* style */`;
  const STRINGS = {
    title: "Chat", open: "Open chat", close: "Close chat", log: "Conversation", write: "Write a message", send: "Send",
    messages: "Messages", you: "You", assistant: "Assistant", typing: "An answer is being written", sending: "Sending", failed: "Not sent.",
    retry: "Try again", offline: "You are offline. What you write is sent when you are back.",
    lost: "The connection is lost. Trying again.", identity: "We could not verify who you are. Please reload the page.",
    gone: "This chat is not available at the moment.", sources: "Sources", helpful: "Helpful", unhelpful: "Not helpful",
    why: "What was wrong? (optional)", tell: "Send feedback", thanks: "Thank you.", earlier: "Show earlier messages",
    download: "Download {name}", undownloaded: "This file could not be downloaded.", files: "Files", newest: "New messages", unread: "{n} unread", suggestions: "Suggestions", table: "Table", code: "Code",
  };
  const data = script.dataset;
  const account = data.account || "";
  const base = new URL("./channels/web/" + encodeURIComponent(account), script.src).href;
  const t = { ...STRINGS, ...parsed(data.strings) };
  const LONGEST = 8000, HISTORY = 50, SILENCE = 45000, KEPT = 86400000;

  // ---- small things -------------------------------------------------------------------------------------------------

  function parsed(text) {
    try { return text ? JSON.parse(text) : {}; } catch { return {}; }
  }

  function h(tag, props, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(props || {})) {
      if (value === null || value === undefined || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  function icon(path, size = 20) {
    const space = "http://www.w3.org/2000/svg";
    const svg = document.createElementNS(space, "svg");
    const line = document.createElementNS(space, "path");
    for (const [name, value] of Object.entries({ viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true" }))
      svg.setAttribute(name, value);
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  }

  const ICONS = {
    chat: "M21 11.5a8.4 8.4 0 0 1-12.3 7.4L3 21l2.1-5.7A8.4 8.4 0 1 1 21 11.5z",
    close: "M6 6l12 12M18 6L6 18",
    send: "M4 12l16-8-6 16-3-7-7-1z",
    up: "M7 11v9H4v-9zM7 11l4-8a2 2 0 0 1 3 2l-1 5h6a2 2 0 0 1 2 2.3l-1.2 6A2 2 0 0 1 17.8 20H7",
    down: "M17 13V4h3v9zM17 13l-4 8a2 2 0 0 1-3-2l1-5H5a2 2 0 0 1-2-2.3l1.2-6A2 2 0 0 1 6.2 4H17",
    below: "M12 5v14M6 13l6 6 6-6",
  };

  const small = window.matchMedia("(max-width: 520px), (max-height: 420px)");
  const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const backoff = (tries) => Math.min(30000, 800 * 2 ** tries) * (0.7 + Math.random() * 0.6);

  function newId() {
    const bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  // What this browser remembers: under "guest", or under the user whom the page vouches for.
  const memory = new Map();
  const store = {
    name: (who) => `parley:${account}:${who}`,
    read(who) {
      try { return parsed(localStorage.getItem(this.name(who)) || "") || {}; } catch { return memory.get(who) || {}; }
    },
    write(who, changes) {
      const value = { ...this.read(who), ...changes };
      memory.set(who, value);
      try { localStorage.setItem(this.name(who), JSON.stringify(value)); } catch { /* private window: this page only */ }
    },
    drop(who) {
      memory.delete(who);
      try { localStorage.removeItem(this.name(who)); } catch { /* nothing was kept */ }
    },
    dropUsers() {
      try {
        for (const name of Object.keys(localStorage)) if (name.startsWith(this.name("user:"))) localStorage.removeItem(name);
      } catch { /* nothing was kept */ }
    },
  };

  const listeners = {};
  function emit(name, detail) {
    for (const listener of [...(listeners[name] || [])]) {
      try { listener(detail); } catch (error) { console.error("Parley: a listener of", name, "failed", error); }
    }
  }

  // ---- what an answer's HTML may hold ----------------------------------------------------------------------------------

  const TAGS = new Set("P BR STRONG EM S CODE PRE UL OL LI BLOCKQUOTE H3 H4 H5 H6 HR TABLE THEAD TBODY TR TH TD A".split(" "));
  const DROPPED = new Set("SCRIPT STYLE TEMPLATE IFRAME OBJECT SVG MATH NOSCRIPT".split(" "));
  const CLASSES = /^(right|center|language-[\w+#.-]{1,40})$/;
  const LINKS = /^(https?:\/\/|mailto:)/i;
  let policy = null;
  try { policy = window.trustedTypes ? window.trustedTypes.createPolicy("parley", { createHTML: (text) => text }) : null; } catch { /* the text is shown instead */ }

  function shownHtml(html, text, sources) {
    let body;
    try {
      body = new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html").body; // inert
    } catch {
      return h("p", { dir: "auto", class: "plain" }, text);
    }
    const fragment = document.createDocumentFragment();
    copy(body, fragment, new Map((sources || []).map((source) => [source.number, source])), false);
    return fragment;
  }

  function copy(from, to, sources, verbatim) {
    for (const node of from.childNodes) {
      if (node.nodeType === Node.TEXT_NODE) to.append(verbatim ? node.data : cited(node.data, sources));
      else if (node.nodeType !== Node.ELEMENT_NODE || DROPPED.has(node.tagName.toUpperCase())) continue;
      else if (!TAGS.has(node.tagName)) copy(node, to, sources, verbatim);
      else {
        const element = h(node.tagName.toLowerCase(), allowed(node));
        copy(node, element, sources, verbatim || /^(A|CODE|PRE)$/.test(node.tagName));
        if (node.tagName === "TABLE") to.append(h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": t.table }, element));
        else {
          if (node.tagName === "PRE") { element.tabIndex = 0; element.setAttribute("role", "region"); element.setAttribute("aria-label", t.code); }
          to.append(element);
        }
      }
    }
  }

  function allowed(node) {
    const kept = {};
    if (node.getAttribute("dir") === "auto") kept.dir = "auto";
    if (CLASSES.test(node.getAttribute("class") || "")) kept.class = node.getAttribute("class");
    if (node.tagName === "TH") kept.scope = "col";
    if (node.tagName === "OL" && /^\d{1,9}$/.test(node.getAttribute("start") || "")) kept.start = node.getAttribute("start");
    if (node.tagName === "A" && LINKS.test(node.getAttribute("href") || ""))
      Object.assign(kept, { href: node.getAttribute("href"), target: "_blank", rel: "noopener nofollow" });
    return kept;
  }

  function cited(text, sources) {
    const fragment = document.createDocumentFragment();
    let end = 0;
    for (const found of text.matchAll(/ ?\[(\d{1,3})\]/g)) {
      const source = sources.get(Number(found[1]));
      if (!source) continue;
      fragment.append(text.slice(end, found.index), h("sup", {}, anchor(source, found[1])));
      end = found.index + found[0].length;
    }
    fragment.append(text.slice(end));
    return fragment;
  }

  function anchor(source, label) {
    const named = { class: "source", title: source.quote || source.title };
    if (!LINKS.test(source.url || "")) return h("span", named, label);
    return h("a", { ...named, href: source.url, target: "_blank", rel: "noopener nofollow" }, label);
  }

  // ---- state -----------------------------------------------------------------------------------------------------------

  let identity = data.userId ? { user_id: data.userId, signature: data.signature || "", expires: data.expires, name: data.name, email: data.email } : null;
  let who = identity ? "user:" + identity.user_id : "guest";
  let token = "", looks = {}, stopped = false, age = 0; // `age` grows with every change of visitor
  let isOpen = false, seq = 0, oldest = 0, unread = 0, awaiting = false, lastFocus = null;
  const seen = new Map(); // message_id to its element
  let outbox = [];

  // ---- the gateway -----------------------------------------------------------------------------------------------------

  class Refusal extends Error {
    constructor(status, body, after) {
      super((body && body.message) || `status ${status}`);
      this.status = status;
      this.code = (body && body.code) || "";
      this.after = Number(after) || 0;
    }
  }

  async function call(method, path, body) {
    return (await ask(method, path, body)).json().catch(() => null);
  }

  async function ask(method, path, body) {
    const answer = await fetch(base + path, {
      method, mode: "cors", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer",
      headers: { ...(token ? { Authorization: "Bearer " + token } : {}), ...(body ? { "Content-Type": "application/json" } : {}) },
      body: body ? JSON.stringify(body) : undefined,
    });
    if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => null), answer.headers.get("Retry-After"));
    return answer;
  }

  let beginning = null;
  function begin() {
    beginning = beginning || beginSession().finally(() => { beginning = null; });
    return beginning;
  }

  async function beginSession() {
    const started = age, mine = store.read(who), guest = store.read("guest");
    const claim = identity ? cleanIdentity(identity) : null;
    let begun;
    token = "";
    try {
      begun = await call("POST", "/sessions", { visitor: (claim ? guest.token : mine.token) || null, identity: claim });
    } catch (error) {
      if (!(claim && error.code === "bad_identity" && mine.token && mine.expires > Date.now())) throw error;
      begun = await call("POST", "/sessions", { visitor: mine.token }); // the page's word is old, its token still good
    }
    if (started !== age) throw new Error("the visitor has changed");
    token = begun.visitor;
    looks = { title: begun.title, greeting: begun.greeting, suggestions: begun.suggestions, theme: begun.theme, feedback: begun.feedback };
    store.write(who, { token, expires: Date.parse(begun.expires_at), looks });
    if (begun.continued) store.drop("guest");
    dress();
    return begun;
  }

  function cleanIdentity(given) {
    const claim = { user_id: String(given.user_id || given.userId || ""), signature: String(given.signature || "") };
    if (given.expires) claim.expires = Number(given.expires);
    if (given.name) claim.name = String(given.name).slice(0, 200);
    if (given.email) claim.email = String(given.email).slice(0, 320);
    return claim;
  }

  async function start() {
    const mine = store.read(who), started = age;
    if (!identity) store.dropUsers(); // nobody is signed in on this page any more
    if (mine.looks) { looks = mine.looks; dress(); reveal(); }
    for (let tries = 0; started === age; tries++) {
      try {
        const begun = await begin();
        if (started !== age) return;
        reveal();
        if (begun.has_messages) await load();
        else empty();
        restoreOutbox();
        if (begun.has_messages || outbox.length) stream.want();
        emit("ready", { vouched: begun.vouched });
        return;
      } catch (error) {
        if (started !== age) return;
        if (error instanceof Refusal && error.status < 500 && error.status !== 429) return refused(error);
        if (tries === 0) console.warn(`Parley: no session with ${base}. Is ${location.origin} among the channel's origins?`, error);
        if (mine.looks) notice(navigator.onLine ? t.lost : t.offline);
        await pause(error.after ? error.after * 1000 : backoff(tries));
      }
    }
  }

  function refused(error) {
    console.error("Parley:", error.message);
    stopped = true;
    stream.stop();
    $.suggestions.hidden = true;
    usable(false);
    notice(error.status === 401 ? t.identity : t.gone);
    emit(error.status === 401 ? "identity_required" : "error", { code: error.code, message: error.message });
  }

  function usable(yes) {
    if (!yes && root.activeElement === $.input) $.close.focus();
    $.input.disabled = !yes;
    typed();
  }

  async function load() {
    const history = await call("GET", `/messages?limit=${HISTORY}`);
    $.log.replaceChildren();
    seen.clear();
    seq = 0;
    oldest = history.items.length ? history.items[0].seq : 0;
    $.earlier.hidden = !history.more;
    history.items.forEach((message) => add(message, false));
    const last = history.items[history.items.length - 1];
    awaiting = Boolean(last && last.role === "user" && Date.now() - Date.parse(last.created_at) < 120000);
    drafting();
    if (!seen.size) empty();
    if (store.read(who).read === undefined) store.write(who, { read: seq }); // read elsewhere, as far as we know
    countUnread();
    toEnd(true);
  }

  async function loadEarlier() {
    const history = await call("GET", `/messages?limit=${HISTORY}&before=${oldest}`).catch(() => null);
    if (!history) return;
    const height = $.scroll.scrollHeight, first = $.log.firstChild;
    for (const message of history.items) if (!seen.has(message.message_id)) $.log.insertBefore(bubble(message), first);
    if (history.items.length) oldest = history.items[0].seq;
    $.earlier.hidden = !history.more;
    $.scroll.scrollTop += $.scroll.scrollHeight - height;
  }

  // Server-sent events over fetch: EventSource cannot carry a token.
  const stream = {
    wanted: false, running: false, abort: null, opened: null,
    want() {
      this.wanted = true;
      if (!this.running) this.run();
      return this.opened;
    },
    stop() {
      this.wanted = false;
      if (this.abort) this.abort.abort();
    },
    again() { // at once: the network is back, or the page is
      if (this.wake) this.wake();
    },
    async run() {
      this.running = true;
      for (let tries = 0; this.wanted && !stopped; tries++) {
        let settle;
        this.opened = new Promise((resolve) => { settle = resolve; });
        let after = 0;
        try {
          await this.read(() => { tries = 0; notice(""); settle(true); });
        } catch (error) {
          if (error instanceof Refusal && error.status === 401) await begin().catch((e) => { if (e.code === "bad_identity" || e.code === "identity_required") refused(e); });
          else if (error instanceof Refusal && (error.status === 403 || error.status === 404)) refused(error);
          after = (error && error.after) || 0;
        }
        settle(false);
        if (!this.wanted || stopped) break;
        drafting("");
        if (tries > 0) notice(navigator.onLine ? t.lost : t.offline);
        await Promise.race([pause(after ? after * 1000 : tries ? backoff(tries) : 300), new Promise((resolve) => { this.wake = resolve; })]);
      }
      this.running = false;
    },
    async read(ready) {
      this.abort = new AbortController();
      let timer = 0;
      const alive = () => { clearTimeout(timer); timer = setTimeout(() => this.abort.abort(), SILENCE); };
      try {
        alive();
        const answer = await fetch(base + "/stream", {
          mode: "cors", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer", signal: this.abort.signal,
          headers: { Authorization: "Bearer " + token, "Last-Event-ID": String(seq), Accept: "text/event-stream" },
        });
        if (!answer.ok) throw new Refusal(answer.status, await answer.json().catch(() => null), answer.headers.get("Retry-After"));
        ready();
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        let rest = "";
        for (;;) {
          const { value, done } = await reader.read();
          if (done) return;
          alive();
          const blocks = (rest + value).split("\n\n");
          rest = blocks.pop();
          blocks.forEach(dispatch);
        }
      } finally {
        clearTimeout(timer);
        this.abort.abort();
      }
    },
  };

  function dispatch(block) {
    const fields = {};
    for (const line of block.split("\n")) {
      const at = line.indexOf(": ");
      if (at > 0) fields[line.slice(0, at)] = line.slice(at + 2);
    }
    if (!fields.data) return;
    const event = JSON.parse(fields.data);
    if (fields.event === "message") arrived(event);
    else if (fields.event === "draft") drafting(event.html);
    else if (fields.event === "typing") { awaiting = event.on; drafting(""); }
  }

  function arrived(message) {
    if (seen.has(message.message_id)) { seq = Math.max(seq, message.seq); return; }
    if (message.role === "user") {
      const mine = outbox.find((item) => !item.id && item.text.trim() === message.text.trim());
      if (mine) return confirm(mine, message.message_id, message.seq);
    } else {
      awaiting = false;
      drafting("");
    }
    add(message, true);
    countUnread();
  }

  // ---- sending ---------------------------------------------------------------------------------------------------------

  function send(text) {
    const item = { client_id: newId(), text: text.slice(0, LONGEST), at: Date.now() };
    outbox.push(item);
    keepOutbox();
    showOutgoing(item);
    toEnd(true);
    flush();
  }

  function keepOutbox() {
    store.write(who, { outbox: outbox.map(({ client_id, text, at }) => ({ client_id, text, at })) });
  }

  function restoreOutbox() {
    const held = new Set(outbox.map((item) => item.client_id));
    for (const item of store.read(who).outbox || []) {
      if (held.has(item.client_id) || Date.now() - item.at > KEPT) continue;
      outbox.push(item);
      showOutgoing(item);
    }
    flush();
  }

  let flushing = false;
  async function flush() {
    if (flushing) return;
    flushing = true;
    try {
      for (let item; !stopped && (item = outbox.find((one) => !one.failed)); ) await deliver(item);
    } finally {
      flushing = false;
    }
  }

  async function deliver(item) {
    const started = age;
    for (let tries = 0; ; tries++) {
      try {
        if (!token) await begin();
        await Promise.race([stream.want(), pause(1500)]); // so that the answer's first words are seen
        const taken = await call("POST", "/messages", { text: item.text, client_id: item.client_id });
        if (started !== age) return;
        awaiting = !taken.repeated || awaiting;
        confirm(item, taken.message_id, 0);
        drafting();
        return;
      } catch (error) {
        if (started !== age) return;
        const final = error instanceof Refusal && error.status < 500 && error.status !== 401 && error.status !== 429;
        if (error.status === 401) { token = ""; if (error.code === "identity_required") return refused(error); }
        if (final || (tries >= 3 && navigator.onLine)) return fail(item);
        item.mark(t.sending);
        if (!navigator.onLine) notice(t.offline);
        const rest = error.after ? error.after * 1000 : backoff(Math.min(tries, 3));
        await Promise.race([pause(rest), new Promise((resolve) => { wakeSender = resolve; })]);
      }
    }
  }
  let wakeSender = () => {};

  function confirm(item, messageId, at) {
    outbox = outbox.filter((one) => one !== item);
    item.id = messageId;
    keepOutbox();
    if (seen.has(messageId) && seen.get(messageId) !== item.element) item.element.remove();
    else seen.set(messageId, item.element);
    item.element.classList.remove("outgoing", "failed");
    item.mark("");
    if (at) seq = Math.max(seq, at);
  }

  function fail(item) {
    item.failed = true;
    item.element.classList.add("failed");
    item.mark(t.failed, h("button", { type: "button", class: "link", onclick: () => {
      item.failed = false;
      item.element.classList.remove("failed");
      item.mark(t.sending);
      $.input.focus();
      flush();
    } }, t.retry));
    emit("error", { code: "not_sent", message: t.failed });
  }

  // ---- what is seen ----------------------------------------------------------------------------------------------------

  const $ = {};
  const host = h("parley-chat", { "data-parley": "" });
  const root = host.attachShadow({ mode: "open" });

  function build() {
    $.badge = h("span", { class: "badge", "aria-hidden": "true", hidden: true });
    $.launcher = h("button", { type: "button", class: "launcher", "aria-haspopup": "dialog", "aria-expanded": "false", "aria-controls": "panel", onclick: toggle }, icon(ICONS.chat, 26), $.badge);
    $.title = h("h2", { id: "title", dir: "auto" });
    $.close = h("button", { type: "button", class: "plain-button", "aria-label": t.close, title: t.close, onclick: close }, icon(ICONS.close));
    $.notice = h("p", { class: "notice", role: "status", hidden: true });
    $.earlier = h("button", { type: "button", class: "link earlier", hidden: true, onclick: loadEarlier }, t.earlier);
    $.log = h("div", { class: "log", role: "log", "aria-live": "polite", "aria-relevant": "additions", "aria-label": t.log });
    $.draft = h("div", { class: "message bot draft", "aria-hidden": "true", hidden: true });
    $.said = h("span", { class: "hidden", role: "status" });
    $.suggestions = h("div", { class: "suggestions", role: "group", "aria-label": t.suggestions, hidden: true });
    $.scroll = h("div", { class: "scroll-area", tabindex: "0", "aria-label": t.messages, role: "region", onscroll: atEnd }, $.earlier, $.log, $.draft, $.suggestions);
    $.below = h("button", { type: "button", class: "below", hidden: true, onclick: () => { toEnd(true); $.input.focus(); } }, icon(ICONS.below, 16), t.newest);
    $.input = h("textarea", { rows: "1", maxlength: String(LONGEST), placeholder: t.write, "aria-label": t.write, enterkeyhint: "send", dir: "auto", oninput: typed, onkeydown: keyed });
    $.send = h("button", { type: "submit", class: "send", "aria-label": t.send, title: t.send, disabled: true }, icon(ICONS.send));
    $.form = h("form", { onsubmit: submitted }, $.input, $.send);
    $.panel = h("div", { id: "panel", class: "panel", role: "dialog", "aria-modal": "true", "aria-labelledby": "title", hidden: true, onkeydown: trapped },
      h("header", {}, $.title, $.close), $.notice, $.scroll, $.below, $.said, $.form);
    host.hidden = true;
    try {
      const sheet = new CSSStyleSheet();
      sheet.replaceSync(STYLE);
      root.adoptedStyleSheets = [sheet];
    } catch {
      root.append(h("style", {}, STYLE));
    }
    root.append(h("div", { class: "root" }, $.panel, $.launcher));
    document.body.append(host);
    dress();
  }

  function dress() {
    const theme = looks.theme || {};
    const accent = data.accent || theme.accent || "";
    host.dataset.theme = data.theme || theme.mode || "auto";
    host.dataset.position = data.position || theme.position || "right";
    host.dir = data.dir || getComputedStyle(document.documentElement).direction || "ltr";
    host.lang = data.lang || document.documentElement.lang || "";
    if (/^#[0-9a-f]{6}$/i.test(accent)) {
      host.style.setProperty("--parley-accent", accent);
      host.style.setProperty("--parley-on-accent", light(accent) ? "#10151c" : "#fff");
      if (light(accent)) host.style.setProperty("--accent-on-light", `color-mix(in srgb, ${accent} 50%, #000)`);
    }
    $.title.textContent = data.title || looks.title || t.title;
    if (!seen.size && !outbox.length) empty();
    label();
  }

  // Relative luminance above which black is read better than white (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio).
  function light(color) {
    const [r, g, b] = [1, 3, 5].map((at) => {
      const part = parseInt(color.slice(at, at + 2), 16) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179;
  }

  function reveal() {
    host.hidden = false;
    const again = store.read(who).open && !small.matches; // on a phone the chat would hide the next page
    if (!isOpen && (data.open === "true" || data.open === "" || again)) open({ quiet: true });
  }

  function empty() {
    $.log.replaceChildren();
    if (looks.greeting) $.log.append(h("div", { class: "message bot" }, h("div", { class: "body" }, h("p", { dir: "auto", class: "plain" }, looks.greeting))));
    offer((looks.suggestions || []).map((text) => ({ label: text, text })));
  }

  // What may be said by a press: first questions, or what the last answer lets one choose from.
  function offer(choices) {
    $.suggestions.replaceChildren(...choices.map(({ label, text }) => h("button", { type: "button", dir: "auto", onclick: () => { send(text); $.input.focus(); } }, label)));
    $.suggestions.hidden = !choices.length;
  }

  function bubble(message) {
    const mine = message.role === "user";
    const body = h("div", { class: "body" });
    if (mine) body.append(h("p", { dir: "auto", class: "plain" }, message.text));
    else if (message.text.trim()) body.append(shownHtml(message.html, message.text, message.sources));
    const files = message.files || [];
    const element = h("div", { class: `message ${mine ? "user" : "bot"}`, title: new Date(message.created_at).toLocaleString() },
      h("span", { class: "hidden" }, `${mine ? t.you : t.assistant}: `), message.text.trim() ? body : null);
    if (files.length) element.append(filesOf(files));
    if (!mine && message.sources.length) element.append(sourcesOf(message.sources));
    if (message.role === "assistant" && looks.feedback !== false) element.append(opinion(message));
    element.dataset.seq = message.seq;
    seen.set(message.message_id, element);
    return element;
  }

  function filesOf(files) {
    return h("ul", { class: "files", "aria-label": t.files }, ...files.map((file) => {
      const problem = h("span", { class: "state", role: "status" });
      const button = h("button", { type: "button", class: "file", title: t.download.replace("{name}", file.name), onclick: async () => {
        button.disabled = true;
        problem.textContent = "";
        await download(file).catch(() => { problem.textContent = t.undownloaded; });
        button.disabled = false;
      } }, icon(ICONS.below, 16), h("span", { class: "name", dir: "auto" }, file.name), " ", h("span", { class: "size" }, sizeOf(file.size)));
      return h("li", {}, button, file.caption ? h("p", { dir: "auto", class: "plain" }, file.caption) : null, problem);
    }));
  }

  function sizeOf(bytes) {
    const unit = bytes < 1e3 ? 0 : bytes < 1e6 ? 1 : 2;
    const number = new Intl.NumberFormat(host.lang || undefined, { maximumFractionDigits: unit > 1 ? 1 : 0 });
    return `${number.format(bytes / 1000 ** unit)} ${["B", "kB", "MB"][unit]}`;
  }

  // The token stands in a header, which no plain link could send; the file is saved and never shown in the page.
  async function download(file) {
    const path = "/files/" + encodeURIComponent(file.attachment_id);
    const answer = await ask("GET", path).catch(async (error) => {
      if (error.status !== 401) throw error;
      await begin();
      return ask("GET", path);
    });
    const url = URL.createObjectURL(await answer.blob());
    const link = h("a", { href: url, download: file.name, hidden: true });
    root.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 60000);
  }

  function sourcesOf(sources) {
    const items = sources.map((source) => h("li", { value: String(source.number), dir: "auto" }, anchor(source, source.title)));
    return h("div", { class: "sources" }, h("span", { class: "label" }, t.sources), h("ol", {}, ...items));
  }

  function opinion(message) {
    let rating = message.rating;
    const group = h("div", { class: "opinion" });
    const rate = async (wanted, comment) => {
      const before = rating;
      rating = wanted === rating && comment === undefined ? "none" : wanted;
      show();
      try {
        const body = { message_id: message.message_id, rating, ...(comment ? { comment } : {}) };
        await call("POST", "/feedback", body);
        emit("feedback", body);
      } catch {
        rating = before;
        show();
      }
    };
    const buttons = [["up", t.helpful], ["down", t.unhelpful]].map(([name, text]) =>
      h("button", { type: "button", class: "plain-button", "aria-label": text, title: text, onclick: () => rate(name) }, icon(ICONS[name], 16)));
    const comment = h("input", { type: "text", maxlength: "2000", placeholder: t.why, "aria-label": t.why, dir: "auto" });
    const why = h("form", { class: "why", hidden: true, onsubmit: (event) => {
      event.preventDefault();
      if (comment.value.trim()) rate("down", comment.value.trim());
      why.replaceChildren(h("span", { role: "status" }, t.thanks));
      $.input.focus();
    } }, comment, h("button", { type: "submit", class: "link" }, t.tell));
    function show() {
      buttons.forEach((button, n) => button.setAttribute("aria-pressed", String(rating === ["up", "down"][n])));
      why.hidden = rating !== "down" || message.rating === "down";
    }
    show();
    group.append(...buttons, why);
    return group;
  }

  function add(message, announce) {
    if (!(message.text.trim() || (message.files || []).length) || seen.has(message.message_id)) { seq = Math.max(seq, message.seq); return; }
    if (!seen.size && !outbox.length) $.log.replaceChildren();
    $.suggestions.hidden = true;
    const near = isNearEnd();
    $.log.insertBefore(bubble(message), message.role === "user" ? null : $.log.querySelector(".outgoing"));
    seq = Math.max(seq, message.seq);
    if (message.role === "assistant" && !outbox.length) offer(message.choices || []);
    if (!oldest) oldest = message.seq;
    if (announce) {
      toEnd(near);
      if (message.role !== "user") emit("message", { message_id: message.message_id, text: message.text });
    }
  }

  function showOutgoing(item) {
    if (!seen.size && outbox.length === 1) $.log.replaceChildren();
    $.suggestions.hidden = true;
    const state = h("div", { class: "state" });
    item.mark = (text, more) => state.replaceChildren(...[text, more].filter(Boolean));
    item.element = h("div", { class: "message user outgoing" }, h("span", { class: "hidden" }, `${t.you}: `),
      h("div", { class: "body" }, h("p", { dir: "auto", class: "plain" }, item.text)), state);
    $.log.append(item.element);
  }

  let draftHtml = "";
  function drafting(html) {
    if (html !== undefined) draftHtml = html;
    const near = isNearEnd(), shows = awaiting || Boolean(draftHtml);
    if (shows && $.draft.hidden) $.said.textContent = t.typing;
    if (!shows) $.said.textContent = "";
    $.draft.hidden = !shows;
    $.draft.replaceChildren(draftHtml ? h("div", { class: "body" }, shownHtml(draftHtml, "", [])) : h("div", { class: "body dots" }, h("i"), h("i"), h("i")));
    if (near) toEnd(true);
  }

  function notice(text) {
    $.notice.hidden = !text;
    if ($.notice.textContent !== text) $.notice.textContent = text;
  }

  function isNearEnd() {
    return $.scroll.scrollHeight - $.scroll.scrollTop - $.scroll.clientHeight < 80;
  }

  function toEnd(yes) {
    if (yes) { $.scroll.scrollTop = $.scroll.scrollHeight; $.below.hidden = true; } else if (isOpen) $.below.hidden = false;
  }

  function atEnd() {
    if (isNearEnd()) $.below.hidden = true;
  }

  // ---- open, closed, read ------------------------------------------------------------------------------------------------

  function open(how) {
    if (isOpen) return;
    isOpen = true;
    lastFocus = document.activeElement;
    $.panel.hidden = false;
    $.launcher.setAttribute("aria-expanded", "true");
    host.dataset.open = "";
    store.write(who, { open: true });
    fit();
    toEnd(true);
    if (!(how && how.quiet)) $.input.focus();
    countUnread();
    label();
    emit("open");
  }

  function close() {
    if (!isOpen) return;
    isOpen = false;
    $.panel.hidden = true;
    $.launcher.setAttribute("aria-expanded", "false");
    delete host.dataset.open;
    store.write(who, { open: false });
    label();
    if (lastFocus && lastFocus !== document.body && lastFocus !== host && lastFocus.isConnected) lastFocus.focus();
    else $.launcher.focus();
    emit("close");
  }

  function toggle() {
    if (isOpen) close();
    else open();
  }

  function countUnread() {
    if (isOpen && document.visibilityState === "visible") store.write(who, { read: seq });
    const read = store.read(who).read || 0, before = unread;
    unread = seq > read ? [...$.log.querySelectorAll(".message.bot")].filter((element) => Number(element.dataset.seq || 0) > read).length : 0;
    $.badge.hidden = !unread;
    $.badge.textContent = unread > 9 ? "9+" : String(unread);
    label();
    if (unread !== before) emit("unread", unread);
  }

  function label() {
    const text = isOpen ? t.close : t.open + (unread ? ` (${t.unread.replace("{n}", unread)})` : "");
    $.launcher.setAttribute("aria-label", text);
    $.launcher.replaceChildren(icon(isOpen ? ICONS.close : ICONS.chat, 26), $.badge);
  }

  function typed() {
    $.send.disabled = $.input.disabled || !$.input.value.trim();
    $.input.style.height = "auto";
    $.input.style.height = Math.min($.input.scrollHeight, 140) + "px";
  }

  function keyed(event) {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submitted(event);
  }

  function submitted(event) {
    event.preventDefault();
    const text = $.input.value.trim();
    if (!text || stopped) return;
    $.input.value = "";
    typed();
    send(text);
    $.input.focus();
  }

  function trapped(event) {
    if (event.key === "Escape" && !event.isComposing) {
      event.stopPropagation();
      close();
      return;
    }
    if (event.key !== "Tab") return;
    const able = [...$.panel.querySelectorAll("button, a[href], textarea, input, [tabindex='0']")].filter((one) => !one.disabled && one.offsetParent !== null);
    const first = able[0], last = able[able.length - 1], at = root.activeElement;
    if (event.shiftKey && (at === first || !at)) { event.preventDefault(); last.focus(); }
    else if (!event.shiftKey && at === last) { event.preventDefault(); first.focus(); }
  }

  // ---- what the page may do ------------------------------------------------------------------------------------------------

  function change(next) {
    age++;
    stream.stop();
    stopped = false;
    identity = next;
    who = next ? "user:" + next.user_id : "guest";
    token = "";
    seq = oldest = unread = 0;
    awaiting = false;
    outbox = [];
    seen.clear();
    $.log.replaceChildren();
    $.earlier.hidden = $.suggestions.hidden = true;
    usable(true);
    drafting("");
    notice("");
    const restart = age;
    (async () => { // the stream's loop of the visitor before has to end first
      while (stream.running) await pause(20);
      if (restart === age) start();
    })();
  }

  const api = {
    version: 1,
    open: () => { host.hidden = false; open(); },
    close,
    toggle: () => (isOpen ? close() : api.open()),
    identify(given) {
      const claim = given && cleanIdentity(given);
      if (claim && claim.user_id) change(claim);
      else api.logout();
    },
    logout() {
      store.dropUsers();
      store.drop("guest");
      change(null);
    },
    on(name, listener) { (listeners[name] = listeners[name] || new Set()).add(listener); return api; },
    off(name, listener) { if (listeners[name]) listeners[name].delete(listener); return api; },
    push([name, ...rest]) { return typeof api[name] === "function" ? api[name](...rest) : undefined; },
    get isOpen() { return isOpen; },
    get unread() { return unread; },
  };

  // Above a phone's keyboard, which covers the page rather than making it smaller.
  function fit() {
    const view = window.visualViewport, covers = isOpen && small.matches && view;
    $.panel.style.height = covers ? view.height + "px" : "";
    $.panel.style.top = covers ? view.offsetTop + "px" : "";
    if (covers && isNearEnd()) toEnd(true);
  }

  function begun() {
    build();
    window.Parley = api;
    waiting.forEach((command) => api.push(command));
    if (!age) start();
    if (window.visualViewport) for (const name of ["resize", "scroll"]) window.visualViewport.addEventListener(name, fit);
    window.addEventListener("online", () => { notice(""); stream.again(); wakeSender(); });
    window.addEventListener("offline", () => notice(t.offline));
    window.addEventListener("pagehide", () => { if (stream.abort) stream.abort.abort(); });
    window.addEventListener("pageshow", (event) => { if (event.persisted) stream.again(); });
    window.addEventListener("storage", (event) => { if (event.key === store.name(who)) countUnread(); });
    document.addEventListener("visibilitychange", () => { if (document.visibilityState === "visible") { stream.again(); countUnread(); } });
  }

  if (document.body) begun();
  else document.addEventListener("DOMContentLoaded", begun);
})();
