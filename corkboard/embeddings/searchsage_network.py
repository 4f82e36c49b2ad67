"""The networks of SearchSage: encoders of text, and the linear layer to the items' space.

An encoder of text turns strings into whatever it reads, once, and what it read into vectors ``(n, width)``, at every step. There are two:
hashed n-grams trained from nothing (:class:`NGramEncoder`), and a model of `transformers` (:class:`PretrainedTextEncoder`).

A word is the mean of the vectors of its n-grams (the word itself and its character trigrams), so that a word which nobody has typed before,
or which is mistyped, is near to those it looks like. Over the words goes a small pre-norm transformer, whose output at CLS is the text. A
block starts as the identity plus a mean over what it reads, and its feed-forward at nothing: untrained, a text is the mean of its words.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.embeddings.config import SearchSageConfig
from corkboard.errors import ArtifactError, ConfigError, NotFound
from corkboard.learning.checkpoints import quiet, transformers_package
from corkboard.learning.hash_embedding import Bags, HashEmbedding, Vocabulary
from corkboard.learning.hash_embedding_torch import TrainableHashEmbedding
from corkboard.learning.text import Tokens, split_words, tokenize

EPSILON = 1e-6
_LONGEST_WORD = 64
"""Letters of a word that are read: beyond there are no words, only noise that would take its time."""


class ReadTexts(Protocol):
    """n texts as an encoder reads them."""

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> Self:
        """The texts at ``rows``, in that order."""

    @property
    def known(self) -> np.ndarray:
        """bool ``(n,)``: texts in which the encoder knows anything. The others have the zero vector."""


class TextEncoder(Protocol):
    """Text to vectors ``(n, width)``, not of unit length."""

    width: int

    def read(self, texts: Sequence[str]) -> Any:
        """The texts as :meth:`forward` takes them, a :class:`ReadTexts`."""

    def forward(self, texts: Any) -> Tensor:
        """``(n, width)``; how far a text is padded changes nothing."""

    def tensors(self) -> dict[str, np.ndarray]:
        """All that an artefact must hold beside :meth:`facts`."""

    def facts(self) -> dict[str, Any]:
        """How to build it again, JSON."""


# --------------------------------------------------------------------------------------------------------- hashed n-grams


@dataclass(frozen=True)
class Pieces:
    """Texts as bags of known n-grams: bag i is a piece (a word, or a whole text); text j owns ``offsets[j] : offsets[j + 1]`` of them."""

    bags: Bags
    offsets: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: np.ndarray) -> Pieces:
        """The texts at ``rows``, in that order."""
        texts = Bags(np.arange(len(self.bags)), self.offsets).take(rows)
        return Pieces(self.bags.take(texts.ids), texts.offsets)

    @property
    def known(self) -> np.ndarray:
        """bool ``(n,)``: texts with a known n-gram."""
        return np.diff(self.offsets) > 0


def read_pieces(texts: Sequence[str], config: SearchSageConfig) -> tuple[Tokens, np.ndarray]:
    """The n-grams of every piece, and int64 ``(n + 1,)`` where the pieces of each text begin.

    A piece is a word, or for a ``bag`` the whole text, of which word bigrams are read, too.
    """
    if config.encoder == "bag":
        short = [" ".join(_words(text, config)) for text in texts]
        return tokenize(short, config.max_words), np.arange(len(texts) + 1)
    words = [_words(text, config) for text in texts]
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in words], dtype=np.int64)]).astype(np.int64)
    return tokenize([word for each in words for word in each], 1), offsets


def _words(text: str, config: SearchSageConfig) -> list[str]:
    return [word[:_LONGEST_WORD] for word in split_words(text)[: config.max_words]]


def start_of(texts: Sequence[str], config: SearchSageConfig, seed: int) -> tuple[Vocabulary, HashEmbedding]:
    """The n-grams of these texts, and a random embedding of them in which what stands in few texts counts more (IDF)."""
    tokens, offsets = read_pieces(texts, config)
    by_text = Tokens(tokens.hashes, tokens.kinds, tokens.offsets[offsets])
    vocabulary, frequency = Vocabulary.fit(by_text, config.text)
    idf = np.log((len(texts) + 1) / (frequency + 0.5)).astype(np.float32)
    return vocabulary, HashEmbedding.random(len(vocabulary), config.table_rows, config.width, seed, idf)


class NGramEncoder(nn.Module):
    """Hashed n-grams, alone or below a transformer over words."""

    def __init__(self, config: SearchSageConfig, vocabulary: Vocabulary, start: HashEmbedding):
        super().__init__()
        if config.width % config.heads:
            raise ConfigError("The heads must divide the width", found=(config.width, config.heads))
        self.settings, self.width = config, start.table.shape[1]
        self.vocabulary, self._constants = vocabulary, start.constants
        self.embedding = TrainableHashEmbedding(start)
        if config.encoder == "words":
            self.cls = nn.Parameter(torch.zeros(self.width))
            self.positions = nn.Parameter(torch.zeros(config.max_words, self.width))
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))

    def read(self, texts: Sequence[str]) -> Pieces:
        """The known n-grams of texts. Words of which no n-gram is known are left out."""
        tokens, offsets = read_pieces(texts, self.settings)
        bags = Bags.of(self.vocabulary.ids(tokens.hashes), tokens.offsets)
        known = np.diff(bags.offsets) > 0
        return Pieces(bags.take(np.flatnonzero(known)), np.concatenate([[0], np.cumsum(known)])[offsets])

    def forward(self, texts: Pieces) -> Tensor:
        """``(n, width)``; zeros for a bag without known n-grams."""
        pieces, counts = self._pieces(texts.bags), np.diff(texts.offsets)
        owner = torch.from_numpy(np.repeat(np.arange(len(texts)), counts))
        place = torch.from_numpy(np.arange(len(texts.bags)) - np.repeat(texts.offsets[:-1], counts))
        if self.settings.encoder == "bag":
            return pieces.new_zeros(len(texts), self.width).index_add(0, owner, pieces)
        longest = int(counts.max(initial=0))
        tokens = pieces.new_zeros(len(texts), 1 + longest, self.width)
        tokens = tokens.index_put((owner, place + 1), pieces + self.positions[place])
        tokens = torch.cat([self.cls.expand(len(texts), 1, -1), tokens[:, 1:]], dim=1)
        there = torch.arange(1 + longest) <= torch.from_numpy(counts)[:, None]
        for block in self.blocks:
            tokens = block(tokens, there)
        return tokens[:, 0]

    def _pieces(self, bags: Bags) -> Tensor:
        """``(pieces, width)``: the means of the vectors of their n-grams, at mean square 1."""
        if self.training and self.settings.token_dropout:
            kept = torch.rand(len(bags.ids)).numpy() >= self.settings.token_dropout
            bags = Bags.of(np.where(kept, bags.ids, -1), bags.offsets)
        # the mean points where the sum does, and only where it points is kept
        return functional.normalize(self.embedding(bags), dim=1, eps=EPSILON) * math.sqrt(self.width)

    def tensors(self) -> dict[str, np.ndarray]:
        """Weights, the known n-grams and the constants of the hashes."""
        return _arrays(self) | {"vocabulary": self.vocabulary.keys, "constants": self._constants}

    def facts(self) -> dict[str, Any]:
        """Nothing: the settings say it all."""
        return {}

    @classmethod
    def of(cls, config: SearchSageConfig, tensors: Mapping[str, np.ndarray]) -> NGramEncoder:
        """The encoder behind :meth:`tensors`."""
        start = HashEmbedding(tensors["embedding.table"], tensors["embedding.weights"], tensors["constants"])
        encoder = cls(config, Vocabulary(tensors["vocabulary"]), start)
        _load(encoder, tensors)
        return encoder


class Block(nn.Module):
    """One pre-norm block of attention and feed-forward in which every token reads all that are there."""

    def __init__(self, config: SearchSageConfig):
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key, self.value, self.mixed = nn.Linear(width, 2 * width), nn.Linear(width, width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, config.feedforward * width), nn.Linear(config.feedforward * width, width)
        self.dropout = nn.Dropout(config.dropout)
        for layer in (self.value, self.mixed):
            nn.init.eye_(layer.weight)
        for part in (self.value.bias, self.mixed.bias, self.down.weight, self.down.bias):
            nn.init.zeros_(part)

    def forward(self, tokens: Tensor, there: Tensor) -> Tensor:
        """``(batch, time, width)`` of the same; ``there`` bool ``(batch, time)`` says which tokens are no padding."""
        normed = self.norm_attention(tokens)
        queries, keys, values = (self._split(part) for part in (*self.query_key(normed).chunk(2, dim=-1), self.value(normed)))
        read = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=there[:, None, None])
        tokens = tokens + self.dropout(self.mixed(read.transpose(1, 2).flatten(2)))
        return tokens + self.dropout(self.down(functional.relu(self.up(self.norm_forward(tokens)))))

    def _split(self, tokens: Tensor) -> Tensor:
        """``(batch, time, width)`` to ``(batch, heads, time, width / heads)``."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)


