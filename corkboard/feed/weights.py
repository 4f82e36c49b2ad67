"""What actions are worth in a workspace that serves: the settings, and above them what somebody changed while it ran.

The changes lie in ``utility.toml`` beside the store, one line a weight (``save = 3.0``). Whoever serves the workspace looks at
the file now and then and follows; a file that does not read leaves the weights as they were, for later releases too, and
whoever starts beside one takes the settings. Removing it goes back to the settings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from corkboard.artifacts import write_atomically
from corkboard.config import load
from corkboard.errors import CorkboardError
from corkboard.ranking.config import UtilityWeights

FILE = "utility.toml"
UNUSABLE = (CorkboardError, OSError, UnicodeError)
"""What reading a file may raise that somebody broke, took away or locked."""


class WorkspaceWeights:
    """The weights of the workspace in ``folder``; ``settings`` are those of its configuration."""

    def __init__(self, folder: Path, settings: UtilityWeights):
        self.file = Path(folder) / FILE
        self.settings = settings

    def read(self) -> UtilityWeights:
        """The weights now. Raises :class:`ConfigError` for a file that names unknown heads or is not TOML, and ``OSError`` for one that
        cannot be opened."""
        if not self.file.exists():
            return self.settings
        return load(UtilityWeights, self.file, environ={}, base=self.settings.model_dump())

    def write(self, changes: Mapping[str, float]) -> UtilityWeights:
        """Replace all changes by ``changes``, durably; an empty mapping goes back to the settings.

        Raises :class:`ConfigError` for an unknown head, naming the nearest known one, and for a value that is no number; nothing
        is written then.
        """
        weights = changed(self.settings, [f"{name}={value!r}" for name, value in changes.items()])
        lines = [f"{name} = {value!r}\n" for name, value in weights.model_dump().items() if name in changes]
        write_atomically(self.file, "".join(lines).encode())
        return weights

    def stamp(self) -> bytes:
        """Changes whenever the file does: its very content, for the time of a file is too coarse for two changes in a row."""
        try:
            return self.file.read_bytes()
        except FileNotFoundError:
            return b""
        except OSError as error:  # as good as a content that is no TOML, and another one as soon as it can be read
            return str(error).encode()


def changed(weights: UtilityWeights, changes: Iterable[str]) -> UtilityWeights:
    """``weights`` with changes such as ``save=3`` laid over them. Raises :class:`ConfigError` as above."""
    return load(UtilityWeights, overrides=changes, environ={}, base=weights.model_dump())
