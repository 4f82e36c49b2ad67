// One item, large. Closing it after a good look is told as a long click.

import { humane, make, priceOf, shortId, titleOf } from "./cards.js";
import { icon } from "./icons.js";
import { tile } from "./tiles.js";

const LONG_MS = 10_000;

/** Open the sheet of `card`; `act(card, what)` hears of its buttons, `looked(card, ms)` of a look longer than ten seconds. */
export function openDetail(dialog, card, { act, looked, followed }) {
  const { item } = card, opened = Date.now(), price = priceOf(item);
  const close = make("button", { className: "icon-button", type: "button", "aria-label": "Close", onclick: () => dialog.close() }, icon("close"));
  const save = make("button", { className: "pill strong", type: "button", textContent: card.saved ? "Saved" : "Save" });
  save.onclick = () => { act(card, "save"); save.textContent = card.saved ? "Save" : "Saved"; };
  const follow = item.creator_id && make("button", { className: "pill", type: "button", textContent: followed(item.creator_id) ? `Following ${shortId(item.creator_id)}` : `Follow ${shortId(item.creator_id)}`, onclick: () => { act(card, "follow"); dialog.close(); } });
  const why = make("button", { className: "pill", type: "button", textContent: "Why is this here?", onclick: () => { dialog.close(); act(card, "why"); } });
  const facts = [["Category", item.category && humane(item.category)], ["Creator", item.creator_id], ["Brand", item.brand_id], ["Kind", item.kind && humane(item.kind)], ["Id", item.item_id]].filter(([, value]) => value);
  dialog.replaceChildren(make("div", { className: "sheet" },
    make("div", { className: "picture" }, tile(item, 1.33)),
    make("div", { className: "words" },
      make("div", { className: "top" }, close),
      make("h2", { id: "detail-title", textContent: titleOf(item) }),
      price && make("div", { className: "big", textContent: price }),
      item.description && make("p", { textContent: item.description }),
      make("table", { className: "numbers" }, make("tbody", {}, ...facts.map(([name, value]) => make("tr", {}, make("td", { textContent: name }), make("td", { textContent: value }))))),
      make("div", { className: "buttons" }, save, follow || null, why))));
  dialog.onclick = (event) => { if (event.target === dialog) dialog.close(); };
  dialog.onclose = () => {
    const ms = Date.now() - opened;
    if (ms >= LONG_MS) looked(card, ms);
    if (card.picture.isConnected) card.picture.focus({ preventScroll: true });
  };
  dialog.showModal();
}
