// Looks, beside an item: dots on its picture, each of which opens a shelf of products that look like what is there, and a shelf of what goes
// with the item and is not in the picture.

import { ApiError, recommend } from "./api.js";
import { Card, make } from "./cards.js";
import { Row } from "./row.js";
import { Shelf } from "./shelf.js";
import { announce } from "./toasts.js";

const PER_OBJECT = 8, PER_SHELF = 4;
const BARE = "corkboard.complete.bare."; // by category: where nothing went with one of these, no place is held for the next

/** Dots on the picture of an item; one at a time is open, and what looks like that part stands on the shelf `panel`. */
export class Dots {
  /** `act`, `onActed`, `marks` and `noticedRelease` as for a shelf. */
  constructor(itemId, { marks, act, noticedRelease, onActed }) {
    Object.assign(this, { itemId, marks, noticedRelease });
    this.dots = [];
    this.open = -1;
    this.panel = make("section", { className: "shelf look-shelf", id: `look-${itemId}`, hidden: true, onkeydown: (event) => this.pressPanel(event) });
    this.shelf = new Row(this.panel, { title: "", what: "products like it", marks, act, onActed });
    this.layer = make("div", { className: "dots", role: "group", "aria-label": "Things in this picture that can be bought", hidden: true, onkeydown: (event) => this.press(event) });
  }

  /** The picture of the item with the dots over it. */
  over(image, item) {
    const framed = make("div", { className: "framed" }, image, this.layer);
    if (item.image_width) framed.style.setProperty("--across", item.image_width / item.image_height);
    return framed;
  }

  async load() {
    if (this.loaded || this.closed) return;
    this.loaded = true;
    try {
      const page = await recommend({ surface: "shop_the_look", item_id: this.itemId, k: PER_OBJECT, details: true, ...this.person.fields }, { priority: "low" });
      if (this.closed) return;
      this.noticedRelease(page);
      this.put(page);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      console.warn("The look could not be shopped:", error.message); // an item's page without it is whole
    }
  }

  /** A dot for each thing of which there are products. */
  put(page) {
    this.page = page;
    const slots = new Map(page.items.map((slot, position) => [slot.item_id, { slot, position }])); // two things may have the same product
    this.things = (page.objects || []).map((thing) => ({ ...thing, slots: thing.item_ids.map((id) => slots.get(id)).filter((one) => one && !this.marks.hidden.has(one.slot.item_id)) })).filter((thing) => thing.slots.length);
    this.dots = this.things.map((thing, n) => {
      const [left, top, right, bottom] = thing.box, what = nameOf(thing);
      const outline = make("span", { className: "outline", "aria-hidden": "true" });
      Object.assign(outline.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
      const dot = make("button", { className: "dot", type: "button", "aria-expanded": "false", "aria-controls": this.panel.id, "aria-label": `Shop the ${what}, ${n + 1} of ${this.things.length}`, title: `Shop the ${what}`, onclick: () => this.toggle(n) });
      Object.assign(dot.style, { left: `${50 * (left + right)}%`, top: `${50 * (top + bottom)}%` });
      return { dot, outline };
    });
    this.layer.replaceChildren(...this.dots.flatMap(({ dot, outline }) => [outline, dot]));
    this.layer.hidden = !this.dots.length;
  }

  toggle(n) {
    if (this.open === n) this.shut(); else this.unfold(n);
  }

  unfold(n) {
    const thing = this.things[n], what = nameOf(thing), slots = thing.slots.filter(({ slot }) => !this.marks.hidden.has(slot.item_id));
    if (!slots.length) return announce(`All that looks like the ${what} is hidden.`);
    this.mark(n);
    for (const card of this.shelf.cards) this.shelf.seen.forget(card);
    this.shelf.cards = slots.map(({ slot, position }) => new Card(slot, { surface: "shop_the_look", beside: this.itemId, request: this.page.request_id, position }, this.shelf.act, this.marks));
    this.shelf.heading.textContent = `Looks like the ${what}`;
    this.panel.setAttribute("aria-label", `Products that look like the ${what}`);
    this.panel.hidden = false;
    this.shelf.row.replaceChildren();
    this.shelf.row.setAttribute("aria-busy", "false");
    this.shelf.put();
    this.shelf.makeCurrent(this.shelf.cards[0]);
    this.panel.scrollIntoView({ block: "nearest" });
    announce(`${this.shelf.cards.length} products look like the ${what}.`);
  }

  /** Close the shelf; the focus goes back to the dot that had opened it, where it would be lost. */
  shut() {
    const { dot } = this.dots[this.open] || {}, inside = this.panel.contains(document.activeElement);
    this.mark(-1);
    this.shelf.seen.flush();
    this.shelf.vanish();
    if (inside) dot?.focus();
  }

  mark(open) {
    this.open = open;
    this.dots.forEach(({ dot, outline }, n) => {
      dot.setAttribute("aria-expanded", n === open);
      outline.classList.toggle("open", n === open);
    });
  }

  /** The arrow keys go from dot to dot, Escape closes. */
  press(event) {
    const at = this.dots.findIndex(({ dot }) => dot === document.activeElement), last = this.dots.length - 1;
    if (event.key === "Escape" && this.open >= 0) return this.pressPanel(event);
    const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
    if (to === undefined || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.dots[Math.min(Math.max(to, 0), last)].dot.focus();
  }

  pressPanel(event) {
    if (event.key !== "Escape") return;
    event.preventDefault();
    event.stopPropagation(); // elsewhere it leads back
    this.shut();
  }

  clear(person = this.person) {
    this.person = this.shelf.person = person;
    this.loaded = false;
  }

  hide() { this.shelf.seen.flush(); }

  close() {
    this.closed = true;
    this.shelf.end();
  }

  /** A shelf whose last product was hidden closes, and the focus that went with it goes back to the dot. */
  dropHidden() {
    this.shelf.dropHidden();
    if (this.open < 0 || this.shelf.cards.length) return;
    const { dot } = this.dots[this.open], lost = document.activeElement === document.body;
    this.shut();
    if (lost) dot.focus();
  }

  showMarks() { this.shelf.showMarks(); }
}

const nameOf = (thing) => (thing.category || "thing here").replaceAll("_", " ");

/** What goes with an item and is not in its picture: of every category that goes with it, one after the other. It stays as it is. */
export class GoesWith extends Shelf {
  constructor(box, { itemId, category, ...shelf }) {
    super(box, { title: "Goes with this", asks: { surface: "complete_the_look", item_id: itemId }, bare: `${BARE}${category || ""}`, ...shelf });
  }

  async page() {
    const page = await recommend({ ...this.asks, k: PER_SHELF, details: true, ...this.person.fields }, { priority: "low" });
    const slots = page.items.map((slot, at) => ({ ...slot, at })), rank = new Map();
    for (const shelf of page.shelves || []) shelf.item_ids.forEach((id, n) => rank.set(id, n));
    return { ...page, items: slots.sort((a, b) => (rank.get(a.item_id) ?? a.at) - (rank.get(b.item_id) ?? b.at) || a.at - b.at) };
  }

  stir() {}
}

/** Several things that stand beside a feed and live as one. */
export class Together {
  constructor(...parts) { this.parts = parts; }
}
for (const what of ["load", "show", "hide", "clear", "close", "vanish", "stir", "dropHidden", "showMarks"]) {
  Together.prototype[what] = function each(...given) { for (const part of this.parts) part[what]?.(...given); };
}
