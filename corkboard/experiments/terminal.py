"""Evaluations on a terminal: tables that fit 100 columns, with what a reader must know below them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from corkboard.experiments.result import Cell, Evaluation, Measure, Table

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 100
MARKS = {"better": "▲", "worse": "▼", "higher": "↑", "lower": "↓", "undecided": "≈", "too few to tell": "?"}
STYLES = {"better": "green", "worse": "red", "too few to tell": "dim"}
LEGEND = "▲ better, ▼ worse, ↑ higher, ↓ lower than {baseline}, ≈ undecided, ? too few to tell (under 200 users or positives)"

_NAME_WIDTH = 22
_MEASURE_WIDTH = 14


def print_evaluation(evaluation: Evaluation, console: Console | None = None) -> None:
    """Print every table. ``console`` defaults to standard output at :data:`WIDTH` columns."""
    from rich.console import Console

    console = console or Console(width=WIDTH, highlight=False)
    for table in evaluation.tables:
        _print_table(table, console)
    for warning in evaluation.warnings:
        console.print(f"[yellow]! {_escaped(warning)}[/]")
    console.print(
        f"split {evaluation.split_hash} · snapshot {evaluation.snapshot} · seed {evaluation.seed} · corkboard {evaluation.version}",
        style="dim",
    )


def _print_table(table: Table, console: Console) -> None:
    facts = " · ".join(f"{name} {_fact(value)}" for name, value in table.facts.items())
    console.print(f"\n[bold]{_escaped(table.title)}[/]")
    console.print(_escaped(facts), style="dim")
    headline = [measure for measure in table.measures if measure.headline]
    if headline:
        console.print(_differences(table, _main_measure(table, headline)))
    for group in _groups(headline):
        console.print(_values(table, group))
    console.print(LEGEND.format(baseline=table.baseline), style="dim")
    for sentence in table.protocol:
        console.print(f"· {_escaped(sentence)}", style="dim")
    for warning in table.warnings:
        console.print(f"[yellow]! {_escaped(warning)}[/]")
    for alarm in table.alarms:
        console.print(f"[bold red]!! {_escaped(alarm)}[/]")


def _main_measure(table: Table, measures: Sequence[Measure]) -> Measure:
    """The first measure that enough users and positives stand behind."""
    known = (measure for measure in measures if measure.name in table.row(table.baseline).cells)
    return next((one for one in known if table.cell(table.baseline, one.name).verdict == "baseline"), measures[0])


def _differences(table: Table, measure: Measure):
    """One measure in full: its value, the paired difference with its interval, the lift, and who stands behind it."""
    from rich.table import Table as Grid

    grid = Grid(box=None, pad_edge=False, show_edge=False, header_style="bold")
    grid.add_column("", width=_NAME_WIDTH, overflow="ellipsis", no_wrap=True)
    for name in (measure.name, f"against {table.baseline}", "lift", "users", "positives"):
        grid.add_column(name, justify="right", no_wrap=True)
    for row in table.rows:
        cell = row.cells.get(measure.name)
        if cell is not None:
            lift = "" if cell.lift is None else f"{cell.lift:+.0%}"
            positives = "" if cell.positives is None else f"{cell.positives:,}"
            grid.add_row(
                _escaped(row.name),
                _value(cell, measure),
                _difference(cell, measure),
                lift,
                f"{cell.users:,}",
                positives,
                style=STYLES.get(cell.verdict),
            )
    return grid


def _values(table: Table, measures: Sequence[Measure]):
    from rich.table import Table as Grid

    grid = Grid(box=None, pad_edge=False, show_edge=False, header_style="bold", width=_NAME_WIDTH + (_MEASURE_WIDTH + 1) * len(measures))
    grid.add_column("", width=_NAME_WIDTH, overflow="ellipsis", no_wrap=True)
    for measure in measures:
        grid.add_column(measure.name, justify="right", width=_MEASURE_WIDTH)
    for row in table.rows:
        cells = [row.cells.get(measure.name) for measure in measures]
        texts = ["" if cell is None else _marked(cell, measure) for cell, measure in zip(cells, measures, strict=True)]
        grid.add_row(_escaped(row.name), *texts)
    return grid


def _groups(measures: Sequence[Measure]) -> Iterator[Sequence[Measure]]:
    fitting = (WIDTH - _NAME_WIDTH) // (_MEASURE_WIDTH + 1)
    for start in range(0, len(measures), fitting):
        yield measures[start : start + fitting]


def _value(cell: Cell, measure: Measure) -> str:
    return "–" if cell.value is None else f"{cell.value:.{measure.digits}f}"


def _marked(cell: Cell, measure: Measure) -> str:
    mark, style = MARKS.get(cell.verdict, " "), STYLES.get(cell.verdict)
    text = f"{_value(cell, measure)} {mark}"
    return f"[{style}]{text}[/]" if style else text


def _difference(cell: Cell, measure: Measure) -> str:
    if cell.difference is None or cell.difference_low is None or cell.difference_high is None:
        return cell.verdict
    digits = measure.digits
    text = f"{cell.difference:+.{digits}f} \\[{cell.difference_low:+.{digits}f}, {cell.difference_high:+.{digits}f}]"
    return f"{text} {MARKS.get(cell.verdict, ' ')}"


def _fact(value: int | float | str | None) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else value


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
