// Columns of cards: each card goes where there is most room at the top, so what comes first in the feed is highest.

const GAP_X = 18, GAP_Y = 22, WIDE = 236, NARROW = 150;

export class Masonry {
  constructor(box, relayout) {
    this.box = box;
    this.width = 0;
    this.watcher = new ResizeObserver(() => { if (box.clientWidth !== this.width) relayout(); });
    this.watcher.observe(box);
  }

  close() { this.watcher.disconnect(); }

  /** Place `cards` in this order; one that was here before glides to its new place. A box that is not shown waits until it is. */
  layout(cards) {
    if (!this.box.clientWidth) return;
    const changed = this.box.clientWidth !== this.width;
    this.width = this.box.clientWidth;
    const aim = this.width < 640 ? NARROW : WIDE;
    const columns = Math.max(2, Math.floor((this.width + GAP_X) / (aim + GAP_X)));
    const wide = (this.width - GAP_X * (columns - 1)) / columns;
    for (const card of cards) if (changed || !card.height) {
      card.element.style.width = `${wide}px`;
      card.picture.style.height = `${Math.round(wide * card.ratio)}px`;
      card.height = 0;
    }
    for (const card of cards) card.height ||= card.element.offsetHeight;
    const filled = new Array(columns).fill(0);
    for (const card of cards) {
      let at = 0;
      for (let i = 1; i < columns; i++) if (filled[i] < filled[at] - 1) at = i;
      card.x = Math.round(at * (wide + GAP_X));
      card.y = filled[at];
      card.element.style.transform = `translate(${card.x}px, ${card.y}px)`;
      filled[at] += card.height + GAP_Y;
    }
    this.box.style.height = `${Math.max(0, ...filled)}px`;
    if (cards.some((card) => card.fresh)) {
      void this.box.offsetHeight; // the new place counts before the transition is switched on
      for (const card of cards) if (card.fresh) {
        card.fresh = false;
        card.element.classList.add("settled");
        card.element.classList.remove("entering");
      }
    }
  }
}
