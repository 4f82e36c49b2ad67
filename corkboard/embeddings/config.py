"""Settings of the towers. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from corkboard.config import Section
from corkboard.learning.config import SampledSoftmaxConfig, TextConfig, TrainingConfig, TransformerConfig


class PairActionWeights(Section):
    """How much an action says about what belongs together."""

    close_up: float = Field(default=0.3, ge=0)
    """Weight of looking at an item up close."""
    click: float = Field(default=0.6, ge=0)
    """Weight of a click."""
    long_click: float = Field(default=1.0, ge=0)
    """Weight of a click after which the person stayed away long."""
    save: float = Field(default=1.5, ge=0)
    """Weight of a save."""
    add_to_cart: float = Field(default=1.5, ge=0)
    """Weight of putting an item into a cart."""
    checkout: float = Field(default=1.5, ge=0)
    """Weight of buying an item."""


class PairConfig(Section):
    """Which items count as engaged together."""

    window_minutes: float = Field(default=60.0, gt=0)
    """Two positive actions of one user at most this far apart make a pair."""
    next_actions: int = Field(default=6, ge=1)
    """An action is paired with at most this many that follow it."""
    board_neighbours: int = Field(default=6, ge=0)
    """A save is paired with at most this many later saves to the same board, whenever they happen; 0 leaves boards out."""
    cap_per_item: int = Field(default=200, ge=1)
    """Pairs per item at most, on either side, drawn at random: popular items would fill the set otherwise."""
    max_pairs: int = Field(default=400_000, ge=1)
    """Pairs in all, drawn at random where there are more."""
    weights: PairActionWeights = PairActionWeights()
    """A pair weighs the geometric mean of its two actions."""


class FieldScales(Section):
    """How much each field of an item counts in the sum that the vector starts from."""

    title: float = Field(default=1.0, ge=0)
    """Title."""
    description: float = Field(default=0.6, ge=0)
    """Description."""
    attributes: float = Field(default=0.8, ge=0)
    """Attributes, each name=value as one token."""
    category: float = Field(default=0.7, ge=0)
    """Category."""
    brand: float = Field(default=0.4, ge=0)
    """Brand."""
    creator: float = Field(default=0.4, ge=0)
    """Creator."""
    facts: float = Field(default=0.2, ge=0)
    """Kind and price bucket."""


class ContentConfig(Section):
    """The text-and-attribute tower."""

    dim: int = Field(default=64, ge=2)
    """Width of the vectors."""
    table_rows: int = Field(default=16_384, ge=2)
    """Rows of the shared table of the hash embedding."""
    hidden: int = Field(default=128, ge=1)
    """Width of the hidden layer."""
    field_dropout: float = Field(default=0.2, ge=0, lt=1)
    """In training, each field of an item is left out this often, so that items without text, brand or creator still fit in."""
    batch: int = Field(default=1024, ge=2)
    """Pairs a step."""
    pool: int = Field(default=512, ge=0)
    """Random catalogue items a step, as further negatives."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of users whose pairs are kept for early stopping."""
    scales: FieldScales = FieldScales()
    """Where the weights of the fields start; the untrained tower keeps them."""
    text: TextConfig = TextConfig()
    """How text becomes tokens."""
    softmax: SampledSoftmaxConfig = SampledSoftmaxConfig()
    """The loss."""
    training: TrainingConfig = TrainingConfig()
    """The training loop."""
    pairs: PairConfig = PairConfig()
    """Which items count as engaged together."""


class HistoryConfig(Section):
    """What of a user's actions a model reads, and what it learns to foresee."""

    actions: tuple[str, ...] = ("close_up", "click", "long_click", "save", "add_to_cart", "checkout")
    """Actions that are read: positive ones, as published. Hides and reports may be added, each action has a type of its own; on the
    simulated world they did not help to retrieve."""
    labels: tuple[str, ...] = ("close_up", "click", "long_click", "save", "add_to_cart", "checkout")
    """Actions that are foreseen."""
    label_seconds: float = Field(default=0.0, ge=0)
    """Close-ups and clicks must have lasted longer than this, where it is known how long they lasted."""
    repeats: bool = False
    """Whether an item is foreseen again for a user who has already acted on it. Otherwise it counts once, at the first action."""


