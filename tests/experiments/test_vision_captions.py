"""Captions of rendered products: noise as asked, and a truth that knows every word that shows."""

import numpy as np
import pytest

from corkboard.experiments.vision_captions import captions, truth_of
from corkboard.experiments.vision_config import CaptionConfig
from corkboard.experiments.visual_retrieval import Labelled
from corkboard.vision.config import PhraseConfig
from corkboard.vision.label_quality import label_quality
from corkboard.vision.weak_labels import SOURCES, phrase_labels
from corkboard.world.rendering import Products
from corkboard.world.vocabulary import PATTERNS, TOPICS

CLEAN = CaptionConfig(noise=0.0, wrong=0.0, facet_told=1.0, topic_told=1.0)


def learned(count=60):
    products = Products.drawn(count, 4)
    return Labelled(products, np.zeros((2 * count, 8, 8, 3), np.uint8), np.tile(np.arange(count), 2), np.repeat([0, 1], count))


def titles(bags):
    return [text for text, source in zip(bags.texts, bags.sources, strict=True) if SOURCES[source] == "title"]


def test_every_picture_has_a_title_and_products_share_boards_and_queries():
    shown = learned()
    bags = captions(shown, CaptionConfig(), 1)
    assert sorted(bags.images[bags.sources == SOURCES.index("title")]) == list(range(120))
    boards = bags.images[bags.sources == SOURCES.index("board")]
    assert (np.bincount(boards, minlength=120)[:60] == np.bincount(boards, minlength=120)[60:]).all()
    assert captions(shown, CaptionConfig(), 1).texts == bags.texts != captions(shown, CaptionConfig(), 2).texts


def test_without_noise_captions_say_what_is_drawn():
    shown = learned()
    for row, title in enumerate(titles(captions(shown, CLEAN, 1))):
        product = int(shown.product[row])
        assert PATTERNS[shown.products.pattern[product]][0] in title
        assert any(word in title for word in TOPICS[shown.products.topic[product]].words[0])


def test_labels_are_as_right_as_the_captions():
    shown = learned(400)
    truth, config = truth_of(shown), PhraseConfig(min_products=3, longest=1)

    def precision(given):
        labels = phrase_labels(captions(shown, given, 1), config)
        named = labels.only(np.array([bool(truth.of(name)) for name in labels.names]))
        return label_quality(named, truth).precision

    assert precision(CLEAN) > 0.95  # a word such as "lamp" belongs to two topics
    noisy = precision(CLEAN.model_copy(update={"wrong": 0.3}))
    assert precision(CLEAN) - noisy == pytest.approx(0.25, abs=0.12)


def test_the_share_of_noise_is_as_asked():
    words = {part for words in TOPICS for part in words.words[0]}
    bags = captions(learned(400), CLEAN.model_copy(update={"noise": 0.5}), 1)
    boards = [text for text, source in zip(bags.texts, bags.sources, strict=True) if SOURCES[source] == "board"]
    empty = np.mean([not any(word in text for word in words) for text in boards])
    assert 0.5 < empty < 0.85  # half of them say nothing, and of the others half name the category alone
