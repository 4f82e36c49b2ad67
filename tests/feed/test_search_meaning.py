"""Search by meaning: beside words, without them, and when it is missing, of another space, or broken."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import Artifact, Release, Space, write_artifact
from corkboard.embeddings.config import SearchSageConfig
from corkboard.embeddings.searchsage import SearchSage
from corkboard.errors import SpaceMismatch
from corkboard.feed.config import FeedConfig
from corkboard.feed.home import Feed, RecommendRequest
from corkboard.feed.search import LEXICAL, MEANING, LazyQueries, MeaningSide, QueryVectors, WordSide, falling
from corkboard.retrieval.hybrid import fused
from corkboard.retrieval.index import ExactIndex
from corkboard.retrieval.lexical import LexicalIndex
from feed.builders import NOW_MS, TOPICS, Small
from feed.test_search import codes, search

LIGHTS = "lantern"
"""A word that no item has and that means lamps to the encoder made by hand."""
FAR_OFF = FeedConfig(search={"relevance_weight": 50.0, "fusion": {"vector_share": 0.5}, "diversity": {"enabled": False}})


class ByHand:
    """Knows one word: it means what all lamps have in common."""

    def __init__(self, vector: np.ndarray):
        self.vector, self.asked = vector, []

    def encode(self, texts):
        self.asked += texts
        return np.stack([self.vector if LIGHTS in text.split() else 0 * self.vector for text in texts])


class Broken:
    def encode(self, texts):
        raise RuntimeError("weights of another version")


def of_lamps(feed: Feed) -> np.ndarray:
    rows = np.flatnonzero([feed.catalogue.value("category", row) == "lamp" for row in range(len(feed.catalogue))])
    total = feed.parts.graph_vectors.vectors_of(rows).sum(axis=0)
    return (total / np.linalg.norm(total)).astype(np.float32)


def meaning(feed: Feed, encoder=None, **options) -> MeaningSide:
    encoder = encoder or ByHand(of_lamps(feed))
    options = {"least": 0.3, "sure": 0.9, "known": frozenset([LIGHTS, "red"])} | options
    return MeaningSide(LazyQueries(lambda: encoder, Space("hand", "1"), QueryVectors()), feed.parts.graph_vectors, **options)


def hybrid(made: Small, words: bool = True, encoder=None, config=None, **options) -> Feed:
    feed = made.feed(config=config)
    side = WordSide(LexicalIndex.build(made.lake.items(), feed.catalogue)) if words else WordSide()
    return Feed(replace(feed.parts, words=side, meaning=meaning(feed, encoder, **options)), feed.store, feed.settings, feed.weights)


def categories(feed: Feed, page) -> list[str]:
    return [feed.catalogue.value("category", row) for row in feed.catalogue.rows(page.items.item_ids).tolist()]


def test_what_has_none_of_the_words_is_found_by_meaning_and_that_is_said(made):
    feed = hybrid(made)
    page = search(feed, LIGHTS, k=5)
    assert set(categories(feed, page)) == {"lamp"}
    assert set(page.items.sources) == {(MEANING,)}
    assert set(page.items.reasons) == {"Matches the meaning of your search"}
    assert codes(page) >= {"no_words", "by_meaning"}
    assert "no_match" not in codes(page)


def test_words_and_meaning_make_one_page(made):
    feed = hybrid(made, config=FAR_OFF)
    page = search(feed, f"red {LIGHTS}", k=40)
    by_source = dict(zip(page.items.item_ids, page.items.sources, strict=True))
    allowed = feed.catalogue.mask()
    worded = feed.parts.words.index.search(f"red {LIGHTS}", 200, allowed)
    by_words, near = (worded.rows, falling(worded)), feed.parts.meaning.nearest(f"red {LIGHTS}", 1.0, 200, allowed)
    for item_id, row in zip(page.items.item_ids, feed.catalogue.rows(page.items.item_ids).tolist(), strict=True):
        assert by_source[item_id] == tuple(name for name, (rows, _) in ((LEXICAL, by_words), (MEANING, near)) if row in rows)
    assert {(MEANING,), (LEXICAL, MEANING)} <= set(by_source.values())
    best, _ = fused(by_words, near, FAR_OFF.search.fusion, 10)
    assert page.items.item_ids[0] in feed.catalogue.ids_of(best)  # the ranker has a word in it, but a small one
    assert codes(page) >= {"by_meaning", "unknown_words"}
    for item_id, reason in zip(page.items.item_ids, page.items.reasons, strict=True):
        assert (reason == "Has what you searched for") == (LEXICAL in by_source[item_id])


def test_a_product_is_found_by_the_better_of_its_two_vectors(made):
    feed = made.feed()
    asked, graph = of_lamps(feed), feed.parts.graph_vectors
    products = np.zeros((len(feed.catalogue), graph.dim), np.float32)
    cake, lamp = 2, 6  # one that the graph has far off, one that ItemSage has far off
    products[cake], products[lamp] = asked, -asked
    side = meaning(feed, ByHand(asked), products=ExactIndex(products, graph.space))
    rows, cosines = side.nearest(LIGHTS, 1.0, 20, feed.catalogue.mask())
    assert rows[0] == cake
    assert cosines[0] == pytest.approx(1, abs=1e-5)
    assert len(set(rows.tolist())) == len(rows) == 20
    assert (np.diff(cosines) <= 0).all()
    kept = dict(zip(rows.tolist(), cosines.tolist(), strict=True))
    assert kept.get(lamp, -2) == pytest.approx(float(graph.vectors_of(np.array([lamp]))[0] @ asked), abs=1e-5) or lamp not in kept
    assert cake not in side.nearest(LIGHTS, 1.0, 20, np.arange(len(feed.catalogue)) != cake)[0]


def test_filters_hold_inside_of_both(made):
    feed = hybrid(made)
    page = search(feed, f"red {LIGHTS}", filter={"category": TOPICS[1]})
    assert set(categories(feed, page)) <= {TOPICS[1]}
    allowed = np.zeros(len(feed.catalogue), bool)
    allowed[[3, 4]] = True
    rows, _ = feed.parts.meaning.nearest(LIGHTS, 1.0, 10, allowed, least=-1.0)
    assert set(rows.tolist()) == {3, 4}


def test_a_query_of_which_nothing_is_known_finds_nothing(made):
    page = search(hybrid(made), "zzyzx")
    assert (len(page.items), codes(page) >= {"no_match"}) == (0, True)


def test_unknown_words_with_familiar_letters_are_answered_only_where_it_is_sure(made):
    feed = made.feed()
    everything = type("Everything", (), {"encode": lambda self, texts: np.stack([of_lamps(feed)] * len(texts))})()
    assert len(search(hybrid(made, encoder=everything, sure=1.01), "lampzyzxq").items) == 0
    assert len(search(hybrid(made, encoder=everything, sure=0.5), "lampzyzxq").items) > 0
    assert len(search(hybrid(made, encoder=everything, sure=1.01, known=None), "lampzyzxq").items) > 0
    assert len(search(hybrid(made, encoder=everything, sure=0.5, least=1.01), "lampzyzxq").items) == 0


def test_a_product_near_by_its_own_vector_does_not_make_an_unknown_query_sure(made):
    """Two items: the query's cosines are 0.6 and 0 in the graph, and 0.95 for the second by its own vector."""
    space = made.graph_vectors.space
    graph = ExactIndex(np.array([[0.6, 0.8], [0, 1]], np.float32), space)
    products = ExactIndex(np.array([[0, 0], [0.95, np.sqrt(1 - 0.95**2)]], np.float32), space)
    encoder = type("Right", (), {"encode": lambda self, texts: np.array([[1, 0]] * len(texts), np.float32)})()
    side = MeaningSide(LazyQueries(lambda: encoder, Space("hand", "2"), QueryVectors()), graph, products, least=0.1, sure=0.7)
    everything = np.ones(2, bool)
    assert len(side.nearest("anything", 0.0, 5, everything)[0]) == 0
    assert side.nearest("anything", 0.5, 5, everything)[0].tolist() == [1, 0]
    assert replace(side, sure=0.55).nearest("anything", 0.0, 5, everything)[0].tolist() == [1, 0]
    assert len(replace(side, sure=0.55).nearest("anything", 0.0, 5, np.array([False, True]))[0]) == 0


