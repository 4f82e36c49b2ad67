from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corkboard.errors import ArtifactError, InputError
from corkboard.learning.config import TrainingConfig
from corkboard.learning.training import ParameterGroup, Progress, learning_rate, seeded, train


class Line(nn.Module):
    """Fits y = 2x + 1 from noisy draws, with dropout, so that torch's own randomness takes part."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.0))  # a scalar, as a temperature is
        self.shift = nn.Parameter(torch.zeros(1))
        self.drop = nn.Dropout(0.1)

    def loss(self, draw: np.random.Generator) -> Tensor:
        x = torch.from_numpy(draw.standard_normal(32).astype(np.float32))
        return ((self.drop(x) * self.slope + self.shift - 2 * x - 1) ** 2).mean()

    def values(self) -> list[float]:
        return [float(self.slope.detach()), float(self.shift.detach())]


CONFIG = TrainingConfig(steps=60, learning_rate=0.1, warmup_steps=5, validate_every=10, checkpoint_every=10, patience=100)


def test_learns_and_reports() -> None:
    model, seen = Line(), list[Progress]()
    result = train(model, model.loss, CONFIG, 1, progress=seen.append)
    assert model.values() == pytest.approx([2.0, 1.0], abs=0.5)
    assert result.losses[-1] < result.losses[0] / 4
    assert [p.step for p in seen] == list(range(1, 61))
    assert seen[-1].seconds_left == 0
    assert all(p.rate > 0 for p in seen)
    assert not model.training


def test_is_a_function_of_its_seed() -> None:
    first, second, other = Line(), Line(), Line()
    torch.manual_seed(99)
    train(first, first.loss, CONFIG, 1)
    torch.manual_seed(100)  # global state must not matter
    train(second, second.loss, CONFIG, 1)
    train(other, other.loss, CONFIG, 2)
    assert first.values() == second.values() != other.values()


def test_leaves_global_randomness_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = Line()
    train(model, model.loss, CONFIG.model_copy(update={"steps": 3}), 1)
    assert torch.equal(torch.rand(3), expected)


def test_resumes_as_if_nothing_had_happened(tmp_path: Path) -> None:
    file = tmp_path / "run.safetensors"
    whole = Line()
    expected = train(whole, whole.loss, CONFIG, 1, validate=lambda: -abs(float(whole.slope) - 2))

    broken = Line()

    def stop(p: Progress) -> None:
        if p.step == 27:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(broken, broken.loss, CONFIG, 1, validate=lambda: -abs(float(broken.slope) - 2), progress=stop, checkpoint=file)
    resumed, seen = Line(), list[Progress]()
    result = train(resumed, resumed.loss, CONFIG, 1, validate=lambda: -abs(float(resumed.slope) - 2), progress=seen.append, checkpoint=file)
    assert seen[0].step == 21  # the checkpoint of step 20
    assert resumed.values() == whole.values()
    assert result.losses == expected.losses
    assert result.validations == expected.validations
    assert result.best_step == expected.best_step


def test_a_sketch_is_part_of_a_checkpoint(tmp_path: Path) -> None:
    counts, model = np.zeros(2, np.int64), Line()

    def counting(draw: np.random.Generator) -> Tensor:
        counts[0] += 1
        return model.loss(draw)

    train(model, counting, CONFIG.model_copy(update={"steps": 20}), 1, checkpoint=tmp_path / "c", extra={"counts": counts})
    counts[:] = 0
    train(model, counting, CONFIG.model_copy(update={"steps": 25}), 1, checkpoint=tmp_path / "c", extra={"counts": counts})
    assert counts[0] == 25


def test_refuses_a_checkpoint_of_another_run(tmp_path: Path) -> None:
    model = Line()
    train(model, model.loss, CONFIG, 1, checkpoint=tmp_path / "c")
    with pytest.raises(ArtifactError, match="another run"):
        train(model, model.loss, CONFIG, 2, checkpoint=tmp_path / "c")


def test_stops_early_and_keeps_the_best() -> None:
    model, looks = Line(), iter([1.0, 5.0, 4.0, 3.0, 2.0, 1.0])
    kept = []

    def validate() -> float:
        kept.append(model.values())
        return next(looks)

    result = train(model, model.loss, CONFIG.model_copy(update={"patience": 2}), 1, validate=validate)
    assert result.validations == [(10, 1.0), (20, 5.0), (30, 4.0), (40, 3.0)]
    assert result.best_step == 20
    assert model.values() == kept[1]


class Apart(nn.Module):
    """Three numbers, each pulled upwards by a gradient of -1 whatever they are: Adam moves them by the learning rate a step."""

    def __init__(self) -> None:
        super().__init__()
        self.slow = nn.Parameter(torch.zeros(1))
        self.fast = nn.Parameter(torch.zeros(1))
        self.late = nn.Parameter(torch.zeros(1))

    def loss(self, draw: np.random.Generator) -> Tensor:
        return -(self.slow + self.fast + self.late).sum()


def test_groups_have_rates_of_their_own() -> None:
    config = TrainingConfig(steps=5, learning_rate=0.01, warmup_steps=0, final_share=1.0, clip_norm=100.0)
    model = Apart()
    train(model, model.loss, config, 1, groups=[ParameterGroup("fast", rate=4.0), ParameterGroup("late", after=3)])
    moved = [float(value.detach()) for value in (model.slow, model.fast, model.late)]
    assert moved == pytest.approx([0.05, 0.20, 0.02], rel=1e-4)
    with pytest.raises(InputError, match="no parameters"):
        train(model, model.loss, config, 1, groups=[ParameterGroup("quick")])


def test_groups_have_a_decay_of_their_own() -> None:
    config = TrainingConfig(steps=2, learning_rate=0.1, warmup_steps=0, final_share=1.0, weight_decay=0.5)
    model = Apart()
    with torch.no_grad():
        for value in model.parameters():
            value.fill_(1.0)
    train(
        model, lambda draw: 0 * model.loss(draw), config, 1, groups=[ParameterGroup("fast", weight_decay=0.0), ParameterGroup("late", 2.0)]
    )
    # no gradient: what is left is (1 - rate * decay) ** steps
    assert [float(value.detach()) for value in (model.slow, model.fast, model.late)] == pytest.approx([0.95**2, 1.0, 0.9**2])


def test_a_group_like_the_rest_changes_nothing() -> None:
    plain, grouped = Line(), Line()
    train(plain, plain.loss, CONFIG, 1)
    train(grouped, grouped.loss, CONFIG, 1, groups=[ParameterGroup("shift")])
    assert plain.values() == grouped.values()


class Normed(nn.Module):
    """A batch norm, whose running mean is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def loss(self, draw: np.random.Generator) -> Tensor:
        return (self.norm(torch.from_numpy(draw.standard_normal((16, 1)).astype(np.float32) + 3)) ** 3).mean()


