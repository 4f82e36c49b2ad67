"""From a release on disk to one that serves: its feed, the user states under it, and a few users to offer on the page."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from corkboard.artifacts import Release
from corkboard.errors import CorkboardError
from corkboard.feed.home import Feed
from corkboard.feed.look_parts import Looking
from corkboard.serving.live import Loaded, LoadRelease
from corkboard.serving.people import sample_users
from corkboard.state.base import BaseStates
from corkboard.state.stores import Store

if TYPE_CHECKING:
    from corkboard.settings import Settings

log = logging.getLogger("corkboard.serving")

STATES = "states"
"""The role of the artefact that holds user states, and the name of its table."""


def release_loader(store: Store, settings: Settings) -> LoadRelease:
    """What loads a release over ``store`` under ``settings``."""

    def load(release: Release) -> Loaded:
        base, samples, notes = _states(release, store, settings)
        watermark = 0 if base is None else base.watermark_for(store.store_id)
        feed = Feed.load(
            release,
            store,
            settings.feed,
            settings.ranking.utility,
            settings.retrieval,
            watermark,
            settings.seed,
            walk=settings.graph.walk,
            looking=Looking(settings.shopping, settings.vision.detector.weights),
        )
        feed.has_base = base is not None
        _one_thread()
        feed.warm_up()
        return Loaded(feed, base, samples, notes)

    return load


def _one_thread() -> None:
    """A page is thousands of small products: a second thread mostly waits at their ends, and more pages come from more workers."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _states(release: Release, store: Store, settings: Settings) -> tuple[BaseStates | None, list[tuple[str, int]], tuple[str, ...]]:
    """The states of a release, users to offer, and the notes its pages carry where states are missing or damaged."""
    artifact = release.get(STATES)
    if artifact is None:
        return None, [], ("no_states",)
    try:
        base = BaseStates.from_artifact(artifact, store.store_id)
        return base, sample_users(artifact.table(STATES), settings.serving.sample_users, settings.tenant), ()
    except (CorkboardError, OSError) as error:
        log.error("The user states of release %s cannot be read: %s", release.id, error)
        return None, [], ("no_states",)
