"""Products by category: which are searched for what, and that filters act inside of the search."""

from __future__ import annotations

import numpy as np
import pytest

from corkboard.artifacts import Space, write_artifact
from corkboard.errors import SpaceMismatch
from corkboard.shopping.look_index import EVERYWHERE, LookIndex
from corkboard.shopping.objects import FoundObjects
from tests.shopping.look_builders import at_angles, found, items

ROWS = [("a", "hat", True), ("b", "shoe", True), ("c", "hat", True), ("d", None, True), ("e", "shoe", True), ("f", None, True)]
"""Of the products a to f, d is detected as a hat and nothing is known of f; z is a bag that nobody sells."""


@pytest.fixture
def index() -> LookIndex:
    objects = found(
        at_angles(0, 10, 20, 30, 40, 50, 60),
        ["bag", "bag", "shoe", "hat", "lamp", None, "hat"],
        ids=["a", "b", "c", "d", "e", "f", "z"],
        sold=[True] * 6 + [False],
    )
    return LookIndex.build(objects, items(*ROWS, ("z", "bag", False)))


def asked(degrees: float, category: str | None, second: str | None = None, posterior: float = 1.0, other: float = 0.0) -> FoundObjects:
    return found(at_angles(degrees), [category], second_category=[second], posterior=[posterior], second_posterior=[other])


def ids(index: LookIndex, rows: np.ndarray) -> str:
    return "".join("abcdefz"[row] for row in rows)


def test_the_catalogue_counts_before_the_detector(index):
    assert index.names == ("bag", "hat", "shoe")
    assert "".join(index.ids) == "acdbef"
    assert index.category.tolist() == [1, 1, 1, 2, 2, -1]
    assert [index.count(number) for number in (0, 1, 2, EVERYWHERE)] == [0, 3, 2, 6]
    assert index.rows.tolist() == [0, 2, 3, 1, 4, 5]


def test_a_catalogue_with_names_of_its_own_is_read_by_those_of_objects():
    """Footwear is mostly taken for shoes, so all of it is; things are taken for anything, so each is what it was taken for."""
    said = ["Footwear"] * 4 + ["Things"] * 3 + ["Unseen", None]
    seen = ["shoe", "shoe", "shoe", "lamp", "hat", "bag", "lamp", None, "hat"]
    names = [f"p{k}" for k in range(9)]
    objects = found(at_angles(*range(0, 90, 10)), seen, ids=names, source=["detector"] * 7 + ["whole picture", "detector"])
    index = LookIndex.build(objects, items(*((name, category, True) for name, category in zip(names, said, strict=True))))
    called = {item: index.names[number] for item, number in zip(index.ids, index.category, strict=True)}
    shoes = dict.fromkeys(names[:4], "shoe")
    assert called == shoes | {"p4": "hat", "p5": "bag", "p6": "lamp", "p7": "Unseen", "p8": "hat"}
    assert index.names == ("Unseen", "bag", "hat", "lamp", "shoe")
    assert index.categories_of("shoe", None, 1.0, 0.2) == [4]
    assert index.categories_of("chair", None, 1.0, 0.2) == [EVERYWHERE]
    some = np.zeros(9, bool)
    some[[3, 4, 8]] = True
    assert (index.usual(some), index.usual(np.zeros(9, bool)), index.usual(some[:4])) == ("hat", None, "shoe")


def test_one_product_more_does_not_decide_what_a_category_is_called():
    """Half is not most: then each product goes by its own picture."""
    objects = found(at_angles(0, 10), ["shoe", "hat"], ids=["a", "b"])
    index = LookIndex.build(objects, items(("a", "Wear", True), ("b", "Wear", True)))
    assert [index.names[number] for number in index.category] == ["hat", "shoe"]


@pytest.mark.parametrize(
    ("category", "second", "lead", "expected"),
    [
        ("hat", "shoe", 0.5, [1]),
        ("hat", "shoe", 0.1, [1, 2]),
        ("hat", "lamp", 0.1, [1]),  # the second is none of the catalogue's
        ("lamp", "hat", 0.1, [EVERYWHERE]),
        (None, None, 0.0, [EVERYWHERE]),
        ("bag", "hat", 0.9, [0]),  # a category without products
    ],
)
def test_which_categories_are_searched(index, category, second, lead, expected):
    assert index.categories_of(category, second, lead, 0.2) == expected


def test_search_within_a_category_and_everywhere(index):
    near = index.search(asked(25, "hat"), 0, 2)
    assert ids(index, near.rows) in ("cd", "dc")
    np.testing.assert_allclose(near.cosines, np.cos(np.deg2rad([5, 5])), atol=0.01)
    np.testing.assert_allclose(near.agreement, [1, 1])
    assert ids(index, index.search(asked(0, "hat"), 0, 9).rows) == "acd"
    assert ids(index, index.search(asked(0, "lamp"), 0, 3).rows) == "abc"
    assert len(index.search(asked(0, "bag"), 0, 3)) == 0
    assert ids(index, index.search(asked(0, "hat"), 0, 2, categories=[2]).rows) == "be"


