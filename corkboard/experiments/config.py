"""Settings of the offline evaluation. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section


class EvaluationConfig(Section):
    """What `corkboard evaluate` measures, over whom, and how sure it has to be."""

    k: int = Field(10, ge=1)
    """Length of the list that recall, NDCG and coverage look at."""
    long_k: int = Field(100, ge=1)
    """Length of the longer list that recall looks at too: about what a ranker is given. Not longer than ``k``: there is none."""
    entropy_k: int = Field(50, ge=1)
    """Length of the list whose topics the interest entropy counts."""
    hit_k: int = Field(3, ge=1)
    """Slots at the top of a page that HIT@K counts."""
    cadence: Literal["once", "daily"] = "once"
    """Lists are made once, at the start of the test, or every day of it from what was known a day earlier."""
    delay_days: int = Field(1, ge=0)
    """With daily lists: days between the last action a list may know and the day it is shown."""
    min_actions: int = Field(1, ge=0)
    """Only users with at least this many actions before the test are asked."""
    max_users: int = Field(20_000, ge=1)
    """At most this many users, drawn by seed."""
    max_pages: int = Field(20_000, ge=1)
    """At most this many pages, drawn by seed, for ranking."""
    negatives: int = Field(50, ge=1)
    """Where a lake has no impressions: items drawn beside each positive, half by popularity and half evenly."""
    replicates: int = Field(1000, ge=100)
    """Resamples of the bootstrap over users."""
    level: float = Field(0.95, gt=0, lt=1)
    """Confidence of every interval."""
    chunk_scores: int = Field(2_000_000, ge=1)
    """Scores held at once: users are scored in chunks of this many over the size of the catalogue."""
    seed: int = 0
    """Seed of samples, tie-breaking and resamples. Two evaluations with one seed and one split hash can be compared."""
