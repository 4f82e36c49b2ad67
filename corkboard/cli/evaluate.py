"""`corkboard evaluate`: is it any good?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def evaluate(
    workspace: Folder = DEFAULT_FOLDER,
    report: Annotated[
        Path | None, typer.Option(help="Where the HTML report goes; <workspace>/reports/evaluation.html unless given.")
    ] = None,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Measure every model on the test days of the calendar, with intervals, beside trivial baselines."""
    from corkboard.cli import printing

    here = open_workspace(workspace, config_file, overrides)
    with printing.progress_bar() as progress:
        evaluation = here.evaluate(progress=progress)
    page = here.write_report(evaluation, report)
    if as_json:
        printing.print_json({**evaluation.to_dict(), "report": str(page)})
    else:
        evaluation.print()
        print(f"report: {page}")
