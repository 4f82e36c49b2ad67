"""The gate, the weights, and the shelves they make."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from corkboard.artifacts import write_artifact
from corkboard.lake.calendar import DAY_MS
from corkboard.retrieval.item_stats import COUNTERS, ItemStats
from corkboard.shopping.config import GateConfig, ShopTheLookConfig
from corkboard.shopping.look_index import LookIndex
from corkboard.shopping.matcher import DEFAULT_WEIGHTS, FEATURES, Appeal, JudgedPairs, LookMatcher, fit_matcher, pair_features
from corkboard.shopping.shop_the_look import rank, shop_the_look
from corkboard.shopping.similarity_gate import NEVER, judged_gate, logistic_regression, nearest_other, sigmoid, unlabelled_gate
from tests.shopping.look_builders import at_angles, found, items


def index_of(degrees: list[float], categories: list[str], **columns) -> LookIndex:
    names = [f"p{k:02d}" for k in range(len(degrees))]
    rows = [(name, category, True) for name, category in zip(names, categories, strict=True)]
    return LookIndex.build(found(at_angles(*degrees), categories, names, **columns), items(*rows))


def matcher_that_passes(index: LookIndex, least: float = -1.0, weights=DEFAULT_WEIGHTS) -> LookMatcher:
    gate = unlabelled_gate(index, 0.98, GateConfig())
    gate.least[:] = least
    return LookMatcher(np.array(weights), gate)


# ---------------------------------------------------------------------------------------------------------- logistic regression


def test_logistic_regression_finds_the_least_of_its_loss():
    draw = np.random.default_rng(0)
    features = draw.normal([3.0, -1.0], [2.0, 0.1], (200, 2))
    labels = draw.random(200) < sigmoid(features @ [0.7, -4.0] - 6.0)
    fitted = logistic_regression(features, labels, ridge=2.0)
    deviation = features.std(axis=0)

    def loss(weights: np.ndarray) -> float:
        scores = features @ weights[:2] + weights[2]
        return float(np.logaddexp(0, np.where(labels, -scores, scores)).sum() + (weights[:2] * deviation) @ (weights[:2] * deviation))

    best = minimize(loss, np.zeros(3), method="BFGS", options={"gtol": 1e-8}).x
    np.testing.assert_allclose(fitted, best, rtol=2e-3)


def test_logistic_regression_stays_finite_where_labels_are_told_apart():
    features = np.array([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0], [3.0, 7.0]])
    weights = logistic_regression(features, np.array([0, 0, 1, 1]), ridge=1.0)
    assert np.isfinite(weights).all()
    assert weights[0] > 0
    assert weights[1] == 0  # it never changes
    assert weights @ [1.5, 7.0, 1.0] == pytest.approx(0, abs=1e-6)


# ------------------------------------------------------------------------------------------------------------------- the gate


def test_the_judged_gate_by_hand():
    cosines = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    similar = np.array([0, 0, 1, 0, 1, 1], bool)
    categories = np.array([0, 0, 0, 1, 1, 1])
    config = GateConfig(precision=0.7, shrinkage=0.0)
    gate = judged_gate(("hat", "shoe", "bag"), cosines, categories, similar, config)
    # from the top, all: 1/1, 2/2, 2/3, 3/4 at .3; hats: 1/1 at .3; shoes: 1/1, 2/2 at .5
    np.testing.assert_allclose(gate.least, [0.3, 0.5, 0.3, 0.3])
    assert gate.passes(np.array([0.3, 0.3]), np.array([0, 1])).tolist() == [True, False]
    assert gate.judged.tolist() == [3, 3, 0, 0]
    strict = judged_gate(("hat",), cosines, np.zeros(6, int), ~similar, GateConfig(precision=0.9, shrinkage=0.0))
    np.testing.assert_allclose(strict.least, NEVER)  # no similarity is good enough where the most alike are not similar


def test_a_category_of_few_pairs_is_judged_as_all_are():
    draw = np.random.default_rng(1)
    cosines = draw.uniform(0, 1, 4_000)
    categories = np.where(np.arange(4_000) < 10, 1, 0)
    similar = draw.random(4_000) < sigmoid(12 * cosines - 6)
    similar[:10] = False
    few = judged_gate(("many", "few"), cosines, categories, similar, GateConfig(precision=0.7, shrinkage=1e5))
    np.testing.assert_allclose(few.least[1], few.least[0], atol=0.01)
    np.testing.assert_allclose(few.probability(np.array([0.5]), np.array([1])), few.probability(np.array([0.5]), np.array([-1])), atol=0.01)
    own = judged_gate(("many", "few"), cosines, categories, similar, GateConfig(precision=0.7, shrinkage=1.0))
    assert own.probability(np.array([0.5]), np.array([1])) < own.probability(np.array([0.5]), np.array([0])) - 0.2


def test_chances_are_calibrated():
    draw = np.random.default_rng(2)
    cosines, categories = draw.uniform(0, 1, 20_000), draw.integers(0, 2, 20_000)
    truth = sigmoid(10 * cosines - np.array([4.0, 6.0])[categories])
    gate = judged_gate(("a", "b"), cosines, categories, draw.random(20_000) < truth, GateConfig())
    assert np.abs(gate.probability(cosines, categories) - truth).max() < 0.05  # one slope for both is a little flat


def test_the_nearest_other_product_by_hand():
    index = index_of([0, 1, 30, 90, 0], ["hat", "hat", "hat", "hat", "shoe"])
    # 0 and 1 are one product (cosine .9998): both are nearest to 30, which is nearest to 1; 90 is 60 away from 30
    expected = np.cos(np.deg2rad([30, 29, 29, 60]))
    np.testing.assert_allclose(nearest_other(index, 0, 0.98), expected, atol=0.01)
    assert len(nearest_other(index, 1, 0.98)) == 0
    gate = unlabelled_gate(index, 0.98, GateConfig(quantile=0.5, shrinkage=0.0))
    np.testing.assert_allclose(gate.least, np.median(expected), atol=0.01)  # shoes have one product: all there are say it
    middle = gate.probability(np.array([expected.mean()]), np.array([0]))
    np.testing.assert_allclose(middle, 0.5, atol=0.02)
    assert gate.judged.sum() == 0


def test_categories_have_gates_of_their_own_and_small_ones_lean_on_all():
    close, far = [float(n) for n in range(12, 12 * 21, 12)], [0.0, 60.0, 120.0]
    index = index_of([*close, *far], ["rug"] * 20 + ["toy"] * 3)
    own = unlabelled_gate(index, 0.98, GateConfig(shrinkage=0.0))
    np.testing.assert_allclose(own.least[:2], np.cos(np.deg2rad([12, 60])), atol=0.01)
    shrunk = unlabelled_gate(index, 0.98, GateConfig(shrinkage=20.0))
    assert own.least[1] < shrunk.least[1] < own.least[0]
    assert abs(shrunk.least[0] - own.least[0]) < 0.02


def test_an_index_of_one_product_has_a_gate():
    gate = unlabelled_gate(index_of([0], ["hat"]), 0.98, GateConfig())
    assert np.isfinite([gate.slope, gate.offset, gate.least]).all()


def test_products_of_no_category_have_a_gate_of_their_own():
    expected = np.quantile(np.cos(np.deg2rad([20, 20, 40])), 0.4)
    items_without = items(("p00", None, True), ("p01", None, True), ("p02", None, True))
    index = LookIndex.build(found(at_angles(0, 20, 60), [None] * 3, ["p00", "p01", "p02"]), items_without)
    gate = unlabelled_gate(index, 0.98, GateConfig())
    np.testing.assert_allclose(gate.least, expected, atol=0.01)
    hats = index_of([0, 20, 60], ["hat"] * 3)
    np.testing.assert_allclose(unlabelled_gate(hats, 0.98, GateConfig()).least[0], expected, atol=0.01)  # as if they were called hats


def test_where_crops_are_never_as_near_as_products_the_bound_falls_until_some_pass():
    index = index_of([0, 20, 60, 80, 150, 170], ["hat"] * 4 + ["shoe"] * 2)
    config = GateConfig(shrinkage=0.0, min_scene_objects=5, shown=0.4)
    alone = unlabelled_gate(index, 0.98, config)
    far = [-40.0, -50.0, -60.0, -70.0, -80.0]
    moved = unlabelled_gate(index, 0.98, config, found(at_angles(*far), ["hat"] * 5, sold=[False] * 5))
    nearest = np.cos(np.deg2rad([40, 50, 60, 70, 80]))
    np.testing.assert_allclose(moved.least[0], np.quantile(nearest, 0.6), atol=0.01)
    assert moved.passes(nearest, np.zeros(5, int)).tolist() == [True, True, False, False, False]
    gap = alone.least[0] - moved.least[0]
    np.testing.assert_allclose(moved.least[1], alone.least[1] - gap)  # no crop says anything of shoes: they lean on hats
    np.testing.assert_array_equal(moved.offset, alone.offset)  # nobody has said that what passes now is similar


def test_the_bound_does_not_fall_to_what_products_of_other_categories_reach():
    index = index_of([0, 20, 60, 80, -10, -30], ["hat"] * 4 + ["shoe"] * 2)
    config = GateConfig(shrinkage=0.0, min_scene_objects=5, shown=0.4)
    far = [-40.0, -50.0, -60.0, -70.0, -80.0]
    moved = unlabelled_gate(index, 0.98, config, found(at_angles(*far), ["hat"] * 5, sold=[False] * 5))
    strange = np.cos(np.deg2rad([10, 20, 30, 40, 50]))  # every one of these crops is nearer to a shoe than to a hat
    alone = unlabelled_gate(index, 0.98, config).least[0]
    np.testing.assert_allclose(moved.least[0], min(alone, np.quantile(strange, 0.9)), atol=0.01)


def test_easy_categories_do_not_take_from_hard_ones():
    index = index_of([0, 20, 60, 80, 150, 170], ["hat"] * 4 + ["shoe"] * 2)
    config = GateConfig(shrinkage=5.0, min_scene_objects=5, shown=0.4)
    far, near = [-40.0, -50.0, -60.0, -70.0, -80.0], [150.0] * 50
    alone = unlabelled_gate(index, 0.98, config).least
    both = found(at_angles(*far, *near), ["hat"] * 5 + ["shoe"] * 50, sold=[False] * 55)
    moved = unlabelled_gate(index, 0.98, config, both).least
    assert moved[1] > alone[1] - 0.05
    assert alone[0] - moved[0] > 0.1


@pytest.mark.parametrize(
    ("degrees", "change"),
    [([0.0, 1.0, 20.0, 60.0, 80.0], {}), ([-80.0] * 4, {}), ([-80.0] * 5, {"shown": 0.0})],
    ids=["crops are near", "too few", "turned off"],
)
def test_crops_never_make_the_bound_stricter_and_few_say_nothing(degrees: list[float], change: dict[str, float]):
    index = index_of([0, 20, 60, 80], ["hat"] * 4)
    config = GateConfig(shrinkage=0.0, min_scene_objects=5).model_copy(update=change)
    scenes = found(at_angles(*degrees), ["hat"] * len(degrees), sold=[False] * len(degrees))
    np.testing.assert_array_equal(unlabelled_gate(index, 0.98, config, scenes).least, unlabelled_gate(index, 0.98, config).least)


def test_crops_of_no_category_or_of_none_that_is_sold_say_nothing():
    index, config = index_of([0, 20, 60, 80], ["hat"] * 4), GateConfig(min_scene_objects=1)
    scenes = found(at_angles(-80, -80), [None, "lamp"], sold=[False] * 2)
    np.testing.assert_array_equal(unlabelled_gate(index, 0.98, config, scenes).least, unlabelled_gate(index, 0.98, config).least)


# ------------------------------------------------------------------------------------------------------------------- the matcher


def test_what_is_compared(tmp_path):
    index = index_of([0, 60], ["hat", "shoe"], colours=[[255, 0], [0, 255]])
    scene = found(at_angles(0), ["hat"], second_category=["shoe"], posterior=[0.7], second_posterior=[0.2], colours=[[180, 180]])
    appeal = Appeal(np.array([0.5, -0.5], np.float32), np.array([0.25, 1.0], np.float32))
    matcher = matcher_that_passes(index)
    candidates = index.search(scene, 0, 2, unsure=1.0)
    features = matcher.features(scene, 0, candidates, index, appeal)
    assert FEATURES == ("cosine", "category", "colour", "quality", "engagement")
    np.testing.assert_allclose(features, [[1, 0.7, 0.5**0.5, 0.5, 0.25], [0.5, 0.2, 0.5**0.5, -0.5, 1]], atol=0.01)
    np.testing.assert_allclose(matcher.score(features)[0], 10 + 0.7 + 0.5**0.5 + 0.05 + 0.025 - 9, atol=0.1)
    pairs = JudgedPairs(scene, np.array([0, 0]), candidates.places, np.array([3, 0]))
    np.testing.assert_allclose(pair_features(index, pairs, appeal), features, atol=1e-6)  # training reads what serving reads
    again = LookMatcher.from_artifact(
        write_artifact(tmp_path, "look_matcher", "1", tensors=matcher.tensors(), tables=matcher.tables(), config=matcher.config)
    )
    np.testing.assert_array_equal(again.score(features), matcher.score(features))
    assert again.gate.names == index.names


def judged(index: LookIndex, n: int, seed: int = 0) -> JudgedPairs:
    """Pairs that are similar where colours agree and the angle is small."""
    draw = np.random.default_rng(seed)
    degrees, place = draw.uniform(0, 60, n), draw.integers(0, len(index), n)
    colours = np.eye(2, dtype=np.uint8)[draw.integers(0, 2, n)] * 255
    queries = found(at_angles(*degrees), ["hat"] * n, colours=colours)
    angle = np.abs(degrees - np.array([0.0, 60.0])[place])
    same = (colours == index.products.colours[place]).all(axis=1)
    return JudgedPairs(queries, np.arange(n), place, np.where((angle < 30) & same, 3, draw.integers(0, 2, n)))


def test_weights_and_gate_are_learned_where_enough_was_judged():
    index = index_of([0, 60], ["hat", "hat"], colours=[[255, 0], [0, 255]])
    few = fit_matcher(index, judged(index, 150))
    assert few.judged == 0
    np.testing.assert_array_equal(few.weights, DEFAULT_WEIGHTS)
    pairs = judged(index, 600)
    fitted = fit_matcher(index, pairs)
    assert fitted.judged == 600
    assert fitted.weights[0] > 1
    assert fitted.weights[2] > 1
    right = (fitted.chance(pair_features(index, pairs)) > 0.5) == (pairs.grade >= 2)
    assert right.mean() > 0.95
    one_sided = JudgedPairs(pairs.queries, pairs.query, pairs.place, np.zeros(600, int))
    assert fit_matcher(index, one_sided).judged == 0
    assert fit_matcher(index).judged == 0


def test_appeal_by_hand():
    columns = zip(*[(10, 0, "impressions", 80), (10, 0, "save", 8), (10, 1, "impressions", 100), (10, 1, "click", 1)], strict=True)
    days, rows, kinds, counts = columns
    stats = ItemStats(["a", "b"], np.array(days), np.array(rows), np.array([COUNTERS.index(kind) for kind in kinds]), counts, 11 * DAY_MS)
    appeal = Appeal.of(stats, ["b", "new", "a"])
    usual = 8 / 180
    expected = np.log([(20 * usual) / 120 / usual, 1.0, (8 + 20 * usual) / 100 / usual])
    np.testing.assert_allclose(appeal.quality, expected, atol=1e-5)
    np.testing.assert_allclose(appeal.engagement, [np.log(2) / np.log(9), 0, 1], atol=1e-6)


# ------------------------------------------------------------------------------------------------------------------- the shelves


def test_engagement_orders_but_lifts_nothing_over_the_gate():
    index = index_of([0, 20, 80], ["hat"] * 3)
    scene, appeal = found(at_angles(5), ["hat"]), Appeal(np.zeros(3, np.float32), np.array([0, 1, 1], np.float32))
    matcher = matcher_that_passes(index, least=0.5, weights=(1.0, 0, 0, 0, 100.0, 0))
    (shelf,) = shop_the_look(scene, index, matcher, appeal=appeal).shelves
    assert shelf.rows.tolist() == [1, 0]
    assert (np.diff(shelf.probability) > 0).all()  # the chance is that of the similarity, not of the order
    ranked = rank(scene, 0, index, matcher, appeal=appeal)
    assert ranked.rows.tolist() == [1, 2, 0]
    assert ranked.passed.tolist() == [True, False, True]


def test_objects_with_too_few_results_are_counted_and_not_shown():
    index = index_of([0, 20, 80], ["hat", "hat", "shoe"])
    scene = found(at_angles(0, 80, 0), ["hat", "shoe", "shoe"])
    config = ShopTheLookConfig(min_results=2)
    look = shop_the_look(scene, index, matcher_that_passes(index, 0.5), config=config)
    assert ([shelf.object for shelf in look.shelves], look.few) == ([0], 2)
    one = shop_the_look(scene.take([0]), index, matcher_that_passes(index, 0.5), k=1, config=config)
    assert ([len(shelf) for shelf in one.shelves], one.few) == ([1], 0)  # who asks for one gets one
    none = shop_the_look(scene, index, matcher_that_passes(index, 0.5), np.zeros(3, bool))
    assert (none.shelves, none.few) == ([], 3)
    assert shop_the_look(scene.take([]), index, matcher_that_passes(index)).few == 0


def test_one_product_is_shown_once():
    index = index_of([0, 2, 20, 40], ["hat"] * 4)
    scene = found(at_angles(0), ["hat"])
    (shelf,) = shop_the_look(scene, index, matcher_that_passes(index)).shelves
    assert shelf.rows.tolist() == [0, 2, 3]  # 2 degrees: the same picture, offered twice
    assert len(shop_the_look(scene, index, matcher_that_passes(index), k=1).shelves[0]) == 1


def test_two_objects_do_not_show_the_same_product_unless_they_must():
    index = index_of([0, 20, 40], ["hat"] * 3)
    scene = found(at_angles(12, 0), ["hat", "hat"])
    look = shop_the_look(scene, index, matcher_that_passes(index), k=1)
    assert [shelf.rows.tolist() for shelf in look.shelves] == [[1], [0]]  # the second object is surer of 0
    only = np.array([True, False, False])
    both = shop_the_look(scene, index, matcher_that_passes(index), only, k=3)
    assert [shelf.rows.tolist() for shelf in both.shelves] == [[0], [0]]


def test_shelves_are_spread_over_merchants_where_there_are_several():
    index = index_of([0, 12, 24, 36, 48], ["hat"] * 5)
    scene, matcher = found(at_angles(0), ["hat"]), matcher_that_passes(index)
    config = ShopTheLookConfig(per_merchant=1)

    def rows(merchants: list[int], k: int) -> list[int]:
        (shelf,) = shop_the_look(scene, index, matcher, k=k, merchants=np.array(merchants), config=config).shelves
        return shelf.rows.tolist()

    assert rows([7, 7, 7, 8, 9], 3) == [0, 3, 4]
    assert rows([7, 7, 7, 8, 9], 4) == [0, 3, 4, 1]  # nothing else is left
    assert rows([7, 7, 7, 7, 7], 2) == [0, 1]
    assert rows([-1] * 5, 3) == [0, 1, 2]  # nobody knows whose they are


def test_the_surest_category_and_the_second_where_it_is_unsure():
    index = index_of([0, 20], ["hat", "shoe"])
    scene = found(at_angles(8), ["hat"], second_category=["shoe"], posterior=[0.5], second_posterior=[0.4])
    (shelf,) = shop_the_look(scene, index, matcher_that_passes(index), config=ShopTheLookConfig(unsure=0.2)).shelves
    assert sorted(shelf.rows.tolist()) == [0, 1]
    (shelf,) = shop_the_look(scene, index, matcher_that_passes(index), config=ShopTheLookConfig(unsure=0.05)).shelves
    assert shelf.rows.tolist() == [0]
