"""The graphs of one moment, as an artefact holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import ArtifactError, InputError
from corkboard.graph.bipartite import BipartiteGraph

FOLLOW = "follow"
"""The graph of creators (left) and the users who follow them; the left nodes of all others are the items."""
_ITEMS, _CREATORS, _NAMES, _RIGHT = "graph_items", "graph_creators", "graph_names", "graph_right_"


@dataclass(frozen=True)
class Graphs:
    """Graphs by name, over ``item_ids``; ``follow`` is there among them, with left nodes of its own."""

    item_ids: Sequence[str]
    by_name: Mapping[str, BipartiteGraph]

    def __post_init__(self) -> None:
        for name, graph in self.of_items.items():
            if len(graph.left_ids) != len(self.item_ids):
                raise InputError(f"The graph {name} is one of other items", found=len(graph.left_ids), expected=len(self.item_ids))

    @property
    def of_items(self) -> dict[str, BipartiteGraph]:
        """The graphs whose left nodes are the items."""
        return {name: graph for name, graph in self.by_name.items() if name != FOLLOW}

    @property
    def walked(self) -> str | None:
        """The graph that a request walks: boards where anything lies on one, else the largest graph of users, else the largest of all.

        None where there is no edge at all.
        """
        edges = {name: graph.edges for name, graph in self.of_items.items() if graph.edges}
        if "board" in edges:
            return "board"
        users = [name for name in edges if name.startswith("user_")]
        return max(users or edges, key=lambda name: (edges[name], name), default=None)

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {key: array for graph in self.by_name.values() for key, array in graph.tensors().items()}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables of an artefact: its items, its graphs by name, and the right nodes of each graph."""
        tables = {_ITEMS: _ids(self.item_ids), _NAMES: _ids(list(self.by_name))}
        if FOLLOW in self.by_name:
            tables[_CREATORS] = _ids(self.by_name[FOLLOW].left_ids)
        return tables | {_RIGHT + name: graph.table() for name, graph in self.by_name.items()}

    @classmethod
    def from_artifact(cls, artifact: Artifact, only: Sequence[str] | None = None) -> Graphs:
        """The graphs of an artefact written with :meth:`tensors` and :meth:`tables`, or those named by ``only``; edges are mapped.

        Raises :class:`ArtifactError` for a name that it does not have.
        """
        names, item_ids = (artifact.table(table)["id"].to_list() for table in (_NAMES, _ITEMS))
        for name in only or ():
            if name not in names:
                raise ArtifactError(f"The artefact {artifact.key} has no graph {name}", expected=names)
        by_name = {}
        for name in names if only is None else only:
            left_ids = artifact.table(_CREATORS)["id"].to_list() if name == FOLLOW else item_ids
            by_name[name] = BipartiteGraph.from_artifact(artifact, name, left_ids, artifact.table(_RIGHT + name))
        return cls(item_ids, by_name)


def _ids(ids: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame({"id": list(ids)}, {"id": pl.String})
