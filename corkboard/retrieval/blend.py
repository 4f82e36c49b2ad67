"""From many lists to one: quotas, no item twice, and every candidate knows all the sources that found it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from corkboard.artifacts import ItemList
from corkboard.retrieval.candidates import CandidateRequest, Candidates, Source
from corkboard.retrieval.config import BlendConfig, SourceConfig
from corkboard.retrieval.sources import RetrievalParts, build_sources

FILL = "any"
"""The source of items that only fill up a list which no real source could."""


@dataclass(frozen=True)
class Retrieved:
    """The candidates of one request, best first by the blended score; all parts are parallel.

    ``rows`` and ``seeds`` are int64 ``(n,)`` catalogue rows; a seed is the item that the strongest source found the
    candidate by, -1 where there is none. ``by_source`` is float32 ``(n, len(source_names))``: 1 / (1 + place) in that
    source's list, 0 where it did not bring the candidate. ``notes`` says what was left out.
    """

    items: ItemList
    rows: np.ndarray
    seeds: np.ndarray
    by_source: np.ndarray
    source_names: tuple[str, ...]
    notes: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, places: np.ndarray) -> Retrieved:
        """The candidates at ``places``, int64, in that order."""
        parts = self.rows[places], self.seeds[places], self.by_source[places]
        return Retrieved(self.items.take(places), *parts, self.source_names, self.notes)


class Retrieval:
    """The sources of one release and how they are blended. Holds no state of its own, so threads may share it."""

    def __init__(self, sources: Sequence[Source], config: BlendConfig | None = None, notes: Sequence[str] = ()):
        self.sources = list(sources)
        self.settings: BlendConfig = config or SourceConfig()
        self.notes = list(notes)

    @classmethod
    def of(cls, parts: RetrievalParts, config: SourceConfig | None = None) -> Retrieval:
        """All sources that ``parts`` allow for."""
        config = config or SourceConfig()
        sources, notes = build_sources(parts, config)
        return cls(sources, config, notes)

    def retrieve(self, request: CandidateRequest, k: int | None = None) -> Retrieved:
        """At most k (default: the setting) allowed candidates; fewer only where fewer are allowed.

        Where several sources have little to say (somebody new, an idle month), the others are asked again for as many as it takes:
        their quotas are shares of the candidates, and no limit.
        """
        k = self.settings.candidates if k is None else k
        quotas = self._shares() * k
        wanted = np.ceil(quotas * self.settings.overfetch).astype(int)
        found = [source.candidates(request, int(most)) for source, most in zip(self.sources, wanted, strict=True)]
        if len(np.unique(np.concatenate([np.empty(0, np.int64), *(c.rows for c in found)]))) < k:
            found = [
                source.candidates(request, k) if len(first) == most else first
                for source, first, most in zip(self.sources, found, wanted, strict=True)
            ]
        names = tuple(source.name for source in self.sources)
        return blend(request, names, found, quotas, k, self.settings.rank_softening, self.notes)

    def _shares(self) -> np.ndarray:
        quotas = np.array([self.settings.quota(source.name) for source in self.sources], np.float64)
        if not quotas.sum():
            quotas[:] = 1.0
        return quotas / max(quotas.sum(), 1.0)


def blend(
    request: CandidateRequest,
    names: Sequence[str],
    found: Sequence[Candidates],
    quotas: np.ndarray,
    k: int,
    softening: float,
    notes: Sequence[str] = (),
) -> Retrieved:
    """One list of at most k.

    Place r in a list of quota q has key r / q. The candidates with the lowest keys are taken, so a source fills its
    quota first, and what overlap or short lists leave free goes to the others in proportion. The score of a candidate is
    the sum over its sources of share x softening / (softening + place).
    """
    shares = quotas / max(quotas.sum(), 1e-9)
    rows = np.concatenate([np.empty(0, np.int64), *(c.rows for c in found)])
    seeds = np.concatenate([np.empty(0, np.int64), *(c.seeds for c in found)])
    sources = np.repeat(np.arange(len(found)), [len(c) for c in found])
    places = np.concatenate([np.empty(0), *(np.arange(len(c)) for c in found)])
    keys = places / np.maximum(quotas[sources], 1e-9) if len(rows) else places
    parts = shares[sources] * softening / (softening + places) if len(rows) else places
    distinct, entry_of = np.unique(rows, return_inverse=True)
    lowest = np.full(len(distinct), np.inf)
    np.minimum.at(lowest, entry_of, keys)
    scores = np.bincount(entry_of, parts, minlength=len(distinct))
    by_source = np.zeros((len(distinct), len(names)), np.float32)
    by_source[entry_of, sources] = 1 / (1 + places)
    seed = np.full(len(distinct), -1, np.int64)
    weakest_first = np.argsort(parts, kind="stable")
    weakest_first = weakest_first[seeds[weakest_first] >= 0]
    seed[entry_of[weakest_first]] = seeds[weakest_first]
    taken = np.lexsort((distinct, -scores, lowest))[:k]
    taken = taken[np.lexsort((distinct[taken], -scores[taken]))]
    return _filled(request, names, distinct[taken], scores[taken], seed[taken], by_source[taken], k, list(notes))


def _filled(
    request: CandidateRequest,
    names: Sequence[str],
    rows: np.ndarray,
    scores: np.ndarray,
    seeds: np.ndarray,
    by_source: np.ndarray,
    k: int,
    notes: list[str],
) -> Retrieved:
    """Fill up to k with the newest of what else is allowed, and put the item list together."""
    known = {int(bits): tuple(name for place, name in enumerate(names) if bits >> place & 1) for bits in np.unique(bits_of(by_source))}
    sources = [known[int(bits)] for bits in bits_of(by_source)]
    missing = k - len(rows)
    if missing > 0:
        rest = request.allowed[: len(request.catalogue)].copy()
        rest[rows] = False
        others = np.flatnonzero(rest)
        others = others[np.argsort(-request.catalogue.created_ms[others], kind="stable")[:missing]]
        rows = np.concatenate([rows, others])
        scores, seeds = np.append(scores, np.zeros(len(others))), np.append(seeds, np.full(len(others), -1, np.int64))
        by_source = np.concatenate([by_source, np.zeros((len(others), by_source.shape[1]), np.float32)])
        sources += [(FILL,)] * len(others)
    items = ItemList(request.catalogue.ids_of(rows), scores.astype(np.float32), sources)
    return Retrieved(items, rows, seeds, by_source, tuple(names), notes)


def bits_of(by_source: np.ndarray) -> np.ndarray:
    """int64 ``(n,)``: bit s is set where source s brought the candidate."""
    return (by_source > 0) @ (1 << np.arange(by_source.shape[1], dtype=np.int64))