def test_a_word_is_read_as_its_correction_where_it_is_not_known_itself(made):
    feed = hybrid(made, known=frozenset(["red", LIGHTS]))
    answer = feed.parts.words.index.search("rde brigth zzyzx lantern", 5)
    assert feed.parts.meaning.read("rde brigth zzyzx lantern", answer) == ("rde bright zzyzx lantern", 0.25)
    assert replace(feed.parts.meaning, known=None).read("Rde!  x") == ("rde x", 1.0)
    assert feed.parts.meaning.read("!?") == ("", 0.0)


def test_without_words_meaning_answers_alone_and_the_other_way_round(made):
    alone = search(hybrid(made, words=False), LIGHTS)
    assert {MEANING} == {source for sources in alone.items.sources for source in sources}
    release = made.release()
    assert {entry.code for entry in Feed.load(release, made.store()).parts.words.notes} == {"no_words_index"}
    feed = hybrid(made)
    worded = Feed(replace(feed.parts, meaning=MeaningSide()), feed.store, feed.settings, feed.weights)
    assert {LEXICAL} == {source for sources in search(worded, "red").items.sources for source in sources}
    assert "by_meaning" not in codes(search(worded, "red"))


def test_an_encoder_that_fails_costs_the_meaning_and_nothing_else(made):
    page = search(hybrid(made, encoder=Broken()), "red")
    assert len(page.items) == 10
    assert "weights of another version" in str(next(entry for entry in page.notes if entry.code == "meaning_failed"))
    alone = search(hybrid(made, words=False, encoder=Broken()), "red")
    assert len(alone.items) == 10  # what home would show
    assert "meaning_failed" in codes(alone)


