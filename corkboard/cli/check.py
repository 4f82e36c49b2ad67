"""`corkboard check`: look at an unknown file before it is ingested, or at the whole of a workspace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from corkboard.cli.options import Json


def check(path: Annotated[Path, typer.Argument(help="A file or folder to look at.")], as_json: Json = False) -> None:
    """Say what a file is, how it would map to our tables, and what will and won't work with it."""
    from corkboard.cli import printing
    from corkboard.lake.check import look

    report = look(path)
    printing.print_json(report.to_dict()) if as_json else report.render()
