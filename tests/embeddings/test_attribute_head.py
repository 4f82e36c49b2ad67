"""Filling attributes from vectors: known answers, calibrated confidence, and nothing that a product says is overwritten."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy.special import log_softmax

from corkboard.artifacts import EmbeddingTable, Space, load_artifact, write_artifact
from corkboard.embeddings.attribute_config import AttributeHeadConfig
from corkboard.embeddings.attribute_head import (
    FILLED_SCHEMA,
    AttributeHead,
    FilledAttribute,
    _fit,
    measure_hidden,
    said,
    train_attribute_head,
    unsaid,
)
from corkboard.embeddings.attribute_inputs import unsaid_space
from corkboard.errors import ArtifactError, InputError, NotFound, SpaceMismatch

SPACE = Space("products", "1")
ATTRIBUTES = pl.List(pl.Struct({"name": pl.String, "value": pl.String}))


def frame(category=None, brand=None, colour=None, name: str = "colour") -> pl.DataFrame:
    n = len(category or brand or colour)
    attributes = [[] if value is None else [{"name": name, "value": value}] for value in colour or [None] * n]
    return pl.DataFrame(
        {
            "item_id": [f"i{k}" for k in range(n)],
            "category": category or [None] * n,
            "brand_id": brand or [None] * n,
            "attributes": attributes,
        },
        schema={"item_id": pl.String, "category": pl.String, "brand_id": pl.String, "attributes": ATTRIBUTES},
    )


def table(vectors: np.ndarray, space: Space = SPACE) -> EmbeddingTable:
    return EmbeddingTable([f"i{k}" for k in range(len(vectors))], vectors, space)


def unit(vectors: np.ndarray) -> np.ndarray:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(n: int, classes: int, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(unit vectors ``(n, 16)`` about one centre a class, the classes)."""
    draw = np.random.default_rng(seed)
    centres = unit(np.random.default_rng(99).normal(size=(classes, 16)))
    of = draw.integers(0, classes, n)
    return unit(centres[of] + spread * draw.normal(size=(n, 16))), of


def by_hand() -> AttributeHead:
    """Red along the first axis, blue along the second, "unknown" always at logit 0: weights are logs of small whole odds."""
    weights = np.array([[np.log(8), 0, 0], [0, np.log(8), 0], [0, 0, 0]], np.float32)
    colour = FilledAttribute(("red", "blue"), weights, np.array([0.5, 0.3, 0.2], np.float32))
    return AttributeHead(AttributeHeadConfig(), SPACE, {"colour": colour})


def test_what_is_missing_is_filled_and_what_is_said_is_left_alone():
    """Odds by hand: (1, 0) has 8 : 1 : 1, so red at .8; (0, 1) blue at .8; (.6, .6) 8^.6 twice against 1, a tie."""
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0.6, 0.6], [0, 0]], np.float32)
    items = frame(colour=[None, None, "green", None, None])
    found = by_hand().fill(items, table(vectors), 0.7)
    assert found.schema == FILLED_SCHEMA
    assert found.select("item_id", "attribute", "value").rows() == [("i0", "colour", "red"), ("i1", "colour", "blue")]
    np.testing.assert_allclose(found["confidence"], 0.8, atol=1e-6)
    assert len(by_hand().fill(items, table(vectors), 0.81)) == 0
    either = 8**0.6 / (2 * 8**0.6 + 1)
    last = by_hand().fill(items, table(vectors), 0.0).filter(item_id="i3")
    assert last["confidence"].item() == pytest.approx(either, abs=1e-6)
    assert by_hand().fill(items.head(0), table(vectors)).schema == FILLED_SCHEMA


def test_the_line_moves_the_confidence_and_not_the_value():
    """Log odds of .8 are log 4; half of them are log 2, which is 2/3; plus log 3, log 6, which is 6/7."""
    colour = by_hand().known["colour"]
    for line, wanted in (((0.5, 0.0), 2 / 3), ((0.5, np.log(3)), 6 / 7)):
        best, confidence, _ = dataclasses.replace(colour, line=line).likeliest(np.array([[0.0, 1.0]]), 0.0)
        assert (best.tolist(), confidence[0]) == ([1], pytest.approx(wanted, abs=1e-6))


def test_where_unknown_is_likeliest_nothing_is_filled():
    weights = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 0.1]], np.float32)
    head = AttributeHead(AttributeHeadConfig(), SPACE, {"colour": FilledAttribute(("red", "blue"), weights, np.ones(3) / 3)})
    assert head.fill(frame(colour=[None]), table(np.ones((1, 2), np.float32)), 0.0).is_empty()


