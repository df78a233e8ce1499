/* Small things for the page: elements, times, announcements, questions. Text from anywhere is put in as text. */

/** An element. `on…` are listeners, other properties attributes; true is an empty one, false and null are left out. */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const link = (href, text, props) => h("a", { href, ...props }, text);

export function button(text, onclick, props) {
  return h("button", { type: "button", onclick, ...props }, text);
}

/** Says something to assistive technology without moving the focus. */
export function announce(text) {
  const region = document.getElementById("announcements");
  region.textContent = "";
  setTimeout(() => {
    region.textContent = text;
  }, 50);
}

const LANGUAGE = document.documentElement.lang; // of the page's own words
const full = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "medium" });
const relative = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

export function ago(instant) {
  const seconds = Math.round((new Date(instant) - Date.now()) / 1000);
  const [unit, size] = UNITS.find(([, size]) => Math.abs(seconds) >= size) || UNITS[3];
  return relative.format(Math.trunc(seconds / size), unit);
}

/** An instant for people: how long ago, and when exactly. */
export function time(instant, { exact = false } = {}) {
  if (!instant) return h("span", { class: "soft" }, "–");
  const when = full.format(new Date(instant));
  return h("time", { datetime: instant, title: when }, exact ? `${when} (${ago(instant)})` : ago(instant));
}

export function duration(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds} ms` : `${(milliseconds / 1000).toFixed(milliseconds < 10000 ? 2 : 1)} s`;
}

/** A word with a colour; the word alone says it all. */
export function badge(text, kind) {
  return h("span", { class: `badge ${kind}` }, text);
}

/** Pairs of a term and what it is. */
export function facts(pairs) {
  return h("dl", { class: "facts" }, pairs.filter(Boolean).map(([term, what]) => h("div", {}, h("dt", {}, term), h("dd", {}, what))));
}

export function failure(error, again) {
  const box = h("div", { class: "notice bad", role: "alert" }, h("p", {}, error.message));
  if (again) box.append(button("Try again", again));
  return box;
}

/** Preformatted text that can be scrolled by keyboard, and copied: `exact` where what is shown was only laid out. */
export function code(text, label, exact = text) {
  const pre = h("pre", { tabindex: "0", role: "region", "aria-label": label }, h("code", { dir: "ltr" }, text));
  return h("div", { class: "code" }, pre, copy(exact, `Copy ${label.toLowerCase()}`));
}

export function copy(text, label = "Copy") {
  const made = button("Copy", async () => {
    const done = await written(text);
    made.textContent = done ? "Copied" : "Press Ctrl+C";
    announce(done ? "Copied" : "Could not copy: select the text and copy it yourself");
    setTimeout(() => {
      made.textContent = "Copy";
    }, 2000);
  }, { class: "small", "aria-label": label });
  return made;
}

/** A page in a frame may write to the clipboard only where its host allows that; the old way works in most others. */
async function written(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h("textarea", { class: "hidden", readonly: true, "aria-hidden": "true", tabindex: "-1" });
    const before = document.activeElement;
    field.value = text;
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (before) before.focus();
    return done;
  }
}

/** Asks before something is done. True when the answer is yes. */
export function confirmed(question, explanation, yes) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "question", "aria-describedby": "explanation" },
      h("h2", { id: "question" }, question),
      h("p", { id: "explanation" }, explanation),
      h("div", { class: "actions" },
        button("Cancel", () => dialog.close(), { autofocus: true }),
        button(yes, () => dialog.close("yes"), { class: "danger" })));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** JSON as people read it; anything else as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Runs something that a button began: the button waits with it, and what goes wrong is shown in `where`. */
export async function busy(pressed, where, work) {
  if (pressed.getAttribute("aria-disabled") === "true") return undefined;
  pressed.setAttribute("aria-disabled", "true"); // not disabled: that would lose the focus
  where.replaceChildren();
  try {
    return await work();
  } catch (error) {
    where.replaceChildren(failure(error));
    return undefined;
  } finally {
    pressed.removeAttribute("aria-disabled");
  }
}

export const sleep = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

/** A time as the input of a form has it: local, to the minute. */
export function local(instant) {
  const at = new Date(instant);
  return new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
