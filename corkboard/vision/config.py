"""Settings of the trunks. Imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from corkboard.config import Section
from corkboard.learning.config import TrainingConfig
from corkboard.vision.frcnn_config import FRCNNConfig


class TrunkConfig(Section):
    """The network from a picture to a vector."""

    kind: Literal["cnn", "vit", "conv_vit", "pretrained"] = "cnn"
    """``cnn``: convolutions with batch norm; ``vit``: a transformer over patches; ``conv_vit``: one over the cells of a convolutional stem;
    ``pretrained``: a vision encoder of `transformers`, from ``checkpoint``."""
    side: int = Field(default=48, ge=8, le=1024)
    """Side of the pictures that a trunk built here reads, px."""
    width: float = Field(default=1.0, gt=0, le=16)
    """``cnn``: all channels times this, rounded to multiples of 8."""
    patch: int = Field(default=6, ge=1)
    """``vit``: side of a patch, px. It must divide ``side``."""
    dim: int = Field(default=96, ge=8)
    """``vit`` and ``conv_vit``: width of the tokens and of the vector."""
    layers: int = Field(default=3, ge=1)
    """``vit`` and ``conv_vit``: blocks."""
    heads: int = Field(default=4, ge=1)
    """``vit`` and ``conv_vit``: attention heads. They must divide ``dim``."""
    mlp_ratio: float = Field(default=2.0, gt=0)
    """``vit`` and ``conv_vit``: width of a block's hidden layer, in ``dim``. With few tokens that layer is most of the cost."""
    pool: Literal["cls", "mean"] = "mean"
    """``vit`` and ``conv_vit``: the vector is a token of its own, or the mean of all tokens."""
    checkpoint: str = ""
    """``pretrained``: a folder with config.json, preprocessor_config.json and safetensors, or a name on the Hugging Face hub."""
    checkpoint_side: int | None = Field(default=None, ge=8)
    """``pretrained``: side of the pictures, px; None: what the checkpoint asks for. Another side stretches its grid of positions."""

    @model_validator(mode="after")
    def _fits(self) -> TrunkConfig:
        if self.kind == "vit" and self.side % self.patch:
            raise ValueError(f"patch {self.patch} does not divide side {self.side}")
        if self.kind == "conv_vit" and self.side % 8:
            raise ValueError(f"the stem makes cells of 8 px, which does not divide side {self.side}")
        if self.kind in ("vit", "conv_vit") and self.dim % self.heads:
            raise ValueError(f"{self.heads} heads do not divide dim {self.dim}")
        if self.kind == "pretrained" and not self.checkpoint:
            raise ValueError("a pretrained trunk needs a checkpoint")
        return self


class TrunkSource(Section):
    """Where the trunk of a build comes from; by default it is the one that comes with the package."""

    weights: str = ""
    """A file that `corkboard experiment trunk` has written."""
    checkpoint: str = ""
    """A vision encoder of `transformers`: a folder, or a name on the Hugging Face hub."""
    checkpoint_side: int | None = Field(default=None, ge=8)
    """Side of the pictures that it reads, px; None: what the checkpoint asks for."""

    @model_validator(mode="after")
    def _one(self) -> TrunkSource:
        if self.weights and self.checkpoint:
            raise ValueError("a trunk comes from weights or from a checkpoint, not from both")
        return self


class SourceWeights(Section):
    """How much a source of text says about a picture. What people wanted weighs more than what somebody offers."""

    title: float = Field(default=1.0, ge=0)
    """Of titles."""
    description: float = Field(default=0.5, ge=0)
    """Of descriptions."""
    board: float = Field(default=1.5, ge=0)
    """Of the titles of boards that the item was saved to."""
    query: float = Field(default=2.0, ge=0)
    """Of queries that led to an engagement with it."""


class PhraseConfig(Section):
    """Phrases from text, and which of them an image keeps."""

    longest: int = Field(default=3, ge=1)
    """Words of the longest phrase."""
    max_words: int = Field(default=64, ge=1)
    """Words of one text that are read."""
    min_products: int = Field(default=20, ge=1)
    """A phrase is kept when it is said of at least so many products."""
    max_phrases: int = Field(default=5_000, ge=1)
    """Phrases at most; those of the most products stay."""
    weights: SourceWeights = SourceWeights()
    """Weights of the sources."""
    agreement: bool = True
    """A phrase from a source is believed as far as other sources say the same of the same images; off: all alike."""
    top: int = Field(default=10, ge=1)
    """Labels an image keeps, at most."""
    threshold: float = Field(default=0.1, ge=0)
    """A label with a lower score is dropped. Said once in a title, and by no other source, a phrase scores 0.25."""
    visual_filter: bool = True
    """Drop phrases that do not show in pictures."""
    dropped_share: float = Field(default=0.2, ge=0, lt=1)
    """The visual filter drops this share of the phrases, those whose images are least alike."""
    least_coherence: float = Field(default=0.25, le=1)
    """It also drops those that do not reach this share of the coherence that the best tenth of the phrases have."""


