// A feed: pages that flow without repeats, at home or beside an item. At home it flows anew below a card as soon as something was done.

import { ApiError, recommend } from "./api.js";
import { Card, make } from "./cards.js";
import { Masonry } from "./masonry.js";
import { Seen } from "./seen.js";
import { announce, toast } from "./toasts.js";

const PAGE = 25, AHEAD_PX = 1400;

export class Feed {
  /**
   * `asks` is the surface and, of a related one, the item; `send(body)` asks the server; `nothing` is said where there is nothing, or
   * what it says of such an answer; without `onActed` it flows by itself. `shelf` stands above it and is filled when its first page is there.
   */
  constructor({ box, tail, end, empty, asks, nothing, marks, act, noticed, onActed = null, shelf = null, send: ask = recommend }) {
    Object.assign(this, { box, tail, end, empty, asks, nothing, marks, noticed, onActed, shelf, sendTo: ask });
    this.act = (card, what) => act(card, what, this);
    this.cards = [];
    this.known = new Map(); // every card made for this person, so that one that comes back is the same one
    this.masonry = new Masonry(box, () => this.relayout());
    this.seen = new Seen(() => this.person);
    this.turn = 0;
    this.shown = false;
    this.watcher = new IntersectionObserver(([entry]) => { if (entry.isIntersecting) this.more(); }, { rootMargin: `0px 0px ${AHEAD_PX}px 0px` });
    this.watcher.observe(tail);
  }

  relayout() { this.masonry.layout(this.cards.concat(this.ghosts || [])); }

  /** Take it into view; what was done elsewhere meanwhile lets it flow now. */
  show() {
    this.shown = true;
    this.shelf?.show();
    this.dropHidden();
    this.showMarks();
    this.relayout();
    const { pending } = this;
    this.pending = null;
    if (pending?.above) queueMicrotask(() => this.flowBelowView(pending.why)); // once one stands where one stood
    else if (pending && this.cards.includes(pending.card)) this.flowBelow(pending.card, pending.why);
    else if (!this.cards.length) this.more();
  }

  hide() {
    this.shown = false;
    this.shelf?.hide();
  }

  /** Take away what was hidden elsewhere. */
  dropHidden() {
    for (const card of this.cards.filter((one) => this.marks.hidden.has(one.id))) this.drop(card);
    this.shelf?.dropHidden();
  }

  close() {
    this.clear();
    this.shelf?.close();
    this.seen.close();
    this.watcher.disconnect();
    this.masonry.close();
    this.person = undefined;
  }

  /** Forget what is shown; the next page asked for is a first one, for this person. */
  clear(person = this.person) {
    this.seen.flush();
    this.turn++; // what was asked for before comes too late
    this.loading = false;
    this.person = person;
    this.shelf?.clear(person);
    for (const card of this.cards) card.element.remove();
    this.clearGhosts();
    this.cards = [];
    this.known.clear();
    this.pending = null;
    this.cursor = null;
    this.done = false;
    this.empty.hidden = true;
    this.end.hidden = true;
  }

  /** Begin anew, for this person. */
  async restart(person = this.person) {
    this.clear(person);
    await this.more();
  }

  /** The next page below what is there. */
  async more() {
    if (this.loading || this.done || this.person === undefined) return;
    this.showGhosts();
    const page = await this.ask(this.cursor, PAGE);
    if (page === null) return;
    this.append(page);
  }

  /** `card`, or the item that this feed is beside, was acted on, which is `why` something else may fit now. */
  async after(card, why) {
    if (this.onActed) return this.onActed();
    this.shelf?.stir();
    if (!this.shown) this.pending = { card, why };
    else if (this.cards.includes(card)) await this.flowBelow(card, why);
    else await this.restart();
  }

  /** Something above all of it was acted on: what is in view stays. */
  async afterAbove(why) {
    if (this.shown) await this.flowBelowView(why);
    else this.pending ||= { above: true, why };
  }

  async flowBelowView(why) {
    const bottom = innerHeight - this.box.getBoundingClientRect().top;
    const last = this.cards.filter((card) => card.y < bottom).at(-1) || this.cards[0];
    if (last) await this.flowBelow(last, why);
  }

  /** Ask anew for what comes after `card`: all above it stays, all below it flows from what is known now. */
  async flowBelow(card, why) {
    this.seen.flush();
    const kept = this.keptAbove(card);
    const last = kept.at(-1);
    const cursor = last ? last.place.cursor : null; // the server leaves out what came before it; the rest of that page we name
    const exclude = kept.filter((other) => other.place.cursor === cursor).map((other) => other.id);
    const page = await this.ask(cursor, PAGE, exclude);
    if (page === null) return;
    const before = new Set(this.cards.map((other) => other.id));
    const dropped = this.cards.filter((other) => !kept.includes(other));
    this.cards = kept;
    const added = this.append(page, false);
    for (const other of dropped) if (!this.cards.includes(other)) this.remove(other);
    for (const other of added) if (!before.has(other.id)) other.markNew();
    this.relayout();
    if (this.cards.includes(card)) card.hint(`Updated after your ${why}`);
    announce(`The feed below was updated after your ${why}.`);
  }

