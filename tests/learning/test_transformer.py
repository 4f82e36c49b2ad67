from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from corkboard.errors import ConfigError
from corkboard.learning.config import TransformerConfig
from corkboard.learning.transformer import CausalTransformer

POSITIONS = ["distance", "start", "none"]


def made(positions: str = "distance", time_gaps: bool = True, **changes: object) -> CausalTransformer:
    torch.manual_seed(0)
    config = TransformerConfig.model_validate(
        {"width": 8, "heads": 2, "layers": 2, "window": 12, "dropout": 0.0, "positions": positions, "time_gaps": time_gaps, **changes}
    )
    encoder = CausalTransformer(config)
    with torch.no_grad():
        for name in ("distances", "gaps"):
            if hasattr(encoder, name):
                getattr(encoder, name).normal_()
    return encoder.eval()


def inputs(time: int = 10) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(3, time, 8), torch.randint(0, 33, (3, time, time))


def reference(encoder: CausalTransformer, tokens: Tensor, gaps: Tensor) -> Tensor:
    """The plainest loops: one sequence, one head, one reader, one token at a time."""
    config, blocks = encoder.settings, encoder.blocks
    out = []
    for row in range(len(tokens)):
        x = tokens[row] + encoder.starts[: len(tokens[row])] if config.positions == "start" else tokens[row]
        for block in blocks:
            normed = block.norm_attention(x)
            query, (key, value) = block.query(normed), block.key_value(normed).chunk(2, dim=-1)
            mixed, size = torch.zeros_like(x), config.width // config.heads
            for head in range(config.heads):
                part = slice(head * size, (head + 1) * size)
                for i in range(len(x)):
                    scores = []
                    for j in range(i + 1):
                        score = query[i, part] @ key[j, part] / math.sqrt(size)
                        if config.positions == "distance":
                            score = score + encoder.distances[i - j, head]
                        if config.time_gaps:
                            score = score + encoder.gaps[gaps[row, i, j], head]
                        scores.append(score)
                    weights = torch.softmax(torch.stack(scores), 0)
                    mixed[i, part] = weights @ value[: i + 1, part]
            x = x + block.mixed(mixed)
            x = x + block.down(torch.relu(block.up(block.norm_forward(x))))
        out.append(encoder.norm(x))
    return torch.stack(out)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("time_gaps", [True, False])
def test_agrees_with_loops(positions: str, time_gaps: bool) -> None:
    encoder, (tokens, gaps) = made(positions, time_gaps), inputs(5)
    with torch.no_grad():
        assert torch.allclose(encoder(tokens, gaps), reference(encoder, tokens, gaps), atol=1e-5)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("time_gaps", [True, False])
def test_no_output_depends_on_a_later_token_or_on_padding(positions: str, time_gaps: bool) -> None:
    encoder, (tokens, gaps) = made(positions, time_gaps), inputs()
    changed, changed_gaps = tokens.clone(), gaps.clone()
    changed[:, 6:] = 7.0
    changed_gaps[:, :, 6:] = 3
    with torch.no_grad():
        before, after = encoder(tokens, gaps), encoder(changed, changed_gaps)
        short = encoder(tokens[:, :6], gaps[:, :6, :6])
    assert torch.allclose(before[:, :6], after[:, :6], atol=1e-6)
    assert torch.allclose(before[:, :6], short, atol=1e-6)
    assert not torch.allclose(before[:, 6:], after[:, 6:], atol=1e-2)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("time_gaps", [True, False])
@pytest.mark.parametrize("all_positions", [False, True])
def test_reading_at_a_few_positions_is_the_same(positions: str, time_gaps: bool, all_positions: bool) -> None:
    """Also where as many read as there are tokens, in another order: then reader k is not position k."""
    encoder, (tokens, gaps) = made(positions, time_gaps), inputs()
    few = torch.tensor([[0, 9], [4, 4], [7, 2]])
    at = torch.stack([torch.arange(10).flip(0), torch.arange(10).roll(3), torch.arange(10)]) if all_positions else few
    with torch.no_grad():
        some, everything = encoder(tokens, gaps, at), encoder(tokens, gaps)
    assert torch.allclose(some, torch.stack([everything[row, at[row]] for row in range(3)]), atol=1e-6)


def test_gradients_of_the_biases_are_those_of_finite_differences() -> None:
    encoder, (tokens, gaps) = made(layers=1), inputs(4)
    encoder(tokens, gaps)[:, :, 0].sum().backward()
    for table, cell in ((encoder.distances, (1, 0)), (encoder.gaps, (int(gaps[0, 2, 1]), 1))):
        values = []
        for step in (1e-2, -1e-2):
            with torch.no_grad():
                table[cell] += step
                values.append(float(encoder(tokens, gaps)[:, :, 0].sum()))
                table[cell] -= step
        assert table.grad is not None
        assert float(table.grad[cell]) == pytest.approx((values[0] - values[1]) / 2e-2, abs=2e-3)


def test_a_shifted_window_moves_its_outputs_along() -> None:
    """With distances instead of places, the first block sees the same wherever the sequence begins."""
    encoder, (tokens, gaps) = made(layers=1), inputs()
    with torch.no_grad():
        late = encoder(tokens[:, 3:], gaps[:, 3:, 3:])
        encoder.distances[7:] = -1e9  # nothing farther than six tokens is read, and so nothing before the window
        assert torch.allclose(encoder(tokens, gaps)[:, 9], late[:, 6], atol=1e-5)


def test_heads_divide_the_width() -> None:
    with pytest.raises(ConfigError):
        made(heads=3)
