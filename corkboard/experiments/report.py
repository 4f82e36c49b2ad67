"""An evaluation as one HTML file that works offline: tables, plots with intervals, and how everything was measured."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from corkboard.artifacts import write_atomically
from corkboard.experiments.report_page import SCRIPT, STYLE
from corkboard.experiments.result import Breakdown, Cell, Curve, Evaluation, Measure, Plot, Row, Table

PALETTE = ("#4c78dd", "#e4793a", "#2a9d8f", "#a66bd4", "#d4537e", "#7a9b2f", "#3aa6c9", "#b7791f")
BASELINE_COLOR, CEILING_COLOR = "#8a94a0", "#c9a227"
"""Rows keep their colour in all plots of a table; the baseline is grey and the truth golden."""


def write_report(evaluation: Evaluation, path: Path) -> Path:
    """Write the report to ``path`` and return it."""
    write_atomically(Path(path), report_html(evaluation).encode())
    return Path(path)


def report_html(evaluation: Evaluation) -> str:
    """The whole page; plotly's script is inlined once, nothing is fetched."""
    from plotly.offline import get_plotlyjs

    figures: dict[str, Any] = {}
    body = "".join(_section(table, figures) for table in evaluation.tables)
    data = json.dumps(figures, allow_nan=False).replace("</", "<\\/")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Corkboard evaluation</title><style>{STYLE}</style></head><body><main>{_head(evaluation)}{body}</main>"
        f'<script type="application/json" id="figures">{data}</script>'
        f"<script>{get_plotlyjs()}</script><script>{SCRIPT}</script></body></html>"
    )


# ---------------------------------------------------------------------------------------------------------------- words


def _head(evaluation: Evaluation) -> str:
    cut = evaluation.calendar.get("rank_cut_ms")
    end = evaluation.calendar.get("end_ms")
    when = f"Test from {_day(cut)} to {_day(end)}. " if cut is not None and end is not None else ""
    facts = {"split": evaluation.split_hash, "snapshot": evaluation.snapshot, "seed": evaluation.seed, "corkboard": evaluation.version}
    made = datetime.fromtimestamp(evaluation.created_ms / 1000, UTC)
    notes = "".join(f'<p class="note">{_e(warning)}</p>' for warning in evaluation.warnings)
    return (
        f'<h1>Evaluation</h1><p class="soft">{when}Made {made:%Y-%m-%d %H:%M} UTC. '
        f"Whiskers and brackets are {evaluation.level:.0%} intervals over users; colour marks a difference whose interval excludes 0.</p>"
        f"{_facts(facts)}{notes}"
    )


def _section(table: Table, figures: dict[str, Any]) -> str:
    alarms = "".join(f'<p class="alarm">{_e(alarm)}</p>' for alarm in table.alarms)
    notes = "".join(f'<p class="note">{_e(warning)}</p>' for warning in table.warnings)
    plots = "".join(_figure_cards(table, figures))
    protocol = "".join(f"<li>{_e(sentence)}</li>" for sentence in table.protocol)
    glossary = "".join(f"<dt>{_e(one.name)}</dt><dd>{_e(one.about)}</dd>" for one in table.measures)
    return (
        f"<section><h2>{_e(table.title)}</h2>{_facts(table.facts)}{alarms}{notes}"
        f'<div class="card">{_grid(table, [one for one in table.measures if one.headline])}</div>{plots}{_further(table)}'
        f'<div class="card"><h3>How it was measured</h3><ul>{protocol}</ul>'
        f"<details><summary>What the columns mean</summary><dl>{glossary}</dl></details></div></section>"
    )


def _further(table: Table) -> str:
    """Measures that are not in the headline table."""
    others = [one for one in table.measures if not one.headline]
    rows = [row for row in table.rows if any(one.name in row.cells for one in others)]
    return f'<details class="card"><summary>Further measures</summary>{_grid(table, others, rows)}</details>' if rows else ""


