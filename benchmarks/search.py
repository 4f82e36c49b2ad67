"""Search over some 20,000 products: how long does a page take, and how good are words, meaning and both together?

    python benchmarks/search.py --json
    python benchmarks/search.py --items 3000 --users 1000      # minutes less, and a smaller catalogue

A simulated world, a third of whose items are products, is made and built up to the release "+ TransAct", so that a page is ordered for
somebody. Both are in ``--folder``; making them takes some minutes. Queries are distinct ones that people typed after the cut that models
learn before, drawn by seed. *p95* is of a whole page, 25 items, for one of the 200 busiest users, one query at a time in one thread, no
vector of a query kept from before. NDCG@10 is against what the world knows of its items: an item of the topic that is asked for counts 1,
where it is its second topic 0.5, times one plus the number of asked facets and brands that are true of it. Mistyped queries count for what
was meant; the few that cannot be told are left out (``queries_unread``).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import polars as pl
from harness import OUT, arguments, finish, say

from corkboard.artifacts import Release
from corkboard.embeddings.query_pairs import query_text
from corkboard.feed.home import Feed, RecommendRequest
from corkboard.feed.parts import FeedParts
from corkboard.feed.search import QUERIES_KEPT, MeaningSide, WordSide, matching
from corkboard.retrieval.candidates import CandidateRequest
from corkboard.seeds import generator
from corkboard.state.base import BaseStates
from corkboard.state.memory import MemoryStore
from corkboard.state.user_state import UserState
from corkboard.workspace import Workspace, open_demo
from corkboard.world.vocabulary import FACETS, TOPICS

K, PAGE, WARM, STAGE = 10, 25, 30, "+ TransAct"


@dataclass(frozen=True)
class Wanted:
    """What a query asks for, in the words of :meth:`corkboard.world.world.World.facets`."""

    topic: str
    facets: tuple[tuple[str, str], ...]
    brand: str | None


def main() -> None:
    options = arguments(__doc__, items=59_000, users=1_500, queries=400, seed=101, folder=str(OUT / "search"))
    overrides = [f"world.seed={options.seed}", f"world.items={options.items}", f"world.users={options.users}"]
    overrides += ["world.pictures=0"]  # a search reads no pictures, and 59,000 of them take ten minutes
    workspace = open_demo(Path(options.folder) / f"{options.seed}-{options.items}-{options.users}", overrides=overrides)
    release = built(workspace)
    states = release.artifacts["states"]
    store = MemoryStore(workspace.settings.state, BaseStates.from_artifact(states, "benchmark"))
    settings = workspace.settings
    feed = Feed.load(release, store, settings.feed, settings.ranking.utility, settings.retrieval)
    feed.warm_up()
    lake, calendar = workspace.lake(), workspace.calendar()
    texts = asked_after(lake.actions(calendar.item_cut_ms), options.queries + WARM, options.seed)
    result: dict[str, object] = {"items": len(feed.catalogue), "products": int((lake.items()["kind"] == "product").sum())}
    result |= times(feed, busiest(lake.actions()), texts[:WARM], texts[WARM:], calendar.end_ms)
    result |= quality(feed.parts, workspace, texts[WARM:], calendar.end_ms)
    finish(result, options.json)


def built(workspace: Workspace) -> Release:
    """The release that makes the pages, made where it is not there."""
    say("making the world")
    workspace.simulate()
    told = {"stage": ""}

    def progress(stage: str, done: int, of: int) -> None:
        if stage != told["stage"]:
            told["stage"] = stage
            say(stage)

    builder = workspace.builder(progress)
    (stage,) = (stage for stage in builder.plan.stages if stage.label == STAGE)
    for title in stage.roles.values():
        begun = time.perf_counter()
        builder.artifact(title)
        say(f"{title}: {time.perf_counter() - begun:.1f} s")
    return builder.release(stage)


def asked_after(actions: pl.DataFrame, count: int, seed: int) -> list[str]:
    """So many distinct queries, drawn by seed."""
    texts = actions.filter(pl.col("surface") == "search")["query"].drop_nulls().unique().sort().to_list()
    distinct = sorted({query_text(text): text for text in texts if query_text(text)}.values())
    return [distinct[place] for place in generator(seed, "benchmark", "search").permutation(len(distinct))[: min(count, QUERIES_KEPT)]]


def busiest(actions: pl.DataFrame) -> list[str]:
    """The users who did most: what a page knows of its user costs time."""
    return actions["user_id"].drop_nulls().value_counts(sort=True)["user_id"].head(200).to_list()


def times(feed: Feed, users: Sequence[str], warm: Sequence[str], texts: Sequence[str], now_ms: int) -> dict[str, float]:
    """Milliseconds of pages, each for a query that was not asked before."""

    def page(user_id: str, text: str) -> float:
        begun = time.perf_counter()
        feed.recommend(RecommendRequest(surface="search", query=text, user_id=user_id, k=PAGE, now_ms=now_ms, log=False))
        return 1000 * (time.perf_counter() - begun)

    for text in warm:
        page(users[0], text)
    took = [page(users[place % len(users)], text) for place, text in enumerate(texts)]
    return {"queries": len(took), "search_p50_ms": float(np.median(took)), "search_p95_ms": float(np.quantile(took, 0.95))}


# ------------------------------------------------------------------------------------------------------------------ how good


def quality(parts: FeedParts, workspace: Workspace, texts: Sequence[str], now_ms: int) -> dict[str, float]:
    """NDCG@10 of each ranking over the same queries."""
    world = workspace.world()
    assert world is not None, "the workspace holds a world"
    truth = world.facets()
    order = {item_id: row for row, item_id in enumerate(truth["item_id"])}
    columns = {name: truth[name].to_numpy() for name in truth.columns}
    at = np.array([order[item_id] for item_id in parts.catalogue.ids])
    columns = {name: values[at] for name, values in columns.items()}
    sides = {"hybrid": (parts.words, parts.meaning), "bm25": (parts.words, MeaningSide()), "vectors": (WordSide(), parts.meaning)}
    read, gained = reader(columns["brand"]), {name: [] for name in sides}
    asked = CandidateRequest(UserState("nobody"), now_ms, "search", parts.catalogue.mask(), parts.catalogue)
    wanted = [read(text) for text in texts]
    for text, one in zip(texts, wanted, strict=True):
        if one is None:
            continue
        gains = relevance(one, columns) * asked.allowed
        ideal = discounted(np.sort(gains)[::-1][:K])
        for name, (words, meaning) in sides.items():
            found, _ = matching(words, meaning, asked, text, 200)
            assert found is not None
            gained[name].append(discounted(gains[found.rows[:K]]) / ideal if ideal else 0.0)
    unread = sum(one is None for one in wanted)
    return {"queries_unread": unread, **{f"ndcg10_{name}": float(np.mean(values)) for name, values in gained.items()}}


def relevance(wanted: Wanted, items: dict[str, np.ndarray]) -> np.ndarray:
    """float64 ``(items,)``."""
    topic = np.where(items["topic"] == wanted.topic, 1.0, np.where(items["second_topic"] == wanted.topic, 0.5, 0.0))
    true = sum(((items[name] == value).astype(float) for name, value in wanted.facets), np.zeros(len(topic)))
    return topic * (1 + true + (items["brand"] == wanted.brand))


def discounted(gains: np.ndarray) -> float:
    return float((gains / np.log2(np.arange(2, len(gains) + 2))).sum())


def reader(brands: np.ndarray) -> Callable[[str], Wanted | None]:
    """What turns a query into what it asks for: a brand, facets, and the topic at its end, in either language."""
    topics = {query_text(word): topic.words[0][0] for topic in TOPICS for words in topic.words for word in words}
    facets = {query_text(word): (name, values[0]) for name, known in FACETS.items() for values in known for word in values}
    makers = {query_text(brand): brand for brand in set(brands.tolist()) if brand}
    vocabulary = sorted({word for phrase in (*topics, *facets, *makers) for word in phrase.split()})

    def read(text: str) -> Wanted | None:
        words = [_spelt(word, vocabulary) for word in query_text(text).split()]
        for begin in range(len(words)):
            topic = topics.get(" ".join(words[begin:]))
            rest = None if topic is None else _phrases(words[:begin], {**makers, **facets})
            if topic is not None and rest is not None:
                brand = next((each for each in rest if isinstance(each, str)), None)
                return Wanted(topic, tuple(each for each in rest if not isinstance(each, str)), brand)
        return None

    return read


def _spelt(word: str, vocabulary: Sequence[str]) -> str:
    """The word of the vocabulary that was meant."""
    return next(iter(get_close_matches(word, vocabulary, 1, 0.7)), word)


def _phrases(words: Sequence[str], known: dict) -> list | None:
    """What the words say, phrase after phrase, None where some say nothing."""
    if not words:
        return []
    for end in range(len(words), 0, -1):
        phrase = " ".join(words[:end])
        rest = _phrases(words[end:], known) if phrase in known else None
        if rest is not None:
            return [known[phrase], *rest]
    return None


if __name__ == "__main__":
    main()
