// What was seen and where: how events tell the place of a card, and that it was on the screen.

import { newId, send } from "./api.js";

const SEEN_MS = 1500;

/** The surface a card is on, the item it is beside, the picture it looks like and what was searched for, as events tell it. */
export const contextOf = ({ surface, beside, image, query }) => ({ surface, ...(query ? { query } : {}), ...(beside ? { context_item_id: beside } : {}), ...(image ? { context_image_hash: image } : {}) });

/** Tells the server what was really on the screen: each slot once, some seconds after it came into view. */
export class Seen {
  constructor(person) {
    this.person = person;
    this.cards = new Map();
    this.waiting = [];
    this.told = new Set();
    this.observer = new IntersectionObserver((entries) => {
      for (const entry of entries) if (entry.isIntersecting) this.note(this.cards.get(entry.target));
    }, { threshold: 0.5 });
    this.left = () => this.flush();
    addEventListener("pagehide", this.left);
  }

  close() {
    this.observer.disconnect();
    removeEventListener("pagehide", this.left);
  }

  watch(card) {
    this.cards.set(card.picture, card);
    this.observer.unobserve(card.picture);
    this.observer.observe(card.picture);
  }

  forget(card) {
    this.observer.unobserve(card.picture);
    this.cards.delete(card.picture);
  }

  note(card) {
    const name = card && `${card.place.request} ${card.id}`;
    if (!card || this.told.has(name)) return;
    this.told.add(name);
    this.waiting.push({ place: card.place, slot: { item_id: card.id, position: card.place.position, score: card.slot.score, source: card.slot.source.join(",") || null } });
    this.timer ||= setTimeout(() => this.flush(), SEEN_MS);
  }

  flush() {
    clearTimeout(this.timer);
    this.timer = null;
    const shown = new Map();
    for (const { place, slot } of this.waiting) {
      if (!shown.has(place.request)) shown.set(place.request, { event: "impression", event_id: newId(), time_ms: Date.now(), request_id: place.request, ...contextOf(place), ...this.person().fields, slots: [] });
      shown.get(place.request).slots.push(slot);
    }
    this.waiting = [];
    const events = [...shown.values()];
    if (events.length) send(events, { keepalive: true }).catch((error) => console.warn("Impressions were not kept:", error.message));
  }
}