  keptAbove(card) {
    const at = this.cards.indexOf(card), bottom = card.y + card.height;
    return this.cards.filter((other, i) => i <= at || other.y < bottom - 24);
  }

  async ask(cursor, k, exclude = []) {
    const turn = ++this.turn;
    this.loading = true;
    this.box.setAttribute("aria-busy", "true");
    try {
      const filter = { ...this.asks.filter, ...(exclude.length ? { exclude_ids: exclude } : {}) };
      const page = await this.sendTo({ ...this.asks, k, details: true, ...this.person.fields, ...(cursor ? { cursor } : {}), ...(Object.keys(filter).length ? { filter } : {}) });
      if (turn !== this.turn) return null; // something newer was asked meanwhile
      page.askedWith = cursor;
      this.noticed(page);
      return page;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      if (turn === this.turn) this.sayTrouble(error);
      return null;
    } finally {
      if (turn === this.turn) {
        this.loading = false;
        this.clearGhosts();
        this.box.setAttribute("aria-busy", "false");
      }
    }
  }

  append(page, flow = true) {
    const here = new Set(this.cards.map((card) => card.id)), added = [];
    page.items.forEach((slot, position) => {
      if (here.has(slot.item_id) || this.marks.hidden.has(slot.item_id)) return;
      here.add(slot.item_id);
      const place = { surface: this.asks.surface, beside: this.asks.item_id, query: this.asks.query, image: page.image_hash, request: page.request_id, position, cursor: page.askedWith };
      let card = this.known.get(slot.item_id);
      if (card) Object.assign(card, { slot, place });
      else {
        card = new Card(slot, place, this.act, this.marks);
        this.known.set(slot.item_id, card);
      }
      if (!card.element.isConnected) { card.fresh = true; card.element.classList.add("entering"); card.element.classList.remove("settled", "leaving"); }
      this.box.append(card.element); // also moves one that was there: the order of the page is the order of the feed
      this.seen.watch(card);
      added.push(card);
    });
    this.cards.push(...added);
    this.cursor = page.next_cursor;
    this.done = !page.next_cursor || (!added.length && !page.items.length);
    this.sayEmpty(page);
    this.relayout();
    if (this.cards.length) this.shelf?.load(); else if (this.done) this.shelf?.vanish();
    if (flow && !added.length && !this.done) queueMicrotask(() => this.more());
    this.watcher.unobserve(this.tail); // a tail that is still near after this page says so again
    this.watcher.observe(this.tail);
    return added;
  }

  remove(card) {
    this.seen.forget(card);
    card.element.classList.add("leaving");
    setTimeout(() => { if (!this.cards.includes(card)) { card.element.remove(); card.height = 0; } }, 240);
  }

  /** Take a card away; what was after it moves up. */
  drop(card) {
    this.marks.hidden.add(card.id);
    this.cards = this.cards.filter((other) => other !== card);
    this.remove(card);
    this.relayout();
  }

  /** Put a card back where it was. */
  putBack(card, at) {
    this.marks.hidden.delete(card.id);
    card.fresh = true;
    card.height = 0;
    card.element.classList.remove("leaving", "settled");
    card.element.classList.add("entering");
    this.box.insertBefore(card.element, this.cards[at]?.element || null);
    this.cards.splice(at, 0, card);
    this.seen.watch(card);
    this.relayout();
  }

  showMarks() {
    for (const card of this.known.values()) card.showMarks();
    this.shelf?.showMarks();
  }

  showGhosts() {
    if (this.ghosts) return;
    this.ghosts = [1.3, 1, 1.5, 1.2, 1.33, 1, 1.4, 1.25, 1.1, 1.5].map((ratio) => {
      const picture = make("div", { className: "ghost" });
      const element = make("div", { className: "card", "aria-hidden": "true" }, picture);
      this.box.append(element);
      return { element, picture, ratio, height: 0 };
    });
    this.relayout();
  }

  clearGhosts() {
    for (const ghost of this.ghosts || []) ghost.element.remove();
    this.ghosts = null;
  }

  sayEmpty(page) {
    const nothing = this.cards.length === 0;
    this.end.hidden = nothing || !this.done;
    this.empty.hidden = !nothing;
    if (!nothing) return;
    const waiting = page.notes.some((note) => note.code === "no_release");
    const { title, text, more = [] } = typeof this.nothing === "function" ? this.nothing(page) : this.nothing;
    this.empty.replaceChildren(
      make("h2", { textContent: waiting ? "Your feed is on its way" : title }),
      make("p", { textContent: waiting ? "The first release is still being built. The page fills by itself as soon as it is there." : text }),
      ...(waiting ? [] : more));
  }

  sayTrouble(error) {
    if (error.status === 401) return; // the page asks for a key
    const again = { label: "Try again", run: () => this.more() };
    if (this.cards.length === 0) {
      const button = make("button", { className: "pill strong", textContent: "Try again", onclick: () => this.restart() });
      this.empty.replaceChildren(make("h2", { textContent: "The feed could not be loaded" }), make("p", { textContent: error.kindly }), button);
      this.empty.hidden = false;
      this.shelf?.vanish();
      this.relayout();
    } else toast(error.kindly, { bad: true, action: again, id: "trouble", ms: 12000 });
  }
}
