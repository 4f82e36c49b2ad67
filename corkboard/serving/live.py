"""The engine behind the server: it holds the store and the feed of the live release, and follows the release as it changes.

A new release is loaded whole, with every live item encoded by its own towers, before one reference is swapped; pages that
are being computed finish with the old one. A release that does not load leaves the old one live and is reported.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from corkboard.artifacts import Release, Releases
from corkboard.errors import CorkboardError, NotFound, StoreError
from corkboard.feed.page import Page, RecommendRequest
from corkboard.feed.weights import UNUSABLE, WorkspaceWeights
from corkboard.ranking.config import UtilityWeights
from corkboard.retrieval.catalogue import Catalogue
from corkboard.serving.config import ServingConfig
from corkboard.serving.images import Images
from corkboard.serving.metrics import Metrics
from corkboard.state.base import BaseStates
from corkboard.state.stores import Store

log = logging.getLogger("corkboard.serving")


class ServingFeed(Protocol):
    """What the server asks of the feed of one release. Every method but ``catch_up`` may be called from many threads at once."""

    weights: UtilityWeights
    """What pages are ordered by."""

    @property
    def catalogue(self) -> Catalogue: ...

    def recommend(self, request: RecommendRequest) -> Page:
        """A page, whatever is missing; it is in the served log when this returns, or a note says that it is not."""
        ...

    def catch_up(self) -> int:
        """Take what the store got since the last time into the overlays: items, and what was put on boards. Raises
        :class:`StoreError`."""
        ...

    def use_weights(self, weights: UtilityWeights) -> None:
        """Order every page that begins from now on by ``weights``."""
        ...

    def explain(self, request_id: str, item_id: str) -> dict[str, Any]:
        """Why an item is on a page of the served log, or why not. Raises :class:`NotFound`, :class:`StoreError`."""
        ...


@dataclass(frozen=True)
class Loaded:
    """A release made ready to serve: its feed, and the user states that the store starts from under it."""

    feed: ServingFeed
    base: BaseStates | None = None
    sample_users: Sequence[tuple[str, int]] = ()
    """Some users with the number of their actions, for the page to offer."""
    notes: tuple[str, ...] = ()
    """Codes that every page of this release carries beside those of its feed."""


LoadRelease = Callable[[Release], Loaded]
Stamp = tuple[str, int]
"""A release id, and when its file was written (``mtime_ns``): purging a user writes it anew under the same id."""


@dataclass
class Live:
    """A release that serves."""

    release: Release
    stamp: Stamp
    loaded: Loaded
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def feed(self) -> ServingFeed:
        return self.loaded.feed

    def catch_up(self) -> None:
        """Put the items and edges that arrived since, here or at another worker, into the overlays. Raises :class:`StoreError`."""
        with self.lock:
            self.feed.catch_up()


@dataclass(frozen=True)
class LoadFailure:
    """A release that should be live and could not be loaded."""

    stamp: Stamp
    message: str
    at_s: float

    @property
    def release_id(self) -> str:
        return self.stamp[0]


class LiveEngine:
    """Pages, events, explanations and states over the live release. Thread-safe; blocking."""

    def __init__(
        self,
        releases: Releases,
        store: Store,
        load: LoadRelease,
        config: ServingConfig | None = None,
        metrics: Metrics | None = None,
        weights: WorkspaceWeights | None = None,
    ):
        self.releases = releases
        self.store = store
        self.config = config or ServingConfig()
        self.metrics = metrics or Metrics()
        self.weights = weights or WorkspaceWeights(releases.folder.parent, UtilityWeights())
        self.images = Images(self.workspace / "lake", self.config.picture_cache_mb << 20)
        self.weights_failure: str | None = None
        """Why ``utility.toml`` could not be followed; None while it can."""
        self._weights_stamp: bytes | None = None
        self._load = load
        self._live: Live | None = None
        self._failure: LoadFailure | None = None
        self._turn = threading.Lock()
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None
        self._add_gauges()

    # ------------------------------------------------------------------------------------------------ following the release

    def start(self) -> None:
        """Load the live release and follow it from now on in a background thread."""
        self.poll()
        self._watcher = threading.Thread(target=self._watch, name="release-watcher", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Stop following and close the store."""
        self._stop.set()
        if self._watcher is not None:
            self._watcher.join()
        self.store.close()

    def _watch(self) -> None:
        while not self._stop.wait(self.config.release_poll_s):
            try:
                self.poll()
                if self._live is not None:
                    self._live.catch_up()
            except StoreError:
                self.metrics.store_errors.add()
            except Exception:
                log.exception("Looking for a new release failed; the next look is in %s s", self.config.release_poll_s)

    def poll(self) -> bool:
        """Look which release should be live and load it where it is another one. True when that made a switch."""
        with self._turn:
            switched = self._follow_release()
            if self._live is not None and self.weights.stamp() != self._weights_stamp:
                self._weigh(self._live)
            return switched

    def _weigh(self, live: Live) -> None:
        """Take the utility weights of the workspace over into a feed. Where they cannot be read those before stay: a feed that is about
        to go live takes them over from the one that is."""
        stamp = self.weights.stamp()
        try:
            live.feed.use_weights(self.weights.read())
            self.weights_failure = None
        except UNUSABLE as error:
            log.error("The utility weights of the workspace cannot be used, those before stay: %s", error)
            self.weights_failure = str(error)
            if self._live is not None:
                live.feed.use_weights(self._live.feed.weights)
        self._weights_stamp = stamp

    def weights_now(self) -> UtilityWeights:
        """What pages of this process are ordered by; while no release is live, what those of the first one would be."""
        if self._live is not None:
            return self._live.feed.weights
        try:
            return self.weights.read()
        except UNUSABLE:
            return self.weights.settings

    def set_weights(self, changes: Mapping[str, float]) -> UtilityWeights:
        """Lay ``changes`` over the utility weights of the settings, durably and for every page of this process from now on.

        Other workers follow within ``release_poll_s``. Raises :class:`ConfigError` for what is no weight.
        """
        self.weights.write(changes)
        self.poll()
        return self.weights.read()

    def _follow_release(self) -> bool:
        stamp = self._stamp()
        live, failure = self._live, self._failure
        if stamp is None or (live is not None and live.stamp == stamp):
            self._failure = None
            return False
        if failure is not None and failure.stamp == stamp and time.monotonic() - failure.at_s < self.config.release_retry_s:
            return False
        return self._switch(stamp)

    def _stamp(self) -> Stamp | None:
        release_id = self.releases.current_id()
        if release_id is None:
            return None
        file = self.releases.folder / f"{release_id}.toml"
        return release_id, file.stat().st_mtime_ns if file.exists() else 0

    def _switch(self, stamp: Stamp) -> bool:
        started = time.perf_counter()
        try:
            release = self.releases.load(stamp[0])
            if self._live is not None:  # nothing damaged replaces what works; at first, though, half a release is better than none
                for artifact in release.artifacts.values():
                    artifact.check()
            live = Live(release, stamp, self._load(release))
            live.catch_up()
            self._weigh(live)
        except Exception as error:  # whatever is wrong with it, the release before it must go on serving
            log.exception("Release %s could not be loaded", stamp[0])
            self.metrics.loads.add("failed")
            self._failure = LoadFailure(stamp, str(error), time.monotonic())
            return False
        self.store.set_base(live.loaded.base)
        self._live, self._failure = live, None
        self.metrics.loads.add("loaded")
        log.info("Live: %s (%s), loaded in %.2f s", release.label, release.id, time.perf_counter() - started)
        return True

    @property
    def live(self) -> Live | None:
        """The release that serves now; None before the first one."""
        return self._live

    @property
    def failure(self) -> LoadFailure | None:
        """The release that should serve and does not."""
        return self._failure

    @property
    def workspace(self) -> Path:
        """The folder that holds lake, artefacts and releases."""
        return self.releases.folder.parent

    # -------------------------------------------------------------------------------------------------------------- answers

    def recommend(self, request: RecommendRequest) -> tuple[Page | None, Live | None]:
        """A page, and the release it was made with; None and None where no release is live yet."""
        live = self._live
        if live is None:
            return None, None
        self._catch_up(live)
        return live.feed.recommend(request), live

    def append(self, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Keep valid rows; False marks one that was known. What is kept shapes every page from now on. Raises :class:`StoreError`."""
        try:
            new = self.store.append(rows)
        except StoreError:
            self.metrics.store_errors.add()
            raise
        live = self._live
        if live is not None and any(row["event"] == "item" for row in rows):
            self._catch_up(live)  # encoding items takes a while; what is put on boards can wait for the next page, which catches up anyway
        return new

    def _catch_up(self, live: Live) -> None:
        try:
            live.catch_up()
        except StoreError as error:  # the page says so itself, the next page tries again
            self.metrics.store_errors.add()
            log.warning("What arrived live could not be read: %s", error)

    def explain(self, request_id: str, item_id: str) -> dict[str, Any]:
        """Why an item is on the page ``request_id``, or why not. Raises :class:`NotFound`, :class:`StoreError`."""
        served = self.store.served(request_id)
        if served is None:
            raise NotFound("There is no such page in the served log", found=request_id, hint="It may have been purged with its user.")
        live = self._live
        if live is None:
            raise NotFound("No release is live, so nothing can be explained", hint="Run `corkboard build`.")
        about = {name: served[name] for name in ("time_ms", "user_id", "session_id", "surface")}
        return {**live.feed.explain(request_id, item_id), **about, "release_label": self._label(served["release"])}

    def _label(self, release_id: str | None) -> str | None:
        try:
            return self.releases.load(release_id).label if release_id else None
        except CorkboardError:
            return None  # its files are gone; the id still names it

    def items(self, item_ids: Iterable[str]) -> list[dict[str, Any]]:
        """The catalogue entries of those ``item_ids`` that the live release knows, live items included."""
        live = self._live
        if live is None:
            return []
        self._catch_up(live)
        return [entry for item_id in item_ids if (entry := describe(live.feed.catalogue, item_id, self.images)) is not None]

    def sample_users(self) -> list[dict[str, Any]]:
        """Some users with the number of their actions, longest history first."""
        live = self._live
        return [{"user_id": user, "actions": n} for user, n in (live.loaded.sample_users if live else ())][: self.config.sample_users]

    # --------------------------------------------------------------------------------------------------------------- health

    def store_works(self) -> bool:
        """Whether the store answers."""
        try:
            self.store.sequence()
        except StoreError:
            return False
        return True

    def _overlay_size(self) -> int:
        live = self._live
        return len(live.feed.catalogue) - live.feed.catalogue.frozen if live is not None else 0

    def _add_gauges(self) -> None:
        gauge = self.metrics.gauge
        gauge(
            "corkboard_release_info",
            "The release that is live.",
            ("id", "label"),
            lambda: {(live.release.id, live.release.label): 1.0} if (live := self._live) else {},
        )
        gauge(
            "corkboard_release_stale",
            "1 where a newer release should be live and could not be loaded.",
            (),
            lambda: {(): float(self._failure is not None)},
        )
        gauge(
            "corkboard_overlay_items",
            "Items that arrived live and are not in the frozen index.",
            (),
            lambda: {(): float(self._overlay_size())},
        )
        gauge("corkboard_store_up", "1 where the store answers.", (), lambda: {(): float(self.store_works())})


def describe(catalogue: Catalogue, item_id: str, images: Images) -> dict[str, Any] | None:
    """What is shown of an item, its picture by the address that it has here; None where it is unknown."""
    row = catalogue.row(item_id)
    if row < 0:
        return None
    price = int(catalogue.price_minor[row])
    entry: dict[str, Any] = {"item_id": item_id}
    entry |= {
        name: catalogue.value(name, row)
        for name in ("title", "kind", "category", "creator_id", "brand_id", "merchant_id", "link", "currency")
    }
    entry |= images.shown(catalogue.images(row))
    return {
        **entry,
        "price_minor": None if price < 0 else price,
        "available": bool(catalogue.available[row]),
        "created_ms": int(catalogue.created_ms[row]),
    }
