"""Retrieval tables: a case small enough for arithmetic, a plain reference, the rules that hold for every row, and speed."""

import math

import numpy as np
import pytest

from corkboard.errors import NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.evaluate import LITTLE_KNOWN, POPULARITY, evaluate_retrieval, popularity_buckets
from corkboard.experiments.scorers import Aligned, ListScorer, RetrievalOracle
from corkboard.experiments.task import Moment, RetrievalTask, retrieval_task

from .fakes import FakeLake, Fixed, Random, Seer, action, at, calendar, item

CALENDAR = calendar(days=10, rank_days=2, test_days=4)


def random_task(users=300, items=60, seed=0, moments=1, positives=3):
    """A task without a lake: everybody has up to 6 seen items and some positives that are not among them."""
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(moments):
        order = rng.permuted(np.tile(np.arange(items), (users, 1)), axis=1)
        lengths = rng.integers(0, 7, users)
        made.append(
            Moment(
                known_ms=at(6),
                users=np.arange(users),
                histories=[row[:n].copy() for row, n in zip(order, lengths, strict=True)],
                seen_users=np.repeat(np.arange(users), lengths),
                seen_items=np.concatenate([row[:n] for row, n in zip(order, lengths, strict=True)]),
                positive_users=np.repeat(np.arange(users), positives),
                positive_items=order[:, 10 : 10 + positives].ravel(),
            )
        )
    return RetrievalTask(
        item_ids=[f"i{n}" for n in range(items)],
        topics=np.arange(items) % 7,
        n_topics=7,
        popularity=rng.integers(0, 40, items),
        user_ids=[f"u{n}" for n in range(users)],
        earlier=lengths,
        before_ms=at(6),
        end_ms=at(10),
        min_actions=1,
        moments=made,
        positives=users * positives * moments,
        unreachable=0,
        unreachable_share=0.0,
    )


def test_a_table_by_hand():
    items = [item("a", 0, "x"), item("b", 0, "x"), item("c", 0, "y"), item("d", 0, "y")]
    lake = FakeLake.of(items, [action("u", "a", 1), action("u", "b", 7), action("u", "c", 8), action("v", "b", 1), action("v", "a", 7)])
    task = retrieval_task(lake, CALENDAR)
    # u has seen a, v has seen b. By these scores u gets b, d and v gets a, d: hits are u-b and v-a, misses u-c.
    rows = {POPULARITY: Fixed([4.0, 3.0, 1.0, 2.0]), "worst": Fixed([0.0, 1.0, 2.0, 3.0])}
    table = evaluate_retrieval(task, rows, EvaluationConfig(k=2, entropy_k=2))
    recall = table.cell(POPULARITY, "recall@2")
    assert (recall.value, recall.users, recall.positives) == (pytest.approx(2 / 3), 2, 3)
    assert recall.verdict == "too few to tell"
    assert table.cell(POPULARITY, "recall@2 by user").value == pytest.approx((1 / 2 + 1) / 2)
    ideal = 1 + 1 / math.log2(3)
    assert table.cell(POPULARITY, "NDCG@2").value == pytest.approx((1 / ideal + 1) / 2)
    assert table.cell(POPULARITY, "entropy@2").value == pytest.approx(math.log(2))  # one x and one y each
    # listed: b, d and a, d. 90 % of 4 retrievals need all three of the four items
    assert table.cell(POPULARITY, "P90 coverage@2").value == pytest.approx(3 / 4)
    # "worst" gives u d, c and v d, c: one hit of three
    assert table.cell("worst", "recall@2").value == pytest.approx(1 / 3)
    assert table.cell("worst", "recall@2").difference == pytest.approx(-1 / 3)
    assert table.facts["users"] == 2
    assert table.facts["unreachable share"] == 0.0


def plain_recall(task, scores, k, below=math.inf):
    """Recall over pairs by sorting each user's catalogue in Python; scores without ties, items of fewer actions than ``below``."""
    hits = total = 0
    for moment in task.moments:
        for p in range(len(moment.users)):
            seen = set(moment.seen_items[moment.seen_users == p].tolist())
            order = sorted((i for i in range(len(task.item_ids)) if i not in seen), key=lambda i: -scores[i])[:k]
            for wanted in moment.positive_items[moment.positive_users == p].tolist():
                if task.popularity[wanted] < below:
                    hits += wanted in order
                    total += 1
    return hits / total


