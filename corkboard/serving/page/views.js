// Which view is shown: home, an item's page, or what looks like a picture. Every entry of the browser's history keeps its own view, so that
// one who comes back finds it as it was. `?item=ID` in the address names the item, `?like=ID` the item whose picture it is, `?look` a
// picture that a person brought, `?q=WORDS` a search, with its filters beside it.

import { newId } from "./api.js";

const KEPT = 10;

const NAMED = ["item", "like"], SEARCH = ["q", "kind", "category", "price_min", "price_max"];

/** What the address names: "item:ID", "like:ID", "look" or "search:" and what is asked as in an address; null is home. */
export function placeOf() {
  const asked = new URLSearchParams(location.search), name = NAMED.find((one) => asked.get(one));
  if (name) return `${name}:${asked.get(name)}`;
  return asked.has("look") ? "look" : asked.has("q") ? searchPlace(asked) : null;
}

/** The place of a search: of `asked`, address parameters, those that belong to it. */
export function searchPlace(asked) {
  return `search:${new URLSearchParams(SEARCH.flatMap((name) => asked.getAll(name).map((value) => [name, value])))}`;
}

function address(place) {
  const url = new URL(location.href), [, name, id] = /^(\w+)(?::(.*))?$/s.exec(place || "") || [];
  url.hash = "";
  for (const one of [...NAMED, "look", ...SEARCH]) url.searchParams.delete(one);
  if (name === "search") for (const [one, value] of new URLSearchParams(id)) url.searchParams.append(one, value);
  else if (name) url.searchParams.set(name, id || "");
  return url;
}

export class Views {
  /** `home` and what `makePage(place, card)` makes have `place`, `title`, `feed`, `show()`, `hide()`, `focus()`; pages have `close()`. */
  constructor({ home, makePage, came, turned }) {
    Object.assign(this, { home, makePage, came, turned });
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

  /** The address of what is shown follows its place, which has changed: another filter is no other page. */
  renamed() {
    history.replaceState(history.state, "", address(this.now.place));
    document.title = this.now.title;
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
    this.turned(view);
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
