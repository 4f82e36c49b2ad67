"""Settings of the ranking room."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from corkboard.config import Section
from corkboard.learning.config import TrainingConfig


class UtilityWeights(Section):
    """What one action is worth. The utility of an item is the sum over heads of weight times P(action): it stays outside
    the trained model, so it can change while serving."""

    model_config = Section.model_config | {"allow_inf_nan": False}

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
    """Pages of these surfaces are learned from; where the lake has none of them, all pages are. With "related" among them the ranker learns
    how candidates go with the item that a page is beside, and features tell these pages apart."""
    related_weight: float = Field(0.2, gt=0)
    """What a row of a page beside an item weighs against one of home. On such a page the last action is mostly on that item and every
    candidate is like it; at full weight that teaches a ranker to make less of last actions on home, too."""
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
    late_share: float = Field(0.15, gt=0, lt=1)
    """The last part of the span that is held out, by time."""
    min_positives: int = Field(20, ge=1)
    """A head with fewer held-out positives is not recalibrated, one with fewer fitted positives answers its base rate."""


class TransActConfig(Section):
    """The sequence module: a transformer over the newest actions of a user, each row beside the candidate (Xia et al., KDD 2023)."""

    version: Literal["v1.0", "v1.1"] = "v1.1"
    """What leaves the encoder. v1.0: all rows, one after another; v1.1: the first rows and the maximum over all rows."""
    length: int = Field(100, ge=1)
    """Newest actions that are read."""
    item_dim: int = Field(32, ge=1)
    """Width of an item vector, of past items and candidates alike."""
    action_dim: int = Field(32, ge=1)
    """Width of the learned embedding of an action's kind."""
    heads: int = Field(2, ge=1)
    """Attention heads; they divide action_dim + 2 item_dim."""
    layers: int | None = Field(None, ge=1)
    """Encoder layers; empty: as published, one in v1.0 and two in v1.1."""
    ffn: int = Field(32, ge=1)
    """Width of the feed-forward part of a layer."""
    dropout: float = Field(0.1, ge=0, lt=1)
    """Share of attention weights, hidden units and layer outputs left out in training, rounded to a multiple of 1/256."""
    window_hours: float = Field(24.0, ge=0)
    """In training, actions younger than a time drawn between 0 and this for each example are hidden, against reacting to the last
    action alone; 0 hides none."""
    first_k: int = Field(10, ge=1)
    """v1.1: rows of the newest visible actions that leave the encoder as they are."""
    use_actions: bool = True
    """Tell kinds of action apart. Otherwise all share one embedding."""

    @property
    def dim(self) -> int:
        """Width of a row [action; item; candidate]."""
        return self.action_dim + 2 * self.item_dim

    @property
    def depth(self) -> int:
        """Encoder layers."""
        return self.layers or (1 if self.version == "v1.0" else 2)

    @model_validator(mode="after")
    def _heads_divide(self) -> Self:
        if self.dim % self.heads:
            raise ValueError(f"action_dim + 2 item_dim = {self.dim} is not a multiple of heads = {self.heads}")
        return self


class LabelWeights(Section):
    """Weights of the hybrid ranker's loss: for each head, by what was done with the item. Calibration takes them out of its answers."""

    impression: float = Field(1.0, gt=0)
    """Weight of every shown item in every head, whatever was done with it."""
    own: float = Field(1.0, ge=0)
    """Added in a head whose own action was done."""
    disliked: float = Field(1.0, ge=0)
    """Added in heads of liking where the item was hidden or reported."""
    matrix: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Weights that replace these, by head and action: `matrix.click.hide = 10`."""
    balance: float = Field(1.0, ge=0, le=1)
    """0: heads weigh by what they have to learn, so common actions shape the shared layers; 1: all heads alike, however rare."""


class UserWeights(Section):
    """Weights of the hybrid ranker's loss by cohort of users, so that the few most active do not decide alone."""

    enabled: bool = False
    """Whether cohorts are weighed at all."""
    bounds: tuple[int, ...] = (10, 100, 500)
    """Earlier actions from which on a user belongs to the next cohort."""
    balance: float = Field(0.5, ge=0, le=1)
    """A cohort weighs its share of the rows to minus this power."""


