"""The way in from Python: one folder with its lake, artefacts, releases and store, and everything one does with it.

import corkboard as cb
ws = cb.open("workspace")
ws.ingest("clicks.csv", map={"user_id": "visitorid", "item_id": "sku", "time_ms": "ts", "action": "event"})
ws.build()
ws.evaluate().print()
ws.recommend("ann", k=25).to_polars()
ws.related("sku-1", k=25).to_polars()
ws.similar("photo.jpg", k=25).to_polars()
ws.shop_the_look("photo.jpg").objects
ws.complete_the_look(item_ids=["sku-1", "sku-7"]).shelves
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corkboard.artifacts import EmbeddingTable, ItemList, Releases, write_atomically
from corkboard.errors import CorkboardError, LakeError, NotFound
from corkboard.settings import Settings, load_settings

DAY_MS = 86_400_000
_NOBODY = "nobody in particular"
"""The session of a page that nobody is named for."""
RESTARTS = 5
"""How often a build begins again because a user was deleted meanwhile."""

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from corkboard.experiments.result import Evaluation
    from corkboard.feed.home import Feed
    from corkboard.feed.page import Page
    from corkboard.feed.reorder import RankedList
    from corkboard.feed.weights import WorkspaceWeights
    from corkboard.lake.calendar import Calendar
    from corkboard.lake.ingest import IngestReport
    from corkboard.lake.lake import Lake
    from corkboard.pipeline.build import Announce, Builder, BuildReport
    from corkboard.pipeline.gates import Gates
    from corkboard.pipeline.ledger import Ledger, Progress
    from corkboard.pipeline.rescore import Rescored
    from corkboard.ranking.config import UtilityWeights
    from corkboard.state.sqlite import SqliteStore
    from corkboard.world.world import World


def open(folder: str | Path, config: Path | None = None, overrides: Iterable[str] = (), must_exist: bool = True) -> Workspace:
    """The workspace in ``folder``. Raises :class:`NotFound` where there is none, unless ``must_exist`` is off.

    Settings come from ``config`` or else ``folder/corkboard.toml``, the environment and ``overrides`` ("path=value").
    """
    folder = Path(folder)
    if must_exist and not (folder / "lake").exists():
        raise NotFound(
            "There is no workspace here",
            found=str(folder),
            expected="a folder with a lake",
            hint="`corkboard ingest FILE -w FOLDER` or `corkboard demo` makes one.",
        )
    return Workspace(folder, load_settings(folder, config, overrides))


def open_demo(folder: str | Path, config: Path | None = None, overrides: Iterable[str] = ()) -> Workspace:
    """The workspace of the built-in world, empty at first, with the world's calendar moved to end within the last seven days.

    It is moved by whole weeks, so nothing but dates changes; a world that was made before keeps its dates. A page that is served
    months after the last action would live on features that no training row ever had.
    """
    folder = Path(folder)
    marker = folder / "world.json"
    world = load_settings(folder, config, overrides).world
    week = 7 * DAY_MS
    moved = world.start_ms + (int(time.time() * 1000) - world.end_ms) // week * week
    start_ms = json.loads(marker.read_text())["start_ms"] if marker.exists() else moved
    return open(folder, config, [f"world.start_ms={start_ms}", *overrides], must_exist=False)


def demo(folder: str | Path = "workspace/demo", overrides: Iterable[str] = ()) -> Workspace:
    """The built-in world, built to its best release; made once and kept. Takes a minute or two the first time."""
    workspace = open_demo(folder, overrides=overrides)
    workspace.simulate()
    workspace.build()
    return workspace


class Workspace:
    """One folder: ``lake/`` (data at rest), ``artifacts/``, ``releases/``, ``store.sqlite`` (live events), ``reports/``."""

    def __init__(self, folder: Path, settings: Settings):
        self.folder = folder
        self.settings = settings
        self.releases = Releases(folder)
        self._world: World | None = None

    # ---------------------------------------------------------------------------------------------------------- data in

    def lake(self) -> Lake:
        """The newest snapshot of the data at rest."""
        from corkboard.lake.lake import Lake

        return Lake(self.folder / "lake")

    def ingest(
        self,
        path: str | Path,
        table: str | None = None,
        map: Mapping[str, str] | None = None,
        importer: str | None = None,
        progress: Progress | None = None,
    ) -> IngestReport:
        """Bring a file or a known outside data set into the lake.

        ``map`` renames columns, ours to theirs. Rows that do not fit are kept beside and listed in the report; good rows of the
        same file are kept.
        """
        from corkboard.lake.importers import find_importer, ingest_outside
        from corkboard.lake.ingest import ingest_file
        from corkboard.pipeline.purge import sweep

        path = Path(path)
        if not path.exists():
            raise NotFound("There is no such file or folder", found=str(path))
        lake, limits = self.folder / "lake", self.settings.lake.pictures
        outside = importer is not None or (table is None and not map and find_importer(path) is not None)
        if outside:
            given = {"config": self.settings.imports, "tenant": self.settings.tenant, "limits": limits, "progress": progress}
            return ingest_outside(lake, path, name=importer, **given)
        report = ingest_file(lake, path, table=table, map=map, tenant=self.settings.tenant, progress=progress, limits=limits)
        sweep(self.folder)
        return report

    def ingest_store(self) -> IngestReport:
        """Move the live events and served pages of the online store into the lake, each exactly once."""
        from corkboard.pipeline.from_store import ingest_store
        from corkboard.pipeline.purge import sweep

        with closing(self.store()) as store:
            report = ingest_store(self.folder / "lake", store)
        sweep(self.folder)
        return report

    def simulate(self, out: Path | None = None) -> dict[str, int]:
        """Make the built-in world and ingest it (once), or write its tables as Parquet files to ``out``. Returns rows by table."""
        from corkboard.lake.ingest import ingest_frames
        from corkboard.lake.pictures.store import PictureStore
        from corkboard.world.config import WORLD_VERSION, WorldConfig
        from corkboard.world.world import World

        config = self.settings.world.model_dump(mode="json") | {"version": WORLD_VERSION}
        marker = self.folder / "world.json"
        # a setting that is newer than the marker had no other value than its default
        defaults = WorldConfig().model_dump(mode="json")
        if out is None and marker.exists() and defaults | json.loads(marker.read_text()) == config:
            return self.lake().counts()
        world = World(self.settings.world)
        tables = world.tables()
        if out is not None:
            _write_world(world, tables, out)
        else:
            if marker.exists():
                raise NotFound(
                    "This workspace holds another world",
                    found=str(marker),
                    expected="the settings it was made with",
                    hint="Use a new workspace.",
                )
            with ThreadPoolExecutor() as pool:  # before the rows that name them
                list(pool.map(PictureStore(self.folder / "lake").put, (data for _, data in world.picture_bytes())))
            ingest_frames(self.folder / "lake", tables, source=f"world {self.settings.world.seed}")
            write_atomically(marker, json.dumps(config).encode())
            self._world = world
        return {name: len(frame) for name, frame in tables.items()}

    def world(self) -> World | None:
        """The simulated world that the lake holds, by the settings it was made with; it knows the truth. Made when it is first asked for.

        None where the lake holds none, or one that an earlier version made: this one would make another.
        """
        from corkboard.world.config import WORLD_VERSION, WorldConfig
        from corkboard.world.world import World

        marker = self.folder / "world.json"
        if self._world is None and marker.exists():
            made = json.loads(marker.read_text())
            if made.pop("version", None) == WORLD_VERSION:
                self._world = World(WorldConfig.model_validate(made))
        return self._world

    # -------------------------------------------------------------------------------------------------------------- build

    def calendar(self, lake: Lake | None = None) -> Calendar:
        """The cuts of time of the lake."""
        from corkboard.lake.calendar import Calendar

        return Calendar.of(lake or self.lake(), self.settings.lake.calendar)

    def builder(self, progress: Progress | None = None, ledger: Ledger | None = None, lake: Lake | None = None) -> Builder:
        """What builds the steps of the plan over ``lake``, or its newest snapshot."""
        from corkboard.pipeline.build import Builder
        from corkboard.pipeline.ledger import Ledger
        from corkboard.pipeline.plan import plan

        lake = lake or self.lake()
        return Builder(
            self.folder, plan(self.settings), lake, self.calendar(lake), self.settings.seed, ledger or Ledger(), progress or _silent
        )

    def show(self, thing: str) -> dict[str, Any]:
        """What is known of the lake, the calendar, a user, an item or a release, as plain values."""
        from corkboard.pipeline.show import show

        return show(self, thing)

    def build(self, progress: Progress | None = None, ledger: Ledger | None = None, announce: Announce | None = None) -> BuildReport:
        """Move live events into the lake, rebuild what is stale, and promote each better release that passes its gates.

        Where a user is deleted meanwhile, it begins again without them; what is still good is kept.
        """
        from corkboard.pipeline.build import build_stages, building
        from corkboard.pipeline.purge import sweep

        with building(self.folder):
            if self.store_file.exists():
                self.ingest_store()
            sweep(self.folder)
            failure: Exception | None = None
            for _ in range(RESTARTS):
                lake = self.lake()
                try:
                    return build_stages(self.builder(progress, ledger, lake), self.gates(lake).failed, announce)
                except Exception as error:
                    # a purge takes away files and artefacts under a build's feet, whatever that then trips over
                    if lake.refresh().purges == lake.purges:
                        raise
                    failure = error
                    (progress or _silent)("a user was deleted: building again without them", 0, 0)
            hint = "Build again when it is quieter."
            raise LakeError("Users are deleted faster than a release is made", found=f"{RESTARTS} times", hint=hint) from failure

    def gates(self, lake: Lake | None = None) -> Gates:
        """What a release must pass on the last day of the lake before it goes live."""
        from corkboard.pipeline.gates import Gates

        lake = lake or self.lake()
        return Gates(lake, self.calendar(lake), self.releases, self.settings)

    # ------------------------------------------------------------------------------------------------------------ evaluate

    def evaluate(self, progress: Progress | None = None) -> Evaluation:
        """Measure every model on the test days, beside trivial baselines and, in a simulated world, the oracle."""
        from corkboard.pipeline.evaluate import evaluate

        return evaluate(self.builder(progress), self.settings, self.world())

    def write_report(self, evaluation: Evaluation, path: Path | None = None) -> Path:
        """Write the HTML report and, beside it, the same as JSON; returns the HTML file."""
        from corkboard.experiments.report import write_report

        path = path or self.folder / "reports" / "evaluation.html"
        path.parent.mkdir(parents=True, exist_ok=True)
        evaluation.save(path.with_suffix(".json"))
        return write_report(evaluation, path)

    def rescore(self, days: int = 7, max_pages: int = 5_000, progress: Progress | None = None) -> Rescored:
        """Compute the pages served in the last days again, by the release that served them, and compare with what was logged."""
        from corkboard.pipeline.rescore import rescore

        if not self.store_file.exists():
            return rescore(self.lake(), self.releases, self.settings, None, days, max_pages, progress)
        self.ingest_store()
        with closing(self.store()) as store:
            return rescore(self.lake(), self.releases, self.settings, store, days, max_pages, progress)

    # --------------------------------------------------------------------------------------------------------------- serve

    @property
    def store_file(self) -> Path:
        return self.folder / "store.sqlite"

    def store(self) -> SqliteStore:
        """The online store: live events and the served log. Close it after use."""
        from corkboard.state.sqlite import SqliteStore

        self.folder.mkdir(parents=True, exist_ok=True)
        return SqliteStore(self.store_file, self.settings.state)

    @property
    def utility_weights(self) -> WorkspaceWeights:
        """What actions are worth: the settings, and what was changed while serving."""
        from corkboard.feed.weights import WorkspaceWeights

        return WorkspaceWeights(self.folder, self.settings.ranking.utility)

    def lay_base(self, store: SqliteStore) -> bool:
        """Lay the users as of the live release's lake under the live events of ``store``; False where there are none that can be read."""
        from corkboard.state.base import BaseStates

        release = self.releases.current()
        states = release.get("states") if release else None
        if states is not None:
            with suppress(CorkboardError, OSError):  # without states only what was done since is known
                store.set_base(BaseStates.from_artifact(states, store.store_id))
                return True
        return False

    @cached_property
    def _live(self) -> Feed:
        from corkboard.feed.home import Feed
        from corkboard.feed.look_parts import Looking

        release = self.releases.current()
        if release is None:
            raise NotFound("No release is live", found=str(self.folder), hint="Run `corkboard build` first.")
        store, settings = self.store(), self.settings
        has_base = self.lay_base(store)
        weights = self.utility_weights.read()
        looking = Looking(settings.shopping, settings.vision.detector.weights)
        feed = Feed.load(release, store, settings.feed, weights, settings.retrieval, walk=settings.graph.walk, looking=looking)
        feed.has_base = has_base
        return feed

    def page(self, user_id: str | None, k: int = 25, now_ms: int | None = None, **request: Any) -> Page:
        """The page that a user would get now. It is not written to the served log.

        ``request`` is for :class:`~corkboard.feed.page.RecommendRequest`: ``filter``, ``cursor``, ``surface``, ``item_id``, and for a
        visitor without a user id ``session_id``.
        """
        from corkboard.feed.page import RecommendRequest

        return self._live.recommend(RecommendRequest(user_id=user_id, k=k, now_ms=now_ms or int(time.time() * 1000), log=False, **request))

    def preview(self, user_id: str, weights: UtilityWeights, k: int = 25, now_ms: int | None = None) -> tuple[Page, Page]:
        """The page that a user would get now, and the same page under other utility weights. Neither is logged."""
        from corkboard.feed.page import RecommendRequest

        request = RecommendRequest(user_id=user_id, k=k, now_ms=now_ms or int(time.time() * 1000), log=False)
        plain = self._live.with_weights(self._live.weights, in_order=True)
        return plain.recommend(request), plain.with_weights(weights).recommend(request)

    def recommend(self, user_id: str, k: int = 25, **request: Any) -> ItemList:
        """The items of :meth:`page`."""
        return self.page(user_id, k, **request).items

    def related(self, item_id: str, user_id: str | None = None, k: int = 25, **request: Any) -> ItemList:
        """Items like ``item_id``, in the order for a user, or for somebody nothing is known of. Not written to the served log.

        ``request`` is for :meth:`page`, which with ``surface="related"`` and ``item_id`` also has the notes: an item that is not known
        gets items, too.
        """
        somebody = {} if user_id is not None else {"session_id": _NOBODY}
        return self.page(user_id, k, **{**somebody, **request, "surface": "related", "item_id": item_id}).items

    def search(self, query: str, user_id: str | None = None, k: int = 25, **request: Any) -> ItemList:
        """Items that have the words of ``query``, in the order for a user, or for somebody nothing is known of. Not logged.

        ``request`` is for :meth:`page`, which with ``surface="search"`` also has the notes: what was corrected, and why a page is empty.
        """
        somebody = {} if user_id is not None else {"session_id": _NOBODY}
        return self.page(user_id, k, **{**somebody, **request, "surface": "search", "query": query}).items

    def rank(self, user_id: str | None, item_ids: Sequence[str], scores: Sequence[float] | None = None, **request: Any) -> RankedList:
        """Somebody else's list in the order for a user; ``scores`` are that somebody's. Not written to the served log.

        ``request`` is for :class:`~corkboard.feed.reorder.RankRequest`: ``query``, ``item_id``, ``relevance_weight``, ``weights``,
        ``apply_rules``, ``k``, and for a visitor without a user id ``session_id``.
        """
        from corkboard.feed.reorder import RankRequest, reorder

        somebody = {} if user_id is not None else {"session_id": _NOBODY}
        given = {"now_ms": int(time.time() * 1000), **somebody, **request, "log": False}
        return reorder(self._live, RankRequest(list(item_ids), user_id=user_id, scores=scores, **given))

    def similar(
        self,
        image: Path | str | np.ndarray | None = None,
        item_id: str | None = None,
        user_id: str | None = None,
        k: int = 25,
        **request: Any,
    ) -> ItemList:
        """Items that look like a picture, or like that of ``item_id``, most alike first. Not written to the served log.

        ``image`` is a file, or uint8 ``(height, width, 3)``, upright. ``request`` is for :meth:`page`, which with ``surface="visual"`` also
        has the notes: ``crop`` is the part of the picture that counts, left, top, right and bottom as shares in [0, 1].
        """
        from corkboard.feed.visual import VISUAL, read_picture

        picture = read_picture(Path(image)) if isinstance(image, str | Path) else image
        somebody = {} if user_id is not None else {"session_id": _NOBODY}
        return self.page(user_id, k, **{**somebody, **request, "surface": VISUAL, "item_id": item_id, "image": picture}).items

    def shop_the_look(
        self,
        image: Path | str | np.ndarray | None = None,
        item_id: str | None = None,
        user_id: str | None = None,
        k: int = 6,
        **request: Any,
    ) -> Page:
        """What is in a picture, or in that of ``item_id``, and for each object at most k products that look like it: ``objects`` of the
        page. Not written to the served log.

        ``image`` and ``request`` are as of :meth:`similar`.
        """
        return self._look("shop_the_look", image, user_id, k, item_id=item_id, **request)

    def complete_the_look(
        self,
        image: Path | str | np.ndarray | None = None,
        item_id: str | None = None,
        item_ids: Sequence[str] = (),
        category: str | None = None,
        user_id: str | None = None,
        k: int = 6,
        **request: Any,
    ) -> Page:
        """Products that go with a picture, an item or a few products, at most k of ``category`` or of each category that the look lacks:
        ``shelves`` of the page. Not written to the served log.

        ``image`` and ``request`` are as of :meth:`similar`.
        """
        look = {"item_id": item_id, "item_ids": tuple(item_ids), "category": category}
        return self._look("complete_the_look", image, user_id, k, **look, **request)

    def _look(self, surface: str, image: Path | str | np.ndarray | None, user_id: str | None, k: int, **request: Any) -> Page:
        from corkboard.feed.visual import read_picture

        picture = read_picture(Path(image)) if isinstance(image, str | Path) else image
        somebody = {} if user_id is not None else {"session_id": _NOBODY}
        return self.page(user_id, k, **{**somebody, **request, "surface": surface, "image": picture})

    def vectors(self, name: str = "content") -> EmbeddingTable:
        """The vectors of the live release in the space ``name``: "content", "multibisage", its reduced form "multibisage_small" for
        rankers of one's own, "pinnerformer" (item embeddings)."""
        release, known = self.releases.current(), []
        for artifact in release.artifacts.values() if release else ():
            if "vectors" in artifact.tensors and len(artifact.makes) == 1:
                if artifact.makes[0].name == name:
                    return artifact.embeddings()
                known.append(artifact.makes[0].name)
        encoder = release.get("multibisage") if release else None
        if name == "multibisage_small" and encoder is not None:
            from corkboard.embeddings.multibisage import MultiBiSage

            model, whole = MultiBiSage.from_artifact(encoder), self.vectors("multibisage")
            return EmbeddingTable(whole.ids, model.small(whole.vectors), model.small_space)
        raise NotFound("The live release has no such vectors", found=name, expected=sorted(known))

    def titles(self, item_ids: Sequence[str]) -> dict[str, str]:
        """Titles by item id; an item without one goes by its id."""
        catalogue = self._live.catalogue
        rows = zip(item_ids, catalogue.rows(item_ids).tolist(), strict=True)
        return {item_id: (catalogue.value("title", row) if row >= 0 else None) or item_id for item_id, row in rows}


def _write_world(world: World, tables: Mapping[str, pl.DataFrame], out: Path) -> None:
    """The tables as Parquet, and the pictures beside them, which the column ``images`` names by their path."""
    import polars as pl

    (out / "pictures").mkdir(parents=True, exist_ok=True)
    paths: dict[str, list[str]] = {item_id: [] for item_id in world.item_ids}
    for item_id, data in world.picture_bytes():
        mine = paths[item_id]
        mine.append(f"pictures/{item_id}-{len(mine) + 1}.jpg" if mine else f"pictures/{item_id}.jpg")
        (out / mine[-1]).write_bytes(data)
    shown = pl.Series([paths[item_id] for item_id in tables["items"]["item_id"]], dtype=pl.List(pl.String))
    items = tables["items"].with_columns(images=shown)
    for name, frame in {**tables, "items": items}.items():
        frame.write_parquet(out / f"{name}.parquet")


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""
