/* The page's frame: opens the link, dresses the page, shows the view that the address names, and says when it is over. */

import * as api from "./api.js";
import * as deliveries from "./deliveries.js";
import * as delivery from "./delivery.js";
import { failure, h, link } from "./dom.js";
import * as endpoint from "./endpoint.js";
import * as endpoints from "./endpoints.js";
import * as form from "./form.js";
import * as types from "./types.js";

const VIEWS = [
  [/^endpoints$/, endpoints.view],
  [/^endpoints\/new$/, form.create],
  [/^endpoints\/(\w+)$/, endpoint.view],
  [/^endpoints\/(\w+)\/edit$/, form.edit],
  [/^deliveries$/, deliveries.view],
  [/^deliveries\/(\w+)$/, delivery.view],
  [/^types$/, types.view],
];
const PLACES = [["endpoints", "Endpoints"], ["deliveries", "Deliveries"], ["types", "Event types"]];
const LINK = /^ppl1\./;
const HOSTS = origins();
const NOTICE = 300000; // milliseconds before its end that the page around is told of it

const page = { name: "Webhooks", main: h("main", { id: "main", tabindex: "-1" }), shown: 0, visited: false };

/** Whose pages may hold this one in a frame: the gateway signed the list and put it into the address. */
function origins() {
  try {
    const payload = new URLSearchParams(location.search).get("frame").split(".")[1];
    return JSON.parse(atob(payload.replaceAll("-", "+").replaceAll("_", "/")));
  } catch {
    return [];
  }
}

/** Tells the page around this one, if it may hold it. */
function tell(event, more = {}) {
  if (parent === window) return;
  const around = location.ancestorOrigins ? [...location.ancestorOrigins].slice(0, 1) : HOSTS;
  for (const origin of HOSTS.filter((host) => around.includes(host))) {
    parent.postMessage({ source: "webhooks-portal", event, ...more }, origin);
  }
}

/** A new link from the page around goes on with a new session. What is shown stays, with what was typed. */
addEventListener("message", (message) => {
  if (message.source !== parent || parent === window || !HOSTS.includes(message.origin)) return;
  const address = message.data && message.data.link;
  const token = typeof address === "string" ? address.slice(address.indexOf("#") + 1) : "";
  if (LINK.test(token)) begin(token);
});

async function begin(token, before = location.hash) {
  try {
    const told = await api.open(token);
    clearTimeout(page.ending);
    page.ending = setTimeout(() => tell("ending"), Math.max(0, new Date(told.expires_at) - Date.now() - NOTICE));
    tell("ready");
    const subject = `${told.workspace_id} ${told.capabilities}`;
    const same = document.contains(page.main) && subject === page.subject;
    page.subject = subject;
    history.replaceState(null, "", same ? before : "#endpoints");
    if (same) return;
    dress(told);
    await show();
  } catch (error) {
    over(error);
  }
}

function dress(told) {
  const root = document.documentElement;
  const { name, accent, mode } = told.theme;
  page.name = name || told.workspace;
  if (mode && mode !== "auto") root.dataset.mode = mode;
  if (accent) {
    root.style.setProperty("--accent", accent);
    root.style.setProperty("--on-accent", light(accent) ? "#10151c" : "#ffffff");
  }
  document.body.replaceChildren(
    link("#main", "Skip to the content", { class: "skip", onclick: skip }),
    h("header", {},
      h("h1", { dir: "auto" }, page.name),
      h("nav", { "aria-label": "Webhooks" }, h("ul", {}, PLACES.map(([place, text]) => h("li", {}, link(`#${place}`, text)))))),
    page.main,
    h("div", { id: "announcements", role: "status", "aria-live": "polite", class: "hidden" }),
  );
}

function skip(event) {
  event.preventDefault();
  page.main.focus();
}

/** Relative luminance above which black is read better than white (https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio). */
function light(color) {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const part = parseInt(color.slice(at, at + 2), 16) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179;
}

/** Shows what the address names. `keep` names the element that is to have the focus afterwards. */
async function show(keep = "") {
  const [path, query] = location.hash.slice(1).split("?");
  const [pattern, view] = VIEWS.find(([pattern]) => pattern.test(path)) || VIEWS[0];
  const turn = (page.shown += 1);
  for (const place of document.querySelectorAll("nav a")) {
    if (path.startsWith(place.hash.slice(1))) place.setAttribute("aria-current", "page");
    else place.removeAttribute("aria-current");
  }
  page.main.setAttribute("aria-busy", "true");
  const [, ...parts] = pattern.exec(path) || [];
  const context = { parts, query: new URLSearchParams(query), refresh: show, current: () => turn === page.shown };
  let made;
  try {
    made = await view(context);
  } catch (error) {
    if (error.status === 401) return;
    made = { title: "Something went wrong", body: [failure(error, () => show())] };
  }
  if (!context.current()) return;
  const heading = h("h2", { tabindex: "-1", id: "heading", dir: "auto" }, made.title);
  page.main.replaceChildren(h("div", { class: "top" }, heading, made.actions || ""), ...made.body);
  page.main.removeAttribute("aria-busy");
  document.title = `${made.title} – ${page.name}`;
  settle(keep, heading);
}

/** The focus goes to the new view's heading, but not when the page has only just been loaded into somebody's frame. */
function settle(keep, heading) {
  const wanted = keep ? document.getElementById(keep) : page.visited ? heading : null;
  page.visited = true;
  if (wanted) wanted.focus({ preventScroll: Boolean(keep) });
  if (!keep) scrollTo(0, 0);
}

function over(error) {
  api.close();
  page.shown += 1;
  const why = {
    link_used: "This link was opened before. It is good for one opening.",
    link_over: "This link is not valid any more.",
  }[error.code] || (error.status === 401 || !error.status ? "Your session has ended." : error.message);
  clearTimeout(page.ending);
  page.main.remove();
  const box = h("main", { class: "over" }, h("h1", { tabindex: "-1" }, why), h("p", {}, "Go back to where you came from and open it again."));
  document.title = "Webhooks";
  document.body.replaceChildren(box);
  box.firstChild.focus();
  tell("over", { reason: error.code || "session_over" });
}

api.onOver(over);
addEventListener("hashchange", (event) => {
  if (LINK.test(location.hash.slice(1))) start(new URL(event.oldURL).hash);
  else if (document.contains(page.main)) show();
});
new ResizeObserver(([body]) => tell("height", { height: Math.ceil(body.borderBoxSize[0].blockSize) })).observe(document.body);

/** The token leaves the address at once, so that it is in no history and nobody looks it up over a shoulder. */
function start(before) {
  const token = location.hash.slice(1);
  history.replaceState(null, "", location.pathname + location.search);
  if (LINK.test(token)) begin(token, before);
  else over({ code: "", status: 0 });
}

start("");
