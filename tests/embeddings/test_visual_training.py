from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder, VisualTask
from corkboard.embeddings.visual_network import TaskBatch, VisualNetwork, proxy_softmax
from corkboard.embeddings.visual_training import TaskSampler, VisualTraining, train_visual
from corkboard.errors import InputError
from corkboard.learning.config import TrainingConfig
from corkboard.learning.training import Progress
from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import Trunk
from corkboard.vision.trunk import build_trunk

SIDE, CLASSES, EACH = 16, 12, 6
TRAINING = TrainingConfig(steps=30, learning_rate=0.01, warmup_steps=3, weight_decay=1e-4, clip_norm=10.0)
CONFIG = VisualConfig(dim=16, code_bits=32, batch_classes=9, images_per_class=3, training=TRAINING)


def trunk() -> Trunk:
    return build_trunk(TrunkConfig(side=SIDE, width=0.25), 1)


def coloured() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pictures uint8 of 12 classes x 6: a chequered pattern of the class under noise; the domain makes it darker."""
    draw = np.random.default_rng(0)
    patterns = np.kron(draw.integers(0, 256, (CLASSES, 4, 4, 3)), np.ones((1, 4, 4, 1)))
    classes, domains = np.repeat(np.arange(CLASSES), EACH), np.tile(np.arange(3), CLASSES * EACH // 3)
    shown = patterns[classes] * (1 - 0.2 * domains)[:, None, None, None] + draw.normal(0, 10, (len(classes), SIDE, SIDE, 3))
    return shown.clip(0, 255).astype(np.uint8), classes, domains


IMAGES, LABELS, DOMAINS = coloured()
ROWS = np.arange(len(IMAGES))
SHOP = VisualTask("shop", ROWS, LABELS, DOMAINS)
BROWSE = VisualTask("browse", ROWS[DOMAINS == 1], LABELS[DOMAINS == 1] // 3, DOMAINS[DOMAINS == 1])
LENS = VisualTask("lens", ROWS[DOMAINS > 0], LABELS[DOMAINS > 0] % 2, DOMAINS[DOMAINS > 0])
TASKS = (BROWSE, LENS, SHOP)


def with_(config: VisualConfig = CONFIG, /, steps: int | None = None, **changes) -> VisualConfig:
    if steps is not None:
        changes["training"] = config.training.model_copy(update={"steps": steps})
    return VisualConfig.model_validate(config.model_dump() | changes)


# ------------------------------------------------------------------------------------------------------------------- loss


def test_proxy_softmax_by_hand() -> None:
    vectors = torch.tensor([[1.0, 0.0]])
    proxies = torch.tensor([[0.0, 3.0], [2.0, 0.0], [-5.0, 0.0]])  # cosines 0, 1, -1, whatever their lengths
    loss = proxy_softmax(vectors, proxies, torch.tensor([1]), 1 / 0.5)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-2) + math.exp(-4)))


def test_proxies_turn_and_keep_their_length() -> None:
    vector = functional.normalize(torch.tensor([[1.0, 1.0]]), dim=1)
    proxies = torch.tensor([[1.0, 0.0], [0.0, 2.0]], requires_grad=True)
    proxy_softmax(vector, proxies, torch.tensor([0]), 20.0).backward()
    step = -proxies.grad
    # both cosines are sqrt(.5), so p = (.5, .5): d cosine / d w = (e - cosine w / |w|) / |w|, here (0, sqrt .5) and (sqrt .5, 0) / 2
    assert torch.allclose(step, torch.tensor([[0.0, 0.5 * 20 * 0.5**0.5], [-0.5 * 20 * 0.5**0.5 / 2, 0.0]]), atol=1e-5)
    assert torch.allclose((step * proxies).sum(dim=1), torch.zeros(2), atol=1e-5)


def network(config: VisualConfig = CONFIG, counts: tuple[int, ...] = (12, 5)) -> VisualNetwork:
    torch.manual_seed(3)
    return VisualNetwork(config, 8, counts)


def test_the_loss_is_a_sum_over_tasks_and_outputs() -> None:
    made, inputs = network(), torch.randn(7, 8)
    first, second = TaskBatch(slice(0, 4), torch.tensor([0, 1, 2, 3])), TaskBatch(slice(4, 7), torch.tensor([4, 4, 0]))
    expected = 0.0
    for place, head in enumerate(made.heads):
        unit = functional.normalize(head(functional.layer_norm(inputs, (8,))), dim=1)
        for task, batch in enumerate((first, second)):
            logits = unit[batch.places] @ functional.normalize(made.proxies[task][place], dim=1).T / 0.05
            expected += functional.cross_entropy(logits, batch.targets).item()
    assert made.loss(inputs, [first, second]).item() == pytest.approx(expected, rel=1e-5)
    alone = made.loss(inputs, [first, None]).item() + made.loss(inputs, [None, second]).item()
    assert alone == pytest.approx(expected, rel=1e-5)
    made.zero_grad()
    made.loss(inputs, [None, second]).backward()
    assert all(value.grad is None for value in made.proxies[0])  # no picture of it, no gradient


def test_a_subset_of_all_classes_is_the_full_softmax() -> None:
    full, subset, inputs = network(), network(), torch.randn(4, 8)
    targets = torch.tensor([3, 1, 1, 9])
    losses = [made.loss(inputs, [TaskBatch(slice(0, 4), targets, rows), None]) for made, rows in ((full, None), (subset, torch.arange(12)))]
    for loss in losses:
        loss.backward()
    assert torch.equal(losses[0], losses[1])
    for one, other in zip(full.parameters(), subset.parameters(), strict=True):
        assert (one.grad is None and other.grad is None) or torch.allclose(one.grad, other.grad, atol=1e-6)


def test_proxies_outside_of_the_subset_get_no_gradient() -> None:
    made, rows = network(), torch.tensor([1, 4, 9])
    made.loss(torch.randn(2, 8), [TaskBatch(slice(0, 2), torch.tensor([2, 0]), rows), None]).backward()
    moved = made.proxies[0][1].grad.abs().sum(dim=1) > 0
    assert torch.equal(torch.nonzero(moved).ravel(), rows)


def test_nested_outputs_are_prefixes() -> None:
    made = network(with_(nested=True))
    narrow, wide = made(torch.randn(3, 8))
    assert torch.equal(narrow, wide[:, :16])
    assert [tuple(value.shape) for value in made.proxies[0]] == [(12, 32)]
    made.loss(torch.randn(1, 8), [TaskBatch(slice(0, 1), torch.tensor([2])), None]).backward()
    assert made.heads[0].weight.grad[:16].abs().sum() > made.heads[0].weight.grad[16:].abs().sum() > 0  # in both losses, in one


@pytest.mark.parametrize(
    "changes", [{}, {"nested": True}, {"layer_norm": False}, {"layer_norm_after": True}, {"code_bits": 16}, {"code_bits": 8}]
)
def test_serving_computes_what_training_did(changes: dict) -> None:
    made, inputs = network(with_(**changes)), torch.randn(9, 8) * 3 + 1
    served = VisualEncoder(made.settings, trunk(), made.weights()).outputs(inputs.numpy())
    expected = [output.detach().numpy() for output in made(inputs)]
    assert len(served) == len(expected)
    assert all(np.allclose(one, other, atol=1e-5) for one, other in zip(served, expected, strict=True))


# ---------------------------------------------------------------------------------------------------------------- batches


def sampler(task: VisualTask, **changes) -> TaskSampler:
    return TaskSampler(task, with_(**changes))


def test_a_draw_has_classes_once_and_pictures_of_each_from_all_domains() -> None:
    drawn, seen = sampler(SHOP), set()
    for seed in range(20):
        entries = drawn.entries(5, np.random.default_rng(seed)).reshape(5, 3)
        classes = SHOP.classes[entries]
        assert (classes == classes[:, :1]).all()
        assert len(set(classes[:, 0])) == 5
        assert (np.sort(SHOP.domains[entries], axis=1) == [0, 1, 2]).all()
        seen |= set(entries.ravel().tolist())
    assert seen == set(range(len(SHOP)))


def test_few_domains_are_taken_in_turns() -> None:
    task = VisualTask("lens", np.arange(40), np.repeat([7, 9], [39, 1]), np.repeat([5, 6, 8], [38, 1, 1]))
    for seed in range(10):
        entries = sampler(task, images_per_class=5).entries(2, np.random.default_rng(seed)).reshape(2, 5)
        large, small = entries[np.argsort(entries[:, 0] == 39)]
        assert sorted(np.bincount(task.domains[large], minlength=7)[5:]) == [2, 3]  # 38 pictures of one domain and one of the other
        assert (small == 39).all()  # its only picture


def test_classes_begin_anew_when_all_were_drawn() -> None:
    entries = sampler(LENS).entries(5, np.random.default_rng(0)).reshape(5, 3)
    assert sorted(np.bincount(LENS.classes[entries[:, 0]])) == [2, 3]


def test_balanced_draws_hide_the_sizes_of_classes_and_even_ones_show_them() -> None:
    task = VisualTask("tail", np.arange(100), np.repeat(np.arange(11), [90] + [1] * 10), np.zeros(100, int))
    shares = {}
    for balanced in (True, False):
        drawn, draw = sampler(task, balanced=balanced), np.random.default_rng(0)
        entries = np.concatenate([drawn.entries(4, draw) for _ in range(200)])
        assert len(entries) == 2400
        shares[balanced] = (task.classes[entries] == 0).mean()
    assert shares[True] == pytest.approx(1 / 11, abs=0.03)
    assert shares[False] == pytest.approx(0.9, abs=0.03)


def test_a_step_mixes_tasks_equally() -> None:
    run = VisualTraining(IMAGES, TASKS, trunk(), with_(batch_classes=11), 1)
    sizes = []
    for seed in range(30):
        rows, batches = run.batch(np.random.default_rng(seed))
        assert len(rows) == 33
        ends = [(batch.places.start, batch.places.stop) for batch in batches]
        assert ends[0][0] == 0
        assert ends[2][1] == 33
        assert ends[0][1] == ends[1][0]
        assert ends[1][1] == ends[2][0]
        sizes.append([stop - start for start, stop in ends])
        assert np.array_equal(LABELS[rows[batches[2].places]], batches[2].targets.numpy())  # labels 0..11 are their own places
        assert (DOMAINS[rows[batches[0].places]] == 1).all()
        assert (LABELS[rows[batches[1].places]] % 2 == batches[1].targets.numpy()).all()
    assert set(np.ravel(sizes)) == {9, 12}
    assert np.mean(sizes, axis=0) == pytest.approx([11, 11, 11], abs=0.6)
    few = [VisualTraining(IMAGES, TASKS, trunk(), with_(batch_classes=1), 1).batch(np.random.default_rng(s))[1] for s in range(30)]
    assert {sum(batch is not None for batch in batches) for batches in few} == {1}
    assert all(any(batches[task] is not None for batches in few) for task in range(3))


def test_classes_of_the_softmax() -> None:
    many = VisualTask("many", np.arange(400), np.arange(400) // 4, np.zeros(400, int))
    drawn, present = sampler(many, class_share=0.2), np.array([3, 3, 50, 99])
    counts = np.zeros(100)
    for seed in range(400):
        subset = drawn.subset(present, np.random.default_rng(seed))
        assert len(subset) == 20
        assert (np.diff(subset) > 0).all()
        assert np.isin(present, subset).all()
        counts[subset] += 1
    others = np.delete(counts, [3, 50, 99]) / 400
    assert others.mean() == pytest.approx(17 / 97)
    assert others.std() < 2 * math.sqrt(17 / 97 * 80 / 97 / 400)  # evenly
    assert sampler(many).subset(present, np.random.default_rng(0)) is None
    assert sampler(many, class_share=0.01).subset(present, np.random.default_rng(0)).tolist() == [3, 50, 99]
    entries = drawn.entries(5, np.random.default_rng(1))
    batch = drawn.batch(entries, 10, np.random.default_rng(2))
    assert batch.places == slice(10, 25)
    assert np.array_equal(batch.subset.numpy()[batch.targets.numpy()], many.classes[entries])


def test_further_classes_of_a_picture_are_no_negatives() -> None:
    task = VisualTask("engaged", np.array([5, 6, 5, 7]), np.array([10, 20, 30, 40]), np.zeros(4, int))
    drawn = sampler(task)
    batch = drawn.batch(np.array([0, 1, 3]), 0, np.random.default_rng(0))
    assert batch.removed.tolist() == [[True, False, True, False], [False, True, False, False], [False, False, False, True]]
    kept = drawn._other_classes(np.array([2]), np.array([0, 3]))
    assert kept.tolist() == [[True, False]]  # class 30 itself is not among these two
    vectors = functional.normalize(torch.randn(3, 6), dim=1)
    proxies = torch.randn(4, 6, requires_grad=True)
    proxy_softmax(vectors[:1], proxies, batch.targets[:1], 20.0, batch.removed[:1]).backward()
    assert (proxies.grad.abs().sum(dim=1) > 0).tolist() == [True, True, False, True]
    assert sampler(SHOP).batch(np.arange(3), 0, np.random.default_rng(0)).removed is None


# --------------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize("changes", [{}, {"trunk_trained": True}, {"nested": True}, {"code_bits": 16, "class_share": 0.5}])
def test_thirty_steps_halve_the_loss(changes: dict) -> None:
    run = VisualTraining(IMAGES, TASKS, trunk(), with_(**changes), 1)
    run.run()
    assert np.mean(run.result.losses[-3:]) < run.result.losses[0] / 2


def nearest_is_alike(made: VisualEncoder) -> float:
    vectors = made.encode(IMAGES)
    scores = vectors @ vectors.T
    np.fill_diagonal(scores, -np.inf)
    return float((LABELS[scores.argmax(axis=1)] == LABELS).mean())


def test_classes_that_were_dealt_out_anew_cannot_be_learned() -> None:
    losses = {}
    for name, task in (("as they are", SHOP), ("shuffled", SHOP.shuffled(1))):
        run = VisualTraining(IMAGES, [task], trunk(), CONFIG, 1)
        run.run()
        losses[name] = np.mean(run.result.losses[-3:])
    assert losses["as they are"] < 0.75 * losses["shuffled"]


def test_a_trained_trunk_finds_what_belongs_together() -> None:
    made = train_visual(IMAGES, TASKS, trunk(), with_(trunk_trained=True, steps=60), 1)
    assert nearest_is_alike(made) > 0.9
    codes = np.unpackbits(made.codes(IMAGES), axis=1)
    assert 0.3 < codes.mean() < 0.7


@pytest.mark.parametrize("trained", [False, True])
def test_a_run_is_a_function_of_its_seed_and_leaves_the_trunk_alone(trained: bool) -> None:
    given = trunk()
    before = {name: value.clone() for name, value in given.state_dict().items()}
    config = with_(steps=4, trunk_trained=trained)
    first, second, other = (train_visual(IMAGES, TASKS, given, config, seed) for seed in (1, 1, 2))
    assert first.space == second.space != other.space
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    same = all(torch.equal(value, before[name]) for name, value in first.trunk.state_dict().items())
    assert same != trained


@pytest.mark.parametrize("trained", [False, True])
def test_an_interrupted_run_goes_on(tmp_path: Path, trained: bool) -> None:
    config = with_(trunk_trained=trained)
    config = config.model_copy(update={"training": config.training.model_copy(update={"steps": 8, "checkpoint_every": 3})})

    def stop(at: Progress) -> None:
        if at.step == 5:
            raise KeyboardInterrupt

    whole = train_visual(IMAGES, TASKS, trunk(), config, 1)
    with pytest.raises(KeyboardInterrupt):
        train_visual(IMAGES, TASKS, trunk(), config, 1, stop, tmp_path / "c")
    seen = []
    resumed = train_visual(IMAGES, TASKS, trunk(), config, 1, seen.append, tmp_path / "c")
    assert seen[0].step == 4
    assert resumed.space == whole.space  # running means of the batch norm and all


def test_an_untrained_trunk_reads_each_picture_once_a_view() -> None:
    used = VisualTask("shop", SHOP.images[:30], SHOP.classes[:30], SHOP.domains[:30])
    run = VisualTraining(IMAGES, [used], trunk(), with_(steps=2, views=3), 1)
    run.run()
    assert run.views.shape == (3, 30, 32)
    plain = VisualEncoder(CONFIG, trunk(), {}).features(IMAGES[:30])
    assert np.allclose(run.views[0].numpy(), plain, atol=1e-6)
    assert not np.allclose(run.views[1].numpy(), plain, atol=1e-3)


def test_proxies_do_not_decay_and_the_rest_does() -> None:
    config = with_(class_share=0.01, batch_classes=1, images_per_class=1)
    config = config.model_copy(update={"training": TrainingConfig(steps=1, learning_rate=0.01, warmup_steps=0, weight_decay=10.0)})
    start, run = (VisualTraining(IMAGES, [SHOP], trunk(), c, 1) for c in (with_(config, steps=0), config))
    start.run()
    run.run()
    # a softmax over the one class that was drawn has no gradient for its proxies
    assert all(map(torch.equal, run.network.proxies[0], start.network.proxies[0]))
    lengths = [float(r.network.heads[0].weight.detach().norm()) for r in (start, run)]
    assert lengths[1] < lengths[0] * 0.95


def test_a_trunk_may_stand_still_at_first() -> None:
    given = trunk()
    config = with_(steps=3, trunk_trained=True, trunk_after=3)
    held = train_visual(IMAGES, TASKS, given, config, 1)
    freed = train_visual(IMAGES, TASKS, given, with_(config, trunk_after=2), 1)
    weights = dict(given.named_parameters())
    assert all(torch.equal(value, weights[name]) for name, value in held.trunk.named_parameters())
    assert not all(torch.equal(value, weights[name]) for name, value in freed.trunk.named_parameters())


def test_a_linear_layer_as_wide_as_a_trained_trunk_is_left_out() -> None:
    config = with_(dim=32, code_bits=32, steps=2, trunk_trained=True)
    made = train_visual(IMAGES, TASKS, trunk(), config, 1)
    assert not made.weights
    assert made.encode(IMAGES[:2]).shape == (2, 32)
    assert train_visual(IMAGES, TASKS, trunk(), with_(config, trunk_trained=False), 1).weights["output0"].shape == (32, 32)
    made = train_visual(IMAGES, TASKS, trunk(), with_(config, dim=16), 1)  # of two outputs only the code's
    assert {name: value.shape for name, value in made.weights.items()} == {"output0": (32, 16)}
    assert np.array_equal(np.unpackbits(made.codes(IMAGES), axis=1), (features := made.features(IMAGES)) > features.mean(axis=1)[:, None])


def test_what_cannot_be_trained_on_is_refused() -> None:
    with pytest.raises(InputError, match="not there"):
        train_visual(IMAGES[:10], [SHOP], trunk(), CONFIG)
    for tasks in ((), (SHOP, SHOP)):
        with pytest.raises(InputError, match="a name of its own"):
            train_visual(IMAGES, tasks, trunk(), CONFIG)
