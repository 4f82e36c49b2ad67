from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.config import ItemTowerConfig, ObjectiveConfig
from corkboard.embeddings.histories import Histories
from corkboard.embeddings.pinnerformer_training import PinnerFormerTraining, train_pinnerformer
from corkboard.errors import InputError
from corkboard.learning.config import SampledSoftmaxConfig, TrainingConfig, TransformerConfig
from corkboard.learning.sampled_softmax import Draw, SampledSoftmax
from corkboard.seeds import generator
from tests.embeddings.builders import DAY_MS, ITEMS, content, histories, random_histories, tiny

OBJECTIVES = ["next_action", "sasrec", "all_action", "dense_all_action"]


def weights(histories: Histories, **changes: object) -> dict[str, np.ndarray]:
    return train_pinnerformer(histories, content(), tiny(**changes), 5, 15 * DAY_MS).tensors()


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_same_seed_same_model() -> None:
    made = random_histories()
    one, again = (train_pinnerformer(made, content(), tiny(), seed, 15 * DAY_MS) for seed in (5, 5))
    assert one.space == again.space
    assert train_pinnerformer(made, content(), tiny(), 6, 15 * DAY_MS).space != one.space


def test_nothing_after_the_cut_is_read() -> None:
    made = random_histories()
    later = made.time_ms >= 15 * DAY_MS
    changed = replace(made, items=np.where(later, (made.items + 3) % ITEMS, made.items).astype(np.int32), labels=made.labels & ~later)
    assert same(weights(made), weights(changed))
    assert same(weights(made), weights(made.until(15 * DAY_MS)))
    earlier = made.time_ms < 3 * DAY_MS
    assert not same(weights(made), weights(replace(made, labels=made.labels & ~earlier)))


def test_held_out_users_teach_nothing() -> None:
    """Their labels may be anything; what they take does reach the number of an item's actions, so it is left alone here."""
    made = random_histories()
    training = PinnerFormerTraining(made, content(), tiny(validation_share=0.4, validation_days=2.0), 5, 15 * DAY_MS)
    asked = np.unique(training.validation.users)
    assert len(asked) > 3
    assert not np.isin(asked, training.rounds.users).any()
    changed = replace(made, labels=made.labels & ~np.isin(made.owners, asked))
    steps = TrainingConfig(steps=3, warmup_steps=1, learning_rate=0.02, validate_every=1000)
    assert same(*(weights(each, validation_share=0.4, validation_days=2.0, training=steps) for each in (made, changed)))


def test_validation_asks_for_what_comes_after_each_moment() -> None:
    # one user, an action a day on items 0 to 9; moments two, four and six days before the cut at day 10
    made = histories([np.arange(10) * DAY_MS], [np.arange(10)])
    config = tiny(validation_share=0.999, validation_days=2.0, validation_moments=3)
    asked = PinnerFormerTraining(made, content(), config, 5, 10 * DAY_MS).validation
    assert asked.ends.tolist() == [8, 6, 4]
    assert [asked.wanted[asked.wanted[:, 0] == row, 1].tolist() for row in range(3)] == [[8, 9], [6, 7], [4, 5]]
    assert [asked.seen[asked.seen[:, 0] == row, 1].tolist() for row in range(3)] == [list(range(8)), list(range(6)), list(range(4))]


def test_windows_hold_something_to_learn_from() -> None:
    made = random_histories(longest=40)
    training = PinnerFormerTraining(made, content(), tiny(window=6), 5, 15 * DAY_MS)
    for seed in range(10):
        users, starts, stops = training._windows(generator(seed))
        assert len(set(users.tolist())) == len(users)
        first, stop = training.ranges.able_between(starts, stops)
        assert (stop > first).all()
        assert (starts >= training.histories.offsets[users]).all()
        assert (stops <= training.last_able[users] + 1).all()
        assert (stops - starts <= 6).all()


