"""The scene model: how well a product that is not in a scene goes with it (Complete The Look: Kang et al., CVPR 2019).

    v_s   mean of the trunk's map of the scene        f_s = g(v_s)        f_p = g_p(v_p)
    m_i   region i of the map                         f_i = g_l(m_i)      f'_i = g_a(m_i)     e_c unit vector of the category
    d_global = |f_s - f_p|^2
    a_i      = softmax_i(-|f'_i - e_c|^2 / T)         d_local = sum_i a_i |f_i - f_p|^2
    d        = (d_global + d_local) / 2,              0 to 4

All f are unit vectors. Expanded, d is 2 - 2 f_p . (f_s + sum_i a_i f_i) / 2: a scene asks for a category by one vector, whose dot product
with a product's orders all of them.

Where we differ: products have a head of their own, since their vectors are of another encoder than the map; T is learned; the heads have
layer norm in the place of batch norm, whose statistics over anchors and negatives in passes of their own tell which is which. Scoring is
NumPy alone; training is in :mod:`corkboard.shopping.scene_training`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard.artifacts import Artifact, Space, content_hash
from corkboard.errors import ArtifactError, InputError
from corkboard.shopping.complete_config import SceneModelConfig

if TYPE_CHECKING:
    from corkboard.vision.encoder import Trunk

KIND = "scene_model"
_EPSILON = 1e-12
_NORM_EPSILON = 1e-5
_AT_ONCE = 64
_MAP_AT_ONCE = 4096


# ------------------------------------------------------------------------------------------------------------- what it reads


def without(box: Sequence[float] | np.ndarray, enlarge: float = 0.1, least: float = 0.2) -> np.ndarray | None:
    """float32 (4,): the part of a picture that stays where a product is cut away, in shares; None where it is less than ``least``.

    It is the largest of the four rectangles left of, right of, above and below the ``box``, which is first enlarged by the share
    ``enlarge`` of its sides around its middle. Of two that are equal, the one that is named first.
    """
    left, top, right, bottom = (float(value) for value in box)
    if not (left < right and top < bottom):
        raise InputError("A box has an area", found=tuple(box), expected="left < right and top < bottom")
    wide, tall = (right - left) * enlarge / 2, (bottom - top) * enlarge / 2
    left, top, right, bottom = max(left - wide, 0.0), max(top - tall, 0.0), min(right + wide, 1.0), min(bottom + tall, 1.0)
    parts = np.array([(0, 0, left, 1), (right, 0, 1, 1), (0, 0, 1, top), (0, bottom, 1, 1)], np.float32)
    areas = (parts[:, 2] - parts[:, 0]) * (parts[:, 3] - parts[:, 1])
    return parts[int(areas.argmax())] if areas.max() >= least else None


def cut(image: np.ndarray, part: np.ndarray) -> np.ndarray:
    """The pixels of ``image`` uint8 ``(height, width, 3)`` that lie wholly in ``part``, in shares: none of what was cut away shows."""
    height, width = image.shape[:2]
    left, top = int(np.ceil(part[0] * width - 1e-6)), int(np.ceil(part[1] * height - 1e-6))
    right, bottom = int(part[2] * width + 1e-6), int(part[3] * height + 1e-6)
    return image[top : max(bottom, top + 1), left : max(right, left + 1)]


def scene_maps(trunk: Trunk, images: Sequence[np.ndarray], config: SceneModelConfig | None = None) -> np.ndarray:
    """float16 ``(n, dim, cells, cells)``: what the trunk sees in each region of ``images``, uint8 ``(height, width, 3)`` of any size."""
    import torch
    from torch.nn import functional

    from corkboard.vision.images import resized, to_tensor

    config = config or SceneModelConfig()
    out = np.zeros((len(images), trunk.dim, config.cells, config.cells), np.float16)
    served = trunk.served()
    with torch.inference_mode():
        for start in range(0, len(images), _AT_ONCE):
            some = np.concatenate([resized(np.asarray(image)[None], config.side) for image in images[start : start + _AT_ONCE]])
            maps = served.features(to_tensor(some, trunk.mean, trunk.std))
            pooled = functional.adaptive_avg_pool2d(maps, config.cells)
            out[start : start + len(some)] = pooled.clamp(-6e4, 6e4).to(torch.float16).numpy()
    return out


# ----------------------------------------------------------------------------------------------------------------- the model


class SceneModel:
    """A finished scene model.

    ``categories`` are the names it knows; any other asks with a row of its own, the last. ``visual`` is the space of product vectors,
    ``trunk`` the name of the trunk that made the maps. ``weights`` are named as those of
    :class:`corkboard.shopping.scene_network.SceneNetwork`.
    """

    def __init__(self, settings: SceneModelConfig, categories: Sequence[str], visual: Space, trunk: str, weights: Mapping[str, np.ndarray]):
        self.settings, self.categories, self.visual, self.trunk = settings, list(categories), visual, trunk
        self.weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}
        self._row_of = {name: row for row, name in enumerate(self.categories)}

    @cached_property
    def space(self) -> Space:
        """The space of what scenes ask and of products, named after all weights."""
        arrays = [(name, value.shape, blake2b(value.tobytes()).hexdigest()) for name, value in sorted(self.weights.items())]
        return Space(
            KIND, content_hash(arrays, self.categories, str(self.visual), self.trunk, self.settings.parts, self.settings.attention)
        )

    def products(self, vectors: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)``: unit vectors of products, from their vectors ``(n, width)`` of the space ``visual``."""
        return self._head("product", np.asarray(vectors, np.float32))

    def asked(self, maps: np.ndarray, categories: Sequence[str]) -> np.ndarray:
        """float32 ``(n, dim)``: what each scene of ``maps`` ``(n, width, cells, cells)`` asks of its category; not of unit length.

        ``1 - asked . product`` is half the distance d, which is between 0 and 4.
        """
        maps = np.asarray(maps, np.float32)
        if maps.ndim != 4 or len(maps) != len(categories):
            raise InputError(
                "Every scene has a map and a category", found=(maps.shape, len(categories)), expected="(n, width, cells, cells)"
            )
        found: list[np.ndarray] = []
        for start in range(0, len(maps), _MAP_AT_ONCE):
            part = slice(start, start + _MAP_AT_ONCE)
            found.append(self._asked(maps[part], categories[part]))
        return np.concatenate(found) if found else np.zeros((0, self.settings.dim), np.float32)

    def attention(self, maps: np.ndarray, categories: Sequence[str]) -> np.ndarray:
        """float32 ``(n, cells * cells)``, rows sum to 1: how much each region counts for the category."""
        regions = _regions(np.asarray(maps, np.float32))
        if self.settings.attention == "uniform":
            return np.full(regions.shape[:2], 1 / regions.shape[1], np.float32)
        rows = [self._row_of.get(name, len(self.categories)) for name in categories]
        wanted = _unit(self.weights["category"][rows])
        near = 2 - 2 * np.einsum("nrd,nd->nr", self._head("attention", regions), wanted)
        logits = -near * np.exp(self.weights["log_sharpness"])
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    def distances(self, maps: np.ndarray, categories: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """float32 ``(n, m)`` in [0, 4]: each scene to each product of ``vectors`` ``(m, width)``, asked for its category."""
        return 2 - 2 * self.asked(maps, categories) @ self.products(vectors).T

    def _asked(self, maps: np.ndarray, categories: Sequence[str]) -> np.ndarray:
        parts, regions = [], _regions(maps)
        if self.settings.parts != "local":
            parts.append(self._head("whole", regions.mean(axis=1)))
        if self.settings.parts != "global":
            parts.append(np.einsum("nr,nrd->nd", self.attention(maps, categories), self._head("region", regions)))
        return np.mean(parts, axis=0).astype(np.float32)

    def _head(self, name: str, x: np.ndarray) -> np.ndarray:
        """Unit vectors of one of the four heads."""
        w = self.weights
        if x.shape[-1] != len(w[f"{name}.mean"]):
            raise InputError(f"The vectors do not fit the scene model's head {name}", found=x.shape, expected=len(w[f"{name}.mean"]))
        x = ((x - w[f"{name}.mean"]) * w[f"{name}.scale"]) @ w[f"{name}.first.weight"].T + w[f"{name}.first.bias"]
        x = x - x.mean(axis=-1, keepdims=True)
        x = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + _NORM_EPSILON) * w[f"{name}.norm.weight"] + w[f"{name}.norm.bias"]
        return _unit(np.maximum(x, 0) @ w[f"{name}.second.weight"].T + w[f"{name}.second.bias"])

    # ------------------------------------------------------------------------------------------------------------ artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact, which makes ``space`` and requires ``visual``."""
        return dict(self.weights)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        settings = self.settings.model_dump(mode="json")
        return {"kind": KIND, "settings": settings, "categories": self.categories, "visual": str(self.visual), "trunk": self.trunk}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> SceneModel | None:
        """The model of an artefact written with :meth:`tensors` and :attr:`config`; None of an empty one."""
        config = artifact.config
        if config.get("kind") == "none":
            return None
        if config.get("kind") != KIND:
            raise ArtifactError("This artefact holds no scene model", found=config.get("kind"), expected=KIND)
        settings = SceneModelConfig.model_validate(config["settings"])
        return cls(settings, config["categories"], Space.parse(config["visual"]), config["trunk"], artifact.tensors)


def triplet_accuracy(model: SceneModel, maps: np.ndarray, categories: Sequence[str], right: np.ndarray, wrong: np.ndarray) -> float:
    """Share of scenes that lie nearer to their product (``right``, a vector a scene) than to another of its category (``wrong``).

    Ties count half, so that a constant has .5. NaN without scenes.
    """
    if not len(maps):
        return float("nan")
    asked = model.asked(maps, categories)
    ahead = np.einsum("nd,nd->n", asked, model.products(right) - model.products(wrong))
    return float(((ahead > 0) + 0.5 * (ahead == 0)).mean())


def _regions(maps: np.ndarray) -> np.ndarray:
    """(n, regions, width) of maps (n, width, cells, cells)."""
    return np.ascontiguousarray(maps.reshape(*maps.shape[:2], -1).transpose(0, 2, 1))


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), _EPSILON)
