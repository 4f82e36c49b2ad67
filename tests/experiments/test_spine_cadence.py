"""Cadences by hand: what may be known, what is left out, and that a fresher history can only change the score it is meant to."""

import numpy as np
import pytest

from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.evaluate import evaluate_retrieval
from corkboard.experiments.spine_cadence import CADENCES, CadenceTask, VectorScores, at_every_cadence, recall, scorer_scores
from corkboard.experiments.task import retrieval_task
from corkboard.lake.calendar import DAY_MS

from .fakes import FakeLake, Fixed, Random, action, at, calendar, item

B = 14  # the first day of the test, of 28


def lake(names="abcd"):
    """Two users. u1 likes a before the test, b on its third day at noon, c an hour later; u2 hides d and then saves it in the test."""
    rows = [
        action("u1", "a", 2),
        action("u1", "b", B + 2.5),
        action("u1", "c", B + 2.5 + 1 / 24),
        action("u2", "b", 3),
        action("u2", "d", B + 1, "hide"),
        action("u2", "d", B + 3, "save"),
        action("u2", "a", B + 13.9, "save"),
        action("u3", "a", 27),  # nobody's earlier action: not asked
    ]
    return FakeLake.of([item(name) for name in names], rows)


@pytest.fixture
def task():
    return CadenceTask.of(lake(), calendar())


def pair(task, user, name):
    return int(np.flatnonzero((task.users == task.user_ids.index(user)) & (task.items == list(task.item_ids).index(name)))[0])


def test_pairs_are_those_of_the_retrieval_task_with_their_moments(task):
    assert list(task.user_ids) == ["u1", "u2"]
    assert len(task) == 4
    assert task.time_ms[pair(task, "u1", "c")] == at(B + 2.5 + 1 / 24)
    assert task.time_ms[pair(task, "u2", "d")] == at(B + 3)  # the positive, not the hide before it


def test_what_may_be_known_at_each_cadence(task):
    one = pair(task, "u1", "c")
    assert task.known_ms("once")[one] == at(B)
    assert task.known_ms("daily")[one] == at(B + 1)
    assert task.known_ms("realtime")[one] == at(B + 2.5 + 1 / 24)
    users, moments, of_pair = task.questions("daily")
    assert len(users) == 3  # both pairs of u1 lie on one day
    assert (moments[of_pair] == task.known_ms("daily")).all()
    assert (users[of_pair] == task.users).all()


def test_histories_are_newest_first_and_end_strictly_before_the_moment(task):
    names = list(task.item_ids)
    user = np.array([task.user_ids.index("u1")])
    for moment, expected in ((at(2), []), (at(2) + 1, ["a"]), (at(B + 2.5), ["a"]), (at(B + 2.6), ["c", "b", "a"])):
        (history,) = task.histories(user, np.array([moment]))
        assert [names[k] for k in history] == expected
    (history,) = task.histories(np.array([task.user_ids.index("u2")]), np.array([at(B + 2)]))
    assert [names[k] for k in history] == ["b"]  # a hide is no positive


def test_what_was_engaged_before_the_moment_is_left_out_at_every_cadence(task):
    """u1 has a before b, and a and b before c: with the scores a > b > c > d, both positives are on top of what is left."""
    config = EvaluationConfig(k=1)
    scores = Fixed(np.array([4.0, 3.0, 2.0, 1.0]))
    for cadence in CADENCES:
        found = recall(task, scorer_scores(task, scores, cadence), cadence, config)
        by_user = dict(zip(task.user_ids, zip(found.total.tolist(), found.weight.tolist(), strict=True), strict=True))
        assert by_user["u1"] == (2.0, 2.0)
        # d was hidden before it was saved, so no list holds it; a stands on top when it is saved
        assert by_user["u2"] == (1.0, 2.0)


