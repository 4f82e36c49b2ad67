"""The step that guesses what products do not say: category, colour and brand, from vectors that were made without them.

The vectors are those of MultiBiSage, over content vectors of the items without these fields, and those of the pictures beside them.
ItemSage's would not do: its image vectors have read the fields as well as its text has, and made without them it tells them worse than
the vectors that it starts from (see ``docs/concepts/products.md``). The head learns from every item twice, as it stands and as it would if
it had just arrived, since it serves both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from corkboard.artifacts import Artifact, EmbeddingTable
from corkboard.embeddings.attribute_config import AttributeHeadConfig
from corkboard.feed.guesses import FILLED
from corkboard.pipeline.graph_steps import SERVING
from corkboard.pipeline.steps import Made, StepInput
from corkboard.pipeline.visual_steps import visual_vectors

if TYPE_CHECKING:
    from corkboard.embeddings.attribute_head import AttributeReport
    from corkboard.lake.lake import Lake

HELD_OUT = 0.2
"""The share of items from which what they say is hidden, to measure how well it is told."""


def fill_attributes(given: StepInput) -> Made:
    """A head on everything that items say, what it fills in of products, and how well it tells what was hidden from it.

    Items that are no products teach as well as others what their titles and looks go with; they are neither filled in nor asked for where
    it is measured. A lake without products, or whose items say too little of everything, has an empty artefact: nothing is guessed.
    """
    from corkboard.embeddings.attribute_head import measure_hidden, train_attribute_head
    from corkboard.embeddings.product_inputs import lookalikes, products_of

    config: AttributeHeadConfig = given.config
    items = given.lake.items()
    products, groups = products_of(items), lookalikes(items)
    if products.is_empty():
        return Made(config={"kind": "none"})
    standing, arrived = unsaid_vectors(given.artifacts, given.lake, given.calendar.end_ms, config.sources)
    head = train_attribute_head(items, standing, config, given.seed, groups, arrived)
    if not head.known:
        return Made(config={"kind": "none"}, metrics={"products": len(products)})
    asked = items["item_id"].is_in(products["item_id"].to_list()).to_numpy()
    reports = measure_hidden(items, standing, config, given.seed, HELD_OUT, groups, asked=asked, also=arrived)
    filled = head.fill(products, standing)
    metrics = {
        "products": len(products),
        "filled": dict(filled.group_by("attribute").len().sort("attribute").iter_rows()),
        "hidden": {name: _finite(report.as_dict()) for name, report in reports.items()},
    }
    card = _card(reports, filled["attribute"].to_list(), config.min_confidence)
    return Made(head.tensors(), {FILLED: filled}, head.config, metrics, card, makes=[head.space])


def unsaid_vectors(
    artifacts: Mapping[str, Artifact], lake: Lake, now_ms: int, sources: Mapping[str, Sequence[str]], neighbours: str = SERVING
) -> tuple[EmbeddingTable, EmbeddingTable]:
    """Vectors of all items of ``lake``, made as if none of them said anything of ``sources``: as they stand, and as each would if it had
    just arrived; see :mod:`corkboard.embeddings.attribute_inputs`."""
    from corkboard.embeddings.attribute_head import unsaid
    from corkboard.embeddings.attribute_inputs import just_arrived, unsaid_table
    from corkboard.embeddings.multibisage import MultiBiSage
    from corkboard.embeddings.node_features import NodeFeatures
    from corkboard.graph.neighbour_lists import NeighbourLists
    from corkboard.pipeline.learned import content_vectors

    items, model = lake.items(), MultiBiSage.from_artifact(artifacts["multibisage"])
    content = content_vectors(artifacts["content"], unsaid(items, sources), now_ms)
    visual = visual_vectors(artifacts, lake.folder, items)
    features = NodeFeatures.of(content.ids, [content] if visual is None else [content, visual])
    lists = NeighbourLists.from_artifact(artifacts[neighbours]).in_order_of(features.item_ids)
    return unsaid_table(model, features, lists, sources), just_arrived(model, content, sources)


def _finite(facts: Mapping[str, float]) -> dict[str, float | None]:
    """As JSON can hold it: None for what was not to be measured."""
    return {name: value if math.isfinite(value) else None for name, value in facts.items()}


def _card(reports: Mapping[str, AttributeReport], filled: Sequence[str], least: float) -> str:
    rows = [
        f"| {name} | {filled.count(name)} | {report.values} | {report.examples} | {report.top1:.3f} | {report.top1_baseline:.3f} "
        f"| {report.calibration_error:.3f} | {report.coverage:.3f} | {report.precision:.3f} |"
        for name, report in reports.items()
    ]
    return "\n".join(
        [
            "# What products do not say",
            "",
            f"Where a product does not say these, they are guessed, at a confidence of {least:g} or more. How good the guesses are was",
            f"measured on values that products do say: hidden from {HELD_OUT:.0%} of the items, learned from the others, and told again.",
            "Which products lack a value is no random draw, so read this as the best case.",
            "",
            "| attribute | filled in | values | asked | likeliest is right | most usual is right | calibration error | sure | right |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )
