"""The page that judges use: one file that works offline, with pictures in it, one question after the other in blind order.

It knows no source and no gold. Votes stay in the browser (localStorage, by name and set of questions) until they are downloaded as CSV:
question_id, judge_id, grade. Titles and ids come from strangers: they stand in JSON, and the script sets them as text and nothing else.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from corkboard.artifacts import content_hash
from corkboard.shopping.judging import GRADES

SIDE = 320
"""Longest side, in px, of a picture on the page; larger ones are made smaller."""
MEANINGS = (
    "another kind of thing, or one with nothing in common",
    "the same kind of thing, with little else in common",
    "would do in its place; a detail or two differ",
    "the same thing, or one that is hard to tell from it",
)
"""What judges read beside each of :data:`corkboard.shopping.judging.GRADES`."""


@dataclass(frozen=True)
class ShownQuestion:
    """A question as a judge sees it."""

    question_id: str
    query: int
    """Which picture shows what is asked about: place in the list of pictures."""
    product: int
    """Which picture shows the product."""
    title: str = ""
    """The title of the product, for those who have pictures read to them; it is not printed."""


def judging_page(questions: Sequence[ShownQuestion], images: Sequence[np.ndarray]) -> str:
    """The HTML of the page. ``images`` are uint8 ``(height, width, 3)`` of any size; questions come in this order."""
    rows = [[one.question_id, one.query, one.product, one.title] for one in questions]
    asked = {
        "id": content_hash("judging page", [one.question_id for one in questions]),
        "grades": GRADES,
        "images": [as_data(image) for image in images],
        "questions": rows,
    }
    buttons = "".join(
        f'<button type="button" data-grade="{grade}" aria-keyshortcuts="{grade}">'
        f"<kbd>{grade}</kbd> {html.escape(name.capitalize())}</button>"
        for grade, name in enumerate(GRADES)
    )
    meanings = "".join(
        f"<dt><kbd>{grade}</kbd> {html.escape(name.capitalize())}</dt><dd>{html.escape(meaning)}</dd>"
        for grade, (name, meaning) in enumerate(zip(GRADES, MEANINGS, strict=True))
    )
    body = BODY.replace("{buttons}", buttons).replace("{meanings}", meanings)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><title>How alike are these?</title><style>{STYLE}</style></head>'
        f'<body>{body}<script type="application/json" id="asked">{_as_json(asked)}</script><script>{SCRIPT}</script></body></html>'
    )


def as_data(image: np.ndarray) -> str:
    """A picture as a data URI: JPEG, its longer side at most :data:`SIDE` px."""
    picture = Image.fromarray(np.ascontiguousarray(image))
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _as_json(value: object) -> str:
    """JSON that ends no script element and begins no comment, whatever text is in it."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""Nothing is fetched and nothing is sent, whatever is on the page."""

BODY = """
<main>
<form id="start">
<h1>How alike are these?</h1>
<p>You see a part of a picture and, beside it, a product. Say how alike the two <em>look</em>, from 0 to 3, by button or key.
What a title or a price would say does not count, and neither does the background.</p>
<dl>{meanings}</dl>
<p>Keys: <kbd>0</kbd> to <kbd>3</kbd>, <kbd>s</kbd> where nobody could tell, <kbd>u</kbd> or <kbd>Backspace</kbd> to take the last one back.
You can stop at any time: this browser remembers where you were. At the end, download your votes and send the file back.</p>
<label for="judge">Your name, or any name that stays yours</label>
<div class="row"><input id="judge" required maxlength="100" autocomplete="off"><button class="strong">Start</button></div>
</form>
<section id="work" hidden aria-labelledby="question">
<div class="row"><h1 id="question" tabindex="-1"></h1><progress id="progress" aria-labelledby="question" value="0" max="1"></progress></div>
<div class="pair">
<figure><img id="query" alt="Part of a picture"><figcaption>Part of a picture</figcaption></figure>
<figure><img id="product" alt="Product"><figcaption>Product</figcaption></figure>
</div>
<div class="grades" role="group" aria-label="How alike they look">{buttons}</div>
<div class="row">
<button type="button" class="undo" aria-keyshortcuts="u Backspace">Undo</button>
<button type="button" id="skip" aria-keyshortcuts="s">Cannot tell</button>
<span class="grow"></span>
<button type="button" class="save">Download votes so far</button>
</div>
</section>
<section id="done" hidden aria-labelledby="thanks">
<h1 id="thanks" tabindex="-1">That was the last one. Thank you.</h1>
<p>Download your votes and send the file back to whoever asked you.</p>
<div class="row"><button type="button" class="save strong">Download votes</button>
<button type="button" class="undo" aria-keyshortcuts="u Backspace">Undo</button></div>
</section>
<p id="warning" class="warning" role="alert" hidden></p>
<p id="said" class="unseen" role="status"></p>
</main>
"""

