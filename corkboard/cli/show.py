"""`corkboard show THING`: a user, an item, a release or the lake."""

from __future__ import annotations

from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def show(
    thing: Annotated[str, typer.Argument(help="lake, calendar, releases, or the id of a user, an item or a release.")],
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Show what is known of a thing."""
    from corkboard.cli import printing

    facts = open_workspace(workspace, config_file, overrides).show(thing)
    if as_json:
        printing.print_json(facts)
    else:
        printing.table(thing, ["", ""], [[name, value] for name, value in facts.items()])
