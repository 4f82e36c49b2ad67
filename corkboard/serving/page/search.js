// The search box: completes what is typed, by keyboard or pointer, and hands on what is searched for.

import { ApiError, suggest } from "./api.js";
import { humane, make } from "./cards.js";
import { icon } from "./icons.js";
import { announce } from "./toasts.js";

const WAIT_MS = 90, REMEMBERED = 60, SHOWN = 8;
const KIND = { category: "Category" }; // what is told of a completion that is no search of others

/** Lower case without accents, for the eye's comparison of what was typed with what completes it. */
export const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

export class SearchBox {
  /** `fields()` names the person, `search(text)` searches. */
  constructor({ form, fields, search }) {
    Object.assign(this, { form, fields, search });
    this.input = form.querySelector("input[role=combobox]");
    this.panel = form.querySelector(".search-panel");
    this.list = form.querySelector("[role=listbox]");
    this.wipe = form.querySelector(".search-clear");
    this.answers = new Map(); // by what was typed
    this.found = [];
    this.active = -1;
    form.querySelector(".search-icon").append(icon("search"));
    this.wipe.append(icon("close"));
    this.listen();
  }

  listen() {
    const { input, form } = this;
    form.onsubmit = (event) => { event.preventDefault(); this.submit(input.value); };
    input.oninput = () => { this.typed = input.value; this.showWipe(); this.ask(WAIT_MS); };
    input.onfocus = () => { this.typed = input.value; this.ask(0); };
    input.onclick = () => { if (this.panel.hidden) this.ask(0); };
    input.onkeydown = (event) => this.press(event);
    this.wipe.onclick = () => { input.value = this.typed = ""; this.showWipe(); input.focus(); this.ask(0); };
    this.panel.addEventListener("pointerdown", (event) => event.preventDefault()); // the focus stays in the box
    form.addEventListener("focusout", (event) => { if (!form.contains(event.relatedTarget)) this.close(); });
  }

  /** Show what the page in view was searched with. */
  show(text) {
    this.input.value = this.typed = text;
    this.showWipe();
    this.close();
  }

  focus() {
    this.input.focus();
    this.input.select();
  }

  /** What was answered to somebody else, or under another release, is forgotten, and so is what they are still being asked. */
  forget() {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.answers.clear();
  }

  showWipe() { this.wipe.hidden = !this.input.value; }

  submit(text) {
    if (!text.trim()) return this.ask(0);
    this.close();
    this.search(text.trim().replace(/\s+/g, " "));
  }

  press(event) {
    const { key } = event;
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (key === "ArrowDown" || key === "ArrowUp") {
      event.preventDefault();
      if (this.panel.hidden) this.ask(0); else this.step(key === "ArrowDown" ? 1 : -1);
    } else if (key === "Escape") {
      event.stopPropagation(); // which would go back
      event.preventDefault();
      if (this.panel.hidden) return this.input.blur();
      this.input.value = this.typed;
      this.close();
    }
  }

  /** On to the next completion, round by what was typed. */
  step(by) {
    const stops = this.found.length + 1;
    clearTimeout(this.timer); // what one chooses from stays as it is
    this.asked?.abort();
    if (stops > 1) this.mark(((this.active + 1 + by + stops) % stops) - 1);
  }

  mark(at) {
    this.active = at;
    this.input.value = at < 0 ? this.typed : this.found[at].text;
    this.showWipe();
    [...this.list.children].forEach((option, i) => {
      option.setAttribute("aria-selected", i === at);
      if (i === at) option.scrollIntoView({ block: "nearest" });
    });
    if (at < 0) this.input.removeAttribute("aria-activedescendant"); else this.input.setAttribute("aria-activedescendant", `completion-${at}`);
  }

  /** Ask what completes what was typed, after a moment in which nothing more is; an answer that comes too late is dropped. */
  ask(wait) {
    clearTimeout(this.timer);
    this.asked?.abort();
    const typed = this.typed, known = this.answers.get(typed);
    if (known) return this.fill(known);
    this.timer = setTimeout(async () => {
      const asked = (this.asked = new AbortController());
      try {
        const { suggestions } = await suggest(typed, { k: SHOWN, ...this.fields() }, { signal: asked.signal });
        if (asked.signal.aborted || typed !== this.typed) return;
        if (this.answers.size >= REMEMBERED) this.answers.delete(this.answers.keys().next().value);
        this.answers.set(typed, suggestions);
        this.fill(suggestions);
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        if (!asked.signal.aborted) this.close(); // one can search without
      }
    }, wait);
  }

  fill(found) {
    this.found = found;
    this.mark(-1);
    if (document.activeElement !== this.input || !found.length) return this.close();
    this.panel.querySelector(".search-label").textContent = this.typed.trim() ? "" : found.some((one) => one.kind === "query") ? "People search for" : "Ideas";
    this.list.replaceChildren(...found.map((one, i) => this.option(one, i)));
    if (this.panel.hidden) announce(`${found.length} suggestions. Use the arrow keys.`);
    this.panel.hidden = false;
    this.input.setAttribute("aria-expanded", true);
  }

  option({ text, kind }, at) {
    const shown = kind === "category" ? humane(text) : text, typed = this.typed.trim();
    const begins = typed && plain(shown).startsWith(plain(typed)) && shown.slice(0, typed.length);
    const words = begins ? [make("span", { textContent: begins }), make("b", { textContent: shown.slice(begins.length) })] : [make(typed ? "b" : "span", { textContent: shown })];
    const option = make("li", { id: `completion-${at}`, role: "option", "aria-selected": "false" },
      make("span", { className: "completion-icon" }, icon(kind === "category" ? "category" : "search")), make("span", { className: "completion" }, ...words),
      KIND[kind] ? make("small", { textContent: KIND[kind] }) : null);
    option.onclick = () => { this.input.value = text; this.submit(text); };
    return option;
  }

  close() {
    clearTimeout(this.timer);
    this.asked?.abort();
    this.panel.hidden = true;
    this.active = -1;
    this.input.setAttribute("aria-expanded", false);
    this.input.removeAttribute("aria-activedescendant");
  }
}
