"""A first look at an unknown file or folder: what it is, how it would map to the lake, and what will work with it.

Nothing is ingested. Memory is bounded: of a big file only the beginning is read, and the report says so.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from corkboard.errors import InputError, NotFound
from corkboard.lake.activity import Activity, Around, advise, measure
from corkboard.lake.importers import Imported, Importer, find_importer, load_outside
from corkboard.lake.importers.config import ImportConfig
from corkboard.lake.importers.frames import rating_action
from corkboard.lake.importers.times import to_ms
from corkboard.lake.importers.words import action_of
from corkboard.lake.peek import SAMPLE_BYTES, Peek, peek
from corkboard.lake.propose import Match, Proposal, propose
from corkboard.lake.read import DELIMITERS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_SHOWN_COLUMNS = 30
_EXAMPLES = 3
_EXAMPLE_LENGTH = 40
_UNIT_NAMES = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds", "text": "dates in words"}
_TEXT_COLUMNS = ("title", "description")


@dataclass(frozen=True)
class ColumnLook:
    """One column of the sample: type, nulls, different values and the first few of them."""

    name: str
    dtype: str
    nulls: int
    distinct: int
    examples: list[str]


@dataclass(frozen=True)
class CheckReport:
    """What :func:`look` found. ``rows`` is estimated unless ``rows_exact``; figures of ``activity`` are those of ``looked_at`` rows."""

    path: str
    kind: str
    rows: int
    rows_exact: bool
    looked_at: int
    columns: list[ColumnLook]
    layout: dict[str, Any] = field(default_factory=dict)
    importer: str | None = None
    importer_title: str | None = None
    files: list[str] = field(default_factory=list)
    table: str | None = None
    native: bool = False
    mapping: list[Match] = field(default_factory=list)
    constants: dict[str, str] = field(default_factory=dict)
    time_unit: str | None = None
    synthetic_time: bool = False
    tables: dict[str, int] = field(default_factory=dict)
    activity: Activity | None = None
    notes: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    command: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def render(self, console: Console | None = None) -> None:
        """Print the report for a person."""
        from rich.console import Console

        _print(self, console or Console())


def look(path: Path, sample_bytes: int = SAMPLE_BYTES) -> CheckReport:
    """Look at ``path``, reading at most about ``sample_bytes`` of uncompressed data.

    Raises :class:`InputError`, in one sentence, for what cannot be read or is no table.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound("There is no such file or folder", found=str(path))
    importer = find_importer(path)
    if importer is not None and _affordable(importer.files(path), sample_bytes):
        return _look_imported(path, importer, sample_bytes)
    if path.is_dir():
        raise InputError(
            "No importer knows this folder", found=str(path), expected="a file, or a folder of a known data set", hint=_files_of(path)
        )
    return _look_raw(path, importer, peek(path, sample_bytes))


def _affordable(files: Sequence[Path], sample_bytes: int) -> bool:
    """Whether a data set is small enough to be read whole: compressed text grows about fourfold, and frames need room as well."""
    return sum(file.stat().st_size for file in files) <= 4 * sample_bytes


def _files_of(folder: Path) -> str:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    known = [file.name for file in files if find_importer(file) is not None]
    if known:
        return f"Name one of its files; these are known: {', '.join(known[:8])}."
    return f"Name one of its files: {', '.join(file.name for file in files[:8])}." if files else "It is empty."


# --------------------------------------------------------------------------------------------------- known data sets


def _look_imported(path: Path, importer: Importer, sample_bytes: int) -> CheckReport:
    files = importer.files(path)
    imported = load_outside(path, importer.name)
    actions = imported.frames.get("actions")
    activity = measure(actions) if actions is not None else None
    rows = len(imported.refused) + sum(frame.height for frame in imported.frames.values()) if actions is None else actions.height
    try:
        seen: Peek | None = peek(files[0], sample_bytes)
    except InputError:  # lines of unequal length, which only the importer understands
        seen = None
    return CheckReport(
        path=str(path),
        kind=seen.kind if seen else importer.name,
        rows=seen.rows if seen else rows,
        rows_exact=seen.exact if seen else True,
        looked_at=rows,
        columns=_columns(seen.frame) if seen else [],
        layout=_layout(seen) if seen else {},
        importer=importer.name,
        importer_title=importer.title,
        files=[file.name for file in files],
        tables={name: frame.height for name, frame in imported.frames.items()},
        activity=activity,
        synthetic_time=imported.synthetic_time,
        notes=imported.notes + _refusals(imported),
        advice=advise(activity, _around(imported)) if activity is not None else [],
        command=f"corkboard ingest {shlex.quote(str(path))}",
    )


def _refusals(imported: Imported) -> list[str]:
    """What would be refused, the first few in words."""
    shown = [f"row {one.row}, {one.field}: found {one.found}, expected {one.expected}" for one in imported.refused[:_EXAMPLES]]
    return [f"{len(imported.refused):,} rows would be refused, such as {'; '.join(shown)}."] if shown else []


