"""`corkboard simulate`: the built-in world, as files or straight into a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def simulate(
    workspace: Folder = DEFAULT_FOLDER,
    out: Annotated[Path | None, typer.Option(help="Write the tables as Parquet files here instead of ingesting them.")] = None,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Make the simulated world (its size and its mechanisms are settings: `corkboard config world`)."""
    from corkboard.cli import printing

    here = open_workspace(workspace, config_file, overrides, must_exist=False)
    counts = here.simulate(out)
    if as_json:
        printing.print_json(counts)
    else:
        printing.table("The world", ["table", "rows"], list(counts.items()))
