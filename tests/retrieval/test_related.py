from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from corkboard.retrieval.blend import FILL
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.retrieval.config import RelatedConfig, RelatedQuotas, RetrievalConfig, ShopConfig
from corkboard.retrieval.index import ExactIndex, OverlayIndex
from corkboard.retrieval.neighbours import NeighbourTable
from corkboard.retrieval.related import RelatedRetrieval, related_retrieval
from corkboard.retrieval.sources import RetrievalParts
from corkboard.retrieval.walks import WalkedGraph
from corkboard.state.user_state import UserState
from retrieval.builders import GRAPH_SPACE, NOW_MS, SPACE, board_graph, catalogue_of, request_of, state_of, unit_vectors
from retrieval.test_sources import table_of

ITEMS = 120
CATALOGUE = catalogue_of(ITEMS)
BOARDS = {"b0": range(20), "b1": range(20, 40), "b2": range(40, 60)}
"""Items 60 and on are on no board."""
LONELY = 100


def graph_vectors() -> np.ndarray:
    vectors = unit_vectors(ITEMS, 12, 10)
    vectors[60:] = 0
    return vectors


def knn_of(rows: int = 60) -> NeighbourTable:
    table = table_of(ITEMS)
    near = table.rows.copy()
    near[rows:] = -1
    return NeighbourTable(table.ids, near, np.where(near >= 0, table.scores, 0).astype(np.float32))


PARTS = RetrievalParts(
    index=OverlayIndex(ExactIndex(unit_vectors(ITEMS), SPACE)),
    item_knn=knn_of(),
    boards=table_of(ITEMS, 6),
    graph_vectors=OverlayIndex(ExactIndex(graph_vectors(), GRAPH_SPACE)),
    walks=WalkedGraph.of(board_graph(BOARDS, ITEMS), CATALOGUE),
)
RELATED = related_retrieval(PARTS)
PRODUCTS = np.where(np.arange(ITEMS)[:, None] % 2, unit_vectors(ITEMS, 12, 11), 0).astype(np.float32)
SHOP_PARTS = replace(PARTS, products=OverlayIndex(ExactIndex(PRODUCTS, GRAPH_SPACE)))
SHOP = related_retrieval(SHOP_PARTS, ShopConfig().beside)


def beside(row: int, allowed: np.ndarray | None = None, state: UserState | None = None) -> CandidateRequest:
    return replace(request_of(CATALOGUE, state or state_of(), allowed), surface="related", beside=row)


def only(**quotas: int) -> RelatedConfig:
    return RelatedConfig(quotas=RelatedQuotas(**dict.fromkeys(RelatedQuotas.model_fields, 0) | quotas))


def test_all_sources_are_there_under_their_names_and_each_brings_something() -> None:
    assert [source.name for source in SHOP.sources] == list(RelatedQuotas.model_fields)
    assert [source.name for source in RELATED.sources] == list(RelatedQuotas.model_fields)[:-1]
    assert RELATED.notes == SHOP.notes == []
    for source in SHOP.sources:
        for k in (1, 10, 300):
            for row in (0, 25, 59):
                allowed = np.random.default_rng(row).random(ITEMS) < 0.6
                allowed[row] = True
                found = source.candidates(beside(row, allowed), k)
                assert 0 < len(found) <= k
                assert allowed[found.rows].all()
                assert row not in found.rows
                assert len(set(found.rows.tolist())) == len(found)
                assert (np.diff(found.scores) <= 1e-6).all()
                assert (found.seeds == row).all()
        assert len(source.candidates(beside(0), 0)) == 0


@pytest.mark.parametrize("row", [-1, ITEMS, 10_000])
def test_no_source_fails_for_a_row_that_it_does_not_know(row: int) -> None:
    for source in SHOP.sources:
        assert len(source.candidates(beside(row), 10)) == 0


def test_each_source_asks_what_it_says() -> None:
    by_name = {source.name: source for source in SHOP.sources}
    products = [row for row in np.argsort(-(PRODUCTS @ graph_vectors()[5]), kind="stable") if row != 5 and PRODUCTS[row].any()]
    assert by_name["itemsage"].candidates(beside(5), 20).rows.tolist() == products[:20]
    assert set(by_name["pixie"].candidates(beside(5), 100).rows.tolist()) == set(range(20)) - {5}
    for name, vectors in (("related_vectors", graph_vectors()), ("related_content", unit_vectors(ITEMS))):
        nearest = [row for row in np.argsort(-(vectors @ vectors[5]), kind="stable") if row != 5 and vectors[row].any()]
        assert by_name[name].candidates(beside(5), 20).rows.tolist() == nearest[:20]
    for name, table in (("item_knn", PARTS.item_knn), ("same_board", PARTS.boards)):
        assert set(by_name[name].candidates(beside(5), 20).rows.tolist()) == set(table.rows[5].tolist()) - {5}