def test_all_users_are_drawn_equally_often() -> None:
    """In expectation: at most once a round, and what is left of a round, less than a batch, is skipped by another draw in each."""
    training = PinnerFormerTraining(random_histories(), content(), tiny(batch=7), 5, 15 * DAY_MS)
    users, rounds = len(training.rounds.users), 300
    assert users % 7
    drawn = np.stack([np.concatenate([training.rounds.next(7) for _ in range(users // 7)]) for _ in range(rounds)])
    assert all(len(set(each)) == len(each) for each in drawn.tolist())
    counts = np.bincount(drawn.ravel(), minlength=30)[training.rounds.users]
    share = (users // 7 * 7) / users
    assert counts / rounds == pytest.approx(np.full(users, share), abs=5 * np.sqrt(share * (1 - share) / rounds))


@pytest.mark.parametrize(("objective", "plain"), [*((name, False) for name in OBJECTIVES), ("sasrec", True), ("dense_all_action", True)])
def test_learns_what_follows_what(objective: str, plain: bool) -> None:
    """Item n is followed by n + 1: after training, the next item is the best new one. Also without content, times, in-batch negatives."""
    draw, users, length = generator(2, "tests", "chain"), 60, 12
    starts = draw.integers(0, ITEMS, users)
    made = histories([np.arange(length) * 60_000] * users, [(start + np.arange(length)) % ITEMS for start in starts])
    changes: dict[str, object] = {"items": ItemTowerConfig(id_dim=16, hidden=8, id_dropout=0.0)}
    vectors = content()
    if plain:
        vectors = EmbeddingTable(vectors.ids, np.zeros_like(vectors.vectors), Space("content", "none"))
        changes = {
            "clock": False,
            "encoder": TransformerConfig(width=16, heads=1, layers=1, window=12, dropout=0.0, positions="start", time_gaps=False),
            "items": ItemTowerConfig(id_dim=16, hidden=8, id_dropout=0.0, start="random"),
            "softmax": SampledSoftmaxConfig(in_batch=False),
        }
    steps = TrainingConfig(
        steps=50 if objective in ("sasrec", "dense_all_action") else 100, warmup_steps=5, learning_rate=0.03, validate_every=1000
    )
    wanted = ObjectiveConfig(name=objective, days=0.001, positions=12)
    config = tiny(12, dim=16, objective=wanted, batch=30, pool=20, token_dropout=0.0, training=steps, **changes)
    model = train_pinnerformer(made, vectors, config, 3, DAY_MS)
    known = np.full(users, 8 * 60_000)
    scores = model.encode_users(made, vectors, np.arange(users), known) @ model.encode_items(made.item_ids, vectors.vectors).T
    scores[np.arange(users)[:, None], (starts[:, None] + np.arange(8)) % ITEMS] = -np.inf
    near = (scores.argmax(axis=1) - starts - 8) % ITEMS
    # ``days`` reaches as far as the next action alone, so all four objectives ask for the same
    assert (near == 0).mean() > 0.7


def given_to_the_loss(monkeypatch: pytest.MonkeyPatch, made: Histories, cut_ms: int, **objective: object) -> dict[str, np.ndarray]:
    """What the loss is given for the pairs of one step: users, weights, what they own of the candidates, and which items these are."""
    given: list[dict[str, np.ndarray]] = []
    loss = SampledSoftmax.forward

    def noting(self: SampledSoftmax, queries: Tensor, candidates: Tensor, draw: Draw, **more: object) -> Tensor:
        users, weights, owned = more["user_ids"], more["weights"].numpy(), more["owned"].numpy()
        given.append({"users": users, "weights": weights, "owned": owned, "items": draw.distinct, "labels": draw.distinct[draw.positives]})
        return loss(self, queries, candidates, draw, **more)

    monkeypatch.setattr(SampledSoftmax, "forward", noting)
    config = tiny(steps=1, validation_share=0.0, objective=ObjectiveConfig.model_validate({"positions": 4, **objective}))
    train_pinnerformer(made, content(), config, 5, cut_ms)
    return given[0]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_equal_users_weigh_the_same_however_old_their_labels(objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = {"name": objective, "equal_users": True, "half_life_days": 2.0, "last_weight": 0.3}
    given = given_to_the_loss(monkeypatch, random_histories(), 20 * DAY_MS, **changes)
    users, found = given["users"], given["weights"]
    assert len(set(users.tolist())) == 8
    assert np.bincount(users, found)[np.unique(users)] == pytest.approx(np.ones(8))
    if objective in ("sasrec", "dense_all_action"):
        assert found.max() / found.min() > 2  # what fades is the share of a label


@pytest.mark.parametrize("equal_users", [False, True])
def test_a_label_that_is_a_half_life_older_weighs_half(equal_users: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    # from day 0 the label of day 1, from day 1 that of day 15, one half-life newer; the cut is another half-life later
    made = histories([[0, DAY_MS, 15 * DAY_MS]], [[0, 1, 2]])
    changes = {"name": "sasrec", "last_weight": 0.0, "half_life_days": 14.0, "equal_users": equal_users}
    given = given_to_the_loss(monkeypatch, made, 29 * DAY_MS, **changes)
    assert given["labels"].tolist() == [1, 2]
    assert given["weights"].tolist() == pytest.approx([1 / 3, 2 / 3] if equal_users else [1 / 4, 1 / 2])


def test_what_a_user_has_engaged_with_is_no_negative() -> None:
    made = histories([[1, 2, 3], [4, 5]], [[0, 1, 2], [2, 3]], [[True, True, True], [True, False]])
    training = PinnerFormerTraining(made, content(), tiny(), 5, DAY_MS)
    # of the items 1, 2, 3 and 9: user 0 has engaged with 1 and 2, user 1 with 2 (3 was no label)
    assert training._owned(np.array([1, 0]), np.array([1, 2, 3, 9])).tolist() == [[False, True, False, False], [True, True, False, False]]


def test_the_loss_is_told_what_the_user_of_each_pair_owns(monkeypatch: pytest.MonkeyPatch) -> None:
    made = random_histories()
    given = given_to_the_loss(monkeypatch, made, 20 * DAY_MS)
    theirs = set(zip(made.owners.tolist(), made.items.tolist(), strict=True))  # every action is a label here, and lies before the cut
    expected = [[(user, item) in theirs for item in given["items"].tolist()] for user in given["users"].tolist()]
    assert given["owned"].tolist() == expected


def test_an_untrained_model_serves() -> None:
    model = train_pinnerformer(random_histories(), content(), tiny(steps=0), 5, 15 * DAY_MS)
    assert np.isfinite(model.encode_users(random_histories(), content(), np.arange(30), np.full(30, 9 * DAY_MS))).all()
    nobody = histories([[], []])
    assert train_pinnerformer(nobody, content(), tiny(), 5, DAY_MS).encode_users(nobody, content(), np.arange(2), np.zeros(2)).any() == 0


def test_every_item_needs_a_content_vector() -> None:
    with pytest.raises(InputError):
        train_pinnerformer(random_histories(), content(ids=["i000"]), tiny(), 5, DAY_MS)
