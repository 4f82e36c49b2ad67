from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from corkboard.errors import SpaceMismatch
from corkboard.retrieval.blend import Retrieval
from corkboard.retrieval.candidates import Candidates, Source, merged, recent_items
from corkboard.retrieval.config import ActionWeights, Quotas, ShopConfig, SourceConfig
from corkboard.retrieval.index import ExactIndex, OverlayIndex
from corkboard.retrieval.item_stats import COUNTERS, ItemStats
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.retrieval.sources import (
    FreshSource,
    NearestSource,
    PinnerSageSource,
    PixieSource,
    PopularSource,
    RetrievalParts,
    build_sources,
    engagement,
    item_quality,
)
from corkboard.retrieval.walks import WalkedGraph
from retrieval.builders import (
    DAY_MS,
    EMBEDDING_SPACE,
    GRAPH_SPACE,
    HOUR_MS,
    NOW_MS,
    SPACE,
    USER_VECTOR,
    board_graph,
    catalogue_of,
    request_of,
    state_of,
    tens_and_sevens,
    unit_vectors,
)

ITEMS = 120
CATALOGUE = catalogue_of(ITEMS)
VECTORS = unit_vectors(ITEMS)
CONFIG = SourceConfig()


def stats_of(catalogue_ids: list[str]) -> ItemStats:
    draw = np.random.default_rng(4)
    n = 900
    days, rows = draw.integers(60, 100, n), draw.integers(0, len(catalogue_ids), n)
    return ItemStats(catalogue_ids, days, rows, draw.integers(0, len(COUNTERS), n), np.ones(n), NOW_MS)


def table_of(items: int, seed: int = 5) -> NeighbourTable:
    draw = np.random.default_rng(seed)
    near = (draw.integers(0, items, (items, 1)) + np.arange(8) * 7).astype(np.int32) % items
    return NeighbourTable([f"i{place:04d}" for place in range(items)], near, np.tile(np.linspace(1, 0.1, 8, dtype=np.float32), (items, 1)))


