"""A workspace whose live release shops looks: hats and shoes of plain colours, scenes of one of each, and names that strangers gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from corkboard.artifacts import write_artifact
from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder
from corkboard.lake.pictures.store import PictureStore
from corkboard.pipeline import look_steps
from corkboard.retrieval.item_stats import ItemStats
from corkboard.settings import load_settings
from corkboard.vision.config import TrunkConfig
from corkboard.vision.trunk import build_trunk
from corkboard.workspace import Workspace
from tests.lake.rows import DAY, T0, action, item, lake_of
from tests.pipeline.test_look_steps import COLOURS, DETECTOR, END, SHOP, given
from tests.shopping.look_builders import plain, png

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'[/b]"
"""A title as somebody might give it who means harm."""
PRODUCTS, SCENES = 24, 8


def looks_workspace(folder: Path) -> Workspace:
    """24 products, p00 a hat, p01 a shoe and so on by turns, and 8 scenes; scene k shows p(2k) on its left and p(2k + 1) on its right."""
    lake = lake_of(folder / "lake", items=_items(folder / "lake"), actions=[action("x", T0, "save", "p00"), action("y", END - 1)])
    root, draw = folder / "artifacts", np.random.default_rng(0)
    trunk = build_trunk(TrunkConfig(side=16, width=0.5), 0)
    outputs = {f"output{place}": draw.normal(size=(trunk.dim, width)) for place, width in enumerate((16, 32))}
    encoder = VisualEncoder(VisualConfig(dim=16, code_bits=32), trunk, outputs)
    stats = ItemStats.build(lake.actions(), lake.shown(), lake.items()["item_id"].to_list(), END)
    spaces = [encoder.space, encoder.code_space]
    made = {
        "visual": write_artifact(root, "visual", "1", tensors=encoder.tensors(), config=encoder.config, makes=spaces),
        "stats": write_artifact(root, "stats", "1", tensors=stats.tensors(), tables=stats.tables(), config=stats.config),
    }
    steps = {
        "objects": (look_steps.find_objects, look_steps.ObjectsStepConfig(), lake),
        "look_index": (look_steps.index_looks, None, lake),
        "look_matcher": (look_steps.fit_matcher, SHOP, lake.until(END - DAY)),
    }
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(look_steps, "detector_of", lambda source, artifacts: DETECTOR)
        for name, (run, config, seen) in steps.items():
            found = run(given(seen, config, made))
            parts = {part: getattr(found, part) for part in ("tensors", "tables", "config", "metrics", "makes", "requires")}
            made[name] = write_artifact(root, name, "1", **parts)
    workspace = Workspace(folder, load_settings(folder, environ={}))
    workspace.releases.promote(workspace.releases.write("looks", made).id)
    return workspace


def _items(lake: Path) -> list[dict]:
    store = PictureStore(lake)
    sold = [f"sha256:{store.put(png(plain(colour)))}" for colour in COLOURS[:PRODUCTS]]
    pairs = [(COLOURS[2 * k], COLOURS[2 * k + 1]) for k in range(SCENES)]
    scenes = [store.put(png(np.concatenate([plain(left), plain(right)], axis=1))) for left, right in pairs]
    known = {"price_minor": 100, "currency": "EUR", "kind": "product", "title": HOSTILE}
    rows = [item(f"a{k}", T0, f"p{k:02d}", images=[image], category=("hat", "shoe")[k % 2], **known) for k, image in enumerate(sold)]
    return rows + [item(f"b{k}", T0, f"s{k}", images=[f"sha256:{name}"]) for k, name in enumerate(scenes)]
