"""`corkboard demo`: the whole way on the built-in world, with a page that improves while it is built."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from corkboard.cli.options import ConfigFile, Json, Set

if TYPE_CHECKING:
    from corkboard.artifacts import Release


class Train(StrEnum):
    """What a demo learns of pictures."""

    HEADS = "heads"
    ALL = "all"


def demo(
    workspace: Annotated[Path, typer.Option("--workspace", "-w", help="Where the demo lives.")] = Path("workspace/demo"),
    port: Annotated[int, typer.Option(help="The page's port.")] = 8000,
    serve: Annotated[bool, typer.Option("--serve/--no-serve", help="Serve the page while building and afterwards.")] = True,
    config_file: ConfigFile = None,
    overrides: Set = None,
    train: Annotated[
        Train, typer.Option(help="all: the network that reads pictures is trained, too, instead of the one that ships.")
    ] = Train.HEADS,
    as_json: Json = False,
) -> None:
    """Make the world, build with progress, print the evaluation, serve the page."""
    from corkboard.cli import printing
    from corkboard.pipeline.ledger import Ledger
    from corkboard.workspace import open_demo

    settings = [f"serving.port={port}", *(overrides or [])]
    missed = []
    if train is Train.ALL:
        weights = workspace / "trunk.safetensors"
        missed = _train_trunk(weights, workspace / "trunk")
        settings.append(f"vision.trunk.weights={weights}")
    here = open_demo(workspace, config_file, settings)
    ledger, server = Ledger(), _Server(workspace, config_file, settings) if serve else None

    def announce(label: str, release: Release) -> None:
        if not as_json:
            print(f"live: {label} ({release.id}), after {ledger.wall_s:.0f} s", flush=True)
        if server:
            server.start(here.settings.serving.host, port)

    try:
        with printing.progress_bar() as progress:
            with ledger.time("world and ingestion"):
                here.simulate()
            here.build(progress=progress, ledger=ledger, announce=announce)
            with ledger.time("evaluation"):
                evaluation = here.evaluate(progress=progress)
        page = here.write_report(evaluation)
        if as_json:
            printing.print_json({**evaluation.to_dict(), "ledger": ledger.to_dict(), "report": str(page)})
        else:
            evaluation.print()
            printing.print_ledger(ledger)
            print(f"report: {page}")
        if server:
            print(f"\nThe page is at {server.url} (Ctrl-C ends it)", flush=True)
            server.wait()
    finally:
        if server:
            server.stop()
    if missed:
        raise typer.Exit(1)


def _train_trunk(weights: Path, folder: Path) -> list[str]:
    """Train the trunk anew, as the one that ships was; returns what fell out of the intervals on the card of that one."""
    from corkboard.experiments.trunk import make_trunk, outside
    from corkboard.experiments.vision_config import VisualRetrievalConfig
    from corkboard.vision.trunk import built_in_file, trunk_notes

    def say(line: str) -> None:
        print(f"  {line}", file=sys.stderr, flush=True)

    card = trunk_notes(built_in_file())
    made = make_trunk(weights, folder, VisualRetrievalConfig.shipped(), card["seed"], say)
    missed = outside(made, card)
    for line in missed or ["the trunk trained anew is within the intervals on the card of the one that ships"]:
        say(line)
    return missed


class _Server:
    """`corkboard serve` in a process of its own, so that building never slows a request down more than the machine must."""

    def __init__(self, workspace: Path, config_file: Path | None, settings: list[str]):
        self.command = [sys.executable, "-m", "corkboard", "serve", "--workspace", str(workspace)]
        self.command += ["--config", str(config_file)] if config_file else []
        self.command += [argument for setting in settings for argument in ("--set", setting)]
        self.process: subprocess.Popen | None = None
        self.url = ""

    def start(self, host: str, port: int) -> None:
        if self.process is None:
            self.url = f"http://{host}:{port}"
            self.process = subprocess.Popen(self.command)
            print(f"the page opens at {self.url} and moves to each better release as it is built", flush=True)

    def wait(self) -> None:
        with suppress(KeyboardInterrupt):
            if self.process and self.process.wait():
                raise SystemExit(f"the server ended with code {self.process.returncode}")

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=10)
