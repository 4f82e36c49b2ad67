import math

import numpy as np
import pytest
import torch

from corkboard.seeds import generator
from corkboard.vision.boxes import iou
from corkboard.vision.centre_net import CentreNet, _bell, _boxes_of, _cells_of, focal_loss, giou
from corkboard.vision.cnn import fold_batch_norm
from corkboard.vision.config import CentreConfig, TrunkConfig
from corkboard.vision.detection import as_targets
from corkboard.vision.trunk import build_trunk

SMALL = CentreConfig(channels=16)


def net(side=64, classes=3, seed=0, config=SMALL, kind="cnn"):
    trunk = build_trunk(TrunkConfig(kind=kind, side=side, width=0.5, patch=8, dim=32), seed)
    torch.manual_seed(seed)
    return CentreNet(trunk, classes, config)


def squares(count, draw, side=40):
    """Grey pictures with one bright square each, red or green, and its box and class."""
    images, boxes, classes = np.full((count, 3, side, side), -0.5, np.float32), [], []
    for k in range(count):
        size = int(draw.integers(12, 24))
        left, top = draw.integers(0, side - size, 2)
        kind = int(draw.integers(0, 2))
        images[k, kind, top : top + size, left : left + size] = 2.0
        boxes.append(np.array([[left, top, left + size, top + size]], np.float32))
        classes.append(np.array([kind]))
    return torch.from_numpy(images), boxes, classes


# ------------------------------------------------------------------------------------------------------------ known answers


def test_focal_loss_by_hand():
    logits = torch.zeros(1, 1, 1, 3)
    heat = torch.tensor([[[[1.0, 0.5, 0.0]]]])
    # p is a half: (1/2)^2 log 2 in the middle, (1/2)^4 (1/2)^2 log 2 beside it, (1/2)^2 log 2 far off; one thing
    assert focal_loss(logits, heat).item() == pytest.approx((1 / 4 + 1 / 64 + 1 / 4) * math.log(2))


def test_focal_loss_is_a_mean_over_things_and_finite_without_any():
    logits = torch.zeros(1, 1, 1, 2)
    assert focal_loss(logits, torch.ones(1, 1, 1, 2)).item() == pytest.approx(math.log(2) / 4)
    assert focal_loss(logits, torch.zeros(1, 1, 1, 2)).item() == pytest.approx(2 * math.log(2) / 4)
    assert torch.isfinite(focal_loss(torch.tensor([[[[1e4, -1e4]]]]), torch.tensor([[[[0.0, 1.0]]]])))


def test_giou_by_hand():
    a = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 2, 2]])
    b = torch.tensor([[0.0, 0, 2, 2], [2, 0, 3, 1], [1, 0, 3, 2]])
    # the same; a gap of one between two of area 1 in a hull of 3; half of each shared, and they fill their hull
    torch.testing.assert_close(giou(a, b), torch.tensor([1.0, -1 / 3, 1 / 3]))


def test_giou_is_the_overlap_less_what_the_hull_leaves():
    draw = generator(0, "giou")
    corners = draw.uniform(0, 50, (2, 200, 2)).astype(np.float32)
    a, b = (torch.from_numpy(np.concatenate([c, c + draw.uniform(1, 30, c.shape).astype(np.float32)], axis=1)) for c in corners)
    shared, value = iou(a, b).diagonal(), giou(a, b)
    assert (value <= shared + 1e-6).all()
    assert (value >= -1).all()
    apart = shared == 0
    assert apart.any()
    assert (value[apart] <= 0).all()


def test_a_bell_is_one_in_its_cell_and_falls_by_its_deviations():
    bell = _bell(np.array([2, 1]), np.array([1.0, 2.0]), (4, 5))
    assert bell.shape == (4, 5)
    assert bell[1, 2] == 1
    assert bell[1, 3] == pytest.approx(math.exp(-1 / 2))
    assert bell[2, 2] == pytest.approx(math.exp(-1 / 8))
    assert bell[3, 4] == pytest.approx(math.exp(-4 / 2 - 4 / 8))


def test_a_tiny_thing_still_has_a_cell():
    bell = _bell(np.array([0, 0]), np.zeros(2), (3, 3))
    assert bell[0, 0] == 1
    assert bell[0, 1] < 0.01


def test_boxes_of_cells_by_hand():
    places = torch.zeros(1, 4, 2, 2)
    places[0, :, 1, 0] = torch.tensor([0.5, -0.25, math.log(2), 0])
    boxes = _boxes_of(places, (16, 16))  # cells of 8 px, a box of 32 px where nothing is said
    torch.testing.assert_close(boxes[0, :, 0, 1], torch.tensor([12.0 - 16, 4 - 16, 12 + 16, 4 + 16]))
    torch.testing.assert_close(boxes[0, :, 1, 0], torch.tensor([8.0 - 32, 10 - 16, 8 + 32, 10 + 16]))