def test_quotas_are_its_own() -> None:
    config = RetrievalConfig().related
    assert RELATED.settings.quota("pixie") == config.quotas.pixie > 0
    assert RELATED.settings.quota("popular_7d") == 0  # a source of home
    retrieval = related_retrieval(PARTS, only(pixie=30, related_content=10))
    found = retrieval.retrieve(beside(5), 20)
    assert [source.name for source in retrieval.sources] == ["pixie", "related_content"]
    walked = set(range(20)) - {5}
    assert sum(row in walked for row in found.rows.tolist()) >= 15


def test_the_item_itself_is_never_among_the_answers_not_even_to_fill_up() -> None:
    for row in (0, LONELY):
        found = RELATED.retrieve(beside(row), 500)
        assert sorted(found.rows.tolist()) == [other for other in range(ITEMS) if other != row]
    retrieval = related_retrieval(RetrievalParts())
    found = retrieval.retrieve(beside(3), 500)
    assert 3 not in found.rows
    assert set(found.items.sources) == {(FILL,)}
    assert len(retrieval.notes) == len(RelatedQuotas.model_fields) - 1


def test_an_item_without_edges_has_a_full_page_from_content() -> None:
    found = RELATED.retrieve(beside(LONELY), 40)
    assert len(found) == 40
    # same_board's table knows it too; everything else has nothing to say, and nothing needed filling up
    assert {name for names in found.items.sources for name in names} == {"related_content", "same_board"}
    assert (found.seeds == LONELY).all()
    content = related_retrieval(RetrievalParts(index=PARTS.index, walks=PARTS.walks)).retrieve(beside(LONELY), 40)
    cosines = unit_vectors(ITEMS) @ unit_vectors(ITEMS)[LONELY]
    assert content.rows.tolist() == [row for row in np.argsort(-cosines) if row != LONELY][:40]


def test_an_unknown_item_has_no_answers() -> None:
    found = RELATED.retrieve(beside(-1), 40)
    assert len(found) == len(found.items) == 0
    assert found.by_source.shape == (0, len(RELATED.sources))


def test_only_what_is_allowed() -> None:
    allowed = np.zeros(ITEMS, bool)
    allowed[[5, 6, 70]] = True
    request = beside(5, allowed)
    assert sorted(RELATED.retrieve(request, 40).rows.tolist()) == [6, 70]
    assert allowed[5]  # the request's own mask is as it was
    assert len(RELATED.retrieve(beside(ITEMS - 1, allowed[:10]), 40)) == 2  # a mask that ends before the item


def test_a_live_item_is_related_by_content_at_once() -> None:
    catalogue, index = catalogue_of(ITEMS), OverlayIndex(ExactIndex(unit_vectors(ITEMS), SPACE))
    live = catalogue.add({"item_id": "live", "time_ms": NOW_MS})
    index.add(live, unit_vectors(ITEMS)[7], SPACE)
    retrieval = related_retrieval(replace(PARTS, index=index))
    found = retrieval.retrieve(CandidateRequest(state_of(), NOW_MS, "related", catalogue.mask(), catalogue, beside=live), 10)
    assert found.rows[0] == 7
    assert live not in found.rows


def test_the_history_takes_part_in_the_walks_only_where_it_is_told_to() -> None:
    state = state_of([("save", "i0025", NOW_MS), ("click", "i0005", NOW_MS)])
    walked = related_retrieval(PARTS, only(pixie=1)).sources[0]
    assert set(walked.candidates(beside(5, state=state), 100).rows // 20) == {0}
    config = only(pixie=1).model_copy(update={"history_share": 0.1})
    found = related_retrieval(PARTS, config).sources[0].candidates(beside(5, state=state), 100)
    assert set(found.rows // 20) == {0, 1}
    assert set(found.rows[:10] // 20) == {0}
    assert not {5, 25} & set(found.rows.tolist())
    alone = related_retrieval(PARTS, config).sources[0].candidates(beside(5), 100)
    assert alone.rows.tolist() == walked.candidates(beside(5), 100).rows.tolist()


def test_a_missing_part_is_named_and_what_failed_can_be_made_without_sources() -> None:
    retrieval = related_retrieval(RetrievalParts(index=PARTS.index))
    assert [source.name for source in retrieval.sources] == ["related_content"]
    assert [note.split(":")[0] for note in retrieval.notes] == [
        f"source {name} left out" for name in ("pixie", "related_vectors", "item_knn", "same_board")
    ]
    assert len(RelatedRetrieval([]).retrieve(beside(4), 5)) == 5
