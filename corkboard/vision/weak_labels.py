"""Labels of images from the text around them: which phrases are said of an image, how far each is believed, which of them show.

What was said of an image is a bag of texts, each from a source: its title, its description, the titles of boards it was saved to, the
queries that led to it. Phrases are the 1-3-grams of those texts that occur with enough products. A phrase scores

    s(image, phrase) = sum over sources of  weight * confidence(source, phrase) * (1 - 2^-tellings)

and what does not show in pictures ("for you", a shop's name) is dropped by how alike its images are. After Beal et al., "Billion-scale
pretraining with vision transformers for multi-task visual representations" (WACV 2022). The paper has a vocabulary of annotations with a
confidence of its own; here a phrase from one source is believed as far as the other sources agree with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
import scipy.sparse as sp

from corkboard.errors import InputError, LeakError
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE, user_key_expr
from corkboard.learning.text import split_words
from corkboard.vision.config import PhraseConfig

SOURCES = ("title", "description", "board", "query")
"""Where a text comes from. The last two are what people wanted, not what somebody offers."""
STOP_WORDS = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "by",
        "for",
        "from",
        "has",
        "have",
        "i",
        "in",
        "into",
        "is",
        "it",
        "its",
        "my",
        "of",
        "on",
        "or",
        "our",
        "that",
        "the",
        "their",
        "this",
        "to",
        "was",
        "we",
        "will",
        "with",
        "you",
        "your",
        "aus",
        "auf",
        "bei",
        "das",
        "dem",
        "den",
        "der",
        "des",
        "die",
        "du",
        "ein",
        "eine",
        "einen",
        "einer",
        "für",
        "ich",
        "im",
        "in",
        "ist",
        "mein",
        "mit",
        "oder",
        "und",
        "unser",
        "unsere",
        "von",
        "was",
        "zu",
        "zum",
        "zur",
    ]
)
"""Words that are taken out before phrases are made, in English and German; of other languages the visual filter finds them."""
_BREAKS = re.compile(r"[.,;:!?()\[\]|/·•–—\n]+|\s-\s")
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True)
class Bags:
    """What was said of n images: telling t says ``texts[t]`` of image ``images[t]``, and ``sources[t]`` (row of SOURCES) says where.

    ``products`` int64 ``(n,)`` says which images show one thing: they count once where phrases are counted, and two of them being alike
    says nothing of a phrase.
    """

    images: np.ndarray
    texts: Sequence[str]
    sources: np.ndarray
    products: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.images) == len(self.texts) == len(self.sources):
            found = (len(self.images), len(self.texts), len(self.sources))
            raise InputError("Every telling needs an image, a text and a source", found=found, expected="three equal lengths")
        if len(self.images) and not (self.images.min() >= 0 and self.images.max() < len(self.products)):
            raise InputError("A telling is of an image that is not there", found=int(self.images.max()), expected=f"0..{len(self) - 1}")
        if len(self.sources) and not (self.sources.min() >= 0 and self.sources.max() < len(SOURCES)):
            raise InputError(
                "A telling has an unknown source", found=sorted(set(np.asarray(self.sources).tolist())), expected=f"rows of {SOURCES}"
            )

    def __len__(self) -> int:
        return len(self.products)

    def without(self, held_out: np.ndarray) -> Bags:
        """Without all that is said of the images of ``held_out`` bool ``(n,)``. Raises :class:`LeakError` where another image shows a
        product that is held out."""
        if np.isin(self.products[~held_out], self.products[held_out]).any():
            raise LeakError("A product that is held out is shown by images that are not", hint="Hold out all images of a product.")
        kept = np.flatnonzero(~held_out[self.images])
        return Bags(self.images[kept], [self.texts[t] for t in kept.tolist()], self.sources[kept], self.products)


@dataclass(frozen=True)
class WeakLabels:
    """Labels of n images: ``scores`` float32 CSR ``(images, labels)``, above 0 where an image carries a label, no entry where it does not.

    ``members`` of a label are the phrases that it stands for and the number of images of each; a label is called by its largest.
    """

    scores: sp.csr_array
    members: tuple[dict[str, int], ...]

    @property
    def names(self) -> list[str]:
        """The largest phrase of each label; of equals the longest, then the first by letters."""
        return [min(phrases, key=lambda phrase: (-phrases[phrase], -len(phrase), phrase)) for phrases in self.members]

    @property
    def counts(self) -> np.ndarray:
        """int64 ``(labels,)``: images that carry each label."""
        return np.bincount(self.scores.indices, minlength=self.scores.shape[1]).astype(np.int64)

    @property
    def labelled(self) -> np.ndarray:
        """bool ``(images,)``: carries any label."""
        return np.diff(self.scores.indptr) > 0

    def only(self, columns: np.ndarray) -> WeakLabels:
        """The labels of ``columns`` (rows or a mask), in their order."""
        rows = np.flatnonzero(columns) if columns.dtype == bool else columns
        return WeakLabels(sp.csr_array(self.scores[:, rows]), tuple(self.members[row] for row in rows.tolist()))

    def top(self, k: int, threshold: float = 0.0) -> WeakLabels:
        """The ``k`` best labels of each image with at least ``threshold``; of equal scores those of more images, then the first."""
        scores, counts = self.scores, self.counts
        image = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
        order = np.lexsort((scores.indices, -counts[scores.indices], -scores.data, image))
        place = np.arange(len(order)) - scores.indptr[image]
        kept = order[(place < k) & (scores.data[order] >= threshold)]
        return WeakLabels(csr(scores.data[kept], image[kept], scores.indices[kept], scores.shape), self.members)


def csr(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sp.csr_array:
    """float32 CSR without zeros, columns in order within a row; values of one place are added."""
    matrix = sp.csr_array(sp.coo_array((np.asarray(values, np.float32), (rows, columns)), shape=shape))
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


# ------------------------------------------------------------------------------------------------------------ what was said


def bags_of_lake(lake: Lake, item_ids: Sequence[str], min_people: int = 2) -> Bags:
    """What a lake says of images: image i shows item ``item_ids[i]``, which may have several.

    Titles and descriptions; titles of public boards that the item was saved to, once a board; queries that led to an engagement, once a
    person. A query counts only where ``min_people`` have asked it: what one person typed must not become the name of a label.
    Give ``lake.until(cut)`` and nothing later is in it.
    """
    items, actions = lake.items().lazy(), lake.actions().lazy()
    public = lake.boards().lazy().filter(~pl.col("secret").fill_null(False))
    public = public.select("board_id", "tenant", board="title", public=pl.lit(True))
    actions = actions.filter(pl.col("action").is_in(POSITIVE)).join(public, on=["board_id", "tenant"], how="left")
    if lake.declares_boards:  # what is saved to a secret board is nobody's business, and neither is what was asked to find it
        actions = actions.filter(pl.col("board_id").is_null() | pl.col("public").fill_null(False))
    saves = actions.filter(pl.col("action") == "save").select("item_id", "board_id", "tenant", text="board").unique()
    query = pl.col("query").str.strip_chars().str.to_lowercase()
    asked = actions.select("item_id", person=user_key_expr(), text=query).drop_nulls("text").unique()
    asked = asked.filter(pl.col("person").n_unique().over("text") >= min_people)
    said = {
        "title": items.select("item_id", text="title"),
        "description": items.select("item_id", text="description"),
        "board": saves.select("item_id", "text"),
        "query": asked.select("item_id", "text"),
    }
    images = pl.LazyFrame({"item_id": list(item_ids)}, schema={"item_id": pl.String}).with_row_index("image")
    parts = [frame.drop_nulls().join(images, on="item_id").with_columns(source=SOURCES.index(name)) for name, frame in said.items()]
    told = pl.concat(parts).sort("image", "source", "text").collect()
    products = pl.Series(list(item_ids), dtype=pl.String).rank("dense").to_numpy().astype(np.int64) - 1
    return Bags(told["image"].to_numpy().astype(np.int64), told["text"].to_list(), told["source"].to_numpy().astype(np.int8), products)


def phrases_of(text: str, longest: int = 3, max_words: int = 64) -> list[str]:
    """The distinct 1-grams to ``longest``-grams of a text, in order: lower case, English plurals as singulars, without stop words.

    A phrase does not reach over punctuation, and is not a single Latin letter. Only the first ``max_words`` words are read.
    """
    found: dict[str, None] = {}
    left = max_words
    for part in _BREAKS.split(text):
        words = [_singular(word) for word in split_words(part)[:left] if word not in STOP_WORDS]
        left -= len(words)
        for start in range(len(words)):
            for end in range(start + 1, min(start + longest, len(words)) + 1):
                if end > start + 1 or len(words[start]) > 1 or not words[start].isascii():  # the t of t-shirt alone is none
                    found[" ".join(words[start:end])] = None
    return list(found)


@lru_cache(maxsize=1 << 16)
def _singular(word: str) -> str:
    if len(word) < 4 or not word.isascii() or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word[:-2] if word.endswith(("sses", "xes", "ches", "shes")) else word[:-1]


# ------------------------------------------------------------------------------------------------------------------- scores


def phrase_labels(bags: Bags, config: PhraseConfig) -> WeakLabels:
    """Every phrase of ``config.min_products`` products or more as a label, with its scores; those of the most products where there are
    too many. Nothing is left out of an image yet: see :meth:`WeakLabels.top`."""
    told, names = _tellings(bags, config)
    n = len(bags)
    if not names:
        return WeakLabels(sp.csr_array((n, 0), dtype=np.float32), ())
    weights = np.array([getattr(config.weights, source) for source in SOURCES])
    scores = sp.csr_array((n, len(names)), dtype=np.float32)
    for source, matrix in enumerate(told):
        if not matrix.nnz or not weights[source]:
            continue
        believed = _confidence(source, told) if config.agreement else np.full(len(names), 0.5)
        part = matrix.copy()
        part.data = (weights[source] * believed[part.indices] * (1 - 0.5 ** part.data.astype(np.float64))).astype(np.float32)
        scores = scores + part
    scores = sp.csr_array(scores)
    scores.sort_indices()
    counts = np.bincount(scores.indices, minlength=len(names))
    kept = np.flatnonzero(counts)
    return WeakLabels(scores, tuple({name: int(count)} for name, count in zip(names, counts, strict=True))).only(kept)


def _tellings(bags: Bags, config: PhraseConfig) -> tuple[list[sp.csr_array], list[str]]:
    """For every source how often each phrase was said of each image, float32 CSR ``(images, phrases)``, and the phrases, sorted."""
    texts: dict[str, int] = {}
    text_of = np.array([texts.setdefault(text, len(texts)) for text in bags.texts], np.int64)
    known: dict[str, int] = {}
    said = [[known.setdefault(phrase, len(known)) for phrase in phrases_of(text, config.longest, config.max_words)] for text in texts]
    offsets = np.cumsum([0, *map(len, said)])
    phrase_rows = np.concatenate([np.array(row, np.int64) for row in said]) if said else np.empty(0, np.int64)
    of_text = sp.csr_array((np.ones(len(phrase_rows), np.float32), phrase_rows, offsets), shape=(len(texts), len(known)))
    products, product = np.unique(bags.products, return_inverse=True)
    about = csr(np.ones(len(text_of)), product[bags.images], text_of, (len(products), len(texts)))
    spread = np.bincount((about @ of_text).indices, minlength=len(known))
    by_source = csr(np.ones(len(text_of)), bags.images * len(SOURCES) + bags.sources, text_of, (len(bags) * len(SOURCES), len(texts)))
    said_by_sources = np.bincount((by_source @ of_text).indices, minlength=len(known))
    names = list(known)
    common = np.flatnonzero(spread >= config.min_products)
    common = common[~_only_parts([names[row] for row in common.tolist()], said_by_sources[common])]
    common = common[np.argsort(-spread[common], kind="stable")][: config.max_phrases]
    chosen = np.array(sorted(common.tolist(), key=names.__getitem__), np.int64)
    of_text = sp.csr_array(of_text[:, chosen])
    told = []
    for source in range(len(SOURCES)):
        here = np.flatnonzero(np.asarray(bags.sources) == source)
        told.append(sp.csr_array(csr(np.ones(len(here)), bags.images[here], text_of[here], (len(bags), len(texts))) @ of_text))
    return told, [names[row] for row in chosen.tolist()]


def _only_parts(phrases: list[str], said: np.ndarray, share: float = 0.9) -> np.ndarray:
    """bool ``(phrases,)``: a part of a longer one that is said almost as often, as "shelf" where every shelf is a "diy shelf"."""
    row_of = {phrase: row for row, phrase in enumerate(phrases)}
    parts = np.zeros(len(phrases), bool)
    for row, phrase in enumerate(phrases):
        words = phrase.split(" ")
        for shorter in (words[:-1], words[1:]) if len(words) > 1 else ():
            part = row_of.get(" ".join(shorter))
            if part is not None:
                parts[part] |= said[row] >= share * said[part]
    return parts


def _confidence(source: int, told: Sequence[sp.csr_array], trust: float = 10.0) -> np.ndarray:
    """float64 ``(phrases,)`` in [0.5, 1]: by the share of images of which another source says the same phrase, drawn to the mean of the
    source as if there were ``trust`` more images."""
    here = told[source].astype(bool)
    elsewhere = sum((matrix for place, matrix in enumerate(told) if place != source), start=sp.csr_array(here.shape, dtype=np.float32))
    said = np.bincount(here.indices, minlength=here.shape[1])
    agreed = np.bincount((here * elsewhere.astype(bool)).tocsr().indices, minlength=here.shape[1])
    mean = agreed.sum() / max(said.sum(), 1)
    return 0.5 + 0.5 * (agreed + trust * mean) / (said + trust)


# ---------------------------------------------------------------------------------------------------------------- coherence


def coherence(labels: WeakLabels, vectors: np.ndarray, products: np.ndarray) -> np.ndarray:
    """float64 ``(labels,)``: the mean cosine of two images of a label, minus that of two images of any; -1 where no two products carry it.

    ``vectors`` float32 ``(images, dim)`` of any encoder, of any length above 0. Pairs of one product are left out: its views are alike
    whatever is said of it. All pairs are counted, by sums of vectors; nothing is sampled.
    """
    _, product = np.unique(products, return_inverse=True)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    everywhere = _mean_cosine(np.flatnonzero(labels.labelled), unit, product)
    columns = sp.csc_array(labels.scores)
    found = np.full(columns.shape[1], -1.0)
    for label in range(columns.shape[1]):
        rows = columns.indices[columns.indptr[label] : columns.indptr[label + 1]]
        mean = _mean_cosine(rows, unit, product)
        found[label] = -1.0 if mean is None or everywhere is None else mean - everywhere
    return found


def coherent(labels: WeakLabels, vectors: np.ndarray, products: np.ndarray, config: PhraseConfig) -> WeakLabels:
    """Without the labels of the lowest coherence: the share ``dropped_share`` of them, and those that do not reach ``least_coherence`` of
    what the best tenth reach. How much of a vocabulary does not show differs between sources of text; how clearly the rest stands out
    differs less."""
    values = coherence(labels, vectors, products)
    if not len(values):
        return labels
    lowest, best = np.quantile(values, [config.dropped_share, 0.9])
    return labels.only((values >= lowest) & (values >= config.least_coherence * best))


def _mean_cosine(rows: np.ndarray, unit: np.ndarray, product: np.ndarray) -> float | None:
    """Over the pairs of ``rows`` of different products; None where there are none."""
    order = rows[np.argsort(product[rows], kind="stable")]
    starts = np.flatnonzero(np.diff(product[order], prepend=-1))
    if len(starts) < 2:
        return None
    sizes = np.diff([*starts.tolist(), len(order)])
    within = np.zeros((len(starts), unit.shape[1]))
    for start in range(0, len(starts), _ROWS_AT_ONCE):
        inside = starts[start : start + _ROWS_AT_ONCE]
        end = starts[start + _ROWS_AT_ONCE] if start + _ROWS_AT_ONCE < len(starts) else len(order)
        within[start : start + len(inside)] = np.add.reduceat(unit[order[inside[0] : end]], inside - inside[0], axis=0, dtype=np.float64)
    total = within.sum(axis=0)
    pairs = float(len(order)) ** 2 - float((sizes.astype(np.float64) ** 2).sum())
    return float((total @ total - (within**2).sum()) / pairs)
