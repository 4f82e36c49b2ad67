"""The alarm for training/serving skew: pages that were served, computed again from the lake by the release that served them.

Live, a page reads the store as it stood at that moment; training reads the lake as it stands now, up to that moment. The two
must agree, or the ranker learns from other numbers than it will be given. Where they differ, the order in which the store
took its rows often tells why, and that is not taken on trust: the page is computed a third time, with the lake cut to the rows
that the store had, and only if that gives the logged numbers is the cause believed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Release, Releases
from corkboard.errors import CorkboardError, InputError
from corkboard.feed.parts import FeedParts, LiveItems, load_parts
from corkboard.lake.calendar import DAY_MS, day_name, day_of
from corkboard.lake.lake import Lake
from corkboard.lake.schema import empty, user_key, user_key_expr
from corkboard.pipeline.ledger import Progress
from corkboard.ranking.request import RequestSide, usable_vector
from corkboard.ranking.rescore import Comparison, PageDifference, PageFacts, difference
from corkboard.seeds import generator
from corkboard.settings import Settings
from corkboard.state.base import BaseStates
from corkboard.state.config import LimitsConfig
from corkboard.state.replay import replay
from corkboard.state.stores import MANY, Store
from corkboard.state.user_state import UserState

ARRIVED_LATER = "an event arrived after the page was served"
DATED_LATER = "an event had arrived that is dated later than the page"
NEVER_IN_STORE = "the lake has rows that the store and its base did not have"
UNEXPLAINED = "unexplained"

_MEANWHILE = 3
"""The served row is written when its page is done: that many of the last rows before it may have come while the page was being made."""
_EXAMPLES = 10
_EVER_MS = 2**62
_OWNED = ("event_id", "time_ms", "tenant", "user_id", "session_id")
_REPORT_EVERY = 50


@dataclass
class Rescored:
    """What re-scoring found. ``columns`` are rows of :meth:`corkboard.ranking.rescore.Comparison.rows`."""

    days: tuple[str, str]
    pages: int = 0
    """Pages that were computed again."""
    served: int = 0
    """Pages that were served in these days."""
    columns: list[dict[str, Any]] = field(default_factory=list)
    causes: Counter[str] = field(default_factory=Counter)
    """Pages that differ, by cause."""
    examples: list[dict[str, Any]] = field(default_factory=list)
    """Some unexplained pages: request_id, user_key, time_ms, column, difference."""
    other_releases: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By release that could not be loaded: pages, and why."""
    slots_left_out: int = 0
    """Slots of items that the release's catalogue does not have."""
    notes: list[str] = field(default_factory=list)

    @property
    def differing(self) -> int:
        return sum(self.causes.values())

    @property
    def passed(self) -> bool:
        """Whether pages were compared, and every difference has a cause that is no skew."""
        return self.pages > 0 and self.causes[UNEXPLAINED] == 0

    def sentences(self) -> list[str]:
        """What there is to say beside the table, the verdict last."""
        said = [f"note: {text}" for text in self.notes]
        for release, facts in self.other_releases.items():
            said.append(f"not compared: {facts['pages']:,} pages of release {release}: {facts['why']}")
        if self.slots_left_out:
            said.append(f"not compared: {self.slots_left_out:,} slots of items that the release and the store do not have")
        said += [f"{pages:,} {'page differs' if pages == 1 else 'pages differ'}: {cause}" for cause, pages in self.causes.most_common()]
        for page in self.examples:
            said.append(f"  {page['request_id']} of {page['user_key']} at {page['time_ms']}: {page['column']} by {page['difference']:.3g}")
        if not self.pages:
            return [*said, "No page could be compared."]
        if not self.passed:
            return [*said, "Training would see other numbers than serving did."]
        return [*said, "Serving and training agree" + (", but for what is explained above." if self.causes else " on every page.")]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; an infinite difference is null."""
        facts = {"days": list(self.days), "causes": dict(self.causes), "differing": self.differing, "passed": self.passed}
        return {**vars(self), **facts, "columns": [_finite(part) for part in self.columns], "examples": [_finite(e) for e in self.examples]}


def rescore(
    lake: Lake,
    releases: Releases,
    settings: Settings,
    store: Store | None = None,
    days: int = 7,
    max_pages: int = 5_000,
    progress: Progress | None = None,
) -> Rescored:
    """Compute the served pages of the last ``days`` days of the served log again and compare; at most ``max_pages``, drawn evenly.

    ``store`` is the one that served, where it is at hand: it tells in which order things arrived. ``settings`` must be those of
    the server, as far as the limits of user states and the length of sequences go. Raises :class:`InputError` where nothing
    was served.
    """
    last_ms = lake.newest_ms("served")
    if last_ms is None:
        raise InputError(
            "The lake has no served pages", expected="pages of the served log", hint="Serve some, then `corkboard build` moves them in."
        )
    first_day = day_of(last_ms) - days + 1
    served = lake.served(first_day * DAY_MS)
    report = Rescored((day_name(first_day), day_name(day_of(last_ms))), served=served.height)
    if served.height > max_pages:
        chosen = generator(settings.seed, "rescore").choice(served.height, max_pages, replace=False)
        served = served[np.sort(chosen)]
        report.notes.append(f"{max_pages:,} of {report.served:,} pages were drawn.")
    if store is None:
        report.notes.append("There is no store here: what arrived late cannot be told from a difference without a cause.")
    arrivals = None if store is None else Arrivals(store, served)
    _Rescoring(lake, settings, arrivals, report, progress or _silent, served.height).run(releases, served)
    return report


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


Arrived = Sequence[tuple[int, dict[str, Any]]]
"""Rows of one user with the store's numbers, in the order of arrival."""


