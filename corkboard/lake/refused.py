"""Rows that did not come in, kept beside: ``refused/<source>.jsonl`` has for each the row number, the field, what was found and
expected, and the row as it stood in the file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NamedTuple

from corkboard.artifacts import sync_folder, write_atomically

FIRST = 20


class RefusedRow(NamedTuple):
    """A row that an importer refuses before it is a row of the lake."""

    row: int
    """From 1, in its file."""
    field: str
    """The file and what is wrong in it."""
    found: str
    expected: str
    original: object


class RefusedRows:
    """Writes refused rows aside, under the name of a batch, until :meth:`publish` puts them in place."""

    def __init__(self, folder: Path, batch: str):
        self.folder = folder / "refused"
        self.count = 0
        self.digest = hashlib.blake2b(digest_size=8)
        self.first: list[dict[str, Any]] = []
        self._aside = self.folder / f".{batch}.jsonl"
        self._file: TextIOWrapper | None = None

    def add(self, row: int, field: str, found: str, expected: str, original: object) -> None:
        """``original`` is the row as an object, or the text of a row that is none."""
        facts = {"row": row, "field": field, "found": found, "expected": expected}
        if len(self.first) < FIRST:
            self.first.append(facts)
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._file = open(self._aside, "w", encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - closed by publish
        line = json.dumps({**facts, "original": original}, ensure_ascii=False, default=str)
        self.digest.update(line.encode(errors="backslashreplace"))
        self._file.write(line + "\n")
        self.count += 1

    def publish(self, source_hash: str) -> Path | None:
        """Put the rows in their place, durably, instead of those of an earlier try with the same source; None where there are none."""
        final = self.folder / f"{source_hash}.jsonl"
        if self._file is None:
            final.unlink(missing_ok=True)
            return None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._aside, final)
        sync_folder(self.folder)
        return final


def forget(folder: Path, user_ids: Iterable[str]) -> None:
    """Take every refused row away that names one of the users, wherever it names them."""
    names = set(user_ids)
    for path in sorted((folder / "refused").glob("[!.]*.jsonl")):
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if not _mentions(json.loads(line)["original"], names)]
        if not kept:
            path.unlink()
        elif len(kept) < len(lines):
            write_atomically(path, ("\n".join(kept) + "\n").encode())


def _mentions(value: object, names: set[str]) -> bool:
    """Whether a row has one of the names as a value; in the text of a broken row, as any part of it."""
    if isinstance(value, dict):
        return any(_mentions(part, names) for part in value.values())
    if isinstance(value, list):
        return any(_mentions(part, names) for part in value)
    return str(value) in names if not isinstance(value, str) else any(_in_text(value, name) for name in names)


def _in_text(text: str, name: str) -> bool:
    """As a whole word: the user "1" is not in "21"."""
    place = text.find(name)
    while place >= 0:
        before, after = text[place - 1 : place], text[place + len(name) : place + len(name) + 1]
        if not (before.isalnum() or after.isalnum()):
            return True
        place = text.find(name, place + 1)
    return False
