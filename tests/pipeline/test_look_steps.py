"""What a build finds in pictures, and what it does with a lake that has none, no detector, or few judgements."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from corkboard.artifacts import Artifact, write_artifact
from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder
from corkboard.errors import NotFound
from corkboard.lake.lake import Lake
from corkboard.lake.pictures.store import PictureStore
from corkboard.pipeline import look_steps
from corkboard.pipeline.plan import plan
from corkboard.retrieval.item_stats import ItemStats
from corkboard.settings import load_settings
from corkboard.shopping.config import GateConfig, ShopTheLookConfig
from corkboard.shopping.matcher import DEFAULT_WEIGHTS, LookMatcher
from corkboard.shopping.shop_the_look import shop_the_look
from corkboard.vision.config import DetectorSource, TrunkConfig
from corkboard.vision.trunk import build_trunk
from tests.lake.rows import DAY, T0, action, item, lake_of
from tests.shopping.look_builders import ToldDetector, plain, png

LEFT, RIGHT = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)
DETECTOR = ToldDetector({(20, 40): [(LEFT, (1.0, 0.0, 0.0), 0.9), (RIGHT, (0.0, 1.0, 0.0), 0.8)]})
COLOURS = [(40 * red, 40 * green, 120) for red in range(6) for green in range(5)]
SHOP = ShopTheLookConfig(gate=GateConfig(min_judged=200))
END = T0 + 3 * DAY


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Lake:
    """Thirty products, hats and shoes by turns; ten scenes of two of them; and votes on 300 pairs, one of which came on the last day."""
    folder = tmp_path_factory.mktemp("lake")
    store = PictureStore(folder)
    sold = [f"sha256:{store.put(png(plain(colour)))}" for colour in COLOURS]
    halves = [(COLOURS[2 * k], COLOURS[2 * k + 1]) for k in range(10)]
    scenes = [store.put(png(np.concatenate([plain(left), plain(right)], axis=1))) for left, right in halves]
    price = {"price_minor": 100, "currency": "EUR", "kind": "product"}
    rows = [item(f"a{k}", T0, f"p{k:02d}", images=[image], category=("hat", "shoe")[k % 2], **price) for k, image in enumerate(sold)]
    rows += [item(f"b{k}", T0, f"s{k}", images=[f"sha256:{name}"]) for k, name in enumerate(scenes)]
    votes = [
        {
            "event_id": f"v{scene}-{k}",
            "time_ms": T0 + DAY,
            "judge_id": "ann",
            "query_image": f"sha256:{scenes[scene]}",
            "query_box": list(LEFT),
            "item_id": f"p{k:02d}",
            "grade": 3 if k == 2 * scene else 0,
            "gold": False,
        }
        for scene in range(10)
        for k in range(30)
    ]
    votes[-1]["time_ms"] = END - 1
    strange = {**votes[0], "event_id": "v", "item_id": "nobody"}
    return lake_of(folder, items=rows, judgements=[*votes, strange], actions=[action("x", T0, "save", "p00"), action("y", END - 1)])


@pytest.fixture(scope="module")
def built(lake, tmp_path_factory) -> dict[str, Artifact]:
    """The artefacts of all three steps, and those that they read."""
    patched = pytest.MonkeyPatch()
    patched.setattr(look_steps, "detector_of", lambda source: DETECTOR)
    root, draw = tmp_path_factory.mktemp("artifacts"), np.random.default_rng(0)
    trunk = build_trunk(TrunkConfig(side=16, width=0.5), 0)
    outputs = {f"output{place}": draw.normal(size=(trunk.dim, width)) for place, width in enumerate((16, 32))}
    encoder = VisualEncoder(VisualConfig(dim=16, code_bits=32), trunk, outputs)
    stats = ItemStats.build(lake.actions(), lake.shown(), lake.items()["item_id"].to_list(), END)
    made = {
        "visual": write_artifact(
            root, "visual", "1", tensors=encoder.tensors(), config=encoder.config, makes=[encoder.space, encoder.code_space]
        ),
        "stats": write_artifact(root, "stats", "1", tensors=stats.tensors(), tables=stats.tables(), config=stats.config),
    }
    steps = {
        "objects": (look_steps.find_objects, look_steps.ObjectsStepConfig(), lake),
        "look_index": (look_steps.index_looks, None, lake),
        "look_matcher": (look_steps.fit_matcher, SHOP, lake.until(END - DAY)),
    }
    for name, (run, config, seen) in steps.items():
        found = run(given(seen, config, made))
        parts = {part: getattr(found, part) for part in ("tensors", "tables", "config", "metrics", "makes", "requires")}
        made[name] = write_artifact(root, name, "1", **parts)
    patched.undo()
    return made


def given(lake: Lake, config, artifacts) -> SimpleNamespace:
    calendar = SimpleNamespace(end_ms=END)
    return SimpleNamespace(lake=lake, config=config, artifacts=artifacts, seed=0, calendar=calendar, progress=lambda *told: None)


def test_a_lake_is_looked_into(built):
    assert built["objects"].metrics == {"objects": 50, "pictures": 40, "sources": {"detector": 20, "whole picture": 30}}
    assert built["objects"].config["detector"] == DETECTOR.version
    assert built["look_index"].metrics == {"products": 30, "categories": {"hat": 15, "shoe": 15}, "uncategorised": 0}
    assert set(built["objects"].requires) == set(built["visual"].makes)


def test_what_was_judged_before_the_last_day_is_learned_from(built):
    matcher = LookMatcher.from_artifact(built["look_matcher"])
    assert built["look_matcher"].metrics == {"pairs": 299, "judged": 299}
    assert not np.allclose(matcher.weights, DEFAULT_WEIGHTS)
    assert matcher.gate.judged.tolist() == [150, 149, 0]


def test_a_release_shops_a_look(built):
    objects, index = look_steps.found_objects(built), look_steps.look_index(built)
    matcher = LookMatcher.from_artifact(built["look_matcher"])
    scene = objects.of_item("s3")
    assert scene.table["category"].to_list() == ["hat", "shoe"]
    look = shop_the_look(scene, index, matcher, np.arange(40) < 30, config=ShopTheLookConfig(duplicate=1.0))
    assert look.shelves
    assert [index.ids[np.flatnonzero(index.rows == shelf.rows[0])[0]] for shelf in look.shelves] == [
        ("p06", "p07")[shelf.object] for shelf in look.shelves
    ]


def test_without_pictures_or_a_detector_artefacts_are_empty(tmp_path, lake, built, monkeypatch):
    nothing = write_artifact(tmp_path, "none", "1", config={"kind": "none"})
    config = look_steps.ObjectsStepConfig()
    runs = {look_steps.find_objects: config, look_steps.index_looks: None, look_steps.fit_matcher: SHOP}
    for run, settings in runs.items():
        made = run(given(Lake(tmp_path / "none"), settings, dict.fromkeys(("visual", "objects", "look_index"), nothing)))
        assert (dict(made.tensors), made.config) == ({}, {"kind": "none"})
    monkeypatch.setattr(look_steps, "built_in_file", lambda: tmp_path / "none.safetensors")
    assert look_steps.find_objects(given(lake, config, built)).config == {"kind": "none"}
    assert look_steps.weights_digest(DetectorSource()) == ""
    with pytest.raises(NotFound):
        look_steps.detector_of(DetectorSource(weights=str(tmp_path / "none")))


def test_a_lake_without_products_has_no_index(tmp_path, built):
    objects = look_steps.found_objects(built)
    scenes = objects.take(np.flatnonzero(~objects.table["sold"].to_numpy()))
    written = write_artifact(tmp_path, "objects", "1", tensors=scenes.tensors(), tables=scenes.tables(), config=scenes.config)
    assert look_steps.index_looks(given(Lake(tmp_path / "none"), None, {"objects": written})).config == {"kind": "none"}


def test_too_few_votes_leave_the_gate_to_the_products(lake, built):
    made = look_steps.fit_matcher(given(lake.until(T0 + DAY), SHOP, built))
    assert made.metrics == {"pairs": 0, "judged": 0}
    np.testing.assert_array_equal(made.tensors["weights"], DEFAULT_WEIGHTS)


def test_other_weights_are_another_detector(tmp_path):
    file = tmp_path / "detector.safetensors"
    digests = set()
    for content in (b"one", b"two"):
        file.write_bytes(content)
        digests.add(look_steps.weights_digest(DetectorSource(weights=str(file))))
    assert len(digests) == 2
    steps = {step.title: step for step in plan(load_settings(overrides=[f"vision.detector.weights={file}"])).steps}
    assert steps["objects"].config.weights in digests
    assert {"corkboard.shopping.objects", "corkboard.vision"} <= set(steps["objects"].code)
    assert all(steps[name].pictures for name in ("objects", "look_matcher"))
