// One row of cards that is scrolled sideways: its buttons, its keys, and what becomes of a card that was acted on. What is on it, others say.

import { make } from "./cards.js";
import { icon } from "./icons.js";
import { Seen } from "./seen.js";

export class Row {
  /** Fills the section `box`. `what` names what lies on it, in the plural; `act(card, wish, row)` hears of wishes, `onActed(card, why)` when one was told. */
  constructor(box, { title, what, marks, act, onActed }) {
    Object.assign(this, { box, marks, onActed });
    this.act = (card, wish) => act(card, wish, this);
    this.cards = [];
    this.seen = new Seen(() => this.person);
    this.build(title, what);
  }

  build(title, what) {
    const turner = (label, name, way) => make("button", { className: "icon-button", type: "button", "aria-label": label, title: label, onclick: () => this.scroll(way) }, icon(name));
    this.earlier = turner(`Earlier ${what}`, "earlier", -1);
    this.further = turner(`More ${what}`, "further", 1);
    this.row = make("div", { className: "shelf-row", "aria-busy": "true" });
    this.row.addEventListener("scroll", () => this.showEnds(), { passive: true });
    this.row.addEventListener("keydown", (event) => this.press(event));
    this.row.addEventListener("focusin", (event) => this.makeCurrent(this.cards.find((card) => card.element.contains(event.target))));
    this.watcher = new ResizeObserver(() => this.showEnds());
    this.watcher.observe(this.row);
    this.heading = make("h2", { textContent: title, tabIndex: -1 });
    this.head = make("header", { className: "shelf-head" }, this.heading, make("div", { className: "shelf-turn" }, this.earlier, this.further));
    this.box.replaceChildren(this.head, this.row);
  }

  /** Nothing is on it: it is not there. */
  vanish() {
    this.box.hidden = true;
    this.row.replaceChildren();
    this.cards = [];
  }

  /** Nobody comes back to it. */
  end() {
    this.seen.flush();
    for (const card of this.cards) this.seen.forget(card);
    this.vanish();
    this.watcher.disconnect();
    this.seen.close();
  }

  /* ---------------------------------------------------------------------------------------------------- what is on it */

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