class HybridConfig(Section):
    """The hybrid ranker: last actions through TransAct, the batch user vector and all other features, crossed by DCN v2."""

    sequence: Literal["none", "mean", "transact"] = "transact"
    """What reads the last actions: nothing, a mean, or TransAct."""
    transact: TransActConfig = TransActConfig(length=50, item_dim=24, action_dim=16, layers=1, window_hours=0)
    """The sequence module. Its item_dim is the width that item embeddings are reduced to, for candidates too. One layer and no time
    window is what a few thousand actions carry; published are two layers, 100 actions, 32 and 32 wide, and a window of 24 hours."""
    sequence_dim: int = Field(32, ge=0)
    """Width that the sequence module's answer is reduced to before the crossing; 0: as it is, as published."""
    fade_hours: float = Field(24.0, ge=0)
    """Items of past actions fade to 1/e in this many hours, and hides and reports not where TransAct sees them as such; 0: none does, as
    published."""
    user_vector: bool = True
    """Read the user vector of the nightly batch."""
    user_dim: int = Field(32, ge=1)
    """Width that the user vector is reduced to, beside its product with the candidate."""
    features: Literal["all", "batch"] = "all"
    """Which request features: all, or those without what is made by hand from the last actions (similarities, matches, item-kNN,
    usual price)."""
    cross_layers: int = Field(2, ge=0)
    """Cross layers of DCN v2."""
    cross_rank: int = Field(32, ge=0)
    """Rank of their matrices; 0 is full rank, as published, which a few thousand actions cannot fill."""
    hidden: tuple[int, ...] = (128, 64)
    """Widths of the layers after the crossing."""
    dropout: float = Field(0.2, ge=0, lt=1)
    """Share of their units left out in training."""
    user_vector_dropout: float = Field(0.1, ge=0, lt=1)
    """Share of pages whose user vector is left out in training, so that the ranker survives its loss."""
    sequence_dropout: float = Field(0.02, ge=0, lt=1)
    """Share of pages whose last actions are left out in training."""
    item_dropout: float = Field(0.02, ge=0, lt=1)
    """Share of rows whose item embedding is left out in training."""
    label_weights: LabelWeights = LabelWeights()
    """Weights by head and action."""
    user_weights: UserWeights = UserWeights()
    """Weights by cohort of users."""
    negatives_per_positive: float = Field(8.0, gt=0)
    """Rows of one pass without an action, for each row with one. They are drawn anew for every pass and weighed up; pages in random
    order are kept whole."""
    epochs: int = Field(2, ge=1)
    """Most passes over the pages; training stops earlier when held-out loss no longer falls."""
    batch: int = Field(32, ge=1)
    """Pages a step."""
    looks: int = Field(2, ge=1)
    """Looks at the held-out loss in a pass."""
    patience: int = Field(3, ge=1)
    """Looks without improvement before training stops."""
    learning_rate: float = Field(2e-3, gt=0)
    """Peak step size of AdamW: warmed up, then a cosine down."""
    warmup: float = Field(0.1, ge=0, le=1)
    """Share of all steps over which the step size rises."""
    weight_decay: float = Field(1e-3, ge=0)
    """Decoupled weight decay."""
    threads: int = Field(1, ge=1)
    """Threads of training."""
    late_share: float = Field(0.15, gt=0, lt=1)
    """The last part of the span that is held out, by time."""
    min_positives: int = Field(20, ge=1)
    """A head with fewer held-out positives gets its level corrected only, one with fewer fitted positives answers its base rate."""

    @property
    def history_length(self) -> int:
        """Actions that are read of a request; 0 where none are."""
        return 0 if self.sequence == "none" else self.transact.length

    @property
    def dislikes_last(self) -> bool:
        """Whether hides and reports are kept from fading: where the sequence module sees of each item what was done with it. In a mean of
        items dislikes would drown what is liked, and without embeddings of kinds the sizes of items would give the kinds away."""
        return self.sequence == "transact" and self.transact.use_actions


class LightConfig(Section):
    """The light ranker: two towers between the candidate sources and the full ranker, distilled from the full ranker's order."""

    moments: int = Field(500, ge=10)
    """Moments of the ranking span that are replayed; the full ranker scores a list for each."""
    candidates: int = Field(400, ge=10)
    """Candidates of a list, as the sources bring them."""
    random_items: int = Field(100, ge=0)
    """Random items beside them, so that what the sources bring today is not all it can tell apart."""
    channels: int = Field(4, ge=1)
    """Products of pooled actions and items in each kind of vector, each with its own weights of the windows."""
    categories: int = Field(64, ge=0)
    """The largest categories are told apart as such."""
    hidden: int = Field(64, ge=1)
    """Width of the hidden layer of each tower."""
    free: int = Field(16, ge=1)
    """Numbers of the dot product that both towers fill as they like."""
    temperature: float = Field(0.5, gt=0)
    """The teacher's utilities, standardised within a list, are divided by this before they become shares: less looks more at the top."""
    gamma: float = Field(1.0, ge=0)
    """Weight of the teacher's order beside what was really done."""
    batch_lists: int = Field(16, ge=1)
    """Lists a step."""
    training: TrainingConfig = TrainingConfig(steps=400, learning_rate=3e-3, weight_decay=1e-3, validate_every=50, patience=4)
    """The training loop; what is validated is teacher recall on the lists of held-out users."""
    top: int = Field(50, ge=1)
    """Teacher recall: of the teacher's best so many candidates ..."""
    kept: int = Field(100, ge=1)
    """... the share that is among so many of the light ranker."""


class RankingConfig(Section):
    """Settings of ranking."""

    utility: UtilityWeights = UtilityWeights()
    """What each action is worth."""
    rows: RowsConfig = RowsConfig()
    """Training rows."""
    pointwise: PointwiseConfig = PointwiseConfig()
    """The pointwise ranker."""
    hybrid: HybridConfig = HybridConfig()
    """The hybrid ranker."""
    light: LightConfig = LightConfig()
    """The light ranker before it."""