def test_a_report_by_hand():
    """Three products at odds 8 : 1 : 1: red is right twice, the third has a value that cannot be filled."""
    vectors = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    found = by_hand().report("colour", ["red", "red", "mauve"], vectors, 0.5)
    assert (found.examples, found.values, found.coverage) == (3, 2, 1.0)
    assert found.top1 == found.top1_baseline == found.precision == pytest.approx(2 / 3)
    assert found.log_loss == pytest.approx(-(2 * np.log(0.8) + np.log(0.1)) / 3, abs=1e-6)
    assert found.log_loss_baseline == pytest.approx(-(2 * np.log(0.5) + np.log(0.2)) / 3, abs=1e-6)
    assert found.brier == pytest.approx((2 * (0.2**2 + 0.1**2 + 0.1**2) + 0.8**2 + 0.1**2 + 0.9**2) / 3, abs=1e-6)
    assert found.calibration_error == pytest.approx(0.8 - 2 / 3, abs=1e-6)
    assert np.isnan(by_hand().report("colour", ["red"], vectors[:1], 0.9).precision)


def test_the_fit_is_at_the_least_of_its_loss():
    """Against a plain loss, whose numerical gradient vanishes there and which no small step makes smaller."""
    draw = np.random.default_rng(3)
    rows, classes = draw.normal(size=(40, 3)).astype(np.float32), draw.integers(0, 4, 40)

    def plain(weights: np.ndarray) -> float:
        logits = rows @ weights[:-1] + weights[-1]
        loss = -log_softmax(logits, axis=1)[np.arange(40), classes].mean()
        return loss + 0.5 * 0.01 * (weights[:-1] ** 2).sum() + 0.5e-6 * (weights[-1] ** 2).sum()

    found = _fit(rows, classes, np.zeros((4, 4)), 0.01, 500)
    least = plain(found)
    assert all(plain(found + 0.05 * draw.normal(size=found.shape)) > least for _ in range(50))
    for place in np.ndindex(found.shape):
        step = np.zeros_like(found)
        step[place] = 1e-4
        assert abs(plain(found + step) - plain(found - step)) / 2e-4 < 1e-3


def test_clusters_are_told_apart_and_rare_values_are_not_guessed():
    vectors, of = clustered(400, 5, 0.1)
    names = [f"c{k}" for k in of]
    for row in range(4):
        names[row] = "rare"
    head = train_attribute_head(frame(category=names), table(vectors))
    assert set(head.known) == {"category"}  # nobody says a brand or a colour
    assert sorted(head.known["category"].values) == [f"c{k}" for k in range(5)]
    fresh, truth = clustered(200, 5, 0.1, seed=1)
    found = head.fill(frame(category=[None] * 200), table(fresh), 0.5)
    assert len(found) > 190
    right = {f"i{k}": f"c{value}" for k, value in enumerate(truth)}
    assert sum(right[item_id] == value for item_id, value in found.select("item_id", "value").rows()) / len(found) > 0.97
    assert "rare" not in set(found["value"])


def test_what_is_of_many_rare_values_is_left_open():
    """Half of the products lie about one centre, and their values are all different."""
    vectors, of = clustered(300, 4, 0.1)
    names = [f"c{value}" if value < 2 else f"own {row}" for row, value in enumerate(of)]
    head = train_attribute_head(frame(category=names), table(vectors))
    fresh, truth = clustered(200, 4, 0.1, seed=1)
    found = head.fill(frame(category=[None] * 200), table(fresh), 0.0)
    filled = np.isin([f"i{k}" for k in range(200)], found["item_id"].to_list())
    assert filled[truth < 2].mean() > 0.95
    assert filled[truth >= 2].mean() < 0.05


def test_calibration_helps_where_the_fit_is_too_sure():
    """180 products of 60 numbers, two in five mislabelled, next to no penalty: the fit learns its products by heart."""
    draw = np.random.default_rng(0)

    def drawn(n: int) -> tuple[np.ndarray, list[str]]:
        vectors = unit(draw.normal(size=(n, 60)))
        of = vectors[:, :3].argmax(axis=1)
        return vectors, [f"c{value}" for value in np.where(draw.random(n) < 0.4, draw.integers(0, 3, n), of)]

    (vectors, names), (fresh, truth) = drawn(400), drawn(2000)
    found = {}
    for calibrate in (True, False):
        config = AttributeHeadConfig(penalties=(1e-8,), iterations=400, calibration_share=0.55, calibrate=calibrate)
        found[calibrate] = train_attribute_head(frame(category=names), table(vectors), config).report("category", truth, fresh)
    assert found[False].calibration_error > 0.25
    assert found[True].calibration_error < 0.1
    assert found[True].top1 == found[False].top1
    assert found[True].log_loss < found[False].log_loss
    assert found[True].brier < found[False].brier


