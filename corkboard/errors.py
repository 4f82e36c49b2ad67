"""Every exception that Corkboard raises on purpose.

    CorkboardError
    ├── InputError          what a user handed in is wrong (exit code 2, HTTP 400)
    │   ├── SchemaError     a file or an event does not fit its table
    │   ├── ConfigError     a setting is unknown or has the wrong value
    │   ├── PictureRefused  a picture is broken, hostile or larger than it may be
    │   └── NotFound        a name, file, user, item or release that is not there (HTTP 404)
    ├── ArtifactError       an artefact or a release is missing, half-written or damaged
    │   └── SpaceMismatch   vectors of two spaces were about to be compared
    ├── LakeError           the lake is damaged, or two writers collided
    ├── LeakError           something read past its cut of the calendar
    └── StoreError          the online store is unreachable or refused a write (HTTP 503)

A message says what was found, what was expected and what to do next.
"""

from __future__ import annotations


class CorkboardError(Exception):
    """Base of all errors. ``found``, ``expected`` and ``hint`` are kept for machines."""

    def __init__(self, message: str, *, found: object = None, expected: object = None, hint: str | None = None):
        self.message, self.found, self.expected, self.hint = message, found, expected, hint
        parts = [message]
        if found is not None:
            parts.append(f"found {found!r}")
        if expected is not None:
            parts.append(f"expected {expected}")
        text = ", ".join(parts)
        super().__init__(f"{text}. {hint}" if hint else text)


class InputError(CorkboardError):
    """What a user handed in is wrong."""


class SchemaError(InputError):
    """A file or an event does not fit its table."""


class ConfigError(InputError):
    """A setting is unknown or has the wrong value."""


class PictureRefused(InputError):
    """A picture is broken, hostile, of a kind that is not taken, or larger than it may be."""


class NotFound(InputError):
    """A name, file, user, item or release that is not there."""


class ArtifactError(CorkboardError):
    """An artefact or a release is missing, half-written or damaged."""


class SpaceMismatch(ArtifactError):
    """Vectors of two different spaces were about to be compared."""


class LakeError(CorkboardError):
    """The lake is damaged, or two writers collided."""


class LeakError(CorkboardError):
    """Something read past its cut of the calendar."""


class StoreError(CorkboardError):
    """The online store is unreachable or refused a write."""
