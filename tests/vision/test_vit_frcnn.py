import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from corkboard.errors import InputError
from corkboard.learning.training import seeded
from corkboard.vision.boxes import iou, nms
from corkboard.vision.config import TrunkConfig
from corkboard.vision.detection import Target, as_targets
from corkboard.vision.frcnn_config import FRCNNConfig, ProposalConfig, RegionConfig
from corkboard.vision.trunk import build_trunk
from corkboard.vision.vit_frcnn import FasterRCNN, anchors, assign, sampled

SIDE = 32
SMALL = FRCNNConfig(
    channels=16,
    proposals=ProposalConfig(scales=(0.3, 0.5), ratios=(0.5, 1.0, 2.0), candidates=60, kept_training=20, kept=12),
    regions=RegionConfig(hidden=32),
)
TRUNKS = {
    "cnn": TrunkConfig(side=SIDE, width=0.5),
    "vit": TrunkConfig(kind="vit", side=SIDE, patch=8, dim=16, layers=1, heads=2),
    "conv_vit": TrunkConfig(kind="conv_vit", side=SIDE, dim=16, layers=1, heads=2, pool="cls"),
}


def network(kind="cnn", classes=3, config=SMALL, seed=0):
    trunk = build_trunk(TRUNKS[kind], seed)
    with seeded(seed, "heads"):
        return FasterRCNN(trunk, classes, config)


def targets(*pictures):
    return as_targets(
        [np.array([row[:4] for row in rows], np.float32) for rows in pictures], [[row[4] for row in rows] for rows in pictures]
    )


def squares(count=4, seed=0):
    """White pictures with one or two squares of a plain colour, one colour a class; the last picture has none."""
    g, pictures, truth = np.random.default_rng(seed), torch.full((count, 3, SIDE, SIDE), 2.0), []
    for picture in range(count - 1):
        rows = []
        for corner in [(1, 1), (16, 16)][: 1 + picture % 2]:
            size, name = int(g.integers(10, 15)), int(g.integers(3))
            x, y = corner
            pictures[picture, :, y : y + size, x : x + size] = -2.0
            pictures[picture, name, y : y + size, x : x + size] = 1.0
            rows.append((x, y, x + size, y + size, name))
        truth.append(rows)
    return pictures, targets(*truth, [])


# -------------------------------------------------------------------------------------------------- anchors and assignment


def test_anchors_by_hand():
    placed = anchors(2, 3, 60, (0.1, 0.5), (1.0, 4.0))
    assert placed.shape == (2 * 3 * 4, 4)
    # the first cell's middle is 10, 15: squares of 6 and 30 px, and shapes four times as high as wide with the same area
    expected = [[7, 12, 13, 18], [8.5, 9, 11.5, 21], [-5, 0, 25, 30], [2.5, -15, 17.5, 45]]
    torch.testing.assert_close(placed[:4], torch.tensor(expected))
    torch.testing.assert_close(placed[4:8], placed[:4] + torch.tensor([20.0, 0, 20, 0]))
    torch.testing.assert_close(placed[12:16], placed[:4] + torch.tensor([0.0, 30, 0, 30]))


def test_assignment_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [90, 90, 99, 99]])
    candidates = torch.tensor([[0.0, 0, 10, 8], [0, 0, 10, 5], [0, 0, 10, 2], [20, 0, 30, 4], [20, 6, 30, 10], [50, 50, 60, 60]])
    overlaps = [0.8, 0.5, 0.2, 0.4, 0.4, 0.0]
    torch.testing.assert_close(iou(candidates, boxes).max(dim=1).values, torch.tensor(overlaps))
    labels, which = assign(candidates, boxes, 0.7, 0.3)
    assert labels.tolist() == [1, -1, 0, -1, -1, 0]
    assert which.tolist()[:5] == [0, 0, 0, 1, 1]
    # the second box has no anchor at 0.7, so its two best count; nothing touches the third, and no anchor becomes it
    assert assign(candidates, boxes, 0.7, 0.3, best_too=True)[0].tolist() == [1, -1, 0, 1, 1, 0]
    assert assign(candidates, boxes, 0.5, 0.5)[0].tolist() == [1, 1, 0, 0, 0, 0]


def test_without_objects_everything_is_background():
    labels, which = assign(torch.rand(5, 4), torch.zeros(0, 4), 0.7, 0.3, best_too=True)
    assert labels.tolist() == [0] * 5
    assert which.shape == (5,)


