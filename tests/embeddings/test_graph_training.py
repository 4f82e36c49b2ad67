from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
import torch

from corkboard.embeddings.config import HardNegativeConfig, MultiBiSageConfig, PinSageConfig
from corkboard.embeddings.content_training import pair_recall
from corkboard.embeddings.graph_training import GraphTraining, _Batch, hard_count, train_multibisage, train_pinsage
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.embeddings.pinsage import PinSage
from corkboard.errors import InputError
from corkboard.graph.neighbour_lists import NeighbourLists
from corkboard.learning.sampled_softmax import Draw
from tests.embeddings.graph_builders import DAY_MS, co_neighbour_pairs, features, lists

SHORT = {"steps": 30, "warmup_steps": 3, "validate_every": 10, "learning_rate": 0.01}
COMMON = {"dim": 8, "small_dim": 4, "batch": 64, "pool": 32, "training": SHORT}
PINSAGE = PinSageConfig.model_validate({**COMMON, "hidden": 16})
MULTIBISAGE = MultiBiSageConfig.model_validate({**COMMON, "width": 8})

ITEMS = 120
GROUPS = np.arange(ITEMS) % 12
"""What belongs together. Features do not tell; neighbours do."""


def grouped_lists() -> NeighbourLists:
    """In "board" the neighbours are of the same group; in "noise" they are anybody."""
    read = lists(ITEMS, ("board", "noise"), k=5)
    draw = np.random.default_rng(3)
    for item in range(ITEMS):
        others = np.setdiff1d(np.flatnonzero(GROUPS[item] == GROUPS), [item])
        read.rows[0, item] = draw.choice(others, 5, replace=False)
    read.visits[0] = 5
    read.degrees[0] = 4
    return read


GIVEN, READ, PAIRS = features(ITEMS, (8,)), grouped_lists(), co_neighbour_pairs(GROUPS)


def ends_of(pairs: pl.DataFrame) -> np.ndarray:
    return np.stack([np.array([int(text[1:]) for text in pairs[side]]) for side in ("left_id", "right_id")], axis=1)


def recall(model: PinSage | MultiBiSage, given: NodeFeatures = GIVEN) -> float:
    return pair_recall(model.encode(given, READ), ends_of(PAIRS)[:300], 10)


@pytest.mark.parametrize(
    ("train", "config"),
    [
        (train_pinsage, PINSAGE),
        (train_pinsage, PINSAGE.model_copy(update={"loss": "margin", "margin_negatives": 40})),
        (train_multibisage, MULTIBISAGE.model_copy(update={"dropout": 0.0, "graph_dropout": 0.0})),
    ],
)
def test_training_finds_what_neighbours_tell(train, config) -> None:
    more = config.model_copy(update={"training": config.training.model_copy(update={"steps": 150, "patience": 20})})
    none = config.model_copy(update={"training": config.training.model_copy(update={"steps": 0})})
    content = pair_recall(GIVEN.values, ends_of(PAIRS)[:300], 10)
    start, trained = train(GIVEN, READ, PAIRS, none, 1), train(GIVEN, READ, PAIRS, more, 1)
    assert recall(trained) > max(recall(start), content) + 0.1
    vectors = trained.encode(GIVEN, READ)
    small, small_start = (pair_recall(model.small(vectors), ends_of(PAIRS)[:300], 10) for model in (trained, start))
    assert small > content
    assert small > small_start - 0.1


@pytest.mark.parametrize(("train", "config"), [(train_pinsage, PINSAGE), (train_multibisage, MULTIBISAGE)])
def test_a_run_is_a_function_of_its_seed(train, config) -> None:
    rows, degrees = READ.rows.copy(), READ.degrees.copy()
    first, second, other = (train(GIVEN, READ, PAIRS, config, seed) for seed in (1, 1, 2))
    assert first.space == second.space != other.space
    assert np.array_equal(first.encode(GIVEN, READ), second.encode(GIVEN, READ))
    assert np.array_equal(READ.rows, rows)
    assert np.array_equal(READ.degrees, degrees)  # what was hidden came back


def test_without_pairs_or_steps_the_start_comes_back() -> None:
    model = train_pinsage(GIVEN, READ, PAIRS.clear(), PINSAGE, 1)
    start = (model.encode(GIVEN, READ) * GIVEN.values).sum(axis=1)[:-1]
    assert start.min() > 0.9  # a residual start with as many numbers is about the features
    assert train_multibisage(GIVEN, READ, PAIRS.head(0), MULTIBISAGE, 1).encode(GIVEN, None).shape == (ITEMS, 8)


