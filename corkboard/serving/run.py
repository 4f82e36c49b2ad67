"""Running the server: one process, or several that share one socket and the store."""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from fastapi import FastAPI

from corkboard.errors import InputError
from corkboard.learning.allocator import keep_freed_memory
from corkboard.serving.app import create_app
from corkboard.serving.config import ServingConfig
from corkboard.serving.live import LiveEngine
from corkboard.serving.loading import release_loader

if TYPE_CHECKING:
    from corkboard.workspace import Workspace

WORKER = "CORKBOARD_WORKER"
"""The variable that tells a worker process its workspace and settings; the parent sets it for its children."""
BACKLOG = 2048


def engine_of(workspace: Workspace) -> LiveEngine:
    """The engine of a workspace, over its own store; not started yet."""
    store = workspace.store()
    settings = workspace.settings
    return LiveEngine(workspace.releases, store, release_loader(store, settings), settings.serving, weights=workspace.utility_weights)


def app_of(workspace: Workspace) -> FastAPI:
    """The app over the live release of ``workspace``."""
    return create_app(engine_of(workspace), limits=workspace.settings.lake.pictures)


def serve(workspace: Workspace) -> None:
    """Serve ``workspace`` until the process is asked to end. Raises :class:`InputError` where the address cannot be had."""
    config = workspace.settings.serving
    keep_freed_memory()
    _log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    listening = listen(config)
    _say_where(config, listening)
    if config.workers == 1:
        with suppress(KeyboardInterrupt):  # raised once more after Ctrl-C has ended everything in good order
            uvicorn.Server(_uvicorn(app_of(workspace), config)).run(sockets=[listening])
        return
    os.environ[WORKER] = json.dumps({"folder": str(workspace.folder.resolve()), "settings": workspace.settings.model_dump(mode="json")})
    listening.set_inheritable(True)
    from uvicorn.supervisors import Multiprocess

    Multiprocess(_uvicorn("corkboard.serving.run:worker_app", config), sockets=[listening]).run()


def worker_app() -> FastAPI:
    """The app of one worker among several; its workspace comes from the environment."""
    from corkboard.settings import Settings
    from corkboard.workspace import Workspace

    keep_freed_memory()
    given = json.loads(os.environ[WORKER])
    _log_to_stderr("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")
    return app_of(Workspace(Path(given["folder"]), Settings.model_validate(given["settings"])))


def listen(config: ServingConfig) -> socket.socket:
    """The socket at the configured address. Raises :class:`InputError` where it is taken or not ours."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family, backlog=BACKLOG)
    except OSError as error:
        where = f"{config.host}:{config.port}"
        raise InputError(
            f"The server cannot listen there: {error.strerror or error}",
            found=where,
            hint="Give it another `--port`, or end what uses this one.",
        ) from None


def _uvicorn(app: FastAPI | str, config: ServingConfig) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, str),
        workers=config.workers,
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=config.access_log,
        log_level="info" if config.access_log else "warning",
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=10,
    )


def _log_to_stderr(style: str) -> None:
    logging.basicConfig(level=logging.WARNING, format=style)
    logging.getLogger("corkboard").setLevel(logging.INFO)


def _say_where(config: ServingConfig, listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    host = f"[{config.host}]" if ":" in config.host else config.host
    print(f"Corkboard is at http://{host}:{port}", flush=True)
    if not config.api_keys and not _is_loopback(config.host):
        print("warning: everybody who reaches this address may read and write; set serving.api_keys", file=sys.stderr)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
