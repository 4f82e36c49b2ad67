"""Somebody else's list in the order for a person: what counts, what stays, what is said, and what is logged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from ranking.builders import DAY_MS, lake_of

from corkboard.errors import ConfigError, CorkboardError, InputError
from corkboard.feed.config import FeedConfig
from corkboard.feed.diversity import standardise
from corkboard.feed.home import Feed
from corkboard.feed.page import RecommendRequest
from corkboard.feed.reorder import FLAGS, LIST_NOTES, MAX_ITEMS, MAX_RELEVANCE_WEIGHT, RankRequest, as_given, reorder
from corkboard.ranking.config import RowsConfig
from corkboard.ranking.features import POSITION_COLUMN
from corkboard.ranking.request import RequestSide
from corkboard.ranking.rows import rows_from_served
from corkboard.ranking.utility import utility
from corkboard.seeds import generator
from feed.builders import MIDNIGHT_MS, NOW_MS, DeadStore, Small, act, topic_of

ITEMS = [f"i{n:03d}" for n in range(30)]


def ranked(feed: Feed, items=ITEMS, user: str | None = "u1", **more):
    return reorder(feed, RankRequest(list(items), **{"user_id": user, "now_ms": NOW_MS, "log": False, **more}))


def codes(answer) -> set[str]:
    return {note.code for note in answer.notes}


def by_id(answer) -> dict:
    return {item.item_id: item for item in answer.items}


def liking_shirts(made: Small, **options) -> Feed:
    """A feed whose user ann has just saved three shirts (i001, i007, i013 are shirts)."""
    feed = made.feed(**options)
    feed.store.append([act("save", item_id, NOW_MS - 1000 * (1 + n)) for n, item_id in enumerate(("i001", "i007", "i013"))])
    return feed


class Broken:
    """A ranker that fails, or that answers with what is no number."""

    heads = ("click", "save", "hide")

    def __init__(self, fails: bool):
        self._fails = fails

    def score(self, given):
        if self._fails:
            raise CorkboardError("It broke")
        return np.full((len(given.rows), 3), np.nan, np.float32)


def with_ranker(feed: Feed, ranker) -> Feed:
    return Feed(replace(feed.parts, ranker=ranker), feed.store, feed.settings, feed.weights)


# ------------------------------------------------------------------------------------------------------------ the order


def test_the_order_is_that_of_the_utility_which_the_ranker_gives(made):
    feed = liking_shirts(made)
    answer = ranked(feed, user="ann", relevance_weight=0.0)
    side = RequestSide.of(feed.store.state("ann", "default"), NOW_MS, "home", feed.parts.items)
    rows = feed.catalogue.rows(ITEMS)
    probabilities = feed.parts.ranker.score(side.ranker_input(rows, side.features(rows)))
    expected = utility(feed.parts.ranker.heads, probabilities, feed.weights)
    assert answer.item_ids == [ITEMS[place] for place in np.argsort(-expected, kind="stable")]
    for item in answer.items:
        place = ITEMS.index(item.item_id)
        assert (item.old_rank, item.relevance) == (place + 1, 0.0)
        assert item.utility == pytest.approx(float(expected[place]), rel=1e-5)
        assert list(item.heads.values()) == pytest.approx(probabilities[place].tolist(), rel=1e-5)
    assert [item.rank for item in answer.items] == list(range(1, 31))


def test_a_save_of_a_second_ago_moves_what_is_like_it_up(made):
    feed = made.feed()
    before = by_id(ranked(feed, user="ann", relevance_weight=0.0))
    feed.store.append([act("save", "i031", NOW_MS - 1000)])  # a shirt that is not on the list
    after = by_id(ranked(feed, user="ann", relevance_weight=0.0))

    def mean_rank(items) -> float:
        return float(np.mean([item.rank for item_id, item in items.items() if topic_of(item_id) == "shirt"]))

    assert mean_rank(after) < mean_rank(before) - 5


def test_worth_is_utility_and_the_callers_score_both_standardised(made):
    feed, scores = made.feed(), generator(3, "scores").normal(5.0, 2.0, len(ITEMS))
    answer = by_id(ranked(feed, scores=scores.tolist(), relevance_weight=0.7))
    plain = by_id(ranked(feed, relevance_weight=0.0))
    expected = standardise(np.array([plain[item_id].utility for item_id in ITEMS])) + 0.7 * standardise(scores)
    assert [answer[item_id].worth for item_id in ITEMS] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [item.worth for item in answer.values()] == sorted((item.worth for item in answer.values()), reverse=True)


def test_without_scores_the_relevance_is_one_over_the_rank_and_the_default_weight_is_that_of_a_search(made):
    answer = by_id(ranked(made.feed(config=FeedConfig(search={"relevance_weight": 3.0}))))
    expected = 3.0 * standardise(1 / np.arange(1, 31))
    assert [answer[item_id].relevance for item_id in ITEMS] == pytest.approx(expected.tolist())


def test_a_large_weight_leaves_the_callers_order(made):
    long = [f"i{n:03d}" for n in generator(4, "long list").permutation(300)]
    feed = liking_shirts(made)
    assert ranked(feed, long, "ann", relevance_weight=MAX_RELEVANCE_WEIGHT).item_ids == long
    scores = np.linspace(0, 1, 300).tolist()
    assert ranked(feed, long, "ann", scores=scores, relevance_weight=1e6).item_ids == long[::-1]


def test_permuting_the_list_changes_nothing_where_its_order_does_not_count(made):
    feed = liking_shirts(made)
    first = ranked(feed, user="ann", relevance_weight=0.0)
    for turn in range(5):
        items = generator(turn, "permutation").permutation(ITEMS).tolist()
        again = ranked(feed, items, "ann", relevance_weight=0.0)
        assert again.item_ids == first.item_ids
        assert [item.utility for item in again.items] == [item.utility for item in first.items]


def test_items_of_equal_worth_stay_in_the_callers_order(made):
    feed = with_ranker(made.feed(), Even())
    items = generator(9, "ties").permutation(ITEMS).tolist()
    assert ranked(feed, items, relevance_weight=0.0).item_ids == items
    scores = [float(n % 2) for n in range(30)]
    assert ranked(feed, items, scores=scores).item_ids == items[1::2] + items[::2]


class Even(Broken):
    """A ranker to whom all are alike, but for the last digits of a float32."""

    def __init__(self):
        super().__init__(False)

    def score(self, given):
        return np.float32(0.25) + np.float32(3e-8) * generator(1, "noise").integers(0, 2, (len(given.rows), 3)).astype(np.float32)


def test_the_same_request_has_the_same_answer(made):
    feed = liking_shirts(made)
    one, two = (ranked(feed, user="ann").to_dict() for _ in range(2))
    assert {**one, "request_id": ""} == {**two, "request_id": ""}


def test_what_else_is_on_the_list_does_not_change_a_score(made):
    feed = liking_shirts(made)
    alone = ranked(feed, ITEMS[:3], "ann")
    among = by_id(ranked(feed, [f"i{n:03d}" for n in range(299, -1, -1)], "ann"))
    for item in alone.items:
        assert item.utility == pytest.approx(among[item.item_id].utility, rel=1e-5)
        assert dict(item.heads) == pytest.approx(dict(among[item.item_id].heads), rel=1e-5)


def test_batches_are_scored_as_one(made, monkeypatch):
    feed = liking_shirts(made)
    items = [f"i{n:03d}" for n in range(300)]
    whole = ranked(feed, items, "ann")
    monkeypatch.setattr("corkboard.feed.reorder._ITEMS_AT_ONCE", 7)
    again = ranked(feed, items, "ann")
    assert again.item_ids == whole.item_ids
    assert [item.utility for item in again.items] == pytest.approx([item.utility for item in whole.items], rel=1e-5)


def test_a_list_beside_an_item_is_compared_with_it_and_one_for_a_query_is_not(made):
    feed = made.feed()
    side = RequestSide.of(feed.store.state("u1", "default"), NOW_MS, "related", feed.parts.items, beside="i031")
    beside = ranked(feed, item_id="i031", log=True).served
    row = feed.catalogue.row(beside["slots"][0]["item_id"])
    assert np.allclose(beside["slots"][0]["features"], side.features(np.array([row]))[0], atol=1e-5)
    assert (beside["surface"], beside["context_item_id"]) == ("related", "i031")
    searched = ranked(feed, query="lamp").served
    assert (searched["surface"], searched["query"], searched["context_item_id"]) == ("search", "lamp", None)
    unknown = ranked(feed, item_id="never seen")
    assert "unknown_item" in codes(unknown)
    assert unknown.item_ids == ranked(feed).item_ids


def test_weights_of_the_request_count_for_it_alone(made):
    feed = made.feed()
    plain, other = ranked(feed, relevance_weight=0.0), ranked(feed, relevance_weight=0.0, weights={"click": -5.0, "save": -5.0})
    assert plain.item_ids != other.item_ids
    assert all(item.utility < 0 for item in other.items)
    assert "utility.save=-5.0" in other.served["flags"]
    assert ranked(feed, relevance_weight=0.0).item_ids == plain.item_ids
    with pytest.raises(ConfigError):
        ranked(feed, weights={"adore": 1.0})


def test_scores_near_the_ends_of_what_a_number_can_hold_are_taken(made):
    feed = made.feed()
    for scores in ([1e308, -1e308, 1e307], [3e-320, 2e-320, 1e-320], [7.0, 7.0, 7.0]):
        answer = ranked(feed, ITEMS[:3], scores=scores)
        assert all(np.isfinite(item.worth) for item in answer.items)
    assert ranked(feed, ITEMS[:3], scores=[1e308, -1e308, 1e307], relevance_weight=1e6).item_ids == ["i000", "i002", "i001"]


# ------------------------------------------------------------------------------------------- unknown and ruled out items


def test_unknown_items_keep_their_places_and_move_no_other(made):
    feed = liking_shirts(made)
    for weight in (0.0, None, 50.0):
        plain = ranked(feed, user="ann", relevance_weight=weight).item_ids
        mixed = [*ITEMS[:2], "x1", *ITEMS[2:20], "x2", "x3", *ITEMS[20:], "x4"]
        answer = ranked(feed, mixed, "ann", relevance_weight=weight)
        assert [item for item in answer.item_ids if not item.startswith("x")] == plain
        assert {item.item_id: (item.rank, item.old_rank) for item in answer.items if item.item_id.startswith("x")} == {
            item_id: (mixed.index(item_id) + 1,) * 2 for item_id in ("x1", "x2", "x3", "x4")
        }
        unknown = by_id(answer)["x2"]
        assert (unknown.utility, unknown.worth, dict(unknown.heads), unknown.reason, unknown.flags) == (None, None, {}, None, ("unknown",))
        assert any(note.code == "unknown_items" and "4 of 34" in note.text for note in answer.notes)


def test_a_list_of_nothing_but_unknown_items_is_as_it_was_and_not_logged(made):
    feed = made.feed()
    answer = ranked(feed, ["b", "a", "c"], log=True)
    assert (answer.item_ids, answer.served) == (["b", "a", "c"], None)
    assert codes(answer) >= {"unknown_items"}
    assert all(value is None for value in (answer.items[0].utility, answer.items[0].reason))


def test_what_a_page_would_leave_out_is_flagged_and_stands_last(made):
    feed = liking_shirts(made)
    creator = feed.catalogue.value("creator_id", feed.catalogue.row("i005"))
    feed.store.append([act("hide", "i003"), act("report", "gone"), act("block", None, creator_id=creator)])
    feed.add_items([{"event": "item", "event_id": "d", "time_ms": NOW_MS, "item_id": "i009", "deleted": True}])
    items = ["gone", *ITEMS]
    answer = ranked(feed, items, "ann", item_id="i011")
    blocked = {item_id for item_id in ITEMS if feed.catalogue.value("creator_id", feed.catalogue.row(item_id)) == creator}
    flags = {item.item_id: item.flags for item in answer.items if item.flags}
    assert flags == {
        "gone": ("unknown", "hidden"),
        "i003": ("hidden",),
        "i009": ("unavailable",),
        "i011": ("beside",),
        **dict.fromkeys(blocked, ("blocked_creator",)),
    }
    assert sorted(answer.item_ids) == sorted(items)
    assert set(answer.item_ids[-len(flags) :]) == set(flags)
    assert any(note.code == "ruled_last" and f"{len(flags)} of 31" in note.text for note in answer.notes)
    free = ranked(feed, items, "ann", item_id="i011", apply_rules=False, relevance_weight=MAX_RELEVANCE_WEIGHT)
    assert free.item_ids == items
    assert {item.item_id: item.flags for item in free.items if item.flags} == flags
    assert "ruled_last" not in codes(free)


def test_an_unknown_item_moves_up_where_too_little_stands_before_it(made):
    feed = liking_shirts(made)
    feed.store.append([act("hide", item_id) for item_id in ITEMS[:3]])
    answer = ranked(feed, [*ITEMS[:4], "x"], "ann")
    assert answer.item_ids[:2] == ["i003", "x"]
    assert set(answer.item_ids[2:]) == set(ITEMS[:3])


def test_a_list_of_another_tenant_is_as_it_was(made):
    answer = ranked(made.feed(), tenant="elsewhere")
    assert answer.item_ids == ITEMS
    assert codes(answer) >= {"other_tenant", "unknown_items"}


# ------------------------------------------------------------------------------------------------------- what is missing


@pytest.mark.parametrize("fails", [True, False])
def test_where_the_ranker_fails_the_order_is_the_callers(made, fails):
    answer = ranked(with_ranker(made.feed(), Broken(fails)), scores=list(range(30)))
    assert answer.item_ids == ITEMS
    assert "ranker_failed" in codes(answer)
    assert all((item.utility, item.worth, dict(item.heads)) == (None, None, {}) for item in answer.items)
    assert answer.served["policy"] == "rank/given"
    assert answer.served["slots"][0]["heads"] is None


def test_without_a_ranker_the_order_is_the_callers_and_rules_hold(made):
    feed = made.feed(without=["ranker"])
    feed.store.append([act("hide", "i000", user="u1")])
    answer = ranked(feed)
    assert answer.item_ids == [*ITEMS[1:], "i000"]
    assert any(note.text == LIST_NOTES["no_ranker"] for note in answer.notes)


NO_VECTORS = ["index", "content", "light_ranker", "multibisage", "graph_index", "pinnerformer", "embedding_index", "user_vectors"]


@pytest.mark.parametrize("without", [NO_VECTORS, ["stats"], ["item_knn", "ranker_item_knn", "user_vectors"]])
def test_a_list_is_ranked_whatever_else_is_missing(made, without):
    answer = ranked(made.feed(without=without))
    assert sorted(answer.item_ids) == ITEMS
    assert all(item.utility is not None for item in answer.items)


def test_no_catalogue_leaves_the_list_as_it_was(made):
    answer = ranked(made.feed(without=["catalogue"]))
    assert answer.item_ids == ITEMS
    assert codes(answer) >= {"no_catalogue", "unknown_items"}


def test_a_store_that_is_not_there_leaves_somebody_unknown(made):
    answer = ranked(made.feed(DeadStore()), log=True)
    assert codes(answer) >= {"store_unreachable", "not_logged"}
    assert answer.item_ids == ranked(made.feed(), user="nobody at all").item_ids


def test_notes_say_who_is_not_known_and_nothing_of_finding(made):
    feed = made.feed(without=["light_ranker", "boards", "graphs"])
    assert codes(ranked(feed, user="newcomer")) == {"unknown_user"}
    assert codes(ranked(feed, user=None, session_id="s")) == {"session_only", "unknown_user"}
    assert codes(ranked(feed)) == set()


def test_every_note_and_flag_has_words():
    assert all(text.endswith(".") and len(text) > 20 for text in LIST_NOTES.values())
    assert all(FLAGS.values())


# --------------------------------------------------------------------------------------------------------- log and reasons


def test_what_is_logged_is_what_training_reads(made):
    feed = liking_shirts(made)
    items = ["x1", *ITEMS]
    answer = ranked(feed, items, "ann", k=10, log=True)
    row = feed.store.served(answer.request_id)
    assert (row["policy"], row["surface"], row["user_id"], row["release"]) == ("rank/pointwise", "home", "ann", feed.parts.release)
    assert [(slot["item_id"], slot["position"]) for slot in row["slots"]] == [
        (item.item_id, item.rank - 1) for item in answer.items if item.item_id != "x1"
    ]
    assert [entry["item_id"] for entry in row["sequence"]] == ["i001", "i007", "i013"]
    numbers = by_id(answer)
    assert [slot["score"] for slot in row["slots"]] == [numbers[slot["item_id"]].utility for slot in row["slots"]]
    assert [list(slot["heads"]) for slot in row["slots"]] == [list(numbers[slot["item_id"]].heads.values()) for slot in row["slots"]]
    assert len(row["slots"][0]["features"]) == len(row["feature_names"])
    page = feed.recommend(RecommendRequest(user_id="ann", now_ms=NOW_MS + 1, log=False))
    assert set(row) - set(page.served) == set()


def test_a_logged_list_teaches_what_a_replay_of_it_would(made, tmp_path):
    """Out of the store into a lake: features and labels of the training rows, with an item between them that nobody knows."""
    feed = liking_shirts(made)
    answer = ranked(feed, [*ITEMS[:10], "x1", *ITEMS[10:]], "ann", log=True, query="shirt")
    saved = answer.items[3].item_id
    feed.store.append([act("save", saved, NOW_MS + 1000, request_id=answer.request_id, surface="search")])
    rows = [row for _, row in feed.store.events_since(0)] + [row | {"event": "served"} for _, row in feed.store.served_since(0)]
    items = [row | {"event": "item"} for row in made.lake.items().to_dicts()]
    lake = lake_of(tmp_path / "lake", items + rows)
    table = rows_from_served(lake, MIDNIGHT_MS, MIDNIGHT_MS + DAY_MS, RowsConfig(surfaces=("search",)))
    known = [item for item in answer.items if item.item_id != "x1"]
    assert table.item_ids.tolist() == [item.item_id for item in known]
    assert table.labels[:, table.heads.index("save")].tolist() == [float(item.item_id == saved) for item in known]
    before = liking_shirts(made).store.state("ann", "default")
    side = RequestSide.of(before, NOW_MS, "search", feed.parts.items)
    features = side.features(feed.catalogue.rows(table.item_ids.tolist()))
    features[:, POSITION_COLUMN] = np.log1p([item.rank - 1 for item in known])
    assert np.allclose(table.features, features, rtol=1e-4, atol=1e-5)


def test_no_more_is_logged_than_a_page_may_hold_and_nothing_without_log(made):
    feed = made.feed(config=FeedConfig(max_k=12))
    assert len(feed.store.served(ranked(feed, log=True).request_id)["slots"]) == 12
    assert feed.store.served(ranked(feed).request_id) is None


def test_k_answers_the_first_of_the_same_order(made):
    feed = liking_shirts(made)
    assert ranked(feed, user="ann", k=7).item_ids == ranked(feed, user="ann").item_ids[:7]
    assert len(ranked(feed, user="ann", k=1000).items) == 30


def test_explanations_say_what_was_read_and_what_the_list_added(made):
    feed = liking_shirts(made)
    answer = ranked(feed, ["x1", *ITEMS], "ann", explain=True, log=True)
    assert len(answer.explanations) == 31
    for item, explanation in zip(answer.items, answer.explanations, strict=True):
        if item.item_id == "x1":
            assert explanation is None
            continue
        assert explanation["stages"]["page"]["rank"] == item.rank
        assert sum(explanation["utility"].values()) == pytest.approx(item.utility, rel=1e-4)
        effect = f"the caller's own order adds {item.relevance:+.2f} standard deviations of the scores"
        assert explanation["rules"] == [{"rule": "relevance", "effect": effect}]
        assert explanation["why"] == "It is on the caller's list."
        assert explanation["inputs"]["recent_actions"][0]["item_id"] == "i001"
    later = feed.explain(answer.request_id, answer.items[1].item_id)
    assert later == answer.explanations[1]


def test_what_is_read_later_of_a_list_speaks_of_the_callers_order_and_of_rules(made):
    feed = liking_shirts(made)
    feed.store.append([act("hide", "i003"), act("hide", "gone")])
    answer = ranked(feed, ["gone", *ITEMS], "ann", k=20, item_id="i011", log=True)
    numbers = by_id(ranked(feed, ["gone", *ITEMS], "ann", item_id="i011"))
    assert feed.store.served(answer.request_id)["trace"]["relevance"] == {
        item_id: pytest.approx(numbers[item_id].relevance, abs=1e-6) for item_id in ITEMS
    }
    first = feed.explain(answer.request_id, answer.item_ids[0])
    assert first["beside"] == "i011"
    assert [rule["rule"] for rule in first["rules"]] == ["relevance"]
    assert first["rules"][0]["effect"].startswith("the caller's own order adds")
    hidden = feed.explain(answer.request_id, "i003")
    assert not hidden["on_page"]
    assert hidden["rules"][-1] == {"rule": "hidden", "effect": f"{FLAGS['hidden']}, so it stands last"}
    assert "on the caller's list" in hidden["why"]
    for item_id in ("gone", "i200"):
        assert feed.explain(answer.request_id, item_id)["why"] == "It was not on the caller's list, or the catalogue did not know it."
    freely = ranked(feed, ["i003", "i004"], "ann", apply_rules=False, log=True)
    assert [rule["rule"] for rule in feed.explain(freely.request_id, "i003")["rules"]] == ["relevance"]


def test_without_a_ranker_the_callers_order_is_added_to_nothing(made):
    answer = ranked(made.feed(without=["ranker"]), explain=True)
    assert answer.served["trace"]["relevance"] == {}
    assert all(explanation["rules"] == [] for explanation in answer.explanations)


def test_too_many_are_not_explained_at_once(made):
    feed = made.feed(config=FeedConfig(max_k=12))
    with pytest.raises(InputError, match="explained"):
        ranked(feed, explain=True)
    assert len(ranked(feed, explain=True, k=12).explanations) == 12


def test_reasons_name_what_this_person_did(made):
    feed = liking_shirts(made)
    creator = feed.catalogue.value("creator_id", feed.catalogue.row("i005"))
    feed.store.append([act("follow", None, creator_id=creator)])
    items = [f"i{n:03d}" for n in range(300)]
    reasons = {item.item_id: item.reason for item in ranked(feed, items, "ann").items}
    assert reasons["i005"] == "From a creator you follow"
    saved, vectors = ["i001", "i007", "i013"], feed.parts.items.vectors(np.arange(300))[0]
    titles = {item_id: f"“{feed.catalogue.value('title', feed.catalogue.row(item_id))}”, which you saved" for item_id in saved}
    makers = {item_id: feed.catalogue.value("creator_id", feed.catalogue.row(item_id)) for item_id in items}
    kinds = set()
    for n, item_id in enumerate(items):
        cosines = {one: float(vectors[n] @ vectors[int(one[1:])]) for one in saved if one != item_id}
        nearest = max(cosines, key=cosines.get)
        if makers[item_id] == creator:
            expected = "From a creator you follow"
        elif cosines[nearest] >= 0.8:
            expected = f"Like {titles[nearest]}"
        elif makers[item_id] in {makers[one] for one in cosines}:
            expected = "By the creator of "
        else:
            assert reasons[item_id] is None
            continue
        kinds.add(expected[:4])
        assert reasons[item_id].startswith(expected)
    assert kinds == {"From", "Like", "By t"}
    assert all(item.reason is None for item in ranked(feed, user="newcomer").items)


# ------------------------------------------------------------------------------------------------------------ wrong input


@pytest.mark.parametrize(
    ("given", "about"),
    [
        ({"item_ids": []}, "wrong length"),
        ({"item_ids": [f"x{n}" for n in range(MAX_ITEMS + 1)]}, "wrong length"),
        ({"item_ids": ["a", "b", "a"]}, "more than once.*'a'"),
        ({"scores": [1.0]}, "scores"),
        ({"scores": [1.0, float("nan")]}, "scores"),
        ({"scores": [1.0, "a"]}, "scores"),
        ({"scores": [1.0, None]}, "scores"),
        ({"scores": [1.0, 10**400]}, "scores"),
        ({"relevance_weight": "a"}, "relevance_weight"),
        ({"relevance_weight": -0.1}, "relevance_weight"),
        ({"relevance_weight": float("nan")}, "relevance_weight"),
        ({"weights": {"save": float("inf")}}, "weight"),
        ({"weights": {"save": "x"}}, "weight"),
        ({"k": 0}, "at least one"),
        ({"surface": "visual"}, "surface"),
        ({"surface": "related"}, "do not go together"),
        ({"surface": "search", "query": "x", "item_id": "a"}, "do not go together"),
        ({"surface": "search"}, "query"),
        ({"user_id": None}, "somebody"),
    ],
)
def test_what_the_caller_got_wrong_is_said(given, about):
    with pytest.raises(InputError, match=about):
        RankRequest(**{"item_ids": ["a", "b"], "user_id": "ann", **given})


def test_a_whole_list_may_be_of_a_thousand(made):
    items = [f"i{n:03d}" for n in range(300)] + [f"x{n}" for n in range(700)]
    assert sorted(ranked(made.feed(), items).item_ids) == sorted(items)


def test_who_knows_nothing_answers_the_list_as_given():
    items = as_given(RankRequest(["b", "a", "c"], user_id="ann", k=2))
    assert [(item.item_id, item.rank, item.old_rank, item.utility) for item in items] == [("b", 1, 1, None), ("a", 2, 2, None)]
