"""Finding out that a model has seen what it is tested on.

Three nets, from certain to statistical. Cuts: every artefact says before which moment it read the lake, and one that says a later
moment than the calendar allows is refused; a finished graph is also held against the log, edge by edge. Ceilings and gaps: a row above
the oracle, or one far better on the test than on validation, raises an alarm. Time shift: the same recipe, built on a lake that is
sealed at an earlier cut, must do about as well on the days after that cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact
from corkboard.errors import LeakError
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.result import Table
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.config import PruningConfig
from corkboard.graph.from_lake import Edges, follow_edges, item_edges
from corkboard.graph.graphs import FOLLOW
from corkboard.lake.calendar import DAY_MS, Calendar
from corkboard.lake.lake import Lake
from corkboard.metrics.intervals import ENOUGH, PerUser, compare, percentile_interval, resampled_values

FAR_ABOVE = 1.5
"""A model this many times as good on the test as on validation, and surely so, has more likely seen it than got lucky."""


def require_cut(name: str, cut_ms: int, allowed_ms: int) -> None:
    """Raise :class:`LeakError` where something that may know events before ``allowed_ms`` knows later ones."""
    if cut_ms > allowed_ms:
        raise LeakError(
            f"{name} read past its cut of the calendar",
            found=cut_ms,
            expected=f"at most {allowed_ms} ({(cut_ms - allowed_ms) / DAY_MS:.1f} days earlier)",
            hint="Rebuild it on a lake that ends at its cut: `lake.until(cut)`.",
        )


def require_cuts(artifacts: Mapping[str, Artifact], allowed_ms: Mapping[str, int] | int) -> None:
    """Hold the cut of every artefact, by role, against what it is allowed; one number allows the same to all.

    Raises :class:`LeakError` for the first that is later, and for one that does not say.
    """
    for role, artifact in artifacts.items():
        if artifact.cut_ms is None:
            raise LeakError(f"The {role} does not say up to when it read the lake", found=artifact.key, expected="cut_ms in its manifest")
        require_cut(f"The {role} ({artifact.key})", artifact.cut_ms, allowed_ms if isinstance(allowed_ms, int) else allowed_ms[role])


def require_before(name: str, frame: pl.DataFrame, cut_ms: int, column: str = "time_ms") -> None:
    """Raise :class:`LeakError` where a table of edges, pairs or events has a row at or after ``cut_ms``."""
    late = frame.filter(pl.col(column) >= cut_ms)
    if len(late):
        raise LeakError(
            f"{name} holds rows of the evaluation period",
            found=f"{len(late):,} of {len(frame):,} rows, the last at {late[column].max()}",
            expected=f"{column} < {cut_ms}",
        )


def require_no_later_edges(edges: Mapping[str, Edges], cut_ms: int) -> None:
    """Raise :class:`LeakError` for the first graph, by name, with an edge that was made at or after ``cut_ms``."""
    for name, found in edges.items():
        require_before(f"The graph {name}", found.select("time_ms").collect(), cut_ms)


def require_known_edges(graphs: Mapping[str, BipartiteGraph], lake: Lake, cut_ms: int, config: PruningConfig | None = None) -> None:
    """Raise :class:`LeakError` where a finished graph, by name, has an edge that only the log from ``cut_ms`` on accounts for.

    A graph keeps no times, so each edge is looked up in ``lake``, which must reach beyond the cut, under the settings the graph was made
    with: it may not be among what the whole lake makes and what the lake until the cut does not. That finds edges of later actions, and
    those that only later enough people stood behind. Edges that the lake does not account for at all, as of data of another kind or
    of people who have been deleted since, are not judged.
    """
    early, late = (item_edges(part, config) | {FOLLOW: follow_edges(part, config)} for part in (lake.until(cut_ms), lake))
    for name in [name for name in graphs if name in late]:
        edges = _pairs_of(graphs[name])
        keys = [key for key in ("left", "right", "tenant") if key in edges.columns and key in late[name].collect_schema()]
        later = late[name].select(keys).unique()
        if name in early:
            later = later.join(early[name].select(keys).unique(), on=keys, how="anti")
        found = edges.lazy().join(later, on=keys, how="semi").collect()
        if len(found):
            raise LeakError(
                f"The graph {name} has edges of the evaluation period",
                found=f"{len(found):,} of {len(edges):,} edges, such as one of {found['left'][0]}",
                expected=f"edges that the log before {cut_ms} accounts for",
                hint="Make it from a lake that ends at the cut: `graphs(lake.until(cut), item_ids)`.",
            )


def _pairs_of(graph: BipartiteGraph) -> pl.DataFrame:
    """The edges of a graph by id: left, right, and the tenant of the right node where the graph tells tenants apart."""
    lefts, rights = (pl.Series(name, list(ids), pl.String) for name, ids in (("left", graph.left_ids), ("right", graph.right_ids)))
    nodes = rights.to_frame() if graph.owners is None else rights.to_frame().hstack(graph.owners.select("tenant"))
    owners = np.repeat(np.arange(len(graph.left)), graph.left.degrees)
    return lefts.gather(owners).to_frame().hstack(nodes[np.asarray(graph.left.neighbours)])


def beats_the_ceiling(
    table: Table, measures: Sequence[str], figures: Mapping[str, Mapping[str, PerUser]], config: EvaluationConfig
) -> Table:
    """The table with an alarm for every row that is surely above a ceiling row in one of ``measures``."""
    alarms = list(table.alarms)
    for ceiling in (row.name for row in table.rows if row.ceiling):
        for measure in measures:
            rows = [row.name for row in table.rows if not row.ceiling and measure in figures[row.name]]
            if not rows or measure not in figures[ceiling]:
                continue
            found = compare(
                [figures[row][measure] for row in rows],
                figures[ceiling][measure],
                replicates=config.replicates,
                seed=config.seed,
                level=config.level,
            )
            alarms += [
                f"Suspected leak: {row} is above {ceiling} in {measure} by {one.difference:.4f} "
                f"[{one.difference_interval.low:.4f}, {one.difference_interval.high:.4f}], and nobody may beat the truth."
                for row, one in zip(rows, found, strict=True)
                if one.verdict == "above"
            ]
    return replace(table, alarms=alarms)


@dataclass(frozen=True)
class Gap:
    """A figure on the test against the same model's figure on a period that it may know less or equally well.

    ``ratio`` is test over control with its interval; the two are resampled apart, because their users differ.
    """

    name: str
    test: float
    control: float
    ratio: float
    ratio_low: float
    ratio_high: float
    suspected: bool
    note: str


def gap(name: str, test: PerUser, control: PerUser, config: EvaluationConfig | None = None, *, factor: float = FAR_ABOVE) -> Gap:
    """Whether a model does suspiciously better on the test than on a control period.

    Suspected where the whole interval of the ratio lies above 1 and the ratio itself above ``factor``. Under 200 users or
    positives on either side nothing is suspected, and the note says so.
    """
    config = config or EvaluationConfig()
    here = resampled_values([test], replicates=config.replicates, seed=config.seed)[:, 0]
    there = resampled_values([control], replicates=config.replicates, seed=config.seed + 1)[:, 0]
    interval = percentile_interval(np.divide(here, there, out=np.full_like(here, np.nan), where=there > 0), config.level)
    ratio = test.value / control.value if control.value > 0 else float("inf") if test.value > 0 else float("nan")
    enough = test.enough and control.enough
    # A control of exactly 0 has no ratio to resample; a test that is surely above 0 is then above it by any factor.
    surely = interval.low > 1.0 if np.isfinite(ratio) else ratio > 0 and percentile_interval(here, config.level).low > 0
    suspected = bool(enough and ratio > factor and surely)
    note = f"{ratio:.2f} times as good on the test as on the control"
    if not enough:
        note = f"too few to tell: under {ENOUGH} users or positives"
    elif suspected:
        note = f"suspected leak: {note} [{interval.low:.2f}, {interval.high:.2f}]"
    return Gap(name, test.value, control.value, ratio, interval.low, interval.high, suspected, note)


Measured = Callable[[Lake, Calendar], PerUser]
"""Builds one recipe on what the lake gives it before the calendar's B, and measures it on the calendar's test."""


def shifted(calendar: Calendar, days: int) -> Calendar:
    """The same calendar, ``days`` earlier; its start stays."""
    back = days * DAY_MS
    return replace(
        calendar,
        item_cut_ms=max(calendar.item_cut_ms - back, calendar.start_ms),
        rank_cut_ms=calendar.rank_cut_ms - back,
        end_ms=calendar.end_ms - back,
    )


def time_shift_control(
    name: str,
    figure: PerUser,
    lake: Lake,
    calendar: Calendar,
    measured: Measured,
    config: EvaluationConfig | None = None,
    *,
    days: int | None = None,
) -> Gap:
    """Build the recipe again on a lake that physically ends ``days`` earlier (default: one test length) and measure the days after it.

    ``figure`` is what was measured on the real test. ``measured`` gets the lake sealed at the end of the shifted test and must build
    on ``lake.until(calendar.rank_cut_ms)``: a recipe that reads beyond raises :class:`LeakError` there, and one whose artefact has
    seen the test has nothing to see here, so it falls back to an honest figure and the gap shows.
    """
    if days is None:
        days = max(1, round((calendar.end_ms - calendar.rank_cut_ms) / DAY_MS))
    earlier = shifted(calendar, days)
    if earlier.rank_cut_ms <= earlier.start_ms:
        raise LeakError(
            "There is no time before the cut to shift into", found=f"{days} days", expected="less than the days before the test"
        )
    return gap(f"{name}, {days} days earlier", figure, measured(lake.until(earlier.end_ms), earlier), config)


@dataclass(frozen=True)
class LeakReport:
    """What the leak check looked at and what it found."""

    checked: Sequence[str]
    alarms: Sequence[str]

    @property
    def clean(self) -> bool:
        return not self.alarms


def leak_check(
    *,
    artifacts: Mapping[str, Artifact] | None = None,
    allowed_ms: Mapping[str, int] | int = 0,
    tables: Sequence[Table] = (),
    gaps: Sequence[Gap] = (),
) -> LeakReport:
    """All nets together. A late cut raises :class:`LeakError` at once; statistical suspicions are listed as alarms."""
    checked = []
    if artifacts:
        require_cuts(artifacts, allowed_ms)
        checked.append(f"cuts of {len(artifacts)} artefacts")
    checked += [f"rows of the table {table.name} against {row.name}" for table in tables for row in table.rows if row.ceiling]
    checked += [f"{one.name}: {one.note}" for one in gaps]
    alarms = [alarm for table in tables for alarm in table.alarms] + [f"{one.name}: {one.note}" for one in gaps if one.suspected]
    return LeakReport(checked, alarms)
