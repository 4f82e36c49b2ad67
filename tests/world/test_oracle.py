"""The oracle tells the truth of any moment, its probabilities are those of what happens, and nobody beats it."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError, NotFound
from corkboard.world.behaviour import ACTIONS
from corkboard.world.config import WorldConfig
from corkboard.world.world import World

from .measures import POSITIVE, Shown


def test_the_oracle_of_a_past_moment_is_what_the_generator_used(tiny):
    pages = tiny.simulation.log.pages.whole()
    rng = np.random.default_rng(0)
    for row in rng.choice(len(pages["user"]), 150, replace=False):
        there = pages["items"][row] >= 0
        items = [tiny.item_ids[k] for k in pages["items"][row][there]]
        beside = None if pages["beside"][row] < 0 else tiny.item_ids[pages["beside"][row]]
        user, time_ms = tiny.user_ids[pages["user"][row]], int(pages["time_ms"][row])
        for place, action in ((3, "save"), (6, "hide")):
            told = tiny.oracle(user, items, time_ms, action, beside=beside)
            assert told == pytest.approx(pages["truth"][row][there, place], abs=1e-5)
        assert tiny.oracle(user, items, time_ms, "positive", beside=beside) == pytest.approx(pages["positive"][row][there], abs=1e-5)


def test_probabilities_are_frequencies(everything_on):
    """Calibration of every action: items with a predicted probability p were acted on in a share p of the cases."""
    shown = Shown(everything_on)
    looked = everything_on.behaviour.looked(shown.items.shape[1])
    for number, action in enumerate(ACTIONS):
        predicted = (shown.column("truth")[..., number] * looked)[shown.there]
        happened = shown.did(action)[shown.there]
        for low, high in ((0, 0.02), (0.02, 0.1), (0.1, 0.3), (0.3, 1)):
            chosen = (predicted > low) & (predicted <= high)
            expected, found = predicted[chosen].sum(), happened[chosen].sum()
            assert abs(found - expected) <= 5 * np.sqrt(expected) + 5, (action, low)


def test_expected_utility_by_hand(tiny):
    user, items, now = tiny.user_ids[3], tiny.item_ids[:20], tiny.config.end_ms
    values = tiny.config.values
    by_hand = sum(getattr(values, action) * tiny.oracle(user, items, now, action) for action in ACTIONS)
    assert tiny.oracle(user, items, now) == pytest.approx(by_hand, abs=1e-5)


def test_scores_of_everybody_are_those_of_each(tiny):
    now = tiny.config.test_ms
    table = tiny.oracle_scores(tiny.user_ids[:7], now, "positive")
    here = np.isfinite(table[0])
    assert table.shape == (7, tiny.config.items)
    created = tiny.behaviour.catalogue.created_ms
    assert not here[created > now].any()
    assert here[(created <= now) & (tiny.behaviour.catalogue.gone_ms > now)].all()
    items = [item for item, there in zip(tiny.item_ids, here, strict=True) if there]
    for row in range(7):
        assert table[row, here] == pytest.approx(tiny.oracle(tiny.user_ids[row], items, now, "positive"), abs=1e-6)


def test_page_truth_speaks_of_every_slot(tiny):
    config = tiny.config
    truth = tiny.page_truth(config.test_ms, config.end_ms)
    pages = tiny.tables()["impressions"].filter(pl.col("time_ms") >= config.test_ms)
    slots = pages.select("request_id", "slots").explode("slots").unnest("slots")
    assert truth.height == slots.height
    joined = truth.join(slots, on=["request_id", "item_id", "position"])
    assert joined.height == truth.height
    assert truth["looked"].max() == 1
    assert set(ACTIONS) < set(truth.columns)


def retrieval(world: World) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(users, items) what was done before the test and in it, known items, and last week's popularity."""
    config, actions = world.config, world.simulation.log.actions.whole()
    positive = actions["action"] < len(POSITIVE)
    before, after = np.zeros((2, config.users, config.items), bool)
    past, week = actions["time_ms"] < config.test_ms, actions["time_ms"] >= config.test_ms - 7 * 86_400_000
    chosen = positive & past
    before[actions["user"][chosen], actions["item"][chosen]] = True
    chosen = positive & ~past & (actions["time_ms"] < config.end_ms)
    after[actions["user"][chosen], actions["item"][chosen]] = True
    popular = np.bincount(actions["item"][positive & past & week], minlength=config.items)
    return before, after, world.behaviour.catalogue.created_ms < config.test_ms, popular


