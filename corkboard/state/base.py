"""User states as of a snapshot of the lake: what a store starts from, so that it need not read a user's whole life."""

from __future__ import annotations

import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import StoreError
from corkboard.lake.schema import DEFAULT_TENANT
from corkboard.state.config import LimitsConfig
from corkboard.state.user_state import LIMITS, UserState

SCHEMA = {"tenant": pl.String, "user_key": pl.String, "state": pl.Binary}


class BaseStates:
    """States by user, and up to which sequence number of which store the lake had its rows when they were made.

    A base of another store has the watermark 0: every row of the store is applied to it, and what both know counts once,
    by its ``event_id``.
    """

    def __init__(self, frame: pl.DataFrame, watermark: int = 0, store_id: str | None = None):
        if dict(frame.schema) != SCHEMA:
            raise StoreError("A table of user states has the wrong columns", found=dict(frame.schema), expected=SCHEMA)
        self.watermark, self.store_id = watermark, store_id
        self._states = frame["state"]
        self._row_of: dict[str, dict[str, int]] = {}
        for row, (tenant, key) in enumerate(frame.select("tenant", "user_key").iter_rows()):
            self._row_of.setdefault(tenant, {})[key] = row

    @classmethod
    def load(cls, frame: pl.DataFrame, watermark: int = 0, store_id: str | None = None) -> BaseStates:
        """The states that :func:`corkboard.state.replay.base_states` made; ``watermark`` is ``lake.watermark(store_id)`` of that lake."""
        return cls(frame, watermark, store_id)

    @classmethod
    def from_artifact(cls, artifact: Artifact, store_id: str) -> BaseStates:
        """The states of a release's artefact, for the store of that id.

        Raises :class:`ArtifactError` for a damaged one and :class:`StoreError` for states that another version wrote.
        """
        artifact.check()
        frame = artifact.table("states")
        for data in frame["state"].head(1):  # all have one format, and it would only be missed at the first page of somebody known
            UserState.from_bytes(data)
        return cls(frame, artifact.config.get("watermarks", {}).get(store_id, 0), store_id)

    @classmethod
    def none(cls) -> BaseStates:
        return cls(pl.DataFrame(schema=SCHEMA))

    def __len__(self) -> int:
        return len(self._states)

    def watermark_for(self, store_id: str) -> int:
        """Rows of that store up to this sequence number are in these states already."""
        return self.watermark if store_id == self.store_id else 0

    def state(self, user_key: str, tenant: str = DEFAULT_TENANT, limits: LimitsConfig = LIMITS) -> UserState | None:
        """A state of the caller's own, None for an unknown user."""
        row = self._row_of.get(tenant, {}).get(user_key)
        return None if row is None else UserState.from_bytes(self._states[row], limits)
