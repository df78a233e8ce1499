/* Sending what failed since a time, or what was never sent: counted first, then done, with its progress. */

import { get, post, remove } from "./api.js";
import { announce, busy, button, h, local, sleep } from "./dom.js";

const DAYS = 14;
const KINDS = [["recover", "what failed"], ["replay-missing", "what it never got"]];

export function section(hook, current) {
  const outcome = h("div", { id: "recovery" });
  const now = Date.now();
  const since = h("input", { type: "datetime-local", id: "since", required: true, value: local(now - 3600000), min: local(now - DAYS * 86400000), max: local(now), "aria-describedby": "since-hint" });
  const count = h("button", { type: "submit" }, "Count");
  const kind = h("select", { id: "kind", "aria-describedby": "since-hint" }, KINDS.map(([value, text]) => h("option", { value }, text)));
  return h("section", { class: "panel", "aria-labelledby": "recover-heading" },
    h("h3", { id: "recover-heading" }, "Recover"),
    h("p", { id: "since-hint", class: "hint" }, `After an outage of your receiver: what failed of events since a time, at most ${DAYS} days back. Or events that it was not owed, because it was disabled or not there yet.`),
    h("form", { class: "inline", onsubmit: (event) => {
      event.preventDefault();
      busy(count, outcome, async () => {
        const path = `/webhooks/${hook.webhook_id}/${kind.value}`;
        const wanted = { since: new Date(since.value).toISOString() };
        const plan = await post(path, { ...wanted, dry_run: true });
        outcome.replaceChildren(counted(plan, (pressed) => busy(pressed, outcome, async () => {
          const { operation } = await post(path, wanted);
          await followed(operation, outcome, current);
        })));
        announce(sentence(plan));
      });
    } }, h("label", { for: "kind" }, "Send"), kind, h("label", { for: "since" }, "since"), since, count),
    outcome);
}

function sentence({ total, expunged }) {
  const many = total === null ? "So many that they are not counted" : total === 1 ? "One delivery" : total ? `${total} deliveries` : "Nothing";
  return `${many} to send${expunged ? `; ${expunged} whose payload was removed are left out` : ""}.`;
}

function counted(plan, start) {
  const go = plan.total === 0 ? null : button("Send", (event) => start(event.target), { class: "primary" });
  return h("div", { class: "inline" }, h("p", {}, sentence(plan)), go);
}

/** Shows how far it has come until it has settled. */
async function followed(operation, outcome, current) {
  const bar = h("progress", { "aria-label": "Sending", max: operation.total || 1 });
  const words = h("span", {});
  const cancel = button("Cancel", () => remove(`/webhook-operations/${operation.operation_id}`).catch(() => {}));
  outcome.replaceChildren(h("div", { class: "inline" }, bar, words, cancel));
  announce("It is under way");
  let found = operation;
  while (["queued", "running"].includes(found.status) && current()) {
    bar.value = found.done;
    const far = found.total === null ? `${found.done} so far` : `${found.done} of ${found.total}`;
    words.textContent = found.paused.length ? `${far}; it goes on when the receiver takes deliveries again` : far;
    await sleep(1);
    found = await get(`/webhook-operations/${operation.operation_id}`);
  }
  if (!current()) return;
  const said = { done: `Done: ${found.done} are on their way.`, cancelled: `Cancelled after ${found.done}.` }[found.status] || `It failed after ${found.done}: ${found.failure}`;
  outcome.replaceChildren(h("p", {}, said));
  announce(said);
}
