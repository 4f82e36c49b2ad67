"""What an evaluation found, in a form that can be stored, compared and drawn.

Every cell carries the users and positives behind it and its paired interval against the table's baseline. The JSON schema is
stable: fields are added, never renamed; a change of meaning changes :data:`SCHEMA`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from corkboard import __version__
from corkboard.artifacts import write_atomically
from corkboard.errors import InputError, NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.lake.calendar import Calendar
from corkboard.lake.importers import import_notes
from corkboard.lake.lake import Lake

SCHEMA = "corkboard.evaluation/1"


@dataclass(frozen=True)
class Measure:
    """A column: ``about`` explains it in one sentence; ``higher_is_better`` is None where neither is better as such.

    ``headline`` measures stand in the terminal's table; the others only in JSON and report. Where ``from_zero`` is False, 0 is no
    natural start of an axis, as with an AUC.
    """

    name: str
    about: str
    higher_is_better: bool | None = True
    digits: int = 4
    headline: bool = True
    from_zero: bool = True


@dataclass(frozen=True)
class Cell:
    """One figure of one row. ``low`` and ``high`` bound the value, the others the paired difference to the baseline row.

    ``verdict``: "baseline", "better", "worse", "higher", "lower", "undecided", "too few to tell", or "not compared".
    Numbers that do not exist are None.
    """

    value: float | None
    users: int
    positives: int | None = None
    low: float | None = None
    high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None
    lift: float | None = None
    lift_low: float | None = None
    lift_high: float | None = None
    verdict: str = "not compared"


@dataclass(frozen=True)
class Row:
    """One model. ``ceiling`` marks the oracle of a simulated world, which nobody may beat."""

    name: str
    cells: Mapping[str, Cell]
    ceiling: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Breakdown:
    """One measure by bucket: ``cells[row][i]`` belongs to ``buckets[i]``."""

    name: str
    measure: str
    buckets: Sequence[str]
    cells: Mapping[str, Sequence[Cell]]


@dataclass(frozen=True)
class Curve:
    """One line of a plot, with the number of observations behind each point."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    count: Sequence[int]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()


@dataclass(frozen=True)
class Plot:
    """Curves that share axes; ``diagonal`` asks for the line where both are equal."""

    name: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]
    diagonal: bool = False


@dataclass(frozen=True)
class Table:
    """Rows measured in one way, with what a reader must know about that way. ``alarms`` are suspected leaks."""

    name: str
    title: str
    baseline: str
    measures: Sequence[Measure]
    rows: Sequence[Row]
    protocol: Sequence[str]
    warnings: Sequence[str] = ()
    alarms: Sequence[str] = ()
    facts: Mapping[str, int | float | str | None] = field(default_factory=dict)
    breakdowns: Sequence[Breakdown] = ()
    plots: Sequence[Plot] = ()
    seconds: float = 0.0

    def row(self, name: str) -> Row:
        """The row of that name; raises :class:`NotFound` with the names there are."""
        for row in self.rows:
            if row.name == name:
                return row
        raise NotFound("The table has no such row", found=name, expected=[row.name for row in self.rows])

    def cell(self, row: str, measure: str) -> Cell:
        """The cell of a row and a measure; raises :class:`NotFound` with the names there are."""
        cells = self.row(row).cells
        if measure not in cells:
            raise NotFound(f"The row {row} has no such measure", found=measure, expected=sorted(cells))
        return cells[measure]


@dataclass(frozen=True)
class Evaluation:
    """Everything one evaluation found, and on what: the split hash names the data and the cut, the seed all that was drawn."""

    tables: Sequence[Table]
    split_hash: str
    snapshot: str
    calendar: Mapping[str, int]
    seed: int
    level: float
    version: str
    created_ms: int
    warnings: Sequence[str] = ()
    schema: str = SCHEMA

    @classmethod
    def of(cls, lake: Lake, calendar: Calendar, tables: Sequence[Table], config: EvaluationConfig | None = None) -> Evaluation:
        """Tables with what they were measured on. What importers had to assume about the data becomes warnings."""
        config = config or EvaluationConfig()
        cuts = {name: getattr(calendar, name) for name in ("start_ms", "item_cut_ms", "rank_cut_ms", "end_ms")}
        warnings = [f"{note['source']}: {text}" for note in import_notes(lake.folder) for text in note["notes"]]
        return cls(
            tables=list(tables),
            split_hash=calendar.split_hash(lake),
            snapshot=lake.snapshot,
            calendar=cuts,
            seed=config.seed,
            level=config.level,
            version=__version__,
            created_ms=int(time.time() * 1000),
            warnings=warnings,
        )

    def table(self, name: str) -> Table:
        """The table of that name; raises :class:`NotFound` with the names there are."""
        for table in self.tables:
            if table.name == name:
                return table
        raise NotFound("The evaluation has no such table", found=name, expected=[table.name for table in self.tables])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return msgspec.json.decode(self.to_json())

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Evaluation:
        """The evaluation that was stored; raises :class:`InputError` for another schema."""
        try:
            found = msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError as error:
            raise InputError(f"This is not a stored evaluation: {error}") from None
        if found.schema != SCHEMA:
            raise InputError("This evaluation was stored in another schema", found=found.schema, expected=SCHEMA)
        return found

    def save(self, path: Path) -> Path:
        """Write the JSON to ``path``."""
        write_atomically(Path(path), self.to_json().encode())
        return Path(path)

    def print(self) -> None:
        """The tables on standard output, at most 100 columns wide."""
        from corkboard.experiments.terminal import print_evaluation

        print_evaluation(self)
