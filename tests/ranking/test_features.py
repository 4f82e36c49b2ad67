"""Request features: known answers by hand, a plain reference, and properties over time and missing parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from corkboard.artifacts import Space
from corkboard.lake.schema import NEGATIVE, POSITIVE
from corkboard.ranking.features import BESIDE_NAMES, FEATURE_NAMES, PRODUCT_NAMES, beside_row, request_features
from corkboard.ranking.item_side import STAT_NAMES, ItemSide
from corkboard.ranking.request import RequestSide
from corkboard.ranking.user_side import user_side
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.index import ExactIndex
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.state.user_state import UserState
from ranking.builders import DAY_MS, HOUR_MS, NOW_MS, SPACE, action, item, items_frame, page, state_of, world

E1, E2 = np.eye(2, dtype=np.float32)
DIAGONAL = ((E1 + E2) / math.sqrt(2)).astype(np.float32)


def tiny() -> ItemSide:
    """a points to the right, b up, c between them; d has no vector, no price, no creator and no counters."""
    rows = [
        item("a", category="x", creator_id="carl", price_minor=999, kind="product", time_ms=NOW_MS - DAY_MS),
        item("b", category="y", creator_id="carl", price_minor=99, time_ms=NOW_MS - DAY_MS),
        item("c", category="x", creator_id="dora", price_minor=9, brand_id="q", time_ms=NOW_MS - 2 * DAY_MS),
        item("d", time_ms=NOW_MS - HOUR_MS),
    ]
    vectors = np.stack([E1, E2, DIAGONAL, np.zeros(2, np.float32)])
    stats = np.ones((3, len(STAT_NAMES)), np.float32)
    # a's neighbours are c (.5) and b (.25); b's is c (.125)
    near = NeighbourTable(
        ["a", "b", "c"], np.array([[2, 1], [2, -1], [-1, -1]], np.int32), np.array([[0.5, 0.25], [0.125, 0], [0, 0]], np.float32)
    )
    return ItemSide(Catalogue(items_frame(rows)), ExactIndex(vectors, SPACE), stats, near)


def named(state: UserState, items: ItemSide, item_id: str, now_ms: int = NOW_MS) -> dict[str, float]:
    row = request_features(state, now_ms, items.catalogue.rows([item_id]), items)[0]
    return dict(zip(FEATURE_NAMES, row.tolist(), strict=True))


def test_similarities_by_hand():
    # newest first: click on b 10 minutes ago, save of a 2 hours ago; c has cosine 1/sqrt(2) with both
    state = state_of(action("save", "a", 2.0), action("click", "b", 1 / 6))
    of_a, of_c = named(state, tiny(), "a"), named(state, tiny(), "c")
    a_day, b_day = math.exp(-2 / 24), math.exp(-1 / 6 / 24)  # "the last ..." fades by e within a day
    assert of_c["similar_last"] == pytest.approx(b_day / math.sqrt(2), rel=1e-5)
    assert of_a["similar_last"] == pytest.approx(0.0)  # the last action was on b
    assert of_a["similar_last_3"] == pytest.approx(a_day / 3, rel=1e-5)  # a is one of three places
    assert of_a["similar_10"] == pytest.approx(a_day / 10, rel=1e-5)
    assert of_a["similar_session"] == pytest.approx(0.0)  # only b is less than half an hour old
    assert of_a["similar_100"] == pytest.approx(0.5, abs=1e-3)  # one of two actions, both of today
    assert of_a["nearest_10"] == pytest.approx(a_day, rel=1e-5)
    assert of_a["nearest_session"] == pytest.approx(0.0)
    assert of_a["similar_fading_hours"] == pytest.approx(math.log1p(math.exp(-2 / 3)), rel=1e-5)  # a is 2 h old, fading by e in 3 h
    assert of_a["nearest_fading_days"] == pytest.approx(math.exp(-2 / 36), rel=1e-5)
    assert of_a["similar_saves"] == pytest.approx(a_day / (a_day + 1), rel=1e-5)  # one save, pulled towards zero by one
    assert of_a["similar_clicks"] == pytest.approx(0.0)
    assert of_a["similar_close_ups"] == 0.0
    assert (of_a["acted"], of_c["acted"]) == (1.0, 0.0)
    assert of_a["acted_fading_days"] == pytest.approx(math.log1p(math.exp(-2 / 36)), rel=1e-5)


def test_a_sum_of_opposite_cosines_keeps_its_sign():
    items = tiny()
    items.index.vectors[1] = -E1
    of_a = named(state_of(action("save", "b", 3.0)), items, "a")
    assert of_a["similar_fading_hours"] == pytest.approx(-math.log1p(math.exp(-1)), rel=1e-5)


def test_hides_speak_for_themselves_and_not_as_positives():
    state = state_of(action("hide", "b", 48.0), action("save", "a", 1.0))
    of_b, of_c = named(state, tiny(), "b"), named(state, tiny(), "c")
    year = math.exp(-2 / 365)  # a hide is remembered for a year
    assert of_b["nearest_hide"] == pytest.approx(year, rel=1e-5)
    assert of_b["similar_hides"] == pytest.approx(year / (year + 1), rel=1e-5)  # one hide, pulled towards zero by one
    assert of_b["similar_hides_fading"] == pytest.approx(math.log1p(math.exp(-1.0)), rel=1e-5)  # 48 h, fading by e in 48 h
    assert of_b["similar_10"] == pytest.approx(0.0)
    assert of_c["similar_hides"] == pytest.approx(year / (year + 1) / math.sqrt(2), rel=1e-5)
    assert of_b["same_creator_hides"] == pytest.approx(1 - math.exp(-year), rel=1e-5)  # saturates: five hides are not five times one
    assert of_b["same_creator_hides_fading"] == pytest.approx(math.log1p(math.exp(-1.0)), rel=1e-5)
    assert of_b["hide_share"] == pytest.approx(1 / 3)  # one hide, two actions, plus one


def test_a_hide_takes_back_what_was_liked_before():
    of_c = named(state_of(action("save", "a", 5.0), action("hide", "a", 1.0)), tiny(), "c")
    assert (of_c["similar_100"], of_c["same_category_10"]) == (0.0, 0.0)
    assert of_c["nearest_hide"] > 0.5


def test_matches_price_age_and_neighbours_by_hand():
    state = state_of(action("save", "a", 3.0), action("click", "a", 3.0), action("follow", creator_id="dora", hours_ago=5))
    of_b, of_c = named(state, tiny(), "b"), named(state, tiny(), "c")
    day = math.exp(-3 / 24)
    assert of_c["same_category_10"] == pytest.approx(2 * day / 10, rel=1e-5)  # two of ten places, on a, of category x
    assert of_b["same_category_10"] == 0.0
    assert of_b["same_creator_100"] == pytest.approx(1.0, rel=1e-5)  # all actions there are
    assert of_c["same_category_fading_hours"] == pytest.approx(math.log1p(2 * math.exp(-1)), rel=1e-5)
    assert of_c["same_brand_10"] == 0.0  # a has no brand: no brand is not a brand in common
    assert of_b["price_gap"] == pytest.approx(math.log(100) - math.log(1000), rel=1e-4)  # log(1 + 99) against the usual log(1 + 999)
    assert of_b["price_distance"] == pytest.approx(-of_b["price_gap"])
    assert of_b["age"] == pytest.approx(math.log1p(24))
    assert of_c["item_knn"] == pytest.approx(math.log1p(2 * day * 0.5), rel=1e-5)  # two actions on a, whose neighbour c is at .5
    assert of_b["item_knn"] == pytest.approx(math.log1p(2 * day * 0.25), rel=1e-5)
    far = math.exp(-3 / 480)  # 20 days; a mean of the history, pulled towards zero by ten actions, in units of ten
    assert of_c["item_knn_history"] == pytest.approx(math.log1p(2 * far * 0.5 * 10 / (2 * far + 10)), rel=1e-5)
    assert (of_c["follows_creator"], of_b["follows_creator"]) == (1.0, 0.0)
    assert of_c["activity"] == pytest.approx(math.log1p(3))


def test_showings_time_and_position_by_hand():
    state = state_of(page(["a", "b"], 30.0), page(["a"], 7.0))
    items = tiny()
    of_a, of_c = named(state, items, "a"), named(state, items, "c")
    assert of_a["times_shown"] == pytest.approx(math.log1p(2))
    assert of_a["hours_since_shown"] == pytest.approx(math.log1p(7))
    assert (of_c["times_shown"], of_c["hours_since_shown"]) == (0.0, 0.0)
    assert of_c["category_shown"] == pytest.approx(math.log1p(2))  # a is of c's category and was on two pages
    assert of_c["category_shown_lately"] == pytest.approx(math.log1p(math.exp(-0.7)))  # last 7 h ago, fading by e in 10 h
    assert (of_a["hour_sin"], of_a["hour_cos"]) == pytest.approx((0.0, -1.0), abs=1e-6)  # NOW is noon
    assert of_a["log_position"] == 0.0
    trained = request_features(state, NOW_MS, items.catalogue.rows(["a", "c"]), items, positions=np.array([0, 9]))
    assert trained[:, -1] == pytest.approx([0.0, math.log(10)])


def test_what_is_missing_is_defined_and_flagged():
    items = tiny()
    of_d = named(UserState("nobody"), items, "d")
    assert all(math.isfinite(value) for value in of_d.values())
    assert (of_d["has_vector"], of_d["has_price"], of_d["has_stats"], of_d["has_history"]) == (0.0, 0.0, 0.0, 0.0)
    assert of_d["price_gap"] == 0.0
    assert named(UserState("nobody"), items, "a")["has_vector"] == 1.0
    bare = ItemSide(items.catalogue)
    features = request_features(state_of(action("save", "a")), NOW_MS, np.arange(4), bare)
    assert np.isfinite(features).all()
    assert (features[:, FEATURE_NAMES.index("has_vector")] == 0).all()
    assert request_features(UserState("nobody"), NOW_MS, np.empty(0, np.int64), items).shape == (0, len(FEATURE_NAMES))


def test_actions_on_items_that_left_the_catalogue_count_as_activity_only():
    known = named(state_of(action("save", "a", 2.0)), tiny(), "c")
    with_ghost = named(state_of(action("save", "a", 2.0), action("save", "ghost", 3.0)), tiny(), "c")
    assert with_ghost["activity"] > known["activity"]
    assert with_ghost["similar_100"] == known["similar_100"]


def test_an_item_that_arrives_live_gets_a_vector_and_no_counters():
    items = world()
    row = items.catalogue.add(item("new", title="New", category="t0", creator_id="c0", time_ms=NOW_MS))
    items.index.add(row, np.ones(8, np.float32) / math.sqrt(8), SPACE)
    features = request_features(state_of(action("save", "i000")), NOW_MS, np.array([row, 0]), items)
    flags = dict(zip(FEATURE_NAMES, features[0], strict=True))
    assert (flags["has_vector"], flags["has_stats"], flags["age"]) == (1.0, 0.0, 0.0)
    assert flags["same_category_10"] > 0


def plain_features(state: UserState, now_ms: int, row: int, items: ItemSide) -> dict[str, float]:
    """Some features once more, one candidate and one action at a time."""
    catalogue, index = items.catalogue, items.index
    vector = index.vectors_of(np.array([row]))[0]
    past = [a for a in state.actions if a.item_id in catalogue and a.time_ms < now_ms]
    liked = [a for a in past if a.action in POSITIVE and a.item_id not in state.hidden][:100]
    hidden = [a for a in past if a.action in NEGATIVE][:100]
    cosine = {a.event_id: float(index.vectors_of(catalogue.rows([a.item_id]))[0] @ vector) for a in past}
    hours = {a.event_id: (now_ms - a.time_ms) / HOUR_MS for a in past}
    same = [a for a in liked if catalogue.value("category", catalogue.row(a.item_id)) == catalogue.value("category", row)]
    near = [cosine[a.event_id] * math.exp(-hours[a.event_id] / 36) for a in liked]
    total = sum(cosine[a.event_id] * math.exp(-hours[a.event_id] / 36) for a in liked)
    weight = {a.event_id: math.exp(-hours[a.event_id] / 1440) for a in liked}
    return {
        "similar_10": sum(cosine[a.event_id] * math.exp(-hours[a.event_id] / 24) for a in liked[:10]) / 10,
        "similar_100": sum(cosine[a.event_id] * weight[a.event_id] for a in liked) / max(1.0, sum(weight.values())),
        "nearest_fading_days": max(near, default=0.0),
        "similar_fading_days": math.copysign(math.log1p(abs(total)), total),
        "nearest_hide": max((cosine[a.event_id] * math.exp(-hours[a.event_id] / 8760) for a in hidden), default=0.0),
        "same_category_fading_days": math.log1p(sum(math.exp(-hours[a.event_id] / 36) for a in same)),
        "acted": float(any(catalogue.row(a.item_id) == row for a in liked)),
    }


histories = st.lists(st.tuples(st.sampled_from([*POSITIVE, *NEGATIVE]), st.integers(0, 59), st.floats(0.001, 500.0)), max_size=40)


@settings(max_examples=40, deadline=None)
@given(histories, st.integers(0, 59))
def test_the_vectorised_features_are_the_plain_ones(history, candidate):
    items = world()
    state = state_of(*(action(name, f"i{i:03d}", hours) for name, i, hours in history))
    fast = named(state, items, f"i{candidate:03d}")
    for name, value in plain_features(state, NOW_MS, candidate, items).items():
        assert fast[name] == pytest.approx(value, abs=2e-4), name


@settings(max_examples=40, deadline=None)
@given(histories, st.integers(0, 59))
def test_a_candidate_does_not_depend_on_the_others(history, candidate):
    """No padding, no batch: alone, among others, in any order, the same row."""
    items = world()
    state = state_of(*(action(name, f"i{i:03d}", hours) for name, i, hours in history))
    rows = np.random.default_rng(candidate).permutation(60)
    together = request_features(state, NOW_MS, rows, items)
    alone = request_features(state, NOW_MS, np.array([candidate]), items)
    np.testing.assert_allclose(together[rows == candidate], alone, rtol=1e-5, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(histories, histories)
def test_later_actions_change_no_earlier_feature_of_the_item(history, later):
    """The state may know of the future (a clock that is ahead); features as of a moment do not."""
    items = world()
    past = [action(name, f"i{i:03d}", hours) for name, i, hours in history]
    future = [action(name, f"i{i:03d}", -hours) for name, i, hours in later if name in POSITIVE]
    before = request_features(state_of(*past), NOW_MS, np.arange(60), items)
    after = request_features(state_of(*past, *future), NOW_MS, np.arange(60), items)
    lifetime = [FEATURE_NAMES.index(name) for name in ("activity", "hide_share")]  # counts are of the state, not of a moment
    np.testing.assert_allclose(np.delete(before, lifetime, axis=1), np.delete(after, lifetime, axis=1), atol=1e-6)


def test_the_user_side_is_made_once_and_changes_nothing():
    items, state = world(), state_of(action("save", "i003"), action("hide", "i004"))
    user = user_side(state, NOW_MS, items)
    rows = np.arange(60)
    np.testing.assert_array_equal(request_features(state, NOW_MS, rows, items, user=user), request_features(state, NOW_MS, rows, items))


def beside_features(items: ItemSide, beside: str, item_id: str) -> dict[str, float]:
    row = request_features(UserState("nobody"), NOW_MS, items.catalogue.rows([item_id]), items, beside=items.catalogue.row(beside))[0]
    return {name: value for name, value in zip(FEATURE_NAMES, row.tolist(), strict=True) if name in BESIDE_NAMES}


def test_how_a_candidate_goes_with_the_item_beside_by_hand():
    bare = tiny()
    embedding, graph = ExactIndex(np.stack([E1, E1, E2, E2]), SPACE), ExactIndex(np.stack([E1, DIAGONAL, E2, E2]), SPACE)
    items = ItemSide(bare.catalogue, bare.index, bare.stats, bare.neighbours, embedding, graph)
    half = pytest.approx(1 / math.sqrt(2))
    assert beside_features(items, "a", "b") == {
        "beside_known": 1.0,
        "beside_content": 0.0,
        "beside_embedding": 1.0,
        "beside_graph": half,
        "beside_category": 0.0,
        "beside_creator": 1.0,
        "beside_brand": 0.0,
        "beside_item_knn": pytest.approx(math.log(1.25)),  # b is a neighbour of a, and a none of b
    }
    assert beside_features(items, "b", "a")["beside_item_knn"] == 0.0
    of_c = beside_features(items, "a", "c")
    assert (of_c["beside_content"], of_c["beside_category"], of_c["beside_creator"]) == (half, 1.0, 0.0)
    assert beside_features(items, "c", "c")["beside_brand"] == 1.0
    of_d = beside_features(items, "d", "d")  # "none" equals nothing, and what has no vector is like nothing
    assert of_d == dict.fromkeys(BESIDE_NAMES, 0.0) | {"beside_known": 1.0, "beside_embedding": 1.0, "beside_graph": 1.0}


def shop() -> ItemSide:
    """Graph vectors: a right, b up, c between, d right. a and c can be bought: a's product vector points up, c's to the right."""
    bare = tiny()
    graph = ExactIndex(np.stack([E1, E2, DIAGONAL, E1]), SPACE)
    products = ExactIndex(np.stack([E2, 0 * E1, E1, 0 * E1]), SPACE)
    return ItemSide(bare.catalogue, bare.index, bare.stats, bare.neighbours, None, graph, products)


def product_features(items: ItemSide, item_id: str, state: UserState, beside: int = -1) -> list[float]:
    row = request_features(state, NOW_MS, items.catalogue.rows([item_id]), items, beside=beside)[0]
    return [row[FEATURE_NAMES.index(name)] for name in PRODUCT_NAMES]


def test_what_can_be_bought_is_held_against_the_graph_vectors_of_past_actions_by_hand():
    # newest first: a click on c 10 minutes ago, a save of b 2 hours ago; sums and maxima fade by e within 36 hours
    state = state_of(action("save", "b", 2.0), action("click", "c", 1 / 6))
    b, c = math.exp(-2 / 36), math.exp(-1 / 6 / 36)
    half = 1 / math.sqrt(2)
    assert product_features(shop(), "a", state) == pytest.approx([half, b, math.log1p(b + half * c), 0, 1], rel=1e-5)
    assert product_features(shop(), "c", state, beside=0) == pytest.approx([half, half * c, math.log1p(half * c), 1, 1], rel=1e-5)
    assert product_features(shop(), "b", state, beside=0) == [0, 0, 0, 0, 0]
    assert product_features(shop(), "a", UserState("nobody"), beside=1) == [0, 0, 0, 1, 1]


def test_product_vectors_count_only_beside_graph_vectors_of_their_space():
    items, other = shop(), Space("another", "space")
    for products in (ItemSide(items.catalogue, products=items.products), ItemSide(items.catalogue, graph=ExactIndex(np.eye(4), other))):
        assert products.products is None
        assert product_features(products, "a", state_of(action("save", "b", 2.0)), beside=1) == [0, 0, 0, 0, 0]
    mixed = ItemSide(items.catalogue, graph=ExactIndex(np.eye(4, 2), other), products=items.products)
    assert mixed.products is None
    assert items.with_stats(items.stats).products is items.products


def test_without_vectors_neighbours_or_an_item_beside_there_are_zeros():
    bare = ItemSide(tiny().catalogue)
    assert beside_features(bare, "a", "c") == dict.fromkeys(BESIDE_NAMES, 0.0) | {"beside_known": 1.0, "beside_category": 1.0}
    assert beside_features(tiny(), "nobody knows it", "c") == dict.fromkeys(BESIDE_NAMES, 0.0)
    assert request_features(UserState("nobody"), NOW_MS, np.empty(0, np.int64), bare, beside=0).shape == (0, len(FEATURE_NAMES))


def test_only_pages_of_the_related_surface_are_beside_an_item():
    items, state = world(), state_of(action("save", "i003"))
    assert beside_row("related", "i007", items) == 7
    assert beside_row("home", "i007", items) == beside_row("related", None, items) == beside_row("related", "?", items) == -1
    rows = np.arange(60)
    home, related = (RequestSide.of(state, NOW_MS, surface, items, beside="i007") for surface in ("home", "related"))
    assert (home.beside, related.beside) == (-1, 7)
    assert related.ranker_input(rows, related.features(rows)).beside == 7
    np.testing.assert_array_equal(related.features(rows), request_features(state, NOW_MS, rows, items, beside=7))
    columns = [FEATURE_NAMES.index(name) for name in BESIDE_NAMES]
    np.testing.assert_array_equal(np.delete(home.features(rows), columns, axis=1), np.delete(related.features(rows), columns, axis=1))
    assert not home.features(rows)[:, columns].any()


@settings(max_examples=40, deadline=None)
@given(histories, st.integers(0, 59), st.integers(0, 59))
def test_the_item_beside_is_the_same_for_everybody_and_for_every_candidate_alone(history, beside, candidate):
    items, rows = world(), np.arange(60)
    columns = [FEATURE_NAMES.index(name) for name in BESIDE_NAMES]
    state = state_of(*(action(name, f"i{i:03d}", hours) for name, i, hours in history))
    together = request_features(state, NOW_MS, rows, items, beside=beside)[:, columns]
    np.testing.assert_array_equal(together, request_features(UserState("bob"), NOW_MS, rows, items, beside=beside)[:, columns])
    alone = request_features(state, NOW_MS, np.array([candidate]), items, beside=beside)[:, columns]
    np.testing.assert_allclose(together[[candidate]], alone, atol=1e-6)
    assert together[beside, BESIDE_NAMES.index("beside_content")] == pytest.approx(1.0, abs=1e-5)
