"""What benchmarks share: a built workspace, a real server process, a keep-alive client, one JSON line at the end."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from corkboard.workspace import Workspace, demo

OUT = Path(os.environ.get("CORKBOARD_BENCH", Path(__file__).parent / "out"))


def arguments(description: str, **options: object) -> argparse.Namespace:
    """``--json`` and, by name, options whose type is that of their default; one that is False is a switch."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one flat JSON object as the last line")
    for name, default in options.items():
        how = {"action": "store_true"} if default is False else {"type": type(default), "default": default}
        parser.add_argument(f"--{name.replace('_', '-')}", **how)
    return parser.parse_args()


def finish(result: dict, as_json: bool) -> None:
    """Print the figures for people and, as the last line, for machines."""
    for name, value in result.items():
        print(f"{name:32} {value:,.3f}" if isinstance(value, float) else f"{name:32} {value}")
    if as_json:
        print(json.dumps(result))


def world_workspace(name: str, overrides: Sequence[str] = ()) -> Workspace:
    """A workspace with the simulated world, built to its best release. Made once and kept; only what is stale is built again."""
    return demo(OUT / name, overrides)


def timed(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes by the clock."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def say(text: str) -> None:
    """A line for whoever watches; what is printed to standard output is the result."""
    print(text, file=sys.stderr)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    """One keep-alive connection. Raises ``AssertionError`` with the body for an answer that is not 200."""

    def __init__(self, port: int):
        self.timing = ""
        """The `Server-Timing` header of the last answer."""
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def call(self, method: str, path: str, body: object = None) -> dict:
        payload = None if body is None else json.dumps(body).encode()
        self.connection.request(method, path, payload, {"Content-Type": "application/json"})
        response = self.connection.getresponse()
        data = response.read()
        self.timing = response.headers.get("Server-Timing", "")
        if response.status != 200:
            raise AssertionError(f"{method} {path}: {response.status} {data[:500]!r}")
        return json.loads(data)

    def stages_ms(self) -> dict[str, float]:
        """Milliseconds by stage of the last page, by the server's own clock."""
        return {name: float(value) for name, value in self._timing("dur")}

    def counts(self) -> dict[str, int]:
        """How many candidates went into each ranker for the last page."""
        return {name: int(value.strip('"')) for name, value in self._timing("desc")}

    def _timing(self, kind: str) -> Iterator[tuple[str, str]]:
        for entry in self.timing.split(","):
            name, found, value = entry.strip().partition(f";{kind}=")
            if found:
                yield name, value

    def events(self, events: list[dict]) -> dict:
        return self.call("POST", "/v1/events", events)

    def page(self, user_id: str, k: int = 25, **more: object) -> dict:
        return self.call("POST", "/v1/recommend", {"surface": "home", "user_id": user_id, "k": k, **more})


def action(user_id: str, item_id: str, kind: str, time_ms: int | None = None) -> dict:
    return {
        "event": "action",
        "event_id": os.urandom(12).hex(),
        "time_ms": int(time.time() * 1000) if time_ms is None else time_ms,
        "user_id": user_id,
        "item_id": item_id,
        "action": kind,
        "surface": "home",
    }


@contextmanager
def server(folder: Path, overrides: Sequence[str] = (), fresh_store: bool = True) -> Iterator[int]:
    """A real server process over ``folder``; yields its port. With ``fresh_store`` it begins without live events."""
    if fresh_store:
        for file in folder.glob("store.sqlite*"):
            file.unlink()
    process, port = start_server(folder, overrides)
    try:
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def start_server(folder: Path, overrides: Sequence[str] = ()) -> tuple[subprocess.Popen, int]:
    """Start a server and wait until it is ready."""
    port = free_port()
    command = [sys.executable, "-m", "corkboard", "serve", "--workspace", str(folder), "--port", str(port)]
    command += [argument for override in overrides for argument in ("--set", override)]
    log = open(folder / "server.log", "ab")  # noqa: SIM115 - the server process keeps it
    process = subprocess.Popen(command, stdout=log, stderr=log)
    wait_until_ready(process, port, folder / "server.log")
    return process, port


def wait_until_ready(process: subprocess.Popen, port: int, log: Path, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with code {process.returncode}: {log.read_text()[-2000:]}")
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError(f"the server was not ready after {seconds} s: {log.read_text()[-2000:]}")


def copy_workspace(source: Path, target: Path) -> Path:
    """A copy that may be killed and written to."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))
