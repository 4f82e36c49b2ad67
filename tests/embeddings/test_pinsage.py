from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from corkboard.artifacts import Space, load_artifact, write_artifact
from corkboard.embeddings import graph_network, pinsage_network
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.pinsage import PinSage
from corkboard.embeddings.pinsage_network import Convolution, margin_loss, pool
from corkboard.errors import ArtifactError, InputError, SpaceMismatch
from corkboard.graph.neighbour_lists import NeighbourLists
from tests.embeddings.graph_builders import features, lists, pinsage

GIVEN, READ = features(widths=(6, 4)), lists()
SETTINGS = [{}, {"layers": 1}, {"pooling": "mean"}, {"pooling": "max"}, {"residual": False}]


def squared_to_one(x: np.ndarray) -> np.ndarray:
    """At mean square 1: unit length times the root of the width."""
    return x / np.sqrt((x**2).mean() + 1e-6)


def naive(model: PinSage, item: int) -> np.ndarray:
    """The vector of one item by recursion, neighbour by neighbour, in plain numpy."""
    w, settings, read = model.weights, model.settings, READ.only(("board",))

    def hidden(row: int, level: int) -> np.ndarray:
        near, visits = read.rows[0, row], read.visits[0, row].astype(np.float64)
        if level == 0:
            first, second = GIVEN.values[row, :6], GIVEN.values[row, 6:]
            degree = np.log1p(read.degrees[0, row]) if (near >= 0).any() else 0.0
            return squared_to_one(w["parts.0.weight"] @ first + w["parts.1.weight"] @ second) + w["degree"] * degree
        name = f"convolutions.{level - 1}"
        sent = [np.maximum(w[f"{name}.sent.weight"] @ hidden(v, level - 1) + w[f"{name}.sent.bias"], 0) for v in near if v >= 0]
        shares = visits[near >= 0] if settings.pooling == "importance" else np.ones(len(sent))
        if not sent:
            pooled = np.zeros(settings.hidden)
        elif settings.pooling == "max":
            pooled = np.max(sent, axis=0)
        else:
            pooled = (np.array(sent) * (shares / shares.sum())[:, None]).sum(axis=0)
        joined = w[f"{name}.joined.weight"] @ np.concatenate([hidden(row, level - 1), pooled]) + w[f"{name}.joined.bias"]
        return squared_to_one(np.maximum(joined, 0))

    out = w["down.weight"] @ np.maximum(w["up.weight"] @ hidden(item, settings.layers) + w["up.bias"], 0)
    if settings.residual:
        out = out + w["skip.weight"] @ GIVEN.values[item]
    known = GIVEN.values[item].any() or (read.rows[0, item] >= 0).any()
    return out / np.linalg.norm(out) * known


@pytest.mark.parametrize("settings", SETTINGS)
def test_level_by_level_is_the_recursion(settings: dict[str, object]) -> None:
    model = pinsage(GIVEN, READ, **settings)
    found = model.encode(GIVEN, READ)
    assert found.shape == (30, 6)
    assert found.dtype == np.float32
    assert found == pytest.approx(np.stack([naive(model, item) for item in range(30)]), abs=1e-5)
    assert np.linalg.norm(found, axis=1)[:-1] == pytest.approx(1.0, abs=1e-5)
    assert not found[-1].any()  # neither features nor neighbours


