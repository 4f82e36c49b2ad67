"""The networks of ItemSage: tokens of images and text, and what makes one vector of them.

Only the output at CLS is read, so only CLS asks: with one layer its query is a constant, keys need not be made, and values are averaged
before they are projected (:class:`corkboard.embeddings.multibisage_network.ClsReader`). The output starts as the mean of the tokens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.config import ItemSageConfig, MultiBiSageConfig
from corkboard.embeddings.graph_network import normed
from corkboard.embeddings.multibisage_network import ClsReader
from corkboard.embeddings.product_inputs import TEXT_FIELDS, ProductInputs
from corkboard.errors import ConfigError
from corkboard.learning.hash_embedding import Bags, HashEmbedding, Vocabulary
from corkboard.learning.hash_embedding_torch import TrainableHashEmbedding

EPSILON = 1e-6
_START = 0.1
"""Length of what the network adds before training, of an image vector of length 1."""


@dataclass(frozen=True)
class ReadProducts:
    """n products as the network reads them: images ``(n, tokens, dim)``, which are ``there``, and ``12 n`` bags of known tokens."""

    images: np.ndarray
    there: np.ndarray
    bags: Bags

    def __len__(self) -> int:
        return len(self.images)

    @property
    def fields(self) -> np.ndarray:
        """bool ``(n, 12)``: the fields with a known token."""
        return (np.diff(self.bags.offsets) > 0).reshape(-1, len(TEXT_FIELDS))

    @property
    def known(self) -> np.ndarray:
        """bool ``(n,)``: products with an image or a known token. The others have the zero vector."""
        return self.there.any(axis=1) | self.fields.any(axis=1)

    def take(self, rows: np.ndarray) -> ReadProducts:
        """The products at ``rows``, in that order."""
        bags = (rows[:, None] * len(TEXT_FIELDS) + np.arange(len(TEXT_FIELDS))).ravel()
        return ReadProducts(self.images[rows], self.there[rows], self.bags.take(bags))


class ItemSageNetwork(nn.Module):
    """Products to unit vectors ``(n, dim)``, for every encoder but "sum"."""

    def __init__(self, config: ItemSageConfig, dim: int, vocabulary: Vocabulary, embedding: HashEmbedding):
        super().__init__()
        if config.encoder == "transformer" and config.width % config.heads:
            raise ConfigError("The heads must divide the width", found=(config.width, config.heads))
        self.settings, self.vocabulary = config, vocabulary
        fields, width = len(TEXT_FIELDS), config.width
        self.embedding = TrainableHashEmbedding(embedding)
        self.norm = nn.LayerNorm(config.text_width)
        self.fields = nn.Parameter(torch.randn(fields, config.text_width, width) / math.sqrt(config.text_width))
        self.field_biases = nn.Parameter(torch.zeros(fields, width))
        self.main, self.further = nn.Linear(dim, width), nn.Linear(dim, width)
        self.inner: nn.Module
        if config.encoder == "transformer":
            self.inner = Attended(config)
        elif config.encoder == "mlp_concat":
            self.inner = SideBySide(config)
        else:
            self.inner = Averaged()
        self.hidden = nn.Linear(width if config.encoder != "mlp_concat" else config.hidden, config.hidden)
        self.output = nn.Linear(config.hidden, dim)
        with torch.no_grad():
            self.output.weight *= _START

    def read(self, products: ProductInputs) -> ReadProducts:
        """The products as :meth:`forward` takes them; a modality that is switched off is nowhere there."""
        config = self.settings
        there = products.there[:, : config.images] & (config.modalities != "text")
        images = (products.images[:, : config.images] * there[:, :, None]).astype(np.float32, copy=False)
        if config.modalities == "image":
            bags = Bags(np.empty(0, np.int64), np.zeros(len(products) * len(TEXT_FIELDS) + 1, np.int64))
        else:
            tokens = products.tokens(config.text)
            bags = Bags.of(self.vocabulary.ids(tokens.hashes), tokens.offsets)
        return ReadProducts(images, there, bags)

    def forward(self, products: ReadProducts) -> Tensor:
        """float32 ``(n, dim)``, of length 1 where anything is known of a product."""
        config = self.settings
        images, there = torch.from_numpy(products.images), torch.from_numpy(products.there)
        fields = torch.from_numpy(products.fields)
        if self.training:
            fields = fields & (torch.rand(fields.shape) >= config.field_dropout)
        tokens = torch.cat([self._image_tokens(images), self._text_tokens(products)], dim=1)
        state = self.inner(tokens, torch.cat([there, fields], dim=1))
        inner = functional.dropout(functional.gelu(self.hidden(state)), config.dropout, self.training)
        vectors = self.output(inner)
        if config.residual:
            vectors = vectors + main_images(images, there)
        return functional.normalize(vectors, dim=1, eps=EPSILON)

    def _image_tokens(self, images: Tensor) -> Tensor:
        """``(n, tokens, width)``; the main image has a projection of its own."""
        scaled = images * math.sqrt(images.shape[2])  # as long as the fields are
        if not images.shape[1]:
            return images.new_zeros(len(images), 0, self.settings.width)
        return torch.cat([self.main(scaled[:, :1]), self.further(scaled[:, 1:])], dim=1)

    def _text_tokens(self, products: ReadProducts) -> Tensor:
        """``(n, 12, width)``; whatever stands in an empty field, nobody reads."""
        sums = self.norm(self.embedding(products.bags)).view(len(products), len(TEXT_FIELDS), -1)
        return torch.einsum("nfd,fdw->nfw", sums, self.fields) + self.field_biases

    def tensors(self) -> dict[str, np.ndarray]:
        """All arrays of an artefact."""
        own = {name: value.detach().cpu().numpy().copy() for name, value in self.state_dict().items()}
        return own | {"vocabulary": self.vocabulary.keys, "constants": self.embedding.frozen().constants}

    @classmethod
    def of(cls, config: ItemSageConfig, dim: int, tensors: Mapping[str, np.ndarray]) -> ItemSageNetwork:
        """The network behind :meth:`tensors`."""
        embedding = HashEmbedding(tensors["embedding.table"], tensors["embedding.weights"], tensors["constants"])
        network = cls(config, dim, Vocabulary(tensors["vocabulary"]), embedding)
        network.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in network.state_dict()})
        return network


class Attended(ClsReader):
    """One transformer layer, read at CLS."""

    def __init__(self, config: ItemSageConfig):
        shape = {"width": config.width, "heads": config.heads, "feedforward": config.feedforward, "dropout": config.dropout}
        super().__init__(MultiBiSageConfig.model_validate(shape), 1)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """``(n, width)`` from ``(n, tokens, width)`` and which tokens are there, bool ``(n, tokens)``."""
        tokens = normed(tokens)
        asked, cls = self.asked()[0], self.cls[0]
        scores = (tokens @ asked.T).masked_fill(~there[:, :, None], -torch.inf)
        shares = torch.softmax(torch.cat([(asked @ cls).expand(len(tokens), 1, -1), scores], dim=1), dim=1)
        averages = shares[:, 1:].transpose(1, 2) @ tokens + shares[:, 0, :, None] * cls
        return self.after(averages[None])[0]


class SideBySide(nn.Module):
    """A layer over each token, all of them side by side, and a layer over that."""

    def __init__(self, config: ItemSageConfig):
        super().__init__()
        self.settings = config
        self.join = nn.Linear((config.images + len(TEXT_FIELDS)) * config.width, config.hidden)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """``(n, hidden)`` from ``(n, tokens, width)`` and which tokens are there; what is not is a zero."""
        held = functional.gelu(tokens) * there[:, :, None]
        images = tokens.shape[1] - len(TEXT_FIELDS)
        text = self.join.weight[:, self.settings.images * self.settings.width :]
        shown = self.join.weight[:, : images * self.settings.width]  # the places of pictures that no product here has are zeros
        return functional.gelu(held[:, :images].flatten(1) @ shown.T + held[:, images:].flatten(1) @ text.T + self.join.bias)


class Averaged(nn.Module):
    """The mean of the tokens."""

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """``(n, width)`` from ``(n, tokens, width)`` and which tokens are there; zeros where none is."""
        return (tokens * there[:, :, None]).sum(dim=1) / there.sum(dim=1, keepdim=True).clamp_min(1)


def main_images(images: Tensor, there: Tensor) -> Tensor:
    """``(n, dim)``: the first image that is there, zeros where none is."""
    first = there & (there.cumsum(dim=1) == 1)
    return (images * first[:, :, None]).sum(dim=1)
