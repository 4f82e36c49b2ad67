"""Spreading a page: the greedy choice by hand and beside a plain one, caps, and when they give way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.feed.config import DiversityConfig
from corkboard.feed.diversity import spread, standardise
from corkboard.seeds import generator

E = np.eye(3, dtype=np.float32)
NONE = np.full(4, -1)


def test_the_second_item_is_the_best_of_what_is_not_alike_by_hand():
    # items 0 and 1 are the same thing, 2 and 3 others. After 0: 1 is worth 1.9 - .5 * 1 = 1.4, 2 is worth 1.6, 3 is worth 1.5
    relevance = np.array([2.0, 1.9, 1.6, 1.5])
    page = spread(relevance, E[[0, 0, 1, 2]], NONE, NONE, 3, DiversityConfig(strength=0.5))
    assert page.order.tolist() == [0, 2, 3]
    assert spread(relevance, E[[0, 0, 1, 2]], NONE, NONE, 3, DiversityConfig(strength=0.0)).order.tolist() == [0, 1, 2]
    assert spread(relevance, E[[0, 0, 1, 2]], NONE, NONE, 3, DiversityConfig(enabled=False, strength=9.0)).order.tolist() == [0, 1, 2]


def test_the_window_forgets_by_hand():
    # window 1: after 0 and 2 only 2 is compared with, so 1 is worth its 1.9 again
    relevance = np.array([2.0, 1.9, 1.6, 1.5])
    page = spread(relevance, E[[0, 0, 1, 2]], NONE, NONE, 3, DiversityConfig(strength=0.5, window=1))
    assert page.order.tolist() == [0, 2, 1]


def test_a_cap_keeps_out_and_says_so_and_gives_way_before_the_page_is_short():
    relevance = np.arange(10, 0, -1.0)
    creators = np.array([1, 1, 1, 1, 1, 1, 2, 2, -1, -1])
    vectors = np.zeros((10, 3), np.float32)
    config = DiversityConfig(max_creator_share=0.4, strength=0.0)
    page = spread(relevance, vectors, creators, np.full(10, -1), 5, config)  # two by each creator: ceil(.4 * 5)
    assert page.order.tolist() == [0, 1, 6, 7, 8]
    assert page.capped == dict.fromkeys((2, 3, 4, 5), "creator_cap")
    full = spread(relevance, vectors, creators, np.full(10, -1), 10, DiversityConfig(max_creator_share=0.1, strength=0.0))
    assert sorted(full.order.tolist()) == list(range(10))
    assert full.order.tolist()[:6] == [0, 1, 6, 7, 8, 9]
    assert full.capped == {}


def test_standardise_by_hand_and_without_spread():
    assert standardise(np.array([1.0, 3.0])) == pytest.approx([-1.0, 1.0])
    assert standardise(np.full(5, 7.0)).tolist() == [0.0] * 5
    assert standardise(np.empty(0)).shape == (0,)
    assert spread(np.empty(0), np.empty((0, 3), np.float32), np.empty(0), np.empty(0), 5, DiversityConfig()).order.tolist() == []


def plain_spread(relevance: np.ndarray, vectors: np.ndarray, creators: np.ndarray, k: int, config: DiversityConfig) -> list[int]:
    """The definition, one candidate at a time."""
    most = max(2, math.ceil(config.max_creator_share * k))
    chosen: list[int] = []
    while len(chosen) < min(k, len(relevance)):
        best, value = None, -math.inf
        for place in range(len(relevance)):
            same = [c for c in chosen if creators[c] == creators[place] >= 0]
            if place in chosen or len(same) >= most:
                continue
            near = max([0.0, *(float(vectors[c] @ vectors[place]) for c in chosen[-config.window :])])
            if relevance[place] - config.strength * near > value:
                best, value = place, relevance[place] - config.strength * near
        if best is None:
            return chosen
        chosen.append(best)
    return chosen


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 25), st.integers(1, 15), st.integers(1, 8))
def test_the_fast_choice_is_the_plain_one(seed, n, k, window):
    draw = generator(seed, "spread")
    vectors = draw.normal(size=(n, 4))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    relevance, creators = draw.normal(size=n), draw.integers(-1, 4, n)
    config = DiversityConfig(strength=0.7, window=window, max_creator_share=0.3)
    page = spread(relevance, vectors, creators, np.full(n, -1), k, config)
    plain = plain_spread(relevance, vectors, creators, k, config)
    assert page.order.tolist()[: len(plain)] == plain
    assert len(page.order) == min(n, k) == len(set(page.order.tolist()))
