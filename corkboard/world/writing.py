"""Titles and descriptions: a small grammar over what can be observed of an item's text facets and topic.

Picture facets never occur in text, but for the control ``mechanisms.text_complete``, which writes them as the picture shows them. What is
observed wrongly is written wrongly, what is missing is not written.
"""

from __future__ import annotations

import numpy as np

from corkboard.seeds import generator
from corkboard.world.catalogue import Catalogue
from corkboard.world.config import WorldConfig
from corkboard.world.vocabulary import CATEGORIES, FACETS, PICTURE_FACETS, SENTENCES, TITLE_ENDINGS, TITLE_OPENERS, TOPICS

MENTIONED = {"material": 0.55, "use": 0.3, "size": 0.35, "brand": 0.35}
"""Share of titles that mention an observed facet."""
LISTED = 0.9
"""Share of observed facets that stand among the attributes."""


def write(config: WorldConfig, catalogue: Catalogue) -> tuple[list[str], list[str], list[list[dict[str, str]]]]:
    """Title, description and attributes of every item."""
    rng = generator(config.seed, "world", "writing")
    n = len(catalogue)
    words = _observed_words(catalogue)
    seen = _seen(catalogue) if config.mechanisms.text_complete else [[]] * n
    synonym = rng.choice(3, (2, n), p=[0.5, 0.3, 0.2])
    mention = {name: rng.random(n) < share for name, share in MENTIONED.items()}
    listed = rng.random((n, 3)) < LISTED
    opener, ending = rng.integers(8, size=n), rng.integers(8, size=n)
    sentences = np.argsort(rng.random((n, len(SENTENCES[0]))), 1)
    count = rng.integers(1, 4, n)
    titles, descriptions, attributes = [], [], []
    for row, language in enumerate(catalogue.observed["language"].tolist()):
        fields = {name: word for name, values in words.items() if (word := values[row]) is not None}
        topic = catalogue.observed["topic_word"][row]
        category = CATEGORIES[catalogue.category[row]]
        names = TOPICS[topic].words[language] if topic >= 0 else (category.word[language],) * 3
        shown = {name: text for name, text in fields.items() if mention[name][row]}
        titles.append(
            _title(shown, names[synonym[0, row]], TITLE_OPENERS[language][opener[row]], TITLE_ENDINGS[language][ending[row]], seen[row])
        )
        fields |= {"topic": names[synonym[1, row]], "category": category.word[language]}
        descriptions.append(_description(fields, language, sentences[row], int(count[row]), seen[row]))
        pairs = zip(("material", "use", "size"), listed[row].tolist(), strict=True)
        attributes.append(
            [{"name": name, "value": FACETS[name][catalogue.observed[name][row]][0]} for name, there in pairs if there and name in fields]
        )
    return titles, descriptions, attributes


def _observed_words(catalogue: Catalogue) -> dict[str, list[str | None]]:
    """facet -> the word that each item's text would use for it, None where it is missing."""
    language = catalogue.observed["language"].tolist()
    words: dict[str, list[str | None]] = {}
    for name in ("size", "material", "use"):
        values = catalogue.observed[name].tolist()
        words[name] = [FACETS[name][value][code] if value >= 0 else None for value, code in zip(values, language, strict=True)]
    words["brand"] = [catalogue.brand_names[value] if value >= 0 else None for value in catalogue.observed["brand"].tolist()]
    return words


def _seen(catalogue: Catalogue) -> list[list[str]]:
    """The words for what each item's picture shows: shade, pattern and style, as far as they show."""
    codes = [catalogue.observed[name].tolist() for name in PICTURE_FACETS]
    languages = catalogue.observed["language"].tolist()
    return [
        [FACETS[name][value][language] for name, value in zip(PICTURE_FACETS, values, strict=True) if value >= 0]
        for language, *values in zip(languages, *codes, strict=True)
    ]


def _title(shown: dict[str, str], topic: str, opener: str, ending: str, seen: list[str]) -> str:
    parts = [opener, shown.get("size", ""), *seen, shown.get("material", ""), topic]
    parts += [f"– {shown['use']}"] if "use" in shown else [ending]
    parts += [f"· {shown['brand']}"] if "brand" in shown else []
    title = " ".join(part for part in parts if part)
    return title[0].upper() + title[1:]


def _description(fields: dict[str, str], language: int, order: np.ndarray, count: int, seen: list[str]) -> str:
    said, last = [], [", ".join(seen) + "."] if seen else []
    for place in order.tolist():
        sentence = SENTENCES[language][place]
        if all("{" + name + "}" not in sentence for name in ("material", "use", "size", "brand") if name not in fields):
            said.append(sentence.format(**fields))
        if len(said) == count:
            break
    return " ".join(text[0].upper() + text[1:] for text in said + last)
