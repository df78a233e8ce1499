/* One delivery: what was owed, every try, and sending it again. */

import { get, may, post } from "./api.js";
import { announce, busy, button, facts, h, link, sleep, time } from "./dom.js";
import { card } from "./attempts.js";
import { state } from "./deliveries.js";

const PATIENCE = 45; // seconds that a try is waited for

export async function view({ parts: [id], refresh, current }) {
  const found = await get(`/deliveries/${id}`);
  const problems = h("div", { id: "problems" });
  const hook = await get(`/webhooks/${found.webhook_id}`).catch(() => null);
  const resend = button("Send again", (event) => busy(event.target, problems, async () => {
    const tries = found.attempt_log.length;
    await post(`/deliveries/${id}/resend`);
    announce("It is sent again");
    await settled(id, tries, current);
    if (!current()) return;
    await refresh("resend");
    announce("There is a new try");
  }), { id: "resend", class: "primary" });
  const tries = [...found.attempt_log].reverse();
  return {
    title: found.event_type,
    actions: may("manage") ? resend : null,
    body: [
      problems,
      facts([
        ["State", state(found)],
        ["Endpoint", hook ? link(`#endpoints/${hook.webhook_id}`, hook.url, { class: "url", dir: "ltr" }) : `${found.webhook_id} (removed)`],
        ["Event", h("code", {}, found.event_id)],
        ["Delivery", h("code", {}, id)],
        ["Made", time(found.created_at, { exact: true })],
        found.seq === null ? null : ["In its conversation", `number ${found.seq}`],
        found.body === null ? ["Content", "taken away"] : null,
        found.next_attempt_at ? ["Next try", time(found.next_attempt_at, { exact: true })] : null,
      ]),
      h("h3", {}, tries.length === 1 ? "One try" : tries.length ? `${tries.length} tries` : "No try yet"),
      h("ul", { class: "cards" }, tries.map((attempt, n) => card(attempt, { open: n === 0, body: found.body || "" }))),
    ],
  };
}

/** The delivery once it has more than so many tries; as it is when that takes too long. */
export async function settled(id, tries, current = () => true) {
  const end = Date.now() + PATIENCE * 1000;
  let found = await get(`/deliveries/${id}`);
  while (found.attempt_log.length <= tries && found.status === "pending" && Date.now() < end && current()) {
    await sleep(0.5);
    found = await get(`/deliveries/${id}`);
  }
  return found;
}
