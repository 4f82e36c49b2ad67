"""How well is told what products do not say, and from which vectors?

    python benchmarks/attributes.py --json
    python benchmarks/attributes.py --first 101 --worlds 1          one world of another seed

Each seed is a world of its own, built as far as the vectors need it; about five minutes a world on two cores, kept in ``--folder``. From a
fifth of the products that say an attribute it is hidden, together with what looks the same; it is learned from all other items, and told
again. ``top1``: the likeliest value is the hidden one; ``usual``: the most usual value is; ``ece``: the gap between how sure a guess is and
how often it is right; ``coverage``: what is filled in at 0.8 or surer; ``precision``: what of that is right. Figures are means over worlds
and draws. What products say of their brand is itself wrong for some, so that no brand is told always.

All vectors but those of ``itemsage_read`` are made without what is filled: ``build`` (those that the build fills from: the graph's and the
picture's), ``live`` (the same head on a product that just arrived: its content alone), ``graph``, ``content``, ``pictures`` and
``itemsage``. ``itemsage_read`` is ItemSage as it serves: it has read what it is asked for, as no product has that does not say it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from harness import OUT, arguments, finish, say

from corkboard.artifacts import EmbeddingTable
from corkboard.embeddings.attribute_head import AttributeReport, measure_hidden, unsaid
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.product_images import product_images
from corkboard.embeddings.product_inputs import ProductInputs, lookalikes, products_of
from corkboard.lake.pictures.reading import Pictures
from corkboard.pipeline.attribute_steps import unsaid_vectors
from corkboard.pipeline.graph_steps import SERVING
from corkboard.pipeline.learned import content_vectors
from corkboard.pipeline.product_steps import ITEMSAGE, itemsage, product_vectors
from corkboard.pipeline.visual_steps import VISUAL, visual_encoder, visual_vectors
from corkboard.workspace import Workspace, open_demo

HIDDEN = 0.2


def main() -> None:
    options = arguments(__doc__, first=1000, worlds=3, items=3_000, users=1_500, draws=3, folder=str(OUT / "attributes"))
    found: dict[str, list[float]] = defaultdict(list)
    for seed in range(options.first, options.first + options.worlds):
        overrides = [f"seed={seed}", f"world.seed={seed}", f"world.items={options.items}", f"world.users={options.users}"]
        folder = Path(options.folder) / f"{seed}-{options.items}-{options.users}"
        for name, value in measured(open_demo(folder, overrides=overrides), options.draws):
            found[name].append(value)
    figures = {name: float(np.nanmean(values)) if np.isfinite(values).any() else None for name, values in sorted(found.items())}
    finish({"worlds": options.worlds, "items": options.items} | figures, options.json)


def measured(workspace: Workspace, draws: int) -> Iterator[tuple[str, float]]:
    """(figure, value) of one world, a draw of what is hidden after the other."""
    say(f"making {workspace.folder.name}")
    workspace.simulate()
    builder = workspace.builder()
    artifacts = {name: builder.artifact(name) for name in ("content", VISUAL, SERVING, "multibisage", ITEMSAGE)}
    lake, now_ms, config = workspace.lake(), workspace.calendar().end_ms, workspace.settings.embeddings.attributes
    items = lake.items()
    groups, asked = lookalikes(items), items["item_id"].is_in(products_of(items)["item_id"].to_list()).to_numpy()
    blank = unsaid(items, config.sources)
    standing, arrived = unsaid_vectors(artifacts, lake, now_ms, config.sources)
    content, pictures = content_vectors(artifacts["content"], blank, now_ms), visual_vectors(artifacts, lake.folder, items)
    read = product_vectors(artifacts, lake, now_ms, SERVING)
    model, encoder = MultiBiSage.from_artifact(artifacts["multibisage"]), itemsage(artifacts)
    graph = EmbeddingTable(standing.ids, standing.vectors[:, : model.dim], model.space)
    tables = {"graph": graph, "content": content}
    if pictures is not None:
        tables["pictures"] = pictures
    if encoder is not None and read is not None:
        images = product_images(products_of(items), graph, model, content, visual_encoder(artifacts), Pictures(lake.folder))
        tables |= {"itemsage_read": read, "itemsage": encoder.table(ProductInputs.of(products_of(blank), images))}
    for draw in range(draws):
        for name, table in tables.items():
            yield from figures_of(name, measure_hidden(items, table, config, draw, HIDDEN, groups, asked=asked))
        for name, (told, other) in {"build": (standing, arrived), "live": (arrived, standing)}.items():
            yield from figures_of(name, measure_hidden(items, told, config, draw, HIDDEN, groups, asked=asked, also=other))


def figures_of(vectors: str, reports: dict[str, AttributeReport]) -> Iterator[tuple[str, float]]:
    """The figures of each attribute under flat names."""
    for name, report in reports.items():
        told = {"top1": report.top1, "ece": report.calibration_error, "coverage": report.coverage, "precision": report.precision}
        yield from ((f"{name}_{vectors}_{figure}", value) for figure, value in told.items())
        if vectors == "build":
            yield f"{name}_usual", report.top1_baseline


if __name__ == "__main__":
    main()
