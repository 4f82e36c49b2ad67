from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from corkboard.errors import InputError
from corkboard.ranking.config import TransActConfig
from corkboard.ranking.transact import HistoryBatch, MeanPool, TransAct

V10 = TransActConfig(version="v1.0", length=12, item_dim=6, action_dim=4, ffn=8, dropout=0.0)
V11 = TransActConfig(version="v1.1", length=12, item_dim=6, action_dim=4, ffn=8, dropout=0.0, first_k=4)
CODES = 5
VERSIONS = pytest.mark.parametrize("config", [V10, V11], ids=["v1.0", "v1.1"])
KINDS = pytest.mark.parametrize("kind", [TransAct, MeanPool])


def histories(lengths: list[int], config: TransActConfig = V11, size: int | None = None, seed: int = 0) -> HistoryBatch:
    """Random histories, newest first, an action every two hours, padded to ``size``. What padding holds besides its code is noise."""
    draw, size = torch.Generator().manual_seed(seed), size or max(lengths)
    items = torch.randn(len(lengths), size, config.item_dim, generator=torch.Generator().manual_seed(99))
    actions, hours = torch.zeros(len(lengths), size, dtype=torch.int64), torch.zeros(len(lengths), size)
    for row, length in enumerate(lengths):
        items[row, :length] = torch.randn(length, config.item_dim, generator=draw)
        actions[row, :length] = torch.randint(1, CODES + 1, (length,), generator=draw)
        hours[row, :length] = 2.0 * torch.arange(length) + 0.5
    return HistoryBatch(items, actions, hours, torch.tensor(lengths))


def module(config: TransActConfig, kind: type = TransAct, sharp: float = 1.0, seed: int = 0) -> TransAct:
    """Random parameters, biases and norms included, which start at 0 and 1 otherwise; ``sharp`` multiplies queries and keys."""
    torch.manual_seed(seed)
    made = kind(config, CODES)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.3)
            if "in_proj_weight" in name:
                parameter[: 2 * config.dim] *= sharp
    return made.eval()


def candidates(config: TransActConfig, count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, config.item_dim, generator=torch.Generator().manual_seed(seed))


def plain(made: TransAct, history: HistoryBatch, vectors: Tensor, request: list[int], hidden: list[int] | None = None) -> Tensor:
    """The architecture as it is described, one example after another: only visible rows, concatenated, through standard layers."""
    config, outputs = made.config, []
    encoder = [nn.TransformerEncoderLayer(config.dim, config.heads, config.ffn, 0.0, batch_first=True) for _ in made.layers]
    for mine, theirs in zip(encoder, made.layers, strict=True):
        mine.load_state_dict(theirs.state_dict())
        for name, parameter in mine.named_parameters():  # the same leaves, so that gradients arrive in the module
            _swap(mine, name, theirs.get_parameter(name), parameter)
    for n, r in enumerate(request):
        seen = slice(0 if hidden is None else hidden[n], int(history.lengths[r]))
        tokens = torch.cat([made.action_embedding(history.actions[r, seen]), history.items[r, seen]], 1)
        tokens = made.no_history[None] if history.lengths[r] == 0 else tokens
        rows = torch.cat([tokens, vectors[n].expand(len(tokens), -1)], 1)[None]
        for layer in encoder:
            rows = layer(rows)
        first = config.length if config.version == "v1.0" else config.first_k
        kept = torch.zeros(first, config.dim)
        kept[: min(first, rows.shape[1])] = rows[0, :first]
        pooled = [] if made.pooled is None else [made.pooled(rows[0].amax(0))]
        outputs.append(torch.cat([kept.flatten(), *pooled]))
    return torch.stack(outputs)


def _swap(owner: nn.Module, name: str, shared: nn.Parameter, _: nn.Parameter) -> None:
    path, _, leaf = name.rpartition(".")
    setattr(owner.get_submodule(path), leaf, shared)


@VERSIONS
@pytest.mark.parametrize("grad", [False, True], ids=["serving", "training"])
def test_equals_the_plain_module(config: TransActConfig, grad: bool) -> None:
    made, history = module(config), histories([12, 3, 0, 1, 7])
    request = [0, 4, 0, 1, 2, 3, 4, 0, 1, 0, 2, 4]
    hidden = [0, 2, 5, 1, 0, 0, 6, 11, 2, 0, 0, 3]
    vectors = candidates(config, len(request))
    with torch.set_grad_enabled(grad):
        for drawn in (None, hidden):
            got = made(made.encode(history), vectors, torch.tensor(request), None if drawn is None else torch.tensor(drawn))
            assert got.shape == (len(request), made.out_dim)
            torch.testing.assert_close(got, plain(made, history, vectors, request, drawn), atol=1e-4, rtol=0)


