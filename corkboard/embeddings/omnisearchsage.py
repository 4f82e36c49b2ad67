"""OmniSearchSage: one vector of a query for pins, products and queries alike (Agarwal et al., WWW 2024 industry track, arXiv 2404.16260).

Where SearchSage writes queries into a space of items that stands still, here the items learn, too: a cheap tower over all their texts
(their own, titles of boards, engaged queries: :mod:`corkboard.embeddings.enrichment`) and their frozen vectors. The price is that every
index has to be built anew with the tower. So that older indexes stay of use, the encoder of queries keeps a layer for each frozen space:
:meth:`OmniSearchSage.compat` returns it as a :class:`SearchSage`, which a release may serve in that one's place.

Where we differ: the encoder of queries is SearchSage's, trained from nothing on hashed n-grams; there are no synthetic captions; titles
of items are texts for their own items, as in SearchSage; frozen spaces are reached from the side of the query, so that their indexes
stay as they are (published: identity in the released code, a small encoder of the frozen vectors in the paper).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable, Space, content_hash
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.embeddings.omni_config import OmniSearchSageConfig
from corkboard.embeddings.query_pairs import query_text
from corkboard.embeddings.searchsage import SearchSage
from corkboard.errors import ArtifactError, InputError, NotFound, SpaceMismatch

if TYPE_CHECKING:
    from corkboard.embeddings.omnisearchsage_network import ItemNetwork

KIND = "omnisearchsage"
_AT_ONCE = 1024
"""Items that are computed together."""
_EPSILON = 1e-6


@dataclass(frozen=True)
class OmniItems:
    """What the tower reads of items, and what training needs to know of them.

    Item j owns ``texts[offsets[j] : offsets[j + 1]]``, of which ``asked``, bool ``(len(texts),)``, marks the engaged queries.
    ``features`` are vectors of the items in frozen spaces, zeros where an item has none. ``titles`` are in the form of a query.
    """

    item_ids: Sequence[str]
    texts: Sequence[str]
    offsets: np.ndarray
    asked: np.ndarray
    features: NodeFeatures
    titles: Sequence[str]

    def __len__(self) -> int:
        return len(self.item_ids)

    @classmethod
    def of(
        cls,
        items: pl.DataFrame,
        tables: Sequence[EmbeddingTable],
        enrichment: pl.DataFrame | None = None,
        config: OmniSearchSageConfig | None = None,
    ) -> OmniItems:
        """Rows of the lake's ``items`` (absent columns are empty), their vectors in ``tables``, which is at least one, in that order, and a
        frame of :data:`corkboard.embeddings.enrichment.ENRICHMENT_SCHEMA`. Only ``config.fields`` are read."""
        config = config or OmniSearchSageConfig()
        item_ids = items["item_id"].to_list()
        fields = {name: [[]] * len(items) if name not in config.fields else _field(items, name, config) for name in _NATIVE}
        given: dict[str, dict[str, list[str]]] = {"boards": {}, "queries": {}}
        if enrichment is not None:
            for name, by_item in given.items():
                if name in config.fields:
                    by_item.update(zip(enrichment["item_id"].to_list(), enrichment[name].to_list(), strict=True))
        texts: list[str] = []
        asked: list[bool] = []
        offsets = np.zeros(len(items) + 1, np.int64)
        for place, item_id in enumerate(item_ids):
            own = [text for name in _NATIVE for text in fields[name][place] if text] + given["boards"].get(item_id, [])
            queries = given["queries"].get(item_id, [])
            texts += own + queries
            asked += [False] * len(own) + [True] * len(queries)
            offsets[place + 1] = len(texts)
        titles = [query_text(text) for text in items["title"].to_list()] if "title" in items.columns else [""] * len(items)
        return cls(item_ids, texts, offsets, np.array(asked, bool), NodeFeatures.of(item_ids, tables), titles)


_NATIVE = ("title", "description", "category", "attributes")
"""Texts of an item's own."""


