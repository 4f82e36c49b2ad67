// The menu that says who is looking.

import { ApiError, sampleUsers } from "./api.js";
import { make, shortId } from "./cards.js";
import { Person } from "./person.js";
import { paintAvatar } from "./tiles.js";

export class People {
  constructor({ button, menu, list, form, choose, person }) {
    Object.assign(this, { button, menu, list, form, choose, person });
    button.onclick = () => (menu.hidden ? this.open() : this.close());
    form.onsubmit = (event) => {
      event.preventDefault();
      const id = form.elements.user.value.trim();
      if (id) this.pick(Person.user(id));
    };
    menu.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); this.close(); button.focus(); }
      if (event.key === "ArrowDown" || event.key === "ArrowUp") this.step(event.key === "ArrowDown" ? 1 : -1, event);
    });
    document.addEventListener("pointerdown", (event) => { if (!menu.hidden && !menu.parentElement.contains(event.target)) this.close(); });
  }

  show() {
    const person = this.person();
    document.getElementById("who-name").textContent = shortId(person.name);
    paintAvatar(document.getElementById("who-avatar"), person.name);
  }

  async open() {
    this.menu.hidden = false;
    this.button.setAttribute("aria-expanded", true);
    this.fill([]);
    this.list.querySelector("button").focus();
    try {
      this.fill((await sampleUsers()).users);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.list.append(make("p", { className: "quiet", textContent: error.kindly }));
    }
  }

  close() {
    this.menu.hidden = true;
    this.button.setAttribute("aria-expanded", false);
  }

  pick(person) {
    this.close();
    this.form.reset();
    this.choose(person);
  }

  step(by, event) {
    const buttons = [...this.list.querySelectorAll("button")], at = buttons.indexOf(document.activeElement);
    if (at < 0) return;
    event.preventDefault();
    buttons[Math.min(Math.max(at + by, 0), buttons.length - 1)].focus();
  }

  fill(users) {
    const focused = this.list.contains(document.activeElement), now = this.person();
    this.list.replaceChildren(
      this.entry("New visitor", "nothing known, only this session", !now.userId, () => Person.visitor()),
      ...users.map((user) => this.entry(user.user_id, `${user.actions} action${user.actions === 1 ? "" : "s"} so far`, now.userId === user.user_id, () => Person.user(user.user_id))));
    if (focused) this.list.querySelector("button").focus();
  }

  entry(name, line, current, who) {
    const avatar = make("span", { className: "avatar", "aria-hidden": "true" });
    paintAvatar(avatar, name);
    return make("button", { type: "button", "aria-current": current, onclick: () => this.pick(who()) }, avatar, make("span", {}, make("b", { textContent: shortId(name), title: name }), make("small", { textContent: line })));
  }
}
