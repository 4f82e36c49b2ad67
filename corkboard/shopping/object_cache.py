"""What was found in pictures and what a trunk says of crops, kept beside the pictures: each is computed once.

    lake/pictures/objects/<detector>-1.npz    boxes, scores and posteriors of every picture that this detector has seen
    lake/pictures/crops/<trunk>-1.npz         features and colours of every crop that this trunk has seen

A file that is missing or cut off is made again. Of each kind the files that were used last stay.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from corkboard.artifacts import write_atomically

if TYPE_CHECKING:
    from corkboard.vision.detection import Detections

FILES_KEPT = 4
"""Detectors and trunks whose findings stay, those that were used last."""
DETECTED_BY, CROPPED_BY = 1, 1
"""Raised where code finds something else in a picture, or says something else of a crop, with the same weights: files of before are not
read any more. Steps are made again whenever code changes; what is kept here is not."""


class DetectionCache:
    """What one detector found, by the hash of the picture."""

    def __init__(self, folder: Path, version: str):
        self._path = folder / "objects" / f"{version}-{DETECTED_BY}.npz"
        self._found: dict[str, Detections] = {}
        self._new = False
        kept = _read(self._path, ("hashes", "counts", "boxes", "scores", "posteriors"))
        if kept is not None:
            from corkboard.vision.detection import Detections  # it loads PyTorch, which who reads an artefact does without

            ends = np.cumsum(kept["counts"])
            for name, start, end in zip(kept["hashes"].astype(str).tolist(), ends - kept["counts"], ends, strict=True):
                self._found[name] = Detections(*(kept[part][start:end] for part in ("boxes", "scores", "posteriors")))

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> Detections:
        return self._found[name]

    def put(self, name: str, found: Detections) -> None:
        """Remember what was found in a picture."""
        self._found[name], self._new = found, True

    def save(self) -> None:
        """Write what is new, if anything is."""
        if not self._new:
            return
        found = list(self._found.values())
        parts = {part: np.concatenate([getattr(one, part) for one in found]) for part in ("boxes", "scores", "posteriors")}
        _write(self._path, hashes=np.array(list(self._found), "S64"), counts=np.array([len(one) for one in found], np.int64), **parts)
        self._new = False


class CropCache:
    """What one trunk says of crops: features float32 ``(width,)`` and colours uint8 ``(bins,)``, by :func:`crop_key`."""

    def __init__(self, folder: Path, trunk: str):
        self._path = folder / "crops" / f"{trunk}-{CROPPED_BY}.npz"
        self._rows: dict[str, int] = {}
        self._features: list[np.ndarray] = []
        self._colours: list[np.ndarray] = []
        self._new = False
        kept = _read(self._path, ("keys", "features", "colours"))
        if kept is not None:
            self._rows = {key: row for row, key in enumerate(kept["keys"].astype(str).tolist())}
            self._features, self._colours = [kept["features"]], [kept["colours"]]

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def put(self, keys: Sequence[str], features: np.ndarray, colours: np.ndarray) -> None:
        """Remember crops that are not known yet."""
        start = len(self._rows)
        self._rows.update({key: start + n for n, key in enumerate(keys)})
        self._features.append(features)
        self._colours.append(colours)
        self._new = True

    def take(self, keys: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """float32 ``(len(keys), width)`` and uint8 ``(len(keys), bins)``, of at least one key."""
        rows = [self._rows[key] for key in keys]
        return np.concatenate(self._features)[rows], np.concatenate(self._colours)[rows]

    def save(self) -> None:
        """Write what is new, if anything is."""
        if self._new:
            parts = {"features": np.concatenate(self._features), "colours": np.concatenate(self._colours)}
            _write(self._path, keys=np.array(list(self._rows), "S32"), **parts)
            self._new = False


def crop_key(name: str, box: np.ndarray) -> str:
    """32 hex digits: a part of a picture, float32 ``(4,)``, margin included."""
    return blake2b(name.encode() + np.asarray(box, np.float32).tobytes(), digest_size=16).hexdigest()


def _read(path: Path, names: Sequence[str]) -> dict[str, np.ndarray] | None:
    try:
        os.utime(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names}
    except (OSError, ValueError, KeyError, BadZipFile):  # not there, or cut off: it is made again
        return None


def _write(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    write_atomically(path, buffer.getvalue())
    with suppress(FileNotFoundError):  # another process was faster
        for old in sorted(path.parent.glob("[!.]*.npz"), key=lambda file: file.stat().st_mtime)[:-FILES_KEPT]:
            old.unlink()
