"""What people type: a synonym of the topic, the facets they ask for, sometimes a brand, in one of two languages, sometimes mistyped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from corkboard.world.catalogue import Catalogue
from corkboard.world.draws import draw_column
from corkboard.world.minds import FOCUS_FACETS, Mind
from corkboard.world.people import People
from corkboard.world.policy import Want
from corkboard.world.vocabulary import FACETS, TEXT_FACETS, TOPICS

TYPO = 0.12
"""Share of queries with one slip of the finger; half of these the logging search engine does not understand."""
OTHER_LANGUAGE = 0.1
NAMES_FACET = 0.75
NAMES_BRAND = 0.25
"""Share of shopping queries that name a brand the person likes."""
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class Queries:
    """n queries as codes; topic -1 where there is none."""

    topic: np.ndarray
    word: np.ndarray
    facet: np.ndarray
    """int (n, FOCUS): row of FOCUS_FACETS, -1 for none."""
    value: np.ndarray
    brand: np.ndarray
    language: np.ndarray
    typo: np.ndarray
    """int (n,): where and how it is mistyped, -1 where it is not."""

    @classmethod
    def ask(cls, people: People, mind: Mind, asking: np.ndarray, rng: np.random.Generator) -> Queries:
        """One query for each person of ``mind`` who is ``asking`` (bool (n,)), about the intent they have."""
        n = len(mind.users)
        topic = draw_column(rng, np.maximum(mind.intent_topics, 1e-9))
        named = (mind.focus_facet >= 0) & (rng.random(mind.focus_facet.shape) < NAMES_FACET)
        brand = people.brands[mind.users, rng.integers(people.brands.shape[1], size=n)]
        own = people.language[mind.users]
        language = np.where(rng.random(n) < OTHER_LANGUAGE, 1 - own, own)
        mistyped = np.where(rng.random(n) < TYPO, rng.integers(1 << 30, size=n), -1)
        return cls(
            np.where(asking, topic, -1),
            rng.choice(3, n, p=[0.55, 0.28, 0.17]),
            np.where(named, mind.focus_facet, -1),
            mind.focus_value,
            np.where(mind.shopping & (rng.random(n) < NAMES_BRAND), brand, -1),
            language,
            mistyped,
        )

    def understood(self, beside: np.ndarray) -> Want:
        """What the logging search engine makes of them; ``beside`` (n,) are the items that related pages belong to."""
        lost = (self.typo >= 0) & (self.typo % 2 == 0)
        topic = np.where(lost, -1, self.topic)
        facets = np.full((len(topic), len(TEXT_FACETS)), -1)
        for code, name in enumerate(FOCUS_FACETS):
            if name in TEXT_FACETS:
                asked = np.where(self.facet == code, self.value, -1).max(1)
                facets[:, TEXT_FACETS.index(name)] = asked
        facets[:, TEXT_FACETS.index("brand")] = self.brand
        return Want(topic, facets, beside, (self.topic < 0) & (beside < 0))

    def text(self, row: int, catalogue: Catalogue) -> str:
        """Query ``row`` as it is typed."""
        language = int(self.language[row])
        words = [str(catalogue.brand_names[self.brand[row]])] if self.brand[row] >= 0 else []
        for code, value in zip(self.facet[row].tolist(), self.value[row].tolist(), strict=True):
            if code >= 0:
                words.append(FACETS[FOCUS_FACETS[code]][value][language])
        words.append(TOPICS[self.topic[row]].words[language][self.word[row]])
        return mistype(" ".join(words).lower(), int(self.typo[row]))


def mistype(text: str, code: int) -> str:
    """``text`` with one letter doubled, dropped, swapped with the next or replaced, as ``code`` says; unchanged for -1."""
    if code < 0 or len(text) < 4:
        return text
    place = 1 + code // 8 % (len(text) - 2)
    kind = code // 2 % 4
    if kind == 0:
        return text[:place] + text[place] + text[place:]
    if kind == 1:
        return text[:place] + text[place + 1 :]
    if kind == 2:
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    return text[:place] + LETTERS[code // 64 % 26] + text[place + 1 :]