def test_many_candidates_of_one_request_equal_the_plain_module() -> None:
    made, history, vectors = module(V11), histories([9], size=12), candidates(V11, 130)
    with torch.no_grad():
        got = made(made.encode(history), vectors, torch.zeros(130, dtype=torch.int64))
        torch.testing.assert_close(got, plain(made, history, vectors, [0] * 130), atol=1e-4, rtol=0)
        assert made(made.encode(history), vectors[:0], torch.zeros(0, dtype=torch.int64)).shape == (0, made.out_dim)


@VERSIONS
def test_gradients_equal_those_of_the_plain_module(config: TransActConfig) -> None:
    made, history = module(config), histories([12, 0, 5])
    request, hidden = [0, 2, 0, 1, 2, 2], [3, 0, 0, 0, 4, 1]
    vectors = candidates(config, len(request)).requires_grad_()
    slope = torch.randn(len(request), made.out_dim, generator=torch.Generator().manual_seed(5))
    parameters = [*made.parameters(), vectors]

    def gradients(output: Tensor) -> list[Tensor]:
        found = torch.autograd.grad((output * slope).sum(), parameters, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, found, strict=True)]

    split = gradients(made(made.encode(history), vectors, torch.tensor(request), torch.tensor(hidden)))
    for got, expected in zip(split, gradients(plain(made, history, vectors, request, hidden)), strict=True):
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("grad", [False, True], ids=["serving", "training"])
@pytest.mark.parametrize("sharp", [12.0, 40.0])
def test_very_peaked_attention(sharp: float, grad: bool) -> None:
    """Logits of hundreds and thousands: products of exponentials underflow and the module must notice."""
    made, history = module(V11, sharp=sharp), histories([12, 8])
    request, hidden, vectors = [0, 1, 0, 0, 1], [0, 3, 7, 0, 0], candidates(V11, 5)
    context = made.encode(history)
    assert (context.scores.amax() - context.scores.nan_to_num(neginf=0.0).amin()) > 100
    with torch.set_grad_enabled(grad):
        got = made(context, vectors, torch.tensor(request), torch.tensor(hidden))
        torch.testing.assert_close(got, plain(made, history, vectors, request, hidden), atol=1e-3, rtol=0)
    if grad:
        got.sum().backward()
        assert all(bool(torch.isfinite(p.grad).all()) for p in made.parameters() if p.grad is not None)


@VERSIONS
@KINDS
def test_padded_length_changes_nothing(config: TransActConfig, kind: type) -> None:
    config = config.model_copy(update={"length": 100})
    made, request, vectors = module(config, kind), torch.tensor([0, 1, 0, 2]), candidates(config, 4)
    hidden = torch.tensor([2, 0, 0, 0])
    short, long = (made(made.encode(histories([20, 4, 0], size=size)), vectors, request, hidden) for size in (20, 100))
    torch.testing.assert_close(short, long, atol=1e-5, rtol=0)
    among_longer = made(made.encode(histories([20, 4, 0, 100], size=100)), vectors, request, hidden)  # here the module does pad
    torch.testing.assert_close(short, among_longer, atol=1e-5, rtol=0)


@VERSIONS
@KINDS
def test_hidden_actions_reach_nothing(config: TransActConfig, kind: type) -> None:
    made, history, vectors = module(config, kind), histories([9]), candidates(config, 2)
    other = HistoryBatch(history.items.clone(), history.actions.clone(), history.hours, history.lengths)
    other.items[0, :3] += 5.0
    other.actions[0, :3] = other.actions[0, :3] % CODES + 1
    request, hidden = torch.tensor([0, 0]), torch.tensor([3, 0])
    before, after = (made(made.encode(given), vectors, request, hidden) for given in (history, other))
    torch.testing.assert_close(before[0], after[0], atol=1e-6, rtol=0)
    assert float((before[1] - after[1]).detach().abs().max()) > 0.01  # the one from which nothing was hidden does see the change


