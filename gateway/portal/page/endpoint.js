/* One endpoint: how it fares, a test with its result, secrets, recovery, its log. */

import { get, may, post, remove } from "./api.js";
import { card, meaning } from "./attempts.js";
import { log } from "./deliveries.js";
import { settled } from "./delivery.js";
import { announce, busy, button, confirmed, duration, facts, h, link, time } from "./dom.js";
import { one, patterns, standing } from "./endpoints.js";
import * as recover from "./recover.js";
import * as secrets from "./secrets.js";

export async function view({ parts: [id], refresh, current }) {
  const hook = await one(id);
  const problems = h("div", { id: "problems" });
  const [stats, recent, secret] = await Promise.all([get(`/webhooks/${id}/stats`), log({ webhook_id: id }, null), secrets.section(hook, refresh)]);
  return {
    title: hook.url,
    actions: may("manage") ? h("div", { class: "actions" }, actions(hook, problems, refresh)) : null,
    body: [
      problems,
      secrets.shownOnce(id),
      overview(hook),
      numbers(stats),
      may("manage") && hook.status === "enabled" ? test(hook, current) : null,
      secret,
      may("manage") && hook.status === "enabled" ? recover.section(hook, current) : null,
      h("section", { class: "panel", "aria-labelledby": "log-heading" }, h("h3", { id: "log-heading" }, "Deliveries"), recent),
    ].filter(Boolean),
  };
}

function overview(hook) {
  return h("section", { class: "panel", "aria-label": "Overview" }, facts([
    ["State", standing(hook)],
    hook.failing_since ? ["Failing since", time(hook.failing_since, { exact: true })] : null,
    hook.paused_until ? ["Paused until", time(hook.paused_until, { exact: true })] : null,
    ["Receives", patterns(hook.events)],
    hook.channels ? ["Only of", hook.channels.join(", ")] : null,
    hook.condition ? ["Only where", h("code", {}, JSON.stringify(hook.condition))] : null,
    hook.payload_mode === "full" ? null : ["Content", hook.payload_mode],
    hook.ordering === "none" ? null : ["Order", "each conversation's one after the other"],
    hook.rate_limit ? ["At most", `${hook.rate_limit.count} tries in ${hook.rate_limit.seconds} s`] : null,
    Object.keys(hook.headers).length ? ["Headers", h("code", {}, Object.keys(hook.headers).join(", "))] : null,
    hook.description ? ["Description", h("span", { dir: "auto" }, hook.description)] : null,
    ["Added", time(hook.created_at, { exact: true })],
    ["Id", h("code", {}, hook.webhook_id)],
  ]));
}

/** How it fared in the last day, and what waits. */
function numbers(stats) {
  const tries = stats.succeeded + stats.failed;
  const share = tries ? `${(stats.success_share * 100).toFixed(1)} % of ${tries} tries` : "no tries";
  const times = [["half", stats.p50_ms], ["95 %", stats.p95_ms], ["99 %", stats.p99_ms]].map(([share, within]) => `${share} within ${duration(within)}`);
  return h("section", { class: "panel", "aria-labelledby": "numbers-heading" }, h("h3", { id: "numbers-heading" }, "Last 24 hours"), facts([
    ["Taken", share],
    tries ? ["Answered", times.join(", ")] : null,
    ["Waiting", `${stats.pending} deliveries${stats.oldest_due_seconds ? `, the oldest for ${duration(stats.oldest_due_seconds * 1000)}` : ""}`],
    stats.breaker.failures_in_a_row ? ["Failed in a row", String(stats.breaker.failures_in_a_row)] : null,
    stats.breaker.slow_until ? ["Slowed until", time(stats.breaker.slow_until, { exact: true })] : null,
  ]));
}

function actions(hook, problems, refresh) {
  const path = `/webhooks/${hook.webhook_id}`;
  const off = hook.status === "disabled";
  return [
    link(`#endpoints/${hook.webhook_id}/edit`, "Change", { class: "button" }),
    button(off ? "Enable" : "Disable", (event) => busy(event.target, problems, async () => {
      if (!off && !(await confirmed("Disable this endpoint?", "New events are not kept for it. What is owed waits until it is enabled again.", "Disable"))) return;
      await post(`${path}/${off ? "enable" : "disable"}`);
      announce(off ? "Enabled" : "Disabled");
      await refresh("switch");
    }), { id: "switch" }),
    button("Remove", (event) => busy(event.target, problems, async () => {
      if (!(await confirmed("Remove this endpoint?", "What is owed to it is cancelled. Its log stays.", "Remove"))) return;
      await remove(path);
      announce("Removed");
      location.hash = "#endpoints";
    }), { class: "danger" }),
  ];
}

/** A signed ping, and what the receiver made of it. */
function test(hook, current) {
  const outcome = h("div", { id: "test-outcome" });
  const send = button("Send a test", (event) => busy(event.target, outcome, async () => {
    outcome.replaceChildren(h("p", { class: "soft" }, "Waiting for the receiver …"));
    const owed = await post(`/webhooks/${hook.webhook_id}/test`);
    const found = await settled(owed.delivery_id, 0, current);
    const [attempt] = found.attempt_log;
    outcome.replaceChildren(...(attempt ? result(found, attempt) : [h("p", {}, "It was not tried yet. ", link(`#deliveries/${owed.delivery_id}`, "See the log"))]));
    announce(attempt ? `The receiver answered ${attempt.status_code || "nothing"}. ${meaning(attempt)}` : "It was not tried yet");
  }));
  return h("section", { class: "panel", "aria-labelledby": "test-heading" },
    h("h3", { id: "test-heading" }, "Test"),
    h("p", { class: "hint" }, "Sends a signed ping to this endpoint alone."),
    send, outcome);
}

function result(found, attempt) {
  return [
    h("ul", { class: "cards" }, card(attempt, { open: true, body: found.body || "" })),
    h("p", {}, link(`#deliveries/${found.delivery_id}`, "See the delivery")),
  ];
}

