from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from corkboard.artifacts import load_artifact, write_artifact
from corkboard.embeddings import multibisage_network
from corkboard.embeddings.config import MultiBiSageConfig
from corkboard.embeddings.graph_network import normed
from corkboard.embeddings.multibisage import MultiBiSage
from corkboard.embeddings.multibisage_network import ClsReader, FeaturePart, MultiBiSageNetwork
from corkboard.embeddings.pinsage import PinSage
from corkboard.errors import ArtifactError, ConfigError, InputError
from corkboard.graph.neighbour_lists import NeighbourLists
from tests.embeddings.graph_builders import GRAPHS, features, lists, multibisage

GIVEN, READ = features(widths=(6, 4)), lists()
SETTINGS = [{}, {"shared": True}, {"heads": 4}, {"residual": False}, {"dim": 12}]


def plain_reader(reader: ClsReader, which: int, tokens: Tensor, added: Tensor | None = None) -> Tensor:
    """The output at CLS of plain multi-head attention over [CLS; tokens ``(t, width)``], then the feed-forward.

    ``added`` ``(heads, 1, 1 + t)`` is added to the scores.
    """
    which = 0 if len(reader.cls) == 1 else which
    heads, cls = reader.heads, reader.cls[which]
    read = torch.cat([cls[None], tokens])
    query = cls @ reader.query[which].T + reader.query_bias[which]
    key, value = read @ reader.key[which].T, read @ reader.value[which].T
    split = [part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in (query[None], key, value)]
    taken = functional.scaled_dot_product_attention(*split, attn_mask=added)
    state = cls + taken.transpose(0, 1).flatten() @ reader.mixed[which].T
    return state + torch.relu(normed(state) @ reader.up[which] + reader.up_bias[which][0]) @ reader.down[which]


def projected(part: FeaturePart, values: Tensor) -> Tensor:
    """A linear layer and a hidden one, by hand; nothing for an item that lacks this part."""
    inner = torch.relu(part.inner(values / values.square().mean(dim=1, keepdim=True).add(1e-6).sqrt()))
    made = part.linear(values) + part.outer(inner) / np.sqrt(part.outer.out_features)
    return torch.where(values.any(dim=1)[:, None], made, 0)


def plain(model: MultiBiSage, item: int) -> np.ndarray:
    """The vector of one item: every token made in full, every graph by itself, nothing shared between items."""
    network: MultiBiSageNetwork = model._network
    values = torch.from_numpy(GIVEN.values)
    table = normed(sum(projected(network.parts[place], part) for place, part in enumerate(values.split((6, 4), dim=1))))
    first, second = network.neighbours, network.across
    tokens = [table[item] + second.names[0]]
    for graph in range(len(READ.graphs)):
        near = [(place, row) for place, row in enumerate(READ.rows[graph, item]) if row >= 0]
        if not near:
            continue
        degree = np.log1p(READ.degrees[graph, item])
        read = [table[item] + degree * first.degree[graph]]
        visits = [float(np.log1p(READ.visits[graph, item, place])) for place, _ in near]
        for (place, row), seen in zip(near, visits, strict=True):
            read.append(table[row] * (first.gate[graph] + seen * first.visits[graph]) + first.positions[graph, place])
        # what is added to the scores: nothing for CLS and the item itself, log(1 + visits) times a weight a head for neighbours
        added = torch.tensor([0.0, 0.0, *visits]) * first.bias[graph][:, None]
        tokens.append(normed(plain_reader(first, graph, torch.stack(read), added[:, None])) + second.names[1 + graph])
    out = network.out(plain_reader(second, 0, torch.stack(tokens)))
    if model.settings.residual:
        out = out + network.skip(values[item])
    known = GIVEN.values[item].any() or (READ.rows[:, item] >= 0).any()
    return functional.normalize(out, dim=0).numpy() * known


@pytest.mark.parametrize("settings", SETTINGS)
def test_absorbed_attention_is_plain_multi_head_attention(settings: dict[str, object]) -> None:
    model = multibisage(GIVEN, READ, **settings)
    found = model.encode(GIVEN, READ)
    assert found.shape == (30, model.dim)
    assert found.dtype == np.float32
    with torch.no_grad():
        assert found == pytest.approx(np.stack([plain(model, item) for item in range(30)]), abs=2e-5)
    assert np.linalg.norm(found, axis=1)[:-1] == pytest.approx(1.0, abs=1e-5)
    assert not found[-1].any()  # neither features nor neighbours