def test_confidence_is_what_it_says_on_products_never_seen():
    vectors, of = clustered(3000, 6, 0.5)
    head = train_attribute_head(frame(category=[f"c{k}" for k in of]), table(vectors))
    fresh, truth = clustered(3000, 6, 0.5, seed=1)
    found = head.report("category", [f"c{k}" for k in truth], fresh, 0.8)
    assert found.calibration_error < 0.04
    assert 0.8 < found.precision < 1
    assert found.top1 > found.top1_baseline + 0.3
    assert found.log_loss < found.log_loss_baseline


def test_what_is_hidden_is_told_again_and_shuffled_values_are_not():
    """A control: values dealt out anew are told no better than by their shares, and nothing is sure."""
    vectors, of = clustered(1200, 4, 0.3)
    names = [f"c{k}" for k in of]
    told = measure_hidden(frame(category=names, brand=["b"] * 1200), table(vectors))
    assert set(told) == {"category"}  # one brand alone is nothing to tell
    assert told["category"].examples == 240
    assert told["category"].top1 > 0.8
    dealt = np.random.default_rng(0).permutation(names).tolist()
    found = measure_hidden(frame(category=dealt), table(vectors), min_confidence=0.6)["category"]
    assert found.coverage < 0.02
    assert found.log_loss > found.log_loss_baseline - 0.03


def test_twins_are_on_one_side():
    """Each vector 20 times with a value of its own group: told apart by heart, unless groups are hidden whole."""
    draw = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 20)
    vectors = unit(draw.normal(size=(60, 60)))[groups]
    names = [f"c{value}" for value in draw.integers(0, 2, 60)[groups]]
    config = AttributeHeadConfig(penalties=(1e-6,))
    apart = measure_hidden(frame(category=names), table(vectors), config, groups=groups)["category"]
    together = measure_hidden(frame(category=names), table(vectors), config)["category"]
    assert together.top1 > 0.98
    assert apart.top1 < 0.9
    with pytest.raises(InputError, match="groups"):
        measure_hidden(frame(category=names), table(vectors), config, groups=groups[:5])


@pytest.mark.parametrize(
    ("attributes", "wanted"),
    [
        ([("colour", "red")], "red"),
        ([("baseColour", "navy"), ("colour", "blue")], "blue"),
        ([("Base Color", " navy ")], "navy"),
        ([("colour", ""), ("colour", "red"), ("colour", "blue")], "red"),
        ([("material", "wool")], None),
        ([("colour", "  ")], None),
        (None, None),
    ],
)
def test_what_an_item_says(attributes, wanted):
    given = None if attributes is None else [{"name": name, "value": value} for name, value in attributes]
    items = pl.DataFrame({"item_id": ["a"], "attributes": [given]}, schema={"item_id": pl.String, "attributes": ATTRIBUTES})
    assert said(items, AttributeHeadConfig().sources["colour"]) == [wanted]


def test_a_column_counts_before_an_attribute_and_a_frame_may_lack_either():
    items = frame(brand=["a", None], colour=["b", "c"], name="brand")
    assert said(items, AttributeHeadConfig().sources["brand"]) == ["a", "c"]
    assert said(items.select("item_id"), AttributeHeadConfig().sources["brand"]) == [None, None]


def test_an_artefact_gives_the_same_head(tmp_path):
    vectors, of = clustered(300, 3, 0.4)
    items = frame(category=[f"c{k}" for k in of], colour=[f"d{k % 2}" for k in of])
    head = train_attribute_head(items, table(vectors))
    write_artifact(tmp_path, "attributes", "a1", tensors=head.tensors(), config=head.config, requires=[head.space])
    again = AttributeHead.from_artifact(load_artifact(tmp_path / "attributes" / "default" / "a1"))
    assert list(again.known) == ["category", "colour"]
    asked = frame(category=[None] * 300)
    assert again.fill(asked, table(vectors), 0.3).equals(head.fill(asked, table(vectors), 0.3))
    other = write_artifact(tmp_path, "attributes", "a2", config={"kind": "another"})
    with pytest.raises(ArtifactError, match="attribute head"):
        AttributeHead.from_artifact(other)


