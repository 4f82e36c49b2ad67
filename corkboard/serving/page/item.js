// An item's page: the item, large, and below it what is like it, for this person.

import { ApiError, item as itemEntry } from "./api.js";
import { humane, KEYS, make, priceOf, shortId, titleOf } from "./cards.js";
import { Feed } from "./feed.js";
import { icon } from "./icons.js";
import { Dots, GoesWith, Together } from "./looks.js";
import { hasPicture, picture } from "./pictures.js";
import { Shelf } from "./shelf.js";
import { announce } from "./toasts.js";

const LONG_MS = 10_000;
const ELSEWHERE = { surface: "other" }; // an item that a link led to was on no page of ours

/** What a person wants to know of the notes of such a page, or null. */
function wordsFor(codes) {
  if (codes.includes("store_unreachable")) return "What you did before can't be read at the moment. New actions can't be kept just now.";
  if (codes.includes("unknown_item")) return "This item is not known here, so this is what your feed would show.";
  if (codes.includes("few_related") || codes.includes("few_candidates")) return "There is little like this yet; what your feed would show fills the page up.";
  if (codes.includes("seen_again")) return "You have seen most of what is like this; some of it is back.";
  return null;
}

export class ItemPage {
  /**
   * The page of the item `id`, added to `box`. `card` is what it was opened from, or null; `kept` settles when that is told.
   * `act(subject, what, feed)` hears of wishes, `back()` of the way back, `looked(subject, ms)` of a look longer than ten
   * seconds, `noticedRelease(answer)` of every answer.
   */
  constructor(box, id, card, { kept, person, marks, act, back, looked, noticedRelease }) {
    Object.assign(this, { id, kept, person, marks, act, looked, noticedRelease });
    this.subject = card && { id, item: card.item, slot: card.slot, place: card.place };
    this.build(back);
    box.append(this.element);
    this.load();
  }

  build(back) {
    this.sheet = make("article", { className: "sheet", onkeydown: (event) => this.press(event) });
    this.heading = make("h2", { className: "more-head", textContent: "More like this", tabIndex: -1 });
    this.fresh = make("button", { className: "pill strong fresh", type: "button", textContent: "Show fresh ones", hidden: true, onclick: () => this.refresh() });
    this.hint = make("div", { className: "hint", hidden: true });
    const parts = { box: make("div", { className: "feed", role: "region", "aria-label": "More like this", "aria-busy": "true" }), tail: make("div", { className: "tail", "aria-hidden": "true" }),
      end: make("p", { className: "end", hidden: true, textContent: "That is all there is like this." }), empty: make("div", { className: "empty", hidden: true }) };
    const aside = make("section", { className: "shelf shop-shelf", "aria-label": "To buy beside this" });
    const given = { marks: this.marks, act: this.act, noticedRelease: this.noticedRelease, onActed: () => this.offer() };
    const goes = make("section", { className: "shelf goes-shelf", "aria-label": "Goes with this" });
    this.dots = new Dots(this.id, given);
    const shelf = new Together(
      this.dots,
      new GoesWith(goes, { itemId: this.id, category: this.subject?.item?.category, ...given }),
      new Shelf(aside, { title: "To buy beside this", asks: { surface: "shop", item_id: this.id }, ...given }));
    this.element = make("section", { className: "item-page", hidden: true, "data-item": this.id },
      make("button", { className: "pill back", type: "button", onclick: back }, icon("back"), "Back"), this.sheet, this.dots.panel, goes, aside,
      this.heading, make("div", { className: "fresh-row" }, this.fresh), this.hint, parts.box, parts.tail, parts.end, parts.empty);
    this.feed = new Feed({
      ...parts, asks: { surface: "related", item_id: this.id }, marks: this.marks, act: this.act, noticed: (page) => this.noticed(page), onActed: () => this.offer(), shelf,
      nothing: { title: "Nothing is like this yet", text: "As soon as people put it together with something, it is here." },
    });
  }

  get place() { return `item:${this.id}`; }

  get title() { return `${this.subject ? titleOf(this.subject.item) : this.id} · Corkboard`; }

  /** The item first, where no card brought it, and once the click that led here is told, what is like it. */
  async load() {
    this.showSheet();
    if (!this.subject) await this.find();
    await this.kept;
    if (!this.closed) await this.feed.restart(this.person);
    this.loaded = true;
  }

  async find() {
    try {
      this.subject = { id: this.id, item: await itemEntry(this.id), slot: null, place: ELSEWHERE };
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.missing = error.status === 404 ? "It may be gone, or it has not come in yet." : error.kindly;
      this.feed.shelf?.close();
      this.feed.shelf = null; // nothing is beside what is not here
    }
    if (this.closed) return;
    this.showSheet();
    if (!this.element.hidden) document.title = this.title;
  }

  /** Whether there was an answer with nothing in it: then it is worth asking again when a release comes. */
  get idle() { return Boolean(this.loaded) && !this.feed.cards.length && !this.feed.loading; }

  show() {
    this.element.hidden = false;
    this.watch();
    this.showMarks();
    this.feed.show();
  }

