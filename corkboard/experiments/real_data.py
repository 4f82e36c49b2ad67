"""What the experiments on real data share: rows that are run by seed and kept on disk, and the table that is made of them.

The data never enters the project; a folder is named on the command line. Runs are those of :mod:`corkboard.experiments.spine_runs`:
one JSON each with its figures by user, a time budget that is kept, and "not measured" for what it did not reach.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from corkboard import __version__
from corkboard.artifacts import content_hash
from corkboard.errors import NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.result import Cell, Evaluation, Measure, Row, Table
from corkboard.experiments.seeded import seeded_rows
from corkboard.experiments.spine_runs import Finished, Job, Run, UserRunStore
from corkboard.lake.lake import Lake

Say = Callable[[str], None]

TOWER_CODE = (
    *("embeddings", "learning", "retrieval", "lake", "metrics", "seeds.py"),
    *("experiments/real_data.py", "experiments/scorers.py"),
)
"""Sources that figures of towers and baselines depend on: with others a run is another run. Whole rooms, or a part would be forgotten."""


@dataclass(frozen=True)
class Published:
    """A figure in print, to stand beside ours: ``values`` by measure."""

    name: str
    values: Mapping[str, float]
    users: int
    source: str


def data_file(folder: Path, name: str) -> Path:
    """``folder / name``, or :class:`NotFound` that says what belongs there."""
    path = Path(folder) / name
    if not path.exists():
        raise NotFound("The data is not there", found=str(path), hint="Name the folder that holds it with --data; nothing is downloaded.")
    return path


def lake_of(files: Sequence[Path], runs: Path, code: str, make: Callable[[Path], object]) -> Lake:
    """The lake that ``make(folder)`` makes of ``files``, below ``runs``: one for each content of them and each ``code``."""
    place = Path(runs) / "lakes" / content_hash(digest(files), code)
    whole = place / "imports" / "whole"
    if not whole.exists():
        make(place)
        whole.parent.mkdir(parents=True, exist_ok=True)
        whole.touch()
    return Lake(place)


def digest(files: Sequence[Path]) -> str:
    """A hash of the names and the contents of files."""
    parts = []
    for file in files:
        with open(file, "rb") as opened:
            parts.append((file.name, hashlib.file_digest(opened, "sha256").hexdigest()))
    return content_hash(parts)


def table_of_runs(
    table: Table, jobs: Sequence[Job], store: UserRunStore, config: EvaluationConfig, published: Sequence[Published] = ()
) -> Table:
    """``table`` with a row for each variant of the jobs: mean over its finished seeds, intervals over users and seeds.

    A variant is "not measured" unless all of its seeds are. Published rows come last; nothing is computed for them.
    """
    runs: dict[str, list[Run]] = {}
    for run in (run for job in jobs for run in job.runs):
        runs.setdefault(run.variant, []).append(run)
    complete = {name: [store.by_user(run) for run in mine] for name, mine in runs.items() if all(store.done(run) for run in mine)}
    if table.baseline not in complete:
        return replace(
            table, rows=[_unmeasured(name, table.measures) for name in runs], warnings=["Nothing was measured: no time was left."]
        )
    measured = {row.name: row for row in seeded_rows(complete, table.measures, table.baseline, config)}
    rows = [measured.get(name) or _unmeasured(name, table.measures) for name in runs]
    rows += [Row(one.name, {name: Cell(value, one.users, verdict="published") for name, value in one.values.items()}) for one in published]
    missing = [name for name in runs if name not in complete]
    warnings = [f"Not measured, for lack of time: {', '.join(missing)}."] if missing else []
    notes = [f"{one.name}: {one.source}." for one in published]
    return replace(table, rows=rows, protocol=[*table.protocol, *notes], warnings=[*table.warnings, *warnings])


def evaluation_of(table: Table, split_hash: str, calendar: Mapping[str, int], config: EvaluationConfig, finished: Finished) -> Evaluation:
    """The table with what it was measured on, to be printed or stored like any other evaluation."""
    failed = [f"{name} failed: {reason.strip().splitlines()[-1]}" for name, reason in finished.failed.items()]
    if finished.interrupted:
        failed.insert(0, "Interrupted: what was being measured is missing; call it again to go on.")
    return Evaluation(
        tables=[replace(table, seconds=round(finished.seconds, 1))],
        split_hash=split_hash,
        snapshot="-",
        calendar=dict(calendar),
        seed=config.seed,
        level=config.level,
        version=__version__,
        created_ms=int(time.time() * 1000),
        warnings=failed,
    )


def _unmeasured(name: str, measures: Sequence[Measure]) -> Row:
    return Row(name, {measure.name: Cell(None, 0, verdict="not measured") for measure in measures})
