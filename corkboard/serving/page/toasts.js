// Short messages at the bottom of the page, each with at most one thing to do.

const box = document.getElementById("toasts");
const live = document.getElementById("announce");

/** Say something to those who can't see the page. */
export function announce(text) {
  live.textContent = "";
  requestAnimationFrame(() => { live.textContent = text; });
}

/** Show `text`; `action` is {label, run}. Returns a function that takes it away. */
export function toast(text, { action, bad = false, ms = 6000, id } = {}) {
  if (id) box.querySelector(`[data-id="${id}"]`)?.remove();
  const element = document.createElement("div");
  element.className = bad ? "toast bad" : "toast";
  if (id) element.dataset.id = id;
  element.setAttribute("role", bad ? "alert" : "status");
  const words = document.createElement("span");
  words.textContent = text;
  element.append(words);
  const close = () => element.remove();
  let timer = setTimeout(close, ms);
  element.onpointerenter = element.onfocus = () => clearTimeout(timer);
  element.onpointerleave = () => { timer = setTimeout(close, ms); };
  if (action) {
    const button = document.createElement("button");
    button.className = "pill";
    button.textContent = action.label;
    button.onclick = () => { close(); action.run(); };
    element.append(button);
  } else {
    element.append(Object.assign(document.createElement("span"), { className: "pad" }));
  }
  while (box.children.length > 2) box.firstChild.remove();
  box.append(element);
  return close;
}