@pytest.mark.parametrize(("positives", "negatives", "expected"), [(50, 50, (4, 12)), (2, 50, (2, 14)), (50, 3, (4, 3)), (0, 50, (0, 16))])
def test_sampling(positives, negatives, expected):
    labels = torch.tensor([1] * positives + [0] * negatives + [-1] * 40)
    objects, background = sampled(labels, 16, 0.25, np.random.default_rng(0))
    assert (len(objects), len(background)) == expected
    assert (labels[objects] == 1).all()
    assert (labels[background] == 0).all()
    assert len(set(objects.tolist() + background.tolist())) == sum(expected)


def test_sampling_is_that_of_its_generator():
    labels = torch.tensor([1, 0] * 50)

    def rows(seed):
        return torch.cat(sampled(labels, 16, 0.25, np.random.default_rng(seed))).tolist()

    assert rows(0) == rows(0)
    assert rows(0) != rows(1)


# ------------------------------------------------------------------------------------------------------------------ losses


def test_the_first_losses_by_hand():
    """Before training scores are their priors and steps are zero, so all four parts can be reckoned."""
    one = FRCNNConfig(
        channels=16,
        proposals=ProposalConfig(scales=(0.5,), ratios=(1.0,), sample=2),
        regions=RegionConfig(sample=4, positive=0.6),
    )
    model = network(classes=3, config=one)
    torch.nn.init.zeros_(model.proposing.objectness.weight)
    torch.nn.init.zeros_(model.reading.scores.weight)
    # 4 x 4 anchors of 16 px around 4, 12, 20, 28. The object is that around 12, 12, and 4 px wider on both sides: they overlap by 2/3
    found = model.losses(torch.zeros(1, 3, SIDE, SIDE), targets([(0, 4, 24, 20, 1)]), np.random.default_rng(0))
    p = 1 / (1 + math.exp(2))
    assert found.objectness.item() == pytest.approx(-(math.log(p) + math.log(1 - p)) / 2, rel=1e-5)
    # one positive of two; only the width is to change, by log(24 / 16), beyond where smooth L1 turns straight
    assert found.proposal_steps.item() == pytest.approx((math.log(1.5) - 0.5 / 9) / 2, rel=1e-5)
    # of 4 regions one is an object (a quarter), the prior of a class is a third of a quarter
    assert found.classes.item() == pytest.approx(-(math.log(0.25 / 3) + 3 * math.log(0.75)) / 4, rel=1e-5)
    # the object is drawn as itself (no step) or as the anchor around 12, 12, the only other one above 0.6
    assert any(found.region_steps.item() == pytest.approx(step, rel=1e-4, abs=1e-7) for step in (0, (math.log(1.5) / 0.2 - 0.5) / 4))
    assert found.total.item() == pytest.approx(sum(part.item() for part in vars(found).values()), rel=1e-6)


def test_the_truth_is_among_the_proposals():
    """With proposals that miss everything the second stage still sees the object."""
    far = SMALL.model_copy(update={"proposals": ProposalConfig(scales=(0.05,), ratios=(1.0,))})
    model = network(config=far)
    found = model.losses(torch.zeros(1, 3, SIDE, SIDE), targets([(0, 0, 30, 30, 2)]), np.random.default_rng(0))
    found.classes.backward()
    slope = model.reading.scores.bias.grad
    assert slope[2] < slope[:2].min() - 0.04  # its one region of 21 at most pulls at its own class
    assert found.region_steps.item() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kind", TRUNKS)
@pytest.mark.parametrize("pictures", [([], []), ([(1, 1, 12, 12, 0)], []), ([(1, 1, 12, 12, 0), (10, 8, 30, 31, 2)], [(5, 5, 9, 20, 1)])])
def test_none_one_and_several_objects(kind, pictures):
    model = network(kind).train()
    loss = model.loss(torch.randn(2, 3, SIDE, SIDE), targets(*pictures), np.random.default_rng(0))
    loss.backward()
    assert loss.isfinite()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("part", ["objectness", "proposal_steps", "classes", "region_steps"])
