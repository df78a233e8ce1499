/* Calls to the gateway. The session stays in this module's memory: it is written nowhere and is gone with the page. */

const state = { session: "", rights: [], over: () => {} };

/** What the gateway refused, in its own words. `fields` holds its complaints by the name of the field. */
export class Refused extends Error {
  constructor(status, body) {
    super(body.message || `The gateway answered ${status}.`);
    this.status = status;
    this.code = body.code || "";
    this.fields = Object.fromEntries((body.details || []).map((detail) => [detail.field.split(".")[0], detail.message]));
  }
}

export const may = (right) => state.rights.includes(right);

/** `over` is called when the session has ended. */
export function onOver(over) {
  state.over = over;
}

/** Exchanges a link's token for a session. */
export async function open(token) {
  const told = await send("/portal/sessions", { method: "POST", body: { token } });
  state.session = told.session;
  state.rights = told.capabilities;
  return told;
}

export function close() {
  state.session = "";
}

export const get = (path, query) => ask("GET", path + (query ? `?${new URLSearchParams(query)}` : ""));
export const post = (path, body = {}) => ask("POST", path, body);
export const patch = (path, body) => ask("PATCH", path, body);
export const remove = (path) => ask("DELETE", path);

/** Every item of a list, over all its pages. */
export async function all(path, query = {}) {
  const items = [];
  for (let cursor = ""; cursor !== null; ) {
    const page = await get(path, { ...query, limit: 200, ...(cursor ? { cursor } : {}) });
    items.push(...page.items);
    cursor = page.next_cursor;
  }
  return items;
}

async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${state.session}` };
  // One key over all tries of a call: an answer that got lost is given again, and nothing is done twice.
  if (method !== "GET") headers["Idempotency-Key"] = unique();
  try {
    return await send(`/api/v1${path}`, { method, body, headers });
  } catch (error) {
    if (error.status === 401) state.over(error);
    throw error;
  }
}

async function send(path, { method, body, headers = {} }) {
  const asked = {
    method,
    headers: body === undefined ? headers : { ...headers, "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store",
    credentials: "omit",
  };
  for (let left = 3; ; left -= 1) {
    const response = await fetch(path, asked).catch(() => null);
    if (response && response.ok) return response.status === 204 ? null : response.json();
    const wait = response ? Number(response.headers.get("Retry-After") || 0) : 1;
    const again = !response || [429, 503].includes(response.status);
    if (!again || left === 0 || wait > 10) {
      throw new Refused(response ? response.status : 0, await told(response));
    }
    await new Promise((resolve) => setTimeout(resolve, Math.max(wait, 0.5) * 1000));
  }
}

async function told(response) {
  if (!response) return { message: "The gateway cannot be reached." };
  return response.json().catch(() => ({}));
}

function unique() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
