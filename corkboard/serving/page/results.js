// The page of a search: what was found, inside of which filters, what was corrected, and where there is nothing, why and what to do next.

import { ApiError, suggest } from "./api.js";
import { humane, make, priceOf } from "./cards.js";
import { Feed } from "./feed.js";
import { icon } from "./icons.js";
import { plain } from "./search.js";
import { announce } from "./toasts.js";
import { searchPlace } from "./views.js";

const MOST_CATEGORIES = 8;
const QUIET = "The best matches first, in an order that fits you.";
const BY_WORDS = "lexical"; // the source of what has the words
const MAX_CHARS = 1000, MAX_BYTES = 2048; // of a query, as the server takes it
const KEPT_BACK = /(?:All ([\d,]+) items|The one item) that would be found may not be shown here/;
const NOT_FILTERED = "is hidden, was shown before or is not available";

/** What is told behind the sentence of a note. */
const detailOf = (page, ...codes) => page.notes.filter((note) => codes.includes(note.code)).map((note) => /\((.*)\)$/s.exec(note.text)?.[1] || "").join(" ");

/** [word, what was searched instead of it] for each word that was corrected. */
const corrected = (detail) => [...detail.matchAll(/Searched “([^”]+)”.*? instead of “([^”]+)”\./gs)].map(([, known, word]) => [word, known]);

/** `text` with its corrected words replaced, or null where they are not to be seen in it. */
function respelt(text, corrections) {
  let left = corrections.length;
  const words = text.split(/([^\p{L}\p{N}\p{M}]+)/u).map((word) => {
    const found = corrections.find(([wrong]) => wrong === plain(word));
    if (found) left--;
    return found ? found[1] : word;
  });
  return left > 0 || !corrections.length ? null : words.join("");
}

/** `text` as far as a query may go, no sign cut in two. */
function cut(text) {
  const begin = [...text].slice(0, MAX_CHARS).join("");
  return begin.slice(0, new TextEncoder().encodeInto(begin, new Uint8Array(MAX_BYTES)).read);
}

const whole = (text) => (/^\d{1,15}$/.test(text || "") ? Number(text) : null);

export class SearchPage {
  /**
   * `place` is "search:" and what is asked as in an address. `act` and `noticedRelease` as for an item's page; `renamed()` hears of another
   * place of the same page, `search(text)` of another search, `bring()` of the wish to search by a picture.
   */
  constructor(box, place, { person, marks, act, noticedRelease, renamed, search, bring }) {
    Object.assign(this, { person, marks, act, noticedRelease, renamed, search, bring });
    const asked = new URLSearchParams(place.slice("search:".length));
    this.query = cut(asked.get("q") || "");
    this.filters = { kind: asked.get("kind"), category: asked.getAll("category"), price_min: whole(asked.get("price_min")), price_max: whole(asked.get("price_max")) };
    this.categories = [...this.filters.category];
    this.build();
    box.append(this.element);
    this.load();
  }

  build() {
    this.name = make("h1", { tabIndex: -1 });
    this.note = make("p", { className: "search-note" });
    this.chips = make("div", { className: "filters", role: "group", "aria-label": "Filters" });
    this.price = this.pricePanel();
    const parts = { box: make("div", { className: "feed", role: "region", "aria-label": "What was found", "aria-busy": "true" }), tail: make("div", { className: "tail", "aria-hidden": "true" }),
      end: make("p", { className: "end", hidden: true, textContent: "That is all there is for this search." }), empty: make("div", { className: "empty", hidden: true }) };
    this.head = make("header", { className: "search-head" }, this.name, this.note, make("div", { className: "filter-row" }, this.chips, this.price));
    this.element = make("section", { className: "search-page", hidden: true, "aria-label": "Search" }, this.head, parts.box, parts.tail, parts.end, parts.empty);
    this.feed = new Feed({
      ...parts, asks: { surface: "search", query: this.query }, marks: this.marks, act: this.act, noticed: (page) => this.noticed(page), onActed: () => {},
      nothing: (page) => this.nothing(page),
    });
    this.say(`Results for “${this.query}”`, QUIET);
    this.showFilters();
  }

