"""Settings of training and of hashed text. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from corkboard.config import Section


class TextConfig(Section):
    """How text becomes tokens."""

    max_words: int = Field(default=64, ge=1)
    """Words of one field that are read; the rest is ignored."""
    left_out_attributes: tuple[str, ...] = ("complement", "substitute")
    """Names of attributes that are not read. Relations between items come without a time in imported data, and may have been drawn
    from the very purchases that a test asks for."""
    min_count: int = Field(default=2, ge=1)
    """A token enters the vocabulary when it occurs in at least this many items."""
    max_words_known: int = Field(default=200_000, ge=1)
    """Most word unigrams in the vocabulary; the most frequent are kept."""
    max_bigrams_known: int = Field(default=1_000_000, ge=1)
    """Most word bigrams in the vocabulary."""
    max_trigrams_known: int = Field(default=64_000, ge=1)
    """Most character trigrams in the vocabulary."""


class TrainingConfig(Section):
    """The training loop."""

    steps: int = Field(default=150, ge=0)
    """Gradient steps at most."""
    learning_rate: float = Field(default=6e-3, gt=0)
    """Peak of the learning rate."""
    warmup_steps: int = Field(default=20, ge=0)
    """Steps over which the learning rate rises from 0 to its peak; afterwards it falls along a half cosine."""
    final_share: float = Field(default=0.05, ge=0, le=1)
    """Share of the peak that is left at the last step."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay (AdamW)."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradients are scaled down to this norm."""
    validate_every: int = Field(default=25, ge=1)
    """Steps between two looks at the validation set."""
    patience: int = Field(default=4, ge=1)
    """Training stops after this many looks without a better value."""
    threads: int = Field(default=1, ge=1)
    """Threads of the steps. Steps of small models are thousands of small operations; a second thread mostly waits at their ends, and where
    anything else wants the other core the waiting takes ten times as long as the work."""
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between two checkpoints, where a file for them is given."""


class SampledSoftmaxConfig(Section):
    """Sampled softmax with logQ correction."""

    temperature: float = Field(default=0.07, gt=0.01)
    """Where the learned temperature starts."""
    sketch_depth: int = Field(default=2, ge=1)
    """Rows of the count-min sketch that estimates how often an item is a positive."""
    sketch_width: int = Field(default=1 << 18, ge=2)
    """Counters in a row of it."""
    exact_probability: bool = False
    """Use 1 - (1 - f)^n for the chance to be in a batch of n. The linear n f, the default, corrects popular items harder."""
    separate_pools: bool = True
    """Two softmax losses, one a pool, added (ItemSage); otherwise one over both pools (PinnerFormer)."""
    in_batch: bool = True
    """Whether the positives of the others are negatives. Without, only the random pool is, and its cost does not grow with the batch."""
    correct: bool = True
    """Whether log Q is taken off the scores. Off it is an ablation: popular items are pushed away for being popular."""


class TransformerConfig(Section):
    """A causal encoder of sequences."""

    width: int = Field(default=64, ge=2)
    """Width of a token."""
    layers: int = Field(default=2, ge=1)
    """Blocks of attention and feed-forward."""
    heads: int = Field(default=2, ge=1)
    """Attention heads; they divide the width."""
    feedforward: int = Field(default=4, ge=1)
    """Width of the feed-forward layers, in widths of a token."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of what a block adds that is dropped in training."""
    start_mean: float = Field(default=1.0, ge=0)
    """Before training, an output is its token plus so many times the mean of all that it may read, over all blocks together."""
    window: int = Field(default=128, ge=1)
    """Tokens that are read at most."""
    positions: Literal["distance", "start", "none"] = "distance"
    """Learned positions: by how many tokens lie between the reader and what it reads; counted from the first token; or none."""
    time_gaps: bool = True
    """Whether attention is biased by the time between the reader and what it reads."""
