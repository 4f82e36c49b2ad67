"""`corkboard release`: list releases, make one live, roll back."""

from __future__ import annotations

from typing import Annotated

import typer

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace

app = typer.Typer(help="List releases, make one live, check that every file is whole.", no_args_is_help=True)


@app.command("list")
def list_(workspace: Folder = DEFAULT_FOLDER, config_file: ConfigFile = None, overrides: Set = None, as_json: Json = False) -> None:
    """Every release, oldest first, and which one is live."""
    from corkboard.cli import printing

    releases = open_workspace(workspace, config_file, overrides).releases
    live = releases.current_id()
    rows = [
        {"id": r.id, "label": r.label, "live": r.id == live, "artifacts": {role: a.key for role, a in r.artifacts.items()}}
        for r in releases.list()
    ]
    if as_json:
        printing.print_json({"releases": rows})
    else:
        printing.table(
            "Releases",
            ["id", "label", "", "parts"],
            [[r["id"], r["label"], "live" if r["live"] else "", ", ".join(r["artifacts"])] for r in rows],
        )


@app.command()
def promote(
    release: Annotated[str, typer.Argument(help="The id of a release.")],
    workspace: Folder = DEFAULT_FOLDER,
    config_file: ConfigFile = None,
    overrides: Set = None,
) -> None:
    """Make a release live, also while a server runs; rolling back is promoting an older one."""
    promoted = open_workspace(workspace, config_file, overrides).releases.choose(release)
    print(f"live: {promoted.label} ({promoted.id})")


@app.command()
def verify(workspace: Folder = DEFAULT_FOLDER, config_file: ConfigFile = None, overrides: Set = None) -> None:
    """Read every file of every release and hold it against its manifest."""
    releases = open_workspace(workspace, config_file, overrides).releases.list()
    artifacts = {artifact.key: artifact for release in releases for artifact in release.artifacts.values()}
    for artifact in artifacts.values():
        artifact.check()
    print(f"{len(releases)} releases, {len(artifacts)} artefacts: whole")
