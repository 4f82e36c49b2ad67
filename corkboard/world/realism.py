"""Figures of a log that public logs have too: what the world is held against."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from corkboard.lake.schema import POSITIVE

DAY_MS = 86_400_000


def gini(counts: np.ndarray) -> float:
    """Gini coefficient of non-negative ``counts``: 0 where all are equal, towards 1 where one has all."""
    ordered = np.sort(np.asarray(counts, np.float64))
    n, total = len(ordered), ordered.sum()
    if not total:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def realism(tables: Mapping[str, pl.DataFrame]) -> dict[str, float]:
    """The figures of docs/decisions/0002-world.md, from lake tables alone."""
    actions, impressions = tables["actions"], tables["impressions"]
    figures = {**_shares(actions, impressions), **_people(actions, tables["users"]), **_sessions(actions, impressions)}
    return figures | _items(actions, impressions, tables["items"]) | _positions(actions, impressions)


def _shares(actions: pl.DataFrame, impressions: pl.DataFrame) -> dict[str, float]:
    shown = float(impressions["slots"].list.len().sum())
    count = dict(actions["action"].value_counts().iter_rows())
    clicks = count.get("click", 0) + count.get("long_click", 0)
    carts = max(count.get("add_to_cart", 0), 1)
    positive = sum(count.get(name, 0) for name in POSITIVE)
    return {
        "actions": float(len(actions)),
        "impressions": shown,
        "actions_per_impression": len(actions) / shown,
        "positives_per_impression": positive / shown,
        "clicks_per_impression": clicks / shown,
        "hides_per_impression": (count.get("hide", 0) + count.get("report", 0)) / shown,
        "saves_per_click": count.get("save", 0) / clicks,
        "carts_per_click": carts / clicks,
        "checkouts_per_cart": count.get("checkout", 0) / carts,
    }


def _people(actions: pl.DataFrame, users: pl.DataFrame) -> dict[str, float]:
    counts = actions.group_by("user_id").len()["len"].to_numpy()
    everybody = np.concatenate([counts, np.zeros(users["user_id"].n_unique() - len(counts))])
    return {
        "users_under_ten": float((everybody < 10).mean()),
        "actions_per_user_mean": float(everybody.mean()),
        "actions_per_user_median": float(np.median(everybody)),
        "gini_users": gini(everybody),
    }


def _sessions(actions: pl.DataFrame, impressions: pl.DataFrame) -> dict[str, float]:
    length = actions.group_by("session_id").len()["len"].to_numpy()
    visits = impressions.group_by("user_id", "session_id").agg(pl.col("time_ms").min(), pages=pl.len()).sort("user_id", "time_ms")
    gaps = visits.select(gap=pl.col("time_ms").diff().over("user_id") / DAY_MS)["gap"].drop_nulls().to_numpy()
    return {
        "session_actions_mean": float(length.mean()),
        "session_actions_median": float(np.median(length)),
        "session_actions_p90": float(np.quantile(length, 0.9)),
        "session_pages_mean": float(visits["pages"].to_numpy().mean()),
        "return_gap_days_median": float(np.median(gaps)),
        "return_gap_days_mean": float(gaps.mean()),
        "return_gap_days_p90": float(np.quantile(gaps, 0.9)),
    }


def _items(actions: pl.DataFrame, impressions: pl.DataFrame, items: pl.DataFrame) -> dict[str, float]:
    positive = actions.filter(pl.col("action").is_in(POSITIVE)).group_by("item_id").len()["len"].to_numpy()
    shown = impressions.select(pl.col("slots").list.eval(pl.element().struct.field("item_id")).explode().alias("item_id"))
    return {
        "gini_items": gini(positive),
        "gini_items_shown": gini(shown.group_by("item_id").len()["len"].to_numpy()),
        "items_without_positive": 1 - len(positive) / items["item_id"].n_unique(),
        "top_percent_share": float(np.sort(positive)[::-1][: max(1, len(positive) // 100)].sum() / positive.sum()),
    }


def _positions(actions: pl.DataFrame, impressions: pl.DataFrame) -> dict[str, float]:
    """Positive actions at the top place against those at the last five places of the random slice, where only the place differs."""
    random = impressions.filter(pl.col("policy") == "random")
    if not len(random):
        return {"top_over_bottom": float("nan")}
    size = int(random["slots"].list.len().to_numpy().max())
    first = (
        actions.filter(pl.col("action").is_in(POSITIVE))
        .join(random.select("request_id"), on="request_id")
        .unique(("request_id", "position"))
    )
    top = first.filter(pl.col("position") < 3).height / 3
    bottom = first.filter(pl.col("position") >= size - 5).height / 5
    return {"top_over_bottom": top / max(bottom, 1e-9)}