class ItemTowerConfig(Section):
    """The tower from a content vector and an id to an item embedding."""

    id_dim: int = Field(default=32, ge=0)
    """Width of the id embedding; 0 leaves ids out."""
    id_dropout: float = Field(default=0.6, ge=0, le=1)
    """In training, the id of an item is left out of a step this often, so that an item without one still gets a sensible vector."""
    id_start: float = Field(default=0.2, gt=0)
    """Length of an id embedding before training, about. The shorter, the faster its direction turns."""
    start: Literal["random", "spectral"] = "spectral"
    """Id embeddings start at random, or as the leading factors of who engaged with what."""
    id_min_actions: int = Field(default=3, ge=1)
    """Only items with at least this many actions have an id embedding."""
    hidden: int = Field(default=128, ge=1)
    """Width of the hidden layer."""


class ObjectiveConfig(Section):
    """Which actions after which positions are foreseen."""

    name: Literal["next_action", "sasrec", "all_action", "dense_all_action"] = "dense_all_action"
    """The pairs of a position and an action after it."""
    days: float = Field(default=28.0, gt=0)
    """How far ahead ``all_action`` and ``dense_all_action`` look."""
    positions: int = Field(default=48, ge=1)
    """Positions of a history that ``dense_all_action`` draws a step."""
    labels: int = Field(default=32, ge=1)
    """Most actions that ``all_action`` draws for its one position."""
    last_weight: float = Field(default=0.5, ge=0, le=1)
    """Share of the weight that ``sasrec`` gives to the newest position on top of all."""
    half_life_days: float | None = Field(default=14.0, gt=0)
    """A label counts half as much for every so many days that it lies before the cut; None: all alike. What people take to changes.
    With ``equal_users`` it counts half as much among the labels of its user."""
    recent_days: float | None = Field(default=None, gt=0)
    """Only positions of so many days before the cut are learned from (what came before them is still read); None: all."""
    equal_users: bool = False
    """Every user of a step has the same weight, as published; otherwise every pair has, and whoever does more counts more."""


class PinnerFormerConfig(Section):
    """The user model and the item tower that is trained with it."""

    dim: int = Field(default=64, ge=2)
    """Width of user vectors and item embeddings."""
    history: HistoryConfig = HistoryConfig()
    """What is read and what is foreseen."""
    items: ItemTowerConfig = ItemTowerConfig()
    """The item tower."""
    encoder: TransformerConfig = TransformerConfig(layers=1, dropout=0.3, start_mean=8.0)
    """The encoder of histories. The published one has at least two layers; a thousand users are too few to fill more than one."""
    clock: bool = True
    """Whether a token tells when it was and how long after the one before; for sequences without times it is off."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """What is foreseen from where."""
    token_dropout: float = Field(default=0.3, ge=0, lt=1)
    """In training, each action of a history is hidden this often."""
    batch: int = Field(default=192, ge=1)
    """Users a step."""
    groups: int = Field(default=4, ge=1)
    """Histories of a step are padded in this many groups of similar length."""
    negatives: Literal["sampled", "catalogue"] = "sampled"
    """From the batch and a random pool, corrected for how often they are drawn; or all items, which is exact and pays up to some 10,000."""
    pool: int = Field(default=512, ge=0)
    """Random items a step, as further negatives; not used with ``catalogue``."""
    softmax: SampledSoftmaxConfig = SampledSoftmaxConfig(separate_pools=False, exact_probability=True)
    """The loss."""
    training: TrainingConfig = TrainingConfig(steps=75, learning_rate=3e-3, warmup_steps=20, weight_decay=0.01, validate_every=15)
    """The training loop."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of users that early stopping looks at and nothing is learned from."""
    validation_days: float = Field(default=7.0, gt=0)
    """Early stopping asks what they engage with in so many days after a moment."""
    validation_moments: int = Field(default=4, ge=1)
    """So many moments, the last one ``validation_days`` before the cut and the others as far before each other."""


class PinnerSageConfig(Section):
    """A user as a few items that stand for groups of what they acted on. The defaults are the published variant; the others are what it is
    compared with."""

    grouping: Literal["ward", "complete", "kmeans", "one"] = "ward"
    """How items become groups: Ward's criterion, the largest distance of two members, a fixed number of means, or all in one group."""
    alpha: float = Field(default=1.0, gt=0)
    """Ward: groups stay apart when merging them costs more than this: ``2 |A| |B| / (|A| + |B|)`` x the squared distance of their means,
    which for two items is their squared distance, ``2 - 2 cosine``. Not published."""
    complete_alpha: float = Field(default=1.0, gt=0)
    """Complete linkage: the largest squared distance of two members of a group."""
    means: int = Field(default=5, ge=1)
    """k-means: the number of groups."""
    representative: Literal["medoid", "centroid", "decayed_mean", "newest"] = "medoid"
    """What a group is searched with: its most central item, its mean, its mean with old items counting less, or its newest item.
    One group by ``decayed_mean`` or by ``newest`` are the single-vector baselines."""
    fade_per_day: float = Field(default=0.01, ge=0)
    """Lambda: an item of this many days counts ``exp(-lambda x days)``; published 0.01, a half-life of 69 days."""
    max_items: int = Field(default=300, ge=1)
    """The newest items that are grouped; time and memory grow with the square."""
    searched: int = Field(default=3, ge=1)
    """Groups searched: the most important ones in an evaluation, drawn by importance while serving."""