def test_once_agrees_with_the_evaluation_where_nobody_acts_twice():
    """One positive a user: then nothing is left out that the evaluation of `corkboard evaluate` keeps."""
    rng = np.random.default_rng(0)
    names = [f"i{k:02d}" for k in range(40)]
    rows = []
    for user in range(30):
        before, after = rng.choice(40, 2, replace=False)
        rows += [action(f"u{user}", names[before], 3), action(f"u{user}", names[after], B + float(rng.uniform(0, 13)))]
    world, config = FakeLake.of([item(name) for name in names], rows), EvaluationConfig(k=5, replicates=100)
    task, scorer = CadenceTask.of(world, calendar(), config), Fixed(rng.integers(0, 4, 40))
    table = evaluate_retrieval(retrieval_task(world, calendar(), config), {"popularity 7 d": scorer}, config)
    found = recall(task, scorer_scores(task, scorer, "once"), "once", config)
    assert found.value == pytest.approx(table.cell("popularity 7 d", "recall@5").value)


def test_a_model_that_copies_the_last_action_gains_from_fresh_histories():
    """Its vector is the item after the newest known one in the order a, b, c, d: right for u1's b at any cadence, for c only live.

    Two distractors, e and f, stand halfway up every list: what the model does not point at is below them, and no tie decides.
    """
    task = CadenceTask.of(lake("abcdef"), calendar())
    names, vectors = list(task.item_ids), np.eye(6, 5, dtype=np.float32)
    vectors[4:, 4] = 0.5

    def model(users, moments):
        following = [(history[0] + 1) % 4 for history in task.histories(users, moments)]
        return np.eye(5, dtype=np.float32)[following] + np.eye(5, dtype=np.float32)[4]

    scores = {}
    for cadence in CADENCES:
        users, moments, _ = task.questions(cadence)
        scores[cadence] = VectorScores(users, moments, model(users, moments), vectors)
    figures = at_every_cadence(task, scores, EvaluationConfig(k=1))
    u1 = task.user_ids.index("u1")
    hits = [figures[f"recall@1 {cadence}"].total[u1] for cadence in CADENCES]
    assert names == list("abcdef")
    assert hits[2] == 2.0
    assert hits[2] > max(hits[:2])
    assert hits[:2] == [1.0, 1.0]
    by_user = figures["recall@1 realtime by user"]
    assert by_user.weight.tolist() == [1, 1]
    assert by_user.value == pytest.approx((1 + figures["recall@1 realtime"].total[1 - u1] / 2) / 2)


class Counting:
    """A scorer that is brought up to date; it notes for when."""

    def __init__(self):
        self.asked = []

    def as_of(self, known_ms):
        self.asked.append(known_ms)
        return Fixed(np.zeros(4))

    def score_all(self, histories):
        return Fixed(np.zeros(4)).score_all(histories)


def test_refreshed_scorers_are_asked_for_the_moments_of_the_cadence(task):
    for cadence, expected in (("once", []), ("daily", [at(B), at(B + 1), at(B + 2), at(B + 12)]), ("realtime", None)):
        scorer = Counting()
        recall(task, scorer_scores(task, scorer, cadence), cadence)
        if expected is None:
            assert all(moment % (6 * 3_600_000) == 0 for moment in scorer.asked)
            assert min(scorer.asked) > at(B + 2)
        else:
            assert scorer.asked == [moment for moment in expected if moment in set(task.known_ms(cadence).tolist())]


def test_chunks_change_nothing():
    rng = np.random.default_rng(1)
    names = [f"i{k:02d}" for k in range(30)]
    rows = [action(f"u{rng.integers(9)}", names[rng.integers(30)], float(rng.uniform(0, 28))) for _ in range(400)]
    task = CadenceTask.of(FakeLake.of([item(name) for name in names], rows), calendar())
    per_user = Random(30)
    users, moments, _ = task.questions("daily")
    fixed = per_user.score_all(users)
    scores = VectorScores(users, moments, fixed, np.eye(30, dtype=np.float32))
    whole = recall(task, scores, "daily", EvaluationConfig(chunk_scores=10**9))
    parts = recall(task, scores, "daily", EvaluationConfig(chunk_scores=70))
    assert (whole.total == parts.total).all()
    assert 0 < whole.value < 1
    assert task.known_ms("daily").max() < task.time_ms.max()
    assert ((task.time_ms - task.known_ms("daily")) >= DAY_MS).all()
