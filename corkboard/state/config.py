"""Settings of the state room: how much of a user is remembered, and how the embedded store writes it down."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section


class LimitsConfig(Section):
    """How much one user's state remembers. The newest are kept, so a state has a largest size whatever a user does."""

    max_actions: int = Field(default=200, ge=1)
    """Actions. A ranker reads the last 100 (TransAct); twice that leaves room for those it skips (undone, on creators)."""
    max_shown: int = Field(default=2_000, ge=1)
    """Slots of pages that were shown: 80 pages of 25, weeks of a busy user and more than a catalogue page rule looks back on."""
    max_hidden: int = Field(default=1_000, ge=1)
    """Hides and reports. They outlive the actions, because a hidden item must not come back after 200 clicks."""
    max_creators: int = Field(default=1_000, ge=1)
    """Follows and blocks together, kept for the same reason."""
    max_undone: int = Field(default=1_000, ge=1)
    """Event ids that were taken back, also of actions that have not arrived yet."""


class StateConfig(Section):
    """Settings of user states and of the store that keeps them."""

    limits: LimitsConfig = LimitsConfig()
    durability: Literal["process", "power"] = "process"
    """What an acknowledged event survives: the end of the process by any signal, or also a power loss (an fsync for each commit)."""
    cached_states: int = Field(default=2_000, ge=1)
    """States that are kept in memory, least recently used out first; a full one takes some 0.3 MB, a usual one a tenth of that."""
    lock_wait_ms: int = Field(default=5_000, ge=1)
    """How long to wait for another process that is writing before the store says that it is locked."""