class HardNegativeConfig(Section):
    """Negatives that are near: drawn from each query's own pool, which personalised PageRank ranks choose."""

    most: int = Field(default=6, ge=0)
    """Hard negatives a pair at most."""
    epochs: int = Field(default=7, ge=1)
    """A run counts as so many epochs, equally long, for the curriculum: none in the first, n - 1 a pair in epoch n. The published epochs
    are passes over a billion pairs; here a run may be shorter than one pass."""
    at_once: bool = False
    """All of them from the first step on, without a curriculum."""


class GraphEncoderConfig(Section):
    """What PinSage and MultiBiSage have in common."""

    dim: int = Field(default=64, ge=2)
    """Width of the vectors; published: 256."""
    small_dim: int = Field(default=32, ge=1)
    """Width of the reduced vectors, for rankers."""
    residual: bool = True
    """Whether a vector is the projected features of the item plus what the network adds; otherwise it is the network's output alone."""
    hide_positive: float = Field(default=0.0, ge=0, le=1)
    """In training, the two items of a pair are taken out of each other's neighbours this often: for neighbours that know the pairs, which a
    model would learn to copy."""
    cold_share: float = Field(default=0.1, ge=0, lt=1)
    """In training, an item loses all its neighbours this often, so that items without edges are nothing new."""
    batch: int = Field(default=512, ge=2)
    """Pairs a step."""
    pool: int = Field(default=512, ge=0)
    """Random items a step, as further negatives."""
    half_life_days: float | None = Field(default=None, gt=0)
    """A pair is drawn half as often for every so many days that it lies before the cut; empty: all alike."""
    softmax: SampledSoftmaxConfig = SampledSoftmaxConfig()
    """The loss."""
    training: TrainingConfig = TrainingConfig(steps=60, learning_rate=1e-3, warmup_steps=10, weight_decay=0.01, validate_every=60)
    """The training loop. The untrained network, a mean over neighbours, is good already; many steps unlearn it, for the content vectors
    have seen the very pairs and look better than they will be. One look, at the end: looks differ less than their own error."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of users whose pairs are kept for looking at."""


class PinSageConfig(GraphEncoderConfig):
    """Convolutions over the most visited neighbours in one graph."""

    graph: str = "board"
    """The graph it reads; where the lists have none of this name, their first."""
    layers: int = Field(default=2, ge=1, le=2)
    """Convolutions."""
    hidden: int = Field(default=128, ge=1)
    """Width of an item between the convolutions; published: 2,048."""
    pooling: Literal["importance", "mean", "max"] = "importance"
    """How neighbours become one: by their share of visits, all alike, or the largest of each number."""
    loss: Literal["softmax", "margin"] = "softmax"
    """Sampled softmax with logQ, or the published max-margin loss."""
    margin: float = Field(default=0.1, gt=0)
    """How far above a negative a positive must score, in cosines, with the margin loss."""
    margin_negatives: int = Field(default=500, ge=1)
    """Random negatives that a batch shares, with the margin loss."""
    hard: HardNegativeConfig = HardNegativeConfig()
    """Hard negatives, where a pool of them is given."""


class MultiBiSageConfig(GraphEncoderConfig):
    """A transformer over the neighbours in each graph, then one across graphs."""

    width: int = Field(default=64, ge=2)
    """Width of a token."""
    hidden: int = Field(default=128, ge=1)
    """Width of the hidden layer that projects features, once an item; published: 2,048."""
    heads: int = Field(default=2, ge=1)
    """Attention heads; they divide the width."""
    feedforward: int = Field(default=2, ge=1)
    """Width of the feed-forward layers, in widths of a token."""
    shared: bool = False
    """Whether all graphs share the weights of one transformer; otherwise each has its own."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of what a layer adds that is dropped in training."""
    graph_dropout: float = Field(default=0.1, ge=0, lt=1)
    """In training, each graph of an item is left out this often."""