def test_progress_and_the_graph_that_is_read() -> None:
    seen = []
    model = train_pinsage(GIVEN, READ, PAIRS, PINSAGE.model_copy(update={"graph": "noise"}), 1, None, seen.append)
    assert [at.step for at in seen] == list(range(1, 31))
    assert seen[-1].validation is not None
    assert model.graphs == ("noise",)
    assert train_pinsage(GIVEN, READ.only(("noise",)), PAIRS.head(0), PINSAGE, 1).graphs == ("noise",)  # no boards: the first there is
    assert train_multibisage(GIVEN, READ, PAIRS.head(0), MULTIBISAGE, 1).graphs == ("board", "noise")


def training(config=MULTIBISAGE, kind=MultiBiSage, hard: np.ndarray | None = None) -> GraphTraining:
    read = READ if kind is MultiBiSage else READ.only(("board",))
    return GraphTraining(kind, GIVEN, read, PAIRS, config, 1, None, hard)


def test_partners_are_hidden_from_each_other_and_come_back() -> None:
    run = training(MULTIBISAGE.model_copy(update={"hide_positive": 1.0, "cold_share": 0.0, "graph_dropout": 0.0}))
    item, other = 7, int(READ.rows[0, 7, 2])
    third = int(READ.rows[0, 7, 0])
    nodes = np.array(sorted({item, other, third}))
    before = run.lists.rows.copy()
    with run._hidden(nodes, np.array([[other, item]]), np.random.default_rng(0)):
        assert other not in run.lists.rows[:, item]
        assert item not in run.lists.rows[:, other]
        kept = before[0, item] != other
        assert np.array_equal(run.lists.rows[0, item][kept], before[0, item][kept])
        assert np.array_equal(run.lists.rows[:, third], before[:, third])
    assert np.array_equal(run.lists.rows, before)
    never = training(MULTIBISAGE.model_copy(update={"hide_positive": 0.0}))
    with never._hidden(nodes, np.array([[item, other]]), None):  # when validating, always
        assert other not in never.lists.rows[:, item]

    def fails() -> None:
        with run._hidden(nodes, np.array([[item, other]]), None):
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert np.array_equal(run.lists.rows, before)


def test_how_often_things_are_hidden() -> None:
    run = training(MULTIBISAGE.model_copy(update={"hide_positive": 0.0, "cold_share": 0.3, "graph_dropout": 0.2}))
    nodes, draw, cold, gone = np.arange(ITEMS), np.random.default_rng(0), [], []
    for _ in range(60):
        with run._hidden(nodes, np.array([[0, 12]]), draw):
            none = (run.lists.rows[0] < 0).all(axis=1)
            assert not run.lists.degrees[0][none].any()
            assert run.lists.degrees[0][~none].all()
            gone.append(none.mean())
            cold.append((run.lists.rows[:, 1:-1] < 0).all(axis=(0, 2)).mean())
    assert np.mean(gone) == pytest.approx(0.3 + 0.7 * 0.2, abs=0.02)
    assert np.mean(cold) > 0.3  # all graphs at once; sometimes each by itself
    pinsage = training(PINSAGE.model_copy(update={"hide_positive": 0.0, "cold_share": 0.3}), PinSage)
    with pinsage._hidden(nodes, np.array([[0, 12]]), draw):
        assert (pinsage.lists.rows[0] < 0).all(axis=1).mean() == pytest.approx(0.3, abs=0.15)


def test_the_curriculum() -> None:
    config = HardNegativeConfig(most=6, epochs=7)
    assert [hard_count(step, 14, config) for step in range(14)] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert [hard_count(step, 4, HardNegativeConfig(most=2, epochs=4)) for step in range(4)] == [0, 1, 2, 2]
    assert [hard_count(step, 14, config.model_copy(update={"at_once": True})) for step in (0, 13)] == [6, 6]
    assert hard_count(0, 0, config) == 0


def test_hard_negatives_come_from_the_query_and_are_no_positives() -> None:
    pool = np.full((ITEMS, 3), -1, np.int32)
    pool[5], pool[6] = (50, 51, 52), (60, -1, 60)
    run = training(PINSAGE.model_copy(update={"hard": HardNegativeConfig(at_once=True)}), PinSage, pool)
    queries, positives = np.array([5, 6, 7] * 20), np.array([50, 1, 2] * 20)
    found = run._hard(queries, positives, np.random.default_rng(0))
    assert found.shape == (60, 6)
    assert set(found[queries == 5].ravel()) == {-1, 51, 52}
    assert set(found[queries == 6].ravel()) == {-1, 60}
    assert set(found[queries == 7].ravel()) == {-1}
    assert training(PINSAGE, PinSage, pool)._hard(queries, positives, np.random.default_rng(0)).shape == (60, 0)  # the first epoch


