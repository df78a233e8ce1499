/* Sending again what failed since a time: counted first, then done, with its progress. */

import { get, post, remove } from "./api.js";
import { announce, busy, button, h, sleep } from "./dom.js";

const DAYS = 14;

export function section(hook, current) {
  const outcome = h("div", { id: "recovery" });
  const now = Date.now();
  const since = h("input", { type: "datetime-local", id: "since", required: true, value: local(now - 3600000), min: local(now - DAYS * 86400000), max: local(now), "aria-describedby": "since-hint" });
  const count = h("button", { type: "submit" }, "Count");
  const path = `/webhooks/${hook.webhook_id}/recover`;
  return h("section", { class: "panel", "aria-labelledby": "recover-heading" },
    h("h3", { id: "recover-heading" }, "Recover"),
    h("p", { id: "since-hint", class: "hint" }, `After an outage of your receiver: sends again what failed of events since this time, at most ${DAYS} days back.`),
    h("form", { class: "inline", onsubmit: (event) => {
      event.preventDefault();
      busy(count, outcome, async () => {
        const wanted = { since: new Date(since.value).toISOString() };
        const plan = await post(path, { ...wanted, dry_run: true });
        outcome.replaceChildren(counted(plan, (pressed) => busy(pressed, outcome, async () => {
          const { operation } = await post(path, wanted);
          await followed(operation, outcome, current);
        })));
        announce(sentence(plan));
      });
    } }, h("label", { for: "since" }, "Since"), since, count),
    outcome);
}

function sentence({ total, expunged }) {
  const many = total === null ? "So many that they are not counted" : total === 1 ? "One delivery" : total ? `${total} deliveries` : "Nothing";
  return `${many} to send again${expunged ? `; ${expunged} whose payload was removed are left out` : ""}.`;
}

function counted(plan, start) {
  const go = plan.total === 0 ? null : button("Send them again", (event) => start(event.target), { class: "primary" });
  return h("div", { class: "inline" }, h("p", {}, sentence(plan)), go);
}

/** Shows how far it has come until it has settled. */
async function followed(operation, outcome, current) {
  const bar = h("progress", { "aria-label": "Sending again", max: operation.total || 1 });
  const words = h("span", {});
  const cancel = button("Cancel", () => remove(`/webhook-operations/${operation.operation_id}`).catch(() => {}));
  outcome.replaceChildren(h("div", { class: "inline" }, bar, words, cancel));
  announce("It is under way");
  let found = operation;
  while (["queued", "running"].includes(found.status) && current()) {
    bar.value = found.done;
    words.textContent = found.total === null ? `${found.done} so far` : `${found.done} of ${found.total}`;
    await sleep(1);
    found = await get(`/webhook-operations/${operation.operation_id}`);
  }
  if (!current()) return;
  const said = { done: `Done: ${found.done} are sent again.`, cancelled: `Cancelled after ${found.done}.` }[found.status] || `It failed after ${found.done}: ${found.failure}`;
  outcome.replaceChildren(h("p", {}, said));
  announce(said);
}

/** A time as the input of a form has it: local, to the minute. */
function local(epoch) {
  const at = new Date(epoch);
  return new Date(epoch - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
