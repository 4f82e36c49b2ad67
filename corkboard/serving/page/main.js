// Puts the parts of the page together: what a person does is told to the server first, and then the feed flows anew.

import { ApiError, forget, health, newId, send, setKey, userState } from "./api.js";
import { labelOf, make, titleOf } from "./cards.js";
import { Drawer } from "./drawer.js";
import { Feed } from "./feed.js";
import { icon } from "./icons.js";
import { ItemPage } from "./item.js";
import { fitting, LookPage, TAKEN } from "./look.js";
import { Marks } from "./marks.js";
import { People } from "./people.js";
import { Person } from "./person.js";
import { SearchPage } from "./results.js";
import { SearchBox } from "./search.js";
import { contextOf } from "./seen.js";
import { Shelf } from "./shelf.js";
import { announce, toast } from "./toasts.js";
import { searchPlace, Views } from "./views.js";

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
let brought = null; // the picture that was brought last
let locked = false; // the server wants a key that this tab doesn't have

const marks = new Marks();
const drawer = new Drawer({ element: byId("drawer"), knownButton: byId("known-button"), person: () => person });
const nothing = { title: "Nothing to show yet", text: "There are no items that this person may see. Add some, or look at the feed as somebody else." };
const shelf = new Shelf(byId("shelf"), { title: "Shop for you", asks: { surface: "shop" }, marks, act, noticedRelease, onActed: (card, why) => { shelf.stir(card); return feed.afterAbove(why); } });
const feed = new Feed({ box: byId("feed"), tail: byId("tail"), end: byId("end"), empty: byId("empty"), asks: { surface: "home" }, nothing, marks, act, noticed, shelf });
const home = {
  place: null, title: "Corkboard", feed,
  get idle() { return Boolean(feed.person) && !feed.cards.length && !feed.loading; },
  show() { byId("home").hidden = false; feed.show(); },
  hide() { byId("home").hidden = true; feed.hide(); },
  showMarks() { feed.showMarks(); },
  focus() { if (home.left?.picture.isConnected) home.left.picture.focus({ preventScroll: true }); },
};
const search = new SearchBox({ form: byId("search"), fields: () => person.fields, search: searchFor });
const views = new Views({ home, makePage, came: () => person.keep(), turned: (view) => search.show(view.query || "") });
const people = new People({ button: byId("who-button"), menu: byId("who-menu"), list: byId("who-list"), form: byId("who-form"), person: () => person, choose: become });
drawer.forget = forgetMe;

function makePage(place, card, kept) {
  if (place.startsWith("search:")) {
    return new SearchPage(byId("main"), place, { person, marks, act, noticedRelease, renamed: () => views.renamed(), search: searchFor, bring: () => byId("look-file").click() });
  }
  if (!place.startsWith("item:")) {
    return new LookPage(byId("main"), place, card, place === "look" ? brought : null, { person, marks, act, back: () => views.back(), noticedRelease, choose: () => byId("look-file").click() });
  }
  const id = place.slice(5);
  const looked = (subject, ms) => tell(action("long_click", subject, { item_id: subject.id, duration_ms: ms }));
  return new ItemPage(byId("main"), id, card, { kept, person, marks, act, back: () => views.back(), looked, noticedRelease });
}

/** Search for `text`: a page of its own, that one can come back from. */
function searchFor(text) {
  if (views.now?.query === text) { search.show(text); views.now.focus(); return; }
  views.open(searchPlace(new URLSearchParams({ q: text })), null);
}

/* ---------------------------------------------------------------------------------------------- what a person does */

