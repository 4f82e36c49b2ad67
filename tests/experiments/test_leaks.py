"""Leaks are planted here in every way we know, and each must be found; honest models must pass."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import write_artifact
from corkboard.errors import LeakError
from corkboard.experiments.evaluate import POPULARITY, evaluate_retrieval, retrieval_figure
from corkboard.experiments.leaks import gap, leak_check, require_before, require_cuts, shifted, time_shift_control
from corkboard.experiments.task import retrieval_task
from corkboard.metrics.intervals import PerUser

from .fakes import FakeLake, Fixed, Seer, action, at, calendar, frame, item

CALENDAR = calendar(days=28, rank_days=7, test_days=7)
ITEMS = 120


def fashionable_lake(seed=0, users=400):
    """Half of what people take follows a popularity that stays; the other half is one of ten items that are the fashion of a week."""
    rng = np.random.default_rng(seed)
    lasting = 1.0 / np.arange(1, ITEMS + 1)
    lasting[80:] = 0
    actions = []
    for user in range(users):
        for day in rng.uniform(0, 28, 20):
            fashion = 80 + int(day // 7) * 10 + rng.integers(0, 10)
            taken = fashion if rng.random() < 0.5 else rng.choice(ITEMS, p=lasting / lasting.sum())
            actions.append(action(f"u{user}", f"i{taken:03}", float(day)))
    return FakeLake.of([item(f"i{n:03}") for n in range(ITEMS)], actions)


@pytest.fixture(scope="module")
def lake():
    return fashionable_lake()


def test_an_artefact_with_a_late_cut_is_refused(tmp_path):
    good = write_artifact(tmp_path, "popularity", "good", cut_ms=CALENDAR.rank_cut_ms)
    late = write_artifact(tmp_path, "popularity", "late", cut_ms=CALENDAR.rank_cut_ms + 1)
    silent = write_artifact(tmp_path, "popularity", "silent")
    assert leak_check(artifacts={"popularity": good}, allowed_ms=CALENDAR.rank_cut_ms).clean
    with pytest.raises(LeakError, match="The popularity .* read past its cut"):
        leak_check(artifacts={"popularity": late}, allowed_ms=CALENDAR.rank_cut_ms)
    with pytest.raises(LeakError, match="does not say"):
        leak_check(artifacts={"popularity": silent}, allowed_ms=CALENDAR.rank_cut_ms)
    # item models end at A: what is fine for a ranker is a leak there
    with pytest.raises(LeakError, match="content"):
        require_cuts({"ranker": good, "content": good}, {"ranker": CALENDAR.rank_cut_ms, "content": CALENDAR.item_cut_ms})


def test_an_edge_of_the_evaluation_period_is_found():
    edges = pl.DataFrame({"left": ["a", "b"], "right": ["b", "c"], "time_ms": [at(3), at(20.9)]})
    require_before("Item edges", edges, CALENDAR.rank_cut_ms)
    with pytest.raises(LeakError, match="Item edges holds rows of the evaluation period.*1 of 3 rows"):
        require_before(
            "Item edges",
            pl.concat([edges, pl.DataFrame({"left": ["c"], "right": ["d"], "time_ms": [CALENDAR.rank_cut_ms]})]),
            CALENDAR.rank_cut_ms,
        )


def test_a_lake_sealed_at_the_cut_refuses_to_be_read_beyond():
    with pytest.raises(LeakError):
        fashionable_lake(users=3).until(CALENDAR.rank_cut_ms).actions(end_ms=CALENDAR.end_ms)


def recall_figure(lake, span, make):
    """Recall@10 of ``make(task, lake)`` on the test of ``span``."""
    task = retrieval_task(lake, span)
    return retrieval_figure(task, make(task, lake))


def popularity(task, lake):
    """Honest: counts what is before B."""
    return Fixed(task.popularity + 1e-3 * np.arange(len(task.item_ids)))


def popularity_of_everything(task, lake):
    """Planted leak: counts the evaluation period, too, because it reads the lake to its end."""
    counted = lake.actions().group_by("item_id").len()
    counts = dict(counted.iter_rows())
    recent = dict(lake.actions(start_ms=task.before_ms).group_by("item_id").len().iter_rows())
    return Fixed([counts.get(i, 0) + 10 * recent.get(i, 0) + 1e-3 * n for n, i in enumerate(task.item_ids)])


def test_a_scorer_that_has_seen_the_test_is_far_above_its_validation(lake):
    validation = shifted(CALENDAR, 7)
    honest = gap(
        "popularity", recall_figure(lake, CALENDAR, popularity), recall_figure(lake.until(CALENDAR.rank_cut_ms), validation, popularity)
    )
    assert not honest.suspected
    assert 0.5 < honest.ratio < 1.5
    # the leaky scorer was built once, with the test in it: on validation it is no better than it should be
    leaked = popularity_of_everything(retrieval_task(lake, CALENDAR), lake)
    leaky = gap(
        "popularity",
        recall_figure(lake, CALENDAR, lambda task, _: leaked),
        recall_figure(lake.until(CALENDAR.rank_cut_ms), validation, lambda task, _: leaked),
    )
    assert leaky.suspected
    assert not leak_check(gaps=[honest, leaky]).clean
    assert leak_check(gaps=[honest]).clean


def test_a_scorer_above_the_oracle_raises_an_alarm(lake):
    task = retrieval_task(lake, CALENDAR)
    table = evaluate_retrieval(task, {POPULARITY: popularity(task, lake), "model": Seer(task, 0.8), "oracle": Seer(task, 0.5)})
    report = leak_check(tables=[table])
    assert not report.clean
    assert "model is above oracle" in report.alarms[0]
    assert leak_check(tables=[replace(table, alarms=[])]).clean


def test_the_time_shift_control_finds_what_only_knows_the_real_test(lake):

    def measured(make):
        return lambda sealed, span: recall_figure(sealed, span, make)

    honest = time_shift_control("popularity", measured(popularity)(lake, CALENDAR), lake, CALENDAR, measured(popularity))
    assert not honest.suspected
    leaked = popularity_of_everything(retrieval_task(lake, CALENDAR), lake)
    leaky = time_shift_control("popularity", recall_figure(lake, CALENDAR, lambda task, _: leaked), lake, CALENDAR, measured(popularity))
    assert leaky.suspected
    assert "7 days earlier" in leaky.name


def test_a_recipe_that_reads_past_the_seal_is_stopped():
    def greedy(sealed, span):
        sealed.until(span.rank_cut_ms).actions(end_ms=span.end_ms)
        raise AssertionError("the lake let it read on")

    with pytest.raises(LeakError):
        time_shift_control("greedy", PerUser(np.ones(3), np.ones(3)), fashionable_lake(users=3), CALENDAR, greedy)


def test_a_short_lake_cannot_be_shifted():
    with pytest.raises(LeakError, match="no time before"):
        time_shift_control("x", PerUser(np.ones(3), np.ones(3)), fashionable_lake(users=3), CALENDAR, lambda lake, span: None, days=40)


def test_a_shifted_calendar_by_hand():
    earlier = shifted(CALENDAR, 7)
    assert (earlier.start_ms, earlier.item_cut_ms, earlier.rank_cut_ms, earlier.end_ms) == (at(0), at(7), at(14), at(21))
    assert shifted(CALENDAR, 20).item_cut_ms == at(0)


def figure(value, users=300, positives=300):
    return PerUser(np.random.default_rng(0).binomial(1, value, users).astype(float), np.ones(users), positives)


def test_gaps_by_size_and_certainty():
    assert gap("x", figure(0.6), figure(0.2)).suspected
    assert not gap("x", figure(0.25), figure(0.2)).suspected  # above, but not by half
    few = gap("x", figure(0.9, users=100), figure(0.1, users=100))
    assert not few.suspected
    assert "too few to tell" in few.note
    nothing = PerUser(np.zeros(300), np.ones(300), 300)
    assert gap("x", figure(0.3), nothing).suspected
    assert not gap("x", nothing, nothing).suspected


def test_frames_of_events_can_be_checked_for_the_cut():
    events = frame("actions", [action("u", "a", 20)])
    require_before("Pairs", events, CALENDAR.rank_cut_ms)
    with pytest.raises(LeakError):
        require_before("Pairs", frame("actions", [action("u", "a", 22)]), CALENDAR.rank_cut_ms)
