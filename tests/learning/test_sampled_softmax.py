from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from corkboard.errors import InputError
from corkboard.learning.config import SampledSoftmaxConfig
from corkboard.learning.sampled_softmax import Draw, SampledSoftmax, Temperature, known_positives, pool_probability, sampled_softmax


def test_loss_by_hand() -> None:
    # scores 2 * (1, 0) = (2, 0), minus log Q = (log 0.5, log 0.25): logits 2.693, 1.386; loss = log(1 + e^(1.386 - 2.693))
    queries, candidates = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    log_q = torch.log(torch.tensor([0.5, 0.25]))
    expected = math.log(1 + math.exp((0 - math.log(0.25)) - (2 - math.log(0.5))))
    assert float(sampled_softmax(queries, candidates, torch.tensor([0]), 2.0, log_q)) == pytest.approx(expected, abs=1e-6)


def test_weights_are_relative() -> None:
    queries, candidates, targets = torch.eye(2), torch.eye(2), torch.tensor([0, 0])
    each = [float(sampled_softmax(queries[[i]], candidates, targets[[i]], 1.0)) for i in range(2)]
    weighted = float(sampled_softmax(queries, candidates, targets, 1.0, weights=torch.tensor([3.0, 1.0])))
    assert weighted == pytest.approx((3 * each[0] + each[1]) / 4, abs=1e-6)


def test_a_removed_negative_does_not_count_but_a_positive_cannot_be_removed() -> None:
    queries, candidates = torch.tensor([[1.0, 0.0]]), torch.eye(2)
    removed = torch.tensor([[True, True]])
    assert float(sampled_softmax(queries, candidates, torch.tensor([0]), 1.0, None, removed)) == pytest.approx(0.0, abs=1e-6)


def test_uniform_log_q_changes_nothing() -> None:
    torch.manual_seed(0)
    queries, candidates, targets = torch.randn(4, 3), torch.randn(5, 3), torch.tensor([0, 1, 2, 3])
    plain = sampled_softmax(queries, candidates, targets, 1.0)
    assert float(sampled_softmax(queries, candidates, targets, 1.0, torch.full((5,), -4.2))) == pytest.approx(float(plain), abs=1e-5)


def test_mask_1_the_positive_is_no_negative_of_itself() -> None:
    # rows 0 and 1 have the same positive 7, and the pool holds it too: it must stand once, as the target
    draw = Draw.of(np.array([7, 7, 3]), np.array([7, 9]))
    assert draw.distinct.tolist() == [3, 7, 9]
    assert draw.positives.tolist() == [1, 1, 0]
    assert draw.pool.tolist() == [1, 2]


def test_mask_2_other_positives_of_the_same_query() -> None:
    # query 5 has positives 0 and 2, query 8 has 1
    known = known_positives(torch.tensor([5, 8, 5]), torch.tensor([0, 1, 2]), 4)
    assert known.tolist() == [[True, False, True, False], [False, True, False, False], [True, False, True, False]]


@pytest.mark.parametrize("separate", [True, False])
def test_masks_2_and_3_reach_the_loss(separate: bool) -> None:
    config = SampledSoftmaxConfig(separate_pools=separate, temperature=1.0)
    queries, candidates = torch.eye(3), torch.eye(3)
    draw = Draw.of(np.array([10, 11, 12]), np.array([], np.int64))
    query_ids, users = np.array([1, 2, 3]), np.array([4, 4, 4])

    def loss(query_ids: np.ndarray | None, users: np.ndarray | None) -> float:
        return float(SampledSoftmax(config, 100, seed=0)(queries, candidates, draw, query_ids, users).detach())

    free = loss(query_ids, None)
    # every id was seen once of three: Q = 3 * 1/3 = 1, log Q = 0; logits 1, 0, 0: loss = log(e + 2) - 1
    assert free == pytest.approx(math.log(math.e + 2) - 1, abs=1e-5)
    assert loss(query_ids, users) == pytest.approx(0.0, abs=1e-5)  # everything belongs to the same user: no negative is left
    assert loss(np.array([1, 1, 3]), None) == pytest.approx((2 * (math.log(math.e + 1) - 1) + free) / 3, abs=1e-5)


