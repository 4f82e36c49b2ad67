import numpy as np
import pytest
import torch

from corkboard.errors import InputError
from corkboard.vision.roi_align import roi_align


def ramp(side, cells):
    """Two channels: x and y of the middle of each cell, in px."""
    at = (torch.arange(cells) + 0.5) * (side / cells)
    return torch.stack([at.expand(cells, cells), at[:, None].expand(cells, cells)])[None]


def test_a_constant_map_gives_a_constant():
    boxes = torch.tensor([[0.0, 0.0, 32.0, 32.0], [3.3, 4.4, 5.5, 30.0], [31.0, 31.0, 32.0, 32.0]])
    assert roi_align(torch.full((1, 2, 4, 4), 3.0), [boxes], 32, 5).sub(3).abs().max() < 1e-6


def test_a_linear_ramp_gives_the_middles_of_the_bins():
    # the box is 12 px wide and 8 px high; 4 bins stand 3 and 2 px apart, the first at half of that
    read = roi_align(ramp(64, 8), [torch.tensor([[10.0, 20.0, 22.0, 28.0]])], 64, 4)[0]
    torch.testing.assert_close(read[0], torch.tensor([11.5, 14.5, 17.5, 20.5]).expand(4, 4))
    torch.testing.assert_close(read[1], torch.tensor([21.0, 23.0, 25.0, 27.0])[:, None].expand(4, 4))


def test_a_box_of_one_cell_around_its_middle_reads_what_stands_there():
    maps = torch.zeros(1, 1, 4, 4)
    maps[0, 0, 1, 2] = 16.0
    read = roi_align(maps, [torch.tensor([[16.0, 8.0, 24.0, 16.0]])], 32, 1)
    # four samples, each a quarter of a cell from the middle in both directions: 3/4 of 3/4 of it
    assert read.item() == pytest.approx(9.0)


def plain(values, box, side, bins):
    """Bilinear reading, sample by sample."""
    height, width = values.shape

    def at(x, y):
        j, i = np.clip(x * width / side - 0.5, 0, width - 1), np.clip(y * height / side - 0.5, 0, height - 1)
        left, top = int(min(j, width - 2)), int(min(i, height - 2))
        a, b = j - left, i - top
        rows = values[top : top + 2, left : left + 2]
        return (1 - b) * ((1 - a) * rows[0, 0] + a * rows[0, 1]) + b * ((1 - a) * rows[1, 0] + a * rows[1, 1])

    x1, y1, x2, y2 = box
    out = np.zeros((bins, bins))
    for i in range(bins):
        for j in range(bins):
            for u in (0.25, 0.75):
                for v in (0.25, 0.75):
                    out[i, j] += at(x1 + (x2 - x1) * (j + u) / bins, y1 + (y2 - y1) * (i + v) / bins) / 4
    return out


def test_against_a_plain_one_with_as_many_boxes_a_picture_as_there_are():
    g = np.random.default_rng(0)
    maps = torch.tensor(g.normal(size=(4, 3, 6, 5)), dtype=torch.float32)
    boxes = []
    for count in (2, 0, 3, 1):
        corner = g.uniform(0, 20, (count, 2))
        boxes.append(torch.tensor(np.concatenate([corner, corner + g.uniform(1, 28, (count, 2))], axis=1), dtype=torch.float32))
    read = roi_align(maps, boxes, 48, 3)
    assert read.shape == (6, 3, 3, 3)
    pictures = [0, 0, 2, 2, 2, 3]
    for row, (picture, box) in enumerate(zip(pictures, torch.cat(boxes).tolist(), strict=True)):
        for channel in range(3):
            np.testing.assert_allclose(read[row, channel].numpy(), plain(maps[picture, channel].numpy(), box, 48, 3), atol=1e-5)


def test_no_boxes_at_all():
    assert roi_align(torch.zeros(2, 3, 4, 4), [torch.zeros(0, 4)] * 2, 32, 5).shape == (0, 3, 5, 5)


def test_gradients_reach_the_cells_that_were_read_and_no_others():
    maps = torch.zeros(2, 1, 4, 4, requires_grad=True)
    roi_align(maps, [torch.zeros(0, 4), torch.tensor([[9.0, 9.0, 15.0, 15.0]])], 32, 2).sum().backward()
    assert maps.grad[0].abs().sum() == 0
    assert maps.grad[1, 0, :3, :3].sum() == pytest.approx(4.0)
    assert maps.grad[1, 0, 3].abs().sum() + maps.grad[1, 0, :, 3].abs().sum() == 0


def test_as_many_maps_as_pictures_with_boxes():
    with pytest.raises(InputError, match="boxes"):
        roi_align(torch.zeros(2, 1, 4, 4), [torch.zeros(1, 4)], 32, 5)
