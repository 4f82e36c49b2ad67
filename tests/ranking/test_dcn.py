"""Cross layers against arithmetic by hand."""

from __future__ import annotations

import pytest
import torch

from corkboard.ranking.dcn import CrossNetwork


def filled(network: CrossNetwork, **parameters: list[list[list[float]]]) -> CrossNetwork:
    with torch.no_grad():
        for name, values in parameters.items():
            for parameter, value in zip(getattr(network, name), values, strict=True):
                parameter.copy_(torch.tensor(value))
    return network


def test_a_layer_by_hand():
    network = filled(CrossNetwork(2, 1), weight=[[[1.0, 2.0], [0.0, -1.0]]], bias=[[0.5, 1.0]])
    # W x + b = (1*3 + 2*4 + .5, -4 + 1) = (11.5, -3); times x0 = (34.5, -12); plus x0
    assert network(torch.tensor([[3.0, 4.0]])).tolist() == [[37.5, -8.0]]


def test_the_second_layer_multiplies_the_input_and_not_the_first_layer():
    identity = [[1.0, 0.0], [0.0, 1.0]]
    network = filled(CrossNetwork(2, 2), weight=[identity, identity], bias=[[0.0, 0.0], [0.0, 0.0]])
    # x1 = x0^2 + x0 = (6, 12); x2 = x0 x1 + x1 = (12 + 6, 36 + 12)
    assert network(torch.tensor([[2.0, 3.0]])).tolist() == [[18.0, 48.0]]


def test_a_low_rank_layer_is_the_full_layer_of_the_product():
    torch.manual_seed(0)
    low = CrossNetwork(5, 2, rank=2)
    full = CrossNetwork(5, 2)
    with torch.no_grad():
        for layer in range(2):
            full.weight[layer].copy_(low.weight[layer] @ low.down[layer])
            low.bias[layer].normal_()
            full.bias[layer].copy_(low.bias[layer])
    x = torch.randn(7, 5)
    torch.testing.assert_close(low(x), full(x))
    assert sum(p.numel() for p in low.parameters()) == 2 * (5 * 2 * 2 + 5)


def test_without_layers_nothing_changes_and_every_parameter_learns():
    x = torch.randn(3, 4)
    assert CrossNetwork(4, 0)(x) is x
    network = CrossNetwork(4, 2, rank=3)
    network(x).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())
    with pytest.raises(RuntimeError):
        network(torch.randn(3, 5))
