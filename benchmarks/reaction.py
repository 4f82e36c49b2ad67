"""Does a page react to the last taps, over HTTP, and does it forget again?

    python benchmarks/reaction.py --json

50 users with at least 20 actions; for each a topic (the catalogue's category) that had 2 to 12 % of their last ten pages and
no action in 30 days. Then, each from the same beginning: nothing (the control), five saves in it, five hides in it, and both
of these three days ago. The share is that of the next page of 25. The topic is chosen by the ten pages, so it falls back
towards its usual share by itself, and a first page is not a tenth one: the ratios to the control are free of both.

All of it runs four times, so that one sees who reacts: as served; with the full ranker's sequence of last actions emptied
(`feed.ranker_sequence`); with the candidate sources that start from recent actions switched off (the quotas of
`nearest`, `item_knn`, `same_creator` and `same_board`); and with both. The users and topics are those of the first run. `--variants served`
runs the first alone.

As served, features made by hand from the recent actions and the light ranker react too. `--transact-alone` builds a ranker
without such features, switches the light ranker off and lets the full ranker see every candidate: then the difference between
the first run and `no_sequence` is what TransAct does, and nothing else.
`--workspace` measures any other built workspace, for instance MovieLens by genre.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from harness import Client, action, arguments, finish, server, world_workspace

from corkboard import seeds
from corkboard.workspace import Workspace
from corkboard.workspace import open as open_workspace

DAY_MS = 86_400_000
K = 25
TAPS = 5
PAGES = 10
SCENARIOS: dict[str, tuple[str | None, int]] = {
    "control": (None, 0),
    "saves": ("save", 0),
    "hides": ("hide", 0),
    "saves three days ago": ("save", 3),
    "hides three days ago": ("hide", 3),
}
"""The action of the five taps, None for no taps, and how many days ago they were."""


RECENT_SOURCES = ("nearest", "item_knn", "same_creator", "same_board")
"""Candidate sources that start from what was done last."""
NO_SEQUENCE = ("feed.ranker_sequence=false",)
NO_SOURCES = tuple(f"retrieval.sources.quotas.{name}=0" for name in RECENT_SOURCES)
VARIANTS: dict[str, tuple[str, ...]] = {
    "served": (),
    "no_sequence": NO_SEQUENCE,
    "no_recent_sources": NO_SOURCES,
    "neither": (*NO_SEQUENCE, *NO_SOURCES),
}
"""Settings that switch parts off, by name."""
ALONE_BUILD = ("ranking.hybrid.features=batch",)
ALONE_SERVED = ("feed.light_ranker=false", "feed.full_candidates=400")
"""A ranker in which only TransAct reads recent actions, and a cascade in which nothing reacts before it."""


@dataclass
class Case:
    """One user with one topic, and what is measured for them."""

    user_id: str
    topic: str
    before: float
    taps: list[str]
    share: dict[str, float] = field(default_factory=dict)


def main() -> None:
    options = arguments(__doc__, users=50, workspace="", seed=1, variants=",".join(VARIANTS), transact_alone=False)
    world = chosen_workspace(options.workspace, options.transact_alone)
    always = ALONE_SERVED if options.transact_alone else ()
    categories = dict(world.lake().items().select("item_id", "category").drop_nulls().iter_rows())
    with server(world.folder, always) as port:
        cases = choose(Client(port), world, categories, options.users, options.seed)
    result: dict[str, float] = {}
    for name in options.variants.split(","):
        measure(world.folder, cases, categories, (*always, *VARIANTS[name]))
        prefix = "" if name == "served" else f"{name}_"
        result |= {prefix + figure: value for figure, value in summary(cases).items()}
    finish(result, options.json)


def chosen_workspace(folder: str, alone: bool) -> Workspace:
    """The workspace in ``folder``, or the simulated world's, with the ranker that is asked for."""
    if folder:
        return open_workspace(Path(folder))
    return world_workspace("reaction-alone", ALONE_BUILD) if alone else world_workspace("reaction")