class VisualConfig(Section):
    """The unified visual embedding: one vector and one code for a picture, learned from several tasks."""

    dim: int = Field(default=256, ge=2)
    """Width of the vectors."""
    code_bits: int = Field(default=1024, ge=8, multiple_of=8)
    """Bits of the codes. With as many as ``dim`` the signs of the vector are the code, as published; otherwise codes have an output of
    their own, trained with the same loss."""
    nested: bool = False
    """One output as wide as the wider of vector and code, of which both are the first numbers; otherwise an output each."""
    layer_norm: bool = True
    """Whether the trunk's features are normalised before the outputs, without learned factors, as published. Off it is an ablation."""
    layer_norm_after: bool = False
    """Whether the outputs are normalised likewise, before length 1 and before their signs are taken."""
    temperature: float = Field(default=0.05, gt=0)
    """What cosines to the proxies are divided by."""
    batch_classes: int = Field(default=32, ge=1)
    """Classes a step, over all tasks together."""
    images_per_class: int = Field(default=3, ge=1)
    """Pictures of each, of different domains as far as there are."""
    balanced: bool = True
    """Whether a step draws classes and then pictures of them; otherwise it draws as many pictures evenly, and large classes come often."""
    class_share: float = Field(default=1.0, gt=0, le=1)
    """Share of a task's classes that are in a step's softmax: those of the batch, and others drawn evenly."""
    proxy_lr: float = Field(default=4.0, gt=0)
    """Learning rate of the proxies, in learning rates of the rest. They have no weight decay: it would shorten them, not turn them."""
    trunk_trained: bool = False
    """Whether the trunk is trained, too. Otherwise its features are computed once, and a run takes seconds."""
    trunk_lr: float = Field(default=1.0, gt=0)
    """Learning rate of a trained trunk, in learning rates of the outputs."""
    trunk_after: int = Field(default=0, ge=0)
    """Steps for which a trained trunk stands still, while new outputs and proxies find their places; for a trunk that knows something."""
    augmented: bool = True
    """Whether steps of a trained trunk see flipped, shifted and brightened pictures."""
    views: int = Field(default=2, ge=1)
    """Times that an untrained trunk reads each picture before training: as it is, and the others augmented."""
    training: TrainingConfig = TrainingConfig(steps=600, learning_rate=3e-3, warmup_steps=15, weight_decay=1e-4, clip_norm=10.0)
    """The training loop."""


class SearchSageConfig(Section):
    """The encoder of search queries, whose vectors lie in the frozen space of items."""

    encoder: Literal["words", "bag", "pretrained"] = "words"
    """A transformer over words, each the mean of its hashed n-grams; one bag of all n-grams of the text, without a transformer; or a
    text model of `transformers` from a folder."""
    checkpoint: str = ""
    """The folder of a ``pretrained`` encoder."""
    trained: Literal["all", "output"] = "all"
    """What learns: everything, or the linear layer to the items' space alone, with the encoder as it started."""
    width: int = Field(default=64, ge=2)
    """Width of a word, and of what the linear layer reads. A pretrained encoder has its own."""
    layers: int = Field(default=1, ge=1)
    """Blocks of attention and feed-forward over words."""
    heads: int = Field(default=2, ge=1)
    """Attention heads; they divide the width."""
    feedforward: int = Field(default=2, ge=1)
    """Width of the feed-forward layers, in widths of a word."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of what a block adds that is dropped in training."""
    token_dropout: float = Field(default=0.2, ge=0, lt=1)
    """In training, each n-gram is left out this often, so that a word with a slip of the finger is nothing new."""
    max_words: int = Field(default=32, ge=1)
    """Words of a text that are read, and tokens of a pretrained encoder; the rest is ignored."""
    table_rows: int = Field(default=16_384, ge=2)
    """Rows of the shared table of the hash embedding."""
    cap_per_item: int = Field(default=50, ge=1)
    """Pairs of one item at most, drawn at random: otherwise popular items are found for everything."""
    weights: PairActionWeights = PairActionWeights(close_up=0.0, add_to_cart=0.0, checkout=0.0)
    """How often a pair is drawn, by its action; 0: such actions make no pairs. Looking closely is not enough, as published."""
    title_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of a batch that are titles of items for their own vectors, so that words nobody has searched for are known; 0: none."""
    loss: Literal["softmax", "triplet"] = "softmax"
    """Softmax over the batch and a random pool with logQ, or the hinge of every negative against the positive."""
    margin: float = Field(default=0.2, gt=0)
    """How far above a negative a positive must score, in cosines, with the triplet loss."""
    batch: int = Field(default=512, ge=2)
    """Pairs a step."""
    pool: int = Field(default=512, ge=0)
    """Random items a step, as further negatives."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of distinct queries whose pairs are kept for early stopping."""
    text: TextConfig = TextConfig()
    """How text becomes tokens. An n-gram is known when it stands in ``min_count`` of the distinct queries and titles."""
    softmax: SampledSoftmaxConfig = SampledSoftmaxConfig(separate_pools=False)
    """The loss."""
    training: TrainingConfig = TrainingConfig(steps=300, learning_rate=3e-3, validate_every=25)
    """The training loop."""


