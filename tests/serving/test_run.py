"""The server as a process: it says where it is, several workers share what is done, and it ends when asked to."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from corkboard.errors import InputError
from corkboard.serving.config import ServingConfig
from corkboard.serving.run import listen
from corkboard.workspace import Workspace
from tests.serving.builders import LABELS
from tests.serving.test_app import action

SERVE = """
import sys
from pathlib import Path
from corkboard.serving.run import serve
from corkboard.settings import load_settings
from corkboard.workspace import Workspace

folder = Path(sys.argv[1])
serve(Workspace(folder, load_settings(folder, overrides=["serving.port=0", "serving.workers=" + sys.argv[2]], environ={})))
"""


@contextmanager
def running(workspace: Workspace, workers: int) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process and its address."""
    command = [sys.executable, "-c", SERVE, str(workspace.folder), str(workers)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().removeprefix("Corkboard is at ").strip()
    finally:
        process.terminate()
        process.wait(timeout=20)
        process.stdout.close()


def wait_ready(url: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the server did not become ready")


def worker_ids(parent: int) -> list[int]:
    """Processes that ``parent`` has spawned to serve, not those that only watch over its semaphores."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_a_taken_port_is_one_clear_sentence() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"127.0.0.1:{port}"):
            listen(ServingConfig(port=port))


def test_two_workers_share_what_is_done_and_a_killed_one_loses_nothing(workspace: Workspace) -> None:
    with running(workspace, workers=2) as (process, url):
        wait_ready(url)
        assert httpx.post(f"{url}/v1/events", json=action("item-001", event_id="kept")).json()["accepted"] == 1
        for _ in range(6):  # each on a connection of its own, so that both workers answer
            assert httpx.get(f"{url}/v1/users/newcomer/state").json()["counts"] == {"save": 1}
        workers = worker_ids(process.pid)
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        wait_ready(url)
        assert httpx.get(f"{url}/v1/users/newcomer/state").json()["counts"] == {"save": 1}
        page = httpx.post(f"{url}/v1/recommend", json={"user_id": "newcomer"}).json()
        assert (page["release_label"], len(page["items"])) == (LABELS[0], 25)


def test_one_worker_survives_being_killed_with_everything_it_acknowledged(workspace: Workspace) -> None:
    with running(workspace, workers=1) as (process, url):
        wait_ready(url)
        assert httpx.post(f"{url}/v1/events", json=[action(f"item-{n:03d}") for n in range(20)]).json()["accepted"] == 20
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(workspace, workers=1) as (process, url):
        wait_ready(url)
        assert httpx.get(f"{url}/v1/users/newcomer/state").json()["counts"] == {"save": 20}
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