@pytest.mark.parametrize("chunk_scores", [1, 700, 10**9])
def test_recall_equals_a_plain_loop_in_chunks_of_any_size(chunk_scores):
    task = random_task(users=40, moments=2)
    scores = np.random.default_rng(1).permutation(60).astype(float)
    config = EvaluationConfig(k=5, long_k=20, chunk_scores=chunk_scores, replicates=100)
    table = evaluate_retrieval(task, {POPULARITY: Fixed(scores)}, config)
    for k in (5, 20):
        assert table.cell(POPULARITY, f"recall@{k}").value == pytest.approx(plain_recall(task, scores, k))
        assert table.cell(POPULARITY, f"recall@{k} rare").value == pytest.approx(plain_recall(task, scores, k, below=LITTLE_KNOWN))


def test_a_long_list_that_is_not_longer_has_no_columns():
    task = random_task(users=10)
    table = evaluate_retrieval(task, {POPULARITY: Random(60)}, EvaluationConfig(k=5, long_k=5, replicates=100))
    assert [measure.name for measure in table.measures if "recall" in measure.name] == ["recall@5", "recall@5 by user", "recall@5 rare"]


def test_what_was_seen_is_in_no_list():
    task = random_task(users=30)
    moment = task.moments[0]
    seen_only = Moment(**{**vars(moment), "positive_users": moment.seen_users, "positive_items": moment.seen_items})
    table = evaluate_retrieval(
        RetrievalTask(**{**vars(task), "moments": [seen_only]}), {POPULARITY: Random(60)}, EvaluationConfig(k=50, replicates=100)
    )
    assert table.cell(POPULARITY, "recall@50").value == 0.0


def test_a_scorer_without_opinion_gets_what_chance_gets():
    task = random_task(users=2000, items=50)
    table = evaluate_retrieval(task, {POPULARITY: Fixed(np.zeros(50)), "chance": Random(50)}, EvaluationConfig(replicates=200))
    # about 47 of 50 items are left after what was seen, ten of them are listed
    assert table.cell(POPULARITY, "recall@10").value == pytest.approx(10 / 47, abs=0.02)
    assert table.cell("chance", "recall@10").value == pytest.approx(10 / 47, abs=0.02)


def test_the_same_seed_gives_the_same_table_and_rows_do_not_influence_each_other():
    task, config = random_task(), EvaluationConfig(replicates=200)
    alone = evaluate_retrieval(task, {POPULARITY: Random(60, 1), "one": Random(60, 2)}, config)
    together = evaluate_retrieval(task, {POPULARITY: Random(60, 1), "zero": Random(60, 9), "one": Random(60, 2)}, config)
    assert alone.row("one").cells == together.row("one").cells


def test_a_better_row_is_called_better_and_an_equal_one_undecided():
    task = random_task(users=600)
    rows = {POPULARITY: Random(60, 1), "chance": Random(60, 2), "half a seer": Seer(task, 0.5)}
    table = evaluate_retrieval(task, rows)
    assert table.cell("half a seer", "recall@10").verdict == "better"
    assert table.cell("half a seer", "recall@10").difference_low > 0.2
    assert table.cell("chance", "recall@10").verdict == "undecided"
    assert table.cell(POPULARITY, "recall@10").verdict == "baseline"
    assert table.cell(POPULARITY, "recall@10").low < table.cell(POPULARITY, "recall@10").value < table.cell(POPULARITY, "recall@10").high


def test_a_row_above_the_oracle_is_an_alarm_and_one_below_is_none():
    task = random_task(users=600)
    honest = evaluate_retrieval(task, {POPULARITY: Random(60, 1), "model": Seer(task, 0.2), "oracle": Seer(task, 0.6)})
    assert honest.alarms == []
    assert honest.row("oracle").ceiling
    leaky = evaluate_retrieval(task, {POPULARITY: Random(60, 1), "model": Seer(task, 0.9), "oracle": Seer(task, 0.6)})
    assert any("model is above oracle in recall@10" in alarm for alarm in leaky.alarms)


