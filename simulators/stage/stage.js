// The same people in every platform: choosing one turns all frames to that person.

const PEOPLE = ["Ada", "Ben", "Chloe"];
const PLATFORMS = [["telegram", "Telegram"], ["slack", "Slack"], ["discord", "Discord"]];
const PERSON = "stage-person";
const HIDDEN = "stage-hidden";

const asked = new URLSearchParams(location.search);
const state = {
  person: PEOPLE.map((name) => name.toLowerCase()).find((name) => name === (asked.get("person") || localStorage.getItem(PERSON))) || "ada",
  hidden: new Set(JSON.parse(localStorage.getItem(HIDDEN) || "[]")),
  site: "",
};

function element(tag, fields, ...children) {
  const made = Object.assign(document.createElement(tag), fields);
  made.append(...children);
  return made;
}

function columns() {
  const found = PLATFORMS.map(([name, title]) => ({ name, title, url: `${name}/?person=${state.person}&compact=1`, whole: `${name}/?person=${state.person}` }));
  if (state.site) {
    const url = `${state.site}?person=${state.person}`;
    found.push({ name: "site", title: "Web site", url, whole: url });
  }
  return found;
}

function showPeople() {
  document.getElementById("people").replaceChildren(...PEOPLE.map((name) => {
    const mine = name.toLowerCase() === state.person;
    const button = element("button", { type: "button", role: "radio", ariaChecked: String(mine), textContent: name });
    button.addEventListener("click", () => { state.person = name.toLowerCase(); localStorage.setItem(PERSON, state.person); show(); });
    return button;
  }));
}

function showViews() {
  document.getElementById("views").replaceChildren(...columns().map(({ name, title }) => {
    const button = element("button", { type: "button", ariaPressed: String(!state.hidden.has(name)), textContent: title });
    button.addEventListener("click", () => {
      if (!state.hidden.delete(name)) state.hidden.add(name);
      localStorage.setItem(HIDDEN, JSON.stringify([...state.hidden]));
      show();
    });
    return button;
  }));
}

function showColumns() {
  const stage = document.getElementById("stage");
  for (const { name, title, url, whole } of columns()) {
    let section = document.getElementById(name);
    if (!section) {
      const link = element("a", { target: "_blank", rel: "noopener", textContent: "open alone" });
      section = element("section", { id: name }, element("h2", {}, title, link), element("iframe", { title }));
      stage.append(section);
    }
    section.hidden = state.hidden.has(name);
    section.querySelector("a").href = whole;
    const frame = section.querySelector("iframe");
    if (!section.hidden && frame.dataset.url !== url) { frame.dataset.url = url; frame.src = url; }
  }
}

function show() {
  showPeople();
  showViews();
  showColumns();
}

state.site = (await (await fetch("stage/site")).json()).url;
show();