@VERSIONS
def test_hidden_is_as_if_never_done(config: TransActConfig) -> None:
    """The rows that leave are those of the first visible actions, not gaps."""
    made, history, vectors = module(config), histories([9]), candidates(config, 1)
    older = HistoryBatch(history.items[:, 3:], history.actions[:, 3:], history.hours[:, 3:], history.lengths - 3)
    hidden = made(made.encode(history), vectors, torch.tensor([0]), torch.tensor([3]))
    torch.testing.assert_close(hidden, made(made.encode(older), vectors, torch.tensor([0])), atol=1e-5, rtol=0)


@KINDS
def test_at_least_one_action_stays(kind: type) -> None:
    made, history, vectors = module(V11, kind), histories([4]), candidates(V11, 2)
    got = made(made.encode(history), vectors, torch.tensor([0, 0]), torch.tensor([3, 50]))
    assert bool(torch.isfinite(got).all())
    torch.testing.assert_close(got[1], made(made.encode(history), vectors[[1]], torch.tensor([0]), torch.tensor([3]))[0])


def test_the_window_is_drawn_for_each_example() -> None:
    """Actions of 0.5, 2.5, ... hours: a window of U(0, 24) hides k of them with k uniform over 0 .. 12."""
    made, history = module(V11), histories([12, 3, 0, 1])
    request = torch.arange(4).repeat_interleave(5_000)
    hidden = made.draw_hidden(history, request, np.random.default_rng(3)).view(4, -1)
    shares = torch.bincount(hidden[0], minlength=12) / hidden.shape[1]
    expected = torch.tensor([0.5, *[2.0] * 10, 3.5]) / 24  # the oldest of 22.5 h stays in the last 1.5 h, too
    torch.testing.assert_close(shares, expected, atol=0.015, rtol=0)
    assert hidden.amax(1).tolist() == [11, 2, 0, 0]
    again = made.draw_hidden(history, request, np.random.default_rng(3)).view(4, -1)
    assert torch.equal(hidden, again)


def test_no_window_hides_nothing() -> None:
    made, history = module(V11.model_copy(update={"window_hours": 0.0})), histories([12])
    assert not made.draw_hidden(history, torch.zeros(50, dtype=torch.int64), np.random.default_rng(0)).any()


@KINDS
def test_no_action_is_taken_for_padding(kind: type) -> None:
    made, history, vectors = module(V11, kind), histories([1]), candidates(V11, 1)
    outputs = []
    for code in range(1, CODES + 1):
        given = HistoryBatch(history.items, torch.full((1, 1), code), history.hours, history.lengths)
        outputs.append(made(made.encode(given), vectors, torch.tensor([0]))[0])
    gaps = torch.cdist(torch.stack(outputs), torch.stack(outputs)) + 9 * torch.eye(CODES)
    assert float(gaps.detach().min()) > 1e-3
    assert not made.action_embedding.weight[0].any()
    for wrong in (0, CODES + 1):
        with pytest.raises(InputError):
            made.encode(HistoryBatch(history.items, torch.full((1, 1), wrong), history.hours, history.lengths))


def test_without_actions_their_kinds_are_one() -> None:
    made, history, vectors = module(V11.model_copy(update={"use_actions": False})), histories([6]), candidates(V11, 1)
    other = HistoryBatch(history.items, history.actions % CODES + 1, history.hours, history.lengths)
    request = torch.tensor([0])
    assert torch.equal(made(made.encode(history), vectors, request), made(made.encode(other), vectors, request))


@VERSIONS
@KINDS
def test_an_empty_history_has_a_row_that_is_learned(config: TransActConfig, kind: type) -> None:
    made, vectors = module(config, kind), candidates(config, 2)
    history = histories([0, 3], size=3)
    outputs = made(made.encode(history), vectors, torch.tensor([0, 1]))
    assert bool(torch.isfinite(outputs).all())
    outputs[0].square().sum().backward(retain_graph=True)
    assert float(made.no_history.grad.abs().max()) > 0
    made.zero_grad()
    outputs[1].square().sum().backward()
    assert not made.no_history.grad.any()  # whoever has a history never meets it
    only = HistoryBatch(torch.zeros(1, 0, config.item_dim), torch.zeros(1, 0, dtype=torch.int64), torch.zeros(1, 0), torch.tensor([0]))
    torch.testing.assert_close(made(made.encode(only), vectors[:1], torch.tensor([0])), outputs[:1])


