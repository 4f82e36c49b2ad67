"""Judges whose truth and noise are known: how alike a part of a picture and a product are, on the four grades of Shop The Look.

What is in the part is looked up among the objects of the world; what is alike is decided by what shows: silhouette, pattern, shade and
style as they are observed. Each judge sees it right with a chance of their own, and otherwise mostly a neighbouring grade; some do not
look.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.errors import InputError
from corkboard.seeds import generator
from corkboard.world.rendering import Products
from corkboard.world.vocabulary import SHADES

if TYPE_CHECKING:
    from corkboard.world.world import World

GRADES = 4
SURE = (0.75, 0.95)
"""Chance of the right grade, least and most, of a judge who looks."""
CARELESS_SURE = 0.25
"""The chance of one who does not: any grade, thrown."""
NEIGHBOUR = 0.7
"""Share of the mistakes of a judge who looks that are one grade off."""
LEAST_OVERLAP = 0.3
"""Intersection over union with an object from which on a box shows it."""


@dataclass(frozen=True)
class Judges:
    """A panel: ``sure`` float64 (judges,), and who of them does not look."""

    names: list[str]
    sure: np.ndarray
    careless: np.ndarray

    @classmethod
    def drawn(cls, seed: int, count: int = 12, careless: int = 1) -> Judges:
        """``count`` judges, the last ``careless`` of whom do not look."""
        rng = generator(seed, "world", "judges")
        lazy = np.arange(count) >= count - careless
        return cls([f"judge-{k:02d}" for k in range(count)], np.where(lazy, CARELESS_SURE, rng.uniform(*SURE, count)), lazy)

    def vote(self, truth: np.ndarray, votes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Who judges, and how: question (row of ``truth``), judge, grade, int64 ``(questions * votes,)`` each.

        ``votes`` different judges see each question. Raises :class:`InputError` where there are fewer.
        """
        if not 1 <= votes <= len(self.names):
            raise InputError("A question has votes of different judges", found=votes, expected=f"1 to {len(self.names)}")
        rng = generator(seed, "world", "votes")
        judges = np.argsort(rng.random((len(truth), len(self.names))), axis=1)[:, :votes].ravel()
        question = np.repeat(np.arange(len(truth)), votes)
        seen = truth[question]
        step = np.where(seen == 0, 1, np.where(seen == GRADES - 1, -1, rng.choice([-1, 1], len(seen))))
        wrong = np.where(rng.random(len(seen)) < NEIGHBOUR, seen + step, rng.integers(GRADES, size=len(seen)))
        grade = np.where(rng.random(len(seen)) < self.sure[judges], seen, wrong)
        return question, judges, np.where(self.careless[judges], rng.integers(GRADES, size=len(seen)), grade)


def alike(products: Products, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """int64 ``(n,)``: how alike rows ``left`` and ``right`` of ``products`` look, 0 to 3.

    3: the same, or the same silhouette with pattern, shade and style alike. 2: the same silhouette and two of them. 1: the same category,
    and the same silhouette or two of them. Shades are alike within one step of the circle; what does not show is alike to what does not.
    """
    away = np.abs(products.shade[left] - products.shade[right])
    shown = (products.shade[left] >= 0) & (products.shade[right] >= 0)
    shade = np.where(shown, np.minimum(away, len(SHADES) - away) <= 1, away == 0)
    agree = (products.pattern[left] == products.pattern[right]).astype(int) + shade + (products.style[left] == products.style[right])
    topic, category = products.topic[left] == products.topic[right], products.category[left] == products.category[right]
    grade = np.where(topic & (agree == 3), 3, np.where(topic & (agree == 2), 2, (category & (topic | (agree >= 2))).astype(int)))
    return np.where(products.key[left] == products.key[right], 3, grade).astype(np.int64)


def true_grades(world: World, questions: pl.DataFrame) -> np.ndarray:
    """int64 ``(questions,)``: the grade of each of ``questions`` (query_image, query_box, item_id), -1 where nobody could tell.

    A box shows the object that it overlaps most; without one the picture shows the item that it is of. A product that the world does not
    have, and a box of nothing, are nothing that can be judged.
    """
    row_of = {item_id: row for row, item_id in enumerate(world.item_ids)}
    shown = _shown(world, questions)
    wanted = np.array([row_of.get(item_id, -1) for item_id in questions["item_id"]], np.int64)
    known = (shown >= 0) & (wanted >= 0)
    grades = np.full(len(questions), -1, np.int64)
    grades[known] = alike(world.products(), shown[known], wanted[known])
    return grades


def votes(world: World, questions: pl.DataFrame, count: int = 3, panel: Judges | None = None, seed: int = 0) -> pl.DataFrame:
    """question_id, judge_id, grade: ``count`` votes on each of ``questions`` (question_id, query_image, query_box, item_id) that anybody
    could tell."""
    panel = panel or Judges.drawn(world.config.seed)
    truth = true_grades(world, questions)
    asked = np.flatnonzero(truth >= 0)
    question, judge, grade = panel.vote(truth[asked], count, seed)
    ids = questions["question_id"].to_numpy()[asked]
    columns = {"question_id": ids[question].tolist(), "judge_id": [panel.names[k] for k in judge], "grade": grade.astype(np.int32)}
    return pl.DataFrame(columns, schema={"question_id": pl.String, "judge_id": pl.String, "grade": pl.Int32})


def _shown(world: World, questions: pl.DataFrame) -> np.ndarray:
    """int64 ``(questions,)``: the row of the item that each question's part of a picture shows, -1 for none."""
    row_of = {item_id: row for row, item_id in enumerate(world.item_ids)}
    whole: dict[str, int] = {}
    for row, images in enumerate(world.item_images()):
        for image in images:
            whole.setdefault(image.removeprefix("sha256:"), row)
    parts: dict[str, list[tuple[np.ndarray, int]]] = {}
    for image, *box, item_id, product_id in (
        world.objects().select("image", "left", "top", "right", "bottom", "item_id", "product_id").iter_rows()
    ):
        shown = row_of[product_id if product_id is not None else item_id]
        parts.setdefault(image.removeprefix("sha256:"), []).append((np.array(box), shown))
    found = np.full(len(questions), -1, np.int64)
    for n, (image, box) in enumerate(questions.select("query_image", "query_box").iter_rows()):
        name = image.removeprefix("sha256:")
        if box is None or name not in parts:
            found[n] = whole.get(name, -1)
            continue
        overlap, shown = max(((_overlap(np.array(box), other), row) for other, row in parts[name]), key=lambda one: one[0])
        found[n] = shown if overlap >= LEAST_OVERLAP else -1
    return found


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    inside = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return float(inside / max((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inside, 1e-12))
