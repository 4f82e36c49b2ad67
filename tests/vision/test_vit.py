import numpy as np
import pytest
import torch
from torch import nn

from corkboard.errors import InputError
from corkboard.vision.config import TrunkConfig
from corkboard.vision.trunk import build_trunk
from corkboard.vision.vit import resize_positions

SMALL = {"side": 24, "patch": 6, "dim": 16, "layers": 2, "heads": 2}


def small(**changes):
    return build_trunk(TrunkConfig(**(SMALL | {"kind": "vit"} | changes)), seed=0).eval()


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize(("kind", "grid"), [("vit", 4), ("conv_vit", 3)])
def test_shapes(kind, grid, pool):
    trunk = small(kind=kind, pool=pool)
    pixels = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        assert trunk.features(pixels).shape == (2, 16, grid, grid)
        assert trunk(pixels).shape == (2, 16)
    assert trunk.positions.shape == (grid * grid + (pool == "cls"), 16)


def test_the_mean_is_that_of_the_map_and_the_token_is_not_in_it():
    pixels = torch.randn(2, 3, 24, 24)
    with torch.no_grad():
        mean, own = small(pool="mean"), small(pool="cls")
        torch.testing.assert_close(mean(pixels), mean.features(pixels).mean(dim=(2, 3)))
        before = own(pixels)
        assert (before - own.features(pixels).mean(dim=(2, 3))).abs().max() > 1e-3
        own.token += torch.randn(16)
        assert (own(pixels) - before).abs().max() > 1e-3


def test_attention_against_its_formula():
    trunk = small(layers=1)
    block, tokens = trunk.blocks[0], torch.randn(2, 5, 16)
    with torch.no_grad():
        for linear in (block.query_key_value, block.mixed, block.up, block.down):
            linear.weight.normal_(std=0.3)
        normed = block.norm_attention(tokens)
        query, key, value = block.query_key_value(normed).chunk(3, dim=-1)
        heads = []
        for head in range(2):
            part = slice(8 * head, 8 * head + 8)
            scores = query[..., part] @ key[..., part].transpose(1, 2) / np.sqrt(8)
            heads.append(scores.softmax(dim=-1) @ value[..., part])
        read = tokens + block.mixed(torch.cat(heads, dim=-1))
        wanted = read + block.down(nn.functional.gelu(block.up(block.norm_mlp(read))))
        torch.testing.assert_close(block(tokens), wanted, atol=1e-5, rtol=1e-5)


def test_a_patch_is_a_token_in_reading_order():
    trunk = small(layers=1)
    with torch.no_grad():
        for block in trunk.blocks:  # blocks that add nothing
            for linear in (block.mixed, block.down):
                linear.weight.zero_()
        pixels = torch.zeros(1, 3, 24, 24)
        before = trunk.features(pixels)
        pixels[:, :, 6:12, 18:24] = 1
        changed = (trunk.features(pixels) - before).abs().amax(dim=1)[0] > 1e-5
    assert changed.nonzero().tolist() == [[1, 3]]


def test_positions_of_the_same_grid_are_the_same_tensor():
    positions = torch.randn(17, 8)
    assert resize_positions(positions, (4, 4), (4, 4), 1) is positions


@pytest.mark.parametrize("new", [(8, 8), (2, 2), (3, 5)])
def test_the_token_of_its_own_keeps_its_position(new):
    positions = torch.randn(17, 8)
    found = resize_positions(positions, (4, 4), new, 1)
    assert found.shape == (1 + new[0] * new[1], 8)
    assert torch.equal(found[0], positions[0])
    assert not torch.equal(found[1 : 1 + 4], positions[1 : 1 + 4])


def test_a_constant_grid_stays_constant_and_a_ramp_stays_a_ramp():
    constant = resize_positions(torch.full((16, 3), 2.5), (4, 4), (7, 7), 0)
    torch.testing.assert_close(constant, torch.full((49, 3), 2.5))
    columns = torch.arange(8.0).repeat(8)[:, None]
    found = resize_positions(columns, (8, 8), (16, 16), 0).view(16, 16)
    torch.testing.assert_close(found[4, 4:12], (torch.arange(4, 12) + 0.5) / 2 - 0.5, atol=0.05, rtol=0)
    assert torch.allclose(found, found[:1].expand(16, 16), atol=1e-4)


def test_positions_of_another_grid_are_refused():
    with pytest.raises(InputError, match="do not fit their grid"):
        resize_positions(torch.randn(16, 8), (4, 4), (8, 8), 1)


def test_another_side_is_read_as_by_a_trunk_made_for_it():
    trunk = small(pool="cls")
    larger = trunk.with_side(48)
    pixels = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        torch.testing.assert_close(trunk(pixels), larger(pixels))
    assert (larger.side, larger.settings.side, larger.positions.shape[0]) == (48, 48, 65)
    assert torch.equal(trunk.with_side(24).positions, trunk.positions)
    with pytest.raises(InputError, match="whole patches"):
        trunk(torch.randn(1, 3, 20, 20))
    with pytest.raises(ValueError, match="does not divide"):
        trunk.with_side(50)


def test_a_stem_is_folded_for_serving():
    trunk = small(kind="conv_vit")
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -1, 1)
            nn.init.uniform_(module.running_var, 0.5, 2)
    pixels, served = torch.randn(3, 3, 24, 24), trunk.served()
    with torch.no_grad():
        torch.testing.assert_close(served(pixels), trunk(pixels), atol=1e-4, rtol=0)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in served.modules())


def test_depths_go_from_the_stem_to_the_last_norm():
    trunk = small(pool="cls")
    depths = {name: trunk.depth_of(name) for name, _ in trunk.named_parameters()}
    assert trunk.depths == 3
    assert {depths[name] for name in ("stem.weight", "positions", "token")} == {0}
    assert (depths["blocks.0.up.bias"], depths["blocks.1.up.bias"], depths["norm.weight"]) == (1, 2, 2)
