"""Explanations: why an item is on the page, and why another is not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from corkboard.errors import ArtifactError, NotFound
from corkboard.feed.config import DiversityConfig, ExplorationConfig, FeedConfig
from corkboard.feed.explain import explain
from corkboard.feed.home import Feed
from corkboard.feed.page import RecommendRequest
from feed.builders import NOW_MS, Small, act


def ask(feed: Feed, user: str = "u1", k: int = 25, **more):
    return feed.recommend(RecommendRequest(user_id=user, k=k, now_ms=NOW_MS, **more))


def test_an_item_on_the_page(made: Small):
    feed = made.feed()
    page = ask(feed)
    told = feed.explain(page.request_id, page.items.item_ids[4])
    assert json.loads(json.dumps(told)) == told
    assert told["on_page"]
    assert told["sources"] == list(page.items.sources[4])
    stages = told["stages"]
    assert stages["page"]["rank"] == 5
    assert 1 <= stages["ranker"]["rank"] <= stages["ranker"]["of"]
    assert 1 <= stages["candidates"]["rank"] <= stages["candidates"]["of"] == len(page.served["trace"]["candidates"])
    assert set(told["heads"]) == {"click", "save", "hide"}
    assert sum(told["utility"].values()) == pytest.approx(page.items.scores[4], rel=1e-4)
    assert told["utility"]["save"] == pytest.approx(told["heads"]["save"] * feed.weights.save)
    assert len(told["features"]) == feed.settings.explained_features
    assert told["features"][0]["feature"] == "similar_100"  # the ranker of the fixture is set to look at it most
    assert told["features"][0]["effect"] != 0
    newest = feed.store.state("u1").sequence(5)
    assert [entry["item_id"] for entry in told["inputs"]["recent_actions"]] == [action.item_id for action in newest]
    assert told["inputs"]["user_vector"]["space"] == str(made.embeddings.space)
    assert told["inputs"]["user_vector"]["hours"] > 24


def test_ranks_by_the_ranker_are_those_of_the_scores(made: Small):
    feed = made.feed(config=FeedConfig(diversity=DiversityConfig(enabled=False)))
    page = ask(feed, user="stranger")  # nothing was shown before: the page is in the ranker's order
    told = [feed.explain(page.request_id, item_id)["stages"] for item_id in page.items]
    assert [stages["page"]["rank"] for stages in told] == list(range(1, 26))
    assert [stages["ranker"]["rank"] for stages in told] == sorted(stages["ranker"]["rank"] for stages in told)
    assert told[0]["ranker"]["rank"] == 1


def test_on_request_every_item_comes_with_its_explanation(made: Small):
    page = ask(made.feed(), explain=True, k=6)
    assert [told["item_id"] for told in page.explanations] == page.items.item_ids
    entry = page.to_dict()["items"][2]
    assert entry["explanation"]["on_page"]
    assert json.dumps(page.to_dict())
    assert ask(made.feed(), k=6).explanations == ()


def test_items_that_are_not_on_the_page_and_why(made: Small):
    feed = made.feed()
    feed.store.append([act("hide", "i001", user="u1"), act("save", "i007", user="u1"), act("block", creator_id="c13", user="u1")])
    first = ask(feed)
    page = ask(feed, cursor=first.next_cursor, filter={"category": ["shirt", "cake", "lamp"]})

    def rules(item_id: str) -> list[str]:
        told = feed.explain(page.request_id, item_id)
        assert json.loads(json.dumps(told)) == told
        assert not told["on_page"]
        assert told["why"]
        return [rule["rule"] for rule in told["rules"]]

    assert rules("i001") == ["hidden"]
    assert "acted" in rules("i007")
    assert "blocked_creator" in rules("i013")
    earlier = next(item_id for item_id in first.items if int(item_id[1:]) % 6 in (0, 1, 2))
    assert "on_this_chain" in rules(earlier)
    bike = next(f"i{n:03d}" for n in range(3, 300, 6) if f"i{n:03d}" not in first.items)
    assert rules(bike) == []  # the filter
    assert "filter" in feed.explain(page.request_id, bike)["why"]
    assert "cannot be had" in feed.explain(first.request_id, "unheard of")["why"]


def test_a_candidate_that_others_beat_and_one_that_a_cap_kept_out(made: Small):
    feed = made.feed(config=FeedConfig(diversity=DiversityConfig(strength=0.0, max_category_share=0.3)))
    page = ask(feed)
    trace = page.served["trace"]
    capped = next(iter(trace["capped"]))
    told = feed.explain(page.request_id, capped)
    assert [rule["rule"] for rule in told["rules"]][-1].endswith("_cap")
    assert "already had its share" in told["why"]
    ranked = [trace["candidates"][place] for place in trace["kept"]]
    beaten = next(item_id for item_id in reversed(ranked) if item_id not in trace["capped"] and item_id not in page.items)
    told = feed.explain(page.request_id, beaten)
    standing = told["stages"]["ranker"]
    assert told["why"] == f"It was a candidate, ranked {standing['rank']} of 120 by the full ranker, and others were better or less alike."
    assert told["stages"]["light"]["of"] == len(trace["candidates"])
    assert told["stages"]["ranker"]["of"] == len(ranked) == 120


def test_a_candidate_that_the_light_ranker_kept_out(made: Small):
    feed = made.feed()
    page = ask(feed)
    trace = page.served["trace"]
    places = sorted(set(range(len(trace["candidates"]))) - set(trace["kept"]))
    assert (page.counts["light_candidates"], page.counts["full_candidates"]) == (len(trace["candidates"]), len(trace["kept"]))
    assert max(trace["light"][place] for place in places) <= min(trace["light"][place] for place in trace["kept"])
    told = feed.explain(page.request_id, trace["candidates"][places[0]])
    assert "by the light ranker; the best 120 went on" in told["why"]
    assert list(told["stages"]) == ["candidates", "light"]
    assert told["stages"]["light"]["rank"] > 120


@pytest.mark.parametrize("how", ["switched off", "missing", "failed"])
def test_a_candidate_that_was_cut_without_a_light_ranker(made: Small, how: str):
    feed = made.feed(without=["light_ranker"] if how == "missing" else [], config=FeedConfig(light_ranker=how != "switched off"))
    if how == "failed":
        feed = Feed(replace(feed.parts, light=NoNumbers()), feed.store, feed.settings)
    page = ask(feed)
    trace = page.served["trace"]
    count = len(trace["candidates"])
    assert trace["kept"] == list(range(120)) != list(range(count))
    for place in (120, count - 1):
        told = feed.explain(page.request_id, trace["candidates"][place])
        assert told["why"] == f"It was a candidate, ranked {place + 1} of {count} by the sources; the first 120 went on."
        assert list(told["stages"]) == ["candidates"]


class NoNumbers:
    """A light ranker that answers with no number."""

    def scores(self, request, rows, weights):
        return np.full(len(rows), np.nan, np.float32)


class Failing:
    """A ranker that can do nothing at all."""

    heads = ("click", "save", "hide")

    def score(self, given):
        raise ArtifactError("lost its weights")

    def contributions(self, features, head_weights, given=None):
        raise ArtifactError("lost its weights")


@pytest.mark.parametrize("how", ["missing", "failed"])
@pytest.mark.parametrize(("light", "before"), [(True, "the light ranker"), (False, "the sources")])
def test_a_full_ranker_that_never_ran_ranked_nothing(made: Small, how: str, light: bool, before: str):
    feed = made.feed(without=["ranker"] if how == "missing" else [], config=FeedConfig(light_ranker=light))
    if how == "failed":
        feed = Feed(replace(feed.parts, ranker=Failing()), feed.store, feed.settings)
    page = ask(feed, explain=True)
    trace, stages = page.served["trace"], ["candidates", *(["light"] if light else [])]
    count = len(trace["candidates"])
    assert list(page.counts) == ["source_candidates", "light_candidates", "full_candidates"]
    assert list(page.counts.values()) == [count, count if light else 0, 0]
    assert trace["full_candidates"] == 0
    assert len(trace["kept"]) == (count if how == "missing" else 120)
    for told in page.explanations:
        assert list(told["stages"]) == [*stages, "page"]
        assert {feature["effect"] for feature in told["features"]} == {None}
    kept = [trace["candidates"][place] for place in trace["kept"]]
    told = feed.explain(page.request_id, next(item for item in reversed(kept) if item not in page.items and item not in trace["capped"]))
    assert list(told["stages"]) == stages
    rank = told["stages"][stages[-1]]["rank"]
    assert told["why"] == f"It was a candidate, ranked {rank} of {count} by {before}, and others were better or less alike."


def test_fatigue_and_random_order_are_named(made: Small):
    feed = made.feed(config=FeedConfig(exploration=ExplorationConfig(share=1.0)))
    ask(feed, user="looker")
    page = ask(feed, user="looker")
    told = [feed.explain(page.request_id, item_id) for item_id in page.items]
    assert all({"random_order"} <= {rule["rule"] for rule in one["rules"]} for one in told)
    assert any("fatigue" in {rule["rule"] for rule in one["rules"]} for one in told)


def test_without_a_trace_and_without_a_ranker_less_is_told(made: Small):
    feed = made.feed(without=["ranker"], config=FeedConfig(trace=False))
    page = ask(feed)
    assert "trace" not in page.served
    told = feed.explain(page.request_id, page.items.item_ids[0])
    assert told["on_page"]
    assert told["heads"] == {}
    assert told["utility"] == {}
    assert list(told["stages"]) == ["page"]
    assert told["features"][0]["effect"] is None
    missing = next(f"i{n:03d}" for n in range(300) if f"i{n:03d}" not in page.items)
    assert "kept no trace" in feed.explain(page.request_id, missing)["why"]
    lake_row = {name: value for name, value in page.served.items() if name != "chain"}
    assert explain(lake_row, page.items.item_ids[0])["sources"] == list(page.items.sources[0])


def test_a_page_of_an_older_version_lacks_features_and_is_explained_without_effects(made: Small):
    feed = made.feed()
    page = ask(feed)
    row = feed.store.served(page.request_id)
    older = row | {
        "feature_names": row["feature_names"][:-8],
        "slots": [slot | {"features": slot["features"][:-8]} for slot in row["slots"]],
    }
    told = feed._explained(older, page.items.item_ids[0])
    assert told["on_page"]
    assert len(told["features"]) == feed.settings.explained_features
    assert {entry["effect"] for entry in told["features"]} == {None}
    turned = [slot | {"features": slot["features"][::-1]} for slot in row["slots"]]
    other_order = feed._explained(row | {"feature_names": row["feature_names"][::-1], "slots": turned}, page.items.item_ids[0])
    assert other_order["features"] == feed._explained(row, page.items.item_ids[0])["features"]


def test_another_release_does_not_explain_with_its_own_ranker(made: Small):
    store = made.store()
    page = ask(made.feed(store=store))
    other = made.feed(store=store, without=["ranker"])
    told = other.explain(page.request_id, page.items.item_ids[0])
    assert set(told["heads"]) == {"click", "save", "hide"}
    assert told["features"][0]["effect"] is None


def test_a_page_that_is_not_there(made: Small):
    with pytest.raises(NotFound):
        made.feed().explain("nothing", "i001")
