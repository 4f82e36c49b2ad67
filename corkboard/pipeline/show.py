"""What `corkboard show` answers: plain facts about one thing of a workspace."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from corkboard.errors import NotFound
from corkboard.feed.guesses import ATTRIBUTES, Guesses

if TYPE_CHECKING:
    from corkboard.feed.page import Page
    from corkboard.graph.bipartite import BipartiteGraph
    from corkboard.workspace import Workspace


def show_page(workspace: Workspace, user_key: str, changes: Sequence[str], k: int = 25) -> dict[str, Any]:
    """The page of a user as it is, beside the page as it would be under other utility weights (``save=3``); nothing is logged.

    ``items``: every item of either page, in the order of the new one, with its place ``before`` and ``after`` (from 1, None where
    it is not on that page), the utility under either, and title. Raises :class:`ConfigError` for what is no weight.
    """
    from corkboard.feed.weights import changed

    now = workspace.utility_weights.read()
    weights = changed(now, changes)
    before, after = workspace.preview(user_key, weights, k)
    ids = list(dict.fromkeys([*after.items, *before.items]))
    titles, places = workspace.titles(ids), [_places(page) for page in (before, after)]
    items = [{"item_id": item, "title": titles[item], **_standing(item, *places)} for item in ids]
    worth = {name: {"before": old, "after": getattr(weights, name)} for name, old in now.model_dump().items()}
    notes = [{"code": note.code, "text": note.text} for note in after.notes]
    return {"user": user_key, "release": after.release, "weights": worth, "items": items, "notes": notes}


def _places(page: Page) -> dict[str, tuple[int, float]]:
    """Place from 1 and utility by item."""
    return {item: (n + 1, float(score)) for n, (item, score) in enumerate(zip(page.items, page.items.scores, strict=True))}


def _standing(item: str, before: dict[str, tuple[int, float]], after: dict[str, tuple[int, float]]) -> dict[str, Any]:
    old, new = before.get(item, (None, None)), after.get(item, (None, None))
    moved = None if old[0] is None or new[0] is None else old[0] - new[0]
    return {"before": old[0], "after": new[0], "moved": moved, "utility_before": old[1], "utility_after": new[1]}


def show(workspace: Workspace, thing: str) -> dict[str, Any]:
    """Facts about "lake", "calendar", "releases", "graphs" or "pictures", or the release, item or user of that id.

    For "pictures" a contact sheet is written. Raises :class:`NotFound`.
    """
    known = {"lake": _lake, "calendar": _calendar, "releases": _releases, "graphs": _graphs, "pictures": _pictures}
    if thing in known:
        return known[thing](workspace)
    for look in (_release, _item, _user):
        facts = look(workspace, thing)
        if facts is not None:
            return facts
    expected = "lake, calendar, releases, graphs, pictures, or the id of a release, an item or a user"
    raise NotFound("There is no such thing", found=thing, expected=expected)


def when(time_ms: int | None) -> str:
    """A moment for people, UTC."""
    return "never" if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _lake(workspace: Workspace) -> dict[str, Any]:
    lake = workspace.lake()
    first_ms, last_ms = lake.time_range()
    return {**lake.counts(), "first": when(first_ms), "last": when(last_ms), "snapshot": lake.snapshot}


def _calendar(workspace: Workspace) -> dict[str, Any]:
    lake = workspace.lake()
    calendar = workspace.calendar(lake)
    return {
        "start": when(calendar.start_ms),
        "A, item models end": when(calendar.item_cut_ms),
        "B, ranking rows end and the test begins": when(calendar.rank_cut_ms),
        "end": when(calendar.end_ms),
        "split hash": calendar.split_hash(lake),
    }


def _releases(workspace: Workspace) -> dict[str, Any]:
    live = workspace.releases.current_id()
    return {release.id: release.label + (" (live)" if release.id == live else "") for release in workspace.releases.list()}


def _graphs(workspace: Workspace) -> dict[str, Any]:
    """By graph of the live release: its nodes of either side, how many on the left have an edge and their median degree, its edges, and
    whether requests walk it. Left nodes are items; of follow, creators."""
    from corkboard.graph.graphs import Graphs

    release = workspace.releases.current()
    artifact = None if release is None else release.get("graphs")
    if artifact is None:
        raise NotFound("The live release has no graphs", found=None if release is None else release.id, hint="Run `corkboard build`.")
    graphs = Graphs.from_artifact(artifact)
    return {name: _graph_facts(graph) | {"walked": name == graphs.walked} for name, graph in graphs.by_name.items()}


def _graph_facts(graph: BipartiteGraph) -> dict[str, Any]:
    degrees = graph.left.degrees
    linked = degrees[degrees > 0]
    return {
        "left": len(graph.left),
        "right": len(graph.right),
        "linked": len(linked),
        "median_degree": float(np.median(linked)) if len(linked) else 0.0,
        "edges": graph.edges,
    }


def _pictures(workspace: Workspace) -> dict[str, Any]:
    """Write a contact sheet of the simulated world, a row an item and a column a domain and view, and say where it lies."""
    from corkboard.world.sheet import COLUMNS, by_category, products_sheet, write_sheet

    world = workspace.world()
    if world is None:
        raise NotFound(
            "This workspace holds no simulated world of this version", found=str(workspace.folder), hint="Run `corkboard simulate`."
        )
    products = world.products()
    rows = by_category(products)
    path = write_sheet(workspace.folder / "pictures.png", products_sheet(products, rows, seed=world.config.seed))
    return {
        "contact sheet": str(path),
        "columns": ", ".join(domain for domain, _ in COLUMNS),
        "rows": ", ".join(world.item_ids[row] for row in rows.tolist()),
    }


def _release(workspace: Workspace, release_id: str) -> dict[str, Any] | None:
    for release in workspace.releases.list():
        if release.id == release_id:
            parts = {role: artifact.key for role, artifact in sorted(release.artifacts.items())}
            return {"release": release.id, "label": release.label, "made": when(release.created_ms), **parts}
    return None


def _item(workspace: Workspace, item_id: str) -> dict[str, Any] | None:
    lake = workspace.lake()
    found = lake.items().filter(pl.col("item_id") == item_id)
    if found.is_empty():
        return None
    facts = {name: value for name, value in found.row(0, named=True).items() if value not in (None, [], "")}
    counts = lake.actions().filter(pl.col("item_id") == item_id)["action"].value_counts(sort=True)
    facts |= {"created": when(facts.pop("created_ms")), **{f"{action} actions": count for action, count in counts.iter_rows()}}
    release = workspace.releases.current()
    guesses = None if release is None else release.get(ATTRIBUTES)
    guessed = {} if guesses is None else Guesses.from_artifact(guesses).of(item_id)
    return {**facts, **({"guessed": guessed} if guessed else {})}


def _user(workspace: Workspace, user_key: str) -> dict[str, Any] | None:
    with closing(workspace.store()) as store:
        workspace.lay_base(store)
        state = store.state(user_key, workspace.settings.tenant)
    if state.last_ms is None:
        return None
    last = [f"{when(action.time_ms)} {action.action} {action.item_id or action.creator_id}" for action in state.actions[:10]]
    return {
        "user": user_key,
        "first": when(state.first_ms),
        "last": when(state.last_ms),
        **{f"{action} actions": count for action, count in state.counts.items()},
        "follows": ", ".join(sorted(state.follows)) or "nobody",
        "blocks": ", ".join(sorted(state.blocks)) or "nobody",
        "hidden items": len(state.hidden),
        **{f"action {n + 1}": text for n, text in enumerate(last)},
    }
