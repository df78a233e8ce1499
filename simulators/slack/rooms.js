// What there is, who the person is, and the side bar that shows it. The server is the truth.

import { $, api } from "./api.js";
import { showFaults } from "./faults.js";
import { element } from "./mrkdwn.js";
import { tone } from "./render.js";

export const asked = new URLSearchParams(location.search);
export const state = { teams: [], users: [], channels: [], faults: [] };
export const view = { team: null, me: null, channel: null, thread: null, messages: new Map(), ephemerals: [], unread: new Map(), edit: null, home: false };
export const POSITION = "slack-simulator-me";
export const DM = "dm";

// What the side bar asks of the page: open(channel id).
export const hooks = {};

const team = () => state.teams.find((one) => one.id === view.team);
const named = (list, name) => list.find((one) => one.id === name || one.name === name || one.domain === name);
export const names = {
  user: (id) => state.users.find((user) => user.id === id)?.real_name,
  channel: (id) => state.channels.find((channel) => channel.id === id)?.name,
  get app() { return state.app?.name || "App"; },
};

export async function refresh() {
  Object.assign(state, await api("state"));
  const kept = JSON.parse(localStorage.getItem(POSITION) || "{}");
  if (!team()) view.team = (named(state.teams, asked.get("team")) || named(state.teams, kept.team) || state.teams[0]).id;
  const people = state.users.filter((user) => user.team === view.team && !user.is_bot);
  if (!people.some((user) => user.id === view.me)) {
    view.me = (named(people, asked.get("person")) || named(people, kept.me) || people[0])?.id;
  }
  showPeople(people);
  showChannels();
  showFaults(state.faults);
  showMail();
}

// The conversations of the present user: channels they are in, and the app's messages, opened or not.
function mine() {
  const ours = state.channels.filter((channel) => channel.team === view.team);
  const rooms = ours.filter((channel) => channel.kind !== "im" && (channel.kind === "channel" || channel.members.includes(view.me)));
  const open = ours.find((channel) => channel.kind === "im" && channel.user === view.me);
  const dialogue = team()?.installed ? [{ threads: {}, members: [], ...open, id: open?.id || DM, kind: "im", name: names.app }] : [];
  return [...rooms, ...dialogue];
}

export const current = () => mine().find((channel) => channel.id === view.channel);
export const where = () => (view.channel === DM ? {} : { channel: view.channel });

function showPeople(people) {
  $("team").replaceChildren(...state.teams.map((one) => element("option", { value: one.id, textContent: one.name, selected: one.id === view.team })));
  $("user").replaceChildren(...people.map((user) => element("option", { value: user.id, textContent: user.real_name, selected: user.id === view.me })));
}

function pickChannel(all) {
  const wanted = view.channel === null ? asked.get("channel") || DM : view.channel;
  const dialogue = all.find((one) => one.kind === "im");
  if (wanted === DM || !all.some((one) => one.id === wanted || one.name === wanted)) return (dialogue || all[0])?.id ?? null;
  return named(all, wanted).id;
}

export function showChannels() {
  const all = mine();
  view.channel = pickChannel(all);
  const focused = $("channels").contains(document.activeElement);
  const label = (channel) => (channel.kind === "im" ? channel.name : `${channel.kind === "group" ? "🔒" : "#"} ${channel.name}`);
  $("channels").replaceChildren(...all.map((channel) => {
    const count = view.unread.get(channel.id);
    const button = element("button", { type: "button", ariaCurrent: String(channel.id === view.channel) },
      channel.kind === "im" ? element("span", { className: `avatar small tone-${tone(channel.id)}`, ariaHidden: "true", textContent: channel.name[0] }) : null,
      element("b", { textContent: label(channel) }),
      count ? element("span", { className: "badge", textContent: count, ariaLabel: `${count} new` }) : null);
    button.addEventListener("click", () => hooks.open(channel.id));
    return element("li", {}, button);
  }));
  $("place").replaceChildren(...all.map((channel) => element("option", { value: channel.id, textContent: label(channel), selected: channel.id === view.channel })));
  if (focused) $("channels").querySelector("[aria-current=true]")?.focus();
  showHead();
}

export function showHead() {
  const channel = current();
  const direct = channel?.kind === "im";
  const person = names.user(view.me) || "";
  $("title").textContent = channel ? (direct ? channel.name : `# ${channel.name}`) : "No channel";
  const busy = Object.values(channel?.threads || {}).find((thread) => thread.status);
  const kind = direct ? "app" : `${channel?.members.length} members`;
  $("subtitle").className = busy ? "busy" : "";
  $("subtitle").textContent = busy ? `${names.app} ${busy.status}` : channel ? `${person} · ${kind}` : "";
  $("new-chat").hidden = $("home").hidden = !direct;
}

export function showMail() {
  const mail = `${state.pending_event_count} waiting, ${state.delivered_event_count} delivered, ${state.lost_event_count} lost`;
  $("mail").textContent = `Events: ${mail}. Sockets: ${state.connections}.`;
}
