/* Secrets: shown once when they are made, and afterwards only when they were made and until when they sign. */

import { get, may, post, remove } from "./api.js";
import { announce, busy, button, confirmed, copy, h, time } from "./dom.js";

const fresh = new Map(); // endpoint's id to what was made for it and has not been looked at yet

/** `made` is an answer that may hold a new `secret`, a new `public_key`, or both. */
export function keepSecret(id, made) {
  if (made.secret || made.public_key) fresh.set(id, made);
}

/** The secret that was just made, until somebody says that it is stored. */
export function shownOnce(id) {
  const made = fresh.get(id);
  if (!made) return null;
  const shown = (name, text) => text && h("p", { class: "secret" }, h("code", { dir: "ltr", "aria-label": name }, text), copy(text, `Copy the ${name.toLowerCase()}`));
  const box = h("section", { class: "notice warn", "aria-labelledby": "secret-heading", id: "secret", tabindex: "-1" },
    h("h3", { id: "secret-heading" }, made.secret ? "The endpoint's secret" : "The endpoint's public key"),
    h("p", {}, made.secret ? "It is shown this once. Your receiver checks with it that a message comes from here." : "Your receiver checks with it that a message comes from here. It is no secret."),
    shown("Secret", made.secret),
    shown("Public key", made.public_key),
    button("I have stored it", () => {
      fresh.delete(id);
      box.remove();
      document.getElementById("heading").focus();
      announce("It is not shown any more");
    }));
  return box;
}

const OVERLAPS = [[0, "at once: the old one stops signing now"], [3600, "in an hour"], [86400, "in a day"], [604800, "in a week"]];

export async function section(hook, refresh) {
  const problems = h("div", {});
  const path = `/webhooks/${hook.webhook_id}`;
  const { items } = await get(`${path}/secrets`);
  const rows = items.map((secret) => h("tr", {},
    h("td", {}, h("code", {}, secret.secret_id)),
    h("td", {}, secret.kind, secret.public_key ? [" ", copy(secret.public_key, "Copy the public key")] : null),
    h("td", {}, time(secret.created_at)),
    h("td", {}, secret.expires_at ? time(secret.expires_at) : "until it is replaced"),
    may("manage") ? h("td", {}, secret.expires_at ? button("Revoke", (event) => busy(event.target, problems, async () => {
      if (!(await confirmed("Revoke this secret?", "From now on nothing is signed with it.", "Revoke"))) return;
      await remove(`${path}/secrets/${secret.secret_id}`);
      announce("Revoked");
      await refresh("secrets-heading");
    }), { class: "small danger", "aria-label": `Revoke ${secret.secret_id}` }) : null) : null));
  return h("section", { class: "panel", "aria-labelledby": "secrets-heading" },
    h("h3", { id: "secrets-heading", tabindex: "-1" }, "Secrets"),
    h("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Secrets that sign" }, h("table", {},
      h("thead", {}, h("tr", {}, ["Secret", "Kind", "Made", "Signs until"].map((name) => h("th", { scope: "col" }, name)), may("manage") ? h("td", {}) : null)),
      h("tbody", {}, rows))),
    may("manage") ? rotation(hook, path, problems, refresh) : null,
    problems);
}

function rotation(hook, path, problems, refresh) {
  const overlap = h("select", { id: "overlap" }, OVERLAPS.map(([seconds, text]) => h("option", { value: seconds, selected: seconds === 86400 }, text)));
  const rotate = h("button", { type: "submit" }, "Make a new secret");
  return h("form", { class: "inline", onsubmit: (event) => {
    event.preventDefault();
    busy(rotate, problems, async () => {
      const made = await post(`${path}/rotate-secret`, { overlap_seconds: Number(overlap.value) });
      keepSecret(hook.webhook_id, made);
      announce("A new secret was made");
      await refresh("secret");
    });
  } }, h("label", { for: "overlap" }, "The old one ends"), overlap, rotate);
}