function action(what, card, more = {}) {
  const { request, position } = card.place;
  return { event: "action", event_id: newId(), time_ms: Date.now(), action: what, ...contextOf(card.place), request_id: request, position, ...person.fields, ...more };
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

const ACTS = { save, hide, follow, open, why: (card) => drawer.openWhy(card), look: (card) => views.open(`like:${card.id}`, card) };

function act(card, what, where) { return ACTS[what](card, where); }

/** Something was done to a card of the feed or shelf `where`, or to the item that it is beside. Home follows when one is back there. */
function acted(card, why, where) {
  if (where !== feed && where !== shelf) [feed, shelf].find((one) => one.cards.includes(home.left))?.after(home.left, why);
  return where.after(card, why);
}

function mark(kind, key, event) {
  if (event) kind.set(key, event); else kind.delete(key);
  views.now.showMarks();
}

async function save(card, where) {
  const was = marks.saves.get(card.id), event = was ? undo(was) : action("save", card, { item_id: card.id });
  mark(marks.saves, card.id, was ? null : event.event_id);
  if (await tell(event)) return acted(card, was ? "change" : "save", where);
  mark(marks.saves, card.id, was);
}

async function open(card, where) {
  const kept = tell(action("click", card, { item_id: card.id }));
  views.open(`item:${card.id}`, card, kept);
  if (await kept) await where.after(card, "look");
}

async function hide(card, where) {
  const event = action("hide", card, { item_id: card.id }), at = where.cards.indexOf(card);
  if (at < 0) return;
  const before = where.cards[at - 1] || null, next = where.cards[at + 1];
  const inside = card.element.contains(document.activeElement);
  where.drop(card);
  views.now.feed.dropHidden(); // it may be there twice, on the shelf and below it
  if (inside && next) next.picture.focus({ preventScroll: true });
  if (!(await tell(event))) return where.putBack(card, at);
  toast(`“${titleOf(card.item)}” is hidden`, { id: "hidden", ms: 8000, action: { label: "Undo", run: () => unhide(card, at, event.event_id, where) } });
  await acted(before || next, "hide", where);
}

async function unhide(card, at, eventId, where) {
  if (!(await tell(undo(eventId)))) return;
  where.putBack(card, Math.min(at, where.cards.length));
  announce(`${titleOf(card.item)} is back.`);
  await acted(card, "change", where);
}

async function follow(card, where) {
  const creator = card.item.creator_id;
  if (!creator) return;
  const was = marks.follows.get(creator), event = was ? undo(was) : action("follow", card, { creator_id: creator });
  mark(marks.follows, creator, was ? null : event.event_id);
  if (await tell(event)) return acted(card, was ? "change" : "follow", where);
  mark(marks.follows, creator, was);
}

async function forgetMe() {
  if (!confirm("Forget every action, page and setting of this person, for good?")) return;
  try {
    await forget(person.key);
    brought = null;
    toast("Everything about you is forgotten");
    await become(person);
    await drawer.refreshKnown();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    toast(error.kindly, { bad: true });
  }
}

/* --------------------------------------------------------------------------------------------- a picture of one's own */

async function bring(file) {
  if (!file) return;
  if (!TAKEN.includes(file.type)) { toast("This is not a picture that can be read here: JPEG, PNG, WebP or GIF", { bad: true, id: "picture" }); return; }
  try {
    brought = await fitting(file);
  } catch (error) {
    console.warn("A picture could not be made smaller:", error.message);
    toast("This picture is too large to be sent", { bad: true, id: "picture" });
    return;
  }
  views.open("look", null);
}

function takePictures() {
  const input = byId("look-file"), zone = byId("drop");
  byId("look-button").append(icon("camera"));
  byId("look-button").onclick = () => input.click();
  input.onchange = () => { bring(input.files[0]); input.value = ""; };
  const holdsFile = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  addEventListener("dragover", (event) => { if (holdsFile(event)) { event.preventDefault(); zone.hidden = false; } });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) zone.hidden = true; });
  addEventListener("drop", (event) => { if (holdsFile(event)) { event.preventDefault(); zone.hidden = true; bring(event.dataTransfer.files[0]); } });
  addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files || [])].find((one) => one.type.startsWith("image/"));
    if (file) { event.preventDefault(); bring(file); }
  });
}

/* ------------------------------------------------------------------------------------------------- who is looking */

async function become(someone) {
  person = someone;
  person.keep();
  people.show();
  search.forget();
  marks.clear();
  views.restart(person);
  await Promise.all([knowFollows(), drawer.refreshKnown()]);
}

/** Follows that are older than this page: shown as such, and taken back by the event that made them. */
async function knowFollows() {
  try {
    const state = await userState(person.key);
    for (const done of [...state.actions].reverse()) if (done.action === "follow") marks.follows.set(done.creator_id, done.event_id);
    for (const creator of [...marks.follows.keys()]) if (!state.follows.includes(creator)) marks.follows.delete(creator);
    views.now.showMarks();
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    console.warn("Follows are not known:", error.message);
  }
}

/* ------------------------------------------------------------------------------------------------ which release is live */

function noticedRelease(page) {
  if (page.release) showRelease({ id: page.release, label: labelOf(page.release_label) });
}

function noticed(page) {
  noticedRelease(page);
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
  search.forget();
  if (!before) { if (views.now?.idle && !locked) views.restart(person); return; }
  byId("live").classList.remove("switched");
  void byId("live").offsetWidth;
  byId("live").classList.add("switched");
  toast(`Now live: ${now.label}`, { id: "release", ms: 9000, action: { label: views.now === home ? "Show my new feed" : "Show it anew", run: () => views.restart(person) } });
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
  const { empty } = views.now.feed;
  empty.replaceChildren(make("h2", { textContent: "This server wants an API key" }), make("p", { textContent: "It is kept in this tab only." }), form);
  empty.hidden = false;
}

const dark = matchMedia("(prefers-color-scheme: dark)");
theme(localStorage.getItem("corkboard.theme") || (dark.matches ? "dark" : "light"));
dark.onchange = () => { if (!localStorage.getItem("corkboard.theme")) theme(dark.matches ? "dark" : "light"); };
byId("theme-button").onclick = () => {
  const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  localStorage.setItem("corkboard.theme", next);
  theme(next);
};
takePictures();
addEventListener("scroll", () => document.querySelector(".bar").classList.toggle("lifted", scrollY > 4), { passive: true });
addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && !event.target.closest("input, textarea, [contenteditable]")) {
    event.preventDefault();
    search.focus();
  }
  if (event.key !== "Escape") return;
  if (drawer.showing) drawer.close(); else if (views.now !== home) views.back();
});
document.querySelector(".brand").addEventListener("click", (event) => {
  if (views.now === home || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  views.goHome();
});

await become(person);
try {
  await userState(person.key);
} catch (error) {
  if (error.status === 401) askForKey();
}
watchRelease();