def test_gradients_of_every_part_reach_the_trunk(part):
    model = network("vit").train()
    for parameter in model.parameters():  # heads that begin at zero hand nothing down at the first step
        torch.nn.init.normal_(parameter, std=0.05)
    pixels, truth = squares()
    getattr(model.losses(pixels, truth, np.random.default_rng(0)), part).backward()
    assert all(p.grad.abs().sum() > 0 for name, p in model.trunk.named_parameters() if "norm_mlp.bias" in name or "stem" in name)


def test_classes_do_not_change_what_is_proposed():
    model, pixels = network(), torch.randn(1, 3, SIDE, SIDE)
    a, b = (model.losses(pixels, targets([(1, 1, 14, 14, name)]), np.random.default_rng(0)) for name in (0, 2))
    assert a.objectness == b.objectness
    assert a.proposal_steps == b.proposal_steps


def test_a_step_is_that_of_its_generator():
    pixels, truth = squares()
    losses = [network().loss(pixels, truth, np.random.default_rng(seed)).item() for seed in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize(("kind", "changes"), [("cnn", {}), ("vit", {"blocks": 0, "doubled": True}), ("conv_vit", {"blocks": 2})])
def test_it_learns_a_tiny_batch(kind, changes):
    model, (pixels, truth) = network(kind, config=SMALL.model_copy(update=changes)).train(), squares()
    optimiser = torch.optim.AdamW(model.parameters(), 6e-3)

    def loss():
        return model.loss(pixels, truth, np.random.default_rng(0))

    first = loss().item()
    for _ in range(30):
        optimiser.zero_grad()
        loss().backward()
        optimiser.step()
    assert loss().item() < first / 2


def test_what_it_learned_it_finds():
    model, (pixels, truth) = network().train(), squares()
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3)
    draw = np.random.default_rng(0)
    for _ in range(45):
        optimiser.zero_grad()
        model.loss(pixels, truth, draw).backward()
        optimiser.step()
    hits = []
    for found, target in zip(model.predict(pixels), truth, strict=True):
        sure = found.scores > 0.5
        kept = nms(found.boxes[sure], found.scores[sure], 0.5)
        boxes, names = found.boxes[sure][kept], found.posteriors[sure][kept].argmax(dim=1)
        for box, name in zip(target.boxes, target.classes, strict=True):
            hits.append(bool(((iou(box[None], boxes)[0] > 0.5) & (names == name)).any()))
    assert np.mean(hits) >= 0.8
    assert (found.scores < 0.5).all()  # the last picture is empty


# -------------------------------------------------------------------------------------------------------------- prediction


def shaken(kind, config=SMALL):
    """A network that says something: every parameter of the heads at random."""
    model = network(kind, config=config)
    with torch.no_grad(), seeded(3, "shaken"):
        for head in (model.proposing, model.reading):
            for parameter in head.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


@pytest.mark.parametrize("kind", TRUNKS)
def test_what_a_prediction_is(kind):
    pictures = shaken(kind).predict(torch.randn(3, 3, SIDE, SIDE))
    assert len(pictures) == 3
    for found in pictures:
        n = len(found.scores)
        assert 0 < n <= SMALL.proposals.kept
        assert found.boxes.shape == (n, 4)
        assert found.boxes.min() >= 0
        assert found.boxes.max() <= SIDE
        assert ((found.scores > 0) & (found.scores < 1)).all()
        assert found.posteriors.shape == (n, 3)
        torch.testing.assert_close(found.posteriors.sum(dim=1), torch.ones(n))
        # the score is the share of the likeliest class in all, so at most that among the classes
        assert (found.scores <= found.posteriors.max(dim=1).values + 1e-6).all()
        assert not found.boxes.requires_grad


def test_scores_before_training_are_the_priors():
    model = network(classes=4)
    torch.nn.init.zeros_(model.reading.scores.weight)
    found = model.predict(torch.randn(1, 3, SIDE, SIDE))[0]
    torch.testing.assert_close(found.scores, torch.full_like(found.scores, 0.25 / 4))
    torch.testing.assert_close(found.posteriors, torch.full_like(found.posteriors, 1 / 4))