def test_the_same_seed_gives_the_same_head_and_zero_vectors_teach_nothing():
    vectors, of = clustered(300, 3, 0.4)
    names = [f"c{k}" for k in of]
    one, other = (train_attribute_head(frame(category=names), table(vectors), seed=4) for _ in range(2))
    np.testing.assert_array_equal(one.known["category"].weights, other.known["category"].weights)
    assert train_attribute_head(frame(category=names), table(np.zeros_like(vectors))).known == {}
    few = AttributeHeadConfig(max_examples=100, max_values=2)
    assert len(train_attribute_head(frame(category=names), table(vectors), few).known["category"].values) == 2


def test_errors():
    head, items = by_hand(), frame(colour=[None])
    with pytest.raises(SpaceMismatch):
        head.fill(items, table(np.ones((1, 2), np.float32), Space("products", "2")))
    with pytest.raises(InputError, match="between 0 and 1"):
        head.fill(items, table(np.ones((1, 2), np.float32)), 1.2)
    with pytest.raises(NotFound):
        head.report("brand", ["b"], np.ones((1, 2)))
    with pytest.raises(InputError, match="a vector and a truth"):
        head.report("colour", [], np.ones((0, 2)))


def test_what_is_unsaid_is_what_would_be_filled_and_nothing_else():
    sources = {"category": ("category",), "colour": ("colour", "base_colour")}
    items = frame(category=["Clothing", None], brand=["Acme", "Acme"], colour=["navy", None], name="baseColour")
    more = pl.Series([[*pairs, {"name": "material", "value": "wool"}] for pairs in items["attributes"].to_list()], dtype=ATTRIBUTES)
    blank = unsaid(items.with_columns(attributes=more), sources)
    assert blank.schema == items.schema
    assert blank["category"].to_list() == [None, None]
    assert blank["brand_id"].to_list() == ["Acme", "Acme"]
    assert blank["attributes"].to_list() == [[{"name": "material", "value": "wool"}]] * 2
    assert all(said(blank, names) == [None, None] for names in sources.values())
    assert unsaid(items.select("item_id"), sources).equals(items.select("item_id"))


def test_vectors_that_read_what_is_filled_are_of_another_space():
    sources = AttributeHeadConfig().sources
    blank = unsaid_space(SPACE, sources)
    assert len({SPACE, blank, unsaid_space(SPACE, {"brand": sources["brand"]}), unsaid_space(Space("products", "2"), sources)}) == 4
    assert unsaid_space(SPACE, dict(reversed(sources.items()))) == blank


def test_only_those_asked_for_are_measured_and_all_teach():
    vectors, of = clustered(1200, 4, 0.3)
    names = [f"c{k}" for k in of]
    asked = np.arange(1200) < 100
    some = measure_hidden(frame(category=names), table(vectors), asked=asked)["category"]
    everybody = measure_hidden(frame(category=names), table(vectors))["category"]
    assert 0 < some.examples < 50 < everybody.examples == 240
    assert some.values == everybody.values == 4
    assert some.top1 > 0.8
    assert measure_hidden(frame(category=names), table(vectors), asked=np.zeros(1200, bool)) == {}


def test_what_is_learned_from_two_kinds_of_vectors_is_told_from_either():
    """The second kind lies along axes of its own: a head on the first kind alone tells none of it."""
    vectors, of = clustered(600, 3, 0.3)
    first = np.hstack([vectors, np.zeros_like(vectors)])
    second = np.hstack([np.zeros_like(vectors), vectors])
    items = frame(category=[f"c{k}" for k in of])
    both = train_attribute_head(items, table(first), also=table(second))
    assert both.report("category", [f"c{k}" for k in of], second).top1 > 0.9
    assert train_attribute_head(items, table(first)).report("category", [f"c{k}" for k in of], second).top1 < 0.7
    one, other = (measure_hidden(items, table(told), also=table(rest))["category"] for told, rest in ((first, second), (second, first)))
    assert one.examples == other.examples == 120
    assert min(one.top1, other.top1) > 0.8
    few = AttributeHeadConfig(min_examples=int(np.bincount(of).min()) + 1)  # products count once
    assert len(train_attribute_head(items, table(first), few, also=table(second)).known["category"].values) == 2
    with pytest.raises(SpaceMismatch):
        train_attribute_head(items, table(first), also=table(second, Space("products", "2")))
