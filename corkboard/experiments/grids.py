"""Tables of text that an experiment's report is made of: the same ones on a terminal, in Markdown and in HTML."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corkboard import __version__
from corkboard.artifacts import write_atomically
from corkboard.experiments.measured import MAIN, Measured
from corkboard.experiments.report_page import STYLE
from corkboard.experiments.spine_claims import Control, ControlResult, Judged, SpineClaim
from corkboard.experiments.spine_runs import Finished

if TYPE_CHECKING:
    from rich.console import Console

MISSING = "–"
NO_TIME = "Not measured, for lack of time."


@dataclass(frozen=True)
class Grid:
    """A table of text: a title, columns, rows, and what a reader must know."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Pages:
    """A report: a title, its grids, the protocol in sentences, and what went wrong."""

    title: str
    grids: Sequence[Grid]
    protocol: Sequence[str]
    troubles: Sequence[str] = ()

    def print(self, console: Console | None = None) -> None:
        """Every grid on the terminal, then the protocol and what went wrong."""
        from rich.console import Console
        from rich.markup import escape
        from rich.table import Table

        console = console or Console(width=160, highlight=False)
        for grid in self.grids:
            console.print(f"\n[bold]{escape(grid.title)}[/]")
            table = Table(box=None, pad_edge=False, header_style="bold")
            for number, column in enumerate(grid.columns):
                table.add_column(escape(column), justify="left" if number == 0 else "right", no_wrap=number == 0)
            for row in grid.rows:
                table.add_row(*map(escape, row))
            console.print(table)
            for note in grid.notes:
                console.print(escape(note), style="dim")
        for sentence in self.protocol:
            console.print(f"· {escape(sentence)}", style="dim")
        for line in self.troubles:
            console.print(f"[yellow]! {escape(line)}[/]")

    def markdown(self) -> str:
        """The report as Markdown."""
        lines = [f"# {self.title}", ""]
        for grid in self.grids:
            lines += [f"## {grid.title}", "", "| " + " | ".join(grid.columns) + " |", "| --- " * len(grid.columns) + "|"]
            lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in grid.rows]
            lines += ["", *grid.notes, ""]
        lines += ["## Protocol", "", *(f"- {sentence}" for sentence in self.protocol), "", *self.troubles]
        return "\n".join(lines).rstrip() + "\n"

    def html(self) -> str:
        """The report as one HTML page."""
        parts = []
        for grid in self.grids:
            head = "".join(f"<th>{html.escape(column)}</th>" for column in grid.columns)
            body = "".join("<tr>" + "".join(f"<td{_class(cell)}>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows)
            notes = "".join(f"<p class='soft'>{html.escape(note)}</p>" for note in grid.notes)
            table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
            parts.append(f"<h2>{html.escape(grid.title)}</h2><div class='card'>{table}</div>{notes}")
        told = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in self.protocol)
        alarms = "".join(f"<div class='alarm'>{html.escape(line)}</div>" for line in self.troubles)
        body = f"<h1>{html.escape(self.title)}</h1>{alarms}{''.join(parts)}<h2>Protocol</h2><ul>{told}</ul>"
        head = f"<meta charset='utf-8'><title>Corkboard: {html.escape(self.title)}</title><style>{STYLE}</style>"
        return f"<!doctype html><html lang='en'><head>{head}</head><body><main>{body}</main></body></html>"

    def write(self, folder: Path, name: str, as_json: str) -> dict[str, Path]:
        """Write ``name.json`` (with the text ``as_json``), ``name.md`` and ``name.html`` to ``folder``; returns the files by ending."""
        texts = {"json": as_json, "md": self.markdown(), "html": self.html()}
        files = {ending: folder / f"{name}.{ending}" for ending in texts}
        for ending, text in texts.items():
            write_atomically(files[ending], text.encode())
        return files


def _class(cell: str) -> str:
    if cell.startswith(("reproduced", "gone with")):
        return " class='better'"
    return " class='worse'" if cell.startswith(("contradicted", "stays without")) else ""


def troubles(finished: Finished) -> list[str]:
    """What was interrupted, left out or failed, in sentences."""
    lines = []
    if finished.interrupted:
        lines.append("Interrupted: what was being measured is missing; call it again to go on.")
    if finished.skipped:
        lines.append(f"No time was left for {len(finished.skipped)} runs; call it again to go on: {', '.join(finished.skipped)}")
    return lines + [f"{job} failed: {reason.strip()}" for job, reason in finished.failed.items()]


def figure(found: Judged) -> str:
    """A mean over seeds with half the width of its interval."""
    if found.mean is None:
        return MISSING
    spread = "" if found.low is None or found.high is None else f" ±{(found.high - found.low) / 2:.4f}"
    return f"{found.mean:.4f}{spread}"


def percent(found: Judged) -> str:
    """A share with its interval."""
    if found.mean is None:
        return MISSING
    bounds = "" if found.low is None or found.high is None else f" [{found.low:+.1%}, {found.high:+.1%}]"
    return f"{found.mean:+.1%}{bounds}"


def interval(found: Judged, claim: SpineClaim) -> str:
    """A contrast with its interval, in the unit of its claim."""
    if found.mean is None:
        return MISSING
    bounds = "" if found.low is None or found.high is None else f" [{number(found.low, claim.lift)}, {number(found.high, claim.lift)}]"
    return number(found.mean, claim.lift) + bounds


def number(value: float | None, share: bool) -> str:
    """A difference with its sign, in per cent where it is a share."""
    return MISSING if value is None else f"{value:+.1%}" if share else f"{value:+.4f}"


def verdict(found: Judged) -> str:
    """The verdict; where it was not measured, how many seeds there are."""
    return f"{found.verdict} ({len(found.seeds)} seeds)" if found.verdict == "not measured" and found.seeds else found.verdict


def worded(found: Judged, words: Mapping[str, str]) -> str:
    """The verdict, in a report's own words where it has some."""
    told = verdict(found)
    return words.get(told, told)


def seed_by_seed(result: Measured, given: Sequence[SpineClaim]) -> Grid:
    """Each claim in each world, with what the interval over its users says."""
    rows = []
    for claim in given:
        values, cells = result.contrast(claim, MAIN), []
        for seed in result.seeds:
            bounds = result.within(claim, seed)
            mark = "" if bounds is None else " ▲" if bounds.low > 0 else " ▼" if bounds.high < 0 else " ≈"
            cells.append(MISSING if values[seed] is None else number(values[seed], claim.lift) + mark)
        rows.append([claim.name, *cells])
    notes = ["▲ ▼: the interval over users of that world alone lies above or below 0; ≈: it holds 0."]
    return Grid("Seed by seed", ("claim", *(str(seed) for seed in result.seeds)), rows, notes)


def over_seeds(result: Measured, title: str, variants: Sequence[str], measures: Sequence[str], world: str = MAIN) -> Grid:
    """Measures of each variant over the seeds; variants that were not measured are left out."""
    rows = []
    for variant in variants:
        cells = [figure(result.over_seeds(world, variant, measure)) for measure in measures]
        if any(cell != MISSING for cell in cells):
            rows.append([variant, *cells])
    return Grid(title, ("", *measures), rows, [] if rows else [NO_TIME])


def claims_grid(judged: Sequence[tuple[SpineClaim, Judged]], words: Mapping[str, str] | None = None) -> Grid:
    """Every claim with what it came to; ``words`` are a report's own for some verdicts."""
    rows = []
    for claim, found in judged:
        rows.append([claim.name, claim.label, interval(found, claim), worded(found, words or {})])
    notes = ["A difference above 0 is what the claim says; in per cent where it is a share of the second one's figure."]
    return Grid("Claims", ("claim", "", "difference", "verdict"), rows, notes)


def controls_grid(result: Measured, controls: Sequence[Control]) -> Grid:
    """Whether a difference goes where its cause is gone."""
    rows = []
    for control in controls:
        found = result.control(control)
        rows.append([control.name, *(interval(one, control.claim) for one in (found.on, found.off, found.fallen)), found.ending])
    notes = ["The same difference in worlds as they are, in worlds without its cause, and what fell away, paired over seeds."]
    return Grid("Controls", ("control", "with its cause", "without", "fell away", "ending"), rows, notes)


# ------------------------------------------------------------------------------------------------------------------- JSON


def frame(schema: str, result: Measured, protocol: Sequence[str], *more: Measured, **parts: Any) -> dict[str, Any]:
    """A report as plain JSON values: ``parts``, and every figure of every seed of ``result`` and of ``more``."""
    return {
        "schema": schema,
        "version": __version__,
        "seeds": list(result.seeds),
        "config": result.config.model_dump(mode="json"),
        "protocol": list(protocol),
        **parts,
        "runs": [run for one in (result, *more) for run in _runs(one)],
        "this_call": asdict(result.finished),
    }


def told_claim(claim: SpineClaim, found: Judged, **more: Any) -> dict[str, Any]:
    """A claim and what it came to; ``more`` adds to that, or stands in its place."""
    return {"name": claim.name, "label": claim.label, "weight": claim.weight, "share": claim.lift, **asdict(found), **more}


def told_control(found: ControlResult) -> dict[str, Any]:
    """How a control ended, with what it was judged by."""
    return {"ending": found.ending, **{part: asdict(getattr(found, part)) for part in ("on", "off", "fallen")}}


def _runs(result: Measured) -> list[dict[str, Any]]:
    found = [(run, result.figures(run.world, run.variant, run.seed)) for run in result.runs.values()]
    return [{"world": run.world, "variant": run.variant, "seed": run.seed, "figures": figures} for run, figures in found if figures]
