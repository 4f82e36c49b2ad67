"""Where id embeddings start: the leading factors of who engaged with what, before anything is trained.

A handful of passes over a thousand users is too few to find from scratch which items go together, while a truncated singular value
decomposition of the users x items matrix says so at once (PureSVD, Cremonesi et al., RecSys 2010; here normalised as a graph is).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import svds

from corkboard.seeds import generator

USER_POWER, ITEM_POWER = 0.5, 0.3
"""An entry is divided by these powers of how much its user and its item have: 0.5 for both is the normalised graph; less for items lets
popular ones have longer vectors."""


def spectral_factors(users: np.ndarray, items: np.ndarray, n_items: int, dim: int, seed: int) -> np.ndarray:
    """float32 ``(n_items, dim)``: right singular vectors times their singular values, of mean square length 1; an item of nobody has zeros.

    ``users`` and ``items`` int ``(n,)`` say who engaged with what. Columns beyond what the matrix has to give are zeros.
    """
    found = np.zeros((n_items, dim), np.float32)
    n_users = int(users.max(initial=-1)) + 1
    matrix = sp.csr_array((np.ones(len(users)), (users, items)), shape=(n_users, n_items))
    matrix.data[:] = 1.0
    k = min(dim, n_users - 1, n_items - 1)
    if k < 1:
        return found
    by_user, by_item = (np.maximum(np.asarray(matrix.sum(axis=axis)).ravel(), 1.0) for axis in (1, 0))
    scaled = sp.diags_array(by_user**-USER_POWER) @ matrix @ sp.diags_array(by_item**-ITEM_POWER)
    start = generator(seed, "spectral").standard_normal(min(n_users, n_items))
    _, values, rows = svds(sp.csr_array(scaled), k=k, v0=start)
    factors = rows.T * values
    found[:, :k] = factors / max(np.sqrt((factors**2).sum(axis=1).mean()), 1e-12)
    return found
