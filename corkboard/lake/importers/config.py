"""Settings of the importers: how foreign words and numbers become ours."""

from __future__ import annotations

from pydantic import Field, model_validator

from corkboard.config import Section


class ImportConfig(Section):
    """How data of other formats becomes items, users, impressions and actions."""

    save_from: float = 4.0
    """A rating of at least this is a `save` (five-star scale)."""

    click_from: float = 3.0
    """A rating of at least this, but below `save_from`, is a `click`."""

    hide_to: float = 2.5
    """A rating of at most this is a `hide`. One between this and `click_from` says nothing and is left out."""

    default_action: str = "click"
    """The action of a row that has neither a rating nor the name of an event."""

    action_names: dict[str, str] = Field(default_factory=dict)
    """Outside event name (letter case and punctuation ignored) = our action, on top of the names that are known anyway."""

    user_facts: bool = True
    """Keep age, gender, occupation and the like as `interests` such as "age:25". Off: they are not imported."""

    tags_per_item: int = 64
    """The first so many different tags of an item become attributes; each day with a new one makes one item row."""

    surface: str = "home"
    """The surface of impressions and actions that do not name one."""

    currency: str = Field(default="USD", pattern="^[A-Z]{3}$")
    """The currency of prices in a format that does not name one (ISO 4217)."""

    synthetic_end_ms: int = 1_577_836_800_000
    """Where data without times ends on our calendar (UTC milliseconds; 2020-01-01)."""

    synthetic_step_ms: int = 60_000
    """Time between two neighbours of a sequence without times (milliseconds)."""

    @model_validator(mode="after")
    def _ratings_in_order(self) -> ImportConfig:
        if not self.hide_to < self.click_from <= self.save_from:
            raise ValueError("hide_to < click_from <= save_from must hold")
        return self
