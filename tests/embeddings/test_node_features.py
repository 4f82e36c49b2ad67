from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.node_features import NodeFeatures
from corkboard.errors import InputError

CONTENT = EmbeddingTable(["a", "b", "zero"], np.array([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]]), Space("content", "x"))
PICTURES = EmbeddingTable(["b", "c"], np.array([[2.0], [-5.0]]), Space("visual", "y"))


def test_parts_stand_side_by_side_at_length_one_and_are_zeros_where_there_is_nothing() -> None:
    found = NodeFeatures.of(["c", "b", "a", "zero", "nobody"], [CONTENT, PICTURES])
    expected = [[0.0, 0.0, -1.0], [0.0, 1.0, 1.0], [0.6, 0.8, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    assert found.values == pytest.approx(np.array(expected))
    assert found.values.dtype == np.float32
    assert found.widths == (2, 1)
    assert found.spaces == (CONTENT.space, PICTURES.space)
    assert found.item_ids == ["c", "b", "a", "zero", "nobody"]


def test_no_items() -> None:
    assert NodeFeatures.of([], [CONTENT]).values.shape == (0, 2)


def test_errors() -> None:
    with pytest.raises(InputError, match="at least one table"):
        NodeFeatures.of(["a"], [])
    with pytest.raises(InputError, match="a row an item"):
        NodeFeatures(["a"], np.zeros((1, 3), np.float32), (2,), (CONTENT.space,))
    with pytest.raises(InputError, match="a row an item"):
        NodeFeatures(["a"], np.zeros((1, 2), np.float32), (2,), ())


@pytest.mark.parametrize("name", ["config", "node_features", "graph_encoder", "pinsage", "multibisage", "graph_training"])
def test_importing_loads_no_torch(name: str) -> None:
    code = f"import sys, corkboard.embeddings.{name}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
