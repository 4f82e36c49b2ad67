"""Forms with files (``multipart/form-data``, RFC 7578), read strictly: a body that is not one to the letter is refused.

A body is bounded before it comes here, and a part is a view of it: nothing is copied, kept on disk or guessed. What the standard
tolerates and no client sends is not read: text around the parts, nested and encoded parts, several parts of one name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from corkboard.serving.problems import Problem

MULTIPART = "multipart/form-data"
MAX_PARTS = 32
"""Most parts of one form."""
MAX_HEADER_BYTES = 4096
"""Most bytes of one part's headers."""

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_PARAMETER = re.compile(rf';[ \t]*({_TOKEN})=(?:"((?:[^"\\\r\n]|\\.)*)"|({_TOKEN}))[ \t]*')
_ESCAPED = re.compile(r"\\(.)")
_PLAIN = ("7bit", "8bit", "binary")


@dataclass(frozen=True)
class Part:
    """One field: ``filename`` is None where it is no file; ``data`` is a view of the body."""

    name: str
    data: memoryview
    filename: str | None = None

    def text(self) -> str:
        """The field as text. Raises :class:`Problem` where it is not UTF-8."""
        try:
            return bytes(self.data).decode()
        except UnicodeDecodeError:
            raise Problem(400, "bad_form", f"The field {_cut(self.name)} is not UTF-8") from None


def media_type(content_type: str) -> str:
    """The type of a Content-Type header without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def read_form(content_type: str, body: bytes) -> dict[str, Part]:
    """The parts of ``body`` by name. Raises :class:`Problem` 400 where it is no such form."""
    delimiter = b"--" + _boundary(content_type)
    if not body.startswith(delimiter):
        raise _bad("It does not begin with the boundary of its Content-Type")
    parts: dict[str, Part] = {}
    for start, end in _between(body, delimiter):
        if len(parts) == MAX_PARTS:
            raise _bad(f"It has more than {MAX_PARTS} parts")
        part = _part(body, start, end)
        if part.name in parts:
            raise Problem(400, "bad_form", "A field is there twice", found=part.name)
        parts[part.name] = part
    return parts


def _boundary(content_type: str) -> bytes:
    _, separator, rest = content_type.partition(";")
    found = _parameters(separator + rest).get("boundary", "")
    if not _BOUNDARY.fullmatch(found):
        raise Problem(400, "bad_form", "The form has no boundary", found=content_type, expected=f"{MULTIPART}; boundary=…")
    return found.encode()


def _between(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Where each part begins and ends; the last delimiter is the end of the body."""
    at = len(delimiter)
    while body[at : at + 2] == b"\r\n":
        end = body.find(b"\r\n" + delimiter, at)  # from the line end before the part: an empty one may have no headers either
        if end < 0:
            raise _bad("It ends within a part")
        yield at + 2, end
        at = end + 2 + len(delimiter)
    if body[at:] not in (b"--", b"--\r\n"):
        raise _bad("Something that is neither a part nor the end follows a boundary")


def _part(body: bytes, start: int, end: int) -> Part:
    head = body.find(b"\r\n\r\n", start, min(end, start + MAX_HEADER_BYTES))
    if head < 0:
        raise _bad("A part has no headers, or too long ones")
    headers = _headers(body[start:head])
    kind, separator, rest = headers.get("content-disposition", "").partition(";")
    given = _parameters(separator + rest)
    if kind.strip().lower() != "form-data" or not given.get("name"):
        raise _bad("A part does not say which field it is")
    if headers.get("content-transfer-encoding", "binary").lower() not in _PLAIN:
        raise _bad("A part is encoded")
    return Part(given["name"], memoryview(body)[head + 4 : end], given.get("filename"))


def _headers(block: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    try:
        lines = block.decode().split("\r\n")
    except UnicodeDecodeError:
        raise _bad("The headers of a part are not UTF-8") from None
    for line in lines:
        name, separator, value = line.partition(":")
        if not separator or not re.fullmatch(_TOKEN, name) or name.lower() in headers:
            raise _bad("A part has a header that cannot be read")
        headers[name.lower()] = value.strip(" \t")
    return headers


def _parameters(text: str) -> dict[str, str]:
    """``; name=value; name="value"``. Raises :class:`Problem` for anything else."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None or match[1].lower() in found:
            raise _bad("A header has parameters that cannot be read")
        found[match[1].lower()] = _ESCAPED.sub(r"\1", match[2]) if match[3] is None else match[3]
        at = match.end()
    return found


def _bad(message: str) -> Problem:
    return Problem(400, "bad_form", f"The form cannot be read: {message[0].lower()}{message[1:]}", expected=MULTIPART)


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"