@pytest.mark.parametrize("kind", TRUNKS)
def test_a_batch_gives_what_its_pictures_give_one_by_one(kind):
    model, pixels = shaken(kind), torch.randn(4, 3, SIDE, SIDE)
    for together, alone in zip(model.predict(pixels), (model.predict(one[None])[0] for one in pixels), strict=True):
        torch.testing.assert_close(together.boxes, alone.boxes, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(together.scores, alone.scores, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(together.posteriors, alone.posteriors, rtol=1e-3, atol=1e-4)


def test_a_picture_without_a_proposal_has_nothing():
    model = network()
    torch.nn.init.constant_(model.proposing.steps.bias, -50.0)  # every proposal shrinks to nothing
    found = model.predict(torch.randn(2, 3, SIDE, SIDE))
    assert [len(one.scores) for one in found] == [0, 0]
    assert found[0].boxes.shape == (0, 4)
    assert found[0].posteriors.shape == (0, 3)
    assert model.loss(torch.randn(2, 3, SIDE, SIDE), targets([], []), np.random.default_rng(0)).isfinite()


@pytest.mark.parametrize("value", [-2.0, 2.0])
def test_black_and_white_pictures(value):
    assert all(found.boxes.isfinite().all() for found in shaken("vit").predict(torch.full((1, 3, SIDE, SIDE), value)))


# ------------------------------------------------------------------------------------------------------ sides and strides


@pytest.mark.parametrize(("kind", "doubled", "cells"), [("cnn", False, 4), ("vit", True, 8), ("conv_vit", False, 4)])
def test_the_map_decides_the_stride(kind, doubled, cells):
    model = network(kind, config=SMALL.model_copy(update={"doubled": doubled}))
    maps = model.neck(model.trunk.features(torch.zeros(1, 3, SIDE, SIDE)))
    assert maps.shape == (1, 16, cells, cells)
    logits, steps = model.proposing(maps)
    assert logits.shape == (1, cells * cells * 6)
    assert steps.shape == (1, cells * cells * 6, 4)


def test_scores_and_steps_stand_in_the_order_of_the_anchors():
    model = network().eval()
    maps = torch.zeros(1, 16, 4, 4)
    with torch.no_grad():
        model.proposing.objectness.weight.zero_()
        model.proposing.objectness.bias.copy_(torch.arange(6.0))
        model.proposing.steps.bias.copy_(torch.arange(24.0))
        logits, steps = model.proposing(maps)
    assert logits[0].tolist() == list(range(6)) * 16
    assert steps[0, 6:12].tolist() == torch.arange(24.0).reshape(6, 4).tolist()


def test_the_cell_at_the_right_is_the_cell_at_the_right():
    """Objectness that follows one channel: the proposals lie where the map is bright."""
    model = network().eval()
    with torch.no_grad():
        for parameter in model.proposing.parameters():
            parameter.zero_()
        model.proposing.mixed.weight[0, 0, 1, 1] = 1.0
        model.proposing.objectness.weight[:, 0] = 1.0
        maps = torch.zeros(1, 16, 4, 4)
        maps[0, 0, 0, 3] = 5.0  # first row, last column
        best = model._proposals(model._anchors(maps, SIDE), *model.proposing(maps), SIDE, 1)[0][0]
    assert best[0] > SIDE / 2
    assert best[3] < SIDE / 2


@pytest.mark.parametrize("kind", ["vit", "conv_vit"])
def test_a_trunk_from_one_side_detects_at_another(kind):
    larger = build_trunk(TRUNKS[kind], 0).with_side(48)
    with seeded(0, "heads"):
        model = FasterRCNN(larger, 3, SMALL)
    assert model.trunk.features(torch.zeros(1, 3, 48, 48)).shape[2:] == (6, 6)
    boxes = torch.cat([found.boxes for found in model.predict(torch.randn(2, 3, 48, 48))])
    assert SIDE < boxes.max() <= 48
    model.loss(torch.randn(1, 3, 48, 48), targets([(30, 30, 47, 47, 1)]), np.random.default_rng(0)).backward()
    assert larger.positions.grad.abs().sum() > 0


def test_a_side_that_patches_do_not_divide_is_refused():
    with pytest.raises(InputError, match="patches"):
        network("vit").predict(torch.zeros(1, 3, 36, 36))


@pytest.mark.parametrize("wrong", [{"scales": ()}, {"ratios": (0.0,)}, {"positive": 0.3, "negative": 0.5}])
def test_settings_that_fit_nothing(wrong):
    with pytest.raises(ValidationError):
        ProposalConfig(**wrong)


def test_targets_without_boxes_have_their_shape():
    assert isinstance(targets([])[0], Target)
    assert targets([])[0].boxes.shape == (0, 4)