class Arrivals:
    """In which order a store took the rows of the users of ``served``. Read whole when it is first asked for."""

    def __init__(self, store: Store, served: pl.DataFrame):
        self.store = store
        self._users = set(served.select("tenant", user_key_expr("served")).iter_rows())

    def sequence_of(self, request_id: str) -> int | None:
        """When a page was written down; None where the store has it not, or no more."""
        return self._read[1].get(request_id)

    def rows(self, tenant: str, key: str) -> Arrived:
        """Everything that the store has of a user, in the order of arrival."""
        return self._read[0].get((tenant, key), [])

    @cached_property
    def _read(self) -> tuple[dict[tuple[str, str], list[tuple[int, dict[str, Any]]]], dict[str, int]]:
        rows: dict[tuple[str, str], list[tuple[int, dict[str, Any]]]] = {}
        pages: dict[str, int] = {}
        for seq, row in _all(self.store.events_since):
            owner = None if row["event"] in ("item", "board") else (row["tenant"], user_key(row))
            if owner in self._users:
                rows.setdefault(owner, []).append((seq, row))
        for seq, row in _all(self.store.served_since):
            owner = row["tenant"], user_key(row)
            if owner in self._users:
                pages[row["request_id"]] = seq
                shown = {"event": "served", **{name: row[name] for name in ("event_id", "time_ms", "request_id")}}
                slots = [{"item_id": slot["item_id"]} for slot in row["slots"]]
                rows.setdefault(owner, []).append((seq, shown | {"slots": slots}))
        for mine in rows.values():
            mine.sort(key=lambda entry: entry[0])
        return rows, pages