@pytest.mark.parametrize("settings", SETTINGS)
def test_alone_in_any_order_and_in_chunks(settings: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    model = multibisage(GIVEN, READ, **settings)
    whole = model.encode(GIVEN, READ)
    for item in (0, 7, 29):
        assert model.encode(GIVEN, READ, only=np.array([item]))[0] == pytest.approx(whole[item], abs=1e-5)
    order = np.array([9, 3, 3, 20])
    assert model.encode(GIVEN, READ, only=order) == pytest.approx(whole[order], abs=1e-5)
    monkeypatch.setattr(multibisage_network, "AT_ONCE", 7)
    assert model.encode(GIVEN, READ) == pytest.approx(whole, abs=1e-5)


def test_features_are_projected_once_an_item(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    project = MultiBiSageNetwork.projected
    monkeypatch.setattr(multibisage_network, "AT_ONCE", 7)
    monkeypatch.setattr(
        MultiBiSageNetwork, "projected", lambda self, values, nodes: counts.append(len(nodes)) or project(self, values, nodes)
    )
    model = multibisage(GIVEN, READ)
    model.encode(GIVEN, READ)
    wanted = np.array([4, 11])
    model.encode(GIVEN, READ, only=wanted)
    assert counts == [30, len(set(wanted) | {row for row in READ.rows[:, wanted].ravel() if row >= 0})]


def test_padding_changes_nothing() -> None:
    model = multibisage(GIVEN, READ)
    whole, extra = model.encode(GIVEN, READ), ((0, 0), (0, 0), (0, 3))
    longer = dataclasses.replace(READ, rows=np.pad(READ.rows, extra, constant_values=-1), visits=np.pad(READ.visits, extra))
    assert model.encode(GIVEN, longer) == pytest.approx(whole, abs=1e-6)
    noisy = dataclasses.replace(READ, visits=np.where(READ.rows < 0, 50, READ.visits))  # visits of nobody
    assert model.encode(GIVEN, noisy) == pytest.approx(whole, abs=1e-6)


def test_a_graph_that_is_not_there_is_one_without_edges() -> None:
    model = multibisage(GIVEN, READ)
    emptied = dataclasses.replace(READ, rows=READ.rows.copy())
    emptied.rows[1] = -1
    without = model.encode(GIVEN, READ.only(("tag", "board")))  # in another order, too
    assert without == pytest.approx(model.encode(GIVEN, emptied), abs=1e-6)
    assert not np.allclose(without, model.encode(GIVEN, READ), atol=1e-2)
    more = READ.only(("board", "click", "tag", "unknown"))
    assert model.encode(GIVEN, more) == pytest.approx(model.encode(GIVEN, READ), abs=1e-6)


def test_without_lists_nobody_has_neighbours() -> None:
    model = multibisage(GIVEN, READ)
    cold = model.encode(GIVEN, None)
    assert cold == pytest.approx(model.encode(GIVEN, dataclasses.replace(READ, rows=np.full_like(READ.rows, -1))), abs=1e-6)
    assert cold[0] == pytest.approx(model.encode(GIVEN, READ)[0], abs=1e-6)  # item 0 has no neighbours anyway
    assert np.linalg.norm(cold, axis=1)[:-1] == pytest.approx(1.0, abs=1e-5)


def test_neighbours_alone_place_an_item_without_features() -> None:
    read = dataclasses.replace(READ, rows=READ.rows.copy(), visits=READ.visits.copy(), degrees=READ.degrees.copy())
    read.rows[0, -1, 0], read.visits[0, -1, 0], read.degrees[0, -1] = 5, 9, 2
    assert np.linalg.norm(multibisage(GIVEN, READ).encode(GIVEN, read)[-1]) == pytest.approx(1.0, abs=1e-5)


def test_starts_at_features_and_the_mean_by_visits() -> None:
    """Before training an item is its features plus the mean over itself and its graphs, each of which is a mean by visits."""
    given, read = features(), lists(graphs=("board",))
    torch.manual_seed(0)
    network = MultiBiSageNetwork(MultiBiSageConfig(dim=6, width=6), (6,), 1, 4).eval()
    item = int(np.flatnonzero((read.rows[0] >= 0).sum(axis=1) >= 3)[0])
    with torch.no_grad():
        found = network(torch.from_numpy(given.values), read, np.array([item]))[0].numpy()
    x = given.values / np.maximum(np.sqrt((given.values**2).mean(axis=1, keepdims=True)), 1e-9)
    near = read.rows[0, item] >= 0
    shares = np.array([1.0, 1.0, *(1.0 + read.visits[0, item][near])])
    graph = np.concatenate([np.stack([x[item] * 0, x[item]]), x[read.rows[0, item][near]]]).T @ (shares / shares.sum())
    graph /= np.sqrt((graph**2).mean())
    expected = given.values[item] + (x[item] + graph) / 3 / np.sqrt(6)  # CLS, the third, is zero
    assert found == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)


def test_no_graph_at_all() -> None:
    nothing = NeighbourLists((), GIVEN.item_ids, *(part[:0] for part in READ._parts()))
    model = multibisage(GIVEN, nothing)
    assert np.linalg.norm(model.encode(GIVEN, READ), axis=1)[:-1] == pytest.approx(1.0, abs=1e-5)


def test_kept_and_read_again(tmp_path: Path) -> None:
    model = multibisage(GIVEN, READ, shared=True)
    made = [model.space, model.small_space]
    write_artifact(tmp_path, "multibisage", "x", tensors=model.tensors(), config=model.config, makes=made)
    artifact = load_artifact(tmp_path / "multibisage" / "default" / "x")
    again = MultiBiSage.from_artifact(artifact)
    assert (again.space, again.small_space, again.graphs, again.dim, again.small_dim) == (*made, GRAPHS, 6, 3)
    assert again.space.name == "multibisage"
    assert again.small_space.name == "multibisage_small"
    assert np.array_equal(again.encode(GIVEN, READ), model.encode(GIVEN, READ))
    vectors = model.encode(GIVEN, READ)
    assert np.array_equal(again.small(vectors), model.small(vectors))
    assert again.small(vectors).shape == (30, 3)
    with pytest.raises(ArtifactError, match="no PinSage"):
        PinSage.from_artifact(artifact)


def test_errors() -> None:
    with pytest.raises(ConfigError, match="heads must divide"):
        MultiBiSageNetwork(MultiBiSageConfig(width=6, heads=4), (6,), 1, 4)
    with pytest.raises(InputError, match="not over the same items"):
        multibisage(GIVEN, READ).encode(GIVEN, READ.in_order_of(READ.item_ids[::-1]))
