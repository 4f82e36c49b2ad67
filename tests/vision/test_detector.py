import json

import numpy as np
import pytest
import torch

from corkboard.errors import ArtifactError, ConfigError, InputError, NotFound
from corkboard.learning.config import TrainingConfig
from corkboard.seeds import generator
from corkboard.vision.config import CentreConfig, DetectorAugmentationConfig, DetectorConfig, TrunkConfig
from corkboard.vision.detection import DetectionNetwork, Found
from corkboard.vision.detector import Detector, _in_shares, _merged, build_detector, built_in_detector_file, load_detector, save_detector
from corkboard.vision.detector_training import augmented, train_detector
from corkboard.vision.images import resized
from corkboard.vision.trunk import build_trunk, save_trunk

NAMES = ["hats", "cups", "bags"]
FEW = TrainingConfig(steps=3, learning_rate=1e-3, warmup_steps=1)
SMALL = DetectorConfig(side=32, batch=4, trunk=TrunkConfig(width=0.5), centre=CentreConfig(channels=16), training=FEW)
STILL = DetectorAugmentationConfig(zoom=(1, 1), stretch=0, shift=0, brightness=0)


class Says(DetectionNetwork):
    """A network that finds what it was told to, and notes what it was shown."""

    def __init__(self, boxes, scores, posteriors):
        super().__init__()
        self.trunk, self.classes = build_trunk(SMALL.trunk.model_copy(update={"side": 32}), 0), 3
        self.found = Found(torch.tensor(boxes).reshape(-1, 4), torch.tensor(scores), torch.tensor(posteriors).reshape(-1, 3))

    def predict(self, pixels):
        return [self.found] * len(pixels)


def says(boxes, scores, posteriors, **settings):
    return Detector(Says(boxes, scores, posteriors), SMALL.model_copy(update=settings), NAMES)


def picture(height, width, seed=0):
    return generator(seed, "picture").integers(0, 256, (height, width, 3), dtype=np.uint8)


SURE, OTHER = [0.8, 0.2, 0.0], [0.1, 0.9, 0.0]


# --------------------------------------------------------------------------------------------------- from boxes to objects


def test_boxes_become_shares_of_the_picture_without_its_rim():
    # 20 x 40 at side 32 is 16 rows high, with 8 white ones above and below
    found = says([[8.0, 8, 24, 24]], [0.9], [SURE]).detect([picture(20, 40)])[0]
    np.testing.assert_allclose(found.boxes, [[0.25, 0, 0.75, 1]])
    assert found.boxes.dtype == np.float32
    assert found.classes.tolist() == [0]


@pytest.mark.parametrize(("height", "width"), [(8, 100), (100, 8), (33, 32), (1, 1), (7, 500)])
def test_the_whole_picture_is_the_box_of_what_is_not_rim(height, width):
    square = resized(np.zeros((1, height, width, 3), np.uint8), 32)[0]
    rows, columns = np.nonzero(square.max(axis=2) == 0)
    box = torch.tensor([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], dtype=torch.float32)
    torch.testing.assert_close(_in_shares(box, (height, width), 32), torch.tensor([[0.0, 0, 1, 1]]))


def test_what_lies_in_the_rim_alone_is_no_object():
    assert len(says([[0.0, 0, 32, 6]], [0.9], [SURE]).detect([picture(20, 40)])[0]) == 0


def test_threshold_repeats_and_order():
    boxes = [[0.0, 0, 10, 10], [20, 20, 30, 30], [0, 0, 10, 9.5], [0, 20, 10, 30]]
    detector = says(boxes, [0.5, 0.9, 0.6, 0.2], [SURE, OTHER, SURE, SURE])
    found = detector.detect([picture(32, 32)])[0]
    np.testing.assert_allclose(found.boxes * 32, [boxes[1], boxes[2]], atol=1e-5)
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert len(detector.at(0.1).detect([picture(32, 32)])[0]) == 3
    assert detector.at(0.1).version != detector.version


