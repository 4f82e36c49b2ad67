"""What ranks real products: words by BM25, training products in between, and texts read into the space of photos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space, content_hash
from corkboard.embeddings.query_pairs import query_text
from corkboard.errors import NotFound
from corkboard.experiments.fashion_search_config import FashionSearchConfig
from corkboard.experiments.fashion_search_queries import Attributes, Query, practice_of, queries_of, read_attributes
from corkboard.experiments.photos_data import FASHION, TRAIN, Photos, read_photos
from corkboard.retrieval.catalogue import Catalogue
from corkboard.retrieval.hybrid import Ranking
from corkboard.retrieval.lexical import LexicalIndex
from corkboard.seeds import derive, generator

if TYPE_CHECKING:
    from corkboard.embeddings.searchsage import SearchSage
    from corkboard.vision.encoder import Trunk

SOURCE = replace(
    FASHION, labels={**FASHION.labels, "gender": ("subCategory", "gender"), "usage": ("subCategory", "usage"), "season": ("season",)}
)
"""The set, with all labels that the visual embedding is trained on. Which products are read, and their split, are as with fewer labels."""
Doing = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Products:
    """Real products: photos with titles, attributes, and a query made from each. Rows are those of ``photos``."""

    photos: Photos
    attributes: Attributes
    queries: Sequence[Query]

    @classmethod
    def read(cls, folder: Path, kept: Path, config: FashionSearchConfig) -> Products:
        """The set in ``folder``. Raises :class:`NotFound` for a missing file, :class:`InputError` for a missing column."""
        photos = read_photos(SOURCE, folder, kept, config.photos)
        attributes = read_attributes(SOURCE.files(folder)[1], SOURCE.key, photos.ids, photos.titles or [])
        return cls(photos, attributes, queries_of(attributes, photos.ids, config.queries))

    def __len__(self) -> int:
        return len(self.photos)

    @cached_property
    def titles(self) -> list[str]:
        """Titles in the form that they are read in; equal ones are one."""
        return [query_text(title) for title in self.photos.titles or []]

    def part(self, part: int) -> Part:
        """The products of a part."""
        return Part(self, self.photos.rows(part))


@dataclass(frozen=True)
class Part:
    """The products ``rows`` int64 ``(n,)`` as a catalogue of their own."""

    products: Products
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def groups(self) -> np.ndarray:
        """int64 ``(n,)``: near duplicates and equal titles, which chance is counted by."""
        return self.products.photos.groups[self.rows]

    @cached_property
    def own_titles(self) -> list[str]:
        """The title of each product."""
        return [self.products.titles[row] for row in self.rows.tolist()]

    @cached_property
    def titles(self) -> list[str]:
        """Distinct titles."""
        return sorted(set(self.own_titles))

    @cached_property
    def title_of(self) -> np.ndarray:
        """int64 ``(n,)``: the place of each product's title in :attr:`titles`."""
        return np.searchsorted(self.titles, self.own_titles).astype(np.int64)

    @cached_property
    def attributes(self) -> Attributes:
        """What is known of them."""
        return self.products.attributes.take(self.rows)

    @cached_property
    def attribute_words(self) -> list[str]:
        """Their columns as texts."""
        return [self.attributes.words(row) for row in range(len(self))]

    @cached_property
    def queries(self) -> list[Query]:
        """A query made from each."""
        return [self.products.queries[row] for row in self.rows.tolist()]


