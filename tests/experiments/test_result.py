"""What is kept of an evaluation, and how it is shown: JSON that lasts, a table of 100 columns, one HTML file that works offline."""

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from corkboard.errors import InputError, NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.evaluate import POPULARITY, evaluate_retrieval
from corkboard.experiments.evaluate_pages import evaluate_ranking
from corkboard.experiments.page_scorers import LoggedOrder
from corkboard.experiments.report import report_html, write_report
from corkboard.experiments.result import SCHEMA, Evaluation
from corkboard.experiments.terminal import WIDTH, print_evaluation

from .fakes import Random, Seer
from .test_evaluate import random_task
from .test_evaluate_pages import Scored, random_pages


@pytest.fixture(scope="module")
def evaluation():
    task, (pages, save, hide) = random_task(users=400), random_pages()
    config = EvaluationConfig(replicates=100)
    rows = {
        POPULARITY: Random(60, 1),
        "a model with a name that is rather long": Random(60, 2),
        "leaky": Seer(task, 0.9),
        "oracle": Seer(task, 0.5),
    }
    ranked = {POPULARITY: Scored(0 * save), "logged order": LoggedOrder(), "ranker <b>": Scored(save, save=save, hide=hide)}
    return Evaluation(
        tables=[evaluate_retrieval(task, rows, config), evaluate_ranking(pages, ranked, config)],
        split_hash="abc123",
        snapshot="snap-1",
        calendar={"rank_cut_ms": 1_700_006_400_000, "end_ms": 1_701_216_000_000},
        seed=3,
        level=0.95,
        version="0.1.0",
        created_ms=1_701_300_000_000,
        warnings=["A warning of the whole </script>"],
    )


def test_json_comes_back_as_it_was(evaluation, tmp_path):
    stored = evaluation.save(tmp_path / "evaluation.json").read_text()
    assert Evaluation.from_json(stored).to_dict() == evaluation.to_dict()
    json.loads(stored, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_the_schema_is_what_it_was(evaluation):
    """Whoever reads these files relies on the names: add, never rename."""
    found = evaluation.to_dict()
    assert found["schema"] == SCHEMA == "corkboard.evaluation/1"
    assert {"tables", "split_hash", "snapshot", "calendar", "seed", "level", "version", "created_ms", "warnings"} <= set(found)
    table = found["tables"][0]
    assert {
        "name",
        "title",
        "baseline",
        "measures",
        "rows",
        "protocol",
        "warnings",
        "alarms",
        "facts",
        "breakdowns",
        "plots",
        "seconds",
    } <= set(table)
    cell = table["rows"][1]["cells"]["recall@10"]
    assert set(cell) == {
        *("value", "users", "positives", "low", "high", "verdict"),
        *("difference", "difference_low", "difference_high", "lift", "lift_low", "lift_high"),
    }
    assert {"users", "items", "positives", "unreachable", "unreachable share", "cadence"} <= set(table["facts"])


def test_another_schema_is_refused(evaluation):
    with pytest.raises(InputError, match="another schema"):
        Evaluation.from_json(evaluation.to_json().replace(SCHEMA, "corkboard.evaluation/9"))
    with pytest.raises(InputError, match="not a stored evaluation"):
        Evaluation.from_json("{}")


def test_what_is_not_there_is_named(evaluation):
    with pytest.raises(NotFound, match="no such table"):
        evaluation.table("search")
    with pytest.raises(NotFound, match="no such row"):
        evaluation.table("retrieval").row("EASE")
    with pytest.raises(NotFound, match="no such measure"):
        evaluation.table("retrieval").cell("oracle", "recall@99")


def printed(evaluation, **options):
    from rich.console import Console

    out = io.StringIO()
    print_evaluation(evaluation, Console(file=out, width=WIDTH, highlight=False, **options))
    return out.getvalue()


def test_the_table_fits_a_hundred_columns_and_says_what_was_measured(evaluation):
    text = printed(evaluation)
    assert max(len(line) for line in text.splitlines()) <= 100
    flat = " ".join(text.split())
    for said in (
        "recall@10",
        "HIT@3 save",
        "AUC hide",
        "worth@3",
        "split abc123",
        "seed 3",
        "leaky is above oracle",
        "A warning of the whole",
        "Global split by time",
    ):
        assert said in flat
    line = next(line for line in text.splitlines() if line.startswith("oracle"))
    assert re.search(r"0\.\d{4} +\+0\.\d{4} \[\+0\.\d{4}, \+0\.\d{4}\] ▲ +\+\d+% +400 +1,200", line)


def test_the_full_column_is_the_first_that_enough_stands_behind(evaluation):
    ranking = evaluation.table("ranking")
    assert "HIT@3 save against popularity 7 d" in " ".join(printed(evaluation).split())
    few = [
        replace(row, cells={**row.cells, "HIT@3 save": replace(row.cells["HIT@3 save"], verdict="too few to tell")}) for row in ranking.rows
    ]
    text = printed(replace(evaluation, tables=[replace(ranking, rows=few)]))
    assert "HIT@3 hide against popularity 7 d" in " ".join(text.split())


def test_the_table_goes_to_standard_output(evaluation, capsys):
    evaluation.print()
    assert "recall@10" in capsys.readouterr().out


class Page(HTMLParser):
    """Collects ids, scripts, and everything that would be fetched."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.fetched, self.scripts, self._script = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids += [found["id"]] if "id" in found else []
        self.fetched += [found[name] for name in ("src", "href") if name in found] if tag in ("script", "link", "img", "iframe") else []
        self._script = tag == "script"

    def handle_data(self, data):
        if self._script:
            self.scripts.append(data)
            self._script = False


def test_the_report_is_one_file_that_fetches_nothing(evaluation, tmp_path):
    text = write_report(evaluation, tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.fetched == []
    assert len(page.scripts) == 3
    assert sum(len(script) > 1_000_000 for script in page.scripts) == 1  # plotly's, once
    figures = json.loads(page.scripts[0])
    assert set(figures) <= set(page.ids)
    assert len(figures) == len(set(page.ids)) - 1
    assert "prefers-color-scheme: dark" in text


def test_the_report_draws_intervals_breakdowns_and_curves(evaluation):
    page = Page(report_html(evaluation))
    figures = json.loads(page.scripts[0])
    bars = figures["retrieval-bars-0"]["data"][0]
    assert list(bars["y"])[::-1] == [row.name for row in evaluation.table("retrieval").rows]
    assert all(up > 0 for up in bars["error_x"]["array"])
    assert len(figures["retrieval-breakdown-0"]["data"]) == 4
    names = [plot.name for plot in evaluation.table("ranking").plots]
    assert names == ["What the position alone does (pages in random order)", "Calibration of ranker <b>"]
    assert len(figures["ranking-plot-0"]["data"]) == 2
    assert len(figures["ranking-plot-1"]["data"]) == 3  # two heads and the diagonal


def test_names_are_escaped_in_the_report(evaluation):
    text = report_html(evaluation)
    assert "<b>" not in re.sub(r"<span>.*?</span>", "", text.split('<script type="application/json"')[0])
    assert "A warning of the whole &lt;/script&gt;" in text
