from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from corkboard.learning import kernels as module


@pytest.fixture(params=[True, False], ids=["onednn", "torch"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param and not torch.backends.mkldnn.is_available():
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(module, "ONEDNN", request.param)


def _draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), requires_grad=True)


@pytest.mark.usefixtures("_way")
@pytest.mark.parametrize("ending", ["none", "relu", "add", "without bias"])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (0,)])
def test_equals_torch(ending: str, shape: tuple[int, ...]) -> None:
    x, weight, add = _draw(*shape, 12), _draw(10, 12, seed=1), _draw(*shape, 10, seed=3)
    bias = None if ending == "without bias" else _draw(10, seed=2)
    inputs = [value for value in (x, weight, bias) if value is not None] + [add] * (ending == "add")
    expected = functional.linear(x, weight, bias)
    expected = expected.relu() if ending == "relu" else expected + add if ending == "add" else expected
    options = {"relu": True} if ending == "relu" else {"add": add} if ending == "add" else {}
    got = module.linear(x, weight, bias, **options)
    torch.testing.assert_close(got, expected)
    with torch.no_grad():
        torch.testing.assert_close(module.linear(x, weight, bias, **options), expected)
    slope = _draw(*shape, 10, seed=4).detach()
    for mine, theirs in zip(torch.autograd.grad(got, inputs, slope), torch.autograd.grad(expected, inputs, slope), strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("_way")
def test_any_stride_is_taken() -> None:
    wide, weight = _draw(6, 40), _draw(9, 30, seed=1)
    got = module.linear(wide[:, 5:17], weight[:, ::3][:, :10].repeat(1, 2)[:, :12])
    torch.testing.assert_close(got, wide[:, 5:17] @ weight[:, ::3][:, :10].repeat(1, 2)[:, :12].T)
    turned = module.linear(_draw(12, 6).t(), _draw(12, 9, seed=1).t(), add=_draw(9, 6, seed=2).t())
    torch.testing.assert_close(turned, _draw(12, 6).t() @ _draw(12, 9, seed=1) + _draw(9, 6, seed=2).t())


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.full((400, 501), 3.0, requires_grad=True)
    made = module.dropout(x, 0.1)
    kept = made.detach() > 0
    assert float((~kept).float().mean()) == pytest.approx(26 / 256, abs=0.003)
    assert float(made.detach().mean()) == pytest.approx(3.0, abs=0.01)
    assert made.detach().unique().tolist() == pytest.approx([0.0, 3 * 256 / 230])
    for byte in range(8):  # every byte of a word is as random as the others
        assert float(kept.flatten()[byte::8].float().mean()) == pytest.approx(230 / 256, abs=0.01)
    (made * 2).sum().backward()
    torch.testing.assert_close(x.grad, kept * 2 * 256 / 230)


def test_dropout_adds_the_residual() -> None:
    x, add = _draw(30, 8), _draw(30, 8, seed=1)
    torch.manual_seed(5)
    apart = module.dropout(x, 0.5) + add
    torch.manual_seed(5)
    together = module.dropout(x, 0.5, add=add)
    torch.testing.assert_close(together, apart)
    slope = _draw(30, 8, seed=2).detach()
    for mine, theirs in zip(torch.autograd.grad(together, (x, add), slope), torch.autograd.grad(apart, (x, add), slope), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_no_dropout_is_the_identity() -> None:
    x = _draw(3, 4)
    assert module.dropout(x, 0.001) is x
    torch.testing.assert_close(module.dropout(x, 0.0, add=x), 2 * x)