class Words:
    """Texts that are searched by words: BM25 with corrected spelling, texts that hold all words first."""

    def __init__(self, texts: Sequence[str]):
        items = pl.DataFrame({"item_id": [f"{row:08}" for row in range(len(texts))], "title": list(texts)}, schema_overrides=_TEXTS)
        self.count = len(texts)
        self._index = LexicalIndex.build(items, Catalogue(items))

    def ranking(self, query: str, k: int) -> Ranking:
        """Rows of the ``k`` best texts and their scores, best first; texts without any of the words are not found.

        Scores fall within the texts that hold all words and within the others. A score that rises again is set to the one before: a
        ranking stands as it is shown.
        """
        found = self._index.search(query, k)
        return found.rows, np.minimum.accumulate(found.scores)

    def places(self, queries: Sequence[str]) -> np.ndarray:
        """float32 ``(queries, texts)``: 1 / (1 + place), 0 where a text is not found; equal ones have the last of their places."""
        scores = np.zeros((len(queries), self.count), np.float32)
        for row, query in enumerate(queries):
            found = self._index.search(query, self.count)
            last = np.ones(len(found), bool)  # of those that score alike
            last[:-1] = np.diff(found.scores) != 0
            place = np.flatnonzero(last)[np.cumsum(last) - last]
            scores[row, found.rows] = 1.0 / (1.0 + place)
        return scores

    def close(self) -> None:
        """Give the file of the index back."""
        self._index.close()


_TEXTS: Mapping[str, type[pl.DataType]] = {"item_id": pl.String, "title": pl.String}


@dataclass(frozen=True)
class Pairing:
    """Scores of titles and photos of a part: ``by_title`` float32 ``(titles, photos)``, ``by_photo`` ``(photos, titles)``."""

    by_title: np.ndarray
    by_photo: np.ndarray


def paired_by_attributes(part: Part) -> Pairing:
    """BM25: a title against the columns of each product; the columns of a photo's product against each title. Photos are not looked at."""
    columns, titles = Words(part.attribute_words), Words(part.titles)
    found = Pairing(columns.places(part.titles), titles.places(part.attribute_words))
    columns.close()
    titles.close()
    return found


class Neighbours:
    """Titles and photos brought together by training products, without a learned space.

    A title stands for the photos of the training titles that are nearest by BM25, and is compared with photos by these; a photo stands for
    the titles of the nearest training photos, with which titles are searched. The j-th of them, from 0, counts 1 / (1 + j).
    """

    def __init__(self, vectors: np.ndarray, part: Part, most: int):
        training = part.products.part(TRAIN)
        likeness = vectors[part.rows] @ vectors[training.rows].T
        read = Words(training.own_titles)
        nearest = [read.ranking(title, most)[0] for title in part.titles]
        read.close()
        self._near_titles, self._likeness = nearest, likeness
        self._near_photos = np.argsort(-likeness, axis=1, kind="stable")[:, :most]
        searched = np.unique(self._near_photos)
        own = Words(part.titles)
        self._found = own.places([training.own_titles[row] for row in searched.tolist()])
        self._place = np.searchsorted(searched, self._near_photos)
        own.close()

    def pairing(self, count: int) -> Pairing:
        """Scores by the ``count`` nearest."""
        weights = 1.0 / (1.0 + np.arange(self._near_photos.shape[1]))
        by_title = np.zeros((len(self._near_titles), len(self._likeness)), np.float32)
        for row, near in enumerate(self._near_titles):
            by_title[row] = self._likeness[:, near[:count]] @ weights[: len(near[:count])]
        by_photo = sum(weights[j] * self._found[self._place[:, j]] for j in range(min(count, len(weights))))
        return Pairing(by_title, np.asarray(by_photo, np.float32))


# ------------------------------------------------------------------------------------------------------- learned spaces


def start_of(config: FashionSearchConfig, seed: int) -> Trunk:
    """The trunk that comes with the package, or where there is none one of random weights."""
    from corkboard.vision.trunk import build_trunk, built_in_trunk

    try:
        return built_in_trunk()
    except NotFound:
        return build_trunk(config.photos.trunk, derive(seed, "fashion search", "trunk"))


def trunk_vectors(products: Products, config: FashionSearchConfig, seed: int) -> np.ndarray:
    """float32 ``(n, width)`` unit vectors: features of the trunk as it comes, less their mean over training photos."""
    from corkboard.vision.encoder import TrunkEncoder

    features = TrunkEncoder(start_of(config, seed)).encode(products.photos.images)
    features -= features[products.photos.rows(TRAIN)].mean(axis=0)
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)


