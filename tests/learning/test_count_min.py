from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from corkboard.errors import InputError
from corkboard.learning.count_min import CountMinSketch


def test_counts_are_exact_without_collisions() -> None:
    sketch = CountMinSketch(2, 1 << 16, seed=3)
    sketch.update(np.array([5, 5, 9]))
    sketch.update(np.array([5]))
    assert sketch.count(np.array([5, 9, 7])).tolist() == [3, 1, 0]
    assert sketch.total == 4
    assert sketch.share(np.array([5, 9])).tolist() == [0.75, 0.25]


def test_an_empty_sketch_has_no_shares() -> None:
    assert CountMinSketch(1, 16).share(np.array([1, 2])).tolist() == [0.0, 0.0]


def test_the_hash_is_the_published_one() -> None:
    sketch = CountMinSketch(1, 1000)
    sketch._multipliers = np.array([0x9E3779B97F4A7C15], np.uint64)
    # x = 3: 3 a mod 2^64, plus its own upper half, modulo 2^64, low 31 bits, modulo the width; in exact integers:
    product = 3 * 0x9E3779B97F4A7C15 % 2**64
    expected = ((product + (product >> 32)) % 2**64 & (2**31 - 1)) % 1000
    assert sketch._cells(np.array([3])).tolist() == [[expected]]


@given(st.lists(st.integers(0, 300), max_size=200), st.integers(2, 40))
def test_never_too_low_and_bounded_by_the_total(ids: list[int], width: int) -> None:
    sketch = CountMinSketch(2, width, seed=1)
    sketch.update(np.array(ids, np.int64))
    counts = sketch.count(np.arange(301))
    truth = np.bincount(np.array(ids, np.int64), minlength=301)
    assert (counts >= truth).all()
    assert (counts <= len(ids)).all()


def test_survives_writing_down() -> None:
    sketch = CountMinSketch(2, 64, seed=9)
    sketch.update(np.arange(40))
    again = CountMinSketch.from_tensors(sketch.tensors())
    again.update(np.array([3]))
    sketch.update(np.array([3]))
    assert np.array_equal(again.count(np.arange(50)), sketch.count(np.arange(50)))


def test_same_seed_same_hashes() -> None:
    assert np.array_equal(CountMinSketch(3, 64, 5)._multipliers, CountMinSketch(3, 64, 5)._multipliers)
    assert not np.array_equal(CountMinSketch(3, 64, 5)._multipliers, CountMinSketch(3, 64, 6)._multipliers)


@pytest.mark.parametrize(("depth", "width"), [(0, 8), (1, 1)])
def test_refuses_impossible_sizes(depth: int, width: int) -> None:
    with pytest.raises(InputError):
        CountMinSketch(depth, width)