def test_popularity_is_counted_before_it_is_read() -> None:
    loss = SampledSoftmax(SampledSoftmaxConfig(), 10, seed=0)
    value = loss(torch.eye(2), torch.eye(2), Draw.of(np.array([0, 1]), np.array([], np.int64)))
    assert torch.isfinite(value)
    assert loss.seen.total == 2


def test_separate_pools_add_two_losses() -> None:
    # in-batch: candidates 0, 1 with logits 1, 0; pool: candidate 2 only, and the positive. Q in the batch = 2 * 1/2 = 1 for both
    config = SampledSoftmaxConfig(separate_pools=True, temperature=1.0)
    draw = Draw.of(np.array([0, 1]), np.array([2]))
    value = float(SampledSoftmax(config, 10, seed=0)(torch.eye(3)[:2], torch.eye(3), draw).detach())
    assert value == pytest.approx(2 * (math.log(math.e + 1) - 1), abs=1e-5)


def test_pool_probability_by_hand() -> None:
    share = np.array([0.1])
    assert pool_probability(share, 5)[0] == pytest.approx(0.5)
    assert pool_probability(share, 5, exact=True)[0] == pytest.approx(1 - 0.9**5)
    # linear, with a pool of 3 draws from 10 ids: 1 - 0.5 * 0.9^3
    assert pool_probability(share, 5, 3, 10)[0] == pytest.approx(1 - 0.5 * 0.9**3)
    assert pool_probability(np.array([1.0]), 5, 3, 10, exact=True)[0] == pytest.approx(1.0)


def test_temperature_starts_where_told_and_has_a_floor() -> None:
    temperature = Temperature(0.07)
    assert float(temperature().detach()) == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        temperature.theta.fill_(20.0)
    assert float(temperature().detach()) == pytest.approx(100.0, rel=1e-5)
    with pytest.raises(InputError):
        Temperature(0.001)


def test_log_q_undoes_popularity_bias() -> None:
    """Two candidates equally good for everybody, one drawn nine times as often: without the correction the popular one is pushed down."""
    draw = np.random.default_rng(0)

    def learned(corrected: bool) -> float:
        gap = torch.zeros(1, requires_grad=True)
        optimizer = torch.optim.SGD([gap], lr=0.2)
        for _ in range(120):
            positives = (draw.random(64) < 0.9).astype(np.int64)  # candidate 1 is popular
            logits = torch.cat([torch.zeros(1), gap])[positives]  # a softmax over the batch's positives, item 1 scored `gap`
            log_q = torch.log(64 * torch.tensor([0.1, 0.9]))[positives] if corrected else torch.zeros(64)
            loss = -(logits - log_q - torch.logsumexp(logits - log_q, 0)).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(gap.detach())

    assert learned(corrected=True) > learned(corrected=False) + 1.0


def test_both_pools_in_one_softmax_by_hand() -> None:
    # positives 10 and 11, pool 12 and 13; queries along the first two axes. Q of a positive: 1 - (1 - 1/2)^2 (1 - 1/100)^2, of 12 and 13:
    # 1 - (99/100)^2, for they were never seen as positives
    config = SampledSoftmaxConfig(separate_pools=False, exact_probability=True, temperature=1.0)
    draw = Draw.of(np.array([10, 11]), np.array([12, 13]))
    value = float(SampledSoftmax(config, 100, seed=0)(torch.eye(4)[:2], torch.eye(4), draw).detach())
    seen, unseen = 1 - 0.25 * 0.99**2, 1 - 0.99**2
    expected = -math.log((math.e / seen) / (math.e / seen + 1 / seen + 2 / unseen))
    assert value == pytest.approx(expected, abs=1e-5)


def test_without_the_correction_all_negatives_count_alike() -> None:
    config = SampledSoftmaxConfig(separate_pools=False, correct=False, temperature=1.0)
    value = float(
        SampledSoftmax(config, 100, seed=0)(torch.eye(4)[:2], torch.eye(4), Draw.of(np.array([10, 11]), np.array([12, 13]))).detach()
    )
    assert value == pytest.approx(math.log(math.e + 3) - 1, abs=1e-5)