def visual_vectors(products: Products, config: FashionSearchConfig, seed: int, doing: Doing) -> np.ndarray:
    """float32 ``(n, dim)`` unit vectors of the visual embedding, trained on labels and words of titles of training products alone."""
    from corkboard.embeddings.visual import VisualTask
    from corkboard.embeddings.visual_training import train_visual

    photos, training = products.photos, products.photos.rows(TRAIN)
    tasks = []
    for name, values in photos.labels.items():
        rows = training[values[training] >= 0]
        if len(np.unique(values[rows])) > 1:
            tasks.append(VisualTask(name, rows, values[rows], np.zeros(len(rows), np.int64)))
    rows, classes = words_of([products.titles[row] for row in training.tolist()], config.word_titles)
    if len(rows):
        tasks.append(VisualTask("words of titles", training[rows], classes, np.zeros(len(rows), np.int64)))
    encoder = train_visual(
        photos.images,
        tasks,
        start_of(config, seed),
        config.visual,
        derive(seed, "fashion search", "visual"),
        lambda now: doing("visual embedding", now.step, now.steps) if now.step % 20 == 0 else None,
    )
    return encoder.encode(photos.images)


def words_of(titles: Sequence[str], least: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 ``(m,)`` titles and ``(m,)`` numbers of the words that they hold, of words in ``least`` different titles and not in all."""
    distinct = set(titles)
    held = Counter(word for title in distinct for word in set(title.split()))
    number = {word: place for place, word in enumerate(sorted(word for word, n in held.items() if least <= n < len(distinct)))}
    pairs = [(row, number[word]) for row, title in enumerate(titles) for word in sorted(set(title.split())) if word in number]
    rows, classes = np.array(pairs, np.int64).reshape(-1, 2).T
    return rows, classes


def text_encoder(products: Products, vectors: np.ndarray, config: FashionSearchConfig, seed: int, doing: Doing) -> SearchSage:
    """SearchSage into the space of ``vectors``, from titles and plain queries of training products."""
    from corkboard.embeddings.query_pairs import QUERY_PAIR_SCHEMA
    from corkboard.embeddings.searchsage_training import train_searchsage

    training = products.part(TRAIN)
    ids = [products.photos.ids[row] for row in training.rows.tolist()]
    items = EmbeddingTable(ids, vectors[training.rows], Space("fashion-photos", content_hash(products.photos.split_hash, seed)))
    practice = practice_of(training.attributes, ids, config.queries, seed)
    columns = {"query": [query_text(text) for text, _ in practice], "item_id": [name for _, name in practice]}
    pairs = pl.DataFrame({**columns, "time_ms": 0, "weight": 1.0, "user": ""} if practice else None, schema=QUERY_PAIR_SCHEMA)
    titles = pl.DataFrame({"item_id": ids, "title": training.own_titles})
    return train_searchsage(
        pairs,
        items,
        titles,
        config.searchsage,
        derive(seed, "fashion search", "text"),
        lambda now: doing("text encoder", now.step, now.steps) if now.step % 50 == 0 else None,
    )


def with_titles(photos: np.ndarray, titles: np.ndarray, share: float) -> np.ndarray:
    """float32 ``(n, dim)`` unit vectors of products: their photos' and their titles', which count ``share``."""
    both = (1 - share) * photos + share * titles
    return both / np.maximum(np.linalg.norm(both, axis=1, keepdims=True), 1e-12)


def nearest(scores: np.ndarray, k: int) -> list[Ranking]:
    """The ``k`` best columns of each row of ``scores``, best first; equal ones by a fixed draw."""
    draw = generator(0, "fashion search", "ties").permutation(scores.shape[1])
    order = draw[np.argsort(-scores[:, draw], axis=1, kind="stable")[:, :k]]
    return [(rows, own[rows]) for rows, own in zip(order, scores, strict=True)]
