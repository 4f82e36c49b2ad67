// One card of the feed: its picture, its words, its buttons and its keys.

import { icon } from "./icons.js";
import { hasPicture, picture, shownRatio } from "./pictures.js";
import { paintAvatar } from "./tiles.js";

/** An element with properties, attributes (`aria-…`, `data-…`) and children. */
export function make(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.includes("-")) element.setAttribute(name, value); else element[name] = value;
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const titleOf = (item) => item.title || item.item_id;

/** A price as people of this browser write it, or null. */
export function priceOf(item) {
  if (item.price_minor === null || item.price_minor === undefined) return null;
  const currency = item.currency || "EUR";
  try {
    const format = new Intl.NumberFormat(undefined, { style: "currency", currency });
    return format.format(item.price_minor / 10 ** format.resolvedOptions().maximumFractionDigits);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error; // a currency the browser doesn't know
    return `${(item.price_minor / 100).toFixed(2)} ${currency}`;
  }
}

/** "hand_made toys" as people write it. */
export const humane = (text) => String(text).replaceAll("_", " ").replace(/^\p{Ll}/u, (letter) => letter.toUpperCase());

/** A release by what it has most lately learned: "+ ranker" is "ranker". */
export const labelOf = (label) => (label || "").replace(/^\+\s*/, "");

/** An id as people can read it: long hexadecimal ones are cut, they only have to be told apart. */
export const shortId = (id) => (/^[a-z]{0,3}[0-9a-f]{10,}$/.test(id) ? `${id.slice(0, 6)}…` : id);

/** Wishes by key, with the focus on a card. */
export const KEYS = { s: "save", h: "hide", f: "follow", w: "why", l: "look" };

export class Card {
  /** `slot` is one item of an answer of the server, `act(card, what)` hears of every wish. */
  constructor(slot, place, act, marks) {
    this.item = slot.item;
    this.slot = slot;
    this.marks = marks;
    this.place = place; // surface and the item beside, request, position and the cursor its page came from
    this.ratio = shownRatio(this.item);
    this.height = 0;
    this.fresh = true;
    this.build(act);
  }

  get id() { return this.item.item_id; }

  build(act) {
    const { item } = this, name = titleOf(item), price = priceOf(item);
    const wish = (what) => (event) => { event.stopPropagation(); act(this, what); };
    this.picture = make("button", { className: "tile", type: "button", "aria-label": item.things ? `Open ${name}, a look of ${item.things} things` : `Open ${name}`, onclick: wish("open") }, picture(item, this.ratio));
    this.saveButton = make("button", { className: "save-button", type: "button", onclick: wish("save") });
    this.hideButton = make("button", { className: "icon-button hide-button", type: "button", "aria-label": `Hide ${name}`, title: "Hide this", onclick: wish("hide") }, icon("hide"));
    this.whyButton = make("button", { className: "icon-button why-button", type: "button", "aria-label": `Why is ${name} here?`, title: "Why is this here?", onclick: wish("why") }, icon("why"));
    this.lookButton = hasPicture(item) ? make("button", { className: "icon-button look-button", type: "button", "aria-label": `More like the picture of ${name}`, title: "More like this picture", onclick: wish("look") }, icon("look")) : null;
    this.maker = item.creator_id ? make("button", { className: "maker follow-button", type: "button", onclick: wish("follow") }) : make("span", { className: "maker" });
    this.element = make("article", { className: "card entering", "aria-label": name, "data-item": item.item_id },
      make("div", { className: "frame" }, this.picture, item.things ? make("span", { className: "things", textContent: `${item.things} things` }, icon("category")) : null, this.saveButton, this.lookButton),
      make("div", { className: "meta" },
        make("h3", { className: "title", textContent: name }),
        make("p", { className: "facts" },
          price && make("span", { className: "price", textContent: price }),
          price && item.category && make("span", { textContent: "·", "aria-hidden": "true" }),
          item.category && make("span", { className: "category", textContent: humane(item.category) })),
        this.place.surface !== "home" && this.slot.reason ? make("p", { className: "because", textContent: this.slot.reason }) : null,
        make("div", { className: "foot" }, this.maker, make("span", { className: "grow" }), this.hideButton, this.whyButton)));
    this.element.onkeydown = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !KEYS[event.key] || (KEYS[event.key] === "look" && !this.lookButton)) return;
      event.preventDefault();
      act(this, KEYS[event.key]);
    };
    this.showMarks();
  }

  /** Show whether it is saved and its creator followed, where that has changed. */
  showMarks() {
    const saved = this.marks.saves.has(this.id), followed = this.marks.follows.has(this.item.creator_id);
    if (saved !== this.saved) this.showSaved(saved);
    if (followed !== this.followed) this.showFollowed(followed);
    Object.assign(this, { saved, followed });
  }

  showSaved(saved) {
    this.saveButton.replaceChildren(icon("save"), saved ? "Saved" : "Save");
    this.saveButton.setAttribute("aria-pressed", saved);
    this.saveButton.setAttribute("aria-label", `${saved ? "Saved, take back" : "Save"} ${titleOf(this.item)}`);
  }

  showFollowed(followed) {
    const creator = this.item.creator_id;
    if (!creator) return;
    const avatar = make("span", { className: "avatar", "aria-hidden": "true" });
    paintAvatar(avatar, creator);
    this.maker.replaceChildren(avatar, make("span", { className: "name", textContent: shortId(creator) }), icon(followed ? "followed" : "follow"));
    this.maker.setAttribute("aria-pressed", followed);
    this.maker.setAttribute("aria-label", `${followed ? "Following" : "Follow"} ${creator}`);
    this.maker.title = followed ? `You follow ${creator}` : `Follow ${creator}`;
  }

  /** Say on the card that what lies below has changed, and why. */
  hint(text) {
    this.element.querySelector(".flow-hint")?.remove();
    const hint = make("span", { className: "flow-hint", textContent: text });
    this.picture.parentElement.append(hint);
    this.element.classList.add("acted");
    setTimeout(() => { hint.remove(); this.element.classList.remove("acted"); }, 5000);
  }

  markNew() {
    const badge = make("span", { className: "badge", textContent: "New" });
    this.element.firstChild.append(badge);
    setTimeout(() => badge.remove(), 8000);
  }
}
