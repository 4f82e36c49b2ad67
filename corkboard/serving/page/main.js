// Puts the parts of the page together: what a person does is told to the server first, and then the feed flows anew.

import { ApiError, forget, health, newId, send, setKey, userState } from "./api.js";
import { labelOf, make, titleOf } from "./cards.js";
import { openDetail } from "./detail.js";
import { Drawer } from "./drawer.js";
import { Feed } from "./feed.js";
import { icon } from "./icons.js";
import { People } from "./people.js";
import { Person } from "./person.js";
import { announce, toast } from "./toasts.js";

const POLL_MS = 2000;
const NEW_HERE = "so this is what others like now. It becomes yours with the first thing you do.";

/** What a person wants to know of a page's notes, or null; the other notes are for operators. */
function wordsFor(codes) {
  if (codes.includes("store_unreachable")) return "What you did before can't be read at the moment, so this is what is popular. New actions can't be kept just now.";
  if (codes.includes("unknown_user") && !codes.includes("session_only")) return `Nobody of this name is known yet, ${NEW_HERE}`;
  if (codes.includes("unknown_user") || codes.includes("empty_history")) return `You are new here, ${NEW_HERE}`;
  if (codes.includes("release_load_failed")) return "A newer release could not be loaded; the one before it still serves.";
  if (codes.includes("seen_again")) return "You have seen most of what there is; some of it is back.";
  return null;
}

const byId = (id) => document.getElementById(id);
let person = Person.restore();
let release = null;
let locked = false; // the server wants a key that this tab doesn't have

const drawer = new Drawer({ element: byId("drawer"), knownButton: byId("known-button"), person: () => person });
const feed = new Feed({ box: byId("feed"), tail: byId("tail"), end: byId("end"), empty: byId("empty"), person: undefined, act, noticed });
const people = new People({ button: byId("who-button"), menu: byId("who-menu"), list: byId("who-list"), form: byId("who-form"), person: () => person, choose: become });
drawer.forget = forgetMe;

/* ---------------------------------------------------------------------------------------------- what a person does */

function action(what, card, more = {}) {
  return { event: "action", event_id: newId(), time_ms: Date.now(), action: what, surface: "home", request_id: card.place.request, position: card.place.position, ...person.fields, ...more };
}

const undo = (eventId) => ({ event: "action", event_id: newId(), time_ms: Date.now(), action: "undo", undoes: eventId, ...person.fields });

/** Send events and say kindly when that fails. True when they are kept. */
async function tell(...events) {
  try {
    await send(events);
    drawer.refreshKnown();
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.kindly, { bad: true, id: "trouble" });
    return false;
  }
}

const ACTS = { save, hide, follow, open, why: (card) => drawer.openWhy(card) };

function act(card, what) { return ACTS[what](card); }

async function save(card) {
  const was = card.saved, event = was ? undo(was) : action("save", card, { item_id: card.id });
  card.saved = was ? null : event.event_id;
  card.showSaved();
  if (await tell(event)) return feed.flowBelow(card, was ? "change" : "save");
  card.saved = was;
  card.showSaved();
}

async function open(card) {
  openDetail(byId("detail"), card, { act, followed: (creator) => feed.follows.has(creator), looked: (seen, ms) => tell(action("long_click", seen, { item_id: seen.id, duration_ms: ms })) });
  if (await tell(action("click", card, { item_id: card.id }))) await feed.flowBelow(card, "look");
}

async function hide(card) {
  const event = action("hide", card, { item_id: card.id }), at = feed.cards.indexOf(card);
  if (at < 0) return;
  const before = feed.cards[at - 1] || null, next = feed.cards[at + 1];
  const inside = card.element.contains(document.activeElement);
  feed.drop(card);
  if (inside && next) next.picture.focus({ preventScroll: true });
  if (!(await tell(event))) return feed.putBack(card, at);
  toast(`“${titleOf(card.item)}” is hidden`, { id: "hidden", ms: 8000, action: { label: "Undo", run: () => unhide(card, at, event.event_id) } });
  await flowAfter(before || next, "hide");
}

async function unhide(card, at, eventId) {
  if (!(await tell(undo(eventId)))) return;
  feed.putBack(card, Math.min(at, feed.cards.length));
  announce(`${titleOf(card.item)} is back.`);
  await feed.flowBelow(card, "change");
}