def test_buffers_are_kept_and_resumed(tmp_path: Path) -> None:
    looked, whole, broken, resumed = Normed(), Normed(), Normed(), Normed()
    config = CONFIG.model_copy(update={"steps": 20, "validate_every": 10})
    looks = iter([2.0, 1.0])
    means = []

    def validate() -> float:
        means.append(float(looked.norm.running_mean))
        return next(looks)

    train(looked, looked.loss, config, 1, validate=validate)
    assert float(looked.norm.running_mean) == means[0] != means[1]  # of the best look, as the weights are
    train(whole, whole.loss, config, 1)

    def stop(p: Progress) -> None:
        if p.step == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(broken, broken.loss, config, 1, progress=stop, checkpoint=tmp_path / "c")
    train(resumed, resumed.loss, config, 1, checkpoint=tmp_path / "c")
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    assert int(resumed.norm.num_batches_tracked) == 20


def test_says_so_when_it_diverges() -> None:
    model = Line()
    with pytest.raises(InputError, match="diverged"):
        train(model, lambda draw: model.slope * float("nan"), CONFIG, 1)


def test_schedule_by_hand() -> None:
    config = TrainingConfig(steps=13, learning_rate=1.0, warmup_steps=2, final_share=0.2)
    # warm-up 1/2, 1; then 11 steps of half a cosine from 1 (step 2) over 0.6 (step 7, half way) to 0.2 (step 12)
    assert [learning_rate(config, step) for step in (0, 1, 2, 7, 12)] == pytest.approx([0.5, 1.0, 1.0, 0.6, 0.2])


def test_seeded_draws_depend_on_names_only() -> None:
    with seeded(1, "a") as draw:
        first = (draw.random(), float(torch.rand(())))
    with seeded(1, "a") as draw:
        assert first == (draw.random(), float(torch.rand(())))
    with seeded(1, "b") as draw:
        assert first != (draw.random(), float(torch.rand(())))
