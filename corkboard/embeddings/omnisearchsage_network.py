"""The networks of OmniSearchSage: one encoder of queries with its layers to each space, and one tower for pins and products alike.

    query  n-grams -> encoder -> linear -> dim                        and a linear layer to each frozen space
    item   (sum of the tokens of all its texts, features) -> MLP of two hidden layers -> dim

The encoder of queries is that of SearchSage. Vectors are returned as they are, not of unit length, for each of their prefixes has a
length of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.omni_config import OmniSearchSageConfig
from corkboard.embeddings.searchsage_network import EPSILON, NGramEncoder, PretrainedTextEncoder
from corkboard.learning.hash_embedding import Bags, HashEmbedding, Vocabulary
from corkboard.learning.hash_embedding_torch import TrainableHashEmbedding
from corkboard.learning.text import Tokens, tokenize


@dataclass(frozen=True)
class ReadItems:
    """n items as the tower reads them: bag i is a text, item j owns texts ``offsets[j] : offsets[j + 1]``; ``features`` ``(n, width)``."""

    bags: Bags
    offsets: np.ndarray
    features: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: np.ndarray, kept: np.ndarray | None = None) -> ReadItems:
        """The items at ``rows``, in that order, with those texts that ``kept``, bool over all texts, says; None: all."""
        texts = Bags(np.arange(len(self.bags)), self.offsets).take(rows)
        if kept is not None:
            texts = Bags.of(np.where(kept[texts.ids], texts.ids, -1), texts.offsets)
        return ReadItems(self.bags.take(texts.ids), texts.offsets, self.features[rows])

    @property
    def tokens(self) -> Bags:
        """The known tokens of every item, all its texts together."""
        return Bags(self.bags.ids, self.bags.offsets[self.offsets])

    @property
    def known(self) -> np.ndarray:
        """bool ``(n,)``: items with a known token or a feature."""
        return (np.diff(self.tokens.offsets) > 0) | self.features.any(axis=1)


def start_of_items(texts: Sequence[str], config: OmniSearchSageConfig, seed: int) -> tuple[Vocabulary, HashEmbedding]:
    """The tokens of these texts, and a random embedding of them in which what stands in few texts counts more (IDF)."""
    vocabulary, frequency = Vocabulary.fit(tokenize(texts, config.text.max_words), config.text)
    idf = np.log((len(texts) + 1) / (frequency + 0.5)).astype(np.float32)
    return vocabulary, HashEmbedding.random(len(vocabulary), config.table_rows, config.text_width, seed, idf)


class ItemNetwork(nn.Module):
    """Texts and features of items to vectors ``(n, dim)``."""

    def __init__(self, config: OmniSearchSageConfig, vocabulary: Vocabulary, start: HashEmbedding, features: int, dim: int):
        super().__init__()
        self.settings, self.vocabulary, self._constants = config, vocabulary, start.constants
        self.embedding = TrainableHashEmbedding(start)
        self.mlp = nn.Sequential(
            *(nn.Linear(config.text_width + features, config.hidden), nn.ReLU(), nn.LayerNorm(config.hidden)),
            *(nn.Linear(config.hidden, config.hidden), nn.ReLU(), nn.LayerNorm(config.hidden)),
        )
        self.output = nn.Linear(config.hidden, dim)

    def read(self, texts: Sequence[str], offsets: np.ndarray, features: np.ndarray) -> ReadItems:
        """Items as :meth:`forward` takes them: item j owns ``texts[offsets[j] : offsets[j + 1]]``."""
        tokens: Tokens = tokenize(texts, self.settings.text.max_words)
        return ReadItems(Bags.of(self.vocabulary.ids(tokens.hashes), tokens.offsets), offsets, features)

    def forward(self, items: ReadItems) -> Tensor:
        """``(n, dim)``; zeros for an item without a known token and without features."""
        bags, features = items.tokens, torch.from_numpy(items.features)
        if self.training and self.settings.token_dropout:
            bags = Bags.of(np.where(torch.rand(len(bags.ids)).numpy() >= self.settings.token_dropout, bags.ids, -1), bags.offsets)
        if self.training and self.settings.feature_dropout:
            features = features * (torch.rand(len(items), 1) >= self.settings.feature_dropout)
        # only where the sum points is kept: long descriptions would drown the features otherwise
        text = functional.normalize(self.embedding(bags), dim=1, eps=EPSILON) * math.sqrt(self.settings.text_width)
        wide = torch.cat([text, features * math.sqrt(self.settings.text_width)], dim=1)
        return self.output(self.mlp(wide)) * torch.from_numpy(items.known)[:, None]

    def tensors(self) -> dict[str, np.ndarray]:
        """Weights, the known tokens and the constants of the hashes."""
        return arrays(self) | {"vocabulary": self.vocabulary.keys, "constants": self._constants}

    @classmethod
    def of(cls, config: OmniSearchSageConfig, tensors: Mapping[str, np.ndarray]) -> ItemNetwork:
        """The network behind :meth:`tensors`; how wide it is at both ends is read from them."""
        start = HashEmbedding(tensors["embedding.table"], tensors["embedding.weights"], tensors["constants"])
        features = tensors["mlp.0.weight"].shape[1] - config.text_width
        network = cls(config, Vocabulary(tensors["vocabulary"]), start, features, len(tensors["output.bias"]))
        network.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in network.state_dict()})
        return network


class OmniNetwork(nn.Module):
    """The whole: ``output`` is the layer of queries to the joint space, ``heads`` those to frozen ones, by the place of the space."""

    def __init__(self, encoder: NGramEncoder | PretrainedTextEncoder, items: ItemNetwork, dim: int, frozen: Sequence[int]):
        super().__init__()
        self.encoder, self.items = encoder, items
        self.output = nn.Linear(encoder.width, dim)
        self.heads = nn.ModuleList(nn.Linear(encoder.width, each) for each in frozen)

    def tensors(self) -> dict[str, np.ndarray]:
        """All arrays of an artefact: ``encoder.``, ``output.``, ``items.`` and ``heads.<place>.``."""
        parts = {"encoder": self.encoder.tensors(), "items": self.items.tensors()}
        parts |= {"output": arrays(self.output), "heads": arrays(self.heads)}
        return {f"{part}.{name}": value for part, found in parts.items() for name, value in found.items()}


def unit_prefix(vectors: Tensor, dim: int) -> Tensor:
    """The first ``dim`` numbers of every vector at length 1; zeros stay zeros."""
    return functional.normalize(vectors[:, :dim], dim=1, eps=EPSILON)


def arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """Copies of the weights."""
    return {name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()}