def measure(folder: Path, cases: list[Case], categories: dict[str, str], overrides: Sequence[str]) -> None:
    """The share of each case's topic in every scenario, each from the same beginning."""
    now = int(time.time() * 1000)
    for scenario, (kind, days_ago) in SCENARIOS.items():
        when = now - days_ago * DAY_MS
        with server(folder, overrides) as port:
            client = Client(port)
            for case in cases:
                if kind is not None:
                    client.events([action(case.user_id, item, kind, when - n * 20_000) for n, item in enumerate(case.taps)])
                case.share[scenario] = share(client.page(case.user_id, k=K), case.topic, categories)


def choose(client: Client, world: Workspace, categories: dict[str, str], wanted: int, seed: int) -> list[Case]:
    """Users and topics that fit, in a seeded random order, with the items that will be tapped: unseen ones of the topic."""
    lake = world.lake()
    actions = lake.actions()
    end_ms = lake.time_range()[1]
    active = actions.group_by("user_id").len().filter(pl.col("len") >= 20)["user_id"].drop_nulls().sort().to_list()
    recent = actions.filter(pl.col("time_ms") >= end_ms - 30 * DAY_MS)
    recent_topics = {
        user: {categories.get(item) for item in items} for user, items in recent.group_by("user_id").agg("item_id").iter_rows()
    }
    by_topic: dict[str, list[str]] = {}
    for item, topic in sorted(categories.items()):
        by_topic.setdefault(topic, []).append(item)
    generator = seeds.generator(seed, "reaction")
    cases: list[Case] = []
    for user in generator.permutation(active):
        shown = [item["item_id"] for _ in range(PAGES) for item in client.page(user, k=K)["items"]]
        shares = {topic: count / len(shown) for topic, count in Counter(categories.get(item) for item in shown).items()}
        fitting = sorted(t for t, s in shares.items() if t and 0.02 <= s <= 0.12 and t not in recent_topics.get(user, set()))
        fitting = [topic for topic in fitting if len(set(by_topic[topic]) - set(shown)) >= 2 * TAPS]
        if fitting:
            topic = str(generator.choice(fitting))
            taps = generator.choice(sorted(set(by_topic[topic]) - set(shown)), TAPS, replace=False)
            cases.append(Case(str(user), topic, shares[topic], [str(item) for item in taps]))
        if len(cases) == wanted:
            return cases
    print(f"only {len(cases)} of {wanted} users fit")
    return cases


def share(page: dict, topic: str, categories: dict[str, str]) -> float:
    items = [item["item_id"] for item in page["items"]]
    return sum(categories.get(item) == topic for item in items) / max(len(items), 1)


def summary(cases: list[Case]) -> dict:
    """Medians over users of shares, and ratios of medians after to medians before; then means, which are less grainy."""
    before = np.array([case.before for case in cases])
    after = {name: np.array([case.share[name] for case in cases]) for name in SCENARIOS}
    control, saves, hides, later = after["control"], after["saves"], after["hides"], after["saves three days ago"]
    gained = np.median(saves) - np.median(before)
    return {
        "users": len(cases),
        "share_before": float(np.median(before)),
        "share_control": float(np.median(control)),
        "share_control_mean": float(control.mean()),
        "share_after_saves": float(np.median(saves)),
        "share_items": float(np.median(saves) * K),
        "share_ratio": float(np.median(saves) / np.median(before)),
        "share_ratio_of_means_to_control": ratio(saves.mean(), control.mean()),
        "share_after_hides": float(np.median(hides)),
        "hide_ratio": float(np.median(hides) / np.median(before)),
        "hide_ratio_of_means": float(hides.mean() / before.mean()),
        "hide_ratio_of_means_to_control": ratio(hides.mean(), control.mean()),
        "share_three_days_later": float(np.median(later)),
        "share_three_days_after_hides": float(after["hides three days ago"].mean()),
        "way_back": float((np.median(saves) - np.median(later)) / gained) if gained > 0 else float("nan"),
    }


def ratio(value: float, reference: float) -> float:
    """``nan`` where the reference is 0, as it can be in a control of few users."""
    return float(value / reference) if reference > 0 else float("nan")


if __name__ == "__main__":
    main()
