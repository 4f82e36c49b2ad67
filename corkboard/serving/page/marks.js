// What the person of this tab did here. Every card of an item shows it, wherever the card is.

export class Marks {
  constructor() {
    this.saves = new Map(); // item -> event id of the save that holds
    this.follows = new Map(); // creator -> event id of the follow, "" where it is older than this page
    this.hidden = new Set(); // items
  }

  clear() {
    this.saves.clear();
    this.follows.clear();
    this.hidden.clear();
  }
}
