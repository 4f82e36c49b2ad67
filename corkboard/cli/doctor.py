"""`corkboard doctor`: what this machine and this installation look like."""

from __future__ import annotations

from corkboard.cli.options import DEFAULT_FOLDER, Folder, Json

LIBRARIES = (
    "torch",
    "numpy",
    "scipy",
    "polars",
    "pyarrow",
    "faiss-cpu",
    "safetensors",
    "pydantic",
    "typer",
    "fastapi",
    "uvicorn",
    "orjson",
    "msgspec",
    "plotly",
)


def doctor(workspace: Folder = DEFAULT_FOLDER, as_json: Json = False) -> None:
    """Report versions, cores, speed, disk, and whether the workspace is whole. Exit code 1 when something is wrong."""
    import os
    import platform
    import shutil
    from importlib.metadata import PackageNotFoundError, version

    from corkboard import __version__
    from corkboard.artifacts import Releases
    from corkboard.cli import printing
    from corkboard.errors import CorkboardError
    from corkboard.pipeline.ledger import machine

    facts: dict[str, object] = {"corkboard": __version__, "python": platform.python_version(), "platform": platform.platform()}
    problems = []
    for library in LIBRARIES:
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            problems.append(f"{library} is not installed")
    speed = machine()
    facts |= {"cores": speed["cores"], "matrix product": f"{speed['matrix_gflop_per_s']} GFLOP/s"}
    facts["disk free"] = f"{shutil.disk_usage(workspace if workspace.exists() else '.').free / 2**30:.1f} GiB"
    facts["CORKBOARD_DATA"] = os.environ.get("CORKBOARD_DATA", "not set")
    try:
        releases = Releases(workspace).list()
        for artifact in {a.key: a for r in releases for a in r.artifacts.values()}.values():
            artifact.check()
        facts["releases"] = len(releases)
    except CorkboardError as error:
        problems.append(str(error))
    if as_json:
        printing.print_json({**facts, "problems": problems})
    else:
        printing.table("This machine", ["", ""], list(facts.items()))
        print("\n".join(problems) or "nothing is wrong")
    raise SystemExit(1 if problems else 0)