def _around(imported: Imported) -> Around:
    items = imported.frames.get("items", pl.DataFrame())
    text = any(items[name].null_count() < items.height for name in _TEXT_COLUMNS if name in items.columns)
    attributes = any(items[name].null_count() < items.height for name in ("attributes", "category") if name in items.columns)
    return Around("impressions" in imported.frames, text, attributes, imported.synthetic_time)


# ------------------------------------------------------------------------------------------------------ unknown files


def _look_raw(path: Path, importer: Importer | None, seen: Peek) -> CheckReport:
    proposal = propose(seen.frame, seen.has_header)
    actions = _actions_of(seen.frame, proposal)
    activity = measure(actions) if actions is not None and actions.height else None
    notes = [*_notes_on_file(seen), *proposal.problems]
    command = _command(path, importer, seen, proposal)
    whole = _set_of(path) if importer is None else None
    if whole is not None:
        notes.append(f"This file belongs to the data set in {whole[0]}, which the importer {whole[1].name} reads as a whole.")
        command = f"corkboard ingest {shlex.quote(str(whole[0]))}"
    return CheckReport(
        path=str(path),
        kind=seen.kind,
        rows=seen.rows,
        rows_exact=seen.exact,
        looked_at=seen.frame.height,
        columns=_columns(seen.frame),
        layout=_layout(seen),
        importer=importer.name if importer else None,
        importer_title=importer.title if importer else None,
        table=proposal.table,
        native=proposal.native,
        mapping=list(proposal.matches),
        constants=dict(proposal.constants),
        time_unit=proposal.time_unit,
        activity=activity,
        notes=notes,
        advice=_advice(seen.frame, proposal, activity),
        command=command,
    )


def _advice(frame: pl.DataFrame, proposal: Proposal, activity: Activity | None) -> list[str]:
    if activity is not None:
        shown = proposal.table == "events" and (frame["event"] == "impression").any()
        described = proposal.table == "events" and (frame["event"] == "item").any() and "title" in frame.columns
        return advise(activity, Around(impressions=shown, text=True if described else None))
    if proposal.table == "items":
        text = [name for name in _TEXT_COLUMNS if proposal.theirs(name)]
        found = f"Text to learn from: {', '.join(text)}." if text else "No text of items: the content tower leans on attributes."
        since = "" if proposal.theirs("time_ms") else " No column says since when an item exists: all of them count as always known."
        return [found + since]
    return []


def _actions_of(frame: pl.DataFrame, proposal: Proposal) -> pl.DataFrame | None:
    """(user_id?, session_id?, item_id, time_ms?, action) out of a frame that holds actions; None for another."""
    if proposal.table == "events":
        frame = frame.filter(pl.col("event") == "action")
    elif proposal.table != "actions":
        return None
    ids = {ours: theirs for ours in ("user_id", "session_id", "item_id") if (theirs := proposal.theirs(ours)) is not None}
    if "item_id" not in ids:
        return None
    time = proposal.theirs("time_ms")
    times = [to_ms(frame[time]).alias("time_ms")] if time is not None else []
    return frame.select(
        *[pl.col(theirs).cast(pl.String).alias(ours) for ours, theirs in ids.items()], _action(proposal).alias("action"), *times
    )


def _action(proposal: Proposal) -> pl.Expr:
    theirs = proposal.theirs("action")
    if theirs is not None:
        return action_of(pl.col(theirs).cast(pl.String), ImportConfig())
    if proposal.rating is not None:
        return rating_action(pl.col(proposal.rating).cast(pl.Float64), ImportConfig())
    return pl.lit(proposal.constants.get("action", "click"))


def _notes_on_file(seen: Peek) -> list[str]:
    notes = []
    if not seen.exact or seen.frame.height < seen.rows:
        notes.append(f"A big file: the figures are those of its first {seen.frame.height:,} rows of about {seen.rows:,}.")
    if seen.ragged:
        notes.append(f"Lines of another shape than the rest: {seen.ragged:,}.")
    if seen.kind == "json":
        notes.append("One JSON document: write JSON lines, one object a line, to ingest it.")
    if seen.separator is not None and seen.separator not in DELIMITERS:
        notes.append(f"Fields are separated by {seen.separator!r}: write commas or tabs between them to ingest the file.")
    if seen.encoding == "latin-1":
        notes.append("The text is latin-1: save it as UTF-8.")
    return notes


def _set_of(path: Path) -> tuple[Path, Importer] | None:
    """The folder of a file and its importer, where the folder is a known data set that includes the file."""
    importer = find_importer(path.parent)
    return (path.parent, importer) if importer is not None and path in importer.files(path.parent) else None


