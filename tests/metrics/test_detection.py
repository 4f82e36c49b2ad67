"""Detection measures: known answers by hand, and the fast way against a plain loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.metrics.detection import (
    OVERLAPS,
    FoundIn,
    TruthIn,
    _Boxes,
    average_precision,
    mean_boxes,
    nms_reliance,
    over_detection,
    threshold_at_recall,
)

A, B = [0.0, 0.0, 0.4, 0.4], [0.5, 0.5, 0.9, 0.9]


def truth(*boxes: list[float], classes: list[int] | None = None) -> TruthIn:
    return np.array(boxes).reshape(-1, 4), np.array(classes if classes is not None else [0] * len(boxes))


def found(*boxes: list[float], scores: list[float], classes: list[int] | None = None) -> FoundIn:
    return np.array(boxes).reshape(-1, 4), np.array(scores), np.array(classes if classes is not None else [0] * len(boxes))


NOTHING = found(scores=[])


# --------------------------------------------------------------------------------------------------------------- by hand


def test_perfect_boxes_have_1_everywhere() -> None:
    report = average_precision([found(A, B, scores=[0.9, 0.8], classes=[0, 2])], [truth(A, B, classes=[0, 2])])
    assert (report.ap, report.ap50, report.ap75) == (1.0, 1.0, 1.0)
    assert report.by_class == {0: 1.0, 2: 1.0}
    assert (report.truths, report.found) == (2, 2)


def test_an_overlap_of_six_tenths_is_found_at_50_and_not_at_75() -> None:
    # 10 x 10, moved by 2.5: 75 shared of 125
    report = average_precision([found([2.5, 0, 12.5, 10], scores=[1.0])], [truth([0, 0, 10, 10])])
    assert (report.ap50, report.ap75) == (1.0, 0.0)
    assert report.ap == pytest.approx(3 / 10)  # .50, .55, .60


def test_a_duplicate_before_the_second_truth_lowers_the_curve() -> None:
    # hit, duplicate, hit: precision 1 up to recall 1/2 (recalls 0 to .50: 51 points), then 2/3 (50 points)
    report = average_precision([found(A, A, B, scores=[0.9, 0.8, 0.7])], [truth(A, B)])
    assert report.ap50 == pytest.approx((51 + 50 * 2 / 3) / 101)
    after = average_precision([found(A, B, A, scores=[0.9, 0.8, 0.7])], [truth(A, B)])
    assert after.ap50 == 1.0  # a duplicate after all truths costs nothing


def test_a_curve_by_hand_over_two_pictures() -> None:
    # by score: miss, hit (1 of 3), hit (2 of 3), miss; the third is never found. Precision 0, 1/2, 2/3, 1/2; the envelope is 2/3 up to
    # recall 2/3 (recalls 0 to .66: 67 points) and 0 beyond.
    far = [0.95, 0.95, 1.0, 1.0]
    given = [found(far, A, scores=[0.9, 0.8]), found(B, far, scores=[0.7, 0.6])]
    report = average_precision(given, [truth(A), truth(A, B)])
    assert report.ap50 == pytest.approx(67 * (2 / 3) / 101)


def test_a_recall_that_is_reached_exactly_counts_whatever_its_rounding() -> None:
    # 7 of 10 found, no miss: 71 recalls, .00 to .70; np.linspace has .7000000000000001
    boxes = [[float(n), 0.0, n + 0.5, 1.0] for n in range(10)]
    report = average_precision([found(*boxes[:7], scores=[0.5] * 7)], [truth(*boxes)])
    assert report.ap50 == pytest.approx(71 / 101)


def test_classes_that_no_picture_has_are_left_out_and_those_nobody_finds_are_not() -> None:
    report = average_precision([found(A, B, scores=[0.9, 0.8], classes=[0, 7])], [truth(A, B, classes=[0, 3])])
    assert report.ap50_by_class == {0: 1.0, 3: 0.0}
    assert report.ap50 == 0.5


def test_nothing_found_is_0_and_nothing_true_is_unknown() -> None:
    assert average_precision([NOTHING], [truth(A)]).ap == 0.0
    empty = average_precision([found(A, scores=[0.9])], [truth()])
    assert all(math.isnan(value) for value in (empty.ap, empty.ap50, empty.ap75, *empty.by_size.values()))


def test_the_surest_boxes_of_a_picture_count() -> None:
    given = [found(*[[2.0 + n, 2.0, 2.5 + n, 3.0] for n in range(3)], A, scores=[0.9, 0.8, 0.7, 0.1])]
    assert average_precision(given, [truth(A)], most=3).ap50 == 0.0
    assert average_precision(given, [truth(A)], most=4).ap50 == pytest.approx(1 / 4)


def test_sizes_leave_the_others_out_of_account() -> None:
    small, large = [0.0, 0.0, 0.1, 0.1], [0.2, 0.2, 0.9, 0.9]
    given = [found(small, large, [0.1, 0.6, 0.15, 0.65], scores=[0.9, 0.8, 0.99])]
    report = average_precision(given, [truth(small, large)], bounds=(0.05, 0.2))
    assert report.by_size["large"] == 1.0  # the surest box is small and matches nothing: no miss of large ones
    assert report.by_size["small"] == pytest.approx(0.5)  # it is the miss before the only hit
    assert math.isnan(report.by_size["medium"])


def test_a_truth_that_counts_goes_before_one_that_does_not() -> None:
    # one found box overlaps both truths; the larger overlap is with the one that is out of range
    inside, outside = [0.0, 0.0, 1.0, 0.6], [0.0, 0.0, 1.0, 0.9]
    report = average_precision([found([0.0, 0.0, 1.0, 0.8], scores=[0.9])], [truth(inside, outside)], bounds=(0.7, 0.95))
    assert report.by_size["small"] == pytest.approx(6 / 10)  # .6 / .8 = .75: found at .50 to .75


def test_terciles_are_those_of_the_true_boxes() -> None:
    boxes = [[0.0, 0.0, 1.0, n / 10] for n in range(1, 8)]
    report = average_precision([NOTHING], [truth(*boxes)])
    assert report.bounds == pytest.approx((0.3, 0.5))


# --------------------------------------------------------------------------------------------------------- over-detection


def test_over_detection_by_hand() -> None:
    near, far = [0.0, 0.0, 0.4, 0.39], [0.6, 0.0, 0.9, 0.3]
    beside = [0.0, 0.2, 0.4, 0.6]  # a third of A: neither a match nor background
    given = [found(A, near, far, beside, B, scores=[0.9, 0.8, 0.7, 0.6, 0.2]), found(A, scores=[0.5], classes=[1])]
    true = [truth(A, B), truth(A, classes=[0])]
    sure = over_detection(given, true, 0.5)
    assert (sure.primaries, sure.duplicates, sure.background, sure.found, sure.truths) == (1, 1, 1, 4, 3)  # class 1 is in no picture
    assert (sure.rate, sure.background_rate, sure.recall) == (1.0, 0.25, 1 / 3)
    every = over_detection(given, true, 0.0)
    assert (every.primaries, every.rate, every.recall) == (2, 0.5, 2 / 3)


def test_a_box_of_the_wrong_class_on_a_thing_is_no_background() -> None:
    measured = over_detection([found(B, scores=[0.9], classes=[0])], [truth(A, B, classes=[0, 1])], 0.5)
    assert (measured.primaries, measured.duplicates, measured.background) == (0, 0, 0)
    assert math.isnan(measured.rate)


def test_the_threshold_at_a_recall_is_the_highest_one() -> None:
    given, true = [found(A, [2, 2, 3, 3], B, scores=[0.9, 0.8, 0.3])], [truth(A, B)]
    assert threshold_at_recall(given, true, 0.5) == 0.9
    assert threshold_at_recall(given, true, 0.51) == 0.3
    assert over_detection(given, true, threshold_at_recall(given, true, 1.0)).recall == 1.0
    assert math.isnan(threshold_at_recall([NOTHING], true, 0.5))


def test_reliance_on_suppression_is_what_the_duplicates_cost() -> None:
    before, after = [found(A, A, B, scores=[0.9, 0.8, 0.7])], [found(A, B, scores=[0.9, 0.7])]
    assert nms_reliance(after, before, [truth(A, B)]) == pytest.approx(1 - (51 + 50 * 2 / 3) / 101)
    assert nms_reliance(after, after, [truth(A, B)]) == 0.0


def test_mean_boxes_by_hand() -> None:
    guesses = mean_boxes([truth(A, B, [0.1, 0.1, 0.5, 0.5], classes=[2, 0, 2]), truth()], classes=4, pictures=3)
    boxes, scores, classes = guesses[2]
    assert len(guesses) == 3
    assert classes.tolist() == [0, 2]
    np.testing.assert_allclose(boxes, [B, [0.05, 0.05, 0.45, 0.45]])
    np.testing.assert_allclose(scores, [1 / 3, 2 / 3])
    assert average_precision(guesses[:1], [truth(B)]).ap50 == 1.0


# ------------------------------------------------------------------------------------------------------ chance and errors


def test_equal_scores_come_in_an_order_of_chance() -> None:
    given, true = [found(A, [2, 2, 3, 3], scores=[0.5, 0.5])], [truth(A)]
    values = {round(average_precision(given, true, seed=seed, replicates=1).ap50, 6) for seed in range(12)}
    assert values == {0.5, 1.0}
    assert average_precision(given, true, seed=3).ap50 == average_precision(given, true, seed=3).ap50


def test_the_interval_holds_the_value_and_narrows_with_pictures() -> None:
    given, true = sample(5, 200, sure=0.7)
    many = average_precision(given, true)
    few = average_precision(given[:20], true[:20])
    assert many.ap50_interval.low < many.ap50 < many.ap50_interval.high
    width = many.ap50_interval.high - many.ap50_interval.low
    assert 0 < width < few.ap50_interval.high - few.ap50_interval.low


def test_the_figure_by_picture_has_the_same_value_and_about_the_same_interval() -> None:
    given, true = sample(6, 120, sure=0.7)
    report = average_precision(given, true)
    per_picture = report.ap50_by_picture
    assert per_picture.value == pytest.approx(report.ap50)
    assert per_picture.users == 120
    error = np.std(per_picture.total, ddof=1) / math.sqrt(120)
    assert 0.6 < error / ((report.ap50_interval.high - report.ap50_interval.low) / 3.92) < 1.6


@pytest.mark.parametrize(
    ("given", "true", "message"),
    [
        ([NOTHING], [], "other pictures"),
        ([NOTHING, NOTHING], [truth(A)], "other pictures"),
        ([found([0.4, 0.0, 0.0, 0.4], scores=[1.0])], [truth(A)], "left, top, right, bottom"),
        ([found([0.0, 0.0, math.nan, 0.4], scores=[1.0])], [truth(A)], "left, top, right, bottom"),
        ([found(A, scores=[1.0], classes=[0, 1])], [truth(A)], "has a class"),
        ([found(A, scores=[1.0, 0.5])], [truth(A)], "has a score"),
        ([found(A, scores=[math.nan])], [truth(A)], "has a score"),
    ],
)
def test_what_cannot_be_measured_is_refused(given: list[FoundIn], true: list[TruthIn], message: str) -> None:
    with pytest.raises(InputError, match=message):
        average_precision(given, true)


# ------------------------------------------------------------------------------------------------- against a plain loop


def sample(seed: int, pictures: int, sure: float = 0.6) -> tuple[list[FoundIn], list[TruthIn]]:
    """Boxes of three classes; what is found is near a true one, twice at times, or anywhere."""
    draw = np.random.default_rng(seed)
    given, true = [], []
    for _ in range(pictures):
        n = int(draw.integers(0, 5))
        corner = draw.random((n, 2)) * 0.6
        boxes = np.concatenate([corner, corner + 0.05 + draw.random((n, 2)) * 0.35], axis=1)
        kinds = draw.integers(0, 3, n)
        near = np.repeat(np.arange(n), draw.integers(0, 3, n))
        moved = np.sort((boxes[near] + draw.normal(0, 0.02, (len(near), 4))).reshape(-1, 2, 2), axis=1).reshape(-1, 4)
        corner = draw.random((3, 2)) * 0.6
        anywhere = np.concatenate([corner, corner + 0.05 + draw.random((3, 2)) * 0.35], axis=1)
        labels = np.where(draw.random(len(near)) < 0.85, kinds[near], draw.integers(0, 3, len(near)))
        scores = np.concatenate([draw.random(len(near)) * (1 - sure) + sure, draw.random(3)])
        given.append((np.concatenate([moved, anywhere]), scores, np.concatenate([labels, draw.integers(0, 3, 3)])))
        true.append((boxes, kinds))
    return given, true


def plain_overlap(a: np.ndarray, b: np.ndarray) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0.0) * max(high, 0.0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def plain_ap(given: list[FoundIn], true: list[TruthIn], kind: int, overlap: float) -> float:
    """One class at one overlap, as a textbook has it."""
    rows = [(s, p, b) for p, (boxes, scores, kinds) in enumerate(given) for b, s, k in zip(boxes, scores, kinds, strict=True) if k == kind]
    total = sum(int((kinds == kind).sum()) for _, kinds in true)
    taken: set[tuple[int, int]] = set()
    hits, precisions, recalls = 0, [], []
    for count, (_, picture, box) in enumerate(sorted(rows, key=lambda row: -row[0]), start=1):
        boxes, kinds = true[picture]
        options = [(plain_overlap(box, boxes[t]), t) for t in range(len(boxes)) if kinds[t] == kind and (picture, t) not in taken]
        best = max(options, default=(0.0, -1))
        if best[0] >= overlap:
            taken.add((picture, best[1]))
            hits += 1
        precisions.append(hits / count)
        recalls.append(hits / total)
    at = [max((p for p, r in zip(precisions, recalls, strict=True) if r >= recall / 100 - 1e-9), default=0.0) for recall in range(101)]
    return sum(at) / 101


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_fast_way_agrees_with_a_plain_loop(seed: int) -> None:
    given, true = sample(seed, 40)
    report = average_precision(given, true)
    for kind in range(3):
        plain = [plain_ap(given, true, kind, overlap) for overlap in OVERLAPS]
        assert report.ap50_by_class[kind] == pytest.approx(plain[0])
        assert report.by_class[kind] == pytest.approx(np.mean(plain))
    assert 0.2 < report.ap50 < 1.0


def test_a_resample_is_what_the_same_pictures_twice_would_give() -> None:
    given, true = sample(9, 12)
    # weights 2, 0, 1, ... against pictures written out, with scores apart by less than anything so that the order is the same
    boxes = _Boxes.of(given, true, 100, 0)
    matched = boxes.matched(OVERLAPS[:1])
    weights = np.random.default_rng(1).multinomial(12, [1 / 12] * 12, 1)
    fast = boxes.precision(matched.hit, matched.counts, weights.astype(float), np.ones(len(boxes.true), bool))[0, :, 0]
    rows = np.repeat(np.arange(12), weights[0])
    written = average_precision([given[row] for row in rows], [true[row] for row in rows], replicates=1)
    by_class = [written.ap50_by_class.get(int(kind), math.nan) for kind in boxes.classes]
    np.testing.assert_allclose(fast, by_class, atol=0.02)  # equal scores of a picture taken twice: hits and misses may change places