ProductTask = Literal["image_click", "image_save", "image_cart", "image_checkout", "text_click", "text_save", "text_cart", "text_checkout"]
"""A kind of query and what was done with the product."""


class TaskShares(Section):
    """How much of a batch a task has: the share of its query times the share of its action, scaled so that all tasks fill the batch."""

    image: float = Field(default=1.0, ge=0)
    """Image queries: the items that were looked at."""
    text: float = Field(default=1.0, ge=0)
    """Text queries."""
    click: float = Field(default=3.0, ge=0)
    """Clicks, long ones among them."""
    save: float = Field(default=3.0, ge=0)
    """Saves."""
    cart: float = Field(default=1.0, ge=0)
    """Products put into a cart."""
    checkout: float = Field(default=1.0, ge=0)
    """Products that were bought."""


class ItemSageConfig(Section):
    """The encoder of products, whose vectors lie in the frozen space of items and queries."""

    encoder: Literal["transformer", "mlp_concat", "sum_mlp", "sum"] = "transformer"
    """One transformer layer over all tokens; a layer over tokens side by side; a layer over their mean; or the mean of the image vectors,
    for which nothing is trained."""
    modalities: Literal["both", "image", "text"] = "both"
    """What is read of a product."""
    tasks: tuple[ProductTask, ...] = get_args(ProductTask)
    """What is learned from."""
    loss: Literal["both", "in_batch", "random", "mixed"] = "both"
    """A softmax against the other positives of the batch plus one against random products; one of the two alone; or one softmax over both
    pools together."""
    residual: bool = True
    """Whether a vector is that of the main image plus what the network adds; otherwise it is the network's output alone, as published."""
    images: int = Field(default=20, ge=1)
    """Pictures of a product that are read; the rest is ignored."""
    width: int = Field(default=64, ge=2)
    """Width of a token; published: 512."""
    text_width: int = Field(default=32, ge=2)
    """Width of the hash embedding; published: 256."""
    table_rows: int = Field(default=16_384, ge=2)
    """Rows of the shared table of the hash embedding; published: 100,000."""
    heads: int = Field(default=4, ge=1)
    """Attention heads; they divide the width. Published: 8."""
    feedforward: int = Field(default=2, ge=1)
    """Width of the feed-forward layer, in widths of a token; published: 4."""
    hidden: int = Field(default=256, ge=1)
    """Width of the hidden layer between the output at CLS and the vector."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of what a layer adds that is dropped in training. Much: a small catalogue is soon known by heart."""
    field_dropout: float = Field(default=0.1, ge=0, lt=1)
    """In training, each text field of a product is left out this often, so that a product without it is nothing new."""
    batch: int = Field(default=512, ge=2)
    """Pairs a step."""
    shares: TaskShares = TaskShares()
    """How the tasks share a batch: the only weights that tasks have."""
    pool: int = Field(default=512, ge=1)
    """Random products a step, as negatives."""
    cap_per_item: int = Field(default=50, ge=1)
    """Pairs of one product and task at most, drawn at random: a few products would be most of a scarce task otherwise."""
    attribution_days: float = Field(default=14.0, gt=0)
    """A cart or checkout at the merchant that does not say where it comes from belongs to the user's last click on the product, where that
    was at most so long before."""
    validation_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of distinct queries whose pairs are kept for early stopping."""
    text: TextConfig = TextConfig(max_words=32)
    """How text becomes tokens."""
    softmax: SampledSoftmaxConfig = SampledSoftmaxConfig()
    """The loss; which pools it has is said by ``loss``."""
    training: TrainingConfig = TrainingConfig(steps=200, learning_rate=3e-3, validate_every=40)
    """The training loop."""
