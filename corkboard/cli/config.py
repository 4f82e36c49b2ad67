"""`corkboard config`: every setting with its value and meaning."""

from __future__ import annotations

from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set


def config(
    path: Annotated[str, typer.Argument(help="Only settings below this path.")] = "",
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """List the settings: path, value in force, explanation."""
    from corkboard.cli import printing
    from corkboard.config import fields
    from corkboard.errors import NotFound
    from corkboard.settings import Settings, load_settings

    settings = load_settings(workspace, config_file, overrides or [])
    rows = []
    for name, _, text in fields(Settings):
        if name == path or name.startswith(f"{path}.") or not path:
            value = settings
            for part in name.split("."):
                value = getattr(value, part)
            rows.append([name, str(value), " ".join(text.split())])
    if not rows:
        raise NotFound("There is no such setting", found=path, hint="`corkboard config` lists all of them.")
    if as_json:
        printing.print_json({name: {"value": value, "meaning": text} for name, value, text in rows})
    else:
        printing.table("Settings", ["setting", "value", "meaning"], rows)