def recall_at_10(scores: np.ndarray, wanted: np.ndarray) -> float:
    users = np.flatnonzero(wanted.any(1))
    top = np.argsort(-scores[users], 1, kind="stable")[:, :10]
    return float((np.take_along_axis(wanted[users], top, 1).sum(1) / wanted[users].sum(1)).mean())


def test_nobody_beats_the_oracle_at_retrieval(everything_on):
    world = everything_on
    before, after, known, popular = retrieval(world)
    wanted = after & known[None, :]
    together = before.T.astype(np.float32) @ before
    norm = np.sqrt(np.maximum(np.diag(together), 1))
    similar = together / (norm[:, None] * norm[None, :] + 5)
    np.fill_diagonal(similar, 0)
    rivals = {
        "popularity": np.broadcast_to(popular, before.shape),
        "item-kNN": before @ similar,
        "utility at the cut": world.oracle_scores(world.user_ids, world.config.test_ms, "positive"),
        "again": before + 1e-4 * (before @ similar),
    }
    oracle = recall_at_10(world.oracle_retrieval(world.user_ids, world.config.test_ms, world.config.end_ms), wanted)
    found = {name: recall_at_10(np.where(known[None, :], scores, -np.inf), wanted) for name, scores in rivals.items()}
    assert max(found.values()) < 0.7 * oracle, found
    assert min(found.values()) > 0.005


def test_the_retrieval_bound_is_a_probability(everything_on):
    world = everything_on
    _, after, known, _ = retrieval(world)
    predicted = world.oracle_retrieval(world.user_ids, world.config.test_ms, world.config.end_ms)
    assert np.isneginf(predicted[:, ~known]).all()
    for low, high in ((1e-9, 0.05), (0.05, 0.2), (0.2, 0.5), (0.5, 1)):
        chosen = (predicted > low) & (predicted <= high)
        expected = predicted[chosen].sum()
        # an item shown again to somebody makes slots depend a little on each other: hence 5 % beside the noise
        assert abs(after[chosen].sum() - expected) < 0.05 * expected + 4 * np.sqrt(expected)


def test_the_oracle_orders_random_pages_better_than_the_logging_policy(everything_on):
    shown = Shown(everything_on)
    rows = np.flatnonzero(shown.column("random"))
    positive = shown.did(*POSITIVE)[rows]

    def hits(scores: np.ndarray) -> float:
        return float(np.take_along_axis(positive, np.argsort(-scores[rows], 1)[:, :3], 1).sum(1).mean())

    oracle, policy = hits(shown.column("positive")), hits(shown.column("scores"))
    chance = 3 * positive.mean()
    assert oracle > 1.5 * policy > 1.5 * chance


def test_what_the_oracle_does_not_know_is_refused(tiny):
    with pytest.raises(InputError, match="action"):
        tiny.oracle(tiny.user_ids[0], tiny.item_ids[:3], tiny.config.end_ms, "smile")
    with pytest.raises(NotFound, match="person"):
        tiny.oracle("nobody", tiny.item_ids[:3], tiny.config.end_ms)
    with pytest.raises(NotFound, match="item"):
        tiny.oracle(tiny.user_ids[0], ["nothing"], tiny.config.end_ms)
    forgetful = World(WorldConfig.tiny(days=5, keep_truth=False))
    with pytest.raises(InputError, match="keep"):
        forgetful.page_truth()
