"""ItemSage: one vector a product, for whoever asks with an item, with words or with a user (Baltescu et al., KDD 2022).

    up to 20 image vectors, each projected   ]
    12 text fields: hash embedding, norm,    ] -> one transformer layer, output at CLS -> MLP -> unit length
      a projection of their own              ]
    CLS, learned                             ]

The vectors lie in the space of the image vectors, which is that of items and of queries: those stand still, only the encoder of products
learns. So one index of products answers image queries, text queries and whatever else has vectors of that space. What is learned from is
in :mod:`corkboard.embeddings.product_pairs`, how in :mod:`corkboard.embeddings.itemsage_training`.

Where we differ: a vector starts as that of the main image and the network adds to it (``residual``), since a few thousand pairs are too
few to learn the space anew. The widths are those of a small catalogue. Tokens are normalised before the layer, further pictures share one
projection, and fields and images are left out at random in training.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard.artifacts import Artifact, EmbeddingTable, Space, content_hash
from corkboard.embeddings.config import ItemSageConfig
from corkboard.embeddings.content import unit_rows
from corkboard.embeddings.product_inputs import ProductInputs
from corkboard.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from corkboard.embeddings.itemsage_network import ItemSageNetwork

KIND = "itemsage"
AT_ONCE = 2048
"""Products that are computed together."""


class ItemSage:
    """A finished encoder of products.

    ``space`` is the space of items and queries that it was trained into, which is that of its vectors. ``own_space`` changes whenever the
    encoder does: an index of products is named after it, and it is what an artefact makes. ``weights`` are the arrays of the network,
    none with the encoder "sum". Torch is loaded by the first :meth:`encode`.
    """

    def __init__(self, settings: ItemSageConfig, space: Space, dim: int, weights: Mapping[str, np.ndarray]):
        self.settings = settings
        self.space = space
        self.dim = dim
        self.weights = dict(weights)

    @cached_property
    def own_space(self) -> Space:
        """Named after all weights, the settings and the space of items: the key of whatever keeps vectors of products."""
        arrays = [(name, value.shape, blake2b(value.tobytes()).hexdigest()) for name, value in sorted(self.weights.items())]
        return Space(KIND, content_hash(arrays, str(self.space), self.dim, self.settings.model_dump(mode="json")))

    def encode(self, products: ProductInputs) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors; zeros for a product with neither an image nor a known word among what is read.

        Neither the other products nor how far images are padded change a vector. Raises :class:`SpaceMismatch` where the images are not
        of :attr:`space`.
        """
        self.space.require(products.image_space)
        if products.images.shape[2] != self.dim:
            raise InputError("Image vectors have another width than those of items", found=products.images.shape[2], expected=self.dim)
        if self.settings.encoder == "sum":
            return image_means(products, self.settings)
        import torch

        vectors = np.zeros((len(products), self.dim), np.float32)
        read = self._network.read(products)
        known = np.flatnonzero(read.known)
        with torch.inference_mode():
            for start in range(0, len(known), AT_ONCE):
                rows = known[start : start + AT_ONCE]
                vectors[rows] = self._network(read.take(rows)).numpy()
        return vectors

    def table(self, products: ProductInputs) -> EmbeddingTable:
        """The vectors of ``products`` under their ids, in :attr:`space`: what an index of products is built from."""
        return EmbeddingTable(products.item_ids, self.encode(products), self.space)

    @cached_property
    def _network(self) -> ItemSageNetwork:
        import torch

        from corkboard.embeddings.itemsage_network import ItemSageNetwork

        with torch.random.fork_rng(devices=[]):
            return ItemSageNetwork.of(self.settings, self.dim, self.weights).eval()

    # ----------------------------------------------------------------------------------------------------------- artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact, which makes ``own_space`` and requires ``space``."""
        return dict(self.weights)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {"kind": KIND, "settings": self.settings.model_dump(mode="json"), "space": str(self.space), "dim": self.dim}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> ItemSage:
        """The encoder of an artefact written with :meth:`tensors` and :attr:`config`."""
        config = artifact.config
        if config.get("kind") != KIND:
            raise ArtifactError("This artefact holds no encoder of products", found=config.get("kind"), expected=KIND)
        settings = ItemSageConfig.model_validate(config["settings"])
        weights = {} if settings.encoder == "sum" else artifact.tensors
        return cls(settings, Space.parse(config["space"]), config["dim"], weights)


def image_means(products: ProductInputs, config: ItemSageConfig) -> np.ndarray:
    """float32 ``(n, dim)``: the mean of the images of each product at length 1, the encoder "sum".

    The published one adds vectors of text. Hashed text that nothing was trained for lies in no space that images could be compared with,
    so here the images stand alone.
    """
    images, there = products.images[:, : config.images], products.there[:, : config.images]
    return unit_rows((images * there[:, :, None]).sum(axis=1)).astype(np.float32)
