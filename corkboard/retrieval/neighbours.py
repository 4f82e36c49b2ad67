"""A table of the nearest neighbours of every item: what item-kNN and board co-occurrence become for serving."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import ArtifactError


@dataclass(frozen=True)
class NeighbourTable:
    """``rows`` int32 and ``scores`` float32, both ``(items, k)``, best first, -1 and 0 where an item has fewer neighbours.

    Row i and the values of ``rows`` are catalogue rows of the catalogue whose ids are ``ids``.
    """

    ids: list[str]
    rows: np.ndarray
    scores: np.ndarray

    def __post_init__(self) -> None:
        if not (self.rows.shape == self.scores.shape and len(self.ids) == len(self.rows)):
            raise ArtifactError("A neighbour table needs one row an id", found=(len(self.ids), self.rows.shape, self.scores.shape))

    def expand(self, seeds: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What lies around ``seeds`` (rows, ``(m,)``), each counting ``weights[i]``.

        Returns distinct rows int64 ``(c,)`` in order, their summed scores float32 ``(c,)`` and for each the place in
        ``seeds`` of the heaviest that knows it, int64 ``(c,)``. Seeds outside of the table (negative, or live items) bring nothing.
        """
        places = np.flatnonzero((seeds >= 0) & (seeds < len(self.rows)))
        places = places[np.argsort(weights[places], kind="stable")]
        near = self.rows[seeds[places]]
        known = near >= 0
        flat = near[known]
        sums = np.bincount(flat, (self.scores[seeds[places]] * weights[places, None])[known], minlength=len(self.rows))
        heaviest = np.empty(len(self.rows), np.int64)
        heaviest[flat] = np.broadcast_to(places[:, None], near.shape)[known]  # of repeated rows the last, heaviest, stays
        rows = np.flatnonzero(sums > 0)
        return rows, sums[rows].astype(np.float32), heaviest[rows]

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        return {"rows": self.rows, "scores": self.scores}

    def tables(self) -> dict[str, pl.DataFrame]:
        """The ids of an artefact."""
        return {"ids": pl.DataFrame({"id": self.ids}, schema={"id": pl.String})}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> NeighbourTable:
        """The table of an artefact written with :meth:`tensors` and :meth:`tables`."""
        return cls(artifact.table("ids")["id"].to_list(), artifact.tensors["rows"], artifact.tensors["scores"])
