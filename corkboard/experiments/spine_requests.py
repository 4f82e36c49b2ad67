"""Rankers on requests in random order that a simulated world answers apart from its log.

A logged page is asked several times, each time in another random order, and answered anew. What a ranker says of a page does not
depend on that order, so a page is scored once and its hits are counted in every answer. Beside the hits that were drawn stands what
the world expects of the same three items: the same quantity without the luck of the draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.metrics.intervals import PerUser
from corkboard.metrics.ranking import order_in_pages
from corkboard.seeds import generator

MEASURED = ("save", "hide", "click")
"""Actions whose hits are counted."""
EXPECTED = " expected"
"""Ends the name of a measure that is counted in true probabilities instead of drawn actions."""
LOW_HISTORY = " low history"
"""Ends the name of a measure over users who had done little before the test."""


@dataclass(frozen=True)
class RandomPages:
    """Distinct pages and the requests that asked them; page p has the slots ``offsets[p]:offsets[p + 1]``.

    ``slots`` has the columns of :data:`corkboard.ranking.pages.SLOT_COLUMNS`, in order of time and page. ``drawn`` and ``expected``
    are float64 ``(slots,)`` by action: how often it was done with the slot's item over all requests, and how often it should be.
    ``utility`` is ``(slots,)``, what is truly expected of each; ``low_history`` is bool ``(users,)``.
    """

    slots: pl.DataFrame
    offsets: np.ndarray
    page_users: np.ndarray
    user_ids: Sequence[str]
    drawn: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    utility: np.ndarray
    low_history: np.ndarray
    requests: int

    @classmethod
    def of(cls, slots: pl.DataFrame, actions: pl.DataFrame, earlier: pl.DataFrame, low_history: int) -> RandomPages:
        """From the frames of ``World.random_requests``; ``earlier`` counts the actions before the test by user: user_id, n.

        An item is expected to be acted on with its probability given a look, times the mean share of looks of the page's places:
        every place is equally likely, and a ranker knows nothing of it.
        """
        looks = pl.col("looked").mean().over("request_id")
        answers = slots.with_columns([(pl.col(name) * looks).alias(name) for name in MEASURED])
        sums = answers.group_by("page_id", "item_id").agg(
            pl.col("user_id", "time_ms", "utility").first(), *[pl.col(name).sum().alias(f"{name}{EXPECTED}") for name in MEASURED]
        )
        done = actions.join(slots.select("request_id", "item_id", "page_id"), on=["request_id", "item_id"])
        counts = done.group_by("page_id", "item_id").agg([(pl.col("action") == name).sum().alias(name) for name in MEASURED])
        whole = sums.join(counts, on=["page_id", "item_id"], how="left").sort("time_ms", "page_id", "item_id")
        whole = whole.with_columns([pl.col(name).fill_null(0) for name in MEASURED])
        pages = whole.group_by("page_id", maintain_order=True).agg(pl.col("user_id").first(), pl.len())
        users = pages["user_id"].unique(maintain_order=True)
        known = users.to_frame().join(earlier, on="user_id", how="left", maintain_order="left")["n"].fill_null(0)
        return cls(
            slots=_slot_columns(whole),
            offsets=np.concatenate([[0], np.cumsum(pages["len"].to_numpy())]).astype(np.int64),
            page_users=pages["user_id"].replace_strict(users.to_list(), list(range(len(users))), return_dtype=pl.Int64).to_numpy(),
            user_ids=users.to_list(),
            drawn={name: whole[name].to_numpy().astype(np.float64) for name in MEASURED},
            expected={name: whole[f"{name}{EXPECTED}"].to_numpy().astype(np.float64) for name in MEASURED},
            utility=whole["utility"].to_numpy().astype(np.float64),
            low_history=known.to_numpy() < low_history,
            requests=slots["request_id"].n_unique(),
        )

    def __len__(self) -> int:
        return len(self.page_users)

    def hits(self, utility: np.ndarray, k: int, seed: int = 0) -> dict[str, PerUser]:
        """HIT@k of the order by ``utility``, ``(slots,)``: by action, drawn and expected, of all and of users of low history.

        HIT@k adds up the actions among a page's first k over a user's requests, mean over users (TransAct, Xia et al., KDD'23).
        """
        ties = generator(seed, "evaluation", "slot ties").permutation(len(self.slots))
        top = order_in_pages(np.asarray(utility, np.float64), self.offsets, ties) < k
        slot_users = np.repeat(self.page_users, np.diff(self.offsets))
        n_users = len(self.user_ids)
        figures = {}
        for end, source in (("", self.drawn), (EXPECTED, self.expected)):
            for name, done in source.items():
                total = np.bincount(slot_users, done * top, n_users)
                by_user = np.bincount(slot_users, self.drawn[name], n_users)
                for group, chosen in (("", np.ones(n_users, bool)), (LOW_HISTORY, self.low_history)):
                    positives = int(by_user[chosen].sum())
                    figures[f"HIT@{k} {name}{end}{group}"] = PerUser(total * chosen, chosen.astype(np.float64), positives)
        return figures

    def facts(self) -> dict[str, float]:
        """How many requests, pages, users and actions stand behind the hits."""
        low = np.flatnonzero(self.low_history)
        facts = {"requests": self.requests, "pages": len(self), "users": len(self.user_ids), "users of low history": len(low)}
        return {name: float(count) for name, count in facts.items()} | {f"{name} drawn": float(self.drawn[name].sum()) for name in MEASURED}


def _slot_columns(whole: pl.DataFrame) -> pl.DataFrame:
    return whole.select(
        page=pl.col("page_id").rle_id(),
        request_id="page_id",
        tenant=pl.lit("default"),
        user_key="user_id",
        time_ms="time_ms",
        item_id="item_id",
        position=pl.lit(0, pl.Int32),
        randomised=pl.lit(True),
        weight=pl.lit(1.0),
    )
