"""`corkboard build`: rebuild what is stale, and nothing else."""

from __future__ import annotations

from corkboard.cli.options import DEFAULT_FOLDER, ConfigFile, Folder, Json, Set, open_workspace


def build(workspace: Folder = DEFAULT_FOLDER, config_file: ConfigFile = None, overrides: Set = None, as_json: Json = False) -> None:
    """Move live events into the lake, rebuild what is stale, and promote every release that passes its gates."""
    from corkboard.cli import printing
    from corkboard.pipeline.ledger import Ledger

    here = open_workspace(workspace, config_file, overrides)
    ledger = Ledger()
    with printing.progress_bar() as progress:
        report = here.build(
            progress=progress, ledger=ledger, announce=None if as_json else lambda label, release: print(f"live: {label} ({release.id})")
        )
    if as_json:
        printing.print_json({**report.to_dict(), "ledger": ledger.to_dict()})
    else:
        printing.print_ledger(ledger)
        print(f"made {len(report.made)}, still good {len(report.kept)}, live release {report.live}")
        for step, said in report.said.items():
            print(f"{step}: {said}")
        for label, why in report.skipped.items():
            print(f"left out: {label}: {why}")
        for refused in report.refused:
            print(f"not promoted: {refused['label']}: {refused['gates']}")
    raise SystemExit(1 if report.refused else 0)
