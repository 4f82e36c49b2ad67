"""One small release for all tests of this folder; feeds and stores are made anew by each test."""

from __future__ import annotations

import pytest

from feed.builders import Small, small


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Small:
    return small(tmp_path_factory.mktemp("workspace"))
