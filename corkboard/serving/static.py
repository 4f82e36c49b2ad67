"""The files of the web page, held in memory and served with an entity tag; nothing is fetched from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

from corkboard.serving.problems import Problem

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


@dataclass(frozen=True)
class PageFile:
    """One file: its bytes, media type and tag."""

    data: bytes
    media_type: str
    tag: str

    def response(self, request: Request) -> Response:
        headers = {"etag": self.tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == self.tag:
            return Response(status_code=304, headers=headers)
        return Response(self.data, headers=headers, media_type=self.media_type)


class PageFiles:
    """Everything below the package's ``page`` folder, by path ("index.html", "js/main.js")."""

    def __init__(self) -> None:
        self._files = {path: _read(path, file) for path, file in _walk(files("corkboard.serving") / "page", "")}

    def answer(self, path: str, request: Request) -> Response:
        """The file at ``path``. Raises :class:`Problem` 404."""
        found = self._files.get(path)
        if found is None:
            raise Problem(404, "no_such_path", "The page has no such file", found=path[:200])
        return found.response(request)


def _walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _walk(entry, f"{prefix}{entry.name}/")
        elif any(entry.name.endswith(suffix) for suffix in _TYPES):
            yield f"{prefix}{entry.name}", entry


def _read(path: str, file: Traversable) -> PageFile:
    data = file.read_bytes()
    media_type = _TYPES[path[path.rindex(".") :]]
    return PageFile(data, media_type, f'"{hashlib.blake2b(data, digest_size=8).hexdigest()}"')
