"""The spine's report: the same grids on a terminal, in Markdown, in HTML and, with every number of every seed, in JSON."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from corkboard import __version__
from corkboard.artifacts import write_atomically
from corkboard.experiments import spine_claims as claims
from corkboard.experiments.report_page import STYLE
from corkboard.experiments.spine import BASELINES, MAIN, SpineResult
from corkboard.experiments.spine_cadence import BY_USER
from corkboard.experiments.spine_claims import CLAIMS, CONTROLS, Judged, SpineClaim
from corkboard.experiments.spine_models import OBJECTIVES, RANKERS, TRUTH
from corkboard.experiments.spine_requests import LOW_HISTORY

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "corkboard.spine/1"
MISSING = "–"


@dataclass(frozen=True)
class Grid:
    """A table of text: a title, what a reader must know, columns and rows."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = ()


def grids(result: SpineResult) -> list[Grid]:
    """Every table of the report, claims first."""
    return [_claims(result), _controls(result), _retrieval(result), _ranking(result), _low_history(result), _within(result)]


def protocol(result: SpineResult) -> list[str]:
    """What was asked and how, in sentences."""
    c = result.config
    seeds, days = result.seeds, c.calendar
    return [
        f"Each seed is a world of its own (seeds {seeds[0]} to {seeds[-1]}): {c.world.users:,} people, {c.world.items:,} items, "
        f"{c.world.days} days. Item and user models read days before A, rankers the {days.rank_days} days [A, B), "
        f"the test is the {days.test_days} days after B.",
        "Recall@10: share of (user, first new positive) pairs with fewer than ten unseen items above. The full catalogue at B is "
        "ranked; users, pairs, catalogue and seen rule are the same in every row and column. PinnerFormer is trained once, before B.",
        "Once: what was known at B. Daily: what was known a day before the midnight that began the day. Realtime: everything before the "
        "moment of the positive. Popularity is counted again (in realtime every six hours); item-kNN and EASE stay as fitted, their "
        "histories move.",
        f"HIT@3: {c.requests:,} requests a world at the moments of its home pages of the test, in random order, answered anew apart from "
        "the log. Rankers see the moment's features, its sequence and a user vector of the night before last; unless their name says so "
        "they read no features made by hand from the last actions. TransAct has one layer and 50 actions, as served, where nothing else is "
        "said. By truth: the same hits in the world's own probabilities, without the luck of the draw.",
        "Over seeds: Student's t interval (95 %) of the paired differences. Reproduced: it lies above 0; contradicted: below it; at "
        "least five seeds. Within a seed: 95 % bootstrap over users.",
        f"Low history: under {c.low_history} actions before the test.",
        "All sizes are those of a simulated world: orderings are evidence, sizes are not.",
    ]


# ---------------------------------------------------------------------------------------------------------------- tables


def _claims(result: SpineResult) -> Grid:
    rows = []
    for claim in CLAIMS:
        drawn = result.claim(claim)
        truth = result.claim(claim, by_truth=True) if claim.by_truth else None
        rows.append([claim.name, claim.label, _interval(drawn, claim), _verdict(drawn), *_truth(truth, claim)])
    columns = ("claim", "", "difference", "verdict", "by truth", "verdict by truth")
    notes = ["A difference above 0 is what the claim says; in per cent where it is a share of the second one's figure."]
    return Grid("Claims", columns, rows, notes)


def _controls(result: SpineResult) -> Grid:
    rows = []
    for control in CONTROLS:
        for truth in (False, True) if control.claim.by_truth else (False,):
            found = result.control(control, truth)
            how = "by truth" if truth else "drawn" if control.claim.by_truth else ""
            parts = [_interval(one, control.claim) for one in (found.on, found.off, found.fallen)]
            rows.append([control.name, how, *parts, found.ending])
    notes = [
        "The same difference in a world with the cause, in one without it, and what fell away, paired over seeds.",
        '"Stays without its cause": the ordering is an artefact of something else.',
    ]
    return Grid("Controls", ("control", "", "with its cause", "without", "fell away", "ending"), rows, notes)


def _retrieval(result: SpineResult) -> Grid:
    rows = []
    for variant in (*OBJECTIVES, *BASELINES):
        measures = (claims.ONCE, claims.DAILY, claims.REALTIME, claims.ONCE + BY_USER)
        cells = [_figure(_over_seeds(result, MAIN, variant, measure)) for measure in measures]
        loss = claims.judge(result.contrast(SpineClaim("", claims.loss(variant)), MAIN))
        over = claims.judge(result.contrast(SpineClaim("", claims.lift(variant, claims.POPULAR, claims.ONCE)), MAIN))
        rows.append([variant, *cells, _percent(loss), _percent(over)])
    columns = ("recall@10", "once", "daily", "realtime", "once, by user", "lost realtime to daily", "once, against popularity 7 d")
    return Grid("Retrieval at three cadences", columns, rows, _facts(result, claims.POPULAR, ("users", "pairs", "unreachable share")))


