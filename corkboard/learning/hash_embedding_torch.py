"""The trainable twin of :class:`corkboard.learning.hash_embedding.HashEmbedding`."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from corkboard.learning.hash_embedding import Bags, HashEmbedding


class TrainableHashEmbedding(nn.Module):
    """Starts from a numpy hash embedding and turns back into one; the hashes stay as they are."""

    rows: Tensor

    def __init__(self, start: HashEmbedding):
        super().__init__()
        self.table = nn.Parameter(torch.from_numpy(start.table.copy()))
        self.weights = nn.Parameter(torch.from_numpy(start.weights.copy()))
        self._constants = start.constants
        self.register_buffer("rows", torch.from_numpy(start.rows_of(np.arange(len(start.weights)))), persistent=False)

    def forward(self, bags: Bags) -> Tensor:
        """float32 ``(len(bags), dim)``: the sums of token vectors.

        The vectors of the distinct tokens are made first: a batch meets a token many times, and one gather each is cheaper than two.
        """
        distinct, place = np.unique(bags.ids, return_inverse=True)
        ids = torch.from_numpy(distinct)
        rows, weights = self.rows[ids], self.weights[ids]
        vectors = weights[:, :1] * functional.embedding(rows[:, 0], self.table) + weights[:, 1:] * functional.embedding(
            rows[:, 1], self.table
        )
        return functional.embedding_bag(
            torch.from_numpy(place), vectors, torch.from_numpy(bags.offsets), mode="sum", include_last_offset=True
        )

    def frozen(self) -> HashEmbedding:
        """The numpy twin with the present weights."""
        return HashEmbedding(self.table.detach().cpu().numpy().copy(), self.weights.detach().cpu().numpy().copy(), self._constants)
