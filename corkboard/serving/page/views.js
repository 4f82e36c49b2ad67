// Which view is shown: home, an item's page, or what looks like a picture. Every entry of the browser's history keeps its own view, so that
// one who comes back finds it as it was. `?item=ID` in the address names the item, `?like=ID` the item whose picture it is, `?look` a
// picture that a person brought.

import { newId } from "./api.js";

const KEPT = 10;

const NAMED = ["item", "like"];

/** What the address names: "item:ID", "like:ID" or "look"; null is home. */
export function placeOf() {
  const asked = new URLSearchParams(location.search), name = NAMED.find((one) => asked.get(one));
  return name ? `${name}:${asked.get(name)}` : asked.has("look") ? "look" : null;
}

function address(place) {
  const url = new URL(location.href), [, name, id] = /^(\w+)(?::(.*))?$/s.exec(place || "") || [];
  url.hash = "";
  for (const one of [...NAMED, "look"]) url.searchParams.delete(one);
  if (name) url.searchParams.set(name, id || "");
  return url;
}

export class Views {
  /** `home` and what `makePage(place, card)` makes have `place`, `title`, `feed`, `show()`, `hide()`, `focus()`; pages have `close()`. */
  constructor({ home, makePage, came }) {
    Object.assign(this, { home, makePage, came });
    this.pages = new Map(); // by the key of their history entry
    this.now = null;
    history.scrollRestoration = "manual";
    addEventListener("popstate", () => this.route());
  }

  /** Show what the address says. */
  route() {
    const place = placeOf(), state = history.state || {};
    this.came();
    if (this.now && !history.state && this.now.place === place) return history.replaceState({ key: this.now.key, depth: 0 }, ""); // "#feed" and the like
    if (!place) return this.turnTo(this.home);
    let page = this.pages.get(state.key);
    if (page?.place !== place) {
      const key = state.key || newId();
      history.replaceState({ depth: 0, ...state, key }, "");
      page = this.keep(key, this.makePage(place, null));
    }
    this.turnTo(page);
  }

  /** Go on to the page `place`, from `card` or from nothing; `kept` settles when the click on it is told. */
  open(place, card, kept) {
    const key = newId();
    this.now.left = card;
    this.now.y = scrollY;
    history.pushState({ key, depth: (history.state?.depth || 0) + 1 }, "", address(place));
    this.turnTo(this.keep(key, this.makePage(place, card, kept)));
  }

  back() {
    if (history.state?.depth) history.back(); else this.goHome();
  }

  goHome() {
    history.pushState({ depth: (history.state?.depth || 0) + 1 }, "", address(null));
    this.route();
  }

  /** Begin anew for this person, whatever is shown; what is kept of other entries is thrown away. */
  restart(person) {
    for (const page of this.pages.values()) page.close();
    this.pages.clear();
    this.home.feed.clear(person);
    Object.assign(this.home, { left: null, y: undefined });
    this.now = null;
    this.route();
  }

  turnTo(view) {
    if (view === this.now) return;
    const before = this.now;
    if (before) {
      before.y ??= scrollY;
      before.hide();
    }
    this.now = view;
    document.title = view.title;
    view.show();
    scrollTo({ top: view.y || 0 });
    view.y = undefined;
    if (before) view.focus();
  }

  keep(key, page) {
    page.key = key;
    this.pages.set(key, page);
    if (this.pages.size > KEPT) {
      const [oldest, gone] = [...this.pages].find(([, one]) => one !== this.now && one !== page);
      this.pages.delete(oldest);
      gone.close();
    }
    return page;
  }
}
