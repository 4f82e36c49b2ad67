"""A page all the same: whatever is missing, broken or unknown, and it says so."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import Artifact, EmbeddingTable, Release, load_artifact, write_artifact
from corkboard.errors import ArtifactError, StoreError
from corkboard.feed.config import FeedConfig
from corkboard.feed.home import Feed
from corkboard.feed.page import RecommendRequest
from corkboard.feed.parts import ROLES
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.graphs import Graphs
from corkboard.ranking.features import FEATURE_NAMES
from feed.builders import NOW_MS, DeadStore, Small, act, set_light, set_pinnerformer, set_ranker, set_user_vectors, written


def ask(feed: Feed, user: str | None = "u1", k: int = 25, **more):
    return feed.recommend(RecommendRequest(user_id=user, k=k, now_ms=NOW_MS, **more))


def codes(page) -> set[str]:
    return {entry.code for entry in page.notes}


MISSING = {
    "stats": "no_stats",
    "content": "no_content_tower",
    "item_knn": "no_neighbours",
    "boards": None,
    "graphs": "no_graph",
    "multibisage": "no_graph_encoder",
    "pinnerformer": "no_item_tower",
    "user_vectors": "no_user_vectors",
    "light_ranker": "no_light_ranker",
    "ranker": "no_ranker",
}


def loaded(made: Small, artifacts: dict[str, Artifact], store=None) -> Feed:
    """A feed of artefacts that no release could be written of."""
    return Feed.load(Release("by hand", "by hand", artifacts, 0), store or made.store())


@pytest.mark.parametrize(
    ("role", "needed", "expected"),
    [
        ("index", "the light ranker's content vectors", {"no_vectors", "artifact_unusable"}),
        ("embedding_index", "everything in the space of the user vectors", {"no_embeddings", "artifact_unusable"}),
    ],
)
def test_without_an_index_what_needs_its_space_is_left_out(made: Small, role: str, needed: str, expected: set[str]):
    feed = loaded(made, {name: artifact for name, artifact in made.artifacts.items() if name != role})
    page = ask(feed)
    assert len(set(page.items)) == 25
    assert codes(page) == expected, needed
    assert feed.parts.light is None
    assert (page.counts["light_candidates"], page.counts["full_candidates"]) == (0, 120)


@pytest.mark.parametrize("role", ["pinnerformer", "user_vectors", "light_ranker"])
def test_a_part_of_another_space_is_left_out_with_a_note(made: Small, tmp_path, role: str):
    other = set_pinnerformer(made.vectors, seed=8)
    embeddings = EmbeddingTable(made.vectors.ids, other.encode_items(made.vectors.ids, made.vectors.vectors), other.space)
    light = set_light(embeddings, made.vectors)
    artifact = {
        "pinnerformer": lambda: written(tmp_path, role, other),
        "user_vectors": lambda: written(tmp_path, role, set_user_vectors(made.lake, embeddings)),
        "light_ranker": lambda: write_artifact(tmp_path, role, "a", tensors=light.tensors(), config=light.config()),
    }[role]()
    page = ask(loaded(made, {**made.artifacts, role: artifact}))
    (unusable,) = page.notes
    assert unusable.code == "artifact_unusable"
    assert role in unusable.text
    assert str(other.space) in unusable.text
    assert len(page.items) == 25


@pytest.mark.parametrize(("role", "code"), MISSING.items())
def test_without_one_part(made: Small, role: str, code: str | None):
    feed = made.feed(without=[role])
    page = ask(feed)
    assert len(set(page.items)) == 25
    assert codes(page) == ({code} if code else set())
    assert feed.store.served(page.request_id)["notes"] == ([code] if code else [])


@pytest.mark.parametrize(("code", "says"), [("no_light_ranker", "order chooses"), ("light_ranker_failed", "order chose")])
def test_the_notes_do_not_claim_that_every_candidate_is_ranked_in_full(made: Small, code: str, says: str):
    feed = made.feed(without=["light_ranker"] if code == "no_light_ranker" else [])
    if code == "light_ranker_failed":
        feed = Feed(replace(feed.parts, light=FailingLight()), feed.store, feed.settings)
    page = ask(feed)
    assert page.counts["source_candidates"] > page.counts["full_candidates"] == 120
    (told,) = page.notes
    assert told.code == code
    assert f"the sources' own {says} what" in told.text
    assert "every candidate" not in told.text


def test_with_a_catalogue_alone(made: Small):
    page = ask(made.feed(without=[role for role in ROLES if role != "catalogue"]))
    assert len(set(page.items)) == 25
    assert {"no_ranker", "no_vectors", "no_stats"} <= codes(page)
    assert page.served["policy"] == "home/blend"
    assert all(slot["heads"] is None for slot in page.served["slots"])
    assert all(np.isfinite(slot["features"]).all() for slot in page.served["slots"])


@pytest.mark.parametrize("without", [["catalogue"], ROLES])
def test_without_a_catalogue_the_page_is_empty(made: Small, without):
    page = ask(made.feed(without=without))
    assert len(page.items) == 0
    assert {"no_catalogue", "short_catalogue"} <= codes(page)
    assert page.next_cursor is None


@pytest.mark.parametrize("role", ROLES)
def test_a_damaged_part_is_left_out(made: Small, tmp_path, role: str):
    copy = tmp_path / "broken" / role / "default" / "a"
    shutil.copytree(made.artifacts[role].path, copy)
    largest = max(copy.iterdir(), key=lambda file: (file.name != "manifest.json", file.stat().st_size))
    largest.write_bytes(largest.read_bytes()[:-7])
    release = made.release()
    broken = {**release.artifacts, role: load_artifact(copy)}
    feed = Feed.load(type(release)("broken", "broken", broken, 0), made.store())
    page = ask(feed)
    assert "artifact_unusable" in codes(page)
    assert role in next(entry.text for entry in page.notes if entry.code == "artifact_unusable")
    assert len(page.items) == (0 if role == "catalogue" else 25)


def test_a_ranker_of_another_version_or_kind_is_left_out(made: Small, tmp_path):
    ranker = set_ranker()
    foreign = {**ranker.config(), "feature_names": ["of another version", *FEATURE_NAMES[1:]]}
    for number, config in enumerate((foreign, {"kind": "unheard of"})):
        artifact: Artifact = write_artifact(tmp_path, "ranker", f"x{number}", tensors=ranker.tensors(), config=config)
        release = made.release()
        feed = Feed.load(type(release)("x", "x", {**release.artifacts, "ranker": artifact}, 0), made.store())
        page = ask(feed)
        assert codes(page) == {"artifact_unusable"}
        assert len(page.items) == 25


class FailingRanker:
    """A ranker that answers with what it was given."""

    heads = ("save",)

    def __init__(self, answer):
        self.answer = answer

    def score(self, given):
        if isinstance(self.answer, Exception):
            raise self.answer
        return np.full((len(given.rows), 1), self.answer, np.float32)


@pytest.mark.parametrize("answer", [ArtifactError("lost its weights"), float("nan"), float("inf")])
@pytest.mark.parametrize(("light", "policy"), [(True, "home/light"), (False, "home/blend")])
def test_a_ranker_that_fails_leaves_the_order_to_the_stage_before(made: Small, answer, light: bool, policy: str):
    feed = made.feed(config=FeedConfig(light_ranker=light))
    broken = Feed(type(feed.parts)(**{**vars(feed.parts), "ranker": FailingRanker(answer)}), feed.store, feed.settings)
    page = ask(broken)
    assert codes(page) == {"ranker_failed"}
    assert len(page.items) == 25
    assert page.served["policy"] == policy


def test_a_source_that_fails_leaves_the_page_to_the_newest(made: Small):
    class Failing:
        name = "nearest"

        def candidates(self, request, k):
            raise ArtifactError("the index is gone")

    feed = made.feed()
    feed.parts.retrieval.sources[0] = Failing()
    page = ask(feed)
    assert {"source_failed", "few_candidates"} <= codes(page)
    assert len(page.items) == 25


def test_a_store_that_is_not_there(made: Small):
    feed = made.feed(store=DeadStore())
    page = ask(feed)
    assert codes(page) == {"store_unreachable", "not_logged"}
    assert len(page.items) == 25


def test_pages_do_not_repeat_without_a_store(made: Small):
    feed = made.feed(store=DeadStore())
    seen, cursor = [], None
    for _ in range(8):
        page = ask(feed, cursor=cursor)
        seen += page.items.item_ids
        cursor = page.next_cursor
        assert len(cursor) < 4000  # the cursor carries what was shown, up to a bound
    assert len(set(seen)) == len(seen) == 200


def test_a_store_that_dies_between_two_pages(made: Small):
    alive = made.feed()
    cursor = ask(alive).next_cursor
    page = ask(made.feed(store=DeadStore()), cursor=cursor)
    assert {"cursor_lost", "store_unreachable"} <= codes(page)
    assert len(page.items) == 25


def test_a_store_that_dies_while_a_page_is_written(made: Small):
    store = made.store()

    class ReadOnly:
        def __getattr__(self, name):
            return getattr(store, name)

        def log_served(self, served):
            raise StoreError("disk full")

    feed = made.feed(store=ReadOnly())
    first = ask(feed)
    assert codes(first) == {"not_logged"}
    second = ask(feed, cursor=first.next_cursor)
    assert not set(first.items) & set(second.items)


def test_somebody_unknown_and_a_session_without_a_name(made: Small):
    feed = made.feed()
    assert codes(ask(feed, user="never seen")) == {"unknown_user"}
    visitor = ask(feed, user=None, session_id="s1")
    assert codes(visitor) == {"session_only", "unknown_user"}
    assert len(visitor.items) == 25
    feed.store.append([act("save", f"i{6 * n:03d}", user=None, session_id="s1", time_ms=NOW_MS - n - 1) for n in range(5)])
    again = ask(feed, user=None, session_id="s1")
    assert codes(again) == {"session_only"}
    assert sum(int(item_id[1:]) % 6 == 0 for item_id in again.items) >= 3  # the session's own saves count


def test_a_user_who_only_looked(made: Small):
    feed = made.feed()
    ask(feed, user="looker")
    assert codes(ask(feed, user="looker")) == {"empty_history"}


def test_fewer_items_than_asked_for(made: Small):
    page = ask(made.feed(), k=25, filter={"category": "cake", "price_max": 5000})  # items 2, 8, 14 .. 44: eight cakes up to 50
    assert len(page.items) == 8
    assert codes(page) >= {"short_catalogue"}
    assert page.next_cursor is None


def test_seen_items_come_back_before_the_page_is_short(made: Small):
    feed = made.feed()
    feed.store.append([act("save", f"i{2 + 6 * n:03d}", user="ann", time_ms=NOW_MS - n - 1) for n in range(48)])
    feed.store.append([act("hide", "i296", user="ann")])
    page = ask(feed, user="ann", k=25, filter={"category": "cake"})  # fifty cakes: one left, one hidden, 48 acted on
    assert "seen_again" in codes(page)
    assert len(page.items) == 25
    assert "i296" not in page.items


def test_another_tenant_sees_nothing_of_this_one(made: Small):
    page = ask(made.feed(), tenant="other")
    assert len(page.items) == 0
    assert "other_tenant" in codes(page)


@pytest.mark.parametrize("role", ["pinnerformer", "user_vectors", "light_ranker", "ranker"])
def test_a_part_that_another_version_wrote_is_left_out(made: Small, tmp_path, role: str):
    artifact = made.artifacts[role]
    strange = {**artifact.config, "settings": {"unheard": 1}, "heads": 7}
    named = {"tensors": {"strange": np.zeros(1)}, "tables": {"users": pl.DataFrame({"who": ["u1"]})}}
    foreign = write_artifact(tmp_path, role, "x", config=strange, **named)
    page = ask(loaded(made, {**made.artifacts, role: foreign}))
    assert "artifact_unusable" in codes(page)
    assert len(page.items) == 25


def test_without_sense_from_the_light_ranker_the_order_of_the_sources_chooses(made: Small):
    feed = made.feed()
    broken = Feed(replace(feed.parts, light=FailingLight()), feed.store, feed.settings)
    page = ask(broken)
    assert codes(page) == {"light_ranker_failed"}
    assert page.counts["full_candidates"] == 120
    assert page.counts["light_candidates"] == 0
    assert page.served["policy"] == "home/pointwise"


class FailingLight:
    """A light ranker that answers with no number."""

    def scores(self, request, rows, weights):
        return np.full(len(rows), np.nan, np.float32)


def test_without_graph_vectors_their_encoder_is_left_out_and_the_rest_stays(made: Small):
    feed = loaded(made, {name: artifact for name, artifact in made.artifacts.items() if name != "graph_index"})
    page = ask(feed)
    assert len(set(page.items)) == 25
    assert codes(page) == {"no_graph_vectors", "artifact_unusable"}
    assert feed.parts.graph_encoder is None
    assert feed.parts.light is not None


def test_a_graph_without_an_edge_is_left_out(made: Small, tmp_path):
    ids = made.vectors.ids
    empty = Graphs(
        ids, {"board": BipartiteGraph.of("board", pl.DataFrame({"left": [], "right": []}, {"left": pl.String, "right": pl.String}), ids)}
    )
    artifact = write_artifact(tmp_path, "graphs", "a", tensors=empty.tensors(), tables=empty.tables())
    feed = loaded(made, {**made.artifacts, "graphs": artifact})
    page = ask(feed)
    assert codes(page) == {"no_graph"}
    assert feed.parts.walks is None
    assert len(page.items) == 25
