"""Settings of the ranking room."""

from __future__ import annotations

from pydantic import Field

from corkboard.config import Section


class UtilityWeights(Section):
    """What one action is worth. The utility of an item is the sum over heads of weight times P(action): it stays outside
    the trained model, so it can change while serving."""

    close_up: float = 0.2
    """Worth of a close-up: the item was opened."""
    click: float = 0.5
    """Worth of a click to the item's link."""
    long_click: float = 1.0
    """Worth of a click after which the person stayed away for long."""
    save: float = 1.5
    """Worth of a save to a board."""
    add_to_cart: float = 1.5
    """Worth of adding to the cart."""
    checkout: float = 3.0
    """Worth of a purchase."""
    hide: float = -3.0
    """Cost of a hide: a page that annoys costs later visits too."""
    report: float = -5.0
    """Cost of a report."""


class RowsConfig(Section):
    """How training rows are made from pages."""

    max_rows: int = Field(300_000, ge=100)
    """Row budget. Pages with an action or in random order are kept first, the others are subsampled and weighted up."""
    surfaces: tuple[str, ...] = ("home",)
    """Pages of these surfaces are learned from; where the lake has none of them, all pages are."""
    label_hours: float = Field(24.0, gt=0)
    """An action that names no request counts for the last page that showed its item within this many hours."""
    late_heads: tuple[str, ...] = ("add_to_cart", "checkout")
    """Actions that can happen elsewhere and be reported late."""
    maturity_days: float = Field(3.0, ge=0)
    """How long a page's late actions are waited for; a younger page teaches those heads nothing instead of a false "no"."""
    max_sampled_pages: int = Field(5_000, ge=1)
    """Where the lake has no impressions: most actions that a page is made up for; each costs a run of the candidate sources."""
    min_users: int = Field(50, ge=1)
    """A ranker learned from fewer acting users would learn those users; there is none then."""
    negatives: int = Field(20, ge=1)
    """Where the lake has no impressions: sampled items beside each acted-on item."""


class PointwiseConfig(Section):
    """The pointwise ranker's network and training."""

    hidden: tuple[int, ...] = (64, 32)
    """Widths of the shared layers."""
    dropout: float = Field(0.3, ge=0, lt=1)
    """Share of hidden units left out in training; without it a few thousand actions are learned by heart."""
    epochs: int = Field(15, ge=1)
    """Most passes over the rows; training stops earlier when held-out loss no longer falls."""
    patience: int = Field(3, ge=1)
    """Passes without improvement before training stops."""
    batch_size: int = Field(512, ge=16)
    """Rows a step."""
    learning_rate: float = Field(3e-3, gt=0)
    """Peak step size of Adam, cosine decay to zero."""
    weight_decay: float = Field(1e-4, ge=0)
    """Decoupled weight decay."""
    threads: int = Field(1, ge=1)
    """Threads of a pass; see the training loop of `learning`."""
    max_seconds: float = Field(20.0, gt=0)
    """Training stops after the pass that crosses this time, for slow machines."""
    late_share: float = Field(0.15, gt=0, lt=1)
    """The last part of the span that is held out, by time."""
    min_positives: int = Field(20, ge=1)
    """A head with fewer held-out positives is not recalibrated, one with fewer fitted positives answers its base rate."""


class RankingConfig(Section):
    """Settings of ranking."""

    utility: UtilityWeights = UtilityWeights()
    """What each action is worth."""
    rows: RowsConfig = RowsConfig()
    """Training rows."""
    pointwise: PointwiseConfig = PointwiseConfig()
    """The pointwise ranker."""
