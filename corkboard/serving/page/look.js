// The page of what looks like a picture, or a part of it: one that a person brought, or that of an item.

import { ApiError, item as itemEntry, recommend, recommendLike } from "./api.js";
import { make, titleOf } from "./cards.js";
import { Cropper } from "./crop.js";
import { Feed } from "./feed.js";
import { icon } from "./icons.js";
import { hasPicture, picture } from "./pictures.js";
import { announce } from "./toasts.js";

const MOST_BYTES = 8 * 1024 * 1024, SHRUNK_PX = 2048;
export const TAKEN = ["image/jpeg", "image/png", "image/webp", "image/gif"];

/** What a person wants to know of the notes of such a page, or null. */
function wordsFor(codes) {
  if (codes.includes("no_visual") || codes.includes("picture_failed")) return "Pictures can't be compared at the moment, so this is what can be found without.";
  if (codes.includes("artifact_unusable")) return "Not everything works at the moment; what is here may not look like the picture.";
  if (codes.includes("unknown_item")) return "This item is not known here, so this is what your feed would show.";
  if (codes.includes("no_picture")) return "The picture of this is not known yet, so this is like it in other ways.";
  return null;
}

/** The file as it can be sent: one that is too large is made smaller here. */
export async function fitting(file) {
  if (file.size <= MOST_BYTES) return file;
  const bitmap = await createImageBitmap(file), scale = Math.min(1, SHRUNK_PX / Math.max(bitmap.width, bitmap.height));
  const canvas = make("canvas", { width: Math.round(bitmap.width * scale), height: Math.round(bitmap.height * scale) });
  const context = canvas.getContext("2d");
  context.fillStyle = "white";  // what is clear would else turn black
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("the picture could not be made smaller"))), "image/jpeg", 0.9));
}

export class LookPage {
  /**
   * `place` names it in the address: "like:ITEM" or "look". `card` is what it was opened from and `file` what a person brought, each or null.
   * `act`, `back` and `noticedRelease` as for an item's page; `choose()` lets one bring another picture.
   */
  constructor(box, place, card, file, { person, marks, act, back, noticedRelease, choose }) {
    Object.assign(this, { place, person, marks, file, noticedRelease, choose });
    this.itemId = place.startsWith("like:") ? place.slice(5) : null;
    this.item = card?.item || null;
    this.act = act;
    this.build(back);
    box.append(this.element);
    this.load();
  }

  build(back) {
    this.sheet = make("article", { className: "sheet look" });
    this.hint = make("div", { className: "hint", hidden: true });
    const parts = { box: make("div", { className: "feed", role: "region", "aria-label": "What looks like it", "aria-busy": "true" }), tail: make("div", { className: "tail", "aria-hidden": "true" }),
      end: make("p", { className: "end", hidden: true, textContent: "That is all there is that looks like it." }), empty: make("div", { className: "empty", hidden: true }) };
    this.element = make("section", { className: "item-page look-page", hidden: true },
      make("button", { className: "pill back", type: "button", onclick: back }, icon("back"), "Back"), this.sheet,
      make("h2", { className: "more-head", textContent: "Looks like it" }), this.hint, parts.box, parts.tail, parts.end, parts.empty);
    this.feed = new Feed({
      ...parts, asks: { surface: "visual", ...(this.itemId ? { item_id: this.itemId } : {}) }, marks: this.marks, act: this.act, noticed: (page) => this.noticed(page), onActed: () => {},
      send: (body) => (this.file ? recommendLike(body, this.file) : recommend(body)),
      nothing: { title: "Nothing looks like it yet", text: "As soon as there are pictures like this one, they are here." },
    });
  }

  get title() { return `${this.item ? `Looks like ${titleOf(this.item)}` : "Looks like your picture"} · Corkboard`; }
  get idle() { return this.ready && !this.feed.cards.length && !this.feed.loading; }
  get ready() { return Boolean(this.itemId || this.file); }

  async load() {
    if (this.itemId && !this.item) await this.find();
    if (this.closed) return;
    this.showSheet();
    if (!this.element.hidden) document.title = this.title;
    if (this.ready) await this.feed.restart(this.person);
    else this.feed.box.setAttribute("aria-busy", "false");
  }

  async find() {
    try {
      this.item = await itemEntry(this.itemId);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
    }
  }

  show() {
    this.element.hidden = false;
    if (this.ready) this.feed.show();
  }

  hide() {
    this.element.hidden = true;
    this.feed.hide();
  }

  showMarks() { this.feed.showMarks(); }

  focus() {
    const target = this.left?.picture.isConnected ? this.left.picture : this.name;
    target?.focus({ preventScroll: true });
  }

  close() {
    this.closed = true;
    this.cropper?.close();
    if (this.preview) URL.revokeObjectURL(this.preview);
    this.feed.close();
    this.element.remove();
  }

  showSheet() {
    const name = this.item ? `Looks like “${titleOf(this.item)}”` : this.ready ? "Looks like your picture" : "Find things by a picture";
    this.name = make("h1", { tabIndex: -1, textContent: name });
    const image = this.shown();
    this.whole = make("button", { className: "pill", type: "button", hidden: true, textContent: "The whole picture", onclick: () => { this.cropper.reset(); this.cropper.box.focus({ preventScroll: true }); } });
    const another = make("button", { className: this.ready ? "pill" : "pill strong", type: "button", onclick: this.choose }, icon("camera"), this.file ? "Another picture" : this.itemId ? "A picture of my own" : "Choose a picture");
    const words = image ? "Draw over a part to look for that alone." : this.itemId ? "There is no picture of this here." : "Choose one, drop it anywhere on this page, or paste it. It is looked at and not kept.";
    this.cropper = image && new Cropper(image, (crop) => this.cropped(crop));
    this.sheet.classList.toggle("missing", !image);
    this.sheet.setAttribute("aria-label", name);
    this.sheet.replaceChildren(...(image ? [make("div", { className: "picture" }, this.cropper.element)] : []),
      make("div", { className: "words" }, this.name, make("p", { className: "quiet", textContent: words }), make("div", { className: "buttons" }, another, this.whole)));
  }

  /** The picture as it is shown, or null. */
  shown() {
    if (!this.file) return this.item && hasPicture(this.item) ? picture(this.item, undefined, "520px") : null;
    this.preview = URL.createObjectURL(this.file);
    return make("img", { className: "photo", alt: "Your picture", src: this.preview, draggable: false });
  }

  /** Another part counts: what looks like that. */
  async cropped(crop) {
    if (this.closed) return;
    this.whole.hidden = !crop;
    if (crop) this.feed.asks.crop = crop; else delete this.feed.asks.crop;
    await this.feed.restart();
    if (!this.closed && this.feed.cards.length) announce(`${this.feed.cards.length} things look like it.`);
  }

  noticed(page) {
    this.noticedRelease(page);
    const words = wordsFor(page.notes.map((note) => note.code));
    this.hint.hidden = !words;
    this.hint.textContent = words || "";
  }
}