def _ranking(result: SpineResult) -> Grid:
    rows = []
    for variant in (*RANKERS, TRUTH):
        cells = [variant]
        for measure in (claims.SAVE, claims.HIDE):
            cells.append(_figure(_over_seeds(result, MAIN, variant, measure)))
            for by_truth in (False, True):
                change = SpineClaim("", claims.lift(variant, claims.NONE, measure))
                cells.append("" if variant == claims.NONE else _percent(claims.judge(result.contrast(change, MAIN, by_truth))))
        rows.append(cells)
    columns = ("", "HIT@3 save", "against no sequence", "by truth", "HIT@3 hide", "against no sequence", "by truth")
    facts = ("requests", "pages", "users", "save drawn", "hide drawn", "rows", "save in rows", "hide in rows")
    return Grid("Ranking of random requests", columns, rows, _facts(result, claims.NONE, facts))


def _low_history(result: SpineResult) -> Grid:
    rows = []
    for variant in RANKERS:
        cells = [variant]
        for measure in (claims.SAVE, claims.HIDE):
            few = claims.lift(variant, claims.NONE, measure + LOW_HISTORY)
            everybody = claims.lift(variant, claims.NONE, measure)
            cells += [_percent(claims.judge(result.contrast(SpineClaim("", of), MAIN, by_truth=True))) for of in (few, everybody)]
        rows.append(cells)
    columns = ("against no sequence, by truth", "save, low history", "save, all", "hide, low history", "hide, all")
    return Grid("Users of low history", columns, rows[1:], _facts(result, claims.NONE, ("users", "users of low history")))


def _within(result: SpineResult) -> Grid:
    rows = []
    for claim in CLAIMS:
        values, cells = result.contrast(claim, MAIN), []
        for seed in result.seeds:
            bounds = result.within(claim, seed)
            mark = "" if bounds is None else " ▲" if bounds.low > 0 else " ▼" if bounds.high < 0 else " ≈"
            cells.append(MISSING if values[seed] is None else _number(values[seed], claim.lift) + mark)
        rows.append([claim.name, *cells])
    notes = ["▲ ▼: the interval over users of that world alone lies above or below 0; ≈: it holds 0."]
    return Grid("Seed by seed", ("claim", *(str(seed) for seed in result.seeds)), rows, notes)


def _over_seeds(result: SpineResult, world: str, variant: str, measure: str) -> Judged:
    return claims.judge({seed: result.figures(world, variant, seed).get(measure) for seed in result.seeds})


def _facts(result: SpineResult, variant: str, names: Sequence[str]) -> list[str]:
    found = [result.figures(MAIN, variant, seed) for seed in result.seeds]
    known = [one for one in found if one]
    if not known:
        return []
    means = [(name, float(np.mean([one.get(name, np.nan) for one in known]))) for name in names]
    return ["Mean over seeds: " + ", ".join(f"{name} {value:,.0f}" if value >= 1 else f"{name} {value:.2f}" for name, value in means) + "."]


def _figure(found: Judged) -> str:
    if found.mean is None:
        return MISSING
    spread = "" if found.low is None or found.high is None else f" ±{(found.high - found.low) / 2:.4f}"
    return f"{found.mean:.4f}{spread}"


def _percent(found: Judged) -> str:
    if found.mean is None:
        return MISSING
    bounds = "" if found.low is None or found.high is None else f" [{found.low:+.1%}, {found.high:+.1%}]"
    return f"{found.mean:+.1%}{bounds}"


def _interval(found: Judged, claim: SpineClaim) -> str:
    if found.mean is None:
        return MISSING
    bounds = "" if found.low is None or found.high is None else f" [{_number(found.low, claim.lift)}, {_number(found.high, claim.lift)}]"
    return _number(found.mean, claim.lift) + bounds


def _number(value: float | None, share: bool) -> str:
    return MISSING if value is None else f"{value:+.1%}" if share else f"{value:+.4f}"


def _verdict(found: Judged) -> str:
    return f"{found.verdict} ({len(found.seeds)} seeds)" if found.verdict == "not measured" and found.seeds else found.verdict


def _truth(found: Judged | None, claim: SpineClaim) -> list[str]:
    return ["", ""] if found is None else [_interval(found, claim), _verdict(found)]


# --------------------------------------------------------------------------------------------------------------- outputs