def test_two_classes_that_claim_one_box_are_one_object_with_both_in_its_posterior():
    boxes = [[0.0, 0, 10, 10], [0, 0, 10, 9.5]]
    found = says(boxes, [0.6, 0.3], [SURE, OTHER], threshold=0.1).detect([picture(32, 32)])[0]
    assert len(found) == 1
    np.testing.assert_allclose(found.posteriors[0], [(0.6 * 0.8 + 0.3 * 0.1) / 0.9, (0.6 * 0.2 + 0.3 * 0.9) / 0.9, 0], atol=1e-6)
    assert len(says(boxes, [0.6, 0.3], [SURE, OTHER], threshold=0.1, merge=0.99).detect([picture(32, 32)])[0]) == 2


def test_merging_is_with_what_stays():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [0, 0, 10, 6]])  # overlaps .8, .6, .75
    posteriors, stays = _merged(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.eye(3), 0.7)
    assert stays.tolist() == [0, 2]
    torch.testing.assert_close(posteriors, torch.tensor([[0.9 / 1.7, 0.8 / 1.7, 0], [0, 0, 1.0]]))


def test_at_most_so_many_objects():
    boxes = [[float(x), float(y), x + 5.0, y + 5.0] for x in range(0, 30, 6) for y in range(0, 30, 6)]
    scores = np.linspace(0.4, 0.9, 25).tolist()
    detector = says(boxes, scores, [SURE] * 25)
    found = detector.detect([picture(32, 32)])[0]
    assert len(found) == 20
    assert found.scores[0] == pytest.approx(0.9)
    assert found.scores[-1] == pytest.approx(scores[5])


# ------------------------------------------------------------------------------------------------------------------ cases


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((64, 64, 3), np.uint8),
        np.full((64, 64, 3), 255, np.uint8),
        picture(8, 200),
        picture(200, 8),
        picture(1, 1),
        picture(60, 40)[::-1, ::-1],
        np.zeros((0, 30, 3), np.uint8),
        np.zeros((0, 0, 3), np.uint8),
    ],
    ids=["black", "white", "8 px high", "8 px wide", "one pixel", "upside down", "no rows", "no pixels"],
)
def test_every_picture_has_an_answer(image):
    detector = build_detector(SMALL, NAMES, 0).at(0.0)
    [found] = detector.detect([image])
    assert len(found) <= SMALL.max_objects
    assert found.boxes.shape == (len(found), 4)
    assert found.scores.shape == (len(found),)
    assert found.posteriors.shape == (len(found), 3)
    assert found.boxes.dtype == found.scores.dtype == found.posteriors.dtype == np.float32
    assert (found.boxes >= 0).all()
    assert (found.boxes <= 1).all()
    assert (np.diff(found.scores) <= 0).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_no_pictures_and_pictures_of_many_sizes():
    detector = build_detector(SMALL.model_copy(update={"serving_batch": 2}), NAMES, 0).at(0.0)
    assert detector.detect([]) == []
    images = [picture(40, 20), picture(32, 32), picture(8, 90)]
    for together, alone in zip(detector.detect(images), [detector.detect([image])[0] for image in images], strict=True):
        np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-4)
        np.testing.assert_allclose(together.scores, alone.scores, atol=1e-4)


@pytest.mark.parametrize("image", [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3), np.float32)])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(InputError):
        build_detector(SMALL, NAMES, 0).detect([image])


# ---------------------------------------------------------------------------------------------------------------- building


def test_weights_depend_on_the_seed_alone():
    versions = [build_detector(SMALL, NAMES, seed).version for seed in (0, 0, 1)]
    assert versions[0] == versions[1] != versions[2]
    assert build_detector(SMALL, ["a", "b", "c"], 0).version != versions[0]


def test_a_trunk_that_was_given_is_copied_and_reads_the_side_of_the_detector():
    for kind in ("cnn", "vit"):
        trunk = build_trunk(TrunkConfig(kind=kind, side=48, patch=8, dim=32, width=0.5), 0)
        detector = build_detector(SMALL, NAMES, 0, trunk)
        assert (trunk.side, detector.network.trunk.side, detector.network.trunk.settings.side) == (48, 32, 32)
        assert detector.network.trunk is not trunk


def test_the_two_stage_head_answers_too():
    config = SMALL.model_copy(update={"head": "frcnn"})
    detector = build_detector(config, NAMES, 0).at(0.0)
    assert len(detector.detect([picture(30, 40)])[0]) <= config.max_objects


