"""The figures of the world lie where those of public logs lie (docs/decisions/0002-world.md)."""

from __future__ import annotations

import pytest

RANGES = {
    "actions_per_impression": (0.03, 0.13),
    "hides_per_impression": (0.01, 0.02),
    "saves_per_click": (0.1, 0.35),
    "carts_per_click": (0.02, 0.12),
    "checkouts_per_cart": (0.25, 0.45),
    "users_under_ten": (0.2, 0.5),
    "gini_users": (0.5, 0.8),
    "session_actions_mean": (3.5, 17),
    "session_actions_median": (2, 6),
    "return_gap_days_median": (0.5, 4),
    "return_gap_days_mean": (2, 22),
    "gini_items": (0.5, 0.75),
    "top_percent_share": (0.06, 0.18),
    "top_over_bottom": (2, 6),
}


@pytest.fixture(scope="module")
def figures(everything_on):
    return everything_on.realism()


@pytest.mark.parametrize("name", sorted(RANGES))
def test_a_figure_is_that_of_public_logs(figures, name):
    low, high = RANGES[name]
    assert low <= figures[name] <= high