  hide() {
    this.element.hidden = true;
    this.feed.hide();
    const ms = this.unwatch();
    if (ms >= LONG_MS && !this.told && this.subject?.item) {
      this.told = true;
      this.looked(this.subject, ms);
    }
  }

  /** Count the time in which the item itself can be seen: not while one scrolls through what is like it, nor in a tab behind another. */
  watch() {
    let inside = true, since = null, seen = 0;
    const count = () => {
      if (since !== null) seen += Date.now() - since;
      since = inside && !document.hidden ? Date.now() : null;
    };
    const observer = new IntersectionObserver((entries) => { inside = entries.at(-1).isIntersecting; count(); });
    observer.observe(this.sheet);
    document.addEventListener("visibilitychange", count);
    count();
    this.unwatch = () => {
      observer.disconnect();
      document.removeEventListener("visibilitychange", count);
      count();
      this.unwatch = () => 0;
      return seen;
    };
  }

  unwatch() { return 0; }

  close() {
    this.closed = true;
    this.unwatch();
    this.feed.close();
    this.element.remove();
  }

  /** Where one comes back to: the card one left by. Who comes for the first time hears the item's name. */
  focus() {
    const target = this.left?.picture.isConnected ? this.left.picture : this.name;
    target?.focus({ preventScroll: true });
  }

  press(event) {
    const what = KEYS[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey || !this.wishes?.[what]) return;
    event.preventDefault();
    this.wishes[what]();
  }

  /* ------------------------------------------------------------------------------------------------- the item itself */

  showSheet() {
    if (!this.subject) {
      this.name = make("h1", { tabIndex: -1, textContent: this.missing ? "This item is not here" : "Looking it up…" });
      this.sheet.classList.toggle("missing", Boolean(this.missing));
      this.sheet.replaceChildren(make("div", { className: "words" }, this.name, make("p", { className: "quiet", textContent: this.missing || "" })));
      if (this.missing) this.heading.textContent = "Perhaps one of these";
      return;
    }
    const { subject } = this, { item } = subject, price = priceOf(item);
    const wish = (what) => () => this.act(subject, what, this.feed);
    this.wishes = { save: wish("save"), ...(item.creator_id ? { follow: wish("follow") } : {}), ...(subject.place.request ? { why: wish("why") } : {}), ...(hasPicture(item) ? { look: wish("look") } : {}) };
    this.name = make("h1", { tabIndex: -1, textContent: titleOf(item) });
    this.saveButton = make("button", { className: "pill strong", type: "button", onclick: this.wishes.save });
    this.followButton = item.creator_id && make("button", { className: "pill", type: "button", onclick: this.wishes.follow });
    const why = subject.place.request && make("button", { className: "pill", type: "button", textContent: "Why was this shown?", onclick: this.wishes.why });
    const look = hasPicture(item) && make("button", { className: "pill", type: "button", onclick: this.wishes.look }, icon("look"), "More like this picture");
    const facts = [["Category", item.category && humane(item.category)], ["Creator", item.creator_id], ["Brand", item.brand_id], ["Kind", item.kind && humane(item.kind)], ["Id", item.item_id]].filter(([, value]) => value);
    this.sheet.setAttribute("aria-label", titleOf(item));
    this.sheet.replaceChildren(
      make("div", { className: "picture" }, hasPicture(item) ? this.dots.over(picture(item, undefined, "(max-width: 860px) 100vw, 520px"), item) : picture(item, 1.33)),
      make("div", { className: "words" }, this.name,
        price && make("div", { className: "big", textContent: price }),
        make("table", { className: "numbers" }, make("tbody", {}, ...facts.map(([name, value]) => make("tr", {}, make("td", { textContent: name }), make("td", { textContent: value }))))),
        make("div", { className: "buttons" }, this.saveButton, look || null, this.followButton || null, why || null)));
    this.showMarks();
  }

  showMarks() {
    if (this.wishes) {
      const saved = this.marks.saves.has(this.id), creator = this.subject.item.creator_id, followed = this.marks.follows.has(creator);
      this.saveButton.textContent = saved ? "Saved" : "Save";
      this.saveButton.setAttribute("aria-pressed", saved);
      if (creator) this.followButton.textContent = `${followed ? "Following" : "Follow"} ${shortId(creator)}`;
      if (creator) this.followButton.setAttribute("aria-pressed", followed);
    }
    this.feed.showMarks();
  }

  /* ------------------------------------------------------------------------------------------------- what is like it */

  noticed(page) {
    this.noticedRelease(page);
    const words = wordsFor(page.notes.map((note) => note.code));
    if (!words && this.feed.cards.length) return; // taking the hint away would move what one is looking at
    this.hint.hidden = !words;
    this.hint.textContent = words || "";
  }

  /** Something was done: what is shown stays where it is until fresh ones are asked for. */
  offer() {
    if (!this.fresh.hidden) return;
    this.fresh.hidden = false;
    announce("Fresh ones are there when you ask for them.");
  }

  async refresh() {
    this.fresh.hidden = true;
    this.heading.focus({ preventScroll: true });
    this.heading.scrollIntoView({ block: "start" });
    await this.feed.restart();
    announce("These are fresh.");
  }
}
