"""Settings of the lake: where the calendar cuts time, and how large a picture may be."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section
from corkboard.lake.pictures.config import PictureLimits


class CalendarConfig(Section):
    """Lengths of the spans, in days, counted back from the end of the data. A short lake shrinks them (see ``Calendar.of``)."""

    window_days: int = Field(default=0, ge=0)
    """Use only this many days at the end of the data; 0 uses all of it."""

    test_days: int = Field(default=14, ge=1)
    """Length of the test span [B, end), which is read once."""

    rank_days: int = Field(default=14, ge=1)
    """Length of the span [A, B) that ranking rows come from."""

    retrain_days: int = Field(default=1, ge=1)
    """A moves on only every so many days, and item and user models with it. On the days between, a build keeps them and does the night's
    work alone: indexes, the vectors of users who did something, rankers on the days since A. 7 trains them once a week."""

    validation_days: int = Field(default=3, ge=1)
    """Length of the validation at the end of each training span."""

    held_out_share: float = Field(default=0.1, ge=0.0, lt=1.0)
    """Share of users that validation is read on and nothing is trained on."""


class LakeConfig(Section):
    """Settings of the lake."""

    calendar: CalendarConfig = CalendarConfig()
    """Where the calendar cuts time."""

    pictures: PictureLimits = PictureLimits()
    """Bounds on pictures that come in, and what is kept of them."""
