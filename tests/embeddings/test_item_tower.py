from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from corkboard.embeddings.config import ItemTowerConfig
from corkboard.embeddings.item_tower import WEIGHTS, ItemTower
from corkboard.embeddings.pinnerformer_network import TrainableItemTower
from corkboard.errors import ArtifactError, InputError
from tests.embeddings.builders import content, tiny, trained


def test_by_hand() -> None:
    weights = {
        "content": np.eye(2),
        "ids": np.array([[2.0]]),
        "id_skip": np.array([[0.0, 1.0]]),
        "down": np.array([[1.0], [0.0], [-1.0]]),
        "down_bias": np.array([0.5]),
        "up": np.array([[2.0, 0.0]]),
    }
    tower = ItemTower(["known"], weights)
    # known: base (1, 0) + 2 (0, 1), hidden relu(1 - 2 + 0.5) = 0: (1, 2); not known: (1, 0) + 1.5 (2, 0) = (4, 0)
    found = tower.encode(["known", "other", "nothing"], np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]))
    assert found[0] == pytest.approx(np.array([1.0, 2.0]) / np.sqrt(5.0))
    assert found[1] == pytest.approx([1.0, 0.0])
    assert found[2].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("id_dim", [4, 0])
@pytest.mark.parametrize("dim", [8, 4])
def test_agrees_with_torch(id_dim: int, dim: int) -> None:
    config = tiny(items=ItemTowerConfig(id_dim=id_dim, hidden=8), dim=dim)
    torch.manual_seed(0)
    ids = 5 if id_dim else 0
    module = TrainableItemTower(config, 6, ids).eval()
    torch.nn.init.normal_(module.up)
    tower = ItemTower([f"i{row:03d}" for row in range(ids)], module.arrays())
    vectors = content()
    rows = torch.tensor([row if row < ids else -1 for row in range(len(vectors))])
    with torch.no_grad():
        expected = module(torch.from_numpy(vectors.vectors), rows).numpy()
    assert tower.encode(vectors.ids, vectors.vectors) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("dropout", [0.0, 1.0])
def test_an_id_that_is_dropped_in_training_is_no_id(dropout: float) -> None:
    torch.manual_seed(0)
    module = TrainableItemTower(tiny(items=ItemTowerConfig(id_dim=4, hidden=8, id_dropout=dropout)), 6, 5)
    torch.nn.init.normal_(module.up)
    vectors, rows = torch.from_numpy(content().vectors[:5]), torch.arange(5)
    with torch.no_grad():
        without, in_training, at_serving = module(vectors, rows * 0 - 1), module.train()(vectors, rows), module.eval()(vectors, rows)
    assert not torch.isclose(at_serving, without, atol=1e-3).all(dim=1).any()
    assert torch.allclose(in_training, without if dropout else at_serving)


def test_an_item_without_an_id_is_placed_by_its_content() -> None:
    model, vectors = trained(), content()
    known = model.encode_items(vectors.ids[:3], vectors.vectors[:3])
    new = model.encode_items(["new", "newer", "newest"], vectors.vectors[:3])
    assert np.linalg.norm(new, axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert not np.allclose(known, new, atol=1e-3)
    assert model.encode_items(["new"], vectors.vectors[:1])[0] == pytest.approx(new[0], abs=1e-6)  # the name itself says nothing


def test_content_alone_works_without_content() -> None:
    """Ids alone carry a plain sequence of which nothing else is known."""
    model = trained()
    found = model.encode_items(model.item_ids, np.zeros((len(model.item_ids), 6), np.float32))
    assert np.linalg.norm(found, axis=1) == pytest.approx(np.ones(len(found)), abs=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    model = trained()
    with pytest.raises(InputError):
        model.encode_items(["a"], np.zeros((1, 3)))
    with pytest.raises(ArtifactError):
        ItemTower([], {name: np.zeros((1, 1)) for name in WEIGHTS[:-1]})


def test_items_are_encoded_without_torch() -> None:
    code = "import sys; import corkboard.embeddings.pinnerformer, corkboard.embeddings.user_vectors; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