@pytest.mark.parametrize("settings", SETTINGS)
def test_alone_in_any_order_and_in_chunks(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    model = pinsage(GIVEN, READ, **settings)
    whole = model.encode(GIVEN, READ)
    for item in (0, 7, 29):
        assert model.encode(GIVEN, READ, only=np.array([item]))[0] == pytest.approx(whole[item], abs=1e-6)
    order = np.array([9, 3, 3, 20])
    assert model.encode(GIVEN, READ, only=order) == pytest.approx(whole[order], abs=1e-6)
    monkeypatch.setattr(pinsage_network, "AT_ONCE", 7)
    assert model.encode(GIVEN, READ) == pytest.approx(whole, abs=1e-6)
    assert model.encode(GIVEN, READ, only=np.empty(0, int)).shape == (0, 6)


def test_every_item_is_computed_once_a_level(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"projected": 0, "messages": 0, "convolved": 0}
    monkeypatch.setattr(pinsage_network, "AT_ONCE", 7)
    project, messages, forward = pinsage_network.PinSageNetwork.projected, Convolution.messages, Convolution.forward

    def projected(self, values, lists, nodes):
        counts["projected"] += len(nodes)
        return project(self, values, lists, nodes)

    def sent(self, hidden):
        counts["messages"] += len(hidden)
        return messages(self, hidden)

    def convolved(self, own, *rest):
        counts["convolved"] += len(own)
        return forward(self, own, *rest)

    monkeypatch.setattr(pinsage_network.PinSageNetwork, "projected", projected)
    monkeypatch.setattr(Convolution, "messages", sent)
    monkeypatch.setattr(Convolution, "forward", convolved)
    model = pinsage(GIVEN, READ)
    model.encode(GIVEN, READ)
    assert counts == {"projected": 30, "messages": 60, "convolved": 60}
    counts.update(dict.fromkeys(counts, 0))
    wanted = np.array([4, 11])
    board = READ.rows[0]
    first = set(wanted) | {v for v in board[wanted].ravel() if v >= 0}
    second = first | {v for v in board[sorted(first)].ravel() if v >= 0}
    model.encode(GIVEN, READ, only=wanted)
    assert counts == {"projected": len(second), "messages": len(second) + len(first), "convolved": len(first) + 2}
    assert len(second) < 30


def padded(read: NeighbourLists, more: int = 3) -> NeighbourLists:
    extra = ((0, 0), (0, 0), (0, more))
    return dataclasses.replace(read, rows=np.pad(read.rows, extra, constant_values=-1), visits=np.pad(read.visits, extra))


def test_padding_changes_nothing() -> None:
    model = pinsage(GIVEN, READ)
    whole = model.encode(GIVEN, READ)
    assert model.encode(GIVEN, padded(READ)) == pytest.approx(whole, abs=1e-6)
    noisy = dataclasses.replace(READ, visits=np.where(READ.rows < 0, 50, READ.visits))  # visits of nobody
    assert model.encode(GIVEN, noisy) == pytest.approx(whole, abs=1e-6)


def test_without_lists_nobody_has_neighbours() -> None:
    model = pinsage(GIVEN, READ)
    nobody = dataclasses.replace(READ, rows=np.full_like(READ.rows, -1))
    cold = model.encode(GIVEN, None)
    assert cold == pytest.approx(model.encode(GIVEN, nobody), abs=1e-6)  # a degree without neighbours is none
    assert cold == pytest.approx(model.encode(GIVEN, READ.only(("click",))), abs=1e-6)  # the model knows boards only
    assert cold == pytest.approx(model.encode(GIVEN, NeighbourLists((), GIVEN.item_ids, *(part[:0] for part in READ._parts()))), abs=1e-6)
    assert cold[0] == pytest.approx(model.encode(GIVEN, READ)[0], abs=1e-6)  # item 0 has no neighbours anyway
    assert not np.allclose(cold[1:-1], model.encode(GIVEN, READ)[1:-1], atol=1e-2)


def test_pooling_by_hand() -> None:
    messages = torch.tensor([[[1.0, 0.0], [3.0, 8.0], [9.0, 9.0]], [[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]]])
    visits = torch.tensor([[6, 2, 70], [1, 1, 1]], dtype=torch.int32)
    there = torch.tensor([[True, True, False], [False, False, False]])
    assert pool(messages, visits, there, "importance").tolist() == [[1.5, 2.0], [0.0, 0.0]]  # 3/4
    assert 1 / 4
    assert pool(messages, visits, there, "mean").tolist() == [[2.0, 4.0], [0.0, 0.0]]
    assert pool(messages, visits, there, "max").tolist() == [[3.0, 8.0], [0.0, 0.0]]


def test_margin_loss_by_hand() -> None:
    positive = torch.tensor([0.5, 0.9])
    negatives = torch.tensor([[0.5, 0.2, 0.9], [0.1, 0.85, 0.0]])
    # 0.1, 0, 0.5 -> 0.2; 0, 0.05, 0 -> 0.05 / 3
    assert margin_loss(positive, negatives, 0.1).item() == pytest.approx((0.2 + 0.05 / 3) / 2)
    removed = torch.tensor([[False, False, True], [True, True, True]])
    assert margin_loss(positive, negatives, 0.1, removed).item() == pytest.approx((0.05 + 0.0) / 2)


def test_reduced_vectors() -> None:
    model = pinsage(GIVEN, READ)
    vectors = model.encode(GIVEN, READ)
    small = model.small(vectors)
    assert small.shape == (30, 3)
    assert small.dtype == np.float32
    assert np.linalg.norm(small[:-1], axis=1) == pytest.approx(1.0, abs=1e-5)
    assert not small[-1].any()
    with torch.no_grad():
        assert small == pytest.approx(model._network.reduced(torch.from_numpy(vectors)).numpy(), abs=1e-6)


def test_kept_and_read_again(tmp_path: Path) -> None:
    model = pinsage(GIVEN, READ, layers=1)
    made = [model.space, model.small_space]
    write_artifact(tmp_path, "pinsage", "x", tensors=model.tensors(), config=model.config, makes=made)
    artifact = load_artifact(tmp_path / "pinsage" / "default" / "x")
    again = PinSage.from_artifact(artifact)
    assert (again.space, again.small_space, again.graphs, again.dim, again.small_dim) == (*made, ("board",), 6, 3)
    assert again.space.name == "pinsage"
    assert again.small_space.name == "pinsage_small"
    assert np.array_equal(again.encode(GIVEN, READ), model.encode(GIVEN, READ))
    other = PinSage(model.settings, model.graphs, model.widths, model.spaces, 4, {**model.weights, "degree": np.ones(16, np.float32)})
    assert other.space != model.space
    with pytest.raises(ArtifactError, match="no MultiBiSage"):
        MultiBiSage.from_artifact(artifact)


def test_errors() -> None:
    model = pinsage(GIVEN, READ)
    with pytest.raises(InputError, match="not over the same items"):
        model.encode(GIVEN, READ.in_order_of(READ.item_ids[::-1]))
    with pytest.raises(InputError, match="not the features"):
        model.encode(features(), READ)
    with pytest.raises(SpaceMismatch):
        model.encode(dataclasses.replace(GIVEN, spaces=(GIVEN.spaces[0], Space("visual", "2"))), READ)


def test_which_nodes_are_reached() -> None:
    rows = np.array([[3, -1], [7, 3]], np.int32)
    distinct = graph_network.reached(rows, np.array([5]), 9)
    assert distinct.tolist() == [3, 5, 7]
    assert graph_network.places(distinct, 9)[[3, 5, 7]].tolist() == [0, 1, 2]
