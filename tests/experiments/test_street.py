"""Real photos as arrays with boxes, their classes and split; detectors compared, tiny; and the real sets where they are there."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from corkboard.errors import InputError, NotFound
from corkboard.experiments import detection
from corkboard.experiments.detection import AP50, BEST, GUESS, RENDERED, STREET, VARIANTS, Plan, run_detection, settings_of, summary
from corkboard.experiments.detection_config import FIRST_SEED, DetectionConfig
from corkboard.experiments.street import part_of, read_coco, read_street, run_street
from corkboard.experiments.street_config import GARMENTS, LEFT_OUT, StreetConfig
from corkboard.lake.importers import load_outside
from corkboard.vision.images import in_square

CONFIG = StreetConfig()


def photo(colour: int, width: int = 32, height: int = 48) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), colour, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def tarred(folder: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(folder / "images.tar", "w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twenty-four photos of two garments each, in the form of the real set."""
    folder = tmp_path / "data" / "clothing-coparsing"
    folder.mkdir(parents=True)
    names = [f"{n:04}.png" for n in range(24)]
    tarred(folder, {name: photo(10 * n) for n, name in enumerate(names)})
    rows = [
        "file,label,x0,y0,x1,y1,area",
        *(f"{n},jeans,0.25,0.5,0.75,1,.2\n{n},boots,0.25,0.75,0.75,1,.1\n{n},hair,0,0,1,.2,.1" for n in names),
    ]
    (folder / "boxes_merged.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    return folder.parent


# --------------------------------------------------------------------------------------------------------------- the data


def test_a_label_is_in_one_class_or_left_out_for_one_reason() -> None:
    labels = [label for group in GARMENTS for label in group.labels] + [label for few in LEFT_OUT.values() for label in few]
    assert len(labels) == len(set(labels))
    assert 8 <= len(GARMENTS) <= 12
    assert all(group.why for group in GARMENTS)


def test_photos_are_whole_in_a_white_square_with_boxes_in_its_px(data: Path) -> None:
    street = read_street(data / "clothing-coparsing", 48, CONFIG)
    train = street["train"]
    assert train.images.shape[1:] == (48, 48, 3)
    # 32 x 48 fits as it is, with 8 px of white on either side
    assert (train.images[0, :, :8] == 255).all()
    assert (train.images[0, :, 8:40] == train.images[0, 0, 8]).all()
    names = [street.class_names[kind] for kind in train.classes[0]]
    assert names == ["trousers", "shoes"]  # and no hair
    np.testing.assert_allclose(train.boxes[0], [[16, 24, 32, 48], [16, 36, 32, 48]])
    np.testing.assert_allclose(train.truth()[0][0][0], [1 / 3, 1 / 2, 2 / 3, 1])


def test_parts_share_no_photo_and_depend_on_the_name_alone(data: Path) -> None:
    street = read_street(data / "clothing-coparsing", 32, CONFIG)
    names = [name for part in street.names.values() for name in part]
    assert len(names) == len(set(names)) == 24
    assert all(part_of(name, CONFIG) == part for part, some in street.names.items() for name in some)
    assert part_of("x/0003.png", CONFIG) == part_of("0003.png", CONFIG)
    shares = [part_of(f"{n}.jpg", CONFIG) for n in range(4000)]
    assert abs(shares.count("test") / 4000 - 0.25) < 0.03
    assert abs(shares.count("valid") / 4000 - 0.1) < 0.02
    other = read_street(data / "clothing-coparsing", 32, StreetConfig(test_share=0.5))
    assert other.split_hash != street.split_hash == read_street(data / "clothing-coparsing", 32, CONFIG).split_hash


def test_a_box_lies_where_the_picture_is_put() -> None:
    # 100 x 50 in 64 px: 64 x 32, 16 px from the top
    np.testing.assert_allclose(in_square(np.float32([[0, 0, 1, 1], [0.5, 0.5, 1, 1]]), (50, 100), 64), [[0, 16, 64, 48], [32, 32, 64, 48]])


def test_what_is_missing_is_said(data: Path, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="data is not there"):
        read_street(tmp_path, 32, CONFIG)
    with pytest.raises(InputError, match="too few pictures"):
        read_street(data / "clothing-coparsing", 32, StreetConfig(test_share=1e-9))
    with pytest.raises(ValueError, match="no photos are left"):
        StreetConfig(test_share=0.9, valid_share=0.1)


# ---------------------------------------------------------------------------------------------------------- the comparison


def test_every_kind_of_detector_runs_and_is_measured_once(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [one for one in VARIANTS if one.name in (BEST.name, "CNN frcnn, scratch", "ViT 8 frcnn, pre-trained")]
    monkeypatch.setattr(detection, "VARIANTS", few)
    config, said = DetectionConfig.quick(), []
    result = run_detection(data, tmp_path / "runs", config, 1, 10.0, said.append, workers=0)
    assert result.finished.failed == {}
    assert result.finished.made >= 2 * (len(few) + 1)
    for name in (RENDERED, STREET):
        for variant in (GUESS, *(one.name for one in few)):
            assert 0 <= result.figures(name, variant, FIRST_SEED)[AP50] <= 1, (name, variant)
    told = summary(result)
    assert told["coco128_ap50"] == "not measured"  # there is none in the folder
    assert isinstance(told["rendered_ap50"], float)
    assert told["rendered_ap50"] == told["rendered_ap50_cnn_centre_pretrained"]
    assert told["street_ap50_baseline"] > 0.9  # all garments of these photos have one place
    assert run_detection(data, tmp_path / "runs", config, 1, 10.0, said.append, workers=0).finished.made == 0


def test_without_data_only_rendered_scenes_are_planned(tmp_path: Path) -> None:
    plan = Plan(None, tmp_path, DetectionConfig.quick(), detection.SETS)
    assert {run.world for job in plan.jobs([1, 2]) for run in job.runs} == {RENDERED}


def test_the_default_detector_of_every_seed_comes_first(data: Path, tmp_path: Path) -> None:
    jobs = Plan(data, tmp_path, DetectionConfig(), detection.SETS).jobs([1, 2])
    first = [(run.world, run.variant, run.seed) for job in jobs[:4] for run in job.runs]
    assert {(name, BEST.name, seed) for name in (RENDERED, STREET) for seed in (1, 2)} <= set(first)
    assert all(run.variant not in (BEST.name, GUESS) for job in jobs[4:] for run in job.runs)


def test_a_run_depends_on_what_its_figures_depend_on(tmp_path: Path) -> None:
    def configs(config: DetectionConfig) -> dict[str, object]:
        plan = Plan(None, tmp_path, config, (RENDERED,))
        return {run.variant: run.config for job in plan.jobs([1]) for run in job.runs}

    plain = configs(DetectionConfig())
    longer = configs(DetectionConfig(steps={"rendered": 7}))
    others = configs(DetectionConfig(rendered={"test": 7}))
    assert plain[GUESS] == longer[GUESS]
    assert plain[BEST.name] != longer[BEST.name]
    assert plain[GUESS] != others[GUESS]


def test_each_variant_has_its_own_settings() -> None:
    settings = {one.name: settings_of(DetectionConfig(), one, 100) for one in VARIANTS}
    assert settings["CNN centre, scratch"].head == "centre"
    assert {one.head for name, one in settings.items() if "frcnn" in name} == {"frcnn"}
    assert settings["ViT 16 frcnn, scratch"].trunk.patch == 16
    assert settings["ViT 8 frcnn, pre-trained"].trunk.patch == 8
    assert {one.training.steps for one in settings.values()} == {100}


def test_rendered_scenes_are_of_other_products_on_other_grounds() -> None:
    config = DetectionConfig.quick()
    one = detection.rendered(config.rendered, 64, 101)
    assert len(one.learned.images) == 6
    assert {name: len(part.images) for name, part in one.asked.items()} == {AP50: 5, detection.SEEN: 5}
    again = detection.rendered(config.rendered, 64, 101)
    assert (one.asked[AP50].images == again.asked[AP50].images).all()
    assert (one.asked[AP50].images != detection.rendered(config.rendered, 64, 102).asked[AP50].images).any()


# ------------------------------------------------------------------------------------------------------------------- real


@pytest.fixture
def real(request: pytest.FixtureRequest) -> Path:
    root = os.environ.get("CORKBOARD_DATA")
    if not root or not all((Path(root) / name).is_dir() for name in ("clothing-coparsing", "coco128")):
        pytest.skip("needs the data sets clothing-coparsing and coco128 in the folder that CORKBOARD_DATA names")
    return Path(root)


def test_the_real_street_photos(real: Path) -> None:
    labels = set(load_outside(real / "clothing-coparsing" / "boxes_merged.csv.gz").frames["objects"]["category"])
    assert labels <= {label for group in GARMENTS for label in group.labels} | {label for few in LEFT_OUT.values() for label in few}
    street = read_street(real / "clothing-coparsing", 64, CONFIG)
    sizes = {part: len(one.images) for part, one in street.parts.items()}
    assert sum(sizes.values()) == 501
    assert sizes["test"] > 90
    counts = np.bincount(np.concatenate(street["test"].classes), minlength=len(GARMENTS))
    assert counts.min() >= 5


def test_the_real_coco_pictures(real: Path) -> None:
    found = read_coco(real / "coco128", 64, CONFIG)
    assert len(found.class_names) == 76
    assert sum(len(one.images) for one in found.parts.values()) == 254


def test_the_real_sets_can_be_run(real: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detection, "VARIANTS", (BEST,))
    result = run_street(real, tmp_path, lambda text: None, seeds=1, minutes=5.0, workers=0, config=DetectionConfig.quick())
    assert result.finished.failed == {}
    assert isinstance(summary(result)["street_ap50_baseline"], float)
    assert summary(result)["rendered_ap50"] == "not measured"
