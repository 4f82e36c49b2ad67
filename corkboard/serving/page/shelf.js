// A shelf of what can be bought: one row that is scrolled sideways, at home or beside an item. It is asked for when the feed below it is
// there, holds its place from the beginning so that nothing moves when it comes, and is not there at all where there is nothing on it.

import { ApiError, recommend } from "./api.js";
import { Card, make } from "./cards.js";
import { icon } from "./icons.js";
import { Seen } from "./seen.js";

const SIZE = 12, PAUSE_MS = 4000, GHOSTS = 12;
const BARE = "corkboard.shop.bare"; // remembered where there was nothing to buy: then no place is held

export class Shelf {
  /**
   * Fills the section `box`. `asks` is the surface and, beside an item, the item; `act(card, what, shelf)` hears of wishes,
   * `onActed(card, why)` when one was told, `noticedRelease(answer)` of every answer.
   */
  constructor(box, { title, asks, marks, act, noticedRelease, onActed }) {
    Object.assign(this, { box, asks, marks, noticedRelease, onActed });
    this.act = (card, what) => act(card, what, this);
    this.cards = [];
    this.turn = 0;
    this.flowed = -Infinity;
    this.shown = false;
    this.seen = new Seen(() => this.person);
    this.build(title);
    this.reserve();
  }

  build(title) {
    const turner = (label, name, way) => make("button", { className: "icon-button", type: "button", "aria-label": label, title: label, onclick: () => this.scroll(way) }, icon(name));
    this.earlier = turner("Earlier products", "earlier", -1);
    this.further = turner("More products", "further", 1);
    this.row = make("div", { className: "shelf-row", "aria-busy": "true" });
    this.row.addEventListener("scroll", () => this.showEnds(), { passive: true });
    this.row.addEventListener("keydown", (event) => this.press(event));
    this.row.addEventListener("focusin", (event) => this.makeCurrent(this.cards.find((card) => card.element.contains(event.target))));
    this.watcher = new ResizeObserver(() => this.showEnds());
    this.watcher.observe(this.row);
    this.box.replaceChildren(make("header", { className: "shelf-head" }, make("h2", { textContent: title }), make("div", { className: "shelf-turn" }, this.earlier, this.further)), this.row);
  }

  /* ------------------------------------------------------------------------------------------------------ its life */

  /** Hold its place. */
  reserve() {
    this.box.hidden = localStorage.getItem(BARE) !== null;
    this.row.setAttribute("aria-busy", "true");
    this.row.replaceChildren(...Array.from({ length: GHOSTS }, () => make("div", { className: "card", "aria-hidden": "true" }, make("div", { className: "tile ghost" }), make("div", { className: "meta" }))));
    this.row.scrollLeft = 0;
    this.showEnds();
  }

  /** Nothing is on it: it is not there. */
  vanish() {
    this.box.hidden = true;
    this.row.replaceChildren();
    this.cards = [];
  }

  /** Forget what is on it; what comes next is for this person. */
  clear(person = this.person) {
    this.seen.flush();
    clearTimeout(this.timer);
    this.turn++;
    for (const card of this.cards) this.seen.forget(card);
    Object.assign(this, { person, cards: [], loaded: false, pending: null, flowed: -Infinity });
    this.reserve();
  }

  close() {
    this.clear();
    this.vanish();
    this.watcher.disconnect();
    this.seen.close();
    this.closed = true;
  }

  /** Fill it for the first time. */
  load() {
    if (this.loaded || this.closed) return;
    this.loaded = true;
    this.ask();
  }

  show() {
    this.shown = true;
    this.flow();
  }

  hide() { this.shown = false; }

  /* ---------------------------------------------------------------------------------------------------- what is on it */

  async ask(kept = []) {
    const turn = ++this.turn, exclude = kept.map((card) => card.id);
    try {
      const page = await recommend({ ...this.asks, k: SIZE - kept.length, details: true, ...this.person.fields, ...(exclude.length ? { filter: { exclude_ids: exclude } } : {}) }, { priority: "low" });
      if (turn !== this.turn) return;
      this.noticedRelease(page);
      if (turn === this.turn) this.fill(kept, page);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      console.warn("The shop could not be asked:", error.message); // a page without it is whole
      if (turn === this.turn && !this.cards.length) this.vanish();
    }
  }

