"""`corkboard rescore`: are the numbers that pages were ranked by the numbers that training would see?"""

from __future__ import annotations

from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def rescore(
    workspace: Folder = DEFAULT_FOLDER,
    days: Annotated[int, typer.Option(help="Pages of that many days, up to the last page that was served.", min=1)] = 7,
    pages: Annotated[int, typer.Option(help="Most pages; where there are more, these are drawn evenly.", min=1)] = 5_000,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Compute served pages again from the lake and compare features, sequence and head probabilities with the log.

    Exits with 1 where something differs beyond rounding and no cause explains it.
    """
    from corkboard.cli import printing

    with printing.progress_bar() as progress:
        found = open_workspace(workspace, config_file, overrides).rescore(days, pages, progress)
    if as_json:
        printing.print_json(found.to_dict())
    else:
        columns = ["", "", "largest difference", "mean difference", "pages that differ", "unexplained"]
        rows = [
            [
                part["kind"],
                part["name"],
                *(f"{part[key]:.2g}" for key in ("max", "mean")),
                *(f"{part[key]:.2%}" for key in ("pages", "unexplained")),
            ]
            for part in found.columns
        ]
        printing.table(f"{found.pages:,} pages of {found.days[0]} to {found.days[1]}, computed again", columns, rows)
        for line in found.sentences():
            print(line)
    if not found.passed:
        raise typer.Exit(1)
