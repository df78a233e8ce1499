/* One try and what came of it: what was sent, what came back, what is next. */

import { badge, code, duration, facts, h, pretty, time } from "./dom.js";

const MEANINGS = {
  http_status: "The receiver answered with a status that is no success.",
  redirect: "The receiver answered with a redirect. Redirects are not followed: enter the final address.",
  blocked_address: "The address may not be called.",
  invalid_url: "The address cannot be called.",
  dns_error: "The host's name cannot be resolved.",
  connection_refused: "Nothing listens at that address and port.",
  connection_reset: "The receiver broke the connection off.",
  connect_timeout: "The receiver could not be reached in time.",
  timeout: "The receiver did not answer in time.",
  tls_error: "The receiver's certificate is not accepted, or TLS failed.",
  unreachable: "The receiver's network cannot be reached.",
  protocol_error: "The answer is no proper HTTP.",
  auth_error: "No token could be got, or the client certificate cannot be used.",
  resolver_error: "Our name servers were away. It is tried again.",
  proxy_error: "Our way out was blocked. It is tried again.",
  secret_unreadable: "A secret of this endpoint cannot be read here.",
  interrupted: "We were interrupted while sending. It is tried again.",
  unknown_outcome: "We were interrupted, and nobody knows whether it arrived.",
  unexpected_error: "Something unexpected went wrong on our side.",
};

/** A try in a word: the status, or why there is none. */
export function verdict(attempt) {
  const good = !attempt.error_code;
  return badge(attempt.status_code ? String(attempt.status_code) : attempt.error_code, good ? "good" : "bad");
}

export function meaning(attempt) {
  if (!attempt.error_code) return "Taken.";
  const said = MEANINGS[attempt.error_code] || attempt.error_code;
  return attempt.detail ? `${said} (${attempt.detail})` : said;
}

/** `open` shows all of it from the start. `body` is what was sent. */
export function card(attempt, { open = false, body = "" } = {}) {
  return h("li", { class: "card" }, h("details", { open },
    h("summary", {}, `Try ${attempt.attempt} `, verdict(attempt), " ", h("span", { class: "soft" }, time(attempt.started_at), ` · ${duration(attempt.duration_ms)}`)),
    h("p", {}, meaning(attempt)),
    facts([
      ["Started", time(attempt.started_at, { exact: true })],
      attempt.url ? ["Address", h("code", { dir: "ltr" }, attempt.url)] : null,
      attempt.expunged_at ? ["Answer", "taken away"] : null,
      ["Next try", attempt.next_attempt_at ? time(attempt.next_attempt_at, { exact: true }) : "none"],
    ]),
    part("Request headers", headers(attempt.request_headers)),
    part("Request body", body, { laid: true }),
    part("Response headers", headers(attempt.response_headers)),
    part(attempt.truncated ? "Beginning of the response" : "Response", attempt.response || "", { laid: true })));
}

function headers(found) {
  return Object.entries(found || {}).map(([name, value]) => `${name}: ${value}`).join("\n");
}

function part(name, text, { laid = false } = {}) {
  return text ? h("div", { class: "part" }, h("h4", {}, name), code(laid ? pretty(text) : text, name, text)) : null;
}
