"""Items that lie on the same boards, as a neighbour table. Secret boards never count: they would show through."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import scipy.sparse as sp

from corkboard.retrieval.baselines import ItemKNN
from corkboard.retrieval.config import BoardConfig, ItemKNNConfig
from corkboard.retrieval.neighbours import NeighbourTable


def board_neighbours(
    actions: pl.DataFrame, boards: pl.DataFrame, catalogue_ids: Sequence[str], upto_ms: int, config: BoardConfig | None = None
) -> NeighbourTable:
    """Neighbours by saves to boards that are known, public and not deleted, before ``upto_ms``. A board nobody declared does not count."""
    config = config or BoardConfig()
    public = boards.lazy().filter(~pl.col("secret").fill_null(False) & ~pl.col("deleted").fill_null(False)).select("board_id").unique()
    index = pl.LazyFrame(
        {"item_id": list(catalogue_ids), "row": np.arange(len(catalogue_ids), dtype=np.int64)},
        schema={"item_id": pl.String, "row": pl.Int64},
    )
    cells = (
        actions.lazy()
        .filter((pl.col("time_ms") < upto_ms) & (pl.col("action") == "save") & pl.col("board_id").is_not_null())
        .join(public, on="board_id", how="semi")
        .join(index, on="item_id", how="inner")
        .group_by("board_id", "row")
        .agg(pl.col("time_ms").max())
        .sort("board_id", "time_ms", "row", descending=[False, True, False])
        .filter(pl.int_range(pl.len()).over("board_id") < config.max_items)
        .collect()
    )
    place = (cells["board_id"].rle_id().to_numpy(), cells["row"].to_numpy())
    shape = (cells["board_id"].n_unique(), len(catalogue_ids))
    matrix = sp.csr_array((np.ones(len(cells), np.float32), place), shape=shape)
    similar = ItemKNNConfig(
        neighbours=config.neighbours, shrinkage=config.shrinkage, user_damping=config.board_damping, popularity_exponent=0.5
    )
    return ItemKNN.fit_matrix(matrix, catalogue_ids, similar).table
