/* What else may be said of an endpoint: kept folded, because the usual is right for most. */

import { h } from "./dom.js";

const SIGNINGS = [["v1", "v1: a shared secret (HMAC-SHA256)"], ["v1a", "v1a: a public key (Ed25519)"], ["v1+v1a", "Both"]];
const PAYLOADS = [["full", "Everything"], ["thin", "Ids only: your receiver asks for the rest"], ["redacted", "Without texts that people wrote"]];
const ORDERS = [["none", "As they come: the fastest"], ["conversation", "Each conversation's one after the other"]];

/** `field` makes a labelled input. */
export function section(hook, field) {
  const now = hook || { signing: "v1", payload_mode: "full", ordering: "none", timeout_seconds: 15, rate_limit: null, headers: {} };
  const limit = now.rate_limit;
  const timeout = number(field("timeout_seconds", "Seconds to answer", "From 1 to 30", { type: "number", min: 1, max: 30, value: now.timeout_seconds }));
  const rate = field("rate_limit", "At most so many tries a second", "Optional. What is more waits.", { type: "number", min: 1, value: limit && limit.count / limit.seconds, step: "any" });
  const headers = field("headers", "Headers of your own", "Optional, one a line: Name: value. What is hidden stays as it is.", { tag: "textarea", rows: 3, dir: "ltr", value: lines(now.headers) });
  const fields = {
    signing: field("signing", "Signature", "How your receiver checks that a message comes from here", { choices: SIGNINGS, value: now.signing }),
    payload_mode: field("payload_mode", "Content", "What of an event is sent", { choices: PAYLOADS, value: now.payload_mode }),
    ordering: field("ordering", "Order", "In order is slower, and one that keeps failing holds up those behind it", { choices: ORDERS, value: now.ordering }),
    timeout_seconds: timeout,
    rate_limit: { ...rate, value: () => perSecond(rate.value(), limit) },
    headers: { ...headers, value: () => changed(now.headers, headers.value()) },
  };
  return { fields, whole: h("details", { class: "more" }, h("summary", {}, "More options"), Object.values(fields).map((each) => each.whole)) };
}

const number = (made) => ({ ...made, value: () => (made.value() ? Number(made.value()) : null) });

/** A limit stays as it is, in whatever seconds it was said, unless another number is entered. */
function perSecond(text, limit) {
  if (!text) return null;
  if (limit && Number(text) === limit.count / limit.seconds) return limit;
  const wanted = Number(text);
  return wanted >= 1 ? { count: Math.round(wanted), seconds: 1 } : { count: 1, seconds: Math.round(1 / wanted) };
}

const lines = (headers) => Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join("\n");

/** Only what differs: values that are hidden are not sent back, and what is gone is removed by null. */
function changed(before, text) {
  const wanted = Object.fromEntries(text.split("\n").filter((line) => line.trim()).map((line) => {
    const [name, ...value] = line.split(":");
    return [name.trim(), value.join(":").trim()];
  }));
  const gone = Object.keys(before).filter((name) => !(name in wanted)).map((name) => [name, null]);
  return Object.fromEntries([...gone, ...Object.entries(wanted).filter(([name, value]) => before[name] !== value)]);
}
