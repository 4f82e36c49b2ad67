"""`corkboard experiment NAME`: published claims, measured again. One command an experiment; each writes below its own folder."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corkboard.cli.options import Json, Set

if TYPE_CHECKING:
    from corkboard.experiments.result import Evaluation

app = typer.Typer(
    no_args_is_help=True, help="Measure published claims again: on simulated worlds whose causes are known, and on public data."
)

DEFAULT_FOLDER = Path("workspace/experiments")

Folder = Annotated[
    Path, typer.Option("--workspace", "-w", help="Where figures, worlds and reports are kept; a second call goes on from there.")
]
Seeds = Annotated[int, typer.Option(min=1, help="How many seeds; at least five are needed for a verdict.")]
Quick = Annotated[bool, typer.Option("--quick", help="Tiny sizes: everything runs, no figure means anything.")]


@app.command("spine")
def spine(
    seeds: Seeds = 5,
    minutes: Annotated[float, typer.Option(min=0, help="Time budget; what does not fit is reported as not measured.")] = 60.0,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Processes of one thread each; 0 works in this one.")] = 2,
    folder: Folder = DEFAULT_FOLDER / "spine",
    quick: Quick = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """PinnerFormer and TransAct on worlds of known causes: claims of their papers, and controls with a cause switched off."""
    from corkboard.config import load
    from corkboard.experiments import spine_report
    from corkboard.experiments.spine import run_spine
    from corkboard.experiments.spine_config import SpineConfig

    base = SpineConfig.quick() if quick else SpineConfig()
    config = load(SpineConfig, overrides=overrides or (), environ={}, base=base.model_dump())
    result = run_spine(folder, config, seeds, minutes, _say, workers)
    _reported(result, spine_report, folder, as_json)


Data = Annotated[Path, typer.Option("--data", help="The folder that holds the files; nothing is downloaded, nothing is copied.")]
Minutes = Annotated[float, typer.Option(min=0, help="Time budget; what does not fit is reported as not measured.")]
Workers = Annotated[int, typer.Option(min=0, max=64, help="Processes of one thread each; 0 works in this one.")]


@app.command("ml-1m")
def ml_1m(
    data: Data,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each tower is trained with.")] = 1,
    minutes: Minutes = 60.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "ml-1m",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """MovieLens-1M, leave-one-out with all items ranked: the towers beside baselines and published figures."""
    from corkboard.config import load
    from corkboard.experiments.ml_1m import run_ml_1m
    from corkboard.experiments.real_config import MovieLensConfig

    config = load(MovieLensConfig, overrides=overrides or (), environ={}, base=MovieLensConfig().model_dump())
    found = run_ml_1m(data, folder, _say, minutes=minutes, seeds=seeds, workers=workers, config=config)
    _told(found, folder, as_json)


@app.command("grocery")
def grocery(
    data: Data,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each tower is trained with.")] = 3,
    minutes: Minutes = 60.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "grocery",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Grocery purchases by the global split in time: the towers on real data without any text, beside baselines."""
    from corkboard.config import load
    from corkboard.experiments.grocery import run_grocery
    from corkboard.experiments.real_config import GroceryConfig

    config = load(GroceryConfig, overrides=overrides or (), environ={}, base=GroceryConfig().model_dump())
    found = run_grocery(data, folder, _say, minutes=minutes, seeds=seeds, workers=workers, config=config)
    _told(found, folder, as_json)