def test_a_live_item_is_found_by_meaning(made):
    feed = hybrid(made)
    like = next(row for row in made.lake.items().iter_rows(named=True) if row["category"] == "lamp")
    row = {**like, "event": "item", "event_id": "n1", "time_ms": NOW_MS, "item_id": "new", "tenant": "default"}
    feed.add_items([row])
    assert "new" in search(feed, LIGHTS, k=100).items.item_ids
    feed.add_items([{**row, "event_id": "n2", "time_ms": NOW_MS + 1, "deleted": True}])
    assert "new" not in search(feed, LIGHTS, k=100).items.item_ids


# -------------------------------------------------------------------------------------------------------------- the cache


def test_vectors_of_queries_are_kept_by_encoder_and_text_and_not_for_ever():
    kept, hand = QueryVectors(2), ByHand(np.ones(2, np.float32))
    one, other = (LazyQueries(lambda: hand, Space("hand", version), kept) for version in ("1", "2"))
    for query in (LIGHTS, f"  {LIGHTS.upper()}!", LIGHTS):
        assert one.vector(query).tolist() == [1, 1]
    assert hand.asked == [LIGHTS]
    assert kept.get(Space("hand", "2"), LIGHTS) is None
    other.vector(LIGHTS)
    assert hand.asked == [LIGHTS] * 2
    one.vector(LIGHTS)
    one.vector("b")  # the other's goes: it was not asked for the longest
    assert len(kept) == 2
    assert kept.get(Space("hand", "2"), LIGHTS) is None
    assert kept.get(Space("hand", "1"), LIGHTS) is not None


# ---------------------------------------------------------------------------------------------------------- out of a release


