// A picture with a rectangle on it that says which part counts: drawn, moved and pulled by pointer or by keys.

import { make } from "./cards.js";
import { announce } from "./toasts.js";

const LEAST = 0.08, STEP = 0.02, SETTLED_MS = 350;
const CORNERS = [["left", "top"], ["right", "top"], ["left", "bottom"], ["right", "bottom"]];
const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const WHOLE = { left: 0, top: 0, right: 1, bottom: 1 };

const within = (value, least, most) => Math.min(Math.max(value, least), most);

export class Cropper {
  /** `image` is an element that shows the picture; `changed(crop)` hears of a part, `[x0, y0, x1, y1]` as shares, or null for the whole, once it has settled. */
  constructor(image, changed) {
    Object.assign(this, { image, changed });
    this.part = { ...WHOLE };
    this.box = make("div", { className: "part", tabIndex: 0, role: "group", "aria-label": "The part that counts. Arrow keys move it, with Shift they resize it.", onkeydown: (event) => this.press(event, null) });
    for (const [x, y] of CORNERS) {
      const name = `${y === "top" ? "Top" : "Bottom"} ${x} corner of the part`;
      this.box.append(make("button", { className: `corner ${x} ${y}`, type: "button", "aria-label": name, onkeydown: (event) => this.press(event, [x, y]), onpointerdown: (event) => this.grab(event, [x, y]) }));
    }
    this.box.onpointerdown = (event) => this.grab(event, this.whole ? "new" : null);
    this.element = make("div", { className: "cropper", onpointerdown: (event) => this.grab(event, "new") }, image, this.box);
    this.show();
  }

  get whole() { return this.part.right - this.part.left > 0.999 && this.part.bottom - this.part.top > 0.999; }

  /** The part as the server is told, or null for the whole picture. */
  get crop() {
    const { left, top, right, bottom } = this.part;
    return this.whole ? null : [left, top, right, bottom].map((share) => Math.round(share * 1000) / 1000);
  }

  reset() { this.set({ ...WHOLE }); }

  set(part) {
    this.part = part;
    this.show();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      announce(this.words);
      this.changed(this.crop);
    }, SETTLED_MS);
  }

  close() { clearTimeout(this.timer); }

  get words() {
    const { left, top, right, bottom } = this.part, percent = (share) => `${Math.round(100 * share)} %`;
    return this.whole ? "The whole picture counts" : `The part from ${percent(left)} across and ${percent(top)} down, ${percent(right - left)} wide and ${percent(bottom - top)} high`;
  }

  show() {
    const { left, top, right, bottom } = this.part;
    Object.assign(this.box.style, { left: `${100 * left}%`, top: `${100 * top}%`, width: `${100 * (right - left)}%`, height: `${100 * (bottom - top)}%` });
    this.element?.classList.toggle("partly", !this.whole);
  }

  /** The part with one corner moved by these shares; the other stays. */
  pulled(part, [x, y], dx, dy) {
    const next = { ...part };
    next[x] = x === "left" ? within(part.left + dx, 0, part.right - LEAST) : within(part.right + dx, part.left + LEAST, 1);
    next[y] = y === "top" ? within(part.top + dy, 0, part.bottom - LEAST) : within(part.bottom + dy, part.top + LEAST, 1);
    return next;
  }

  moved(part, dx, dy) {
    dx = within(dx, -part.left, 1 - part.right);
    dy = within(dy, -part.top, 1 - part.bottom);
    return { left: part.left + dx, top: part.top + dy, right: part.right + dx, bottom: part.bottom + dy };
  }

  press(event, corner) {
    const way = KEYS[event.key];
    if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const [dx, dy] = [way[0] * STEP, way[1] * STEP];
    if (corner) this.set(this.pulled(this.part, corner, dx, dy));
    else if (event.shiftKey) this.set(this.pulled(this.part, ["right", "bottom"], dx, dy));
    else this.set(this.moved(this.part, dx, dy));
  }

  /** Follow the pointer: a corner is pulled, null moves the part, "new" draws another one. */
  grab(event, what) {
    if (event.button) return;
    event.preventDefault();
    event.stopPropagation();
    const frame = this.element.getBoundingClientRect(), begun = { ...this.part };
    const at = (one) => [within((one.clientX - frame.left) / frame.width, 0, 1), within((one.clientY - frame.top) / frame.height, 0, 1)];
    const [x, y] = at(event);
    const follow = (one) => {
      const [nx, ny] = at(one);
      if (what === "new") {
        if (Math.max(Math.abs(nx - x), Math.abs(ny - y)) < 0.02) return;
        const wide = Math.max(Math.abs(nx - x), LEAST), high = Math.max(Math.abs(ny - y), LEAST);
        const left = within(Math.min(x, nx), 0, 1 - wide), top = within(Math.min(y, ny), 0, 1 - high);
        this.set({ left, top, right: left + wide, bottom: top + high });
      } else this.set(what ? this.pulled(begun, what, nx - x, ny - y) : this.moved(begun, nx - x, ny - y));
    };
    const target = event.currentTarget, end = () => {
      target.removeEventListener("pointermove", follow);
      target.removeEventListener("pointerup", end);
      target.removeEventListener("pointercancel", end);
    };
    target.setPointerCapture(event.pointerId);
    target.addEventListener("pointermove", follow);
    target.addEventListener("pointerup", end);
    target.addEventListener("pointercancel", end);
    (what === "new" || what === null ? this.box : target).focus({ preventScroll: true });
  }
}