def test_no_output_overflows_a_box():
    assert torch.isfinite(_boxes_of(torch.full((1, 4, 2, 2), 1e4), (16, 16))).all()


def test_cells_of_things():
    boxes = [np.array([[0, 0, 64, 64], [40, 8, 56, 24]], np.float32), np.zeros((0, 4), np.float32)]
    cells = _cells_of(as_targets(boxes, [np.array([0, 2]), np.zeros(0, np.int64)]), 3, (8, 8), (64, 64), CentreConfig())
    assert cells.heat.shape == (2, 3, 8, 8)
    assert (cells.heat[1] == 0).all()
    assert (cells.weights[1] == 0).all()
    assert [tuple(place) for place in (cells.heat[0, 0] == 1).nonzero().tolist()] == [(4, 4)]
    assert [tuple(place) for place in (cells.heat[0, 2] == 1).nonzero().tolist()] == [(2, 6)]
    assert (cells.heat[0, 1] == 0).all()
    assert cells.boxes[0, 4, 4].tolist() == [0, 0, 64, 64]
    assert cells.boxes[0, 2, 6].tolist() == [40, 8, 56, 24], "the smaller thing has the cell that both claim"
    mine = (cells.boxes[0] == torch.tensor([40.0, 8, 56, 24])).all(dim=2)
    assert cells.weights[0][mine].sum().item() == pytest.approx(1)


# ---------------------------------------------------------------------------------------------------------------- network


@pytest.mark.parametrize("kind", ["cnn", "vit", "conv_vit"])
def test_shapes_over_any_trunk(kind):
    network = net(kind=kind).eval()
    pixels = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        heat, boxes = network(pixels)
    assert heat.shape == (2, 3, 8, 8)
    assert boxes.shape == (2, 4, 8, 8)
    assert heat.sigmoid().max() < 0.1, "an untrained head believes in little"
    found = network.predict(pixels)
    assert len(found) == 2
    for one in found:
        assert one.boxes.shape == (len(one.scores), 4)
        assert one.posteriors.shape == (len(one.scores), 3)
        assert (one.boxes >= 0).all()
        assert (one.boxes <= 64).all()
        torch.testing.assert_close(one.posteriors.sum(dim=1), torch.ones(len(one.scores)))
        assert (one.scores.diff() <= 0).all()


def test_peaks_are_cells_that_no_neighbour_exceeds():
    network = net(classes=2, config=CentreConfig(channels=16, peaks=3)).eval()
    heat = torch.full((1, 2, 4, 4), -6.0)
    heat[0, 0, 0, 0], heat[0, 0, 0, 1], heat[0, 1, 3, 3], heat[0, 1, 1, 1] = 3.0, 2.0, 1.0, 0.0
    network.forward = lambda pixels: (heat, torch.arange(64.0).reshape(1, 4, 4, 4))
    found = network.predict(torch.zeros(1, 3, 64, 64))[0]
    # (0, 1) is beside a higher cell of its class; (1, 1) is the peak of the other class
    torch.testing.assert_close(found.scores, torch.tensor([3.0, 1.0, 0.0]).sigmoid())
    assert found.posteriors.argmax(dim=1).tolist() == [0, 1, 1]
    assert found.boxes[0].tolist() == [0, 16, 32, 48]
    assert found.boxes[1].tolist() == [15, 31, 47, 63]


def test_loss_and_gradient_without_any_object():
    network = net()
    loss = network.loss(torch.randn(2, 3, 64, 64), as_targets([np.zeros((0, 4))] * 2, [np.zeros(0)] * 2), generator(0))
    loss.backward()
    assert torch.isfinite(loss)
    assert network.heat.weight.grad.abs().sum() > 0


def test_folded_batch_norm_finds_the_same():
    network = net()
    pixels, boxes, classes = squares(8, generator(0, "squares"))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        network.train().loss(pixels, as_targets(boxes, classes), generator(0)).backward()
        optimizer.step()
    folded = fold_batch_norm(network)
    with torch.no_grad():
        for a, b in zip(network.eval()(pixels), folded(pixels), strict=True):
            torch.testing.assert_close(a, b, atol=2e-3, rtol=1e-3)


def test_it_learns_where_squares_are_and_which_they_are():
    network = net(side=40, classes=2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3)
    draw = generator(1, "squares")
    for _ in range(80):
        pixels, boxes, classes = squares(12, draw)
        optimizer.zero_grad()
        network.train().loss(pixels, as_targets(boxes, classes), draw).backward()
        optimizer.step()
    pixels, boxes, classes = squares(32, generator(2, "squares"))
    found = network.predict(pixels)
    overlap = np.array([iou(one.boxes[:1], torch.from_numpy(box)).item() for one, box in zip(found, boxes, strict=True)])
    right = np.array([one.posteriors[0].argmax().item() == kind[0] for one, kind in zip(found, classes, strict=True)])
    assert (overlap > 0.5).mean() > 0.8
    assert right.mean() > 0.9