STYLE = """
:root { color-scheme: light dark; --page: #faf8f6; --card: #fff; --ink: #1d1a18; --dim: #6c655f; --line: #d9d1ca; --accent: #b8235a;
  --accent-ink: #fff; }
@media (prefers-color-scheme: dark) { :root { --page: #131211; --card: #1d1b1a; --ink: #f3efec; --dim: #a79f99; --line: #443e3b;
  --accent: #f0638f; --accent-ink: #240712; } }
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 860px; margin: 0 auto; padding: 24px 20px 48px; }
h1 { font-size: 22px; margin: 0; } h1:focus { outline: none; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 6px 16px; } dt { font-weight: 600; } dd { margin: 0; }
kbd { display: inline-block; min-width: 1.6em; padding: 0 .4em; text-align: center; border: 1px solid var(--line); border-radius: 5px;
  font: inherit; font-weight: 600; }
button, input { font: inherit; color: inherit; background: var(--card); border: 1px solid var(--line); border-radius: 10px;
  padding: 10px 16px; min-height: 44px; }
button { cursor: pointer; } button:hover { border-color: var(--ink); } button[disabled] { opacity: .5; cursor: default; }
.strong { background: var(--accent); color: var(--accent-ink); border-color: var(--accent); font-weight: 600; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.row { display: flex; flex-wrap: wrap; gap: 10px; align-items: center; margin: 12px 0; } .grow, input, progress { flex: 1; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; }
figure { margin: 0; background: #fff; color: #6c655f; border: 1px solid var(--line); border-radius: 12px; padding: 12px;
  text-align: center; }
img { width: 100%; height: min(44vh, 360px); object-fit: contain; }
.grades { display: grid; grid-template-columns: repeat(auto-fit, minmax(170px, 1fr)); gap: 10px; margin: 16px 0; }
.warning { border-left: 4px solid var(--accent); padding: 8px 14px; background: var(--card); }
.unseen { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
"""

SCRIPT = """
"use strict";
const asked = JSON.parse(document.getElementById("asked").textContent);
const at = (id) => document.getElementById(id);
const total = asked.questions.length, keep = "corkboard-judging/" + asked.id;
let judge = "", votes = [];

function read(key) {
  try { return localStorage.getItem(key); } catch { return null; }
}
function write(key, value) {
  try { localStorage.setItem(key, value); } catch {
    at("warning").textContent = "This browser does not remember votes: download them before you close the page.";
    at("warning").hidden = false;
  }
}
function remembered() {
  let found = [];
  try { found = JSON.parse(read(keep + "/votes/" + judge)); } catch { }
  const fits = Array.isArray(found) && found.length <= total;
  return fits && found.every((vote) => vote === null || [0, 1, 2, 3].includes(vote)) ? found : [];
}
function show(part, focus) {
  for (const id of ["start", "work", "done"]) at(id).hidden = id !== part;
  if (focus) at(focus).focus();
}
function next(moved) {
  for (const button of document.querySelectorAll(".undo")) button.disabled = !votes.length;
  if (votes.length === total) {
    at("said").textContent = "That was the last one.";
    show("done", "thanks");
    return;
  }
  const [, query, product, title] = asked.questions[votes.length];
  at("question").textContent = "Question " + (votes.length + 1) + " of " + total;
  at("progress").max = total;
  at("progress").value = votes.length;
  at("query").src = asked.images[query];
  at("product").src = asked.images[product];
  at("product").alt = title ? "Product: " + title : "Product";
  at("said").textContent = at("question").textContent + ". " + at("product").alt;
  show("work", moved ? "question" : "");
}
function vote(grade) {
  if (at("work").hidden) return;
  votes.push(grade);
  write(keep + "/votes/" + judge, JSON.stringify(votes));
  next(false);
}
function undo() {
  if (!votes.length || !judge) return;
  const ended = votes.length === total;
  votes.pop();
  write(keep + "/votes/" + judge, JSON.stringify(votes));
  next(ended || document.activeElement === document.body);
}
const cell = (text) => /[",\\r\\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
function save() {
  const lines = ["question_id,judge_id,grade"];
  votes.forEach((grade, n) => { if (grade !== null) lines.push([cell(asked.questions[n][0]), cell(judge), grade].join(",")); });
  const link = document.createElement("a"), name = judge.replace(/[^a-z0-9_-]+/gi, "_");
  link.href = URL.createObjectURL(new Blob([lines.join("\\n") + "\\n"], { type: "text/csv" }));
  link.download = "votes-" + name + "-" + asked.id + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

at("judge").value = read(keep + "/judge") || "";
at("start").addEventListener("submit", (event) => {
  event.preventDefault();
  judge = at("judge").value.trim();
  if (!judge) return;
  write(keep + "/judge", judge);
  votes = remembered();
  next(true);
});
for (const button of document.querySelectorAll("[data-grade]")) button.addEventListener("click", () => vote(Number(button.dataset.grade)));
for (const button of document.querySelectorAll(".undo")) button.addEventListener("click", undo);
for (const button of document.querySelectorAll(".save")) button.addEventListener("click", save);
at("skip").addEventListener("click", () => vote(null));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !at("start").hidden) return;
  if (["0", "1", "2", "3"].includes(event.key)) vote(Number(event.key));
  else if (event.key === "s" || event.key === "S") vote(null);
  else if (["u", "U", "Backspace"].includes(event.key)) undo();
  else return;
  event.preventDefault();
});
"""