def _command(path: Path, importer: Importer | None, seen: Peek, proposal: Proposal) -> str | None:
    """The command that ingests the file as proposed; None where that would not work."""
    start = f"corkboard ingest {shlex.quote(str(path))}"
    if importer is not None:
        return start
    timeless = proposal.table == "actions" and proposal.theirs("time_ms") is None
    readable = seen.kind != "json" and seen.has_header and seen.separator in (None, *DELIMITERS)
    if proposal.table is None or timeless or not readable:
        return None
    if proposal.native:
        return start
    maps = [f"--map {shlex.quote(f'{match.ours}={match.theirs}')}" for match in proposal.matches if match.ours != match.theirs]
    maps += [f"--map {shlex.quote(f'{ours}=={value}')}" for ours, value in proposal.constants.items()]
    return " ".join([start, f"--table {proposal.table}", *maps])


def _columns(frame: pl.DataFrame) -> list[ColumnLook]:
    looks = []
    for name in frame.columns:
        values = frame[name]
        some = values.drop_nulls().head(1_000).unique(maintain_order=True).head(_EXAMPLES).to_list()
        texts = [text if len(text := str(value)) <= _EXAMPLE_LENGTH else f"{text[:_EXAMPLE_LENGTH]}…" for value in some]
        looks.append(ColumnLook(name, str(values.dtype), values.null_count(), values.n_unique() - int(values.has_nulls()), texts))
    return looks


def _layout(seen: Peek) -> dict[str, Any]:
    layout = {"separator": seen.separator, "header": seen.has_header, "encoding": seen.encoding}
    return {name: value for name, value in layout.items() if value is not None} if seen.kind == "delimited" else {}


# ------------------------------------------------------------------------------------------------------------- printing


def _print(report: CheckReport, console: Console) -> None:
    about = "" if report.rows_exact else "about "
    layout = "".join(f", {name} {value!r}" for name, value in report.layout.items())
    console.print(
        f"[bold]{report.path}[/bold]: {report.kind}{layout}, {about}{report.rows:,} rows, {len(report.columns)} columns", highlight=False
    )
    if report.columns:
        console.print(_grid(report))
    if len(report.columns) > _SHOWN_COLUMNS:
        console.print(f"… and {len(report.columns) - _SHOWN_COLUMNS} more columns")
    console.print(_what_it_is(report), highlight=False)
    for title, lines in (("Figures", _figures(report)), ("Notes", report.notes), ("What will work", report.advice)):
        if lines:
            console.print(f"[bold]{title}[/bold]")
            for line in lines:
                console.print(f"  • {line}", highlight=False, markup=False)
    if report.command:
        console.print("[bold]To ingest it[/bold]")
        console.print(f"  {report.command}", highlight=False, markup=False, soft_wrap=True)


def _grid(report: CheckReport) -> Table:
    from rich.table import Table

    ours = {match.theirs: match for match in report.mapping}
    grid = Table("column", "type", "nulls", "different", "examples", "ours", "why")
    for column in report.columns[:_SHOWN_COLUMNS]:
        match = ours.get(column.name)
        guess = f"{match.ours} ({match.confidence:.0%})" if match else ""
        grid.add_row(
            column.name,
            column.dtype,
            f"{column.nulls:,}",
            f"{column.distinct:,}",
            ", ".join(column.examples),
            guess,
            match.why if match else "",
        )
    return grid


def _what_it_is(report: CheckReport) -> str:
    if report.importer is not None:
        tables = ", ".join(f"{rows:,} {name}" for name, rows in report.tables.items())
        return f"This is {report.importer_title}." + (f" It gives {tables}." if tables else "")
    if report.table is None:
        return "This is no table of the lake as it stands."
    what = "events of several kinds" if report.table == "events" else f"the table {report.table}"
    return f"This is {what}, in our own columns." if report.native else f"This could become {what}."


def _figures(report: CheckReport) -> list[str]:
    seen = report.activity
    if seen is None:
        return []
    sessions = f"{seen.sessions:,} sessions"
    whose = sessions if seen.anonymous else f"{seen.users:,} users" + (f" in {sessions}" if seen.sessions else "")
    lines = [f"{seen.actions:,} actions of {whose} on {seen.items:,} items"]
    if seen.by_action:
        lines.append("by kind: " + ", ".join(f"{name} {count:,}" for name, count in seen.by_action.items()))
    if seen.first_ms is not None and seen.last_ms is not None and not report.synthetic_time:
        unit = f" (in the file: {_UNIT_NAMES[report.time_unit]})" if report.time_unit else ""
        lines.append(f"from {_day(seen.first_ms)} to {_day(seen.last_ms)}{unit}")
    few = f"{seen.few_share:.0%} of {'sessions' if seen.anonymous else 'users'} have fewer than ten actions"
    lines.append(f"{few}; {seen.duplicates:,} rows repeat another one")
    return lines


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
