"""What a build finds in pictures, and what it does with a lake that has none, no detector, or few judgements."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest

from corkboard.artifacts import Artifact, load_artifact, write_artifact
from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder
from corkboard.errors import InputError, NotFound
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
from tests.shopping.own_detector_builders import OWN, boxed_picture, rows_of

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
    patched.setattr(look_steps, "detector_of", lambda source, artifacts: DETECTOR)
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


def given(lake: Lake, config, artifacts, earlier=()) -> SimpleNamespace:
    calendar, told = SimpleNamespace(end_ms=END), {"seed": 0, "progress": lambda *told: None}
    return SimpleNamespace(lake=lake, config=config, artifacts=artifacts, calendar=calendar, earlier=lambda: earlier, **told)


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
        look_steps.detector_of(DetectorSource(weights=str(tmp_path / "none")), built)


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


# ------------------------------------------------------------------------------------------------------- a detector of one's own


@pytest.fixture(scope="module")
def boxed(tmp_path_factory) -> Lake:
    """Sixty pictures with boxes of hats and shoes, and one without."""
    folder = tmp_path_factory.mktemp("boxed")
    store, items, boxes = PictureStore(folder), [], []
    for number in range(61):
        image, told = boxed_picture(number, 48)
        items.append(item(f"a{number}", T0, f"i{number}", images=[f"sha256:{store.put(png(image))}"]))
        rows = [] if number == 60 else rows_of(f"i{number}", None, told)
        boxes += [{"event_id": f"b{number}-{k}", "time_ms": T0, **row} for k, row in enumerate(rows)]
    return lake_of(folder, items=items, objects=boxes)


CONFIG = look_steps.DetectorStepConfig(own=OWN)


@pytest.fixture(scope="module")
def own(boxed, tmp_path_factory) -> Artifact:
    made = look_steps.learn_detector(given(boxed, CONFIG, {}))
    return write_artifact(tmp_path_factory.mktemp("own"), "detector", "1", tensors=made.tensors, config=made.config, metrics=made.metrics)


def test_a_build_finds_with_what_it_has_learned(boxed, built, own):
    assert own.metrics["AP50"] > own.metrics["AP50_mean_boxes"]
    detector = look_steps.own_detector({"detector": own})
    assert detector.class_names == ("hat", "shoe")
    assert detector.config.threshold == own.metrics["threshold"]
    found = look_steps.find_objects(given(boxed, look_steps.ObjectsStepConfig(), {"visual": built["visual"], "detector": own}))
    assert found.config["detector"] == detector.version
    (unlabelled,) = found.tables["objects"].filter(item_id="i60")["category"].to_list()
    assert unlabelled == "hat"
    assert look_steps.detector_of(DetectorSource(), {}).version != detector.version


def test_the_same_boxes_are_learned_from_once(boxed, own, tmp_path, monkeypatch):
    monkeypatch.setattr("corkboard.shopping.own_detector.learn_detector", lambda *given: pytest.fail("it has been learned"))
    later = lake_of(tmp_path / "later", items=[item("x", T0, "x")])
    made = look_steps.learn_detector(given(boxed, CONFIG, {}, [own]))
    assert (made.config, made.metrics) == (own.config, own.metrics)
    assert all(np.array_equal(made.tensors[name], own.tensors[name]) for name in own.tensors)
    assert look_steps.learn_detector(given(later, CONFIG, {}, [own])).config == {"kind": "none"}
    with pytest.raises(pytest.fail.Exception):
        look_steps.learn_detector(given(boxed, CONFIG.model_copy(update={"own": OWN.model_copy(update={"held_out": 0.3})}), {}, [own]))
    damaged = load_artifact(Path(copytree(own.path, tmp_path / "damaged")))
    (damaged.path / "tensors.safetensors").write_bytes(b"cut off")
    with pytest.raises(pytest.fail.Exception):
        look_steps.learn_detector(given(boxed, CONFIG, {}, [damaged]))


@pytest.mark.parametrize(
    "config",
    [
        CONFIG.model_copy(update={"source": DetectorSource(weights="mine.safetensors")}),
        CONFIG.model_copy(update={"own": OWN.model_copy(update={"enabled": False})}),
    ],
)
def test_nothing_is_learned_where_somebody_says_so(boxed, config):
    assert look_steps.learn_detector(given(boxed, config, {})).config == {"kind": "none"}


def test_too_few_boxes_are_told(boxed):
    made = look_steps.learn_detector(given(boxed, CONFIG.model_copy(update={"own": OWN.model_copy(update={"min_pictures": 500})}), {}))
    assert made.config["kind"] == "none"
    assert made.metrics == {"pictures": 60, "why": "fewer than 500 pictures with boxes"}
    assert look_steps.own_detector({"detector": SimpleNamespace(config=made.config)}) is None


def test_what_goes_wrong_is_said_costs_no_build_and_is_tried_again(boxed, own, tmp_path, monkeypatch):
    def refuse(*given):
        raise InputError("This trunk cannot", found="a trunk", expected="another")

    monkeypatch.setattr("corkboard.shopping.own_detector.learn_detector", refuse)
    made = look_steps.learn_detector(given(boxed, CONFIG, {}))
    assert made.config == {"kind": "none"}
    assert made.said.startswith("nothing was learned from boxes: This trunk cannot")
    assert made.metrics["why"].startswith("This trunk cannot")
    failed = write_artifact(tmp_path, "detector", "1", config=made.config, metrics=made.metrics)
    monkeypatch.undo()
    assert look_steps.learn_detector(given(boxed, CONFIG, {}, [failed])).metrics == own.metrics


def test_a_detector_learns_before_the_last_day():
    steps = {step.title: step for step in plan(load_settings()).steps}
    detector = steps["detector"]
    assert detector.cut(SimpleNamespace(end_ms=END)) == END - DAY
    assert detector.pictures
    assert "detector" in steps["objects"].needs
    assert all("detector" in stage.roles for stage in plan(load_settings()).stages if "objects" in stage.roles)