def test_v10_flattens_every_row_and_v11_the_first() -> None:
    assert (module(V10).out_dim, module(V11).out_dim) == (12 * 16, 5 * 16)
    assert (len(module(V10).layers), len(module(V11).layers)) == (1, 2)
    history, vectors = histories([3]), candidates(V10, 1)
    for config, rows in ((V10, 12), (V11, 4)):
        made = module(config)
        flat = made(made.encode(history), vectors, torch.tensor([0]))[0, : rows * 16].view(rows, 16)
        assert bool(flat[:3].any(1).all())
        assert not flat[3:].any()


def test_only_the_newest_actions_are_read() -> None:
    made, history, vectors = module(V11), histories([15]), candidates(V11, 1)
    newest = HistoryBatch(history.items[:, :12], history.actions[:, :12], history.hours[:, :12], torch.tensor([12]))
    request = torch.tensor([0])
    assert torch.equal(made(made.encode(history), vectors, request), made(made.encode(newest), vectors, request))


def test_the_order_of_actions_reaches_the_first_rows() -> None:
    made, history, vectors = module(V11), histories([6]), candidates(V11, 1)
    turned = HistoryBatch(history.items.flip(1), history.actions.flip(1), history.hours, history.lengths)
    first, second = (made(made.encode(given), vectors, torch.tensor([0]))[0] for given in (history, turned))
    assert float((first[:64] - second[:64]).detach().abs().max()) > 0.01
    torch.testing.assert_close(first[64:], second[64:], atol=1e-5, rtol=0)  # the maximum over rows has no order


def test_dropped_attention_keeps_its_mean_in_both_layers() -> None:
    """Dropped weights no longer sum to one, so that the candidate's value part counts as often as weights are left."""
    made, history, vectors = module(V11.model_copy(update={"dropout": 0.1})), histories([12]), candidates(V11, 2)
    projected = vectors @ made.layers[0].self_attn.in_proj_weight[:, -made.config.item_dim :].T
    visible = torch.ones(1, 2, 12, dtype=torch.bool)
    visible[0, 1, :4] = False
    rows = torch.randn(2, 12, made.config.dim, generator=torch.Generator().manual_seed(2))
    for attend in (
        lambda: made._first_attention(made.encode(history), projected[None], visible),
        lambda: made._attention(made.layers[1], rows, visible),
    ):
        with torch.no_grad():
            made.eval()
            exact = attend()
            made.train()
            torch.manual_seed(0)
            drawn = torch.stack([attend() for _ in range(500)])
        assert float((drawn[0] - exact).abs().max()) > 0.2
        torch.testing.assert_close(drawn.mean(0), exact, atol=0.1, rtol=0)


def test_dropout_is_of_training_only() -> None:
    history, vectors, request = histories([12]), candidates(V11, 2), torch.zeros(2, dtype=torch.int64)
    made, without = module(V11.model_copy(update={"dropout": 0.5})), module(V11)
    expected = without.train()(without.encode(history), vectors, request)
    torch.testing.assert_close(made(made.encode(history), vectors, request), expected, atol=1e-5, rtol=0)
    dropped = made.train()(made.encode(history), vectors, request)
    assert float((dropped - expected).detach().abs().max()) > 0.1


def test_actions_from_after_the_request_are_refused() -> None:
    history = histories([3])
    with pytest.raises(InputError, match="after its request"):
        HistoryBatch(history.items, history.actions, history.hours - 1.0, history.lengths)
    with pytest.raises(InputError, match="differ in size"):
        HistoryBatch(history.items, history.actions, history.hours[:, :2], history.lengths)


def test_mean_pool_by_hand() -> None:
    config = TransActConfig(length=3, item_dim=1, action_dim=1, heads=1)
    made = MeanPool(config, 2)
    with torch.no_grad():
        made.action_embedding.weight.copy_(torch.tensor([[0.0], [10.0], [20.0]]))
    history = HistoryBatch(torch.tensor([[[1.0], [2.0], [6.0]]]), torch.tensor([[1, 2, 1]]), torch.zeros(1, 3), torch.tensor([3]))
    got = made(made.encode(history), torch.tensor([[7.0], [8.0]]), torch.tensor([0, 0]), torch.tensor([0, 1]))
    torch.testing.assert_close(got, torch.tensor([[40 / 3, 3.0, 7.0], [15.0, 4.0, 8.0]]))


def test_heads_must_divide() -> None:
    with pytest.raises(ValueError, match="multiple of heads"):
        TransActConfig(item_dim=6, action_dim=5, heads=2)
    assert math.isclose(TransActConfig().dim, 96)