def _facts(facts: Any) -> str:
    return '<p class="facts">' + "".join(f"<span>{_e(name)} <b>{_e(_fact(value))}</b></span>" for name, value in facts.items()) + "</p>"


def _grid(table: Table, measures: Sequence[Measure], rows: Sequence[Row] | None = None) -> str:
    head = "".join(f'<th title="{_e(one.about)}">{_e(one.name)}</th>' for one in measures)
    body = "".join(
        f"<tr><td>{_e(row.name)}{_role(row, table)}</td>{''.join(_td(row.cells.get(one.name), one) for one in measures)}</tr>"
        for row in (table.rows if rows is None else rows)
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _role(row: Row, table: Table) -> str:
    role = "the truth, not a model" if row.ceiling else "compared with" if row.name == table.baseline else ""
    return f"<small class=soft>{role}</small>" if role else ""


def _td(cell: Cell | None, measure: Measure) -> str:
    if cell is None or cell.value is None:
        return "<td class=soft>–</td>"
    digits = measure.digits
    behind = f"{cell.users:,} users" + ("" if cell.positives is None else f", {cell.positives:,} positives")
    own = "" if cell.low is None or cell.high is None else f", {cell.low:.{digits}f} to {cell.high:.{digits}f}"
    kind = {"better": "better", "worse": "worse", "too few to tell": "few"}.get(cell.verdict, "")
    if cell.verdict == "too few to tell":
        note = "too few to tell"
    elif cell.difference is None or cell.difference_low is None or cell.difference_high is None:
        note = ""
    else:
        bounds = f"[{cell.difference_low:+.{digits}f}, {cell.difference_high:+.{digits}f}]"
        note = f"{cell.difference:+.{digits}f}</small><small>{bounds}"
    return f'<td title="{_e(behind + own)}"><span class="{kind}">{cell.value:.{digits}f}</span><small>{note}</small></td>'


# ---------------------------------------------------------------------------------------------------------------- plots


def _figure_cards(table: Table, figures: dict[str, Any]) -> Iterator[str]:
    colors = _colors(table)
    bars = [one for one in table.measures if one.headline]
    cards = [_card(f"{table.name}-bars-{i}", one.name, _bars(table, one, colors), figures) for i, one in enumerate(bars)]
    if cards:
        yield f'<div class="grid">{"".join(cards)}</div>'
    for i, one in enumerate(table.breakdowns):
        yield _card(f"{table.name}-breakdown-{i}", f"{one.measure} {one.name}", _grouped(one, colors), figures)
    lines = [_card(f"{table.name}-plot-{i}", one.name, _lines(one), figures) for i, one in enumerate(table.plots) if one.curves]
    if lines:
        yield f'<div class="grid">{"".join(lines)}</div>'


def _card(name: str, title: str, figure: dict[str, Any], figures: dict[str, Any]) -> str:
    figures[name] = figure
    height = figure["layout"]["height"]
    return f'<div class="card"><h3>{_e(title)}</h3><div class="plot" id="{_e(name)}" style="height:{height}px"></div></div>'


def _colors(table: Table) -> dict[str, str]:
    others = [row.name for row in table.rows if not row.ceiling and row.name != table.baseline]
    colors = {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(others)}
    return colors | {row.name: CEILING_COLOR for row in table.rows if row.ceiling} | {table.baseline: BASELINE_COLOR}


def _whiskers(cells: Sequence[Cell]) -> dict[str, Any]:
    up = [(cell.high - cell.value) if cell.high is not None and cell.value is not None else 0 for cell in cells]
    down = [(cell.value - cell.low) if cell.low is not None and cell.value is not None else 0 for cell in cells]
    return {"type": "data", "symmetric": False, "array": up, "arrayminus": down, "thickness": 1.2, "width": 3}


def _bars(table: Table, measure: Measure, colors: dict[str, str]) -> dict[str, Any]:
    rows = [row for row in table.rows if measure.name in row.cells and row.cells[measure.name].value is not None][::-1]
    cells = [row.cells[measure.name] for row in rows]
    trace: dict[str, Any] = {
        "type": "bar",
        "orientation": "h",
        "x": [cell.value for cell in cells],
        "y": [row.name for row in rows],
        "marker": {
            "color": [colors[row.name] for row in rows],
            "opacity": [0.4 if cell.verdict == "too few to tell" else 1 for cell in cells],
        },
        "error_x": _whiskers(cells),
        "hovertemplate": f"%{{y}}: %{{x:.{measure.digits}f}}<extra></extra>",
    }
    if not measure.from_zero:  # a bar's length means nothing there
        trace |= {"type": "scatter", "mode": "markers", "marker": trace["marker"] | {"size": 11}}
    layout = {
        "height": 60 + 30 * len(rows),
        "bargap": 0.35,
        "xaxis": {"rangemode": "tozero" if measure.from_zero else "normal", "nticks": 6},
        "yaxis": {"showgrid": False, "ticksuffix": " "},
    }
    return {"data": [trace], "layout": layout}


def _grouped(one: Breakdown, colors: dict[str, str]) -> dict[str, Any]:
    first = next(iter(one.cells.values()))
    axis = [f"{bucket}<br>{_behind(cell)}" for bucket, cell in zip(one.buckets, first, strict=True)]
    data = [
        {
            "type": "bar",
            "name": name,
            "x": axis,
            "y": [cell.value for cell in cells],
            "marker": {
                "color": colors.get(name, PALETTE[0]),
                "opacity": [0.4 if cell.verdict == "too few to tell" else 1 for cell in cells],
            },
            "error_y": _whiskers(cells),
            "hovertemplate": f"{html.escape(name)}: %{{y:.4f}}<extra></extra>",
        }
        for name, cells in one.cells.items()
    ]
    layout = {
        "height": 360,
        "barmode": "group",
        "bargap": 0.25,
        "legend": {"orientation": "h", "y": 1.12},
        "xaxis": {"type": "category"},
        "yaxis": {"rangemode": "tozero"},
    }
    return {"data": data, "layout": layout | {"margin": {"t": 30}}}


def _behind(cell: Cell) -> str:
    return f"{cell.users:,} users" if not cell.positives else f"{cell.positives:,} positives"


def _lines(plot: Plot) -> dict[str, Any]:
    data = [_line(curve, PALETTE[i % len(PALETTE)]) for i, curve in enumerate(plot.curves)]
    if plot.diagonal:
        top = max((value for curve in plot.curves for value in (*curve.x, *curve.y)), default=1.0)
        line = {"type": "scatter", "mode": "lines", "x": [0, top], "y": [0, top], "showlegend": False, "hoverinfo": "skip"}
        data.append(line | {"line": {"color": BASELINE_COLOR, "dash": "dot", "width": 1}})
    layout = {
        "height": 320,
        "legend": {"orientation": "h", "y": 1.15},
        "margin": {"t": 30},
        "xaxis": {"title": {"text": plot.x_label}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": plot.y_label}, "rangemode": "tozero"},
    }
    return {"data": data, "layout": layout}


def _line(curve: Curve, color: str) -> dict[str, Any]:
    trace: dict[str, Any] = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": curve.name,
        "x": list(curve.x),
        "y": list(curve.y),
        "line": {"color": color, "width": 2},
        "marker": {"color": color, "size": 6},
        "customdata": list(curve.count),
        "hovertemplate": "%{y:.4f} of %{customdata:,}<extra></extra>",
    }
    if curve.low and curve.high:
        cells = [Cell(y, n, low=low, high=high) for y, n, low, high in zip(curve.y, curve.count, curve.low, curve.high, strict=True)]
        trace["error_y"] = _whiskers(cells)
    return trace


def _fact(value: int | float | str | None) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:g}" if isinstance(value, float) else str(value)


def _day(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d}"


def _e(text: object) -> str:
    return html.escape(str(text))