async function follow(card) {
  const creator = card.item.creator_id;
  if (!creator) return;
  const was = feed.follows.get(creator), event = was ? undo(was) : action("follow", card, { creator_id: creator });
  if (was) feed.follows.delete(creator); else feed.follows.set(creator, event.event_id);
  feed.showFollows();
  if (await tell(event)) return flowAfter(card, was ? "change" : "follow");
  if (was) feed.follows.set(creator, was); else feed.follows.delete(creator);
  feed.showFollows();
}

async function flowAfter(card, why) {
  if (card && feed.cards.includes(card)) await feed.flowBelow(card, why);
  else await feed.restart();
}

async function forgetMe() {
  if (!confirm("Forget every action, page and setting of this person, for good?")) return;
  try {
    await forget(person.key);
    toast("Everything about you is forgotten");
    await become(person);
    await drawer.refreshKnown();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.kindly, { bad: true });
  }
}

/* ------------------------------------------------------------------------------------------------- who is looking */

async function become(someone) {
  person = someone;
  person.keep();
  people.show();
  await feed.restart(person);
  await Promise.all([knowFollows(), drawer.refreshKnown()]);
}

/** Follows that are older than this page: shown as such, and taken back by the event that made them. */
async function knowFollows() {
  try {
    const state = await userState(person.key);
    for (const done of [...state.actions].reverse()) if (done.action === "follow") feed.follows.set(done.creator_id, done.event_id);
    for (const creator of [...feed.follows.keys()]) if (!state.follows.includes(creator)) feed.follows.delete(creator);
    feed.showFollows();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    console.warn("Follows are not known:", error.message);
  }
}

/* ------------------------------------------------------------------------------------------------ which release is live */

function noticed(page) {
  if (page.release) showRelease({ id: page.release, label: labelOf(page.release_label) });
  const words = wordsFor(page.notes.map((note) => note.code));
  if (!words && feed.cards.length) return; // taking the hint away would move what one is looking at
  byId("hint").hidden = !words;
  byId("hint").textContent = words || "";
}

function showRelease(now) {
  const before = release;
  release = now;
  byId("live").classList.toggle("off", !now);
  byId("live-label").textContent = now ? now.label : "no release yet";
  byId("live").title = now ? `Live release ${now.id}` : "The first release is still being built";
  if (!now || before?.id === now.id) return;
  if (!before) { if (feed.person && !feed.cards.length && !feed.loading && !locked) feed.restart(); return; }
  byId("live").classList.remove("switched");
  void byId("live").offsetWidth;
  byId("live").classList.add("switched");
  toast(`Now live: ${now.label}`, { id: "release", ms: 9000, action: { label: "Show my new feed", run: () => feed.restart() } });
  announce(`A new release is live: ${now.label}. It was ${before.label}.`);
}

async function watchRelease() {
  try {
    const state = await health();
    showRelease(state.release && { id: state.release.id, label: labelOf(state.release.label) });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    byId("live").classList.add("off");
    byId("live-label").textContent = "server unreachable";
  }
  setTimeout(watchRelease, document.hidden ? POLL_MS * 5 : POLL_MS);
}

/* -------------------------------------------------------------------------------------------------------- the frame */

function theme(name) {
  document.documentElement.dataset.theme = name;
  byId("theme-button").replaceChildren(icon(name === "dark" ? "sun" : "moon"));
}

function askForKey() {
  const input = make("input", { type: "password", "aria-label": "API key", autocomplete: "off" });
  const form = make("form", { className: "row" }, input, make("button", { className: "pill strong", textContent: "Enter" }));
  form.onsubmit = (event) => { event.preventDefault(); setKey(input.value.trim()); location.reload(); };
  locked = true;
  byId("empty").replaceChildren(make("h2", { textContent: "This server wants an API key" }), make("p", { textContent: "It is kept in this tab only." }), form);
  byId("empty").hidden = false;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
theme(localStorage.getItem("corkboard.theme") || (dark.matches ? "dark" : "light"));
dark.onchange = () => { if (!localStorage.getItem("corkboard.theme")) theme(dark.matches ? "dark" : "light"); };
byId("theme-button").onclick = () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("corkboard.theme", next);
  theme(next);
};
addEventListener("scroll", () => document.querySelector(".bar").classList.toggle("lifted", scrollY > 4), { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape" && drawer.showing && !byId("detail").open) drawer.close(); });

await become(person);
try {
  await userState(person.key);
} catch (error) {
  if (error.status === 401) askForKey();
}
watchRelease();
