"""A web of one machine for the tests: hosts of made-up names on loopback addresses, of which some count as public."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from corkboard.lake.pictures.network import Address, Network

PUBLIC, PRIVATE = "127.0.0.1", "127.0.0.2"
HOSTS = {"pictures.test": PUBLIC, "more.test": PUBLIC, "inside.test": PRIVATE}


class Web:
    """Answers by path; ``hits`` are the paths that were asked for, with the address that was connected to."""

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self.hits: list[tuple[str, str, str]] = []
        self.looked_up: list[str] = []
        self.port = 0

    def url(self, path: str, host: str = "pictures.test") -> str:
        return f"http://{host}:{self.port}{path}"

    def serve(self, path: str, data: bytes = b"", status: int = 200, **headers: str) -> None:
        def answer(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {
                "Content-Length": str(len(data)),
                **{key.replace("_", "-"): value for key, value in headers.items()},
            }.items():
                handler.send_header(name, value)
            handler.end_headers()
            handler.wfile.write(data)

        self.answers[path] = answer

    def redirect(self, path: str, target: str) -> None:
        self.serve(path, status=302, Location=target)

    def network(self, **changed: object) -> Network:
        """Only PUBLIC counts as public."""

        def look_up(host: str, port: int) -> list[Address]:
            self.looked_up.append(host)
            if host not in HOSTS:
                try:
                    return [ipaddress.ip_address(host)]
                except ValueError:
                    raise OSError("no such host") from None
            return [ipaddress.ip_address(HOSTS[host])]

        return Network(**{"look_up": look_up, "is_public": lambda address: str(address) == PUBLIC, **changed})


@contextmanager
def web() -> Iterator[Web]:
    """Two servers on one port, one of them in the network that is not public."""
    site = Web()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.hits.append((self.path, self.headers["Host"], self.connection.getsockname()[0]))
            site.answers[self.path](self)

        def log_message(self, *_: object) -> None:
            pass

    public = ThreadingHTTPServer((PUBLIC, 0), Handler)
    site.port = public.server_address[1]
    private = ThreadingHTTPServer((PRIVATE, site.port), Handler)
    servers = (public, private)
    for server in servers:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield site
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
