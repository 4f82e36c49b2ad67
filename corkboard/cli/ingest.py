"""`corkboard ingest`: files of any known form into the lake, and the pictures that items name by address."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def ingest(
    path: Annotated[
        Path | None,
        typer.Argument(help="A file or a folder: JSONL, CSV, Parquet (plain or .gz), pictures with a table, or a known data set."),
    ] = None,
    workspace: Folder = DEFAULT_FOLDER,
    table: Annotated[str | None, typer.Option(help="The table it belongs to; guessed from its columns unless given.")] = None,
    mapping: Annotated[list[str] | None, typer.Option("--map", help="ours=theirs, or ours==constant; may be repeated.")] = None,
    importer: Annotated[str | None, typer.Option("--as", help="The outside format, where it is not recognised by itself.")] = None,
    from_store: Annotated[bool, typer.Option("--from-store", help="Move the live events of the online store into the lake.")] = False,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Bring events and tables into the lake. Bad rows are listed and kept beside; the same event counts once. Then fetch pictures."""
    from corkboard.cli import printing
    from corkboard.errors import InputError
    from corkboard.lake.pictures import FetchReport, fetch_pictures

    if (path is None) == (not from_store):
        raise InputError("`corkboard ingest` needs a path, or --from-store")
    here = open_workspace(workspace, config_file, overrides, must_exist=from_store)
    with printing.progress_bar() as progress:
        report = (
            here.ingest_store()
            if path is None
            else here.ingest(path, table=table, map=_mapping(mapping or []), importer=importer, progress=progress)
        )
        limits = here.settings.lake.pictures
        fetched = fetch_pictures(here.folder / "lake", limits, progress) if limits.fetch else FetchReport()
    if as_json:
        printing.print_json({**report.to_dict(), "fetched": fetched.to_dict()})
    else:
        print("\n".join([report.render()] + [fetched.render()] * fetched.happened))


def _mapping(pairs: list[str]) -> dict[str, str]:
    from corkboard.errors import InputError

    columns = {}
    for pair in pairs:
        ours, separator, theirs = pair.partition("=")
        if not (ours and separator and theirs):
            raise InputError("A mapping has two sides", found=pair, expected="ours=theirs")
        columns[ours] = theirs
    return columns
