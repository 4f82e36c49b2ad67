import subprocess
import sys

import pytest
from pydantic import ValidationError

from corkboard.graph.config import GraphConfig, NeighbourConfig, PruningConfig, WalkConfig


def test_settings_import_nothing_heavy():
    code = "import sys, corkboard.graph.config; print([m for m in ('numba', 'numpy', 'polars', 'torch', 'scipy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("section", "wrong"),
    [
        (WalkConfig, {"visits": 0}),
        (WalkConfig, {"visits": 1 << 26}),
        (WalkConfig, {"restart": 0}),
        (WalkConfig, {"board_share": 0}),
        (WalkConfig, {"bias": 1.1}),
        (PruningConfig, {"max_entropy": 0}),
        (PruningConfig, {"degree_exponent": 1.01}),
        (PruningConfig, {"min_people": 0}),
        (NeighbourConfig, {"count": 0}),
        (GraphConfig, {"nonsense": 1}),
    ],
)
def test_values_that_mean_nothing_are_refused(section, wrong):
    with pytest.raises((ValidationError, ValueError)):
        section(**wrong)
