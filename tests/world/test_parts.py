"""Smaller parts: drawing, pools, the log, queries, looks."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.world.draws import draw_column, random_ids
from corkboard.world.log import Columns
from corkboard.world.looks import Looks, complementary, outfits
from corkboard.world.policy import Pool, draw_topics
from corkboard.world.queries import mistype
from corkboard.world.realism import gini


def test_gini_by_hand():
    assert gini(np.array([5, 5, 5])) == pytest.approx(0)
    # sorted 0 1 3: (2 * 1 - 4) * 0 + (2 * 2 - 4) * 1 + (2 * 3 - 4) * 3 = 6, over 3 * 4
    assert gini(np.array([3, 0, 1])) == pytest.approx(0.5)
    assert gini(np.zeros(4)) == 0


def test_columns_are_drawn_by_weight():
    weight = np.tile([0.0, 1.0, 3.0, 0.0], (20_000, 1))
    drawn = np.bincount(draw_column(np.random.default_rng(0), weight), minlength=4) / 20_000
    assert drawn == pytest.approx([0, 0.25, 0.75, 0], abs=0.015)
    topics = draw_topics(np.tile([4.0, 0.0, 1.0], (500, 1)), 40, np.random.default_rng(1))
    # by the root of the weight: 2 to 1, and hardly ever where it is 0
    assert np.bincount(topics.ravel(), minlength=3) / topics.size == pytest.approx([2 / 3, 0, 1 / 3], abs=0.015)


def test_pools_draw_by_weight_within_their_group():
    pool = Pool.of(np.array([10, 11, 12, 13]), np.array([2, 0, 2, 0]), np.array([1.0, 1.0, 3.0, 1.0]), 4)
    drawn = pool.draw(np.full(20_000, 2), np.random.default_rng(0))
    assert set(drawn) == {10, 12}
    assert (drawn == 12).mean() == pytest.approx(0.75, abs=0.015)
    assert pool.draw(np.array([[1, 3], [-1, 0]]), np.random.default_rng(0)).tolist()[0] == [-1, -1]
    assert Pool.of(np.zeros(0, int), np.zeros(0, int), np.zeros(0), 2).draw(np.array([0, 1]), np.random.default_rng(0)).tolist() == [-1, -1]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4), st.booleans()), max_size=25))
def test_columns_that_grow_hold_what_was_put_in(chunks):
    columns, rows, width = Columns(("a", "items")), [], 0
    for count, wide, read in chunks:
        values = np.arange(count) + len(rows)
        assert columns.append({"a": values, "items": np.repeat(values[:, None], wide, 1)}) == len(rows)
        rows += [(value, wide) for value in values.tolist()]
        width = max(width, wide) if count else width
        if read:
            columns.whole()
    whole = columns.whole()
    assert whole["a"].tolist() == [value for value, _ in rows]
    if rows:
        assert whole["items"].tolist() == [[value] * wide + [-1] * (whole["items"].shape[1] - wide) for value, wide in rows]
        assert whole["items"].shape[1] == width


@settings(deadline=None)
@given(st.text("abcdefghij ", min_size=1, max_size=20), st.integers(0, 2**30))
def test_a_slip_changes_little(text, code):
    typed = mistype(text, code)
    assert mistype(text, -1) == text
    assert abs(len(typed) - len(text)) <= 1
    assert len(text) >= 4 or typed == text
    assert typed[:1] == text[:1]


def test_ids_tell_nothing():
    ids = random_ids(np.random.default_rng(0), "i", 5000)
    assert len(set(ids)) == 5000
    assert ids != sorted(ids)
    assert {len(one) for one in ids} == {16}


def test_what_belongs_together_fits_better(everything_on):
    catalogue, looks = everything_on.behaviour.catalogue, everything_on.behaviour.looks
    frame = everything_on.outfits(300)
    sizes = frame.group_by("outfit_id").agg(pl.len(), pl.col("category").n_unique(), pl.col("family").n_unique().alias("families"))
    assert set(sizes["len"]) <= {3, 4, 5}
    assert (sizes["len"] == sizes["category"]).all()
    assert (sizes["families"] == 1).all()
    assert 0.1 < frame["noise"].mean() < 0.2  # a fifth of the places but the first
    clean = frame.filter(~pl.col("noise"))
    pairs = clean.join(clean, on="outfit_id").filter(pl.col("item_id") < pl.col("item_id_right"))
    together = everything_on.compatibility(pairs["item_id"].to_list(), pairs["item_id_right"].to_list())
    other = clean.join(clean.sample(fraction=1, shuffle=True, seed=1).select("category", other="item_id"), on="category").unique("item_id")
    mixed = pairs.join(other.select("item_id", "other"), on="item_id")
    apart = everything_on.compatibility(mixed["other"].to_list(), mixed["item_id_right"].to_list())
    assert together.mean() > apart.mean() + 0.2
    assert outfits(catalogue, looks, 7, 20).equals(outfits(catalogue, looks, 7, 20))


def test_rules_of_two_categories_are_not_the_usual_harmony():
    looks = Looks.make(7)
    # shoes (2) and bags (3) want complements: six apart on the circle of twelve
    assert looks.hue_fit[2, 3, 0, 6] == pytest.approx(1)
    assert looks.hue_fit[2, 3, 0, 0] == pytest.approx(-1)
    assert looks.hue_fit[0, 1, 0, 0] == pytest.approx(1)
    assert np.allclose(looks.hue_fit[2, 3], looks.hue_fit[3, 2].T)
    assert np.allclose(looks.style_fit, looks.style_fit.T)


def test_complements_are_of_one_family_and_two_categories(everything_on):
    catalogue = everything_on.behaviour.catalogue
    shoe, bag, sofa, cake = (int(np.flatnonzero(catalogue.category == k)[0]) for k in (2, 3, 5, 10))
    found = complementary(catalogue, np.array([shoe, shoe, shoe, cake]), np.array([bag, shoe, sofa, cake]))
    assert found.tolist() == [True, False, False, False]