def to_dict(result: SpineResult) -> dict[str, Any]:
    """Plain JSON values: every claim and control, and every figure of every seed."""
    judged = [
        {
            "name": claim.name,
            "label": claim.label,
            "weight": claim.weight,
            "share": claim.lift,
            **asdict(result.claim(claim)),
            "by_truth": asdict(result.claim(claim, by_truth=True)) if claim.by_truth else None,
        }
        for claim in CLAIMS
    ]
    controls = []
    for control in CONTROLS:
        for truth in (False, True) if control.claim.by_truth else (False,):
            found = result.control(control, truth)
            parts = {name: asdict(getattr(found, name)) for name in ("on", "off", "fallen")}
            controls.append({"name": control.name, "off_mechanisms": control.off, "by_truth": truth, "ending": found.ending, **parts})
    runs = [
        {"world": world, "variant": variant, "seed": seed, "figures": figures}
        for (world, variant, seed) in result.runs
        if (figures := result.figures(world, variant, seed))
    ]
    return {
        "schema": SCHEMA,
        "version": __version__,
        "seeds": list(result.seeds),
        "config": result.config.model_dump(mode="json"),
        "protocol": protocol(result),
        "claims": judged,
        "controls": controls,
        "runs": runs,
        "this_call": asdict(result.finished),
    }


def print_report(result: SpineResult, console: Console | None = None) -> None:
    """Every grid on the terminal, then the protocol and what went wrong."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = console or Console(width=160, highlight=False)
    for grid in grids(result):
        console.print(f"\n[bold]{escape(grid.title)}[/]")
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, column in enumerate(grid.columns):
            table.add_column(escape(column), justify="left" if number == 0 else "right", no_wrap=number == 0)
        for row in grid.rows:
            table.add_row(*map(escape, row))
        console.print(table)
        for note in grid.notes:
            console.print(escape(note), style="dim")
    for sentence in protocol(result):
        console.print(f"· {escape(sentence)}", style="dim")
    for line in _troubles(result):
        console.print(f"[yellow]! {escape(line)}[/]")


def _troubles(result: SpineResult) -> Iterator[str]:
    if result.finished.interrupted:
        yield "Interrupted: what was being measured is missing; call it again to go on."
    if result.finished.skipped:
        yield f"No time was left for {len(result.finished.skipped)} runs; call it again to go on: {', '.join(result.finished.skipped)}"
    for job, reason in result.finished.failed.items():
        yield f"{job} failed: {reason.strip()}"


def markdown(result: SpineResult) -> str:
    """The report as Markdown."""
    lines = [f"# Spine: {len(result.seeds)} worlds", ""]
    for grid in grids(result):
        lines += [f"## {grid.title}", "", "| " + " | ".join(grid.columns) + " |", "| --- " * len(grid.columns) + "|"]
        lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in grid.rows]
        lines += ["", *grid.notes, ""]
    lines += ["## Protocol", "", *(f"- {sentence}" for sentence in protocol(result)), "", *_troubles(result)]
    return "\n".join(lines).rstrip() + "\n"


def page(result: SpineResult) -> str:
    """The report as one HTML page."""
    parts = []
    for grid in grids(result):
        head = "".join(f"<th>{html.escape(column)}</th>" for column in grid.columns)
        body = "".join("<tr>" + "".join(f"<td{_class(cell)}>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in grid.rows)
        notes = "".join(f"<p class='soft'>{html.escape(note)}</p>" for note in grid.notes)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        parts.append(f"<h2>{html.escape(grid.title)}</h2><div class='card'>{table}</div>{notes}")
    told = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in protocol(result))
    alarms = "".join(f"<div class='alarm'>{html.escape(line)}</div>" for line in _troubles(result))
    body = f"<h1>Spine: {len(result.seeds)} worlds</h1>{alarms}{''.join(parts)}<h2>Protocol</h2><ul>{told}</ul>"
    head = f"<meta charset='utf-8'><title>Corkboard spine</title><style>{STYLE}</style>"
    return f"<!doctype html><html lang='en'><head>{head}</head><body><main>{body}</main></body></html>"


def _class(cell: str) -> str:
    if cell.startswith(("reproduced", "gone with")):
        return " class='better'"
    return " class='worse'" if cell.startswith(("contradicted", "stays without")) else ""


def write_reports(result: SpineResult, folder: Path) -> dict[str, Path]:
    """Write ``spine.json``, ``spine.md`` and ``spine.html`` to ``folder``; returns the files by ending."""
    import json

    texts = {"json": json.dumps(to_dict(result), indent=1, default=str), "md": markdown(result), "html": page(result)}
    files = {ending: folder / f"spine.{ending}" for ending in texts}
    for ending, text in texts.items():
        write_atomically(files[ending], text.encode())
    return files