def test_breakdowns_add_up_to_the_whole():
    task = random_task(users=500)
    table = evaluate_retrieval(task, {POPULARITY: Random(60)}, EvaluationConfig(replicates=100))
    whole = table.cell(POPULARITY, "recall@10")
    for part in table.breakdowns:
        cells = part.cells[POPULARITY]
        assert sum(cell.positives for cell in cells) == whole.positives
        assert sum(cell.value * cell.positives for cell in cells) == pytest.approx(whole.value * whole.positives)
    assert [part.name for part in table.breakdowns] == ["by length of history", "by popularity of the item"]


def test_popularity_buckets_by_hand():
    names, bucket = popularity_buckets(np.array([0, *range(1, 101)]))
    counts = np.bincount(bucket, minlength=5)
    assert dict(zip(names, counts.tolist(), strict=True)) == {
        "top 1 %": 1,
        "next 9 %": 9,
        "next 40 %": 40,
        "the rest": 50,
        "never acted on": 1,
    }
    assert bucket[100] == 0
    assert bucket[0] == 4
    assert popularity_buckets(np.zeros(3, int))[1].tolist() == [4, 4, 4]


class Counting:
    """Answers each item's row; what it is given is kept."""

    def __init__(self, items):
        self.items, self.given = items, []

    def score_all(self, histories):
        self.given += [list(history) for history in histories]
        return np.repeat(np.arange(self.items, dtype=np.float32)[None, :], len(histories), axis=0)


def test_an_aligned_scorer_speaks_its_own_rows():
    own = Counting(3)
    aligned = Aligned.of(own, ["z", "b", "a"], ["a", "b", "new", "z"])
    scores = aligned.score_all([np.array([0, 2, 3]), np.array([], np.int64)])
    assert own.given == [[2, 0], []]  # "new" is unknown to it
    assert scores.tolist() == [[2.0, 1.0, -np.inf, 0.0]] * 2


def test_a_list_scores_only_what_it_lists():
    scores = ListScorer(lambda users, known_ms: [np.array([2, -1, 0]) for _ in users], 3).score_users(["u"], 0)
    assert scores.tolist() == [[-1.0, -np.inf, 0.0]]


def test_an_oracle_is_asked_by_user_and_time():
    asked = []

    def utility(user_id, item_ids, time_ms):
        asked.append((user_id, time_ms))
        return np.arange(len(item_ids))

    assert RetrievalOracle(utility, ["a", "b"]).score_users(["u", "v"], 5).tolist() == [[0, 1], [0, 1]]
    assert asked == [("u", 5), ("v", 5)]


class Refreshing(Fixed):
    """Says when it was brought up to date."""

    def as_of(self, known_ms):
        asked.append(known_ms)
        return self


asked: list[int] = []


def test_daily_lists_refresh_what_can_be_refreshed():
    actions = [action(f"u{n}", name, day) for n in range(5) for name, day in (("a", 1), ("b", 6.5), ("c", 8.5))]
    lake = FakeLake.of([item("a"), item("b"), item("c"), item("d")], actions)
    config = EvaluationConfig(cadence="daily", k=1, replicates=100)
    asked.clear()
    table = evaluate_retrieval(retrieval_task(lake, CALENDAR, config), {POPULARITY: Refreshing([0.0, 2.0, 1.0, 0.0])}, config)
    assert asked == [at(5), at(7)]
    assert table.cell(POPULARITY, "recall@1").value == 1.0  # b first; once b is taken, c
    assert table.facts["lists"] == 10
    once = EvaluationConfig(k=1, replicates=100)
    single = evaluate_retrieval(retrieval_task(lake, CALENDAR, once), {POPULARITY: Refreshing([0.0, 2.0, 1.0, 0.0])}, once)
    assert single.cell(POPULARITY, "recall@1").value == 0.5


def test_wrong_shapes_and_missing_baselines_are_refused():
    task = random_task(users=5)
    with pytest.raises(ValueError, match="shape"):
        evaluate_retrieval(task, {POPULARITY: Random(61)})
    with pytest.raises(NotFound, match="no row to compare"):
        evaluate_retrieval(task, {"model": Random(60)})


def test_unreachable_positives_are_warned_of():
    task = RetrievalTask(**{**vars(random_task(users=5)), "unreachable": 5, "unreachable_share": 0.25})
    table = evaluate_retrieval(task, {POPULARITY: Random(60)}, EvaluationConfig(replicates=100))
    assert "25% of the positives are on items that did not exist at the cut" in table.warnings[0]
