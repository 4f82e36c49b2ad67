"""A server over a small real workspace, and Chromium to look at it."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn

from corkboard.serving.app import create_app
from corkboard.serving.run import engine_of, listen
from corkboard.settings import load_settings
from corkboard.workspace import Workspace
from tests.serving.builders import make_workspace

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--no-first-run",
]


@dataclass
class Site:
    """A running server and its workspace."""

    url: str
    workspace: Workspace


@dataclass
class Look:
    """What a page did while it was open: addresses it asked for, and errors it met."""

    asked: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium; tests are skipped where it is not installed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed: apt-get install -y chromium")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def made_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_workspace(tmp_path_factory.mktemp("browser") / "made").folder


@pytest.fixture
def site(request: pytest.FixtureRequest, chromium: str, made_site: Path, tmp_path: Path) -> Iterator[Site]:
    """A server on a free port, in a thread; a test may give it more settings by indirect parameters."""
    more = getattr(request, "param", [])
    folder = tmp_path / "workspace"
    shutil.copytree(made_site, folder)
    workspace = Workspace(folder, load_settings(folder, overrides=["serving.port=0", *more], environ={}))
    listening = listen(workspace.settings.serving)
    server = uvicorn.Server(uvicorn.Config(create_app(engine_of(workspace)), log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield Site(f"http://127.0.0.1:{listening.getsockname()[1]}", workspace)
    server.should_exit = True
    thread.join()


@pytest.fixture
def look() -> Look:
    return Look()


@pytest.fixture
def page(browser: playwright.Browser, look: Look) -> Iterator[playwright.Page]:
    """A fresh tab of a fresh browser profile."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("request", lambda request: look.asked.append(request.url))
    page.on("pageerror", lambda error: look.errors.append(f"{error}\n{error.stack}"))
    page.on("console", lambda message: look.errors.append(message.text) if message.type == "error" else None)
    yield page
    context.close()
