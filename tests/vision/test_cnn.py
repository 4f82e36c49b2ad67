import numpy as np
import pytest
import torch
from torch import nn

from corkboard.seeds import generator
from corkboard.vision.cnn import ConvTrunk, fold_batch_norm
from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import ConvBlock
from corkboard.vision.trunk import build_trunk


def multiply_adds(trunk):
    """Products of the convolutions and linear layers for one picture, by what passes through them."""
    total = []

    def count(module, _, out):
        places = out.shape[2] * out.shape[3] if isinstance(module, nn.Conv2d) else out.numel() // out.shape[-1]
        total.append(module.weight.numel() * places)

    hooks = [m.register_forward_hook(count) for m in trunk.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    with torch.no_grad():
        trunk.eval()(torch.zeros(1, 3, trunk.side, trunk.side))
    for hook in hooks:
        hook.remove()
    return sum(total)


def trained_a_little(trunk, steps=5):
    """Statistics and weights that are no longer those of the start."""
    optimizer = torch.optim.SGD(trunk.parameters(), lr=0.05)
    trunk.train()
    for step in range(steps):
        images = generator(step, "picture").integers(0, 256, (8, trunk.side, trunk.side, 3), dtype=np.uint8)
        optimizer.zero_grad()
        (trunk(trunk.pixels(images)) - 1).square().mean().backward()
        optimizer.step()
    return trunk.eval()


def test_the_default_is_as_small_as_it_says():
    trunk = build_trunk(TrunkConfig(), seed=0)
    by_hand = 9 * (3 * 16 + 16 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128) + 2 * (16 + 32 + 64 + 64 + 128 + 128)
    assert sum(p.numel() for p in trunk.parameters()) == by_hand == 282_384
    by_hand = 9 * (3 * 16 * 24**2 + 16 * 32 * 12**2 + (32 * 64 + 64 * 64 + 64 * 128 + 128 * 128) * 6**2)
    assert multiply_adds(trunk) == by_hand == 10_865_664
    assert (trunk.dim, trunk.side, trunk.depths) == (128, 48, 6)


@pytest.mark.parametrize(("side", "width", "shape"), [(48, 1.0, (128, 6, 6)), (32, 0.5, (64, 4, 4)), (20, 0.01, (8, 3, 3))])
def test_shapes_and_the_pooled_map(side, width, shape):
    trunk = build_trunk(TrunkConfig(side=side, width=width), seed=0).eval()
    pixels = torch.randn(2, 3, side, side)
    with torch.no_grad():
        features, pooled = trunk.features(pixels), trunk(pixels)
    assert features.shape == (2, *shape)
    assert pooled.shape == (2, trunk.dim) == (2, shape[0])
    torch.testing.assert_close(pooled, features.mean(dim=(2, 3)))


def test_folded_batch_norm_gives_equal_outputs_and_leaves_the_trunk_alone():
    trunk = trained_a_little(build_trunk(TrunkConfig(side=24), seed=0))
    folded = fold_batch_norm(trunk)
    pixels = torch.randn(9, 3, 24, 24)
    with torch.no_grad():
        torch.testing.assert_close(folded(pixels), trunk(pixels), atol=1e-4, rtol=0)
        assert trunk(pixels).abs().max() > 0.1
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in trunk.modules()) == 6
    assert sum(p.numel() for p in folded.parameters()) == sum(p.numel() for p in trunk.parameters()) - (16 + 32 + 64 + 64 + 128 + 128)


def test_folding_would_be_seen_if_the_statistics_were_left_out():
    trunk = trained_a_little(build_trunk(TrunkConfig(side=24), seed=0))
    bare = fold_batch_norm(trunk)
    for block, own in zip(bare.blocks, trunk.blocks, strict=True):
        assert isinstance(block, ConvBlock)
        block.conv.weight.data = own.conv.weight.data
    pixels = torch.randn(9, 3, 24, 24)
    with torch.no_grad():
        assert (bare(pixels) - trunk(pixels)).abs().max() > 1e-2


def test_a_picture_is_encoded_alike_alone_and_among_others_in_evaluation():
    trunk = trained_a_little(build_trunk(TrunkConfig(side=16), seed=0))
    pixels = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(trunk(pixels[:1]), trunk(pixels)[:1], atol=1e-5, rtol=1e-4)
        trunk.train()
        assert (trunk(pixels[:2])[:1] - trunk(pixels)[:1]).abs().max() > 1e-3


def test_depths_follow_the_blocks():
    trunk = ConvTrunk(TrunkConfig(side=16))
    assert {trunk.depth_of(name) for name, _ in trunk.named_parameters()} == set(range(6))
    assert trunk.depth_of("blocks.0.conv.weight") == 0
    assert trunk.depth_of("blocks.5.norm.bias") == 5
