"""Pictures at rest: how they are decoded, kept, fetched and read.

:func:`.decode.decode` turns the bytes of a stranger into pixels within :class:`PictureLimits` or raises ``PictureRefused``;
:class:`PictureStore` keeps a picture once, by the hash of its bytes; :func:`fetch_pictures` brings those in that items name by address;
:class:`Pictures` reads them. The names are loaded when they are first used, so that reading the settings (:mod:`.config`) loads no picture
library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corkboard.lake.pictures.bounded import Decoders, decode_bounded
    from corkboard.lake.pictures.config import PictureLimits
    from corkboard.lake.pictures.decode import Picture
    from corkboard.lake.pictures.fetch import FetchReport, fetch_pictures
    from corkboard.lake.pictures.reading import Pictures
    from corkboard.lake.pictures.store import PictureStore

_HOME = {
    "Decoders": "bounded",
    "FetchReport": "fetch",
    "Picture": "decode",
    "PictureLimits": "config",
    "PictureStore": "store",
    "Pictures": "reading",
    "decode_bounded": "bounded",
    "fetch_pictures": "fetch",
}

__all__ = ["Decoders", "FetchReport", "Picture", "PictureLimits", "PictureStore", "Pictures", "decode_bounded", "fetch_pictures"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
