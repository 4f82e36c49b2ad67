"""The leave-one-out protocol: four items and three users by hand, and that nothing of a target reaches a scorer."""

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError, SchemaError
from corkboard.experiments.leave_one_out import LeaveOneOut, best_by_validation, leave_one_out_figures, target_ranks

from .fakes import Fixed

DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here")


def rows(*sequences, first_user=1):
    """A frame from sequences of item numbers: the last item is the test, the one before it the validation."""
    found = []
    for user, sequence in enumerate(sequences, start=first_user):
        for pos, one in enumerate(sequence):
            split = {len(sequence) - 1: "test", len(sequence) - 2: "valid"}.get(pos, "train")
            found.append({"user_id": user, "item_id": one, "pos": pos, "split": split})
    return pl.DataFrame(found)


SMALL = rows([10, 20, 30], [30, 40, 20, 10], [40, 10, 20])
"""Items 10, 20, 30, 40 are rows 0 to 3."""


class Remembering:
    """Scores by a table and keeps the histories it was asked with."""

    def __init__(self, scores):
        self.scores, self.asked = np.asarray(scores, np.float32), []

    def score_all(self, histories):
        self.asked += [history.tolist() for history in histories]
        return np.repeat(self.scores[None], len(histories), axis=0)


def test_sequences_are_read_oldest_first_whatever_the_order_of_the_file():
    data = LeaveOneOut.of(SMALL.sample(fraction=1.0, shuffle=True, seed=3))
    assert (data.user_ids, data.item_ids) == (["1", "2", "3"], ["10", "20", "30", "40"])
    assert data.items.tolist() == [0, 2, 3, 3]
    assert data.offsets.tolist() == [0, 1, 3, 4]
    assert (data.valid.tolist(), data.test.tolist()) == ([1, 1, 0], [2, 0, 1])


def test_histories_are_newest_first_and_end_before_the_target():
    data = LeaveOneOut.of(SMALL)
    scorer = Remembering([0, 1, 2, 3])
    target_ranks(data, scorer, "valid")
    assert scorer.asked == [[0], [3, 2], [3]]
    scorer.asked.clear()
    target_ranks(data, scorer, "test")
    assert scorer.asked == [[1, 0], [1, 3, 2], [0, 3]]


def test_ranks_by_hand_with_seen_items_left_out():
    """Scores 1, 3, 2, 4. User 1 wants row 2, has 0 and 1: only row 3 is above. User 2 wants 0, has 1, 2, 3. User 3 wants 1, has 0, 3."""
    assert target_ranks(LeaveOneOut.of(SMALL), Fixed([1, 3, 2, 4])).tolist() == [1, 0, 0]


def test_a_tie_counts_against_the_model():
    assert target_ranks(LeaveOneOut.of(SMALL), Fixed([5, 5, 5, 5])).tolist() == [1, 0, 1]
    assert target_ranks(LeaveOneOut.of(SMALL), Fixed([0, 0, 0, -np.inf])).tolist() == [0, 0, 1]


def test_a_target_that_is_never_listed_is_never_found():
    """Also where everything else is unlisted or seen."""
    assert target_ranks(LeaveOneOut.of(SMALL), Fixed([-np.inf] * 4)).tolist() == [4, 4, 4]


def test_chunks_change_nothing():
    data = LeaveOneOut.of(rows(*[[i % 7, 7 + i % 5, 12 + i % 3] for i in range(40)]))
    scores = np.random.default_rng(0).random(15)
    whole = target_ranks(data, Fixed(scores))
    assert whole.tolist() == target_ranks(data, Fixed(scores), chunk_scores=31).tolist()
    assert len(set(whole.tolist())) > 1


def test_figures_by_hand():
    """Ranks 0, 2 and 10 of ten: two hits of three; gains 1, 1/log2(4) = 0.5 and 0."""
    found = leave_one_out_figures(np.array([0, 2, 10]))
    assert found["recall@10"].value == pytest.approx(2 / 3)
    assert found["NDCG@10"].value == pytest.approx(0.5)
    assert leave_one_out_figures(np.array([0, 2, 10]), k=11)["recall@11"].value == 1.0


def test_tuning_looks_at_the_validation_items_only():
    """Valid items are rows 1, 1, 0, test items 2, 0, 1: what is best on one is worst on the other."""
    data = LeaveOneOut.of(SMALL)
    assert best_by_validation(data, {"test": Fixed([2, 0, 3, -1]), "valid": Fixed([3, 4, 0, 0])}, k=1) == "valid"


def test_the_matrix_holds_the_training_part_alone():
    assert LeaveOneOut.of(SMALL).matrix().toarray().tolist() == [[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1]]


def test_a_sample_keeps_sequences_and_catalogue():
    data = LeaveOneOut.of(rows(*[[i, 100 + i, 200 + i, 300 + i] for i in range(30)]))
    part = data.sample(10, seed=4)
    assert part.item_ids == data.item_ids
    assert len(part.user_ids) == 10
    for row, user in enumerate(part.user_ids):
        number = int(user) - 1
        assert [part.item_ids[i] for i in part.known(row, "test")] == [str(base + number) for base in (0, 100, 200)]
        assert part.item_ids[part.test[row]] == str(300 + number)
    assert data.sample(30) is data
    assert part.split_hash == data.sample(10, seed=4).split_hash != data.split_hash


def test_the_hash_knows_the_order():
    swapped = SMALL.with_columns(pos=pl.when(pl.col("user_id") == 2).then(pl.col("pos").replace({0: 1, 1: 0})).otherwise("pos"))
    assert LeaveOneOut.of(SMALL).split_hash != LeaveOneOut.of(swapped).split_hash


@pytest.mark.parametrize(
    ("frame", "error", "says"),
    [
        (SMALL.drop("pos"), SchemaError, "more columns"),
        (SMALL.filter(pl.col("split") != "valid"), InputError, "training rows, then one valid row"),
        (rows([10, 20]), InputError, "training rows, then one valid row"),
        (rows([10, 20, 10]), InputError, "taken before"),
    ],
)
def test_what_is_no_such_split_is_refused(frame, error, says):
    with pytest.raises(error, match=says):
        LeaveOneOut.of(frame)


def test_scores_of_a_wrong_shape_or_no_number_are_refused():
    data = LeaveOneOut.of(SMALL)
    with pytest.raises(ValueError, match="shape"):
        target_ranks(data, Fixed([1, 2]))
    with pytest.raises(ValueError, match="NaN"):
        target_ranks(data, Fixed([1, np.nan, 0, 0]))


@pytest.mark.skipif(not (DATA / "ml-1m").exists(), reason="set CORKBOARD_DATA to the folder that holds ml-1m")
def test_the_real_split_is_the_one_of_the_published_tables():
    data = LeaveOneOut.of(pl.read_parquet(DATA / "ml-1m" / "ml-1m.parquet"))
    assert (len(data.user_ids), len(data.item_ids), len(data.items)) == (6040, 3706, 988_129)
    assert np.diff(data.offsets).min() == 18