def trained(made: Small, seed: int, space: Space | None = None) -> SearchSage:
    """An encoder that has seen every title a few times."""
    from corkboard.artifacts import EmbeddingTable
    from corkboard.embeddings.query_pairs import QUERY_PAIR_SCHEMA
    from corkboard.embeddings.searchsage_training import train_searchsage

    config = SearchSageConfig(
        width=16, heads=1, table_rows=512, batch=64, pool=32, training={"steps": 4, "learning_rate": 0.01, "warmup_steps": 1}
    )
    table = EmbeddingTable(made.graph_vectors.ids, made.graph_vectors.vectors, space or made.graph_vectors.space)
    return train_searchsage(pl.DataFrame(schema=QUERY_PAIR_SCHEMA), table, made.lake.items().select("item_id", "title"), config, seed)


def artifact_of(made: Small, encoder: SearchSage, key: str) -> Artifact:
    config = {**encoder.config, "least_similarity": -1.0, "sure_similarity": 1.0}
    words = {"words": pl.DataFrame({"word": ["red", "lamp"]})}
    spaces = {"makes": [encoder.own_space], "requires": [encoder.space]}
    return write_artifact(made.workspace / "artifacts", MEANING, key, tensors=encoder.tensors(), tables=words, config=config, **spaces)


def test_two_encoders_ask_one_index(made):
    pages = []
    for seed in (1, 2):
        artifact = artifact_of(made, trained(made, seed), f"seed{seed}")
        feed = Feed.load(made.release(searchsage=artifact), made.store())
        assert {entry.code for entry in feed.parts.meaning.notes} == set()
        assert feed.parts.meaning.index is feed.parts.graph_vectors
        pages.append((feed.parts.meaning.encoder.own_space, search(feed, "red lamp", k=5)))
    (one, first), (other, second) = pages
    assert one != other
    assert len(first.items) == len(second.items) == 5
    assert {source for page in (first, second) for sources in page.items.sources for source in sources} == {MEANING}


@pytest.mark.parametrize("words", [True, False])
def test_an_encoder_of_another_space_is_left_out_and_that_is_said(made, words):
    elsewhere = artifact_of(made, trained(made, 1, Space("multibisage", "another")), "elsewhere")
    texts = write_artifact(made.workspace / "artifacts", LEXICAL, "w", tables={"texts": made.lake.items()}, config={})
    with pytest.raises(SpaceMismatch, match="searchsage"):
        made.release(searchsage=elsewhere)
    parts = {**made.artifacts, MEANING: elsewhere} | ({LEXICAL: texts} if words else {})
    feed = Feed.load(Release("by hand", "by hand", parts, 0), made.store())
    assert feed.parts.meaning.encoder is None
    page = search(feed, "red lamp")
    assert len(page.items) == 10
    assert any(entry.code == "artifact_unusable" and "searchsage" in entry.text for entry in page.notes)
    assert ("no_search" in codes(page)) != words
    home = feed.recommend(RecommendRequest(user_id="u1", now_ms=NOW_MS))
    assert not {"artifact_unusable", "no_search", "no_meaning"} & codes(home)


def test_a_damaged_encoder_is_left_out(made):
    artifact = artifact_of(made, trained(made, 1), "damaged")
    (artifact.path / "tensors.safetensors").write_bytes(b"")
    feed = Feed.load(made.release(searchsage=artifact), made.store())
    assert feed.parts.meaning.encoder is None
    assert any(entry.code == "artifact_unusable" for entry in search(feed, "red").notes)


def test_a_release_is_loaded_without_pytorch_until_somebody_searches(made, tmp_path):
    import subprocess

    artifact = artifact_of(made, trained(made, 1), "lazy")
    release = made.release(searchsage=artifact)
    script = f"""
import sys
from pathlib import Path
from corkboard.artifacts import Releases
from corkboard.feed.home import Feed, RecommendRequest
from corkboard.state.memory import MemoryStore
feed = Feed.load(Releases(Path({str(made.workspace)!r})).load({release.id!r}), MemoryStore())
feed.recommend(RecommendRequest(user_id="u1", now_ms={NOW_MS}))
before = "corkboard.embeddings.searchsage_network" in sys.modules
feed.recommend(RecommendRequest(surface="search", query="red lamp", user_id="u1", now_ms={NOW_MS}))
print(before, "corkboard.embeddings.searchsage_network" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
