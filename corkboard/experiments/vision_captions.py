"""What is said of rendered products: captions from a grammar that often says nothing, and sometimes what is not so.

Every picture has a title ("lovely red checked boho cushion by Norrsund"), every product some board titles and queries, which are shorter
and name its kind more often. Words are those of the world (English, with synonyms) beside words that say nothing of a picture: shops,
moods. Since what is drawn is known, every word has a truth: :func:`truth_of` is what label precision and recall are counted by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from corkboard.experiments.vision_config import CaptionConfig
from corkboard.experiments.visual_retrieval import Labelled
from corkboard.seeds import generator
from corkboard.vision.label_quality import LabelTruth
from corkboard.vision.weak_labels import SOURCES, Bags
from corkboard.world.rendering import Products
from corkboard.world.vocabulary import CATEGORIES, MATERIALS, PATTERNS, SHADES, STYLES, TOPICS

_SHOPS = ("norrsund", "kettlewick", "maison pivoine", "barlow finch", "tidemark", "oddfellow", "lumen yard", "pinebrook")
_MOODS = (
    *("lovely", "must have", "dream", "inspiration", "favourite", "obsessed", "new in", "sale", "gift idea", "on trend", "weekend"),
    *("aesthetic", "goals", "vibes", "so pretty", "want this", "best of", "everyday", "top pick", "limited edition"),
)
_BOARDS = ("ideas for later", "wishlist", "my favourites", "things i love", "new home", "birthday", "spring", "treat yourself")
_FACETS = ("pattern", "shade", "style")
_WORDS = {"pattern": PATTERNS, "shade": SHADES, "style": STYLES}


def captions(learned: Labelled, config: CaptionConfig, seed: int) -> Bags:
    """Titles of every picture, board titles and queries of every product (said of each of its pictures)."""
    draw = generator(seed, "captions")
    writer = _Writer(learned.products, config, draw)
    images, texts, sources = [], [], []

    def tell(rows: np.ndarray, text: str, source: str) -> None:
        images.append(rows)
        texts.extend([text] * len(rows))
        sources.append(np.full(len(rows), SOURCES.index(source), np.int8))

    for row, product in enumerate(learned.product.tolist()):
        tell(np.array([row]), writer.title(product), "title")
    order = np.argsort(learned.product, kind="stable")
    pictures = np.split(order, np.cumsum(np.bincount(learned.product, minlength=len(learned.products)))[:-1])
    for product, rows in enumerate(pictures):
        if len(rows):
            for _ in range(draw.poisson(config.boards)):
                tell(rows, writer.board(product), "board")
            for _ in range(draw.poisson(config.queries)):
                tell(rows, writer.query(product), "query")
    return Bags(np.concatenate(images), texts, np.concatenate(sources), learned.product)


def truth_of(learned: Labelled) -> LabelTruth:
    """Which words mean what, and of which pictures that is true."""
    products, meanings, holds = learned.products, {}, {}
    named: list[tuple[str, Sequence[tuple[str, ...]], np.ndarray]] = [
        ("topic", [topic.words[0] for topic in TOPICS], products.topic),
        ("category", [(category.name, category.word[0]) for category in CATEGORIES], products.category),
        *((facet, [(words[0],) for words in _WORDS[facet]], getattr(products, facet)) for facet in _FACETS),
    ]
    for kind, values, of in named:
        for value, words in enumerate(values):
            holds[f"{kind}:{words[0]}"] = of[learned.product] == value
            meanings.update({word: f"{kind}:{words[0]}" for word in words if word not in meanings})
    return LabelTruth(meanings, {meaning: holds[meaning] for meaning in holds if meaning in set(meanings.values())})


class _Writer:
    """Draws texts about products. What a word is replaced by or left out for is drawn anew for every text."""

    def __init__(self, products: Products, config: CaptionConfig, draw: np.random.Generator):
        self.products, self.config, self.draw = products, config, draw

    def title(self, product: int) -> str:
        """Facets, a material that does not show, the topic, and words that say nothing."""
        words = [*self._facets(product, self.config.facet_told), *self._maybe(0.3, lambda: self._one(MATERIALS)[0])]
        words += self._maybe(self.config.topic_told, lambda: self._topic(product)) or self._maybe(0.5, lambda: self._category(product))
        share = self.config.noise / (1 - self.config.noise)
        for _ in range(self.draw.poisson(share * max(len(words), 1))):
            words.insert(int(self.draw.integers(len(words) + 1)), self._one(_MOODS))
        return " ".join(words + self._maybe(0.4, lambda: f"by {self._one(_SHOPS)}"))

    def board(self, product: int) -> str:
        """The kind of thing and a style, or nothing that shows."""
        if self.draw.random() < self.config.noise:
            return self._one(_BOARDS)
        return " ".join(
            [*self._maybe(0.5, lambda: self._facet(product, "style")), self._one((self._topic(product), self._category(product)))]
        )

    def query(self, product: int) -> str:
        """One facet or none, and the topic."""
        facet = self._maybe(0.6, lambda: self._facet(product, self._one(_FACETS)))
        return " ".join([*facet, self._topic(product)])

    def _facets(self, product: int, chance: float) -> list[str]:
        return [word for facet in _FACETS for word in self._maybe(chance, lambda facet=facet: self._facet(product, facet))]

    def _facet(self, product: int, facet: str) -> str:
        words, value = _WORDS[facet], int(getattr(self.products, facet)[product])
        wrong = value < 0 or self.draw.random() < self.config.wrong
        return self._one(words)[0] if wrong else words[value][0]

    def _topic(self, product: int) -> str:
        wrong = self.draw.random() < self.config.wrong
        topic = int(self.draw.integers(len(TOPICS))) if wrong else int(self.products.topic[product])
        return self._one(TOPICS[topic].words[0])

    def _category(self, product: int) -> str:
        return CATEGORIES[int(self.products.category[product])].name

    def _maybe(self, chance: float, word: Callable[[], str]) -> list[str]:
        return [word()] if self.draw.random() < chance else []

    def _one(self, options: Sequence):
        return options[int(self.draw.integers(len(options)))]
