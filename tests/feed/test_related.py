"""Pages beside an item: what is on them, that they stay about the item, and what is left when something is missing."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from corkboard.errors import ArtifactError, InputError
from corkboard.feed.config import DiversityConfig, ExplorationConfig, FeedConfig, RelatedPageConfig, SeenConfig
from corkboard.feed.home import SURFACES_SERVED, Feed
from corkboard.feed.page import Page, RecommendRequest
from corkboard.feed.parts import ROLES
from corkboard.feed.related import relevance
from corkboard.ranking.config import UtilityWeights
from corkboard.ranking.features import BESIDE_NAMES
from feed.builders import NEVER_TIRED, NOW_MS, DeadStore, Small, act, topic_of

TENT = "i215"
"""On three public boards."""


def beside(feed: Feed, item_id: str = TENT, user: str = "u3", k: int = 25, now_ms: int = NOW_MS, **more) -> Page:
    return feed.recommend(RecommendRequest(surface="related", item_id=item_id, user_id=user, k=k, now_ms=now_ms, **more))


def codes(page: Page) -> set[str]:
    return {entry.code for entry in page.notes}


def topics(page: Page) -> Counter[str]:
    return Counter(topic_of(item_id) for item_id in page.items)


class ByRow:
    """A ranker that wants saves of the items with the highest rows, or the lowest: it knows nothing of what an item goes with."""

    heads = ("save",)

    def __init__(self, sign: int = 1):
        self.sign = sign

    def score(self, given):
        return (0.5 + 0.4 * self.sign * np.tanh((given.rows - 150) / 150))[:, None].astype(np.float32)


def with_ranker(feed: Feed, ranker, config: FeedConfig | None = None) -> Feed:
    return Feed(replace(feed.parts, ranker=ranker), feed.store, config or feed.settings)


def plain(weight: float) -> FeedConfig:
    """Only utility and relevance count."""
    return FeedConfig(
        seen=SeenConfig(fatigue=0.0, max_times=1000),
        related=RelatedPageConfig(relevance_weight=weight, diversity=DiversityConfig(enabled=False)),
    )


def test_a_page_is_about_its_item(made: Small):
    feed = made.feed()
    page = beside(feed)
    assert len(set(page.items)) == 25
    assert TENT not in page.items
    assert codes(page) == set()
    assert topics(page)["tent"] >= 13  # u3 likes bikes
    row = feed.store.served(page.request_id)
    assert (row["surface"], row["context_item_id"], row["policy"]) == ("related", TENT, "related/pointwise")
    assert page.counts["light_candidates"] == 0  # the light ranker does not read the item
    assert page.counts["full_candidates"] == 120
    sources = {source for sources in page.items.sources for source in sources}
    assert {"pixie", "related_vectors", "related_content"} <= sources
    assert all(page.items.reasons)
    home = feed.recommend(RecommendRequest(user_id="u3", now_ms=NOW_MS, log=False))
    assert topics(home)["tent"] < topics(page)["tent"]


def test_two_users_get_their_own_order(made: Small):
    feed = made.feed()
    first, second = (beside(feed, user=user, log=False).items.item_ids for user in ("u3", "u4"))
    assert first != second
    assert len(set(first) & set(second)) > 5  # what belongs to the item does so for both


def test_the_ranker_is_told_of_the_item(made: Small):
    class Watching(ByRow):
        def score(self, given):
            self.given = given
            return super().score(given)

    ranker, feed = Watching(), made.feed()
    page = beside(with_ranker(feed, ranker), log=False)
    assert (ranker.given.surface, ranker.given.beside) == ("related", feed.catalogue.row(TENT))
    names = page.served["feature_names"]
    slots = {slot["item_id"]: dict(zip(names, slot["features"], strict=True)) for slot in page.served["slots"]}
    vectors, _ = feed.parts.items.vectors(feed.catalogue.rows([TENT, *slots]))
    assert all(features["beside_known"] == 1.0 for features in slots.values())
    np.testing.assert_allclose([features["beside_content"] for features in slots.values()], vectors[1:] @ vectors[0], rtol=1e-4, atol=1e-5)
    assert {item_id for item_id, features in slots.items() if features["beside_category"]} == {
        item_id for item_id in slots if topic_of(item_id) == "tent"
    }
    home = feed.recommend(RecommendRequest(user_id="u3", item_id=TENT, now_ms=NOW_MS, log=False))  # home logs an item, and is not beside it
    columns = [names.index(name) for name in BESIDE_NAMES]
    assert not any(np.asarray(slot["features"])[columns].any() for slot in home.served["slots"])
    assert home.served["context_item_id"] == TENT


def test_relevance_is_weighed_against_utility(made: Small):
    """The ranker of this test likes high rows; the weight decides between what it wants and what belongs to the item."""
    feed = made.feed()
    mean_rows, mean_blend = [], []
    for weight in (0.0, 1.0, 1e6):
        page = beside(with_ranker(feed, ByRow(), plain(weight)), log=False)
        trace = page.served["trace"]
        blend = dict(zip(trace["candidates"], trace["blend"], strict=True))
        mean_rows.append(np.mean(feed.catalogue.rows(page.items.item_ids)))
        mean_blend.append(np.mean([blend[item_id] for item_id in page.items]))
    assert mean_rows[0] > mean_rows[1] > mean_rows[2]
    assert mean_blend[0] < mean_blend[1] < mean_blend[2]
    alone = beside(with_ranker(feed, ByRow(), plain(0.0)), log=False)
    ranked = sorted((alone.served["trace"]["candidates"][place] for place in alone.served["trace"]["kept"]), reverse=True)
    assert alone.items.item_ids == ranked[:25]  # at 0 the ranker's order, and nothing else
    first = beside(with_ranker(feed, ByRow(), plain(1e6)), log=False)
    assert first.items.item_ids == first.served["trace"]["candidates"][:25]  # and at a million that of the sources


def test_relevance_by_hand():
    blend = np.array([3.0, 1.0, 2.0])
    np.testing.assert_allclose(relevance(blend, 0.5), 0.5 * np.array([1, -1, 0]) * np.sqrt(1.5))
    assert relevance(blend, 0.0).tolist() == [0, 0, 0]
    assert relevance(np.ones(2), 0.5).tolist() == [0, 0]


def test_home_is_what_it_was(made: Small):
    """The weight of relevance changes no page of home."""
    pages = [
        with_ranker(made.feed(), ByRow(), plain(weight)).recommend(RecommendRequest(user_id="u3", now_ms=NOW_MS, log=False))
        for weight in (0.0, 100.0)
    ]
    assert pages[0].items.item_ids == pages[1].items.item_ids
    assert pages[0].served["trace"]["relevance"] == {}


def test_the_category_of_the_item_may_fill_its_page(made: Small):
    capped = RelatedPageConfig(diversity=DiversityConfig(max_category_share=0.4))
    pages = [beside(made.feed(config=FeedConfig(related=related)), log=False) for related in (capped, RelatedPageConfig())]
    assert topics(pages[0])["tent"] == 10
    assert topics(pages[1])["tent"] > 12


def test_rules_hold(made: Small):
    feed = made.feed()
    first = beside(feed, log=False)
    hidden, blocked = first.items.item_ids[0], int(first.items.item_ids[1][1:]) % 23
    feed.store.append([act("hide", hidden, user="u3"), act("block", creator_id=f"c{blocked}", user="u3")])
    page = beside(feed, filter={"exclude_ids": [first.items.item_ids[2]]})
    assert hidden not in page.items
    assert first.items.item_ids[2] not in page.items
    assert all(int(item_id[1:]) % 23 != blocked for item_id in page.items)
    assert page.served["trace"]["dropped"]["beside"] == [TENT]
    told = feed.explain(page.request_id, TENT)
    assert told["why"] == "It was left out: it is the item that the page is beside."


def test_the_item_does_not_come_back_where_seen_ones_do(made: Small):
    feed = made.feed()
    feed.store.append([act("save", f"i{5 + 6 * n:03d}", NOW_MS - n - 1, "ann") for n in range(50)])
    page = beside(feed, user="ann", filter={"category": "tent"}, k=49)
    assert "seen_again" in codes(page)
    assert len(page.items) == 49
    assert TENT not in page.items


def test_a_chain_of_pages_never_repeats(made: Small):
    feed = made.feed(config=NEVER_TIRED)
    seen, cursor = [], None
    for number in range(5):
        page = beside(feed, cursor=cursor, now_ms=NOW_MS + number)
        seen += page.items.item_ids
        cursor = page.next_cursor
    assert len(set(seen)) == len(seen) == 125
    assert TENT not in seen


def test_a_related_page_needs_an_item(made: Small):
    with pytest.raises(InputError, match="beside an item"):
        made.feed().recommend(RecommendRequest(surface="related", user_id="u3", now_ms=NOW_MS))
    assert SURFACES_SERVED == ("home", "related", "visual", "search", "shop", "shop_the_look", "complete_the_look")


def test_an_unknown_item_gets_what_home_would_show(made: Small):
    feed = made.feed()
    page = beside(feed, "unheard of", log=False)
    home = feed.recommend(RecommendRequest(user_id="u3", now_ms=NOW_MS, log=False))
    assert codes(page) == {"unknown_item"}
    assert page.items.item_ids == home.items.item_ids
    assert page.counts == home.counts  # the light ranker included
    assert (page.served["surface"], page.served["context_item_id"]) == ("related", "unheard of")
    columns = [page.served["feature_names"].index(name) for name in BESIDE_NAMES]
    assert not any(np.asarray(slot["features"])[columns].any() for slot in page.served["slots"])


def test_an_item_that_cannot_be_had_may_be_asked_beside(made: Small):
    feed = made.feed()
    gone = {"event": "item", "time_ms": NOW_MS - 5, "tenant": "default", "item_id": TENT, "category": "tent", "title": "small red tent"}
    feed.add_items([gone | {"available": False}])
    page = beside(feed, log=False)
    assert codes(page) == set()
    assert topics(page)["tent"] >= 9
    feed.add_items([gone | {"time_ms": NOW_MS - 4, "deleted": True}])  # its vectors are gone, its place in the graph is not
    page = beside(feed, log=False)
    assert len(page.items) == 25
    assert "pixie" in {source for sources in page.items.sources for source in sources}


def test_a_live_item_has_a_page_at_once(made: Small):
    feed = made.feed()
    feed.add_items([{"event": "item", "time_ms": NOW_MS - 5, "tenant": "default", "item_id": "live", "title": "tent", "category": "tent"}])
    page = beside(feed, "live", log=False)
    assert codes(page) == set()
    assert topics(page)["tent"] >= 10
    assert {source for sources in page.items.sources for source in sources} == {"related_vectors", "related_content"}


@pytest.mark.parametrize(
    ("without", "sources"),
    [
        (["graphs"], {"related_vectors", "related_content", "item_knn", "same_board"}),
        (["index", "graph_index"], {"pixie", "item_knn", "same_board"}),
        (["graphs", "index", "graph_index", "boards"], {"item_knn"}),
    ],
)
def test_without_some_of_its_sources(made: Small, without: list[str], sources: set[str]):
    kept = {role: artifact for role, artifact in made.artifacts.items() if role not in without}
    feed = Feed.load(type(made.release())("by hand", "by hand", kept, 0), made.store())
    page = beside(feed, k=5, log=False)
    assert len(page.items) == 5
    assert "few_related" not in codes(page)
    assert set(page.served["trace"]["source_names"]) - {"any"} <= sources


def test_where_nothing_is_related_home_fills_the_page(made: Small):
    unrelated = ["graphs", "index", "graph_index", "boards", "item_knn", "ranker_item_knn", "multibisage"]
    kept = {role: artifact for role, artifact in made.artifacts.items() if role not in unrelated}
    feed = Feed.load(type(made.release())("by hand", "by hand", kept, 0), made.store())
    page = beside(feed)
    assert len(set(page.items)) == 25
    assert "few_related" in codes(page)
    assert {"popular_7d", "pinnerformer"} & {source for sources in page.items.sources for source in sources}


def test_home_fills_behind_what_is_related(made: Small):
    """Ten items go with the item, and the ranker would rather have none of them: they are first all the same where relevance counts."""
    feed = made.feed()
    few = [f"i{n:03d}" for n in range(0, 60, 6)]

    class Few:
        name = "related_content"

        def candidates(self, request, k):
            rows = request.catalogue.rows(few)
            return type(feed.parts.retrieval.sources[0].candidates(request, 1))(
                rows, np.linspace(1, 0.5, len(rows)).astype(np.float32), np.full(len(rows), request.beside)
            )

    related = type(feed.parts.related)([Few()], feed.parts.related.settings)
    changed = Feed(replace(feed.parts, related=related, ranker=ByRow()), feed.store, plain(3.0))
    page = beside(changed)
    assert "few_related" in codes(page)
    assert len(set(page.items)) == 25
    assert set(page.items.item_ids[:10]) == set(few)
    assert all("related_content" in sources for sources in page.items.sources[:10])
    assert not any("related_content" in sources for sources in page.items.sources[10:])


def test_a_source_that_fails(made: Small):
    class Failing:
        name = "pixie"

        def candidates(self, request, k):
            raise ArtifactError("the graph is gone")

    feed = made.feed()
    feed.parts.related.sources[0] = Failing()
    page = beside(feed)
    assert {"source_failed", "few_related"} <= codes(page)
    assert len(set(page.items)) == 25


@pytest.mark.parametrize("answer", [ArtifactError("lost its weights"), float("nan")])
def test_without_the_rankers_answer_the_sources_order_the_page(made: Small, answer):
    class Failing(ByRow):
        def score(self, given):
            if isinstance(answer, Exception):
                raise answer
            return np.full((len(given.rows), 1), answer, np.float32)

    page = beside(with_ranker(made.feed(), Failing(), plain(0.5)), log=False)
    assert codes(page) == {"ranker_failed"}
    assert page.served["policy"] == "related/blend"
    assert page.items.item_ids == page.served["trace"]["candidates"][:25]


def test_with_a_catalogue_alone_and_with_a_store_that_is_not_there(made: Small):
    page = beside(made.feed(without=[role for role in ROLES if role != "catalogue"]))
    assert len(set(page.items)) == 25
    assert {"no_graph", "no_graph_vectors", "no_graph_encoder", "few_related"} <= codes(page)
    page = beside(made.feed(store=DeadStore()))
    assert codes(page) == {"store_unreachable", "not_logged"}
    assert topics(page)["tent"] >= 10


def test_another_tenant_sees_nothing(made: Small):
    page = beside(made.feed(), tenant="other")
    assert len(page.items) == 0
    assert "other_tenant" in codes(page)


def test_random_pages_hold_the_same_items_and_log_their_propensity(made: Small):
    mixed = beside(made.feed(config=FeedConfig(exploration=ExplorationConfig(share=1.0))), log=False)
    ordered = beside(made.feed(), log=False)
    assert {slot["propensity"] for slot in mixed.served["slots"]} == {1 / 25}
    assert {slot["propensity"] for slot in ordered.served["slots"]} == {None}
    assert "random_order" in mixed.served["flags"]
    assert set(mixed.items) == set(ordered.items)
    assert mixed.items.item_ids != ordered.items.item_ids


def test_weights_count_here_too(made: Small):
    feed = made.feed(config=plain(0.1))
    feed.store.append([act("hide", f"i{1 + 6 * n:03d}", NOW_MS - n, "u3") for n in range(3)])
    careless = beside(feed.with_weights(UtilityWeights(hide=0.0)), "i007", log=False)
    assert beside(feed, "i007", log=False).items.item_ids != careless.items.item_ids


def test_what_an_explanation_says(made: Small):
    feed = made.feed()
    page = beside(feed)
    nearest, last = page.served["trace"]["candidates"][0], page.served["trace"]["candidates"][119]
    for item_id, sign in ((nearest, 1), (last, -1)):
        told, worth = feed.explain(page.request_id, item_id), page.served["trace"]["relevance"][item_id]
        assert told["beside"] == TENT
        (rule,) = [rule for rule in told["rules"] if rule["rule"] == "relevance"]
        assert rule["effect"] == f"how it belongs to the item beside adds {worth:+.2f} standard deviations of the scores"
        assert worth * sign > 0
    home = feed.recommend(RecommendRequest(user_id="u3", now_ms=NOW_MS))
    assert "beside" not in feed.explain(home.request_id, home.items.item_ids[0])


def test_reasons_name_the_item(made: Small):
    page = beside(made.feed(), log=False)
    title = "“tall tent small”"
    seen = set(page.items.reasons)
    assert seen <= {
        f"{start} {title}"
        for start in ("Often put together with", "On the same boards as", "Goes with", "Found beside things like", "Like")
    }
    assert len(seen) > 1


def test_warming_up_makes_a_page_beside_an_item_too(made: Small, monkeypatch: pytest.MonkeyPatch):
    feed, asked = made.feed(), []
    recommend = Feed.recommend
    monkeypatch.setattr(Feed, "recommend", lambda self, request: (asked.append(request.surface), recommend(self, request))[1])
    feed.warm_up()
    assert asked == ["home", "related"]
    assert feed.store.sequence() == 0
