// Talking to the simulator, and saying what went wrong.

export const $ = (id) => document.getElementById(id);

export async function api(path, body) {
  const options = body === undefined ? {} : body instanceof FormData
    ? { method: "POST", body }
    : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return answered(await fetch(`sim/${path}`, options));
}

export async function answered(response) {
  const value = await response.json();
  if (!response.ok) throw new Error(value.error || response.statusText);
  return value;
}

export function guarded(action) {
  return async (...given) => {
    try {
      await action(...given);
      problem("");
    } catch (error) {
      problem(error.message);
    }
  };
}

export function problem(text) {
  $("problem").textContent = text;
  $("problem").hidden = !text;
}
