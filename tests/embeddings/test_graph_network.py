"""How an encoder over graphs begins to read several parts of features."""

from __future__ import annotations

import pytest
import torch

from corkboard.embeddings.graph_network import LATER_PARTS, projections, side_by_side


def test_the_first_part_keeps_its_axes_and_later_ones_are_turned_and_shorter() -> None:
    first, later = projections((6, 4), 8)
    values = torch.randn(5, 6)
    assert torch.equal(first(values), torch.nn.functional.pad(values, (0, 2)))
    gram = later.weight.T @ later.weight
    assert torch.allclose(gram, LATER_PARTS**2 * torch.eye(4), atol=1e-5)  # lengths and angles stay, but for the factor
    assert not torch.allclose(later.weight, LATER_PARTS * torch.eye(8, 4), atol=0.1)


@pytest.mark.parametrize("widths", [(6,), (6, 4), (3, 20, 5)])
def test_parts_side_by_side_are_the_sum_of_their_projections(widths: tuple[int, ...]) -> None:
    layers = projections(widths, 8)
    parts = [torch.randn(5, width) for width in widths]
    expected = sum(layer(part) for layer, part in zip(layers, parts, strict=True))
    joined = side_by_side(layers)
    assert torch.allclose(joined(torch.cat(parts, dim=1)), expected, atol=1e-5)
    parts[-1] = torch.zeros_like(parts[-1])  # an item without a picture: what the other parts say of it
    alone = sum(layer(part) for layer, part in zip(layers[:-1], parts, strict=False))
    assert torch.allclose(joined(torch.cat(parts, dim=1)), torch.as_tensor(alone).expand(5, 8).float(), atol=1e-5)
