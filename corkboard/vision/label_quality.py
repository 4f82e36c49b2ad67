"""How right weak labels are, where somebody knows the truth: precision and recall after every step of the pipeline.

Only a made world, or photos that were labelled by hand, can be asked this. What a phrase means is told by a table of words; what is true
of an image, by a mask for each meaning.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np

from corkboard.errors import InputError
from corkboard.vision.weak_labels import WeakLabels, phrases_of


@dataclass(frozen=True)
class LabelTruth:
    """``meanings``: word or phrase -> what it means, such as "shirt" -> "topic:blouse"; ``holds``: meaning -> bool ``(images,)``.

    A phrase means all that its parts mean, the longest known parts first; words without an entry add nothing ("lovely blouse" means
    blouse), and a phrase of nothing but such words means nothing and is right of no image.
    """

    meanings: Mapping[str, str]
    holds: Mapping[str, np.ndarray]
    _known: dict[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        missing = set(self.meanings.values()) - set(self.holds)
        if missing:
            raise InputError("A meaning says nothing of which images it is true of", found=sorted(missing)[:5], expected="a mask in holds")
        for words, meaning in self.meanings.items():
            parts = phrases_of(words, longest=max(len(words.split()), 1) + 8)
            if parts:  # the longest phrase is the whole of it, put as phrases are
                self._known[max(parts, key=len)] = meaning

    def of(self, phrase: str) -> frozenset[str]:
        """All that a phrase means."""
        words, found, start = phrase.split(), set(), 0
        while start < len(words):
            for end in range(len(words), start, -1):
                meaning = self._known.get(" ".join(words[start:end]))
                if meaning is not None:
                    found.add(meaning)
                    start = end
                    break
            else:
                start += 1
        return frozenset(found)

    def of_label(self, members: Mapping[str, int]) -> frozenset[str]:
        """What most of a label's phrases mean, counted by their images; of equals the first by letters."""
        votes: defaultdict[frozenset[str], int] = defaultdict(int)
        for phrase, images in members.items():
            votes[self.of(phrase)] += images
        return min(votes, key=lambda meaning: (-votes[meaning], sorted(meaning)), default=frozenset())


@dataclass(frozen=True)
class LabelQuality:
    """``precision``: share of labels on images that are right; ``recall``: share of what is true of images that some label says.

    None where nothing could be counted."""

    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class LabelStep:
    """What the labels were after a step. ``images`` that carry any, and how many each of those carries on average."""

    step: str
    labels: int
    images: int
    labels_per_image: float
    precision: float | None = None
    recall: float | None = None


@dataclass
class LabelReport:
    """The steps so far, in order. Without a truth precision and recall stay None."""

    truth: LabelTruth | None = None
    among: np.ndarray | None = None
    """bool ``(images,)``: the images that recall is counted over, such as all that are not held out; None: all."""
    steps: list[LabelStep] = field(default_factory=list)

    def add(self, step: str, labels: WeakLabels) -> None:
        """Write down what the labels are after ``step``."""
        quality = LabelQuality(None, None) if self.truth is None else label_quality(labels, self.truth, self.among)
        images = int(labels.labelled.sum())
        per_image = labels.scores.nnz / images if images else 0.0
        self.steps.append(LabelStep(step, len(labels.members), images, per_image, quality.precision, quality.recall))

    def rows(self) -> list[dict[str, object]]:
        """The steps as plain dicts, for a table or JSON."""
        return [asdict(step) for step in self.steps]


def label_quality(labels: WeakLabels, truth: LabelTruth, among: np.ndarray | None = None) -> LabelQuality:
    """Precision over the labels of all images, recall over every meaning and image of which it is true, among the images of ``among``.

    A label is right of an image when all that it means is true of it. It says of an image all that it means.
    """
    n = labels.scores.shape[0]
    among = np.ones(n, bool) if among is None else among
    said = {meaning: np.zeros(n, bool) for meaning in truth.holds}
    right, counted = 0, 0
    columns = labels.scores.tocsc()
    for label, members in enumerate(labels.members):
        rows = columns.indices[columns.indptr[label] : columns.indptr[label + 1]]
        rows = rows[among[rows]]
        meanings = truth.of_label(members)
        counted += len(rows)
        right += int(np.logical_and.reduce([truth.holds[meaning][rows] for meaning in meanings]).sum()) if meanings else 0
        for meaning in meanings:
            said[meaning][rows] = True
    true = sum(int((holds & among).sum()) for holds in truth.holds.values())
    found = sum(int((holds & among & said[meaning]).sum()) for meaning, holds in truth.holds.items())
    return LabelQuality(right / counted if counted else None, found / true if true else None)
