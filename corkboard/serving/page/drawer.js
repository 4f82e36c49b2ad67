// The panel on the right: why an item is here, or what is known of the person.

import { ApiError, explain, userState } from "./api.js";
import { humane, labelOf, make, priceOf, shortId, titleOf } from "./cards.js";
import { ACTION_ICON, icon } from "./icons.js";
import { picture } from "./pictures.js";

const AGAINST = new Set(["hide", "report"]);
const VERB = { save: "Saved", click: "Opened", long_click: "Looked at for long", close_up: "Looked closely at", hide: "Hid", report: "Reported", add_to_cart: "Put in the cart", checkout: "Bought", follow: "Followed", block: "Blocked" };
const COUNT = { // one, several
  save: ["save", "saves"], click: ["opened", "opened"], long_click: ["long look", "long looks"], close_up: ["close look", "close looks"], hide: ["hidden", "hidden"],
  report: ["report", "reports"], add_to_cart: ["in the cart", "in the cart"], checkout: ["bought", "bought"], follow: ["follow", "follows"], block: ["block", "blocks"],
};

const DAY_MS = 86_400_000;

/** "3 minutes ago"; the date beyond a month. */
export function ago(ms) {
  const seconds = Math.max(0, (Date.now() - ms) / 1000), format = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  if (Date.now() - ms > 30 * DAY_MS) return new Date(ms).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) if (seconds >= size) return format.format(-Math.floor(seconds / size), unit);
  return "just now";
}

const thumb = (item) => make("span", { className: "thumb", "aria-hidden": "true" }, picture(item, 1, "64px"));
const percent = (p) => (p >= 0.0995 ? `${(100 * p).toFixed(0)} %` : p >= 0.00095 ? `${(100 * p).toFixed(1)} %` : "< 0.1 %");
const number = (x) => (x === null ? "–" : Number.isInteger(x) ? String(x) : Math.abs(x) >= 100 ? x.toFixed(0) : x.toPrecision(3));

export class Drawer {
  constructor({ element, knownButton, person }) {
    Object.assign(this, { element, knownButton, person });
    this.title = element.querySelector("h2");
    this.body = element.querySelector(".drawer-body");
    const close = element.querySelector("#drawer-close");
    close.append(icon("close"));
    close.onclick = () => this.close();
    knownButton.onclick = () => (this.showing === "known" ? this.close() : this.openKnown());
    element.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); this.close(); } });
  }

  open(showing, title) {
    this.showing = showing;
    this.cameFrom = document.activeElement;
    this.title.textContent = title;
    this.element.hidden = false;
    document.body.classList.add("with-drawer");
    this.knownButton.setAttribute("aria-expanded", showing === "known");
    this.body.scrollTop = 0;
    this.element.querySelector("#drawer-close").focus({ preventScroll: true });
  }

  close() {
    this.showing = null;
    this.element.hidden = true;
    document.body.classList.remove("with-drawer");
    this.knownButton.setAttribute("aria-expanded", false);
    if (this.cameFrom?.isConnected) this.cameFrom.focus({ preventScroll: true });
  }

  say(text) { this.body.replaceChildren(make("p", { className: "quiet", textContent: text })); }

  async openWhy(card) {
    this.open("why", "Why this is here");
    this.say("Looking it up…");
    const wanted = (this.wanted = Symbol("why"));
    try {
      const told = await explain(card.place.request, card.id);
      if (wanted === this.wanted && this.showing === "why") this.body.replaceChildren(...why(card.item, told, card.slot.reason));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (wanted === this.wanted) this.say(error.status === 404 ? "This page is no longer in the log, so the reasons are gone with it." : error.kindly);
    }
  }

  openKnown() {
    this.open("known", "What is known of you");
    this.say("Looking it up…");
    return this.refreshKnown();
  }

  /** Show again what is known, if that is open. */
  async refreshKnown() {
    if (this.showing !== "known") return;
    const person = this.person(), wanted = (this.wanted = Symbol("known"));
    try {
      const state = await userState(person.key);
      if (wanted !== this.wanted || this.showing !== "known") return;
      const before = new Set(this.lastActions?.key === person.key ? this.lastActions.ids : state.actions.map((action) => action.event_id));
      this.lastActions = { key: person.key, ids: state.actions.map((action) => action.event_id) };
      this.body.replaceChildren(...known(person, state, before, () => this.forget()));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (wanted === this.wanted) this.say(error.kindly);
    }
  }
}

const STAGES = [["candidates", "Among the candidates"], ["light", "By the light ranker"], ["ranker", "By the full ranker"], ["page", "On the page, after diversity"]];
const SOURCE = { pinnerformer: "Near to your taste over time", nearest: "Like what you did lately", item_knn: "Liked by the same people", same_board: "On the same boards", pixie: "Often put together", pinnersage: "Near to one of your tastes", related_vectors: "Found beside things like it", related_content: "Like it by its content", visual: "Looks like the picture", itemsage: "To buy, near to what it was looked for by", lexical: "Has what was searched for", searchsage: "Means what was searched for", same_creator: "By the same creators", followed: "Creators you follow", fresh: "New items", popular_1d: "Popular today", popular_7d: "Popular this week", popular: "Popular", any: "Something else" };

