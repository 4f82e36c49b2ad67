from __future__ import annotations

import numpy as np

from corkboard.embeddings.spectral import ITEM_POWER, USER_POWER, spectral_factors


def test_agrees_with_a_plain_decomposition() -> None:
    draw = np.random.default_rng(0)
    dense = draw.random((9, 7)) < 0.4
    dense[0, :2] = True
    users, items = np.nonzero(dense)
    twice = np.concatenate([np.arange(len(users)), [0, 0]])  # an entry that is there three times counts once
    found = spectral_factors(users[twice], items[twice], 7, 3, seed=1)
    scaled = dense / np.maximum(dense.sum(1), 1)[:, None] ** USER_POWER / np.maximum(dense.sum(0), 1)[None] ** ITEM_POWER
    _, values, rows = np.linalg.svd(scaled)
    best = rows[:3].T @ np.diag(values[:3] ** 2) @ rows[:3]
    assert np.allclose(found @ found.T / np.trace(found @ found.T), best / np.trace(best), atol=1e-5)
    assert np.isclose((found**2).sum(axis=1).mean(), 1.0, atol=1e-5)


def test_items_that_go_together_point_together() -> None:
    users, items = np.repeat(np.arange(20), 3), np.concatenate([[0, 1, 2] if user % 2 else [3, 4, 5] for user in range(20)])
    found = spectral_factors(users, items, 7, 2, seed=0)
    unit = found[:6] / np.linalg.norm(found[:6], axis=1, keepdims=True)
    assert np.allclose(unit @ unit.T, np.kron(np.eye(2), np.ones((3, 3))), atol=1e-5)
    assert not found[6].any()


def test_small_and_empty() -> None:
    assert not spectral_factors(np.empty(0, np.int64), np.empty(0, np.int64), 4, 3, seed=0).any()
    found = spectral_factors(np.array([0, 0, 1]), np.array([0, 1, 1]), 3, 5, seed=0)
    assert found.shape == (3, 5)
    assert np.isfinite(found).all()