  get place() {
    const asked = new URLSearchParams({ q: this.query });
    for (const [name, value] of Object.entries(this.filters)) for (const one of [value].flat()) if (one !== null) asked.append(name, one);
    return searchPlace(asked);
  }

  get title() { return `${this.query || "Search"} · Corkboard`; }
  get idle() { return Boolean(this.loaded) && !this.feed.cards.length && !this.feed.loading; }
  get filtered() { return Object.values(this.filters).flat().some((value) => value !== null); }

  async load() {
    const { kind, category, price_min, price_max } = this.filters;
    const all = { kind, category: category.length ? category : null, price_min, price_max };
    this.feed.asks.filter = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== null));
    await this.feed.restart(this.person);
    this.loaded = true;
    if (!this.closed && !this.element.hidden) announce(this.feed.cards.length ? `${this.name.textContent}. ${this.note.textContent}` : this.feed.empty.textContent);
  }

  show() {
    this.element.hidden = false;
    this.feed.show();
  }

  hide() {
    this.element.hidden = true;
    this.openPrice(false);
    this.feed.hide();
  }

  showMarks() { this.feed.showMarks(); }

  close() {
    this.closed = true;
    this.feed.close();
    this.element.remove();
  }

  /** Where one comes back to: the card one left by. Who comes for the first time hears what was searched for. */
  focus() {
    const target = this.left?.picture.isConnected ? this.left.picture : this.name;
    target.focus({ preventScroll: true });
  }

  /* ------------------------------------------------------------------------------------------------- what was found */

  noticed(page) {
    this.noticedRelease(page);
    this.leaveReasonsOut(page.items);
    if (page.askedWith) return;
    const priced = page.items.map((slot) => slot.item).find((item) => item.currency);
    if (priced) this.currency = priced.currency;
    if (!this.filters.category.length) this.foundCategories(page.items.map((slot) => slot.item.category).filter(Boolean));
    this.showFilters();
    this.explain(page);
    this.head.classList.toggle("bare", !page.items.length && !this.filtered); // what is said instead says it all
  }

  /** That it has the words can be seen, and what all have in common is said above them. */
  leaveReasonsOut(slots) {
    const same = slots.length > 1 && new Set(slots.map((slot) => slot.reason)).size === 1;
    for (const slot of slots) if (same || slot.source.includes(BY_WORDS)) slot.reason = null;
  }

  explain(page) {
    const codes = page.notes.map((note) => note.code), detail = detailOf(page, "corrected", "unknown_words");
    const missing = /Nothing has ([^.]+)\./s.exec(detail)?.[1];
    const corrections = corrected(detail), meant = respelt(this.query, corrections), wrong = corrections.map(([word]) => `“${word}”`).join(" or ");
    const said = [];
    if (corrections.length) said.push(meant ? `Nothing here is called ${wrong}.` : detail);
    if (missing && (meant || !corrections.length)) said.push(`Nothing here has ${missing}; this is for the other words.`);
    if (codes.includes("no_words")) {
      const there = KEPT_BACK.test(detailOf(page, "no_words"));
      const why = !there ? "Nothing has these words" : this.filtered ? "Nothing with these words is left inside these filters" : `What has these words ${NOT_FILTERED}`;
      said.push(`${why}; these were found by what they mean.`);
    }
    else if (codes.includes("no_words_index")) said.push("Words can't be looked for at the moment; these were found by what they mean.");
    else if (codes.includes("by_meaning") && !said.length) said.push(`${QUIET} Some were found by what they mean.`);
    if (codes.includes("no_search")) said.push("Search doesn't work at the moment, so this is what your feed would show.");
    if (codes.includes("store_unreachable")) said.push("What you did before can't be read at the moment, so the order is the same for everybody.");
    this.say(meant && page.items.length ? `Showing results for “${meant}”` : `Results for “${this.query}”`, !page.items.length ? "" : said.join(" ") || QUIET);
  }

  say(name, note) {
    this.name.textContent = name;
    this.note.textContent = note;
  }

  /** Why there is nothing, and what to do next. */
  nothing(page) {
    const why = detailOf(page, "no_match"), there = KEPT_BACK.exec(why), n = there?.[1];
    if (this.filtered) {
      const clear = make("button", { className: "pill strong", type: "button", textContent: "Remove the filters", onclick: () => this.clear() });
      const known = there && (n ? `${n} things match “${this.query}”` : `One thing matches “${this.query}”`);
      return { title: "Nothing is left with these filters", text: `${known ? `${known}; without` : "Without"} the filters there may be something to show.`, more: [clear] };
    }
    if (there) {
      const text = n ? `Each of the ${n} things that match ${NOT_FILTERED}.` : `The one thing that matches ${NOT_FILTERED}.`;
      return { title: `Nothing to show for “${this.query}”`, text: `${text} Try other words, or search by a picture.`, more: this.ideas() };
    }
    if (!this.query.trim()) return { title: "What are you looking for?", text: "Type a few words above, or begin with one of these.", more: this.ideas() };
    if (why.includes("no letters or digits")) return { title: "There are no words in this", text: "Search goes by words. Type a few, or begin with one of these.", more: this.ideas() };
    return { title: `Nothing here for “${this.query}”`, text: "No title, description or category has these words. Look at the spelling, try fewer or other words, or search by a picture.", more: this.ideas() };
  }

  ideas() {
    const chips = make("div", { className: "ideas" });
    suggest("", { k: 6, ...this.person.fields }).then(({ suggestions }) => {
      chips.replaceChildren(...suggestions.map(({ text, kind }) => make("button", { className: "pill", type: "button", textContent: kind === "category" ? humane(text) : text, onclick: () => this.search(text) })));
    }).catch((error) => { if (!(error instanceof ApiError)) throw error; });
    return [chips, make("button", { className: "pill strong", type: "button", onclick: this.bring }, icon("camera"), "Search by a picture")];
  }

  /* ------------------------------------------------------------------------------------------------------- filters */

  foundCategories(all) {
    const count = new Map();
    for (const one of all) count.set(one, (count.get(one) || 0) + 1);
    this.categories = [...count.keys()].sort((a, b) => count.get(b) - count.get(a)).slice(0, MOST_CATEGORIES);
  }

  /** The chips as the filters are; one that was there stays the same one, so that the focus stays on it. */
  showFilters() {
    const { kind, category, price_min: least, price_max: most } = this.filters;
    const priced = least !== null || most !== null;
    const chip = (name, label, on, onclick, more = {}) => {
      const button = (this.buttons ||= new Map()).get(name) || make("button", { type: "button", className: "filter" });
      this.buttons.set(name, button);
      button.onclick = onclick;
      button.classList.toggle("on", on);
      for (const [key, value] of Object.entries({ "aria-pressed": on, ...more })) if (value !== null) button.setAttribute(key, value); else button.removeAttribute(key);
      button.replaceChildren(...(on && !("aria-expanded" in more) ? [icon("chosen")] : []), label, ...("aria-expanded" in more ? [icon("open")] : []));
      return button;
    };
    const toggled = (one) => (category.includes(one) ? category.filter((other) => other !== one) : [...category, one]);
    const chips = [
      chip("kind", "Products only", kind === "product", () => this.change({ kind: kind === "product" ? null : "product" })),
      chip("price", priced ? this.priceLabel(least, most) : "Price", priced, () => this.openPrice(this.price.hidden), { "aria-pressed": null, "aria-expanded": !this.price.hidden, "aria-haspopup": "dialog" }),
      ...this.categories.map((one) => chip(`category ${one}`, humane(one), category.includes(one), () => this.change({ category: toggled(one) }))),
    ];
    if (this.filtered) chips.push(chip("clear", "Clear all", false, () => this.clear(), { "aria-pressed": null }));
    this.buttons.get("clear")?.classList.add("quietly");
    const gone = [...this.chips.children].filter((one) => !chips.includes(one));
    for (const one of gone) one.remove();
    chips.forEach((one, at) => { if (this.chips.children[at] !== one) this.chips.insertBefore(one, this.chips.children[at] || null); });
  }

  async change(filters) {
    Object.assign(this.filters, filters);
    this.showFilters();
    this.renamed();
    await this.load();
  }

  async clear() {
    const inside = this.feed.empty.contains(document.activeElement) || this.chips.contains(document.activeElement);
    const changed = this.change({ kind: null, category: [], price_min: null, price_max: null });
    if (inside) this.name.focus({ preventScroll: true });
    await changed;
  }

  priceLabel(least, most) {
    const price = (minor) => priceOf({ price_minor: minor, currency: this.currency });
    return least === null ? `Up to ${price(most)}` : most === null ? `From ${price(least)}` : `${price(least)} – ${price(most)}`;
  }

  /** How many minor units make one of the currency that is shown. */
  get unit() {
    try {
      return 10 ** new Intl.NumberFormat(undefined, { style: "currency", currency: this.currency || "EUR" }).resolvedOptions().maximumFractionDigits;
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      return 100;
    }
  }

  pricePanel() {
    const field = (name, label) => make("label", {}, label, make("input", { name, inputMode: "decimal", autocomplete: "off", placeholder: "Any", maxLength: 12 }));
    const panel = make("form", { className: "price-panel", role: "dialog", "aria-label": "Price", hidden: true },
      make("div", { className: "price-fields" }, field("least", "From"), field("most", "Up to")),
      make("div", { className: "price-buttons" },
        make("button", { className: "pill", type: "button", textContent: "Any price", onclick: () => { this.openPrice(false); this.change({ price_min: null, price_max: null }); } }),
        make("button", { className: "pill strong", textContent: "Show" })));
    const minor = (name) => {
      const value = Number.parseFloat(panel.elements[name].value.replace(",", "."));
      return Number.isFinite(value) && value >= 0 ? Math.round(value * this.unit) : null;
    };
    panel.onsubmit = (event) => {
      event.preventDefault();
      const [least, most] = [minor("least"), minor("most")];
      const turned = least !== null && most !== null && least > most;
      this.openPrice(false);
      this.change({ price_min: turned ? most : least, price_max: turned ? least : most });
    };
    panel.addEventListener("keydown", (event) => { if (event.key === "Escape") { event.stopPropagation(); this.openPrice(false); } });
    panel.addEventListener("focusout", (event) => { if (event.relatedTarget && !panel.contains(event.relatedTarget)) this.openPrice(false, false); });
    return panel;
  }

  openPrice(open, focus = true) {
    if (this.price.hidden === !open) return;
    const { price_min: least, price_max: most } = this.filters, chip = this.buttons.get("price");
    this.price.hidden = !open;
    chip.setAttribute("aria-expanded", open);
    this.away?.abort();
    if (!open) { if (focus) chip.focus({ preventScroll: true }); return; }
    this.away = new AbortController();
    document.addEventListener("pointerdown", (event) => { if (!this.price.contains(event.target) && !chip.contains(event.target)) this.openPrice(false, false); }, { signal: this.away.signal });
    const room = this.price.parentElement.clientWidth - this.price.offsetWidth;
    this.price.style.left = `${Math.max(0, Math.min(room, chip.offsetLeft - this.chips.scrollLeft))}px`;
    this.price.elements.least.value = least === null ? "" : least / this.unit;
    this.price.elements.most.value = most === null ? "" : most / this.unit;
    this.price.elements.least.focus();
  }
}