def _field(items: pl.DataFrame, name: str, config: OmniSearchSageConfig) -> list[list[str]]:
    """The texts of one field of every item, in the form of a query."""
    if name not in items.columns:
        return [[]] * len(items)
    if name != "attributes":
        return [[query_text(text)] for text in items[name].to_list()]
    left_out = frozenset(config.text.left_out_attributes)
    return [
        [query_text(pair["value"]) for pair in pairs or () if pair["name"] not in left_out and pair["value"] is not None]
        for pairs in items[name].to_list()
    ]


class OmniSearchSage:
    """A finished model: queries and items as unit vectors of one space, and queries in frozen ones.

    ``space`` is named after all weights. ``requires`` are the spaces of the features of items, in their order, ``frozen`` those that
    queries can be written into. Torch is loaded by the first vector that is asked for.
    """

    def __init__(
        self,
        settings: OmniSearchSageConfig,
        requires: Sequence[Space],
        frozen: Sequence[Space],
        weights: Mapping[str, np.ndarray],
        facts: Mapping[str, Any] | None = None,
    ):
        self.settings = settings
        self.requires = tuple(requires)
        self.frozen = tuple(frozen)
        self.weights = dict(weights)
        self.facts = dict(facts or {})

    @property
    def dim(self) -> int:
        """Width of the vectors."""
        return len(self.weights["output.bias"])

    @cached_property
    def space(self) -> Space:
        """The space of queries and items: two models share one only when they are equal."""
        made = [(name, value.shape, blake2b(value.tobytes()).hexdigest()) for name, value in sorted(self.weights.items())]
        spaces = [str(space) for space in (*self.requires, *self.frozen)]
        return Space(KIND, content_hash(made, spaces, self.settings.model_dump(mode="json"), self.facts))

    # ------------------------------------------------------------------------------------------------------------- queries

    @cached_property
    def queries(self) -> SearchSage:
        """The encoder of queries into :attr:`space`, with the interface of SearchSage."""
        return self._encoder(self.space, {"weight": self.weights["output.weight"], "bias": self.weights["output.bias"]})

    def encode_queries(self, texts: Sequence[str | None]) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors; zeros for a text of which nothing is known. Texts as :meth:`SearchSage.encode` takes them."""
        return self.queries.encode(texts)

    def compat(self, space: Space) -> SearchSage:
        """The encoder of queries into a frozen space, whose indexes stay valid: it may be served in the place of a SearchSage.

        Raises :class:`NotFound` for a space that this was not trained against.
        """
        if space not in self.frozen:
            known = [str(each) for each in self.frozen]
            raise NotFound("This model writes no queries into that space", found=str(space), expected=known)
        place = f"heads.{self.frozen.index(space)}."
        if self.settings.compat == "linear":
            return self._encoder(space, {"weight": self.weights[f"{place}weight"], "bias": self.weights[f"{place}bias"]})
        wide = int(self.weights[f"{place}dim"][0])
        return self._encoder(space, {"weight": self.weights["output.weight"][:wide], "bias": self.weights["output.bias"][:wide]})

    def _encoder(self, space: Space, output: Mapping[str, np.ndarray]) -> SearchSage:
        own = {name: value for name, value in self.weights.items() if name.startswith("encoder.")}
        weights = own | {f"output.{name}": np.ascontiguousarray(value) for name, value in output.items()}
        return SearchSage(self.settings.query, space, len(output["bias"]), weights, self.facts)

    # --------------------------------------------------------------------------------------------------------------- items

    def encode_items(self, items: OmniItems) -> np.ndarray:
        """float32 ``(n, dim)`` unit vectors; zeros for an item without a known token and without any feature.

        Raises :class:`SpaceMismatch` unless the features are of the spaces that this was trained with, in their order.
        """
        import torch

        from corkboard.embeddings.omnisearchsage_network import unit_prefix

        if tuple(items.features.spaces) != self.requires:
            found, wanted = ([str(space) for space in spaces] for spaces in (items.features.spaces, self.requires))
            raise SpaceMismatch("The tower of items reads features of other spaces", found=found, expected=wanted)
        read = self._items.read(items.texts, items.offsets, items.features.values)
        vectors = np.zeros((len(items), self.dim), np.float32)
        with torch.inference_mode():
            for start in range(0, len(items), _AT_ONCE):
                rows = np.arange(start, min(start + _AT_ONCE, len(items)))
                vectors[rows] = unit_prefix(self._items(read.take(rows)), self.dim).numpy()
        return vectors

    def table(self, items: OmniItems) -> EmbeddingTable:
        """The vectors of items under their ids, in :attr:`space`: what an index is built from."""
        return EmbeddingTable(list(items.item_ids), self.encode_items(items), self.space)

    @cached_property
    def _items(self) -> ItemNetwork:
        import torch

        from corkboard.embeddings.omnisearchsage_network import ItemNetwork

        own = {name.removeprefix("items."): value for name, value in self.weights.items() if name.startswith("items.")}
        with torch.random.fork_rng(devices=[]):
            return ItemNetwork.of(self.settings, own).eval()

    # ------------------------------------------------------------------------------------------------------------ prefixes

    def prefix(self, dim: int) -> OmniSearchSage:
        """The model of which the vectors are the first ``dim`` numbers, in a space of its own.

        Any width will do; those of ``prefixes`` were trained for it. Raises :class:`InputError` outside of ``[1, self.dim]``. Layers to
        frozen spaces by identity stay those of the whole vector and are therefore left out where the prefix is narrower.
        """
        if not 1 <= dim <= self.dim:
            raise InputError("A prefix is at least one number and at most the whole vector", found=dim, expected=f"1 to {self.dim}")
        cut = {f"{part}.{name}" for part in ("output", "items.output") for name in ("weight", "bias")}
        weights = {name: np.ascontiguousarray(value[:dim]) if name in cut else value for name, value in self.weights.items()}
        fits = self.settings.compat == "linear" or all(int(self.weights[f"heads.{k}.dim"][0]) <= dim for k in range(len(self.frozen)))
        return OmniSearchSage(self.settings, self.requires, self.frozen if fits else (), weights, self.facts)

    def truncated(self, table: EmbeddingTable, dim: int) -> EmbeddingTable:
        """A table of :attr:`space` in the space of :meth:`prefix`, without computing its items again."""
        self.space.require(table.space)
        return EmbeddingTable(table.ids, prefix_rows(table.vectors, dim), self.prefix(dim).space)

    # ----------------------------------------------------------------------------------------------------------- artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact, which makes ``space`` and requires ``requires`` and ``frozen``."""
        return dict(self.weights)

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        return {
            "kind": KIND,
            "settings": self.settings.model_dump(mode="json"),
            "requires": [str(space) for space in self.requires],
            "frozen": [str(space) for space in self.frozen],
            "facts": self.facts,
        }

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> OmniSearchSage:
        """The model of an artefact written with :meth:`tensors` and :attr:`config`."""
        config = artifact.config
        if config.get("kind") != KIND:
            raise ArtifactError("This artefact holds no joint model of queries and items", found=config.get("kind"), expected=KIND)
        spaces = [[Space.parse(text) for text in config[name]] for name in ("requires", "frozen")]
        return cls(OmniSearchSageConfig.model_validate(config["settings"]), *spaces, artifact.tensors, config["facts"])


def prefix_rows(vectors: np.ndarray, dim: int) -> np.ndarray:
    """float32 ``(n, dim)``: the first ``dim`` numbers of every row at length 1; zeros stay zeros."""
    first = np.asarray(vectors, np.float32)[:, :dim]
    return first / np.maximum(np.linalg.norm(first, axis=1, keepdims=True), np.float32(_EPSILON))
