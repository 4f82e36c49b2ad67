"""`corkboard serve`: the page and the HTTP interface."""

from __future__ import annotations

from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Set, open_workspace


def serve(
    workspace: Folder = DEFAULT_FOLDER,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    config_file: ConfigFile = None,
    overrides: Set = None,
) -> None:
    """Serve the live release, and every better one as soon as it is promoted."""
    from corkboard.serving.run import serve as run

    settings = list(overrides or [])
    settings += [f"serving.host={host}"] if host else []
    settings += [f"serving.port={port}"] if port else []
    run(open_workspace(workspace, config_file, settings))