class LabelClusterConfig(Section):
    """Classes from phrases."""

    cluster: bool = True
    """Off: each phrase of enough images is a class of its own."""
    clusters: int = Field(default=100, ge=1)
    """Clusters before those of too few images are merged."""
    min_images: int = Field(default=30, ge=1)
    """Images that a class needs."""
    max_images: int = Field(default=5_000, ge=1)
    """Images that a class keeps, those of the highest scores."""
    text_dim: int = Field(default=32, ge=1)
    """Leading singular vectors that tell which phrases are said of the same images."""
    image_weight: float = Field(default=1.0, ge=0)
    """Weight of how a phrase's images look, beside what it is said with."""


class PretrainingConfig(Section):
    """Training of a trunk on classes."""

    q: float = Field(default=0.5, ge=0, le=1)
    """A class of n images is drawn with a chance in proportion to n to this power; 1: as they are, 0: all alike."""
    batch: int = Field(default=96, ge=2)
    """Images of a step."""
    smoothing: float = Field(default=0.1, ge=0, lt=1)
    """Label smoothing."""
    training: TrainingConfig = TrainingConfig(steps=800, learning_rate=3e-3, weight_decay=0.05, warmup_steps=40)
    """The loop. Nothing is validated: steps end it."""


class WeakPretrainingConfig(Section):
    """Weakly supervised pre-training, from text to a trunk. Every step of the labels can be turned off by itself."""

    phrases: PhraseConfig = PhraseConfig()
    """Phrases, scores and the visual filter."""
    classes: LabelClusterConfig = LabelClusterConfig()
    """Clusters of phrases."""
    pretraining: PretrainingConfig = PretrainingConfig()
    """Training, of the first model and of the second."""
    refine: bool = True
    """Multiply scores by the first model's posterior and train a second one; off: the first is all."""
    refinement_floor: float = Field(default=0.1, gt=0, le=1)
    """A score is multiplied by no less: a first model that is too sure would take away the rare classes."""


class FineTuningConfig(Section):
    """Several tasks of labels on one trunk."""

    batch: int = Field(default=96, ge=2)
    """Images of a step, an equal share a task."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing."""
    trunk_rate: float = Field(default=0.1, gt=0, le=1)
    """Learning rate of the trunk, in rates of the heads."""
    layer_decay: float | None = Field(default=None, gt=0, le=1)
    """Instead of ``trunk_rate``: each layer of the trunk learns at this share of the rate of the one above it."""
    trunk_trained: bool = True
    """Off: the trunk stays as it is, and heads are trained on its vectors (a linear probe)."""
    training: TrainingConfig = TrainingConfig(steps=400, learning_rate=1e-2, weight_decay=0.01, warmup_steps=20)
    """The loop. Looks at the validation images choose what is kept, by the mean of the tasks' normalised scores."""


class CentreConfig(Section):
    """The one-stage head."""

    channels: int = Field(default=56, ge=8)
    """Width of the neck and of the head's hidden layer."""
    heat_spread: float = Field(default=0.54, gt=0, le=2)
    """The bell of a class's heat reaches so far: three deviations are this share of half of the box."""
    box_spread: float = Field(default=1.0, gt=0, le=2)
    """The same of the bell that weighs which cells learn the box."""
    box_weight: float = Field(default=2.0, ge=0)
    """Weight of the boxes' loss beside that of the heat."""
    peaks: int = Field(default=60, ge=1)
    """Peaks of the heat that become boxes, at most."""


