"""Claims over seeds: an inequality between two variants, run with several seeds, judged by its paired interval.

A run is one variant with one seed. It leaves one JSON file named by the hash of its config, data and code, so an interrupted
session goes on where it stopped and nothing is measured twice. Where minutes are short, claims that weigh most are run first, and
what was not reached is called "not measured", never guessed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from corkboard.artifacts import content_hash, write_atomically
from corkboard.errors import InputError

ENOUGH_SEEDS = 5
"""Seeds below which a claim stays undecided, whatever its interval."""

Verdict = Literal["reproduced", "contradicted", "undecided", "not measured"]

Measure = Callable[[Mapping[str, Any], int], Mapping[str, float]]
"""Runs one config with one seed and returns its figures by name."""


@dataclass(frozen=True)
class Claim:
    """``better`` beats ``worse`` in ``measure``; with ``higher_is_better`` False a lower figure wins. ``weight`` says what to run first."""

    name: str
    better: str
    worse: str
    measure: str
    higher_is_better: bool = True
    weight: float = 1.0


@dataclass(frozen=True)
class ClaimResult:
    """The verdict on a claim. ``difference`` is better minus worse, mean over ``seeds``, with its interval; None where not measured."""

    claim: Claim
    verdict: Verdict
    seeds: Sequence[int]
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    lift: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class RunStore:
    """One JSON file a run in ``folder``. ``data`` and ``code`` are hashes: another lake or other sources make other runs."""

    folder: Path
    data: str
    code: str

    def path(self, config: Mapping[str, Any], seed: int) -> Path:
        return self.folder / f"{content_hash(dict(config), seed, self.data, self.code)}.json"

    def get(self, config: Mapping[str, Any], seed: int) -> dict[str, float] | None:
        """The figures of a run that was finished, or None."""
        path = self.path(config, seed)
        return json.loads(path.read_text())["figures"] if path.exists() else None

    def put(self, config: Mapping[str, Any], seed: int, figures: Mapping[str, float], seconds: float) -> None:
        record = {
            "config": dict(config),
            "seed": seed,
            "data": self.data,
            "code": self.code,
            "figures": dict(figures),
            "seconds": round(seconds, 3),
        }
        write_atomically(self.path(config, seed), json.dumps(record, indent=1, default=str).encode())


def compare_over_seeds(
    claims: Sequence[Claim],
    variants: Mapping[str, Mapping[str, Any]],
    measure: Measure,
    store: RunStore,
    *,
    seeds: Sequence[int] = tuple(range(ENOUGH_SEEDS)),
    budget_min: float = math.inf,
    level: float = 0.95,
) -> list[ClaimResult]:
    """Run what the claims need, weightiest first, until ``budget_min`` minutes are spent; then judge every claim.

    ``variants`` maps the names in the claims to configs. A run is only begun if the longest one so far would still fit; runs that
    were stored earlier cost nothing. A run that raises stops everything, because a claim with a missing seed is not the claim.
    """
    missing = sorted({name for claim in claims for name in (claim.better, claim.worse)} - set(variants))
    if missing:
        raise InputError("A claim names a variant that is not there", found=missing, expected=sorted(variants))
    start, longest = time.monotonic(), 0.0
    for variant, seed in _in_order(claims, seeds):
        config = variants[variant]
        if store.get(config, seed) is not None:
            continue
        if time.monotonic() - start + longest > budget_min * 60.0:
            break
        began = time.monotonic()
        figures = measure(config, seed)
        longest = max(longest, time.monotonic() - began)
        store.put(config, seed, figures, time.monotonic() - began)
    return [_judged(claim, variants, store, seeds, level) for claim in claims]


def paired_interval(differences: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of paired differences, one a seed; NaN under two of them.

    A bootstrap of five numbers is far too narrow; the t interval is honest at that size.
    """
    from scipy.stats import t

    values = np.asarray(differences, float)
    if len(values) < 2:
        return float("nan"), float("nan")
    half = float(t.ppf((1 + level) / 2, len(values) - 1)) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return float(values.mean()) - half, float(values.mean()) + half


def _in_order(claims: Sequence[Claim], seeds: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Runs by weight of the claim, then by seed, both sides of a pair together; each run once."""
    done = set()
    for claim in sorted(claims, key=lambda one: -one.weight):
        for seed in seeds:
            for variant in (claim.better, claim.worse):
                if (variant, seed) not in done:
                    done.add((variant, seed))
                    yield variant, seed


def _judged(claim: Claim, variants: Mapping[str, Mapping[str, Any]], store: RunStore, seeds: Sequence[int], level: float) -> ClaimResult:
    better, worse, measured = [], [], []
    for seed in seeds:
        one, other = store.get(variants[claim.better], seed), store.get(variants[claim.worse], seed)
        if one is not None and other is not None:
            better.append(_figure(one, claim))
            worse.append(_figure(other, claim))
            measured.append(seed)
    if len(measured) < len(seeds):
        return ClaimResult(claim, "not measured", measured)
    differences = np.subtract(better, worse).tolist()
    low, high = paired_interval(differences, level)
    verdict: Verdict = "undecided"
    if len(measured) >= ENOUGH_SEEDS and (low > 0 or high < 0):
        verdict = "reproduced" if (low > 0) == claim.higher_is_better else "contradicted"
    mean = float(np.mean(differences))
    base = float(np.mean(worse))
    known = not math.isnan(low)
    return ClaimResult(claim, verdict, measured, mean, low if known else None, high if known else None, mean / base if base else None)


def _figure(figures: Mapping[str, float], claim: Claim) -> float:
    if claim.measure not in figures:
        raise InputError(f"The runs of the claim {claim.name} do not report its measure", found=sorted(figures), expected=claim.measure)
    return figures[claim.measure]
