/* Every endpoint, with how it fares. */

import { all, get, may } from "./api.js";
import { badge, h, link, time } from "./dom.js";

export async function view() {
  const found = await all("/webhooks");
  const items = found.map((hook) => h("li", { class: "card" },
    h("div", { class: "row" },
      h("h3", {}, link(`#endpoints/${hook.webhook_id}`, hook.url, { class: "url", dir: "ltr" })),
      standing(hook)),
    hook.description ? h("p", { dir: "auto" }, hook.description) : null,
    h("p", { class: "soft" }, "Receives ", patterns(hook.events), ". Added ", time(hook.created_at), ".")));
  return {
    title: "Endpoints",
    actions: may("manage") ? link("#endpoints/new", "Add an endpoint", { class: "button primary" }) : null,
    body: [items.length ? h("ul", { class: "cards" }, items) : h("p", { class: "empty" }, "There is no endpoint yet. An endpoint is an address of yours to which events are sent.")],
  };
}

/** Whether an endpoint gets anything, in a badge. */
export function standing(hook) {
  if (hook.status === "disabled") return badge(hook.disabled_reason ? `Disabled: ${hook.disabled_reason}` : "Disabled", "off");
  return hook.failing_since ? badge("Failing", "bad") : badge("Enabled", "good");
}

export function patterns(events) {
  if (events.includes("*")) return "all events";
  return events.flatMap((pattern, n) => [n ? ", " : "", h("code", {}, pattern)]);
}

/** Names of endpoints by their id, for lists that name many. */
export async function names() {
  return new Map((await all("/webhooks")).map((hook) => [hook.webhook_id, hook.url]));
}

export const one = (id) => get(`/webhooks/${id}`);