  fill(kept, page) {
    const known = new Map(this.cards.map((card) => [card.id, card])), before = this.cards;
    this.cards = [...kept];
    page.items.forEach((slot, position) => {
      if (this.marks.hidden.has(slot.item_id) || kept.some((card) => card.id === slot.item_id)) return;
      const place = { surface: this.asks.surface, beside: this.asks.item_id, request: page.request_id, position }, card = known.get(slot.item_id);
      this.cards.push(card ? Object.assign(card, { slot, place }) : new Card(slot, place, this.act, this.marks));
    });
    for (const card of before) if (!this.cards.includes(card)) this.seen.forget(card);
    if (this.cards.length) localStorage.removeItem(BARE); else localStorage.setItem(BARE, "yes");
    if (!this.cards.length || page.notes.some((note) => note.code === "unknown_item")) return this.vanish();
    this.box.hidden = false;
    this.row.setAttribute("aria-busy", "false");
    this.put();
    if (!kept.length) this.row.scrollTo({ left: 0, behavior: "instant" });
    this.makeCurrent(this.cards.includes(this.current) ? this.current : this.cards[0]);
  }

  /** The cards in their order; one that stays is not touched, so that neither focus nor picture is lost. */
  put() {
    const elements = this.cards.map((card) => card.element);
    for (const one of [...this.row.children]) if (!elements.includes(one)) one.remove();
    elements.forEach((one, at) => { if (this.row.children[at] !== one) this.row.insertBefore(one, this.row.children[at] || null); });
    void this.row.offsetWidth; // new ones are there before they fade in
    for (const card of this.cards) {
      card.element.classList.add("settled");
      card.element.classList.remove("entering");
      this.seen.watch(card);
    }
    this.showEnds();
  }

  /** A card of it was acted on. */
  after(card, why) { return this.onActed(card, why); }

  /** Something was done, to `card` of this shelf or elsewhere: what comes after it, or all, may be another, at most every few seconds. */
  stir(card = null) {
    if (!this.loaded || this.closed) return;
    this.pending = { card };
    this.flow();
  }

  flow() {
    clearTimeout(this.timer);
    if (!this.pending || !this.shown) return;
    const wait = this.flowed + PAUSE_MS - performance.now();
    if (wait > 0) { this.timer = setTimeout(() => this.flow(), wait); return; }
    const used = this.cards.findLastIndex((card) => card === this.pending.card || card.element.matches(":hover, :focus-within"));
    this.pending = null;
    if (used + 1 >= SIZE) return;
    this.flowed = performance.now();
    this.seen.flush();
    this.ask(this.cards.slice(0, used + 1)); // all that one may be looking at stays
  }

  drop(card) {
    this.marks.hidden.add(card.id);
    this.cards = this.cards.filter((other) => other !== card);
    this.seen.forget(card);
    card.element.remove();
    this.makeCurrent(this.cards[0]);
    this.showEnds();
  }

  putBack(card, at) {
    this.marks.hidden.delete(card.id);
    this.cards.splice(at, 0, card);
    this.put();
  }

  dropHidden() {
    for (const card of this.cards.filter((one) => this.marks.hidden.has(one.id))) this.drop(card);
  }

  showMarks() {
    for (const card of this.cards) card.showMarks();
  }

  /* ------------------------------------------------------------------------------------------------------ going along it */

  scroll(way) { this.row.scrollBy({ left: way * Math.max(160, this.row.clientWidth * 0.8) }); }

  showEnds() {
    const { scrollLeft: at, clientWidth: wide, scrollWidth: all } = this.row;
    this.earlier.setAttribute("aria-disabled", at < 8);
    this.further.setAttribute("aria-disabled", at + wide > all - 8);
    this.box.classList.toggle("short", all <= wide + 8);
  }

  /** One card at a time is a stop of the Tab key; the arrow keys go from card to card. */
  makeCurrent(current) {
    if (!current) return;
    this.current = current;
    for (const card of this.cards) for (const button of card.element.querySelectorAll("button")) button.tabIndex = card === current ? 0 : -1;
  }

  press(event) {
    const at = this.cards.indexOf(this.current), last = this.cards.length - 1;
    const to = { ArrowRight: Math.min(at + 1, last), ArrowLeft: Math.max(at - 1, 0), Home: 0, End: last }[event.key];
    if (to === undefined || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const { picture, element } = this.cards[to];
    picture.focus({ preventScroll: true });
    element.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
}
