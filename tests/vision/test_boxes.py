import math

import numpy as np
import pytest
import torch

from corkboard.errors import InputError
from corkboard.vision.boxes import BoxCoder, areas, clip, intersections, iou, nms, nms_by_class


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def drawn(count, seed):
    g = np.random.default_rng(seed)
    corner = g.uniform(0, 50, (count, 2))
    return torch.tensor(np.concatenate([corner, corner + g.uniform(5, 50, (count, 2))], axis=1), dtype=torch.float32)


def test_overlap_by_hand():
    a = boxes([0, 0, 4, 2], [1, 1, 2, 2])
    b = boxes([2, 0, 6, 2], [4, 0, 5, 2], [0, 0, 4, 2])
    # 2 x 2 of 8 + 8 - 4; edges that touch share nothing; the same; apart twice; 1 of 8
    assert areas(a).tolist() == [8, 1]
    assert intersections(a, b).tolist() == [[4, 0, 8], [0, 0, 1]]
    torch.testing.assert_close(iou(a, b), torch.tensor([[4 / 12, 0, 1], [0, 0, 1 / 8]]))


def test_overlap_is_the_same_from_both_sides_and_at_every_scale_and_never_above_one():
    a, b = drawn(20, 0), drawn(30, 1)
    torch.testing.assert_close(iou(a, b), iou(b, a).T)
    torch.testing.assert_close(iou(a, b), iou(a / 64 + 3, b / 64 + 3), rtol=1e-3, atol=1e-5)
    assert iou(a, b).max() <= 1
    torch.testing.assert_close(iou(a, a).diagonal(), torch.ones(20))


def test_boxes_without_area_and_no_boxes_overlap_nothing():
    flat, turned, whole = [3, 3, 3, 9], [5, 5, 2, 2], [0, 0, 9, 9]
    assert areas(boxes(flat, turned)).tolist() == [0, 0]
    assert iou(boxes(flat, turned), boxes(flat, turned, whole)).tolist() == [[0, 0, 0], [0, 0, 0]]
    assert iou(boxes(), boxes(whole)).shape == (0, 1)
    assert iou(boxes(whole), boxes()).shape == (1, 0)


def test_clip():
    assert clip(boxes([-3, 2, 12, 5]), 10).tolist() == [[0, 2, 10, 5]]


def test_suppression_by_hand():
    # overlaps: 0 and 1 share 8 of 12, 1 and 2 as well, 0 and 2 share 6 of 14
    row = boxes([0, 0, 10, 1], [2, 0, 12, 1], [4, 0, 14, 1], [50, 0, 60, 1])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95])
    assert nms(row, scores, 0.5).tolist() == [3, 0, 2]  # 1 is gone before it could suppress 2
    assert nms(row, scores, 0.4).tolist() == [3, 0]
    assert nms(row, scores, 0.7).tolist() == [3, 0, 1, 2]
    assert nms(row, scores, 0.5, most=2).tolist() == [3, 0]
    assert nms(boxes(), torch.zeros(0), 0.5).tolist() == []


def test_an_overlap_at_the_threshold_stays_and_equal_scores_go_by_order():
    row = boxes([0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 2, 1])
    assert nms(row, torch.ones(3), 0.5).tolist() == [0, 1]


def plain_nms(rows, scores, threshold):
    left, kept = np.argsort(-scores.numpy(), kind="stable").tolist(), []
    while left:
        best, *left = left
        kept.append(best)
        left = [other for other in left if iou(rows[best : best + 1], rows[other : other + 1]).item() <= threshold]
    return kept


@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.6])
def test_suppression_against_a_plain_one(threshold):
    rows, scores = drawn(60, 2), torch.from_numpy(np.random.default_rng(3).integers(0, 20, 60) / 20)
    kept = nms(rows, scores, threshold)
    assert kept.tolist() == plain_nms(rows, scores, threshold)
    assert 1 < len(kept) < 60


def test_suppression_by_class_is_that_of_each_class_alone():
    rows, scores = drawn(80, 4) - 30, torch.from_numpy(np.random.default_rng(5).permutation(80) / 80)
    classes = torch.from_numpy(np.random.default_rng(6).integers(0, 200, 4)[np.arange(80) % 4])
    expected = []
    for name in classes.unique():
        own = (classes == name).nonzero()[:, 0]
        expected += own[nms(rows[own], scores[own], 0.3)].tolist()
    assert nms_by_class(rows, scores, classes, 0.3).tolist() == sorted(expected, key=lambda row: -scores[row])
    assert len(expected) > len(nms(rows, scores, 0.3))
    assert nms_by_class(boxes(), torch.zeros(0), torch.zeros(0, dtype=torch.int64), 0.3).tolist() == []


def test_steps_by_hand_and_back():
    anchor, box = boxes([10, 10, 20, 30]), boxes([15, 20, 25, 60])  # centres 15, 20 and 20, 40; sizes 10, 20 and 10, 40
    steps = BoxCoder().encode(anchor, box)
    torch.testing.assert_close(steps, torch.tensor([[0.5, 1.0, 0.0, math.log(2)]]))
    torch.testing.assert_close(BoxCoder((0.1, 0.1, 0.2, 0.2)).encode(anchor, box), steps / torch.tensor([0.1, 0.1, 0.2, 0.2]))
    torch.testing.assert_close(BoxCoder().decode(anchor, steps), box)


def test_every_box_comes_back():
    coder, a, b = BoxCoder((0.1, 0.1, 0.2, 0.2)), drawn(40, 7), drawn(40, 8)
    torch.testing.assert_close(coder.decode(a, coder.encode(a, b)), b, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(coder.decode(a, torch.zeros(40, 4)), a)


def test_steps_stay_finite():
    coder, anchor = BoxCoder(), boxes([0, 0, 10, 10])
    assert coder.encode(anchor, boxes([5, 5, 5, 5])).isfinite().all()
    left, top, right, bottom = coder.decode(anchor, torch.tensor([[0.0, 0.0, 1e9, -1e9]]))[0].tolist()
    assert right - left == pytest.approx(625)
    assert bottom - top == pytest.approx(0)


@pytest.mark.parametrize("std", [(1, 1, 1), (1, 1, 0, 1)])
def test_a_coder_needs_four_spreads_above_zero(std):
    with pytest.raises(InputError, match="four"):
        BoxCoder(std)
