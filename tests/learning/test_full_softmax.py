"""The chunked softmax against plain cross entropy: value and every gradient."""

import math

import pytest
import torch
from torch.nn import functional

from corkboard.learning import full_softmax as module
from corkboard.learning.full_softmax import full_softmax


def given(n=23, items=11, dim=5, seed=0):
    draw = torch.Generator().manual_seed(seed)
    queries, candidates = (torch.randn(rows, dim, generator=draw, dtype=torch.float64).requires_grad_() for rows in (n, items))
    return queries, candidates, torch.randint(items, (n,), generator=draw), torch.tensor(3.0, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunk", [1, 40, 1 << 20])
def test_it_is_cross_entropy_with_all_its_gradients(chunk, weighted, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_SCORES", chunk)
    weights = torch.rand(23, generator=torch.Generator().manual_seed(1), dtype=torch.float64) if weighted else None
    found, expected = [], []
    for results, plain in ((found, False), (expected, True)):
        queries, candidates, targets, scale = given()
        if plain:
            losses = functional.cross_entropy(queries @ candidates.T * scale, targets, reduction="none")
            loss = losses.mean() if weights is None else (losses * weights).sum() / weights.sum()
        else:
            loss = full_softmax(queries, candidates, targets, scale, weights)
        (loss * 1.5).backward()
        results += [loss.detach(), queries.grad, candidates.grad, scale.grad]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_by_hand():
    """One query (1, 0), candidates (1, 0), (0, 1), (-1, 0), scale ln 2: scores ln 2, 0, -ln 2, so 2, 1, 1/2 of 3.5."""
    candidates = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    loss = full_softmax(torch.tensor([[1.0, 0.0]]), candidates, torch.tensor([0]), math.log(2))
    assert float(loss) == pytest.approx(math.log(3.5 / 2))


def test_very_large_scores_stay_finite():
    queries = torch.tensor([[1e4, 0.0]], requires_grad=True)
    loss = full_softmax(queries, torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.tensor([1]), 100.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(2e6)
    assert torch.isfinite(queries.grad).all()


def test_a_weight_of_zero_leaves_a_row_out():
    queries, candidates, targets, scale = given()
    weights = torch.ones(23, dtype=torch.float64)
    weights[5:] = 0
    part = full_softmax(queries[:5], candidates, targets[:5], scale)
    assert float(full_softmax(queries, candidates, targets, scale, weights).detach()) == pytest.approx(float(part.detach()))
