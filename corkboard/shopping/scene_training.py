"""Training the scene model on scenes and products that were cut out of them.

The trunk stands still, so its maps are computed once; a step is four small heads. A negative is a product of the positive's category from
another scene: with any other, the category alone would tell them apart. Scenes are held out whole to choose when to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from corkboard.artifacts import Space
from corkboard.errors import InputError
from corkboard.learning.training import Progress, seeded, train
from corkboard.seeds import generator
from corkboard.shopping.complete_config import SceneModelConfig
from corkboard.shopping.scene_model import SceneModel, triplet_accuracy
from corkboard.shopping.scene_network import SceneNetwork

_FAR = -1e9


@dataclass(frozen=True)
class ScenePairs:
    """Scenes, each without one product, and that product.

    ``maps`` float16 ``(n, width, cells, cells)`` is the scene less the product, ``vectors`` float32 ``(n, product width)`` the product,
    ``product`` int64 ``(n,)`` which one it is, ``scene`` int64 ``(n,)`` which picture: one picture may be in several pairs, and a product.
    """

    maps: np.ndarray
    vectors: np.ndarray
    categories: list[str]
    product: np.ndarray
    scene: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(part) for part in (self.maps, self.vectors, self.categories, self.product, self.scene)}
        if len(lengths) != 1 or np.ndim(self.maps) != 4:
            raise InputError(
                "Every pair has a map, a vector, a category, a product and a scene", found=sorted(lengths), expected="one length"
            )

    def __len__(self) -> int:
        return len(self.maps)

    def take(self, rows: np.ndarray) -> ScenePairs:
        """Some of the pairs."""
        named = [self.categories[row] for row in rows.tolist()]
        return ScenePairs(self.maps[rows], self.vectors[rows], named, self.product[rows], self.scene[rows])


def train_scene_model(
    pairs: ScenePairs,
    config: SceneModelConfig,
    visual: Space,
    trunk: str,
    seed: int,
    progress: Callable[[Progress], None] | None = None,
) -> tuple[SceneModel, dict[str, float]]:
    """The scene model of ``pairs``, and what it is worth: ``pairs`` and ``triplet_accuracy`` on the scenes that were held out.

    Raises :class:`InputError` where there are fewer pairs than ``least_pairs``.
    """
    learning = config.learning
    if len(pairs) < learning.least_pairs:
        raise InputError("There are too few scenes to learn from", found=len(pairs), expected=f"at least {learning.least_pairs} pairs")
    names = sorted(set(pairs.categories))
    category = np.array([names.index(name) for name in pairs.categories])
    held = np.isin(pairs.scene, held_out_scenes(pairs.scene, learning.held_out, seed))
    learned, judged = np.flatnonzero(~held), np.flatnonzero(held)
    regions = torch.from_numpy(np.asarray(pairs.maps[learned], np.float32)).flatten(2).transpose(1, 2).contiguous()
    vectors = torch.from_numpy(np.asarray(pairs.vectors[learned], np.float32))
    with seeded(seed, "scene model"):
        network = SceneNetwork(config, len(names), regions.numpy(), vectors.numpy())
    kind, product = torch.from_numpy(category[learned]), torch.from_numpy(np.asarray(pairs.product[learned], np.int64))

    def loss(draw: np.random.Generator) -> Tensor:
        rows = torch.from_numpy(draw.integers(0, len(learned), min(learning.batch, len(learned))))
        unknown = torch.from_numpy(draw.random(len(rows)) < 0.05)
        asking = torch.where(unknown, len(names), kind[rows])  # so that a category that is not known asks for something
        scores = network.asked(regions[rows], asking) @ network.product(vectors[rows]).T
        return _loss(scores, kind[rows], product[rows], config, draw)

    right, wrong = same_category_negatives(pairs, judged, seed)
    asked, others = pairs.take(right), pairs.vectors[wrong]

    def finished() -> SceneModel:
        return SceneModel(config, names, visual, trunk, network.weights())

    def validate() -> float:
        return triplet_accuracy(finished(), asked.maps, asked.categories, asked.vectors, others)

    train(network, loss, learning.training, seed, validate=validate if len(right) else None, progress=progress)
    return finished(), {"pairs": len(pairs), "held_out": len(right), "triplet_accuracy": round(validate(), 4)}


def held_out_scenes(scene: np.ndarray, share: float, seed: int) -> np.ndarray:
    """The scenes, rounded down, that choose when to stop."""
    every = np.unique(scene)
    return generator(seed, "scene model", "held out").permutation(every)[: int(share * len(every))]


def same_category_negatives(pairs: ScenePairs, rows: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, negatives) int64: for each of ``rows`` the row of another product of its category from another scene.

    Drawn evenly among all pairs, the same for the same seed; a row without any is left out.
    """
    draw = generator(seed, "scene model", "negatives")
    kinds = np.array(pairs.categories, object)
    kept, drawn = [], []
    for row in np.asarray(rows).tolist():
        others = np.flatnonzero((kinds == kinds[row]) & (pairs.product != pairs.product[row]) & (pairs.scene != pairs.scene[row]))
        if len(others):
            kept.append(row)
            drawn.append(int(others[draw.integers(len(others))]))
    return np.array(kept, np.int64), np.array(drawn, np.int64)


def _loss(scores: Tensor, category: Tensor, product: Tensor, config: SceneModelConfig, draw: np.random.Generator) -> Tensor:
    """The loss of a batch; ``scores`` (n, n) are 1 - d / 2 of every scene and every product."""
    learning, own = config.learning, torch.eye(len(scores), dtype=torch.bool)
    open_ = product[:, None] != product[None, :]
    if not learning.any_category:
        open_ &= category[:, None] == category[None, :]
    if learning.loss == "softmax":
        logits = (2 * scores / learning.temperature).masked_fill(~(open_ | own), _FAR)
        return functional.cross_entropy(logits, torch.arange(len(scores)))
    has = open_.any(dim=1)
    lots = torch.from_numpy(draw.random(tuple(scores.shape))).masked_fill(~open_, -1)
    against = scores.gather(1, lots.argmax(dim=1, keepdim=True))[:, 0]
    hinge = functional.relu(2 * (against - scores.diagonal()) + learning.margin)
    return (hinge * has).sum() / has.sum().clamp(min=1)
