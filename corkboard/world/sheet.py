"""Contact sheets: many small pictures on one, to look at."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from corkboard.artifacts import write_atomically
from corkboard.world.rendering import Products, render

COLUMNS: tuple[tuple[str, int], ...] = (("catalogue", 0), ("web", 0), ("web", 1), ("camera", 0), ("camera", 1))
"""(domain, view) of each column of :func:`products_sheet`."""
_PAPER = 247


def contact_sheet(images: np.ndarray, gap: int = 6) -> np.ndarray:
    """uint8 (height, width, 3): the pictures of ``images`` (rows, columns, side, side, 3) side by side, ``gap`` px apart."""
    rows, columns, side = images.shape[:3]
    step = side + gap
    sheet = np.full((rows * step + gap, columns * step + gap, 3), _PAPER, np.uint8)
    for row in range(rows):
        for column in range(columns):
            y, x = row * step + gap, column * step + gap
            sheet[y : y + side, x : x + side] = images[row, column]
    return sheet


def products_sheet(
    products: Products, rows: Sequence[int] | np.ndarray, side: int = 128, seed: int = 0, columns: Sequence[tuple[str, int]] = COLUMNS
) -> np.ndarray:
    """uint8 sheet of ``rows`` of ``products``: a row each, a column for each (domain, view)."""
    return contact_sheet(np.stack([render(products, rows, domain, view, side, seed) for domain, view in columns], 1))


def by_category(products: Products, count: int = 12) -> np.ndarray:
    """int64 rows of at most ``count`` of ``products``, of categories as different as can be: the first of each, then the second."""
    order = np.argsort(products.category, kind="stable")
    category = products.category[order]
    place = np.arange(len(order)) - np.searchsorted(category, category)
    return order[np.lexsort((category, place))][:count]


def to_png(picture: np.ndarray) -> bytes:
    """PNG bytes of a uint8 (height, width, 3) picture."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def write_sheet(path: Path, sheet: np.ndarray) -> Path:
    """Write a sheet as PNG; returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, to_png(sheet))
    return path
