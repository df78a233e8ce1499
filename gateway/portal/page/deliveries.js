/* The log: what is or was owed, newest first, filtered by the address, so that a filter can be gone back to. */

import { get } from "./api.js";
import { announce, badge, busy, button, h, link, local, time } from "./dom.js";
import { names } from "./endpoints.js";
import { families } from "./types.js";

const STATES = [["", "Any"], ["pending", "Waiting"], ["delivered", "Delivered"], ["exhausted", "Given up"], ["cancelled", "Cancelled"]];
const TIMES = ["since", "until"];
const FILTERS = ["webhook_id", "status", "event_type", ...TIMES];
const PAGE = 25;

export function state(delivery) {
  if (delivery.status === "delivered") return badge("Delivered", "good");
  if (delivery.status === "exhausted") return badge("Given up", "bad");
  if (delivery.status === "cancelled") return badge("Cancelled", "off");
  return badge(delivery.attempts ? "Retrying" : "Waiting", delivery.attempts ? "warn" : "off");
}

export async function view({ query, refresh }) {
  const [hooks, types] = await Promise.all([names(), families()]);
  const asked = Object.fromEntries([...query].filter(([name, value]) => value && FILTERS.includes(name)));
  return {
    title: "Deliveries",
    actions: button("Refresh", () => refresh("refresh").then(() => announce("Refreshed")), { id: "refresh" }),
    body: [filters(asked, hooks, types), await log(asked, hooks)],
  };
}

function filters(asked, hooks, types) {
  const choose = (name, label, options) => h("div", { class: "field" }, h("label", { for: name }, label),
    h("select", { id: name, name }, options.map(([value, text]) => h("option", { value, selected: value === (asked[name] || "") }, text))));
  return h("form", { class: "filters", role: "search", "aria-label": "Filter deliveries", onsubmit: (event) => {
    event.preventDefault();
    const wanted = [...new FormData(event.target)].filter(([, value]) => value).map(([name, value]) => [name, TIMES.includes(name) ? new Date(value).toISOString() : value]);
    location.hash = `#deliveries?${new URLSearchParams(wanted)}`;
  } },
    choose("webhook_id", "Endpoint", [["", "Any"], ...hooks]),
    choose("status", "State", STATES),
    choose("event_type", "Event type", [["", "Any"], ...[...types.values()].flat().map((type) => [type.type, type.type])]),
    TIMES.map((name) => h("div", { class: "field" }, h("label", { for: name }, name === "since" ? "Made since" : "Made before"),
      h("input", { type: "datetime-local", id: name, name, value: asked[name] && local(new Date(asked[name])) }))),
    h("button", { type: "submit" }, "Filter"));
}

/** A table of deliveries that grows backwards in time. `hooks` is null where all belong to one endpoint. */
export async function log(asked, hooks) {
  const rows = h("tbody", {});
  const problems = h("div", {});
  const more = button("Show older", (event) => busy(event.target, problems, async () => {
    const before = rows.children.length;
    await fill();
    announce(`${rows.children.length - before} more`);
    rows.children[before].querySelector("a").focus();
  }));
  let cursor = "";
  async function fill() {
    const page = await get("/deliveries", { ...asked, limit: PAGE, ...(cursor ? { cursor } : {}) });
    rows.append(...page.items.map((item) => row(item, hooks)));
    cursor = page.next_cursor;
    more.hidden = !cursor;
  }
  await fill();
  if (!rows.children.length) return h("p", { class: "empty" }, "There is nothing.");
  const head = ["State", "Event", hooks ? "Endpoint" : null, "Tries", "Made", "Next try"].filter(Boolean);
  return h("div", {},
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Deliveries" }, h("table", {},
      h("thead", {}, h("tr", {}, head.map((name) => h("th", { scope: "col" }, name)))), rows)),
    problems, more);
}

function row(delivery, hooks) {
  return h("tr", {},
    h("td", {}, state(delivery)),
    h("th", { scope: "row" }, link(`#deliveries/${delivery.delivery_id}`, delivery.event_type)),
    hooks ? h("td", { class: "url", dir: "ltr" }, hooks.get(delivery.webhook_id) || "removed") : null,
    h("td", {}, String(delivery.attempts)),
    h("td", {}, time(delivery.created_at)),
    h("td", {}, time(delivery.next_attempt_at)));
}
