"""The outfit model: which products go together, from their vectors and categories (after Complete The Look, KDD 2020, and CSA-Net).

    [what is known of its picture; embedding of the category] -> layers -> length 1                   the style vector s of a product
    z(i -> t) = sum over k of a_k(category of i, t) (s_i * mask_k) -> length 1                         what i asks of category t
    score of candidate j of category t = mean over the given items of z(i -> t) . s_j

The mixture of masks depends on both categories, so shoes can ask for bags otherwise than for trousers: that they match a bag by their
complement, say, which no single space can tell. Candidates have one vector whoever asks, and so there is one index a category; the query
of several items is the mean of theirs. What is known of a picture is how likely each pattern, shade and style is
(:mod:`corkboard.vision.appearance`), the visual vector, or both; what is missing of it is a learned vector. Style vectors are computed
without torch; training is in :mod:`corkboard.shopping.outfit_training`.

Where we differ: CSA-Net reads candidates through the mixture, too, and keeps an index for every pair of categories. Masks may be negative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np

from corkboard.artifacts import Artifact, Space, content_hash
from corkboard.errors import ArtifactError, InputError
from corkboard.shopping.outfit_config import OutfitModelConfig

KIND = "outfit"
_EPSILON = 1e-12
_AT_ONCE = 4096


class OutfitModel:
    """A finished outfit model.

    ``categories`` are the names it knows, in the order of its rows; every other name has one row of its own, the last. ``visual`` and
    ``appearance`` are the spaces of its inputs, None for what it does not read; one of them is there. ``weights`` are named as those of
    :class:`corkboard.shopping.outfit_network.OutfitNetwork`.
    """

    def __init__(
        self,
        settings: OutfitModelConfig,
        categories: Sequence[str],
        visual: Space | None,
        appearance: Space | None,
        weights: Mapping[str, np.ndarray],
    ):
        if visual is None and appearance is None:
            raise InputError("An outfit model reads visual vectors, chances of appearance, or both", found="neither")
        self.settings, self.categories, self.visual, self.appearance = settings, list(categories), visual, appearance
        self.weights = {name: np.asarray(value, np.float32) for name, value in weights.items()}
        self._row_of = {name: row for row, name in enumerate(self.categories)}

    @property
    def reads(self) -> dict[str, Space]:
        """The spaces of its inputs by name, in their order."""
        return {name: space for name, space in (("visual", self.visual), ("appearance", self.appearance)) if space is not None}

    @property
    def dim(self) -> int:
        """Width of a style vector."""
        return self.settings.dim

    @cached_property
    def space(self) -> Space:
        """The space of style vectors and queries, named after all weights and the spaces of the inputs."""
        arrays = [(name, value.shape, blake2b(value.tobytes()).hexdigest()) for name, value in sorted(self.weights.items())]
        config = {name: value for name, value in self.config.items() if name != "settings"}
        return Space(KIND, content_hash(arrays, config, self.settings.dim, self.settings.conditioned))

    def category_rows(self, categories: Sequence[str | None]) -> np.ndarray:
        """int64 ``(n,)``: the row of each category; that of the unknown one for a name it does not know and for None."""
        unknown = len(self.categories)
        return np.fromiter((self._row_of.get(name, unknown) for name in categories), np.int64, len(categories))  # type: ignore[arg-type]

    # -------------------------------------------------------------------------------------------------------------- vectors

    def encode(self, vectors: np.ndarray | None, categories: Sequence[str | None], appearance: np.ndarray | None = None) -> np.ndarray:
        """float32 ``(n, dim)`` style vectors of length 1.

        ``vectors`` ``(n, width)`` of the space ``visual`` and ``appearance`` ``(n, width)`` of the space ``appearance``; what it does not
        read is not looked at. A row of zeros is missing, and so are all of what is None. A product of which all is missing has zeros:
        nothing can be said of it. Raises :class:`InputError` for other widths.
        """
        rows, given = self.category_rows(categories), {"visual": vectors, "appearance": appearance}
        inputs = [self._checked(given[name], name, len(rows)) for name in self.reads]
        out = np.empty((len(rows), self.dim), np.float32)
        for start in range(0, len(rows), _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            out[part] = self._styles([values[part] for values in inputs], rows[part])
        out[~np.any([values.any(axis=1) for values in inputs], axis=0)] = 0.0
        return out

    def candidates(self, vectors: np.ndarray, category: str, appearance: np.ndarray | None = None) -> np.ndarray:
        """float32 ``(n, dim)``: what an index of the products of one category holds, their style vectors."""
        return self.encode(vectors, [category] * len(vectors), appearance)

    def query(self, styles: np.ndarray, categories: Sequence[str | None], targets: Sequence[str | None]) -> np.ndarray:
        """float32 ``(targets, dim)``: what items of style vectors ``styles`` ``(n, dim)`` and ``categories`` together ask of each category.

        Its dot product with a candidate of that category is the mean score over the items, -1 to 1. Raises :class:`InputError` without
        items; items of which nothing is known (zeros) do not count.
        """
        styles = np.asarray(styles, np.float32)
        if styles.shape != (len(categories), self.dim) or not len(styles):
            raise InputError("A query needs style vectors of its items", found=styles.shape, expected=f"(n, {self.dim}), n at least 1")
        rows, wanted = self.category_rows(categories), self.category_rows(targets)
        count = max(int(styles.any(axis=1).sum()), 1)
        return np.stack([self.asked(styles, rows, np.full(len(rows), one)).sum(axis=0) / count for one in wanted])

    def asked(self, styles: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
        """float32 ``(n, dim)``: what each item asks of a category; ``source`` and ``target`` int64 ``(n,)`` rows of categories."""
        if not self.settings.conditioned:
            return styles
        read = styles * (self.attention[source, target] @ self.weights["masks"])
        return read / np.maximum(np.linalg.norm(read, axis=1, keepdims=True), _EPSILON)

    @cached_property
    def attention(self) -> np.ndarray:
        """float32 ``(categories + 1, categories + 1, masks)``: shares of the masks by source and target, the unknown category last."""
        logits = self.weights["attention"]
        shares = np.exp(logits - logits.max(axis=2, keepdims=True))
        return shares / shares.sum(axis=2, keepdims=True)

    def _styles(self, inputs: Sequence[np.ndarray], rows: np.ndarray) -> np.ndarray:
        w, parts = self.weights, []
        for name, values in zip(self.reads, inputs, strict=True):
            there = values.any(axis=1, keepdims=True)
            parts.append(np.where(there, (values - w[f"{name}.mean"]) * w[f"{name}.scale"], w[f"{name}.missing"]))
        x = np.concatenate([*parts, w["category"][rows]], axis=1)
        layers = len(self.settings.hidden) + 1
        for layer in range(layers):
            x = x @ w[f"layers.{layer}.weight"].T + w[f"layers.{layer}.bias"]
            x = np.maximum(x, 0.0) if layer + 1 < layers else x
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), _EPSILON)

    def _checked(self, given: np.ndarray | None, name: str, count: int) -> np.ndarray:
        expected = (count, len(self.weights[f"{name}.mean"]))
        values = np.zeros(expected, np.float32) if given is None else np.asarray(given, np.float32)
        if values.shape != expected:
            raise InputError(f"The {name} inputs do not fit the outfit model", found=values.shape, expected=expected)
        return values

    # ------------------------------------------------------------------------------------------------------------ artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact, which makes ``space`` and requires all that ``reads`` names."""
        return dict(self.weights)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {
            "kind": KIND,
            "settings": self.settings.model_dump(mode="json"),
            "categories": self.categories,
            "reads": {name: str(space) for name, space in self.reads.items()},
        }

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> OutfitModel:
        """The model of an artefact written with :meth:`tensors` and :attr:`config`."""
        config = artifact.config
        if config.get("kind") != KIND:
            raise ArtifactError("This artefact holds no outfit model", found=config.get("kind"), expected=KIND)
        reads = {name: Space.parse(space) for name, space in config["reads"].items()}
        settings = OutfitModelConfig.model_validate(config["settings"])
        return cls(settings, config["categories"], reads.get("visual"), reads.get("appearance"), artifact.tensors)