def test_the_three_masks_in_one_softmax() -> None:
    # rows: query 1 of user 1 has 10, query 1 again (another user) has 11, query 2 of user 1 has 12; the pool holds 10 and 13
    config = SampledSoftmaxConfig(separate_pools=False, correct=False, temperature=1.0)
    draw = Draw.of(np.array([10, 11, 12]), np.array([10, 13]))
    loss = SampledSoftmax(config, 100, seed=0)(torch.eye(4)[:3], torch.eye(4), draw, np.array([1, 1, 2]), np.array([1, 2, 1]))
    # negatives of row 0: 13 (11 by query, 12 by user, 10 itself); of row 1: 12, 13 (10 by query); of row 2: 11, 13 (10 by user)
    expected = (math.log(math.e + 1) + 2 * math.log(math.e + 2)) / 3 - 1
    assert float(loss.detach()) == pytest.approx(expected, abs=1e-5)


def test_what_a_user_owns_from_elsewhere_is_no_negative_in_one_softmax() -> None:
    config = SampledSoftmaxConfig(separate_pools=False, correct=False, temperature=1.0)
    draw = Draw.of(np.array([10, 11]), np.array([12, 13]))
    # row 0 owns 12, which leaves 11 and 13; row 1 owns 10, 13 and its positive 11, which leaves 12: a positive is never removed
    owned = torch.tensor([[False, False, True, False], [True, True, False, True]])
    loss = SampledSoftmax(config, 100, seed=0)(torch.eye(4)[:2], torch.eye(4), draw, owned=owned)
    assert float(loss.detach()) == pytest.approx((math.log(math.e + 2) + math.log(math.e + 1)) / 2 - 1, abs=1e-5)


def test_what_a_user_owns_from_elsewhere_is_no_negative_against_the_pool_alone() -> None:
    draw = Draw.of(np.array([10, 11]), np.array([10, 12, 12]))
    loss = SampledSoftmax(SampledSoftmaxConfig(in_batch=False, temperature=1.0), 100, seed=0)
    # the pool holds 10 and 12: without ``owned`` row 1 has both as negatives; it owns 10, and its positive 11
    owned = torch.tensor([[False, False, False], [True, True, False]])
    assert float(loss(torch.eye(3)[:2], torch.eye(3), draw, owned=owned).detach()) == pytest.approx(math.log(math.e + 1) - 1, abs=1e-5)
    # row 0 owns 12 as well, and has nothing left to lose against
    owned = torch.tensor([[False, False, True], [True, True, False]])
    value = float(loss(torch.eye(3)[:2], torch.eye(3), draw, owned=owned).detach())
    assert value == pytest.approx((math.log(math.e + 1) - 1) / 2, abs=1e-5)


def test_the_pool_alone_by_hand() -> None:
    # negatives of row 0: 12 (10 is itself); of row 1: 10 and 12; without in-batch negatives, 11 is none of row 0
    config = SampledSoftmaxConfig(in_batch=False, temperature=1.0)
    draw = Draw.of(np.array([10, 11]), np.array([10, 12, 12]))
    loss = SampledSoftmax(config, 100, seed=0)
    value = float(loss(torch.eye(3)[:2], torch.eye(3), draw).detach())
    assert value == pytest.approx((math.log(math.e + 1) + math.log(math.e + 2)) / 2 - 1, abs=1e-5)
    # with both rows one user's, 10 is no negative of row 1 either
    value = float(loss(torch.eye(3)[:2], torch.eye(3), draw, None, np.array([7, 7]), torch.tensor([1.0, 3.0])).detach())
    assert value == pytest.approx(math.log(math.e + 1) - 1, abs=1e-5)


def test_the_pool_alone_without_any_negative_left() -> None:
    queries = torch.eye(2, requires_grad=True)
    loss = SampledSoftmax(SampledSoftmaxConfig(in_batch=False, temperature=1.0), 10, seed=0)
    value = loss(queries, torch.eye(2), Draw.of(np.array([0, 1]), np.array([0])), None, np.array([3, 3]))
    value.backward()
    assert float(value.detach()) == pytest.approx(0.0, abs=1e-6)
    assert queries.grad is not None
    assert torch.isfinite(queries.grad).all()