EMBEDDING = OverlayIndex(ExactIndex(unit_vectors(ITEMS, 8, 9), EMBEDDING_SPACE))
PARTS = RetrievalParts(
    index=OverlayIndex(ExactIndex(VECTORS, SPACE)),
    item_knn=table_of(ITEMS),
    boards=table_of(ITEMS, 6),
    stats=stats_of(CATALOGUE.ids),
    embedding=EMBEDDING,
    graph_vectors=OverlayIndex(ExactIndex(unit_vectors(ITEMS, 12, 10), GRAPH_SPACE)),
    walks=WalkedGraph.of(tens_and_sevens(ITEMS), CATALOGUE),
)
SHOP_PARTS = replace(PARTS, products=OverlayIndex(ExactIndex(unit_vectors(ITEMS, 12, 11), GRAPH_SPACE)))
SOURCES = {source.name: source for source in build_sources(SHOP_PARTS, ShopConfig().home)[0]}
BUSY = state_of(
    [
        (action, f"i{place:04d}", NOW_MS - place * HOUR_MS)
        for place, action in enumerate(["save", "click", "close_up", "hide", "click", "save"])
    ],
    follows=["c3"],
)
STATES = {
    "busy": BUSY,
    "nobody": state_of(),
    "hid only": state_of([("hide", "i0001", NOW_MS)]),
    "acted on what is gone": state_of([("save", "gone", NOW_MS)], follows=["nobody we know"]),
    "acts in the future": state_of([("save", "i0002", NOW_MS + DAY_MS)]),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> Source:
    return SOURCES[request.param]


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("k", [0, 1, 10, 1000])
def test_every_source_keeps_the_contract(source: Source, state: str, k: int) -> None:
    allowed = np.random.default_rng(1).random(ITEMS) < 0.6
    found = source.candidates(request_of(CATALOGUE, STATES[state], allowed), k)
    assert len(found.rows) == len(found.scores) == len(found.seeds) <= k
    assert allowed[found.rows].all()
    assert len(np.unique(found.rows)) == len(found.rows)
    assert (np.diff(found.scores) <= 1e-6).all()
    assert ((found.seeds >= -1) & (found.seeds < ITEMS)).all()


def test_every_source_is_built_and_brings_something(source: Source) -> None:
    assert set(SOURCES) == set(Quotas.model_fields)
    assert len(source.candidates(request_of(CATALOGUE, BUSY), 10))


def test_a_mask_older_than_a_live_item_excludes_it() -> None:
    catalogue = catalogue_of(20)
    mask = catalogue.mask()
    catalogue.add({"item_id": "live", "time_ms": NOW_MS - 1, "creator_id": "c1"})
    for parts in (RetrievalParts(), RetrievalParts(OverlayIndex(ExactIndex(unit_vectors(20), SPACE)))):
        for source in build_sources(parts, CONFIG)[0]:
            assert 20 not in source.candidates(request_of(catalogue, BUSY, mask), 50).rows


# -------------------------------------------------------------------------------------------------------------- history


def test_recent_items_by_hand() -> None:
    state = state_of(
        [
            ("click", "i0001", NOW_MS - 10),
            ("save", "i0001", NOW_MS - 50),
            ("close_up", "i0002", NOW_MS - 20),
            ("click", "gone", NOW_MS - 5),
            ("hide", "i0003", NOW_MS),
        ]
    )
    rows, weights, ages = recent_items(request_of(CATALOGUE, state), 10, ActionWeights(click=1, save=3, close_up=0.5))
    assert rows.tolist() == [1, 2]
    assert weights.tolist() == [3.0, 0.5]  # the heaviest action counts, with the age of the newest
    assert ages.tolist() == [10, 20]


def test_merged_by_hand() -> None:
    rows, scores, seeds = merged(np.array([7, 3, 7]), np.array([1.0, 5.0, 2.0]), np.array([0, 1, 2]))
    assert (rows.tolist(), scores.tolist(), seeds.tolist()) == ([3, 7], [5.0, 3.0], [1, 2])


# -------------------------------------------------------------------------------------------------------------- nearest


def lumps() -> tuple[np.ndarray, NearestSource]:
    """Four lumps of 30 items: rows 0-29 are alike, 30-59, and so on."""
    draw = np.random.default_rng(8)
    vectors = np.repeat(np.eye(4, 16), 30, axis=0) + 0.05 * draw.standard_normal((ITEMS, 16))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return vectors, NearestSource(ExactIndex(vectors, SPACE), CONFIG)


def shares(found: Candidates) -> list[float]:
    return (np.bincount(found.rows // 30, minlength=4) / max(len(found), 1)).tolist()


def test_each_action_gets_its_share() -> None:
    _, source = lumps()
    state = state_of([("click", "i0000", NOW_MS), ("click", "i0030", NOW_MS), ("click", "i0060", NOW_MS)])
    found = source.candidates(request_of(CATALOGUE, state), 30)
    assert shares(found) == pytest.approx([1 / 3, 1 / 3, 1 / 3, 0])
    assert all(found.seeds[found.rows // 30 == lump].tolist() == [30 * lump] * 10 for lump in range(3))


def test_kind_and_age_decide_the_share() -> None:
    _, source = lumps()
    # weights: a save 2, a click 1; a day old counts half with nearest_fade_hours = 24: 2, 1, 0.5 of 3.5 -> of 28 places 16, 8, 4
    state = state_of([("save", "i0000", NOW_MS), ("click", "i0030", NOW_MS), ("click", "i0060", NOW_MS - DAY_MS)])
    config = CONFIG.model_copy(update={"nearest_saturation": 1.0})
    found = NearestSource(ExactIndex(lumps()[0], SPACE), config).candidates(request_of(CATALOGUE, state), 28)
    assert np.bincount(found.rows // 30, minlength=4).tolist() == [16, 8, 4, 0]
    assert len(source.candidates(request_of(CATALOGUE, state), 28)) <= 28


def test_old_actions_leave_room() -> None:
    _, source = lumps()
    # five saves three days old: fade 1 / (1 + 3) each, 1.25 together, of the 3 that fill the quota: 1.25 / 3 of 24 places = 10
    sizes = {}
    for age_days in (0, 3, 60):
        state = state_of([("save", f"i{place:04d}", NOW_MS - age_days * DAY_MS) for place in range(5)])
        sizes[age_days] = len(source.candidates(request_of(CATALOGUE, state), 24))
    assert sizes == {0: 24, 3: 10, 60: 8}  # and of very old ones a share of 0.3 stays, rounded up


def test_alike_actions_share_neighbours_and_still_fill_their_places() -> None:
    source = NearestSource(ExactIndex(np.repeat(lumps()[0][:1], ITEMS, axis=0), SPACE), CONFIG)
    state = state_of([("save", f"i{place:04d}", NOW_MS) for place in range(4)])
    assert len(source.candidates(request_of(CATALOGUE, state), 20)) == 20


def test_what_was_just_acted_on_is_not_offered_again() -> None:
    _, source = lumps()
    found = source.candidates(request_of(CATALOGUE, state_of([("save", "i0000", NOW_MS)])), 200)
    assert 0 not in found.rows


def test_only_the_last_actions_ask() -> None:
    _, source = lumps()
    actions = [("click", f"i{place:04d}", NOW_MS - place) for place in range(10)] + [("checkout", "i0090", NOW_MS - 20)]
    assert shares(source.candidates(request_of(CATALOGUE, state_of(actions)), 40))[3] == 0


def test_a_live_item_acted_on_has_neighbours_and_is_one() -> None:
    catalogue, (vectors, _) = catalogue_of(ITEMS), lumps()
    index = OverlayIndex(ExactIndex(vectors, SPACE))
    for place in range(2):
        index.add(catalogue.add({"item_id": f"live{place}", "time_ms": NOW_MS}), vectors[90 + place], SPACE)
    found = NearestSource(index, CONFIG).candidates(request_of(catalogue, state_of([("save", "live0", NOW_MS)])), 90)
    assert shares(Candidates(found.rows[found.rows < ITEMS]))[3] == 1.0
    assert ITEMS + 1 in found.rows


def test_items_that_nothing_is_known_of_neither_ask_nor_answer() -> None:
    vectors, _ = lumps()
    vectors[[0, 1, 31, 32]] = 0
    for index in (ExactIndex(vectors, SPACE), OverlayIndex(ExactIndex(vectors, SPACE))):
        source = NearestSource(index, CONFIG)
        assert len(source.candidates(request_of(CATALOGUE, state_of([("save", "i0000", NOW_MS)])), 30)) == 0
        both = source.candidates(request_of(CATALOGUE, state_of([("save", "i0000", NOW_MS), ("click", "i0030", NOW_MS)])), 200)
        assert set(both.seeds.tolist()) == {30}
        assert not set(both.rows.tolist()) & {0, 1, 31, 32}


def test_what_nearest_leaves_goes_to_the_others() -> None:
    state = state_of([("save", "i0000", NOW_MS)])
    # popular_7d is asked for 1.5 x 2/3 of the 20: all of them, where nearest has nothing to say
    config = CONFIG.model_copy(update={"quotas": Quotas(**dict.fromkeys(Quotas.model_fields, 0) | {"nearest": 5, "popular_7d": 10})})
    blank = RetrievalParts(index=ExactIndex(np.zeros_like(VECTORS), SPACE), stats=PARTS.stats)
    for parts, expected in ((RetrievalParts(index=PARTS.index, stats=PARTS.stats), ["nearest", "popular_7d"]), (blank, ["popular_7d"])):
        found = Retrieval.of(parts, config).retrieve(request_of(CATALOGUE, state), 20)
        assert len(found) == 20
        assert sorted({name for names in found.items.sources for name in names}) == expected


# --------------------------------------------------------------------------------------------------------------- others


def test_popular_is_in_order_and_goes_on_past_what_is_not_allowed() -> None:
    scores = np.arange(2000, dtype=np.float32)
    source = PopularSource("popular_7d", scores)
    catalogue = catalogue_of(2000)
    assert source.candidates(request_of(catalogue, state_of()), 3).rows.tolist() == [1999, 1998, 1997]
    allowed = np.zeros(2000, bool)
    allowed[[0, 4, 2]] = True
    assert source.candidates(request_of(catalogue, state_of(), allowed), 50).rows.tolist() == [4, 2]  # 0 was engaged with by nobody


def test_engagement_by_hand() -> None:
    save, click, hide = (COUNTERS.index(name) for name in ("save", "click", "hide"))
    stats = ItemStats(["a", "b"], np.array([99, 95, 99]), np.array([0, 0, 1]), np.array([save, click, hide]), np.array([2, 1, 5]), NOW_MS)
    weights = ActionWeights(save=3.0, click=1.0)
    assert engagement(stats, "1d", weights).tolist() == [6.0, 0.0]
    assert engagement(stats, "7d", weights).tolist() == [7.0, 0.0]
    assert item_quality(stats).tolist() == [0.5, 0.0]
    assert stats.positives().tolist() == [3.0, 0.0]
    assert len(item_quality(None)) == 0


def test_fresh_is_new_and_knows_the_taste() -> None:
    catalogue, (vectors, _) = catalogue_of(ITEMS), lumps()
    source = FreshSource(ExactIndex(vectors, SPACE), None, CONFIG)
    for state in (state_of(), state_of([("save", "i0031", NOW_MS)])):
        found = source.candidates(request_of(catalogue, state), 12)
        assert len(found) == 12
        assert (catalogue.created_ms[found.rows] > NOW_MS - CONFIG.fresh_days * DAY_MS).all()
    assert shares(found)[1] == 1.0
    assert (found.seeds == 31).all()
    without_taste = FreshSource(None, None, CONFIG).candidates(request_of(catalogue, state), 12)
    assert (np.diff(catalogue.created_ms[without_taste.rows]) <= 0).all()
    assert (without_taste.seeds == -1).all()


def test_fresh_by_hand() -> None:
    """Rows 0 and 1 were acted on, the older one with half the weight; 2 is like 0 alone, 3 lies between both, 4 is like neither."""
    half, config = np.sqrt(0.5), CONFIG.model_copy(update={"fresh_sharpness": 4.0, "fresh_newness": 0.1, "history_half_life_days": 1.0})
    vectors = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [half, half, 0], [0, 0, 1]], np.float32)
    catalogue = catalogue_of(5)
    catalogue.created_ms[:] = NOW_MS - np.array([20, 20, 7, 20, 20]) * DAY_MS
    state = state_of([("save", "i0001", NOW_MS - DAY_MS), ("save", "i0000", NOW_MS)])
    source = FreshSource(ExactIndex(vectors, SPACE), np.array([9, 9, 9, 4, 0]), config)
    allowed = np.array([False, False, True, True, True])
    found = source.candidates(request_of(catalogue, state, allowed), 3)
    assert found.rows.tolist() == [2, 3, 4]
    np.testing.assert_allclose(found.scores, [2 / 3 + 0.1 * 0.5, 0.25, 0.0], atol=1e-6)
    assert found.seeds.tolist()[:2] == [0, 0]


def test_what_hardly_anybody_acted_on_is_fresh_however_old() -> None:
    catalogue, actions = catalogue_of(6), np.array([0, 4, 5, 100])
    catalogue.created_ms[:] = NOW_MS - np.array([90, 90, 90, 90, 90, 1]) * DAY_MS
    found = FreshSource(None, actions, CONFIG).candidates(request_of(catalogue, state_of()), 6)
    assert set(found.rows.tolist()) == {0, 1, 5}  # 4 nobody counted, and it is old
    assert FreshSource(None, None, CONFIG).candidates(request_of(catalogue, state_of()), 6).rows.tolist() == [5]
    short = request_of(catalogue, state_of(), np.ones(1, bool))
    assert FreshSource(None, actions, CONFIG).candidates(short, 6).rows.tolist() == [0]


def test_fresh_asks_for_what_is_very_near_to_something() -> None:
    """Row 3 is somewhat near to all three actions, row 4 is one of them: the mean cosine prefers the former, a sharp one the latter."""
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [3**-0.5] * 3, [1, 0, 0]], np.float32)
    catalogue, state = catalogue_of(5), state_of([("save", f"i000{row}", NOW_MS) for row in range(3)])
    catalogue.created_ms[:] = NOW_MS - 50 * DAY_MS
    for sharpness, first in ((1.0, 3), (8.0, 4)):
        request = request_of(catalogue, state, np.array([False, False, False, True, True]))
        source = FreshSource(ExactIndex(vectors, SPACE), np.zeros(5), CONFIG.model_copy(update={"fresh_sharpness": sharpness}))
        assert source.candidates(request, 2).rows[0] == first


def test_an_item_of_the_future_is_not_fresh() -> None:
    catalogue = catalogue_of(10)
    catalogue.add({"item_id": "tomorrow", "time_ms": NOW_MS + DAY_MS})
    for actions in (None, np.zeros(11)):
        assert 10 not in FreshSource(None, actions, CONFIG).candidates(request_of(catalogue, state_of()), 20).rows


def test_creators_of_recent_items_and_followed_ones() -> None:
    request = request_of(CATALOGUE, state_of([("save", "i0002", NOW_MS)], follows=["c5", "nobody"]))
    creators = CATALOGUE.codes("creator_id")
    same = SOURCES["same_creator"].candidates(request, 50)
    assert {CATALOGUE.value("creator_id", int(row)) for row in same.rows} == {"c2"}
    assert 2 not in same.rows
    assert set(same.seeds.tolist()) == {2}
    followed = SOURCES["followed"].candidates(request, 50)
    assert set(creators[followed.rows].tolist()) == {CATALOGUE.code("creator_id", "c5")}
    assert len(followed) == (creators == CATALOGUE.code("creator_id", "c5")).sum()


def test_the_users_own_vector_brings_the_nearest_items_not_acted_on() -> None:
    source = SOURCES["pinnerformer"]
    found = source.candidates(request_of(CATALOGUE, BUSY), 20)
    cosines = EMBEDDING.vectors_of(np.arange(ITEMS)) @ USER_VECTOR
    acted = [0, 1, 2, 4, 5]
    assert not set(acted) & set(found.rows.tolist())
    expected = [row for row in np.argsort(-cosines) if row not in acted][:20]
    assert found.rows.tolist() == expected
    np.testing.assert_allclose(found.scores, cosines[expected], rtol=1e-5)
    assert (found.seeds == -1).all()
    for nobody in (None, np.zeros(8, np.float32)):
        assert len(source.candidates(request_of(CATALOGUE, BUSY, user_vector=nobody), 20)) == 0
    with pytest.raises(SpaceMismatch):
        source.candidates(request_of(CATALOGUE, BUSY, user_vector=np.ones(16, np.float32)), 20)


# ------------------------------------------------------------------------------------------------------------ the graph

BOARDS = {"b0": range(30), "b1": range(30, 60), "b2": range(60, 90), "bridge": (0, 30)}


def walks_of(boards: dict[str, object] = BOARDS) -> WalkedGraph:
    return WalkedGraph.of(board_graph(boards, ITEMS), CATALOGUE)


def test_walks_begin_at_what_was_done_last() -> None:
    source = PixieSource(walks_of(), CONFIG)
    found = source.candidates(request_of(CATALOGUE, state_of([("save", "i0065", NOW_MS)])), 50)
    assert shares(found) == [0, 0, 1, 0]
    assert sorted(found.rows.tolist()) == [row for row in range(60, 90) if row != 65]
    assert (found.seeds == -1).all()
    # items of no board bring nothing, and what acted on i0000 saw before is left out
    assert len(source.candidates(request_of(CATALOGUE, state_of([("save", "i0100", NOW_MS)])), 50)) == 0
    both = [("save", "i0000", NOW_MS), ("click", "i0001", NOW_MS), ("click", "i0030", NOW_MS - 9 * DAY_MS)]
    assert not {0, 1, 30} & set(source.candidates(request_of(CATALOGUE, state_of(both)), 100).rows.tolist())


def test_a_request_whose_sources_are_asked_twice_walks_once(monkeypatch) -> None:
    """Walks cost the same for one item as for all; the second question, for more, is answered from the first walk."""
    walks, made = walks_of(), []
    whole = walks.recommend
    monkeypatch.setattr(
        WalkedGraph, "recommend", lambda self, rows, weights, k, allowed: made.append(k) or whole(rows, weights, k, allowed)
    )
    request = request_of(CATALOGUE, state_of([("save", "i0065", NOW_MS)]))
    found = Retrieval([PixieSource(walks, CONFIG)], CONFIG.model_copy(update={"overfetch": 1.0})).retrieve(request, 20)
    assert made == [CONFIG.candidates]
    more = PixieSource(walks, CONFIG).candidates(request, 29)
    assert found.rows.tolist() == more.rows[:20].tolist()
    assert PixieSource(walks, CONFIG).candidates(request, 2 * CONFIG.candidates).rows.tolist() == more.rows.tolist()
    assert made == [CONFIG.candidates, 2 * CONFIG.candidates]  # more than was ever found had to be looked for


def test_kind_and_age_decide_where_walks_begin() -> None:
    def best(newer: str, older: str, days: float, **config: float) -> int:
        state = state_of([(newer, "i0005", NOW_MS), (older, "i0065", NOW_MS - 1 - int(days * DAY_MS))])
        source = PixieSource(walks_of({"b0": range(30), "b2": range(60, 90)}), CONFIG.model_copy(update=config))
        return int(source.candidates(request_of(CATALOGUE, state), 10).rows[0]) // 30

    assert best("click", "save", 0) == 2  # a save weighs 2, a click 1
    assert best("click", "save", 40) == 0  # after four half-lives 2 / 16
    assert best("click", "save", 40, pixie_half_life_days=200.0) == 2
    assert best("close_up", "save", 0, pixie_actions=1) == 0  # only the last action


def lumpy_pinnersage(**config: object) -> PinnerSageSource:
    pinnersage = CONFIG.pinnersage.model_copy(update=config)
    return PinnerSageSource(ExactIndex(lumps()[0], GRAPH_SPACE), CONFIG.model_copy(update={"pinnersage": pinnersage}))


def test_every_interest_gets_its_turn() -> None:
    acted = [("save", f"i{row:04d}", NOW_MS - hours * HOUR_MS) for hours, row in enumerate((3, 4, 5, 31, 95))]
    request = request_of(CATALOGUE, state_of(acted))
    found = lumpy_pinnersage().candidates(request, 24)
    assert np.bincount(found.rows // 30, minlength=4).tolist() == [8, 8, 0, 8]
    assert set(found.seeds[found.rows // 30 == 1].tolist()) == {31}
    assert set(found.seeds[found.rows // 30 == 0].tolist()) < {3, 4, 5}
    assert sorted(found.rows[:3] // 30) == [0, 1, 3]
    assert not {3, 4, 5, 31, 95} & set(lumpy_pinnersage().candidates(request, 100).rows.tolist())


def test_interests_are_drawn_anew_every_hour_and_by_user() -> None:
    source = lumpy_pinnersage(searched=1)
    acted = [("save", f"i{row:04d}", NOW_MS - row * HOUR_MS) for row in (3, 4, 5, 31)]

    def drawn(now_ms: int) -> int:
        rows = source.candidates(request_of(CATALOGUE, state_of(acted), now_ms=now_ms), 10).rows
        assert len(set((rows // 30).tolist())) == 1
        return int(rows[0]) // 30

    assert drawn(NOW_MS) == drawn(NOW_MS + HOUR_MS - 1)
    seen = [drawn(NOW_MS + hours * HOUR_MS) for hours in range(200)]
    assert 0.65 < seen.count(0) / 200 < 0.85  # three of four items, all about as old
    assert set(seen) == {0, 1}


def test_an_item_that_left_the_catalogue_stands_for_nothing() -> None:
    catalogue = catalogue_of(ITEMS)
    acted = [("save", f"i{row:04d}", NOW_MS) for row in (3, 4, 5)]
    first = lumpy_pinnersage().candidates(request_of(catalogue, state_of(acted)), 10)
    medoid = int(first.seeds[0])
    catalogue.remove(f"i{medoid:04d}")
    second = lumpy_pinnersage().candidates(request_of(catalogue, state_of(acted)), 10)
    assert shares(second) == [1, 0, 0, 0]
    assert set(second.seeds.tolist()) < {3, 4, 5} - {medoid}
    for row in (3, 4, 5):
        catalogue.remove(f"i{row:04d}")
    assert len(lumpy_pinnersage().candidates(request_of(catalogue, state_of(acted)), 10)) == 0


def test_who_comes_back_after_years_still_has_interests() -> None:
    old = state_of([("save", "i0003", NOW_MS), ("save", "i0031", NOW_MS - DAY_MS)])
    found = lumpy_pinnersage().candidates(request_of(CATALOGUE, old, now_ms=NOW_MS + 90_000 * DAY_MS), 10)
    assert np.bincount(found.rows // 30, minlength=4).tolist() == [5, 5, 0, 0]


def test_the_shop_asks_the_index_of_products_with_the_groups_of_what_was_acted_on() -> None:
    products = np.zeros((ITEMS, 12), np.float32)
    products[60:] = unit_vectors(ITEMS, 12, 11)[60:]
    parts = replace(PARTS, products=OverlayIndex(ExactIndex(products, GRAPH_SPACE)))
    config = ShopConfig().home.model_copy(update={"quotas": Quotas(**dict.fromkeys(Quotas.model_fields, 0) | {"itemsage": 1})})
    (source,), notes = build_sources(parts, config)
    found = source.candidates(request_of(CATALOGUE, state_of([("save", "i0007", NOW_MS)])), 5)
    nearest = np.argsort(-(products @ PARTS.graph_vectors.vectors_of(np.array([7]))[0]), kind="stable")[:5]
    assert found.rows.tolist() == nearest.tolist()
    assert (found.seeds == 7).all()
    assert notes == []
    with pytest.raises(SpaceMismatch):
        build_sources(replace(PARTS, products=OverlayIndex(ExactIndex(products, SPACE))), config)
    assert build_sources(PARTS, config) == ([], ["source itemsage left out: no product vectors"])


def test_a_missing_part_is_named_and_only_its_sources_go() -> None:
    sources, notes = build_sources(RetrievalParts(index=PARTS.index), CONFIG)
    assert {source.name for source in sources} == {"nearest", "fresh", "same_creator", "followed"}
    assert [note.split(":")[0] for note in notes] == [
        f"source {name} left out" for name in ("item_knn", "popular_1d", "popular_7d", "same_board", "pinnerformer", "pixie", "pinnersage")
    ]
    sources, notes = build_sources(PARTS, CONFIG.model_copy(update={"quotas": Quotas(item_knn=0)}))
    assert "item_knn" not in {source.name for source in sources}
    assert notes == []
