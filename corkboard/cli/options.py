"""Options that every verb shares, and the workspace they open."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from corkboard.workspace import Workspace

Folder = Annotated[
    Path, typer.Option("--workspace", "-w", help="The folder that holds lake, artefacts, releases and store.", envvar="CORKBOARD_WORKSPACE")
]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="A settings file; <workspace>/corkboard.toml is read when there is one.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="One setting, path=value; may be repeated; strongest of all sources.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]

DEFAULT_FOLDER = Path("workspace")


def open_workspace(folder: Path, config: Path | None, overrides: list[str] | None, must_exist: bool = True) -> Workspace:
    """The workspace in ``folder`` with its settings. Raises ``NotFound`` where there is none and one is needed."""
    from corkboard.workspace import open as open_it

    return open_it(folder, config=config, overrides=overrides or [], must_exist=must_exist)
