import numpy as np
import pytest
import torch

from corkboard.artifacts import Space
from corkboard.errors import InputError
from corkboard.seeds import generator
from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import ConvBlock, TrunkEncoder, digest
from corkboard.vision.trunk import build_trunk


def noise(n, side, seed=0):
    return generator(seed, "noise").integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.fixture
def trunk():
    return build_trunk(TrunkConfig(side=16, width=0.5), seed=1)


def test_vectors_are_those_of_the_trunk_whatever_the_batch(trunk):
    images = noise(7, 16)
    found = TrunkEncoder(trunk, batch=3).encode(images)
    with torch.no_grad():
        wanted = trunk.eval()(trunk.pixels(images)).numpy()
    assert (found.dtype, found.shape) == (np.float32, (7, 64))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(TrunkEncoder(trunk, batch=128).encode(images), found, atol=1e-6)
    assert TrunkEncoder(trunk).encode(images[:0]).shape == (0, 64)


def test_pictures_of_another_size_are_resized(trunk):
    encoder = TrunkEncoder(trunk)
    small = np.broadcast_to(noise(1, 1), (1, 32, 32, 3))
    np.testing.assert_allclose(encoder.encode(small), encoder.encode(small[:, :16, :16]), atol=1e-5)
    assert (encoder.dim, encoder.side) == (64, 16)
    with pytest.raises(InputError, match="wrong form"):
        encoder.encode(np.zeros((1, 16, 16, 3)))


def test_the_trunk_itself_is_left_in_peace(trunk):
    before = digest(trunk.state_dict())
    TrunkEncoder(trunk).encode(noise(2, 16))
    assert digest(trunk.state_dict()) == before
    assert all(parameter.requires_grad for parameter in trunk.parameters())


def test_the_space_names_the_weights(trunk):
    space = TrunkEncoder(trunk).space
    assert space == TrunkEncoder(build_trunk(TrunkConfig(side=16, width=0.5), seed=1)).space
    assert space != TrunkEncoder(build_trunk(TrunkConfig(side=16, width=0.5), seed=2)).space
    assert TrunkEncoder(trunk, Space("other", "1")).space == Space("other", "1")
    with torch.no_grad():
        trunk.blocks[0].norm.running_mean += 1
    assert TrunkEncoder(trunk).space != space


def test_a_digest_passes_over_counters_alone():
    tensors = {"a": torch.zeros(2), "steps": torch.tensor(3)}
    assert digest(tensors) == digest(tensors | {"steps": torch.tensor(4)})
    assert len({digest(t) for t in (tensors, {"b": torch.zeros(2)}, {"a": torch.zeros(1, 2)}, {"a": torch.zeros(2).double()})}) == 4


def test_a_block_by_hand():
    block = ConvBlock(1, 1, stride=2).eval()
    with torch.no_grad():
        block.conv.weight.fill_(1.0)
        block.norm.running_mean.fill_(1.0)
        block.norm.running_var.fill_(4.0 - block.norm.eps)
        block.norm.weight.fill_(3.0)
        block.norm.bias.fill_(-2.0)
        found = block(torch.ones(1, 1, 4, 4))
    # sums of ones under the kernel are 4 in the corner, 6 at the edges, 9 inside: (sum - 1) / 2 * 3 - 2
    assert found[0, 0].flatten().tolist() == pytest.approx([2.5, 5.5, 5.5, 10.0])
    with torch.no_grad():
        assert torch.allclose(block.folded()(torch.ones(1, 1, 4, 4)), found)
