"""What loaders of other people's models share: the package `transformers`, which is an extra, and its talk on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from corkboard.errors import NotFound


def transformers_package() -> Any:
    """The package `transformers`. Raises :class:`NotFound` where it is not installed."""
    try:
        import transformers
    except ImportError:
        raise NotFound(
            "Encoders of others need the package transformers, which is not installed",
            hint='Install the extra: pip install "corkboard[encoders]".',
        ) from None
    return transformers


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """No progress bars and no tables of keys on the terminal: what matters of them is checked by whoever loads."""
    logging = transformers.utils.logging
    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