# -------------------------------------------------------------------------------------------------- models of transformers


@dataclass(frozen=True)
class Subwords:
    """Texts as numbers of subwords: int64 ``(n, longest)``, and how many each has, special ones among them; ``known`` bool ``(n,)``."""

    ids: np.ndarray
    lengths: np.ndarray
    known: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: np.ndarray) -> Subwords:
        """The texts at ``rows``, in that order."""
        lengths = self.lengths[rows]
        return Subwords(self.ids[rows, : lengths.max(initial=1)], lengths, self.known[rows])


class PretrainedTextEncoder(nn.Module):
    """A text model of `transformers` (BERT, DistilBERT, XLM-RoBERTa and the like): its state at the first token is the text.

    ``tokenizer`` is the JSON of a fast tokenizer, which adds the special tokens.
    """

    def __init__(self, model: nn.Module, tokenizer: str, config: SearchSageConfig):
        super().__init__()
        from tokenizers import Tokenizer

        if hasattr(model, "pooler"):
            model.pooler = None  # is not read, and checkpoints often lack it
        self.model, self.settings, self.tokenizer = model, config, tokenizer
        self.width = int(model.config.hidden_size)  # type: ignore[union-attr, arg-type]
        self._tokenizer = Tokenizer.from_str(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(config.max_words)

    def read(self, texts: Sequence[str]) -> Subwords:
        """The subwords of texts; a text without a word in it is not known."""
        shown = [text[: _LONGEST_WORD * self.settings.max_words] for text in texts]
        found = [encoding.ids for encoding in self._tokenizer.encode_batch(shown)]
        lengths = np.array([len(ids) for ids in found], np.int64)
        ids = np.zeros((len(found), int(lengths.max(initial=1))), np.int64)
        for row, each in zip(ids, found, strict=True):
            row[: len(each)] = each
        return Subwords(ids, lengths, np.array([bool(split_words(text)) for text in shown], bool))

    def forward(self, texts: Subwords) -> Tensor:
        """``(n, width)``."""
        there = np.arange(texts.ids.shape[1]) < texts.lengths[:, None]
        mask = torch.from_numpy(there.astype(np.int64))
        return self.model(input_ids=torch.from_numpy(texts.ids), attention_mask=mask).last_hidden_state[:, 0]

    def tensors(self) -> dict[str, np.ndarray]:
        """Weights and the tokenizer, so that an artefact needs no other file."""
        return _arrays(self) | {"tokenizer": np.frombuffer(self.tokenizer.encode(), np.uint8)}

    def facts(self) -> dict[str, Any]:
        """The configuration of the model."""
        return {"model": json.loads(self.model.config.to_json_string(use_diff=False))}  # type: ignore[union-attr, operator]

    @classmethod
    def of(cls, config: SearchSageConfig, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> PretrainedTextEncoder:
        """The encoder behind :meth:`tensors` and :meth:`facts`."""
        transformers = transformers_package()
        description = dict(facts["model"])
        model_config = transformers.AutoConfig.for_model(description.pop("model_type"), **description)
        model = transformers.AutoModel.from_config(model_config).float()
        encoder = cls(model, tensors["tokenizer"].tobytes().decode(), config)
        _load(encoder, tensors)
        return encoder


def load_text_encoder(config: SearchSageConfig) -> PretrainedTextEncoder:
    """The text encoder of the folder ``config.checkpoint``, in float32. The network is never asked for anything and no code of it is run.

    Raises :class:`NotFound` where there is no folder or `transformers` is not installed, and :class:`ArtifactError` where weights are
    missing or not safetensors, or there is no fast tokenizer.
    """
    folder = Path(config.checkpoint)
    if not config.checkpoint or not folder.is_dir():
        raise NotFound("There is no such folder of a text encoder", found=config.checkpoint, expected="a folder with config.json")
    transformers = transformers_package()
    given = {"trust_remote_code": False, "local_files_only": True}
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **given)
        with quiet(transformers):
            model, loading = transformers.AutoModel.from_pretrained(
                folder, use_safetensors=True, dtype=torch.float32, output_loading_info=True, **given
            )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(
            f"The text encoder in {folder} cannot be loaded: {error}", expected="config.json, weights as safetensors and a tokenizer"
        ) from None
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))
    if missing or not hasattr(tokenizer, "backend_tokenizer"):  # weights would be random, and nothing would say so
        raise ArtifactError(f"The text encoder in {folder} is not whole", found=missing[:5] or "no fast tokenizer")
    return PretrainedTextEncoder(model, tokenizer.backend_tokenizer.to_str(), config)