def test_two_categories_are_merged_by_what_is_known_of_both(index):
    # at 12 degrees: b (shoe) is 2 away, c (hat) 8, a (hat) 12; the hat's posterior is 0.5, the shoe's 0.45
    unsure = asked(12, "hat", "shoe", 0.5, 0.45)
    plain = index.search(unsure, 0, 4)
    assert ids(index, plain.rows) == "cadb"  # .99 * .5, .98 * .5 and .95 * .5 are more than .9994 * .45
    np.testing.assert_allclose(plain.agreement, [0.5, 0.5, 0.5, 0.45])
    strict = index.search(unsure, 0, 3, calibrated=lambda cosines, categories: np.where(categories == 1, 0.1, 1.0) * (cosines > 0.99))
    assert ids(index, strict.rows) == "bca"  # where a hat must be much more alike, the shoe comes first
    assert ids(index, index.search(unsure, 0, 3, unsure=0.01).rows) == "cad"


def test_what_may_not_be_shown_empties_no_shelf(index):
    allowed = np.ones(7, bool)
    allowed[[0, 2]] = False
    assert ids(index, index.search(asked(0, "hat"), 0, 1, allowed).rows) == "d"
    assert ids(index, index.search(asked(0, "lamp"), 0, 9, allowed[:4]).rows) == "bd"  # rows beyond the end are not allowed
    assert len(index.search(asked(0, "hat"), 0, 3, np.zeros(7, bool))) == 0
    moved = index.placed(np.array([-1, 6, 5, 4, 3, 2]))  # a is gone, c is at 6, d at 5, ...
    assert moved.search(asked(0, "hat"), 0, 9).rows.tolist() == [6, 5]


def test_search_is_exact():
    draw = np.random.default_rng(0)
    vectors = draw.normal(size=(300, 16))
    names = draw.choice(["hat", "shoe"], 300).tolist()
    ids_ = [f"p{k:03d}" for k in range(300)]
    index = LookIndex.build(
        found(vectors, names, ids_), items(*((name, None, True) for name in ids_), ("x", "hat", False), ("y", "shoe", False))
    )
    queries = found(draw.normal(size=(20, 16)), draw.choice(["hat", "shoe", "lamp"], 20).tolist())
    allowed = draw.random(302) < 0.5
    for row in range(20):
        name = queries.table["category"][row]
        inside = [
            (-float(index.products.vectors[place] @ queries.vectors[row]), place)
            for place in range(300)
            if allowed[index.rows[place]] and name in ("lamp", index.products.table["category"][place])
        ]
        expected = [place for _, place in sorted(inside)[:7]]
        assert index.search(queries, row, 7, allowed).places.tolist() == expected


def test_products_that_arrive_and_leave(index):
    more = index.with_products(found(at_angles(1, 35), [None, "shoe"], ids=["n", "b"]), ["hat", None], np.array([7, 1]))
    assert more.search(asked(0, "hat"), 0, 2).rows.tolist() == [0, 7]
    assert more.search(asked(34, "shoe"), 0, 9).rows.tolist() == [1, 4]  # b has another picture by now
    assert len(more) == 7
    assert "".join(index.ids) == "acdbef"
    assert more.without(np.array([0, 1])).search(asked(0, "lamp"), 0, 2).rows.tolist() == [7, 2]
    with pytest.raises(SpaceMismatch):
        index.with_products(elsewhere(), ["hat"], np.array([8]))


def elsewhere() -> FoundObjects:
    one = asked(0, "hat")
    return FoundObjects(one.table, one.vectors8, one.scales, one.codes, one.colours, Space("visual", "other"), one.code_space)


def test_objects_of_another_space_are_refused(index):
    with pytest.raises(SpaceMismatch):
        index.search(elsewhere(), 0, 3)


def test_an_artefact_gives_the_index_back(index, tmp_path):
    parts = {"tensors": index.tensors(), "tables": index.tables(), "config": index.config}
    again = LookIndex.from_artifact(write_artifact(tmp_path, "look_index", "1", **parts))
    assert (again.names, again.ids) == (index.names, index.ids)
    one, other = again.search(asked(12, "hat", "shoe", 0.5, 0.45), 0, 3), index.search(asked(12, "hat", "shoe", 0.5, 0.45), 0, 3)
    np.testing.assert_array_equal(one.rows, other.rows)
    assert LookIndex.from_artifact(write_artifact(tmp_path, "look_index", "2", config={"kind": "none"})) is None