function why(item, told, reason) {
  const parts = [make("div", { className: "subject" }, thumb(item),
    make("div", {}, make("b", { textContent: titleOf(item) }), make("span", { className: "quiet", textContent: [priceOf(item), item.category && humane(item.category)].filter(Boolean).join(" · ") })))];
  parts.push(make("p", { className: "reason", textContent: reason || told.why }));
  if (told.sources.length) parts.push(make("h3", { textContent: "Who proposed it" }), make("div", { className: "chips" }, ...told.sources.map((source) => make("span", { className: "chip", textContent: SOURCE[source] || humane(source), title: source }))));
  const heads = Object.entries(told.heads || {}), stages = STAGES.filter(([stage]) => told.stages[stage] && (stage !== "ranker" || heads.length));
  if (stages.length) parts.push(make("h3", { textContent: "How it came to its place" }), make("ol", { className: "steps" }, ...stages.map(([stage, words]) => step(words, told.stages[stage]))));
  if (heads.length) parts.push(make("h3", { textContent: "What you might do, by the ranker" }), bars(heads));
  if (told.inputs) parts.push(...inputs(told.inputs, told.time_ms));
  if (told.rules?.length) parts.push(make("h3", { textContent: "What else counted" }), ...told.rules.map((rule) => make("p", { className: "quiet", textContent: `${humane(rule.rule)}: ${rule.effect}` })));
  if (told.features?.length) parts.push(make("details", {}, make("summary", { textContent: "The numbers that count most" }), table(told.features)));
  parts.push(make("p", { className: "quiet fine", textContent: `Release “${labelOf(told.release_label) || told.release}” · page made ${ago(told.time_ms)}` }));
  return parts;
}

/** What the ranker read of the person, and what leaving each of it out would do to the item's worth. */
function inputs({ actions, recent_actions: recent, user_vector: vector, effects }, madeMs) {
  const hours = (h) => (h < 1 ? "less than an hour" : h < 48 ? `${h.toFixed(0)} h` : `${(h / 24).toFixed(0)} days`);
  const lines = [
    ["recent actions", actions ? `${actions} recent ${actions === 1 ? "action" : "actions"}, the newest ${hours((madeMs - recent[0].time_ms) / 3_600_000)} old: ${recent.map(({ action }) => (VERB[action] || humane(action)).toLowerCase()).join(", ")}` : "No recent actions"],
    ["user vector", vector ? `Your taste over time, as of ${hours(vector.hours)} before` : "No taste over time is known yet"],
  ];
  const others = Object.keys(effects || {}).filter((name) => !lines.some(([known]) => known === name)).map((name) => [name, humane(name)]);
  const line = ([name, words]) => make("tr", {}, make("td", { textContent: words }), effectCell(effects?.[name] || null));
  return [make("h3", { textContent: "What it read of you" }), make("table", { className: "numbers inputs" }, make("tbody", {}, ...[...lines, ...others].map(line)))];
}

function effectCell(effect) {
  return effect === null ? null : make("td", { className: effect < 0 ? "against" : "for", textContent: `${effect < 0 ? "−" : "+"}${number(Math.abs(effect))}` });
}

function step(words, { rank, of }) {
  return make("li", {}, make("span", { textContent: words }), make("b", { textContent: of ? `${rank} of ${of}` : `${rank}` }));
}

function bars(heads) {
  const box = make("div", { className: "bars" }), top = Math.max(...heads.map(([, p]) => p), 1e-9);
  for (const [head, p] of heads) {
    const fill = make("span", { className: AGAINST.has(head) ? "fill against" : "fill" });
    fill.style.width = `${(100 * p) / top}%`;
    box.append(make("span", { textContent: humane(head) }), make("span", { className: "track", "aria-hidden": "true" }, fill), make("span", { className: "number", textContent: percent(p) }));
  }
  return box;
}

function table(features) {
  const line = ({ feature, value, effect }) => make("tr", {}, make("td", { textContent: humane(feature) }), make("td", { textContent: number(value) }), effectCell(effect));
  return make("table", { className: "numbers" }, make("tbody", {}, ...features.map(line)));
}

function known(person, state, before, forget) {
  const parts = [];
  const counts = Object.entries(state.counts).filter(([action, n]) => n && COUNT[action]);
  parts.push(make("p", { className: "quiet", textContent: state.actions.length || counts.length
    ? `${shortId(person.userId || "") || "A visitor without a name"}${state.first_ms ? ` · first seen ${ago(state.first_ms)}` : ""}`
    : "Nothing yet. Save, open, hide or follow something: it is listed here at once, and the feed changes with it." }));
  if (counts.length) parts.push(make("div", { className: "chips" }, ...counts.map(([action, n]) => make("span", { className: "chip", textContent: `${n} ${COUNT[action][n === 1 ? 0 : 1]}` }))));
  if (state.actions.length) parts.push(make("h3", { textContent: "Last actions" }), make("ul", { className: "log" }, ...state.actions.map((action) => logLine(action, !before.has(action.event_id)))));
  if (state.follows.length) parts.push(make("h3", { textContent: "Follows" }), make("div", { className: "chips" }, ...state.follows.map((creator) => make("span", { className: "chip", textContent: shortId(creator), title: creator }))));
  if (state.blocks.length) parts.push(make("h3", { textContent: "Blocks" }), make("div", { className: "chips" }, ...state.blocks.map((creator) => make("span", { className: "chip", textContent: shortId(creator), title: creator }))));
  if (state.known) parts.push(make("button", { className: "pill forget", type: "button", textContent: "Forget everything about me", onclick: forget }));
  return parts;
}

function logLine(action, fresh) {
  const subject = action.item_id ? action : { item_id: action.creator_id, title: shortId(action.creator_id), category: "creator" };
  return make("li", { className: fresh ? "fresh" : "", "data-action": action.action, "data-item": action.item_id },
    thumb(subject),
    make("div", { className: "what" },
      make("span", { className: `verb ${action.action}` }, icon(ACTION_ICON[action.action] || "click"), VERB[action.action] || humane(action.action)),
      make("span", { textContent: titleOf(subject) })),
    make("time", { dateTime: new Date(action.time_ms).toISOString(), textContent: ago(action.time_ms) }));
}
