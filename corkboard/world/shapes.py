"""The few shapes that silhouettes are put together from, and how they are packed for the kernels.

Coordinates are object units, x to the right and y down; a thing lies about within -1 to 1. A part is one colour: shapes are joined,
cut out of each other or kept within each other by their signed distances. Parts are painted in order, later ones on top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from corkboard.world.palettes import SLOTS

BOX, ELLIPSE, CAPSULE, POLYGON, ARC = range(5)
JOIN, CUT, WITHIN = range(3)
GROUPS = 6
"""Groups of parts of a silhouette that vary in size together."""
NUMBERS = 20
"""Numbers of a shape after its kind, operation and softness."""
CORNERS = 9
"""Corners of a polygon at most."""


@dataclass(frozen=True)
class Shape:
    """One primitive: its kind, how it meets those before it in its part, how softly it is joined (object units), and its numbers."""

    kind: int
    numbers: tuple[float, ...]
    how: int = JOIN
    soft: float = 0.0
    side: float = 1.0
    """-1 for a mirror image: then the point it is scaled about lies on the other side, too."""


def box(x: float, y: float, half_width: float, half_height: float, round: float = 0.0, turn: float = 0.0) -> Shape:
    """A box around (x, y) with round corners, turned by ``turn`` radians."""
    return Shape(BOX, (x, y, half_width, half_height, round, math.cos(turn), math.sin(turn)))


def ellipse(x: float, y: float, rx: float, ry: float | None = None, turn: float = 0.0) -> Shape:
    """An ellipse, or a circle where only one radius is given."""
    return Shape(ELLIPSE, (x, y, rx, rx if ry is None else ry, 0.0, math.cos(turn), math.sin(turn)))


def capsule(x1: float, y1: float, x2: float, y2: float, r1: float, r2: float | None = None) -> Shape:
    """A stroke with round ends, of radius ``r1`` at its begin and ``r2`` at its end."""
    return Shape(CAPSULE, (x1, y1, x2, y2, r1, r1 if r2 is None else r2))


def polygon(*corners: tuple[float, float], round: float = 0.0) -> Shape:
    """A polygon of 3 to 9 corners, its corners rounded outwards."""
    return Shape(POLYGON, (len(corners), round, *(value for corner in corners for value in corner)))


def arc(x: float, y: float, radius: float, width: float, middle: float, opening: float) -> Shape:
    """A round stroke along a circle: ``middle`` is the direction of its middle (degrees, 0 right, 90 down), ``opening`` half its angle."""
    direction, half = math.radians(middle), math.radians(opening)
    return Shape(ARC, (x, y, radius, width, math.cos(direction), math.sin(direction), math.cos(half), math.sin(half)))


def cut(shape: Shape) -> Shape:
    """The shape as a hole in what its part has so far."""
    return replace(shape, how=CUT)


def within(shape: Shape) -> Shape:
    """The shape as a frame: of what its part has so far, only what lies in it stays."""
    return replace(shape, how=WITHIN)


def soft(shape: Shape, by: float) -> Shape:
    """The shape joined softly, as if melted."""
    return replace(shape, soft=by)


def mirrored(shape: Shape) -> Shape:
    """The shape on the other side of x = 0."""
    n, shape = shape.numbers, replace(shape, side=-shape.side)
    if shape.kind in (BOX, ELLIPSE):
        return replace(shape, numbers=(-n[0], *n[1:6], -n[6]))
    if shape.kind == CAPSULE:
        return replace(shape, numbers=(-n[0], n[1], -n[2], *n[3:]))
    if shape.kind == POLYGON:
        corners = [(-n[k], n[k + 1]) for k in range(2, len(n), 2)]
        return replace(shape, numbers=(*n[:2], *(value for corner in corners for value in corner)))
    return replace(shape, numbers=(-n[0], *n[1:4], -n[4], *n[5:]))


def both(*shapes: Shape) -> tuple[Shape, ...]:
    """The shapes and their mirror images."""
    return (*shapes, *(mirrored(shape) for shape in shapes))


@dataclass(frozen=True)
class Part:
    """Shapes of one colour."""

    slot: int
    shapes: tuple[Shape, ...]
    pattern: bool
    tone: float
    """Factor on its brightness."""
    group: int
    only: tuple[int, int]
    """(choice, value): painted only for products whose ``choice`` 0 to 2 is ``value``; (-1, 0) for always."""
    relief: float
    """Factor on how round it looks; below 0: flat and without an outline."""
    trim: bool


def part(
    slot: str,
    *shapes: Shape,
    pattern: bool = False,
    tone: float = 1.0,
    group: int = 0,
    only: tuple[int, int] = (-1, 0),
    relief: float = 1.0,
    trim: bool = False,
) -> Part:
    """A part painted with a slot of the palette."""
    return Part(SLOTS.index(slot), shapes, pattern, tone, group, only, relief, trim)


def main(*shapes: Shape, group: int = 0, only: tuple[int, int] = (-1, 0), tone: float = 1.0) -> Part:
    """A part in the first colour that carries the pattern and the trim."""
    return part("primary", *shapes, pattern=True, trim=True, group=group, only=only, tone=tone)


@dataclass(frozen=True)
class Silhouette:
    """What things of one topic look like: parts from back to front, and for each group of parts the point it is scaled about."""

    parts: tuple[Part, ...]
    anchors: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 1.0),)
    """(x, y, how much of the usual jitter) of each group."""


class Figures(NamedTuple):
    """All silhouettes in arrays, for the kernels."""

    first: np.ndarray
    """int64 (topics + 1,): the first part of each topic."""
    parts: np.ndarray
    """int64 (parts, 8): first shape, one past the last, slot, pattern, group, choice, value, trim."""
    paint: np.ndarray
    """float64 (parts, 2): tone, relief."""
    shapes: np.ndarray
    """float64 (shapes, 4 + NUMBERS): kind, operation, softness, numbers, side."""
    anchors: np.ndarray
    """float64 (topics, GROUPS, 3)."""
    choices: np.ndarray
    """int64 (topics, 3): how many values each choice has; one that only says whether a part is there has two."""


def pack(silhouettes: Sequence[Silhouette]) -> Figures:
    """The arrays of ``silhouettes``, one a topic."""
    first, parts, paint, shapes = [0], [], [], []
    anchors, choices = np.zeros((len(silhouettes), GROUPS, 3)), np.full((len(silhouettes), 3), 2)
    for topic, silhouette in enumerate(silhouettes):
        anchors[topic, : len(silhouette.anchors)] = silhouette.anchors
        for one in silhouette.parts:
            begin = len(shapes)
            for shape in one.shapes:
                row = (shape.kind, shape.how, shape.soft, *shape.numbers)
                shapes.append((*row, *([0.0] * (3 + NUMBERS - len(row))), shape.side))
            parts.append((begin, len(shapes), one.slot, one.pattern, one.group, *one.only, one.trim))
            paint.append((one.tone, one.relief))
            if one.only[0] >= 0:
                choices[topic, one.only[0]] = max(choices[topic, one.only[0]], one.only[1] + 1)
        first.append(len(parts))
    return Figures(np.array(first), np.array(parts, np.int64), np.array(paint), np.array(shapes), anchors, choices)
