import numpy as np
import pytest
import torch

from corkboard.errors import InputError, NotFound
from corkboard.learning.config import TrainingConfig
from corkboard.vision.cnn import ConvTrunk
from corkboard.vision.config import FineTuningConfig, TrunkConfig
from corkboard.vision.fine_tuning import LabelTask, fine_tune, normalised_accuracy

SIDE = 16


def pictures(count: int = 240) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """uint8 images with a bar: red or blue, lying or standing."""
    rng = np.random.default_rng(0)
    colour, standing = rng.integers(0, 2, count), rng.integers(0, 2, count)
    images = rng.integers(90, 150, (count, SIDE, SIDE, 3)).astype(np.uint8)
    for image, red, upright in zip(images, colour, standing, strict=True):
        at = rng.integers(2, SIDE - 6)
        bar = np.array([210, 40, 40] if red else [40, 40, 210], np.uint8)
        if upright:
            image[:, at : at + 4] = bar
        else:
            image[at : at + 4] = bar
    return images, colour, standing


def trunk() -> ConvTrunk:
    torch.manual_seed(0)
    return ConvTrunk(TrunkConfig(side=SIDE, width=0.5))


def settings(steps: int = 60, **more) -> FineTuningConfig:
    training = TrainingConfig(steps=steps, learning_rate=3e-3, warmup_steps=5, validate_every=20)
    return FineTuningConfig(batch=32, training=training, **{"trunk_rate": 1.0, **more})


def test_two_tasks_on_one_trunk_where_each_has_labels_of_other_images():
    images, colour, standing = pictures()
    rows = np.arange(240)
    tasks = [
        LabelTask("colour", rows[:100], colour[:100], np.arange(100) >= 80),
        LabelTask("way", rows[100:200], standing[100:200], np.arange(100) >= 80),
    ]
    model, result = fine_tune(images, tasks, trunk(), settings(), 0)
    assert (model.predict(images[200:], "colour") == colour[200:]).mean() > 0.9
    assert (model.predict(images[200:], "way") == standing[200:]).mean() > 0.9
    assert model.posterior(images[:5], "way").sum(axis=1) == pytest.approx(np.ones(5))
    assert max(value for _, value in result.validations) > 0.7
    with pytest.raises(NotFound, match="colour, way"):
        model.predict(images, "size")


def test_a_linear_probe_leaves_the_trunk_alone():
    images, colour, _ = pictures()
    base = trunk()
    before = {name: value.clone() for name, value in base.state_dict().items()}
    task = LabelTask("colour", np.arange(200), colour[:200], np.arange(200) >= 150)
    model, _ = fine_tune(images, [task], base, settings(trunk_trained=False), 0)
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    assert (model.predict(images[200:], "colour") == colour[200:]).mean() > 0.8


def test_a_task_of_weight_zero_teaches_the_trunk_nothing():
    images, colour, standing = pictures(60)
    runs = []
    for other in (standing, 1 - standing):
        base = trunk()
        tasks = [LabelTask("colour", np.arange(60), colour), LabelTask("way", np.arange(60), other, weight=0.0)]
        fine_tune(images, tasks, base, settings(steps=3), 0)
        runs.append(base.state_dict())
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_the_trunk_learns_at_a_share_of_the_rate_of_the_heads():
    images, colour, _ = pictures(60)
    moved = []
    for more in ({"trunk_rate": 1.0}, {"trunk_rate": 0.01}, {"layer_decay": 0.1}):
        base = trunk()
        before = {name: value.detach().clone() for name, value in base.named_parameters()}
        fine_tune(images, [LabelTask("colour", np.arange(60), colour)], base, settings(steps=3, **more), 0)
        moved.append({name: float((value.detach() - before[name]).abs().mean()) for name, value in base.named_parameters()})
    whole, slow, layered = moved
    first, last = "blocks.0.conv.weight", "blocks.5.conv.weight"
    assert slow[last] < 0.05 * whole[last]
    assert slow[first] < 0.05 * whole[first]
    assert layered[first] < 1e-3 * whole[first]
    assert 0.03 * whole[last] < layered[last] < 0.3 * whole[last]


def test_every_task_has_an_equal_share_of_a_batch(monkeypatch):
    images, colour, standing = pictures(60)
    seen = []
    from corkboard.vision import fine_tuning

    def recorded(batch, rng):
        seen.append(len(batch))
        return batch

    monkeypatch.setattr(fine_tuning, "augmented", recorded)
    tasks = [LabelTask("colour", np.arange(50), colour[:50]), LabelTask("way", np.arange(50, 60), standing[50:60])]
    fine_tune(images, tasks, trunk(), settings(steps=2), 0)
    assert seen == [32, 32]  # 16 of fifty, 16 of ten


def test_normalised_accuracy_by_hand():
    classes = np.array([0, 0, 0, 1])
    assert normalised_accuracy(np.zeros(4, int), classes) == 0
    assert normalised_accuracy(classes, classes) == 1
    assert normalised_accuracy(np.array([1, 1, 1, 1]), classes) == pytest.approx((0.25 - 0.75) / 0.25)
    assert normalised_accuracy(np.array([1]), np.array([1])) == 0


def test_tasks_that_cannot_be_learned_are_refused():
    rows = np.arange(4)
    with pytest.raises(InputError, match="a class an image"):
        LabelTask("a", rows, rows[:2])
    with pytest.raises(InputError, match="nothing to train on"):
        LabelTask("a", rows, rows, np.ones(4, bool))
    with pytest.raises(InputError, match="nothing to train on"):
        LabelTask("a", rows, rows - 1)
    with pytest.raises(InputError, match="images of its validation"):
        LabelTask("a", np.array([0, 0]), np.array([0, 0]), np.array([True, False]))
    task = LabelTask("a", rows, rows)
    with pytest.raises(InputError, match="different names"):
        fine_tune(np.zeros((4, SIDE, SIDE, 3), np.uint8), [task, task], trunk(), settings(), 0)
