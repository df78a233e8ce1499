// The panel that makes things go wrong.

import { $, answered, api, guarded } from "./api.js";
import { element } from "./render.js";

export function showFaults(faults) {
  const armed = faults.filter((fault) => fault.left !== 0);
  $("fault-count").textContent = armed.length;
  $("fault-count").hidden = !armed.length;
  $("fault-list").replaceChildren(...faults.map((fault) => {
    const remove = element("button", { type: "button", textContent: "×", ariaLabel: `Disarm ${fault.kind} on ${fault.method}` });
    remove.addEventListener("click", guarded(async () => {
      await answered(await fetch(`sim/faults/${fault.id}`, { method: "DELETE" }));
      await readFaults();
    }));
    const left = fault.left === null ? "always" : `${fault.left} left`;
    return element("li", { className: fault.left === 0 ? "spent" : "" },
      element("span", { textContent: `${fault.kind.replaceAll("_", " ")} · ${fault.method} · ${left} · struck ${fault.hits}` }), remove);
  }));
}

export async function readFaults() {
  showFaults((await api("faults")).faults);
}

const armFault = guarded(async () => {
  const form = new FormData($("fault-form"));
  const kind = form.get("kind");
  const fault = { kind, method: form.get("method") || "*" };
  const numbers = { delay: ["ms"], reorder: ["ms"], deaf: ["ms"], outage: ["ms"], status: ["status", "code", "retry_after"], close: ["code"] }[kind] || [];
  for (const name of ["count", ...numbers]) if (form.get(name)) fault[name] = Number(form.get(name));
  await api("faults", fault);
  await readFaults();
});

function showFaultFields() {
  const kind = $("fault-form").elements.kind.value;
  for (const label of $("fault-form").querySelectorAll("[data-for]")) label.hidden = !label.dataset.for.split(" ").includes(kind);
}

function toggleFaults(shown) {
  $("faults").hidden = !shown;
  $("toggle-faults").setAttribute("aria-expanded", String(shown));
  if (shown) guarded(readFaults)();
}

export function panel() {
  $("toggle-faults").addEventListener("click", () => toggleFaults($("faults").hidden));
  $("close-faults").addEventListener("click", () => { toggleFaults(false); $("toggle-faults").focus(); });
  $("fault-form").addEventListener("change", showFaultFields);
  $("fault-form").addEventListener("submit", (event) => { event.preventDefault(); armFault(); });
  $("clear-faults").addEventListener("click", guarded(async () => {
    await answered(await fetch("sim/faults", { method: "DELETE" }));
    await readFaults();
  }));
  showFaultFields();
}