def test_names_must_fit():
    with pytest.raises(InputError, match="Names"):
        Detector(build_detector(SMALL, NAMES, 0).network, SMALL, ["hats", "hats", "cups"])


def test_a_trunk_of_one_size_is_refused():
    trunk = build_trunk(TrunkConfig(side=48, width=0.5), 0)

    class Fixed(type(trunk).__mro__[1]):
        side, dim, settings = 48, 8, TrunkConfig()

    with pytest.raises(ConfigError, match="one size"):
        build_detector(SMALL, NAMES, 0, Fixed())


# ----------------------------------------------------------------------------------------------------------------- keeping


@pytest.mark.parametrize("head", ["centre", "frcnn"])
def test_what_is_kept_is_what_was_trained(tmp_path, head):
    images, boxes, classes = learned()
    detector = train_detector(images, boxes, classes, SMALL.model_copy(update={"head": head}), NAMES, 0)
    save_detector(detector, tmp_path / "a", {"seed": 0})
    again = load_detector(tmp_path / "a")
    assert (again.version, again.class_names, again.notes, again.config) == (detector.version, tuple(NAMES), {"seed": 0}, detector.config)
    for one, other in zip(detector.at(0.01).detect(list(images)), again.at(0.01).detect(list(images)), strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)
    save_detector(again, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_what_is_no_detector_is_refused(tmp_path):
    from safetensors.numpy import load_file, save_file

    with pytest.raises(NotFound):
        load_detector(tmp_path / "nothing")
    (tmp_path / "text").write_text("no tensors")
    save_trunk(build_trunk(TrunkConfig(width=0.5), 0), tmp_path / "trunk")
    detector = build_detector(SMALL, NAMES, 0)
    save_detector(detector, tmp_path / "whole")
    for name in ("text", "trunk"):
        with pytest.raises(ArtifactError):
            load_detector(tmp_path / name)
    tensors = load_file(tmp_path / "whole")
    facts = {"config": SMALL.model_dump(mode="json"), "class_names": NAMES, "notes": {}, "trunk": detector.network.trunk.facts()}
    for change in ({"heat.weight": None}, {"more": np.zeros(1, np.float16)}, {"heat.bias": np.zeros(7, np.float16)}):
        changed = {name: values for name, values in {**tensors, **change}.items() if values is not None}
        save_file(changed, tmp_path / "changed", {"detector": json.dumps(facts)})
        with pytest.raises(ArtifactError, match="another detector"):
            load_detector(tmp_path / "changed")
    save_file(tensors, tmp_path / "other", {"detector": json.dumps(facts | {"class_names": ["one"]})})
    with pytest.raises(ArtifactError):
        load_detector(tmp_path / "other")


def test_the_built_in_detector_is_small_and_finds_itself():
    try:
        file = built_in_detector_file()
    except NotFound:
        pytest.skip("this copy has no detector")
    assert file.stat().st_size <= 900_000
    detector = load_detector(file)
    assert len(detector.class_names) == 16
    assert detector.notes["figures"]["scenes"]["AP50"][0] > 0.6
    assert detector.notes["made_by"] == "corkboard experiment detector"
    assert len(detector.detect([np.zeros((128, 128, 3), np.uint8)])[0]) == 0


# ---------------------------------------------------------------------------------------------------------------- training


def learned(count=6, side=32):
    images = np.stack([picture(side, side, seed) for seed in range(count)])
    return images, [np.array([[4, 4, 20, 24]], np.float32)] * count, [np.array([seed % 3]) for seed in range(count)]


def test_training_is_a_function_of_its_seed_and_leaves_the_trunk_alone():
    trunk = build_trunk(SMALL.trunk, 0)
    before = {name: values.clone() for name, values in trunk.state_dict().items()}
    versions = [train_detector(*learned(), SMALL, NAMES, seed, trunk).version for seed in (0, 0, 1)]
    assert versions[0] == versions[1] != versions[2]
    assert all(torch.equal(values, before[name]) for name, values in trunk.state_dict().items())


def test_the_step_with_the_best_value_is_kept():
    config = SMALL.model_copy(update={"training": FEW.model_copy(update={"validate_every": 1})})
    seen = []

    def value(detector):
        seen.append({name: values.half().float() for name, values in detector.network.state_dict().items()})
        return [1.0, 3.0, 2.0][len(seen) - 1]

    kept = train_detector(*learned(), config, NAMES, 0, validate=value).network.state_dict()
    weights = "heat.weight"
    assert torch.equal(kept[weights], seen[1][weights])
    assert not torch.equal(kept[weights], seen[2][weights])
    assert torch.equal(kept["joined.norm.running_mean"], seen[1]["joined.norm.running_mean"])


@pytest.mark.parametrize(
    "change",
    [
        lambda i, b, c: (i[:, :16], b, c),
        lambda i, b, c: (i, b[:-1], c),
        lambda i, b, c: (i, [b[0][:, :3], *b[1:]], c),
        lambda i, b, c: (i, b, [np.array([3]), *c[1:]]),
        lambda i, b, c: (i, [np.zeros((0, 4))] * len(i), [np.zeros(0, np.int64)] * len(i)),
    ],
    ids=["another side", "too few boxes", "no box", "unknown class", "no object"],
)
def test_what_does_not_fit_is_refused(change):
    with pytest.raises(InputError):
        train_detector(*change(*learned()), SMALL, NAMES, 0)


# ------------------------------------------------------------------------------------------------------------ augmentation


def test_nothing_changes_where_nothing_may_but_the_mirror():
    images, boxes, classes = learned(40)
    shown, moved, kinds = augmented(images, boxes, classes, generator(0), STILL)
    mirrored = np.array([np.abs(one.astype(int) - image[:, ::-1]).max() <= 1 for one, image in zip(shown, images, strict=True)])
    same = np.array([np.abs(one.astype(int) - image).max() <= 1 for one, image in zip(shown, images, strict=True)])
    assert (mirrored ^ same).all()
    assert 8 < mirrored.sum() < 32
    for k in range(40):
        np.testing.assert_allclose(moved[k], [[12, 4, 28, 24]] if mirrored[k] else [[4, 4, 20, 24]], atol=1e-4)
        assert kinds[k].tolist() == classes[k].tolist()


def test_boxes_go_where_their_pixels_go():
    images = np.full((60, 64, 64, 3), 255, np.uint8)
    images[:, 16:40, 20:48] = 0
    box = [np.array([[20, 16, 48, 40]], np.float32)] * 60
    config = DetectorAugmentationConfig(brightness=0, least_visible=0.0)
    shown, moved, _ = augmented(images, box, [np.array([0])] * 60, generator(0), config)
    assert sum(len(one) for one in moved) >= 55
    for one, found in zip(shown, moved, strict=True):
        if len(found):
            rows, columns = np.nonzero(one[:, :, 0] < 128)
            np.testing.assert_allclose(found[0], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=1.01)


def test_what_is_hardly_left_is_forgotten():
    images, boxes = np.zeros((30, 32, 32, 3), np.uint8), [np.array([[0, 0, 4, 32], [8, 8, 24, 24]], np.float32)] * 30
    config = DetectorAugmentationConfig(zoom=(1.5, 1.5), stretch=0, shift=0, least_visible=0.5)
    _, found, kinds = augmented(images, boxes, [np.array([0, 1])] * 30, generator(0), config)
    areas = np.concatenate([(one[:, 2] - one[:, 0]) * (one[:, 3] - one[:, 1]) for one in found])
    counts = np.bincount(np.concatenate(kinds), minlength=2)
    assert counts[1] > counts[0]
    assert (np.concatenate(found) >= 0).all()
    assert (np.concatenate(found) <= 32).all()
    assert (areas >= 0.5 * 4 * 32 * 1.5**2 - 1e-3).all()


def test_the_rim_is_white():
    images = np.zeros((8, 32, 32, 3), np.uint8)
    config = DetectorAugmentationConfig(zoom=(0.5, 0.5), stretch=0, shift=0, brightness=0)
    shown, _, _ = augmented(images, [np.zeros((0, 4))] * 8, [np.zeros(0)] * 8, generator(0), config)
    dark = (shown < 128).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(dark, 0.25, atol=0.03)
    assert ((shown == 0) | (shown == 255)).mean() > 0.8