# --------------------------------------------------------------------------------------------------------------- the whole


class SearchSageNetwork(nn.Module):
    """An encoder of text, and the linear layer to the items' space."""

    def __init__(self, encoder: NGramEncoder | PretrainedTextEncoder, dim: int):
        super().__init__()
        self.encoder: TextEncoder = encoder
        self.output = nn.Linear(encoder.width, dim)

    def forward(self, texts: Any) -> Tensor:
        """Unit vectors ``(n, dim)`` of what :meth:`TextEncoder.read` returned; zeros where nothing is known of a text."""
        vectors = functional.normalize(self.output(self.encoder.forward(texts)), dim=1, eps=EPSILON)
        return vectors * torch.from_numpy(texts.known)[:, None]

    def tensors(self) -> dict[str, np.ndarray]:
        """All arrays of an artefact."""
        return {f"encoder.{name}": value for name, value in self.encoder.tensors().items()} | {
            f"output.{name}": value for name, value in _arrays(self.output).items()
        }

    @classmethod
    def of(cls, config: SearchSageConfig, dim: int, tensors: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> SearchSageNetwork:
        """The network behind :meth:`tensors` and the encoder's facts."""
        own = {name.removeprefix("encoder."): value for name, value in tensors.items() if name.startswith("encoder.")}
        encoder = PretrainedTextEncoder.of(config, own, facts) if config.encoder == "pretrained" else NGramEncoder.of(config, own)
        network = cls(encoder, dim)
        _load(network.output, {name.removeprefix("output."): value for name, value in tensors.items() if name.startswith("output.")})
        return network


def _arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """Copies of the weights."""
    return {name: value.detach().cpu().numpy().copy() for name, value in module.state_dict().items()}


def _load(module: nn.Module, tensors: Mapping[str, np.ndarray]) -> None:
    module.load_state_dict({name: torch.from_numpy(np.array(tensors[name])) for name in module.state_dict()})
