from __future__ import annotations

import numpy as np

from .measures import rate_ratio


def test_rate_ratio_by_hand():
    # stratum 0: 1 of 2 exposed, 1 of 4 others; stratum 1: 1 of 1 exposed, 1 of 2 others
    strata = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1])
    exposed = np.array([1, 1, 0, 0, 0, 0, 1, 0, 0], bool)
    happened = np.array([1, 0, 1, 0, 0, 0, 1, 1, 0], bool)
    # (1 * 4 / 6 + 1 * 2 / 3) / (1 * 2 / 6 + 1 * 1 / 3) = (4 / 3) / (2 / 3) = 2
    assert np.isclose(rate_ratio(strata, exposed, happened), 2.0)