@app.command("gowalla")
def gowalla(
    data: Data,
    minutes: Minutes = 60.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "gowalla",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Gowalla in the protocol of LightGCN: baselines, factors, walks and EASE beside published figures. EASE needs 7 GB for a while."""
    from corkboard.config import load
    from corkboard.experiments.gowalla import GowallaConfig, run_gowalla

    config = load(GowallaConfig, overrides=overrides or (), environ={}, base=GowallaConfig().model_dump())
    found = run_gowalla(data, folder, _say, minutes=minutes, workers=workers, config=config)
    _told(found, folder, as_json)


@app.command("photos")
def photos(
    data: Annotated[Path, typer.Option("--data", help="The folder that holds fashion-products, clothing-cc0 or both; nothing is copied.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each trunk is trained with.")] = 3,
    minutes: Minutes = 30.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "photos",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Real photos: pre-trained trunks against training from scratch at few and many labels, beside trivial baselines."""
    from corkboard.config import load
    from corkboard.experiments.photos import run_photos
    from corkboard.experiments.photos_config import PhotosConfig

    config = load(PhotosConfig, overrides=overrides or (), environ={}, base=PhotosConfig().model_dump())
    found = run_photos(data, folder, _say, minutes=minutes, seeds=seeds, workers=workers, config=config)
    _told(found, folder, as_json)


@app.command("fashion-search")
def fashion_search(
    data: Annotated[Path, typer.Option("--data", help="The folder that holds fashion-products, or that folder; nothing is copied.")],
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each encoder is trained with.")] = 5,
    minutes: Minutes = 30.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "fashion-search",
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Real products: titles find photos and photos titles; attributes as people type them by words, by vectors, and by both."""
    from corkboard.config import load
    from corkboard.experiments.fashion_search import run_fashion_search
    from corkboard.experiments.fashion_search_config import FashionSearchConfig

    config = load(FashionSearchConfig, overrides=overrides or (), environ={}, base=FashionSearchConfig().model_dump())
    found = run_fashion_search(data, folder, _say, minutes=minutes, seeds=seeds, workers=workers, config=config)
    _told(found, folder, as_json)


@app.command("graph")
def graph(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The folder that holds hetrec-lastfm-2k and ml-latest-small; what is not there is skipped."),
    ] = None,
    seeds: Seeds = 5,
    minutes: Minutes = 60.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "graph",
    quick: Quick = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """MultiBiSage, PinSage, Pixie and PinnerSage on worlds of known causes and on public data: claims of their papers, and controls."""
    from corkboard.config import load
    from corkboard.experiments import graph_report
    from corkboard.experiments.graph import run_graph
    from corkboard.experiments.graph_config import GraphExperimentConfig

    base = GraphExperimentConfig.quick() if quick else GraphExperimentConfig()
    config = load(GraphExperimentConfig, overrides=overrides or (), environ={}, base=base.model_dump())
    result = run_graph(folder, config, seeds, minutes, _say, workers, data)
    _reported(result, graph_report, folder, as_json)


@app.command("trunk")
def trunk(
    out: Annotated[Path, typer.Option("--out", help="The safetensors file to write; its card lies in its notes.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of products, starting weights and batches.")] = 0,
    folder: Folder = DEFAULT_FOLDER / "trunk",
    quick: Quick = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """The trunk that comes with the package: products are rendered, it learns from them, and is measured on others."""
    from corkboard.cli import printing
    from corkboard.config import load
    from corkboard.experiments.trunk import card_lines, make_trunk
    from corkboard.experiments.vision_config import VisualRetrievalConfig

    base = VisualRetrievalConfig.quick() if quick else VisualRetrievalConfig.shipped()
    config = load(VisualRetrievalConfig, overrides=overrides or (), environ={}, base=base.model_dump())
    card = make_trunk(out, folder, config, seed, _say)
    if as_json:
        printing.print_json({**card, "file": str(out)})
    else:
        print("\n".join([*card_lines(card), f"written: {out}, {out.stat().st_size:,} bytes"]))


@app.command("appearance")
def appearance(
    out: Annotated[Path, typer.Option("--out", help="The safetensors file to write; its card lies in its notes.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of products and pictures.")] = 0,
    quick: Quick = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """The reader that comes with the package: pattern, shade and style of things, and what is a collage, on rendered products."""
    from corkboard.cli import printing
    from corkboard.config import load
    from corkboard.experiments.appearance import AppearanceConfig, card_lines, make_appearance

    base = AppearanceConfig.quick() if quick else AppearanceConfig()
    card = make_appearance(out, load(AppearanceConfig, overrides=overrides or (), environ={}, base=base.model_dump()), seed, _say)
    if as_json:
        printing.print_json({**card, "file": str(out)})
    else:
        print("\n".join([*card_lines(card), f"written: {out}, {out.stat().st_size:,} bytes"]))


@app.command("detector")
def detector(
    out: Annotated[Path, typer.Option("--out", help="The safetensors file to write; its card lies in its notes.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed of products, pictures, new weights and batches.")] = 0,
    folder: Folder = DEFAULT_FOLDER / "detector",
    quick: Quick = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """The detector that comes with the package: pictures with boxes are rendered, it learns from them, and is measured on others."""
    from corkboard.cli import printing
    from corkboard.config import load
    from corkboard.experiments.detector import card_lines, make_detector
    from corkboard.experiments.detector_config import DetectorExperimentConfig

    base = DetectorExperimentConfig.quick() if quick else DetectorExperimentConfig()
    config = load(DetectorExperimentConfig, overrides=overrides or (), environ={}, base=base.model_dump())
    card = make_detector(out, folder, config, seed, _say)
    if as_json:
        printing.print_json({**card, "file": str(out)})
    else:
        print("\n".join([*card_lines(card), f"written: {out}, {out.stat().st_size:,} bytes"]))


@app.command("vision")
def vision(
    seeds: Seeds = 5,
    minutes: Minutes = 60.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "vision",
    quick: Quick = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Pictures: one embedding for all tasks, bits, domains, and trunks that learned from captions, on rendered products."""
    from corkboard.config import load
    from corkboard.experiments import vision_report
    from corkboard.experiments.vision import run_vision
    from corkboard.experiments.vision_config import VisionExperimentConfig

    base = VisionExperimentConfig.quick() if quick else VisionExperimentConfig()
    config = load(VisionExperimentConfig, overrides=overrides or (), environ={}, base=base.model_dump())
    result = run_vision(folder, config, seeds, minutes, _say, workers)
    _reported(result, vision_report, folder, as_json)


@app.command("products")
def products(
    seeds: Seeds = 5,
    minutes: Minutes = 60.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "products",
    quick: Quick = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """ItemSage and SearchSage on worlds of known causes: two kinds of queries by four actions, claims of their papers, and a control."""
    from corkboard.config import load
    from corkboard.experiments import products_report
    from corkboard.experiments.products import run_products
    from corkboard.experiments.products_config import ProductsConfig

    base = ProductsConfig.quick() if quick else ProductsConfig()
    config = load(ProductsConfig, overrides=overrides or (), environ={}, base=base.model_dump())
    result = run_products(folder, config, seeds, minutes, _say, workers)
    _reported(result, products_report, folder, as_json)


@app.command("looks")
def looks(
    seeds: Seeds = 5,
    minutes: Minutes = 60.0,
    workers: Workers = 2,
    folder: Folder = DEFAULT_FOLDER / "looks",
    quick: Quick = False,
    overrides: Set = None,
    as_json: Json = False,
) -> None:
    """Shop The Look, Complete The Look and ViT-FRCNN on rendered scenes and simulated worlds: claims of their papers."""
    from corkboard.config import load
    from corkboard.experiments import looks_report
    from corkboard.experiments.looks import run_looks
    from corkboard.experiments.looks_config import LooksConfig

    base = LooksConfig.quick() if quick else LooksConfig()
    config = load(LooksConfig, overrides=overrides or (), environ={}, base=base.model_dump())
    result = run_looks(folder, config, seeds, minutes, _say, workers)
    _reported(result, looks_report, folder, as_json)


def _told(found: Evaluation, folder: Path, as_json: bool) -> None:
    """Keep the tables beside the runs and print them; exit code 1 where a run failed."""
    from corkboard.cli import printing
    from corkboard.experiments.report import write_report

    page = write_report(found, folder / "report.html")
    stored = found.save(folder / "report.json")
    if as_json:
        printing.print_json({**found.to_dict(), "report": str(page)})
    else:
        found.print()
        print(f"report: {page}, {stored}")
    raise SystemExit(1 if found.warnings else 0)


def _reported(result: Any, module: ModuleType, folder: Path, as_json: bool) -> None:
    """Write and print the report of an experiment on worlds by its own ``module``; exit code 1 where a run failed or it was interrupted."""
    from corkboard.cli import printing

    files = module.write_reports(result, folder)
    if as_json:
        printing.print_json({**module.to_dict(result), "report": str(files["html"])})
    else:
        module.report(result).print()
        print(f"report: {files['html']}, {files['md']}, {files['json']}")
    raise SystemExit(1 if result.finished.failed or result.finished.interrupted else 0)


def _say(line: str) -> None:
    """One line of progress, beside the output."""
    print(f"  {line}", file=sys.stderr, flush=True)
