"""Every figure that an experiment over seeds has measured, and what follows from them for its claims and controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from corkboard.experiments import spine_claims as claims
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.spine_claims import Control, ControlResult, Judged, SpineClaim
from corkboard.experiments.spine_runs import Finished, Run, UserRunStore
from corkboard.metrics.intervals import Interval, PerUser

MAIN = "as it is"
"""The world with all of its causes."""


class Evaluated(Protocol):
    """Settings that say how sure an interval has to be."""

    @property
    def evaluation(self) -> EvaluationConfig:
        """Level, resamples and the seed of both."""
        ...


C = TypeVar("C", bound=Evaluated)


@dataclass(frozen=True)
class Measured(Generic[C]):
    """Every figure there is, by world, variant and seed, and what follows from them."""

    config: C
    seeds: Sequence[int]
    runs: Mapping[tuple[str, str, int], Run]
    store: UserRunStore
    finished: Finished
    _read: dict[tuple[str, str, int], tuple[dict[str, float], dict[str, PerUser]]] = field(default_factory=dict, repr=False)

    def figures(self, world: str, variant: str, seed: int) -> dict[str, float]:
        """Figures and facts of one run; empty where it was not measured."""
        return self._run(world, variant, seed)[0]

    def by_user(self, world: str, variant: str, seed: int) -> dict[str, PerUser]:
        """Figures of one run by user; empty where it was not measured."""
        return self._run(world, variant, seed)[1]

    def _run(self, world: str, variant: str, seed: int) -> tuple[dict[str, float], dict[str, PerUser]]:
        """Figures and figures by user, each file read once."""
        key = (world, variant, seed)
        if key not in self._read:
            run = self.runs.get(key)
            self._read[key] = ((self.store.get(run.config, seed) or {}), self.store.by_user(run)) if run else ({}, {})
        return self._read[key]

    def over_seeds(self, world: str, variant: str, measure: str) -> Judged:
        """One figure over seeds."""
        return claims.judge({seed: self.figures(world, variant, seed).get(measure) for seed in self.seeds}, self.config.evaluation.level)

    def contrast(self, claim: SpineClaim, world: str, by_truth: bool = False) -> dict[int, float | None]:
        """The value of a claim's contrast in each seed; None where a figure is missing."""
        of = claims.by_truth(claim.contrast) if by_truth else claim.contrast
        return {seed: self._value(of, world, seed) for seed in self.seeds}

    def _value(self, contrast: Callable[[claims.Figures], Any], world: str, seed: int) -> float | None:
        def figure(variant: str, measure: str) -> float:
            return self.figures(world, variant, seed)[measure]

        try:
            return float(contrast(figure))
        except (KeyError, ZeroDivisionError):
            return None

    def claim(self, claim: SpineClaim, by_truth: bool = False, world: str = MAIN) -> Judged:
        """A claim over seeds."""
        return claims.judge(self.contrast(claim, world, by_truth), self.config.evaluation.level)

    def control(self, control: Control, by_truth: bool = False) -> ControlResult:
        """A control over seeds."""
        on, off = (self.contrast(control.claim, world, by_truth) for world in (MAIN, control.world))
        return claims.judge_control(control, on, off, self.config.evaluation.level)

    def within(self, claim: SpineClaim, seed: int, world: str = MAIN) -> Interval | None:
        """The interval of a claim in one seed, over users; None where a figure is missing."""
        figures: dict[tuple[str, str], PerUser] = {}
        for variant, measure in sorted(claim.needs()):
            found = self.by_user(world, variant, seed)
            if measure not in found:
                return None
            figures[variant, measure] = found[measure]
        evaluation = self.config.evaluation
        return claims.within_seed(claim.contrast, figures, evaluation.replicates, evaluation.seed, evaluation.level)