def _all(since: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    done = 0
    while part := since(done, MANY):
        yield from part
        done = part[-1][0]


@dataclass
class _Rescoring:
    """One run over releases and pages; what it finds goes into ``report`` and ``comparison``."""

    lake: Lake
    settings: Settings
    arrivals: Arrivals | None
    report: Rescored
    progress: Progress
    total: int
    comparison: Comparison = field(default_factory=Comparison)

    def __post_init__(self) -> None:
        self.own = OwnRows(self.lake)

    def run(self, releases: Releases, served: pl.DataFrame) -> None:
        for release_id, pages in sorted(_by_release(served).items()):
            try:
                release = releases.load(release_id)
                settings = self.settings
                parts = load_parts(release, settings.retrieval, walk=settings.graph.walk)
                base = _base_of(release, None if self.arrivals is None else self.arrivals.store)
                unusable = [entry.text for entry in parts.notes if entry.code == "artifact_unusable"]
            except (CorkboardError, OSError, ValueError) as error:  # of another version, its settings may not read
                unusable = [str(error)]
            if unusable:
                self.report.other_releases[release_id] = {"pages": pages.height, "why": "; ".join(unusable)}
                continue
            self._say_counters(parts, release, pages)
            _OneRelease(self, parts, base).run(pages)
        self.report.pages, self.report.columns = self.comparison.pages, self.comparison.rows()

    def _say_counters(self, parts: FeedParts, release: Release, pages: pl.DataFrame) -> None:
        """Counters are the release's; a page of another day than they end with would be given others if it were replayed."""
        stats = release.get("stats")
        if stats is None:
            return
        last_day = -(-int(stats.config["upto_ms"]) // DAY_MS)
        others = int((pages["time_ms"] // DAY_MS != last_day).sum())
        if others:
            self.report.notes.append(
                f"{others:,} pages of release {parts.release} have counters as of {day_name(last_day)}, the release's, not those of their "
                "own day. They are compared with what served; training takes what was logged."
            )

    def add(self, moment: Mapping[str, Any], found: PageDifference, cause: str | None) -> None:
        """Count one page; ``cause`` is None where it does not differ."""
        report = self.report
        self.comparison.add(found, cause not in (None, UNEXPLAINED))
        if cause is not None:
            report.causes[cause] += 1
        if cause == UNEXPLAINED and len(report.examples) < _EXAMPLES:
            column, gap = found.worst
            example = {"request_id": moment["request_id"], "user_key": moment["user_id"], "time_ms": moment["time_ms"]}
            report.examples.append(example | {"column": column, "difference": gap})
        if self.comparison.pages % _REPORT_EVERY == 0:
            self.progress("computing served pages again", self.comparison.pages, self.total)


class _OneRelease:
    """The pages of one release, in the order of time. ``base`` is what the store started from under it."""

    def __init__(self, run: _Rescoring, parts: FeedParts, base: BaseStates | None):
        self._run, self._parts, self._base = run, parts, base
        self._arrivals, self._limits = run.arrivals, run.settings.state.limits
        self._watermark = 0 if base is None or self._arrivals is None else base.watermark_for(self._arrivals.store.store_id)
        self._live, self._waiting = LiveItems(parts), self._live_items()

    def run(self, pages: pl.DataFrame) -> None:
        heads = () if self._parts.ranker is None else self._parts.ranker.heads
        for moment, state in replay(self._run.lake, pages.with_columns(user_id=user_key_expr("served")), self._limits):
            self._take_items(moment)
            rows = self._parts.catalogue.rows([slot["item_id"] for slot in moment["slots"]])
            self._run.report.slots_left_out += int((rows < 0).sum())
            logged, rows = PageFacts.logged(moment, heads).take(rows >= 0), rows[rows >= 0]
            found = self._difference(logged, rows, moment, state)
            self._run.add(moment, found, self._cause(logged, rows, moment, state) if found else None)

    def _difference(self, logged: PageFacts, rows: np.ndarray, moment: Mapping[str, Any], state: UserState) -> PageDifference:
        """How far the page is from what the release makes of ``state``."""
        parts, feed = self._parts, self._run.settings.feed
        length = feed.sequence_length if feed.ranker_sequence else 0
        vector, oldest = None, feed.user_vector_max_age_hours
        if parts.user_vectors is not None:
            vector, _ = usable_vector(parts.user_vectors, state, moment["time_ms"], oldest)
        beside = moment["context_item_id"]
        side = RequestSide.of(state, moment["time_ms"], moment["surface"], parts.items, vector, length, beside)
        ranker = None if np.isnan(logged.heads).all() else parts.ranker
        space = None if parts.user_vectors is None else str(parts.user_vectors.space)
        return difference(logged, PageFacts.computed(side, rows, ranker, length, space))

    # ------------------------------------------------------------------------------------------------------- live items

    def _live_items(self) -> list[tuple[int | None, dict[str, Any]]]:
        """Items that came after the release was made, in order, with the store's numbers; without a store, those that the lake
        has and the release has not."""
        if self._arrivals is not None:
            return list(reversed(self._arrivals.store.items_since(self._watermark)))
        items = self._run.lake.items()
        new = items.filter(~pl.col("item_id").is_in(self._parts.catalogue.ids)).sort("created_ms", descending=True)
        return [(None, row | {"time_ms": row["created_ms"]}) for row in new.iter_rows(named=True)]

    def _take_items(self, moment: Mapping[str, Any]) -> None:
        """Put in what had arrived when a page was served."""
        while self._waiting:
            seq, row = self._waiting[-1]
            page_seq = None if self._arrivals is None else self._arrivals.sequence_of(moment["request_id"])
            came = row["time_ms"] < moment["time_ms"] if seq is None or page_seq is None else seq < page_seq
            if not came:
                return
            self._live.add([row])
            self._waiting.pop()

    # ----------------------------------------------------------------------------------------------------------- causes

    def _cause(self, logged: PageFacts, rows: np.ndarray, moment: Mapping[str, Any], replayed: UserState) -> str:
        """Why the page differs, where what the store had at that moment gives exactly what was logged."""
        arrivals, tenant, key = self._arrivals, moment["tenant"], moment["user_id"]
        page_seq = None if arrivals is None else arrivals.sequence_of(moment["request_id"])
        if arrivals is None or page_seq is None:
            return UNEXPLAINED
        known = arrivals.rows(tenant, key)
        before = [(seq, row) for seq, row in known if seq < page_seq]
        for meanwhile in range(min(_MEANWHILE, len(before)) + 1):
            had, later = known[: len(before) - meanwhile], known[len(before) - meanwhile :]
            name = _name(had, later, moment["time_ms"])
            if name and not self._difference(logged, rows, moment, self._run.own.state(moment, had, later, self._limits)):
                return name
        live = self._live_state(before, moment)
        ids = {action.event_id for action in live.actions} | {row["event_id"] for _, row in known}
        brought_in = any(action.event_id not in ids for action in replayed.actions)
        return NEVER_IN_STORE if brought_in and not self._difference(logged, rows, moment, live) else UNEXPLAINED

    def _live_state(self, had: Arrived, moment: Mapping[str, Any]) -> UserState:
        """The state of the release's base with the rows that the store had, as the store makes it."""
        key = moment["user_id"]
        base = None if self._base is None else self._base.state(key, moment["tenant"], self._limits)
        state = base or UserState(key, self._limits)
        for seq, row in had:
            if seq > self._watermark:
                state.apply(row)
        return state


def _name(had: Arrived, later: Arrived, now_ms: int) -> str | None:
    """What can explain a page of ``now_ms``; None where the store had what the lake has until then."""
    if any(row["time_ms"] < now_ms for _, row in later):
        return ARRIVED_LATER
    return DATED_LATER if any(row["time_ms"] >= now_ms for _, row in had) else None


class OwnRows:
    """The lake cut to the rows that a store had of one user: replay over it goes the way of training, so a fault of that way
    does not explain itself."""

    def __init__(self, lake: Lake):
        self._lake = lake

    def state(self, moment: Mapping[str, Any], had: Arrived, later: Arrived, limits: LimitsConfig) -> UserState:
        """What the lake makes of the rows before the page and of those that the store had, without those that came ``later``."""
        whose = (user_key_expr() == moment["user_id"]) & (pl.col("tenant") == moment["tenant"])
        had_ids, later_ids = [row["event_id"] for _, row in had], [row["event_id"] for _, row in later]
        there = ((pl.col("time_ms") < moment["time_ms"]) | pl.col("event_id").is_in(had_ids)) & ~pl.col("event_id").is_in(later_ids)
        cut = _Cut({name: frame.filter(whose & there) for name, frame in self._tables.items()})
        end = pl.DataFrame({"user_id": [moment["user_id"]], "tenant": [moment["tenant"]], "time_ms": [_EVER_MS]})
        return next(state for _, state in replay(cut, end, limits))

    @cached_property
    def _tables(self) -> dict[str, pl.DataFrame]:
        items = pl.col("slots").list.eval(pl.struct(pl.element().struct.field("item_id")))
        pages = {"impressions": self._lake.impressions(), "served": self._lake.served()}
        shown = {name: frame.select(*_OWNED, "request_id", slots=items) for name, frame in pages.items()}
        return {"actions": self._lake.actions(undone=True), **shown}


@dataclass(frozen=True)
class _Cut:
    """Frames of actions, impressions and served pages as :class:`corkboard.state.replay.LakeTables`; profiles shape no feature."""

    frames: Mapping[str, pl.DataFrame]

    def actions(self, start_ms: int | None = None, end_ms: int | None = None, undone: bool = False) -> pl.DataFrame:
        return self.frames["actions"]

    def impressions(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame:
        return self.frames["impressions"]

    def served(self, start_ms: int | None = None, end_ms: int | None = None) -> pl.DataFrame:
        return self.frames["served"]

    def users(self, before_ms: int | None = None) -> pl.DataFrame:
        return empty("users")


def _base_of(release: Release, store: Store | None) -> BaseStates | None:
    """What ``store`` started from under ``release``; None where either is missing.

    Raises :class:`CorkboardError` for states that are damaged, or that another version wrote.
    """
    states = release.get("states")
    if states is None or store is None:
        return None
    return BaseStates.from_artifact(states, store.store_id)


def _finite(facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in facts.items()}


def _by_release(served: pl.DataFrame) -> dict[str, pl.DataFrame]:
    parts = served.with_columns(pl.col("release").fill_null("none")).partition_by("release", as_dict=True)
    return {str(key): part for (key,), part in parts.items()}
