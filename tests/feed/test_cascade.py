"""The stages of ranking: what each is given, what goes on, what is looked up once, and what follows the weights."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from corkboard.artifacts import EmbeddingTable, Release
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.feed import home
from corkboard.feed.config import FeedConfig
from corkboard.feed.home import Feed
from corkboard.feed.page import RecommendRequest
from corkboard.ranking import request as request_module
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.request import RequestSide
from corkboard.retrieval.config import RetrievalConfig, SourceConfig
from corkboard.retrieval.index import FaissIndex
from feed.builders import DAY_MS, HOUR_MS, MIDNIGHT_MS, NEVER_TIRED, NOW_MS, Small, act, set_pinnerformer, written


def ask(feed: Feed, user: str = "u1", k: int = 25, now_ms: int = NOW_MS, **more):
    return feed.recommend(RecommendRequest(user_id=user, k=k, now_ms=now_ms, **more))


class Remembering:
    """A ranker that keeps what it was given and answers as another."""

    def __init__(self, ranker):
        self._ranker, self.given = ranker, []

    @property
    def heads(self):
        return self._ranker.heads

    def score(self, given):
        self.given.append(given)
        return self._ranker.score(given)


def watched(made: Small, config: FeedConfig | None = None, **options) -> tuple[Feed, Remembering]:
    feed = made.feed(config=config, **options)
    ranker = Remembering(feed.parts.ranker)
    return Feed(replace(feed.parts, ranker=ranker), feed.store, feed.settings), ranker


def test_the_light_rankers_best_go_to_the_full_one(made: Small):
    feed, ranker = watched(made)
    page = ask(feed)
    (given,), trace = ranker.given, page.served["trace"]
    listed = len(trace["candidates"])
    assert page.counts == {"source_candidates": listed, "light_candidates": listed, "full_candidates": 120}
    assert (trace["light_candidates"], trace["full_candidates"]) == (len(trace["candidates"]), 120)
    assert len(given.rows) == len(given.features) == len(trace["utility"]) == 120
    assert given.items.catalogue.ids_of(given.rows) == [trace["candidates"][place] for place in trace["kept"]]
    light = np.array(trace["light"])
    assert set(trace["kept"]) == set(np.argsort(-light, kind="stable")[:120].tolist())
    request = RequestSide.of(feed.store.state("u1"), NOW_MS, "home", feed.parts.items, arrival_at(feed).vector)
    expected = feed.parts.light.scores(request, feed.catalogue.rows(trace["candidates"]), feed.weights)
    np.testing.assert_allclose(light, expected, atol=2e-6)


def arrival_at(feed: Feed, user: str = "u1", now_ms: int = NOW_MS):
    return feed._arrive(RecommendRequest(user_id=user, now_ms=now_ms)).who


def test_a_long_page_ranks_more_and_without_light_ranking_the_sources_choose(made: Small):
    assert ask(made.feed(), k=40).counts["full_candidates"] == 160
    for feed in (made.feed(config=FeedConfig(light_ranker=False)), made.feed(without=["light_ranker"])):
        page = ask(feed)
        assert page.counts["source_candidates"] > page.counts["full_candidates"] == 120
        assert page.counts["light_candidates"] == 0
        assert page.served["trace"]["light"] is None
        assert page.served["trace"]["kept"] == list(range(120))


def test_the_user_is_looked_up_once_a_request(made: Small, monkeypatch: pytest.MonkeyPatch):
    counts = {"user_side": 0, "request_history": 0, "lookup": 0, "state": 0}

    def counted(name, function):
        def wrapper(*given, **named):
            counts[name] += 1
            return function(*given, **named)

        return wrapper

    monkeypatch.setattr(request_module, "user_side", counted("user_side", request_module.user_side))
    monkeypatch.setattr(request_module, "request_history", counted("request_history", request_module.request_history))
    feed = made.feed()
    vectors = feed.parts.user_vectors
    monkeypatch.setattr(type(vectors), "lookup", counted("lookup", type(vectors).lookup))
    monkeypatch.setattr(feed.store, "state", counted("state", feed.store.state))
    page = ask(feed)
    assert page.counts["light_candidates"] > page.counts["full_candidates"] == 120
    assert counts == dict.fromkeys(counts, 1)


def test_the_ranker_reads_the_sequence_and_the_vector_that_are_logged(made: Small):
    feed, ranker = watched(made)
    feed.store.append([act("hide", "i017", NOW_MS - 2000, "u1"), act("save", "gone", NOW_MS - 1000, "u1")])
    row = ask(feed).served
    (given,) = ranker.given
    assert [entry["action"] for entry in row["sequence"][:2]] == ["save", "hide"]
    there = [entry for entry in row["sequence"] if entry["item_id"] != "gone"]  # what left the catalogue is logged and not read
    assert given.items.catalogue.ids_of(given.history.rows) == [entry["item_id"] for entry in there]
    np.testing.assert_allclose(given.history.hours, [(NOW_MS - entry["time_ms"]) / HOUR_MS for entry in there], rtol=1e-6)
    vector, newest_ms = made.user_vectors.lookup("u1")
    np.testing.assert_array_equal(given.user_vector, vector)
    assert given.user_vector_hours == pytest.approx((NOW_MS - newest_ms) / HOUR_MS)
    assert (row["user_vector_space"], row["user_vector_ms"]) == (str(made.embeddings.space), newest_ms)
    assert newest_ms < MIDNIGHT_MS - DAY_MS


def test_with_the_sequence_switched_off_the_ranker_reads_none_and_none_is_logged(made: Small):
    feed, ranker = watched(made, FeedConfig(ranker_sequence=False))
    row = ask(feed).served
    assert len(ranker.given[0].history) == 0
    assert row["sequence"] == []
    assert row["user_vector_ms"] is not None


def test_somebody_without_a_vector_is_not_a_note(made: Small):
    feed, ranker = watched(made)
    feed.store.append([act("save", "i005")])
    page = ask(feed, user="ann")
    assert page.notes == ()
    assert ranker.given[0].user_vector is None
    assert (page.served["user_vector_space"], page.served["user_vector_ms"]) == (str(made.embeddings.space), None)
    without = ask(made.feed(without=["user_vectors"]))
    assert (without.served["user_vector_space"], without.served["user_vector_ms"]) == (None, None)


def test_a_vector_that_misses_old_actions_is_too_old(made: Small):
    config = FeedConfig(user_vector_max_age_hours=48.0)
    feed = made.feed(config=config)
    known_ms, hour = made.user_vectors.known_ms, HOUR_MS
    late = known_ms + 30 * 24 * hour
    assert arrival_at(feed, "u1", known_ms + 47 * hour).vector is not None
    gone = ask(feed, now_ms=known_ms + 96 * hour)  # u1 did something on the last day of the past, which the batch did not know
    assert [note.code for note in gone.notes] == ["user_vector_too_old"]
    assert gone.served["user_vector_ms"] is None
    idle = replace(made.user_vectors, user_keys=["idle"], vectors=made.user_vectors.vectors[:1], newest_ms=np.array([known_ms - hour]))
    resting = Feed(replace(feed.parts, user_vectors=idle), feed.store, config)
    resting.store.append([act("save", "i100", known_ms - hour, "idle")])
    assert arrival_at(resting, "idle", late).vector is not None  # nothing was done since: it is what a new batch would make
    resting.store.append([act("save", "i100", known_ms + hour, "idle")])
    assert arrival_at(resting, "idle", known_ms + 48 * hour).vector is not None
    assert arrival_at(resting, "idle", late).vector is None


def test_a_page_of_the_past_is_not_told_what_a_later_batch_knew(made: Small):
    feed, (_, newest_ms) = made.feed(), made.user_vectors.lookup("u1")
    assert arrival_at(feed, "u1", newest_ms).vector is None
    assert arrival_at(feed, "u1", newest_ms + 1).vector is not None


def test_an_event_dated_tomorrow_takes_nobodys_vector_away(made: Small):
    """The batch then knows up to a midnight that is still to come."""
    feed = made.feed()
    ahead = Feed(replace(feed.parts, user_vectors=replace(made.user_vectors, known_ms=NOW_MS + DAY_MS)), feed.store)
    assert arrival_at(ahead, "u1", NOW_MS).vector is not None


def test_the_vector_of_somebody_who_was_forgotten_is_not_used(made: Small):
    """Deleted since the release was loaded: the store knows nothing, or only what was done after it."""
    feed = made.feed()
    assert arrival_at(feed, "u1", NOW_MS).vector is not None
    feed.store.purge("u1")
    assert arrival_at(feed, "u1", NOW_MS).vector is None
    feed.store.append([act("save", "i100", NOW_MS - 10, "u1")])
    assert arrival_at(feed, "u1", NOW_MS).vector is None
    feed.has_base = False  # the store began empty: somebody it knows nothing of may be an old user
    assert arrival_at(feed, "u1", NOW_MS).vector is not None


def test_the_users_vector_brings_candidates(made: Small):
    page = ask(made.feed(config=NEVER_TIRED, retrieval=RetrievalConfig(sources=SourceConfig(candidates=80))), user="u4")
    trace = page.served["trace"]
    code = trace["source_names"].index("pinnerformer")
    brought = [item for item, sources in zip(trace["candidates"], trace["sources"], strict=True) if code in sources]
    vector, _ = made.user_vectors.lookup("u4")
    cosines = made.embeddings.lookup(brought)[0] @ vector
    acted = {action.item_id for action in made.store().state("u4").actions}
    others = [item for item in trace["candidates"] if item not in brought and item not in acted]
    assert len(brought) > 10
    assert cosines.min() >= (made.embeddings.lookup(others)[0] @ vector).max()


def test_other_weights_choose_other_candidates_in_both_stages(made: Small):
    feed = made.feed()
    feed.store.append([act("hide", f"i{1 + 6 * n:03d}", NOW_MS - n, "u1") for n in range(3)])
    plain, careless = (ask(one, log=False).served["trace"] for one in (feed, feed.with_weights(UtilityWeights(hide=0.0))))
    assert plain["candidates"] == careless["candidates"]
    assert set(plain["kept"]) != set(careless["kept"])
    assert careless["weights"]["hide"] == 0.0


def test_weights_change_while_serving_and_are_logged(made: Small):
    feed = made.feed(config=FeedConfig(trace=False))
    before = ask(feed, log=False)
    feed.use_weights(UtilityWeights(save=0.0, click=-1.0))
    after = ask(feed, log=False)
    assert before.items.item_ids != after.items.item_ids
    assert [flag for flag in before.served["flags"] if flag.startswith("utility.")] == []
    assert {"utility.save=0.0", "utility.click=-1.0"} <= set(after.served["flags"])
    told = home.explain(after.served, after.items.item_ids[0], feed.parts.ranker)
    assert told["utility"]["save"] == 0.0
    assert told["utility"]["click"] < 0


def test_a_page_keeps_the_weights_it_began_with(made: Small):
    feed, ranker = watched(made)
    feed.parts.ranker.score = lambda given: (feed.use_weights(UtilityWeights(save=9.0)), ranker._ranker.score(given))[1]
    page = ask(feed, log=False)
    assert page.served["trace"]["weights"]["save"] == UtilityWeights().save
    assert not any(flag.startswith("utility.") for flag in page.served["flags"])
    assert ask(feed, log=False).served["trace"]["weights"]["save"] == 9.0


def test_live_items_reach_all_overlays_and_the_light_ranker(made: Small):
    feed = made.feed()
    ask(feed)
    tent = {"event": "item", "time_ms": NOW_MS - 10, "tenant": "default", "item_id": "live", "title": "small red tent", "category": "tent"}
    feed.add_items([tent])
    row = feed.catalogue.rows(["live"])
    items = feed.parts.items
    content, known = items.vectors(row)
    assert known[0]
    cold = feed.parts.graph_encoder.encode(NodeFeatures.of(["live"], [EmbeddingTable(["live"], content, made.tower.space)]), None)
    np.testing.assert_allclose(items.graph_vectors(row)[0], cold, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(items.embeddings(row)[0], feed.parts.item_tower.encode_items(["live"], cold), rtol=1e-4, atol=1e-6)
    dims = made.embeddings.dim, made.vectors.dim
    vector = feed.parts.light.vectors(row, NOW_MS)[0]
    np.testing.assert_allclose(vector[: dims[0]], items.embeddings(row)[0][0], rtol=1e-5)
    near = items.embedding.search(items.embeddings(row)[0][0], 3, feed.catalogue.mask())[0]
    assert row[0] in near
    feed.add_items([{**tent, "time_ms": NOW_MS - 5, "title": "old plain cake", "category": "cake"}])
    assert not np.allclose(feed.parts.light.vectors(row, NOW_MS)[0], vector)
    feed.add_items([{**tent, "time_ms": NOW_MS - 1, "deleted": True}])
    assert not any(vectors(row)[1][0] for vectors in (items.vectors, items.embeddings, items.graph_vectors))


def test_an_item_tower_is_fed_with_the_vectors_that_it_was_trained_on(made: Small, tmp_path):
    """One that reads content vectors, as releases without a graph have it."""
    tower = set_pinnerformer(made.vectors)
    table = EmbeddingTable(made.vectors.ids, tower.encode_items(made.vectors.ids, made.vectors.vectors), tower.space)
    changed = {
        "pinnerformer": written(tmp_path, "pinnerformer", tower, makes=[tower.space], requires=[made.tower.space]),
        "embedding_index": written(tmp_path, "embedding_index", FaissIndex.build(table), makes=[tower.space]),
    }
    kept = {role: artifact for role, artifact in made.artifacts.items() if role not in ("user_vectors", "light_ranker")}
    feed = Feed.load(Release("by hand", "by hand", kept | changed, 0), made.store())
    assert feed.parts.item_tower.content_space.name == "content"
    feed.add_items([{"event": "item", "time_ms": NOW_MS - 10, "tenant": "default", "item_id": "live", "title": "small red tent"}])
    row, items = feed.catalogue.rows(["live"]), feed.parts.items
    expected = tower.encode_items(["live"], items.vectors(row)[0])
    np.testing.assert_allclose(items.embeddings(row)[0], expected, rtol=1e-4, atol=1e-6)
    assert items.graph_vectors(row)[1][0]


def test_without_the_graph_encoder_a_live_item_has_content_alone(made: Small):
    feed = made.feed(without=["multibisage"])
    feed.add_items([{"event": "item", "time_ms": NOW_MS - 10, "tenant": "default", "item_id": "live", "title": "small red tent"}])
    row, items = feed.catalogue.rows(["live"]), feed.parts.items
    assert [vectors(row)[1][0] for vectors in (items.vectors, items.graph_vectors, items.embeddings)] == [True, False, False]
    assert "no_graph_encoder" in {note.code for note in ask(feed).notes}


def test_warming_up_leaves_no_trace(made: Small):
    feed = made.feed()
    feed.warm_up()
    assert feed.store.sequence() == 0
    assert feed.parts.light._kept.count == 300


def test_a_feed_without_a_hybrid_ranker_does_without_pytorch():
    code = "import sys, corkboard.feed.home, corkboard.serving.run, corkboard.ranking.light; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
