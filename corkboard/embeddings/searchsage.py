"""SearchSage: the text of a query to a unit vector in the frozen space of items (Pinterest Engineering, November 2021).

    words of hashed n-grams -> small transformer, CLS -> linear -> unit length          the items' vectors stand still

The candidate side is whatever item vectors are there already, so no index is built anew when the text side is trained again, and every
use of the items' space can be asked with words. What is learned from is in :mod:`corkboard.embeddings.query_pairs`, how in
:mod:`corkboard.embeddings.searchsage_training`, the networks in :mod:`corkboard.embeddings.searchsage_network`.

Where we differ: the published encoder is a multilingual DistilBERT that others have trained; here it is trained from nothing on hashed
n-grams, which takes seconds, and such a model is a choice (``encoder = "pretrained"``). Titles of items are texts for their own vectors,
so that words nobody has searched for are known, too; negatives are corrected for how often they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard.artifacts import Artifact, EmbeddingTable, Space, content_hash
from corkboard.embeddings.config import SearchSageConfig
from corkboard.embeddings.query_pairs import query_text
from corkboard.errors import ArtifactError

if TYPE_CHECKING:
    from corkboard.embeddings.searchsage_network import SearchSageNetwork

KIND = "searchsage"
_AT_ONCE = 1024
"""Texts that are computed together."""


class SearchSage:
    """A finished encoder of queries.

    ``space`` is the space of the items it was trained into, which is that of its vectors: they may be compared with those items and no
    others. ``own_space`` changes whenever the encoder does: keep vectors of queries under it. ``weights`` are the arrays of the network,
    ``facts`` what else the text encoder needs to be built again. Torch is loaded by the first :meth:`encode`.
    """

    def __init__(
        self, settings: SearchSageConfig, space: Space, dim: int, weights: Mapping[str, np.ndarray], facts: Mapping[str, Any] | None = None
    ):
        self.settings = settings
        self.space = space
        self.dim = dim
        self.weights = dict(weights)
        self.facts = dict(facts or {})

    @cached_property
    def own_space(self) -> Space:
        """Named after all weights, the settings and the items' space: what an artefact makes, and the key of a cache of query vectors.

        Two encoders with one ``space`` and different ``own_space`` may search the same index, but one must not answer with what
        was kept for the other.
        """
        arrays = [(name, value.shape, blake2b(value.tobytes()).hexdigest()) for name, value in sorted(self.weights.items())]
        return Space(KIND, content_hash(arrays, str(self.space), self.dim, self.settings.model_dump(mode="json"), self.facts))

    def encode(self, texts: Sequence[str | None]) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors; zeros for a text without a word or n-gram that is known.

        Texts are brought into the form of :func:`corkboard.embeddings.query_pairs.query_text` first, as they were in training: case,
        width, spacing and punctuation change nothing. Words beyond ``max_words`` are not read.
        """
        import torch

        vectors = np.zeros((len(texts), self.dim), np.float32)
        read = self._network.encoder.read([query_text(text) for text in texts])
        known = np.flatnonzero(read.known)
        with torch.inference_mode():
            for start in range(0, len(known), _AT_ONCE):
                rows = known[start : start + _AT_ONCE]
                vectors[rows] = self._network(read.take(rows)).numpy()
        return vectors

    def scores(self, texts: Sequence[str | None], items: EmbeddingTable) -> np.ndarray:
        """float32 ``(n, items)``: cosines of texts and items. Raises :class:`SpaceMismatch` unless the items are of this space."""
        self.space.require(items.space)
        return self.encode(texts) @ items.vectors.T

    @cached_property
    def _network(self) -> SearchSageNetwork:
        import torch

        from corkboard.embeddings.searchsage_network import SearchSageNetwork

        with torch.random.fork_rng(devices=[]):
            return SearchSageNetwork.of(self.settings, self.dim, self.weights, self.facts).eval()

    # ----------------------------------------------------------------------------------------------------------- artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact, which makes ``own_space`` and requires ``space``."""
        return dict(self.weights)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {
            "kind": KIND,
            "settings": self.settings.model_dump(mode="json"),
            "space": str(self.space),
            "dim": self.dim,
            "facts": self.facts,
        }

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> SearchSage:
        """The encoder of an artefact written with :meth:`tensors` and :attr:`config`."""
        config = artifact.config
        if config.get("kind") != KIND:
            raise ArtifactError("This artefact holds no encoder of queries", found=config.get("kind"), expected=KIND)
        settings = SearchSageConfig.model_validate(config["settings"])
        return cls(settings, Space.parse(config["space"]), config["dim"], artifact.tensors, config["facts"])