@pytest.mark.parametrize("loss", ["softmax", "margin"])
def test_hard_negatives_are_pushed_away(loss: str) -> None:
    hard = np.roll(np.arange(ITEMS), 1)[:, None].astype(np.int32)  # always of another group
    config = PINSAGE.model_copy(update={"loss": loss, "hard": HardNegativeConfig(at_once=True)})
    with_hard, without = train_pinsage(GIVEN, READ, PAIRS, config, 1, hard=hard), train_pinsage(GIVEN, READ, PAIRS, config, 1)

    def near(model: PinSage) -> float:
        vectors = model.encode(GIVEN, READ)[:-1]
        return float((vectors * np.roll(vectors, 1, axis=0)).sum(axis=1).mean())

    assert near(with_hard) < near(without) - 0.005


def test_losses_of_a_batch_by_hand() -> None:
    items = Draw.of(np.array([10, 11]), np.array([11, 12, 12, 3]))  # distinct 3, 10, 11, 12
    batch = _Batch(np.array([3, 4]), np.array([10, 11]), np.array([0, 0]), items, np.array([[8], [-1]]))
    queries, hard = torch.eye(2), torch.tensor([[[0.7, 0.0]], [[0.0, 0.9]]])
    candidates = torch.tensor([[0.9, 0.9], [0.5, 0.0], [0.6, 0.4], [0.3, 0.35]])
    # first: 11 is of the same user, 3 is the query itself; left are 12 (0.3 - 0.5 + 0.1 < 0) and the hard one, 0.7 - 0.5 + 0.1
    # second: 11 is the positive, 10 is not in the pool; left are 3 (0.9 - 0.4 + 0.1) and 12 (0.35 - 0.4 + 0.1); no hard one
    expected = ((0.0 + 0.3) / 2 + (0.6 + 0.05) / 2) / 2
    assert batch.margin(queries, candidates, hard, 0.1).item() == pytest.approx(expected, abs=1e-6)
    soft = np.log1p(np.exp(2 * (0.7 - 0.5))) / 2  # the second has nothing to stand against
    assert batch.against_hard(queries, candidates, hard, torch.tensor(2.0)).item() == pytest.approx(soft, abs=1e-6)
    nothing = dataclasses.replace(batch, hard=np.empty((2, 0), np.int64))
    assert nothing.against_hard(queries, candidates, hard[:, :0], torch.tensor(2.0)) == 0.0


def test_pairs_are_drawn_by_weight_and_age() -> None:
    pairs = PAIRS.head(3).with_columns(
        weight=pl.Series([1.0, 2.0, 4.0], dtype=pl.Float32), time_ms=pl.Series([30, 30, 10]) * DAY_MS, user=pl.lit("u")
    )
    config = MULTIBISAGE.model_copy(update={"half_life_days": 10.0, "validation_share": 0.0})
    run = GraphTraining(MultiBiSage, GIVEN, READ, pairs, config, 1, 40 * DAY_MS)
    assert np.diff(run.cumulative, prepend=0) == pytest.approx([0.5, 1.0, 0.5])
    assert len(run.trained) == 3


def test_pairs_of_unknown_items_and_of_items_nothing_is_known_of_are_left_out() -> None:
    bare = dataclasses.replace(READ, rows=READ.rows.copy())
    bare.rows[:, ITEMS - 1] = -1  # no features, no neighbours
    pairs = PAIRS.head(3).with_columns(right_id=pl.Series(["nobody", f"i{ITEMS - 1:03d}", "i004"]), left_id=pl.lit("i003"))
    assert GraphTraining(MultiBiSage, GIVEN, bare, pairs, MULTIBISAGE, 1).ends.tolist() == [[3, 4]]


def test_errors() -> None:
    with pytest.raises(InputError, match="Hard negatives need a row an item"):
        train_pinsage(GIVEN, READ, PAIRS, PINSAGE, hard=np.zeros((3, 2), np.int32))
    with pytest.raises(InputError, match="not over the same items"):
        train_multibisage(GIVEN, READ.in_order_of(READ.item_ids[::-1]), PAIRS, MULTIBISAGE)
