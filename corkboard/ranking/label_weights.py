"""Weights of the loss: by head and what was done (TransAct section 3.4), and by how active a user is.

``w[i, h] = impression + sum_a M[h, a] y[i, a]`` with a matrix M of heads by actions: a click may weigh as much as a hundred
passed-over items in the click head, and a hide is a strong "no" for every head of liking. The column of the impression is
ours: without it, an item with which nothing was done would weigh nothing at all.

Weights change what the network's probabilities mean; the calibration that follows training takes that back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from corkboard.errors import ConfigError
from corkboard.lake.schema import ITEM_ACTIONS, NEGATIVE
from corkboard.ranking.config import LabelWeights, UserWeights


def weight_matrix(heads: Sequence[str], config: LabelWeights) -> np.ndarray:
    """float32 ``(heads, heads)``: what an action (column) adds to the weight of a row in a head (row).

    Raises :class:`ConfigError` where ``config.matrix`` names no known action.
    """
    unknown = sorted({name for head, row in config.matrix.items() for name in (head, *row)} - set(ITEM_ACTIONS))
    if unknown:
        raise ConfigError("The label weights name unknown actions", found=unknown, expected=list(ITEM_ACTIONS))
    matrix = np.zeros((len(heads), len(heads)), np.float32)
    for row, head in enumerate(heads):
        for column, action in enumerate(heads):
            usual = config.own if action == head else (config.disliked if action in NEGATIVE and head not in NEGATIVE else 0.0)
            matrix[row, column] = config.matrix.get(head, {}).get(action, usual)
    return matrix


def label_weights(labels: np.ndarray, heads: Sequence[str], config: LabelWeights) -> np.ndarray:
    """float32 ``(n, heads)`` for labels ``(n, heads)``; a label that is not known (NaN) adds nothing and weighs 0 in its own head."""
    done = np.nan_to_num(labels)
    weights = config.impression + done @ weight_matrix(heads, config).T
    return np.where(np.isnan(labels), 0.0, weights).astype(np.float32)


def user_weights(actions: np.ndarray, config: UserWeights) -> np.ndarray:
    """float32 ``(n,)``, mean 1, for the number of earlier actions ``(n,)`` of each row's user; all 1 where it is off.

    The cohort that ``config.bounds`` puts a row into weighs its share of the rows to the power ``-config.balance``: at 1 all cohorts
    count alike, whatever their size.
    """
    if not config.enabled or not len(actions):
        return np.ones(len(actions), np.float32)
    cohort = np.searchsorted(np.asarray(config.bounds), actions, side="right")
    share = np.bincount(cohort, minlength=len(config.bounds) + 1) / len(cohort)
    weights = np.maximum(share, 1e-12)[cohort] ** -config.balance
    return (weights / weights.mean()).astype(np.float32)
