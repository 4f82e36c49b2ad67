"""One workspace is made for all tests of the room; each test that changes something gets its own copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from corkboard.serving.app import create_app
from corkboard.serving.live import LiveEngine
from corkboard.serving.run import engine_of
from corkboard.settings import load_settings
from corkboard.workspace import Workspace
from tests.serving.builders import make_workspace


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a workspace that nobody changes."""
    return make_workspace(tmp_path_factory.mktemp("serving") / "made").folder


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    """A workspace of the test's own."""
    folder = tmp_path / "workspace"
    shutil.copytree(made, folder)
    return Workspace(folder, load_settings(folder, environ={}))


@pytest.fixture
def engine(workspace: Workspace) -> LiveEngine:
    """An engine that is not started."""
    return engine_of(workspace)


@pytest.fixture
def client(engine: LiveEngine) -> Iterator[TestClient]:
    """A client of the whole app over that engine, started and closed with the test."""
    with TestClient(create_app(engine), raise_server_exceptions=False) as client:
        yield client
