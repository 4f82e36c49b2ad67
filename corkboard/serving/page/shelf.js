// A shelf of what can be bought: one row that is scrolled sideways, at home or beside an item. It is asked for when the feed below it is
// there, holds its place from the beginning so that nothing moves when it comes, and is not there at all where there is nothing on it.

import { ApiError, recommend } from "./api.js";
import { Card, make } from "./cards.js";
import { Row } from "./row.js";

const SIZE = 12, PAUSE_MS = 4000, GHOSTS = 12;
const BARE = "corkboard.shop.bare"; // remembered where there was nothing to buy: then no place is held

export class Shelf extends Row {
  /**
   * Fills the section `box`. `asks` is the surface and, beside an item, the item; `noticedRelease(answer)` hears of every answer, `bare` is
   * the name under which it is remembered that there was nothing; the rest as for a row.
   */
  constructor(box, { asks, noticedRelease, bare = BARE, ...row }) {
    super(box, { what: "products", ...row });
    Object.assign(this, { asks, noticedRelease, bare });
    this.turn = 0;
    this.flowed = -Infinity;
    this.shown = false;
    this.reserve();
  }

  /* ------------------------------------------------------------------------------------------------------ its life */

  /** Hold its place. */
  reserve() {
    this.box.hidden = localStorage.getItem(this.bare) !== null;
    this.row.setAttribute("aria-busy", "true");
    this.row.replaceChildren(...Array.from({ length: GHOSTS }, () => make("div", { className: "card", "aria-hidden": "true" }, make("div", { className: "tile ghost" }), make("div", { className: "meta" }))));
    this.row.scrollLeft = 0;
    this.showEnds();
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
    this.end();
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
    const turn = ++this.turn;
    try {
      const page = await this.page(kept.map((card) => card.id));
      if (turn !== this.turn) return;
      this.noticedRelease(page);
      if (turn === this.turn) this.fill(kept, page);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      console.warn(`${this.asks.surface} could not be asked:`, error.message); // a page without it is whole
      if (turn === this.turn && !this.cards.length) this.vanish();
    }
  }

  /** What the server says is on it, beside what is there. */
  page(exclude) {
    return recommend({ ...this.asks, k: SIZE - exclude.length, details: true, ...this.person.fields, ...(exclude.length ? { filter: { exclude_ids: exclude } } : {}) }, { priority: "low" });
  }

  fill(kept, page) {
    const known = new Map(this.cards.map((card) => [card.id, card])), before = this.cards;
    this.cards = [...kept];
    page.items.forEach((slot, nth) => {
      const position = slot.at ?? nth; // one that was put into another order knows its place
      if (this.marks.hidden.has(slot.item_id) || kept.some((card) => card.id === slot.item_id)) return;
      const place = { surface: this.asks.surface, beside: this.asks.item_id, request: page.request_id, position }, card = known.get(slot.item_id);
      this.cards.push(card ? Object.assign(card, { slot, place }) : new Card(slot, place, this.act, this.marks));
    });
    for (const card of before) if (!this.cards.includes(card)) this.seen.forget(card);
    if (this.cards.length) localStorage.removeItem(this.bare); else localStorage.setItem(this.bare, "yes");
    if (!this.cards.length || page.notes.some((note) => note.code === "unknown_item")) return this.vanish();
    this.box.hidden = false;
    this.row.setAttribute("aria-busy", "false");
    this.put();
    if (!kept.length) this.row.scrollTo({ left: 0, behavior: "instant" });
    this.makeCurrent(this.cards.includes(this.current) ? this.current : this.cards[0]);
  }

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
}
