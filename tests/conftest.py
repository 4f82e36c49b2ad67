"""What several rooms' tests share: one tiny world, built once."""

from __future__ import annotations

import pytest

from corkboard.workspace import Workspace, open_demo

TINY = ["scale=tiny"]


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Workspace:
    """A workspace with the tiny world, built to its best release. Read it; copy it before you change it."""
    workspace = open_demo(tmp_path_factory.mktemp("built"), overrides=TINY)
    workspace.simulate()
    report = workspace.build()
    assert report.refused == []
    return workspace
