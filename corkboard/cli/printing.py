"""What a person sees: tables, notes, and progress with a rate and a time to go. Machines get JSON."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from corkboard.pipeline.ledger import Ledger, Progress


def print_json(value: object) -> None:
    """One JSON object on one line."""
    print(json.dumps(value, default=str, ensure_ascii=False))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table on standard output; numbers are right-aligned. What stands in brackets is text: titles come from anywhere."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(title=Text(title, "bold"), title_justify="left")
    for index, name in enumerate(columns):
        numbers = all(isinstance(row[index], int | float) for row in rows)
        grid.add_column(name, justify="right" if numbers else "left")
    for row in rows:
        words = [f"{cell:,.2f}" if isinstance(cell, float) else f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row]
        grid.add_row(*map(Text, words))
    Console().print(grid)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A ``progress(what, done, total)`` that draws one line with rate and time to go on a terminal, and is silent elsewhere."""
    if not sys.stderr.isatty():
        yield _sparse_progress()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, tuple] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total, rate=""), time.perf_counter(), done
            task, start, first = tasks[what]
            seconds = time.perf_counter() - start
            bar.update(task, completed=done, total=total, rate=f"{(done - first) / seconds:,.0f}/s" if seconds > 0 else "")

        yield report


def _sparse_progress(every_s: float = 5.0) -> Progress:
    """Where nobody watches a terminal: a line at most every ``every_s`` seconds, so that a log shows life."""
    last: dict[str, tuple[float, float]] = {}

    def report(what: str, done: int, total: int) -> None:
        now = time.perf_counter()
        start, said = last.setdefault(what, (now, now))
        if now - said >= every_s and done:
            rate = done / max(now - start, 1e-9)
            print(f"  {what}: {done:,}/{total:,}, {rate:,.0f}/s, {max(total - done, 0) / rate:.0f} s to go", file=sys.stderr, flush=True)
            last[what] = start, now

    return report


def print_ledger(ledger: Ledger) -> None:
    """CPU-seconds by step, beside the machine's own rate."""
    facts = ledger.to_dict()["machine"]
    rows = [[entry.step, entry.cpu_s, entry.wall_s, entry.note] for entry in ledger.entries]
    rows.append(["sum", ledger.cpu_s, ledger.wall_s, ""])
    table(
        f"What it cost. {facts['cores']} cores; a matrix product runs at {facts['matrix_gflop_per_s']} GFLOP/s here",
        ["step", "CPU s", "wall s", ""],
        rows,
    )