class DetectorAugmentationConfig(Section):
    """What each picture goes through before a step sees it."""

    zoom: tuple[float, float] = (0.6, 1.7)
    """It is enlarged by a factor from here to there, evenly in its logarithm; what is missing at the rim is white."""
    stretch: float = Field(default=0.12, ge=0, lt=1)
    """Width and height change by up to this share of their own, against each other."""
    shift: float = Field(default=0.15, ge=0, lt=1)
    """It moves by up to this share of its side, beside what the zoom leaves free."""
    brightness: float = Field(default=0.2, ge=0, lt=1)
    """It becomes lighter or darker by up to this share; each channel by a third of it more."""
    least_visible: float = Field(default=0.4, ge=0, le=1)
    """A box of which a smaller share is left within the picture is forgotten."""

    @model_validator(mode="after")
    def _ordered(self) -> DetectorAugmentationConfig:
        if not 0 < self.zoom[0] <= self.zoom[1]:
            raise ValueError(f"zoom goes from a factor above 0 to one that is no less, not {self.zoom}")
        return self


class DetectorConfig(Section):
    """Finding objects in pictures."""

    trunk: TrunkConfig = TrunkConfig()
    """The network below the head where none is given. Its own ``side`` is not read: the detector's counts."""
    side: int = Field(default=128, ge=32, le=1024)
    """Side of the square that is read, px."""
    head: Literal["centre", "frcnn"] = "centre"
    """``centre``: one stage, a centre point a cell; ``frcnn``: regions are proposed, then judged one by one."""
    centre: CentreConfig = CentreConfig()
    """The one-stage head."""
    frcnn: FRCNNConfig = FRCNNConfig()
    """The two-stage head."""
    threshold: float = Field(default=0.3, ge=0, le=1)
    """What is less sure is not told."""
    nms: float = Field(default=0.5, ge=0, le=1)
    """Of two boxes of one class that overlap by more, the surer stays."""
    merge: float = Field(default=0.7, ge=0, le=1)
    """Of two boxes of whatever classes that overlap by more, the surer stays; its posterior takes in that of the other."""
    max_objects: int = Field(default=20, ge=1)
    """Objects of a picture at most."""
    serving_batch: int = Field(default=32, ge=1)
    """Pictures that are read at once."""
    batch: int = Field(default=32, ge=1)
    """Pictures of a training step."""
    trunk_rate: float = Field(default=0.5, gt=0, le=1)
    """Learning rate of a trunk that was trained before, in rates of the head."""
    augmentation: DetectorAugmentationConfig = DetectorAugmentationConfig()
    """What training pictures go through."""
    training: TrainingConfig = TrainingConfig(
        steps=1300, learning_rate=3e-3, warmup_steps=50, weight_decay=1e-4, clip_norm=10.0, validate_every=250, patience=1000
    )
    """The loop."""


class DetectorSource(Section):
    """Where the detector of a build comes from; by default it learns from the lake's boxes, or is the one that comes with the package."""

    weights: str = ""
    """A file that `corkboard experiment detector` has written. Nothing is learned then."""


class OwnDetectorConfig(Section):
    """A detector that learns from pictures with boxes in the lake, people's own or imported ones."""

    enabled: bool = True
    """Off: boxes count where they are, and nothing is learned from them."""
    min_pictures: int = Field(default=150, ge=10)
    """With fewer pictures with boxes there is none."""
    pictures_of_category: int = Field(default=20, ge=1)
    """A category that fewer of the pictures to learn from have is not learned."""
    held_out: float = Field(default=0.2, gt=0, lt=1)
    """Share of the pictures that it is measured on, and that nothing is learned from."""
    held_out_of_category: int = Field(default=3, ge=1)
    """A category that fewer of those have is not learned, for nobody could tell how well."""
    least_ap50: float = Field(default=0.1, ge=0, le=1)
    """With less it does not serve, even where nothing else is better."""
    most_pictures: int = Field(default=20_000, ge=10)
    """Of more pictures so many count: 1,000 steps draw no more of them."""
    most_held_out: int = Field(default=1_000, ge=1)
    """Pictures that it is measured on, at most."""
    detector: DetectorConfig = DetectorConfig(
        head="frcnn",
        batch=16,
        training=TrainingConfig(steps=1000, learning_rate=1e-3, warmup_steps=50, weight_decay=1e-4, clip_norm=10.0),
    )
    """Heads, side, loop: 1,000 steps of 16 pictures of 128 px are some three minutes of one core. Two stages, for on street photos that
    settings may be chosen on they have an AP50 of .27 to .29 where one stage has .20 to .24; both read a picture in 5 ms."""


class VisionConfig(Section):
    """Settings of vision."""

    trunk: TrunkSource = TrunkSource()
    """The network below everything that reads pictures."""
    detector: DetectorSource = DetectorSource()
    """What finds objects in pictures."""
    own_detector: OwnDetectorConfig = OwnDetectorConfig()
    """How it learns from boxes in the lake."""
