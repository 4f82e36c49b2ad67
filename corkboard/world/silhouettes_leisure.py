"""Silhouettes of what people do: food, crafts, travel, beauty, art, fitness."""

from __future__ import annotations

from corkboard.world.shapes import Part, Silhouette, arc, both, box, capsule, cut, ellipse, main, part, polygon, within

CAKE = Silhouette(
    (
        part("metal", ellipse(0, 0.86, 0.46, 0.08), box(0, 0.74, 0.08, 0.12), tone=0.95),
        part("light", ellipse(0, 0.62, 0.94, 0.11)),
        main(box(0, -0.14, 0.50, 0.34, 0.06), group=1, only=(0, 0)),
        main(box(0, 0.0, 0.54, 0.20, 0.06), box(0, -0.32, 0.32, 0.16, 0.05), group=1, only=(0, 1)),
        main(box(0, 0.34, 0.74, 0.28, 0.06)),
        part("secondary", box(0, 0.08, 0.77, 0.06, 0.05), *(capsule(x, 0.10, x, y, 0.06) for x,
            y in ((-0.68, 0.28), (-0.46, 0.20), (-0.22, 0.32), (0.04, 0.22), (0.28, 0.30), (0.50, 0.20), (0.70, 0.30)))),
        part("secondary", box(0, -0.46, 0.53, 0.05, 0.05), *(capsule(x, -0.44, x, y, 0.055) for x,
            y in ((-0.44, -0.26), (-0.20, -0.34), (0.04, -0.22), (0.26, -0.34), (0.45, -0.26))), group=1, only=(0, 0)),
        part("secondary", box(0, -0.47, 0.34, 0.04, 0.04), *(capsule(x, -0.45, x, -0.32, 0.05) for x in (-0.26, 0.0, 0.26)), group=1,
            only=(0, 1)),
        part("accent", *(ellipse(x, 0.58, 0.06) for x in (-0.66, -0.44, -0.22, 0.0, 0.22, 0.44, 0.66))),
        part("accent", *(ellipse(x, -0.55, 0.09) for x in (-0.24, 0.0, 0.24)), only=(1, 0), group=1),
        part("accent", *(box(x, -0.66, 0.03, 0.15, 0.01) for x in (-0.26, 0.0, 0.26)), only=(1, 1), group=1),
        part("crust", *(ellipse(x, -0.88, 0.035, 0.065) for x in (-0.26, 0.0, 0.26)), only=(1, 1), group=1, tone=1.2),
    ),
    ((0, 0.6, 0.8), (0, 0.08, 0.9)),
)  # fmt: skip

BREAD = Silhouette(
    (
        main(polygon((-0.96, 0.30), (0.60, 0.22), (0.98, 0.66), (-0.60, 0.84), round=0.03), group=1),
        part("secondary", polygon((-0.96, 0.30), (-0.86, 0.29), (-0.50, 0.835), (-0.60, 0.84)),
            polygon((0.50, 0.22), (0.60, 0.22), (0.98, 0.66), (0.88, 0.68)), group=1, relief=-1),
        part("wood", polygon((-0.90, 0.30), (0.90, 0.30), (0.86, 0.46), (-0.86, 0.46), round=0.03), only=(1, 0)),
        part("crust", ellipse(0, 0.02, 0.76, 0.44), cut(box(0, 0.62, 1, 0.26)), only=(0, 0), group=2, tone=0.86),
        part("crust", *(ellipse(x, 0.06, 0.30, 0.34) for x in (-0.46, 0.0, 0.46)), cut(box(0, 0.62, 1, 0.26)), only=(0, 1), group=2,
            tone=0.82),
        part("crust", ellipse(-0.10, -0.08, 0.70, 0.30, -0.16), only=(0, 2), group=2, tone=0.88),
        part("light", *(ellipse(x, -0.10, 0.035, 0.24, 0.5) for x in (-0.42, -0.14, 0.14, 0.42)), only=(0, 0), group=2, tone=0.95),
        part("light", *(ellipse(x, -0.14, 0.17, 0.05) for x in (-0.46, 0.0, 0.46)), only=(0, 1), group=2, tone=0.95),
        part("light", *(ellipse(x, -0.14 - 0.16 * (x + 0.1), 0.035, 0.20, 0.9) for x in (-0.50, -0.26, -0.02, 0.22)), only=(0, 2),
            group=2, tone=0.95),
        part("crust", *(capsule(0.74, 0.16, 0.98, -0.70 + 0.2 * k, 0.018) for k in range(3)), tone=1.1, group=3, only=(2, 0)),
        part("crust", *(ellipse(0.86 + 0.05 * k, -0.66 + 0.12 * k + 0.1 * j, 0.05, 0.09, 0.3 - 0.4 * j) for k in range(3)
            for j in range(2)), tone=1.15, group=3, only=(2, 0)),
        part("accent", ellipse(-0.74, 0.42, 0.20, 0.08), box(-0.74, 0.50, 0.20, 0.12, 0.05), only=(2, 1), group=3),
        part("light", ellipse(-0.74, 0.40, 0.15, 0.05), only=(2, 1), group=3),
    ),
    ((0, 0.4, 0.6), (0, 0.5, 0.7), (0, 0.36, 0.9), (0.8, 0.2, 0.9)),
)  # fmt: skip

PASTA = Silhouette(
    (
        part("crust", *(capsule(x, -0.98, x + 0.05, -0.76, 0.02) for x in (-0.24, 0.0, 0.24)), only=(0, 0), tone=1.25, relief=-1),
        part("crust", ellipse(0, -0.06, 0.70, 0.46), tone=1.12, group=1),
        part("crust", *(arc(x, y, r, 0.035, m, 110) for x, y, r, m in ((-0.34, -0.10, 0.26, -100), (0.30, -0.12, 0.28, -80),
            (0.0, -0.24, 0.26, -90), (-0.12, -0.02, 0.40, -110), (0.18, 0.0, 0.42, -60), (0.0, -0.12, 0.14, -90))), tone=0.80,
            relief=0.4, group=1),
        part("accent", *(ellipse(x, y, 0.11) for x, y in ((-0.36, -0.26), (0.30, -0.30), (0.06, -0.42))), group=2),
        part("leaf", ellipse(-0.10, -0.50, 0.16, 0.075, -0.5), ellipse(0.14, -0.54, 0.16, 0.075, 0.5), group=2),
        part("metal", capsule(0.30, -0.30, 0.86, -0.92, 0.03, 0.045), only=(1, 0)),
        main(ellipse(0, 0.0, 0.90, 0.80), cut(box(0, -0.45, 1.1, 0.46)), group=3),
        part("secondary", box(0, 0.01, 0.94, 0.07, 0.05), group=3),
        part("secondary", polygon((-0.34, 0.74), (0.34, 0.74), (0.40, 0.90), (-0.40, 0.90), round=0.02), group=3),
    ),
    ((0, 0, 0.6), (0, 0, 0.9), (0, -0.3, 0.8), (0, 0.0, 0.9)),
)  # fmt: skip

SALAD = Silhouette(
    (
        main(ellipse(0, 0, 0.94)),
        part("light", ellipse(0, 0, 0.74), tone=0.92),
        part("leaf", *(ellipse(0.42 * x, 0.42 * y, 0.30, 0.19, t) for x, y,
            t in ((1, 0, 0.4), (0.5, 0.87, 1.4), (-0.5, 0.87, 2.4), (-1, 0, 0.2), (-0.5, -0.87, 1.2), (0.5, -0.87, 2.2))), group=1),
        part("leaf", *(ellipse(0.24 * x, 0.24 * y, 0.24, 0.13, t) for x, y,
            t in ((1, 0.3, 1.0), (-0.4, 0.9, 0.2), (-0.8, -0.5, 2.0), (0.5, -0.9, 0.8))), tone=1.25, group=1),
        part("accent", *(ellipse(x, y, 0.14) for x, y in ((-0.42, 0.20), (0.36, 0.36), (0.30, -0.44))), group=2),
        part("accent", *(ellipse(x, y, 0.09) for x, y in ((-0.42, 0.20), (0.36, 0.36), (0.30, -0.44))), tone=1.25, relief=-1, group=2),
        part("white", ellipse(-0.22, -0.34, 0.20, 0.17), only=(0, 0), group=3),
        part("crust", ellipse(-0.22, -0.34, 0.10), only=(0, 0), group=3, tone=1.2),
        part("secondary", *(ellipse(x, y, 0.13) for x, y in ((-0.28, -0.34), (-0.08, -0.42), (-0.36, -0.14))), only=(0, 1), group=3),
        part("crust", *(box(x, y, 0.08, 0.07, 0.02, t) for x, y, t in ((0.08, 0.02, 0.4), (0.02, 0.46, 0.9), (0.52, -0.02, 0.2))),
            tone=0.9),
        part("metal", capsule(0.46, -0.52, 0.98, -0.98, 0.04, 0.055), only=(1, 0)),
        part("wood", capsule(-0.50, -0.46, -0.98, -0.94, 0.06, 0.045), capsule(0.50, -0.46, 0.98, -0.94, 0.06, 0.045), only=(1, 1)),
    ),
    ((0, 0, 0.4), (0, 0, 0.9), (0, 0, 0.8), (-0.2, -0.3, 1)),
)  # fmt: skip

CROCHET = Silhouette(
    (
        main(ellipse(-0.16, 0.52, 0.40, 0.42), *(capsule(-0.16 + s * 0.30, 0.34, -0.16 + s * 0.54, 0.56, 0.11) for s in (-1, 1)),
            *(ellipse(-0.16 + s * 0.26, 0.86, 0.17, 0.12) for s in (-1, 1)), group=1),
        main(*(ellipse(-0.16 + s * 0.42, -0.66, 0.20) for s in (-1, 1)), group=2, only=(0, 0)),
        main(*(ellipse(-0.16 + s * 0.22, -0.72, 0.12, 0.30, s * 0.2) for s in (-1, 1)), group=2, only=(0, 1)),
        main(*(polygon((-0.16 + s * 0.14, -0.60), (-0.16 + s * 0.44, -0.96), (-0.16 + s * 0.52, -0.44), round=0.03) for s in (-1, 1)),
            group=2, only=(0, 2)),
        main(ellipse(-0.16, -0.28, 0.56, 0.46), group=1),
        part("light", ellipse(-0.16, -0.14, 0.23, 0.18), ellipse(-0.16, 0.54, 0.22, 0.25), group=1, tone=0.98),
        part("dark", *(ellipse(-0.16 + s * 0.25, -0.34, 0.055, 0.065) for s in (-1, 1)), ellipse(-0.16, -0.20, 0.07, 0.05), relief=0.5,
            tone=0.6),
        part("accent", *(polygon((-0.16, 0.16), (-0.16 + s * 0.26, 0.04), (-0.16 + s * 0.26, 0.28), round=0.03) for s in (-1, 1)),
            ellipse(-0.16, 0.16, 0.06), only=(1, 0), group=3),
        part("accent", box(-0.16, 0.16, 0.34, 0.08, 0.06), box(0.06, 0.36, 0.08, 0.18, 0.04), only=(1, 1), group=3),
        part("secondary", ellipse(0.64, 0.66, 0.32), group=4),
        part("secondary", *(arc(0.64 + x, 0.66 + y, 0.24, 0.02, m, 50) for x, y,
            m in ((0, 0.08, -90), (0.0, 0.2, -90), (0.1, 0.0, 180), (0.2, 0.05, 180), (-0.12, -0.02, 0), (-0.05, 0.12, 30))), tone=0.75,
            relief=-1, group=4),
        part("metal", capsule(0.48, 0.40, 0.92, 0.02, 0.025), ellipse(0.93, 0.0, 0.04), group=4),
    ),
    ((0, 0, 0.5), (-0.16, 0.1, 0.6), (-0.16, -0.5, 1), (-0.16, 0.16, 0.8), (0.64, 0.7, 0.9)),
)  # fmt: skip

WOODWORK = Silhouette(
    (
        main(box(0, 0, 0.80, 0.88)),
        part("secondary", *(box(-0.60 + 0.15 * k, -0.49 + 0.02 * (k % 3), 0.065, 0.25 - 0.02 * (k % 3), 0.01) for k in range(0, 5, 2)),
            group=1),
        part("accent", *(box(-0.60 + 0.15 * k, -0.47 + 0.03 * (k % 2), 0.065, 0.23 - 0.03 * (k % 2), 0.01) for k in range(1, 5, 2)),
            group=1),
        part("light", ellipse(0.44, -0.40, 0.16, 0.17), box(0.44, -0.60, 0.06, 0.06), group=1, only=(0, 0)),
        part("leaf", *(ellipse(0.44 + x, -0.50 + y, 0.07, 0.16, t) for x, y, t in ((-0.12, 0, -0.5), (0.12, 0, 0.5), (0, -0.04, 0))),
            group=1, only=(0, 1)),
        part("light", box(0.44, -0.31, 0.12, 0.09, 0.02), group=1, only=(0, 1)),
        part("light", ellipse(-0.40, 0.18, 0.22, 0.14), cut(box(-0.40, 0.04, 0.4, 0.12)), group=2, only=(1, 0)),
        part("crust", box(-0.40, 0.16, 0.24, 0.13, 0.02), group=2, only=(1, 1), tone=0.9),
        part("dark", box(-0.40, 0.12, 0.07, 0.025, 0.01), group=2, only=(1, 1)),
        part("accent", box(0.14, 0.20, 0.28, 0.055, 0.01), box(0.16, 0.09, 0.24, 0.05, 0.01), group=2),
        part("secondary", ellipse(0.60, 0.14, 0.10, 0.15), group=2),
        part("secondary", *both(box(0.38, 0.60, 0.34, 0.21, 0.02)), group=3),
        part("dark", *both(ellipse(0.38, 0.60, 0.045)), group=3),
        part("wood", box(0, 0, 0.90, 0.96), cut(box(0, -0.54, 0.78, 0.32)), cut(box(0, 0.05, 0.78, 0.21)), cut(box(0, 0.60, 0.78, 0.27))),
    ),
    ((0, 0, 0.9), (0, -0.24, 0.7), (0, 0.26, 0.7), (0, 0.6, 0.3)),
)  # fmt: skip

ORIGAMI = Silhouette(
    (
        part("primary", polygon((-0.10, 0.10), (0.28, -0.92), (0.40, 0.14)), tone=0.66, only=(0, 0), group=1),
        part("primary", polygon((0.24, 0.30), (0.96, -0.46), (0.34, 0.56)), tone=0.80, only=(0, 0), group=2),
        part("primary", polygon((-0.18, 0.26), (-0.78, -0.52), (-0.06, 0.56)), tone=1.0, only=(0, 0), group=2),
        part("primary", polygon((-0.78, -0.52), (-0.98, -0.30), (-0.66, -0.36)), tone=1.15, only=(0, 0), group=2),
        part("primary", polygon((-0.22, 0.22), (0.44, 0.18), (0.10, 0.78)), tone=0.9, only=(0, 0)),
        main(polygon((-0.26, 0.26), (0.02, -0.86), (0.42, 0.22)), only=(0, 0), group=1, tone=1.06),
        part("primary", polygon((-0.96, 0.06), (0.96, 0.06), (0.56, 0.62), (-0.56, 0.62)), tone=0.88, only=(0, 1), group=2),
        main(polygon((-0.56, 0.06), (0, -0.86), (0.56, 0.06)), only=(0, 1), group=1),
        part("primary", polygon((0, -0.86), (0.56, 0.06), (0, 0.06)), tone=0.72, only=(0, 1), group=1, relief=-1),
        part("primary", polygon((-0.96, 0.06), (-0.30, 0.06), (-0.56, 0.62)), tone=1.1, only=(0, 1), group=2, relief=0.6),
        main(*both(polygon((0.03, 0.0), (0.94, -0.78), (0.86, -0.02))), only=(0, 2), group=1),
        part("primary", *both(polygon((0.03, 0.02), (0.84, 0.0), (0.62, 0.74))), tone=0.78, only=(0, 2), group=2),
        part("secondary", *both(polygon((0.10, -0.02), (0.56, -0.30), (0.54, -0.02))), only=(0, 2), group=1, relief=-1),
        part("dark", capsule(0, -0.34, 0, 0.52, 0.04, 0.02), only=(0, 2)),
        part("accent", polygon((-0.22, 0.22), (0.10, 0.78), (0.04, 0.20)), only=(0, 0), relief=0.4),
        part("secondary", polygon((-0.14, 0.06), (0, -0.24), (0.14, 0.06)), only=(0, 1), relief=0.4),
    ),
    ((0, 0.2, 0.8), (0, 0.1, 1), (0, 0.3, 1)),
)  # fmt: skip


def _framed(*parts: Part) -> tuple[Part, ...]:
    """A small picture of a place: what is within a card with a patterned border."""
    return (main(box(0, 0, 0.96, 0.96, 0.08)), *parts)


_VIEW = within(box(0, 0, 0.78, 0.78, 0.04))
HIKING = Silhouette(
    _framed(
        part("water", box(0, 0, 0.78, 0.78, 0.04), tone=1.18, relief=-1),
        part("accent", ellipse(0.36, -0.42, 0.17), _VIEW, group=1, relief=0.3),
        part("secondary", polygon((-1.0, 0.30), (-0.46, -0.46), (0.10, 0.30)), polygon((-0.30, 0.30), (0.34, -0.24), (1.0, 0.30)), _VIEW,
            group=2, tone=0.82, relief=0.3),
        part("white", polygon((-0.46, -0.46), (-0.24, -0.16), (-0.36, -0.22), (-0.46, -0.10), (-0.56, -0.24), (-0.68, -0.15)), _VIEW,
            group=2, relief=0.2),
        part("primary", polygon((-1.0, 0.36), (-0.10, 0.02), (1.0, 0.44), (1.0, 1.0), (-1.0, 1.0)), _VIEW, group=3, tone=0.82,
            relief=0.3),
        part("leaf", polygon((-1.0, 0.50), (-0.2, 0.40), (1.0, 0.26), (1.0, 1.0), (-1.0, 1.0)), _VIEW, group=3, tone=0.85, relief=0.3),
        part("sand", capsule(-0.06, 0.44, 0.14, 0.54, 0.02, 0.04), capsule(0.14, 0.54, -0.16, 0.68, 0.04, 0.07),
            capsule(-0.16, 0.68, 0.10, 0.90, 0.07, 0.12), _VIEW, relief=-1),
        part("leaf", *(polygon((x - 0.12 * s, 0.60), (x, 0.60 - 0.44 * s), (x + 0.12 * s, 0.60)) for x,
            s in ((0.52, 1.0), (0.68, 0.8), (-0.56, 0.9))), _VIEW, tone=0.55, only=(0, 0), relief=0.4),
        part("accent", polygon((0.30, 0.62), (0.52, 0.26), (0.74, 0.62)), _VIEW, only=(0, 1), relief=0.5),
        part("dark", polygon((0.46, 0.62), (0.52, 0.42), (0.60, 0.62)), only=(0, 1), relief=-1),
        part("wood", capsule(-0.50, 0.66, -0.50, 0.22, 0.03), box(-0.46, 0.28, 0.16, 0.07, 0.01, -0.1), only=(0, 2), tone=0.8),
    ),
    ((0, 0, 0.35), (0.3, -0.4, 1), (0, 0.3, 0.9), (0, 0.4, 0.4)),
)  # fmt: skip


def _house(x: float, half: float, top: float, slot: str, gable: float) -> tuple[Part, ...]:
    """A narrow old house with a gable, windows and a door."""
    walls = polygon((x - half, 0.70), (x - half, top), (x, top - gable), (x + half, top), (x + half, 0.70))
    rows = [y for y in (-0.46, -0.20, 0.06, 0.32) if y > top + 0.06]
    windows = tuple(box(x + s * half * 0.46, y, half * 0.24, 0.075, 0.01) for y in rows for s in (-1, 1))
    roof = polygon(
        (x - half - 0.03, top + 0.02),
        (x, top - gable - 0.05),
        (x + half + 0.03, top + 0.02),
        (x + half - 0.02, top + 0.02),
        (x, top - gable + 0.08),
        (x - half + 0.02, top + 0.02),
    )
    wall = main(walls) if slot == "primary" else part(slot, walls)
    door = part("dark", box(x, 0.60, half * 0.28, 0.11, 0.03), tone=1.2)
    return wall, part("dark", roof), part("light", *windows, tone=1.0, relief=0.3), door


CITY_BREAK = Silhouette(
    (
        part("primary", box(0.0, -0.30, 0.12, 0.7), polygon((-0.15, -0.68), (0, -1.0), (0.15, -0.68)), tone=0.62, only=(0, 0), group=2),
        part("light", ellipse(0, -0.52, 0.08), only=(0, 0), group=2),
        part("metal", ellipse(0.0, -0.34, 0.40, 0.36), capsule(0, -0.6, 0, -0.96, 0.025), only=(0, 1), group=2),
        *_house(-0.62, 0.30, -0.16, "secondary", 0.26),
        *_house(0.62, 0.29, -0.02, "accent", 0.24),
        *_house(0.0, 0.33, -0.30, "primary", 0.30),
        part("sand", box(0, 0.78, 1.0, 0.08, 0.03), tone=0.85),
        part("leaf", ellipse(-0.90, 0.46, 0.11, 0.22), only=(1, 0), group=1),
        part("wood", box(-0.90, 0.66, 0.02, 0.08), only=(1, 0), group=1),
        part("dark", box(0.92, 0.36, 0.018, 0.36), box(0.92, -0.02, 0.055, 0.07, 0.02), only=(1, 1), group=1),
    ),
    ((0, 0.7, 0.7), (0, 0.7, 1), (0, 0.0, 1)),
)  # fmt: skip

BEACH = Silhouette(
    (
        part("water", ellipse(0, 0.62, 1.0, 0.30)),
        part("white", ellipse(0, 0.58, 0.86, 0.235), relief=-1),
        part("sand", ellipse(0, 0.56, 0.80, 0.21)),
        part("wood", capsule(-0.02, 0.60, 0.10, -0.52, 0.03), tone=0.9),
        main(ellipse(0.10, -0.16, 0.72, 0.62), cut(ellipse(0.10, 0.02, 0.86, 0.28)), within(box(0.1, -0.5, 0.9, 0.42)), group=1),
        part("accent", ellipse(0.10, -0.80, 0.06), group=1),
        part("secondary", polygon((0.24, 0.46), (0.80, 0.26), (0.84, 0.34), (0.34, 0.54)),
            polygon((0.72, 0.30), (0.92, -0.04), (0.98, 0.02), (0.84, 0.34)), only=(0, 0), group=2),
        part("wood", capsule(0.34, 0.50, 0.30, 0.64, 0.025), capsule(0.78, 0.34, 0.82, 0.58, 0.025), only=(0, 0), group=2),
        part("accent", ellipse(-0.46, 0.48, 0.15), only=(1, 0), group=3),
        part("white", ellipse(-0.46, 0.48, 0.05, 0.15), only=(1, 0), group=3, relief=-1),
        part("accent", polygon((-0.72, 0.48), (-0.28, 0.44), (-0.18, 0.60), (-0.66, 0.64), round=0.01), only=(1, 1), group=3, relief=0.3),
        part("wood", capsule(-0.62, 0.54, -0.72, -0.30, 0.05, 0.035), only=(0, 1), group=3),
        part("leaf", *(capsule(-0.72, -0.32, -0.72 + x, -0.32 + y, 0.07, 0.02) for x,
            y in ((-0.26, 0.12), (-0.22, -0.16), (0.02, -0.26), (0.24, -0.12), (0.24, 0.14))), only=(0, 1), group=3),
    ),
    ((0, 0.56, 0.6), (0.1, -0.2, 1), (0.5, 0.5, 0.8), (-0.5, 0.5, 0.8)),
)  # fmt: skip

_FINGERS = ((-0.60, -0.30, 0.16), (-0.21, -0.58, 0.175), (0.19, -0.52, 0.17), (0.58, -0.20, 0.15))
NAILS = Silhouette(
    (
        part("skin", *(capsule(x, y, x * 0.9, 0.60, r, r * 1.1) for x, y, r in _FINGERS),
            polygon((-0.66, 0.40), (0.62, 0.36), (0.60, 0.70), (0.46, 0.98), (-0.48, 0.98), (-0.64, 0.70), round=0.06)),
        part("skin", *(arc(x, y + 0.42, r * 0.6, 0.014, 90, 50) for x, y, r in _FINGERS), tone=0.8, relief=-1),
        main(*(ellipse(x, y - 0.10, r * 0.82, r * 1.75) for x, y, r in _FINGERS), group=1, only=(0, 0)),
        main(*(box(x, y - 0.10, r * 0.80, r * 1.6, 0.08) for x, y, r in _FINGERS), group=1, only=(0, 1)),
        main(*(polygon((x - r * 0.8, y + 0.14), (x, y - 0.44), (x + r * 0.8, y + 0.14), round=0.04) for x, y, r in _FINGERS), group=1,
            only=(0, 2)),
        part("accent", *(ellipse(x, y + 0.02, r * 0.30) for x, y, r in _FINGERS[1:3]), only=(1, 0)),
        part("secondary", *(ellipse(x, y - 0.03, r * 0.42, r * 0.55) for x, y, r in _FINGERS), only=(1, 1), relief=0.4),
        part("metal", arc(0.19, 0.20, 0.19, 0.05, 90, 60), only=(2, 0)),
        part("accent", ellipse(0.19, 0.38, 0.07), only=(2, 0)),
    ),
    ((0, 0.4, 0.5), (0, -0.4, 0.35)),
)  # fmt: skip

HAIRSTYLE = Silhouette(
    (
        part("hair", ellipse(0, -0.20, 0.58, 0.62), only=(0, 0)),
        part("hair", ellipse(0, -0.80, 0.26, 0.20), group=1, only=(0, 0)),
        part("hair", *both(capsule(0.40, -0.2, 0.50, 0.40, 0.20, 0.22)), ellipse(0, -0.26, 0.58, 0.58), only=(0, 1), group=1),
        part("hair", ellipse(0, -0.26, 0.54, 0.56), only=(0, 2)),
        main(polygon((-0.90, 0.94), (-0.76, 0.70), (-0.34, 0.58), (0.34, 0.58), (0.76, 0.70), (0.90, 0.94), round=0.05), group=2),
        part("skin", box(0, 0.44, 0.17, 0.26, 0.06), ellipse(0, 0.62, 0.30, 0.12), tone=0.92),
        part("skin", ellipse(0, -0.10, 0.42, 0.52), *both(ellipse(0.42, -0.06, 0.07, 0.11))),
        part("hair", ellipse(0, -0.34, 0.50, 0.40), cut(ellipse(0.16, -0.02, 0.52, 0.38)), group=3, only=(1, 0)),
        part("hair", ellipse(0, -0.36, 0.50, 0.38), cut(ellipse(0, 0.06, 0.60, 0.36)), group=3, only=(1, 1)),
        part("hair", *both(ellipse(0.26, -0.38, 0.30, 0.24, 0.6)), group=3, only=(1, 2)),
        part("hair", *both(*(ellipse(0.52 - 0.03 * k, 0.02 + 0.16 * k, 0.13 - 0.008 * k, 0.11) for k in range(5))), only=(0, 2), group=1),
        part("primary", *both(ellipse(0.40, 0.76, 0.09, 0.07)), only=(0, 2), group=1),
        part("primary", *both(polygon((0, -0.62), (0.30, -0.76), (0.30, -0.48), round=0.03)), ellipse(0, -0.62, 0.08), only=(0, 0)),
        part("primary", arc(0, -0.16, 0.54, 0.09, -90, 62), only=(0, 1)),
        part("dark", *both(ellipse(0.17, -0.02, 0.045, 0.03)), *both(arc(0.17, -0.06, 0.09, 0.02, -90, 45)), relief=-1),
        part("skin", ellipse(0, 0.22, 0.11, 0.045), relief=-1, tone=0.72),
        part("skin", arc(0, 0.06, 0.05, 0.02, 90, 60), tone=0.75, relief=-1),
    ),
    ((0, 0, 0.5), (0, -0.3, 1), (0, 0.9, 0.5), (0, -0.4, 0.4)),
)  # fmt: skip

MAKE_UP = Silhouette(
    (
        part("dark", ellipse(0.34, -0.42, 0.52), tone=1.15),
        part("water", ellipse(0.34, -0.42, 0.43), tone=1.2, relief=0.5),
        part("white", polygon((0.06, -0.40), (0.42, -0.78), (0.52, -0.72), (0.12, -0.28)), within(ellipse(0.34, -0.42, 0.43)), relief=-1),
        main(ellipse(0.34, 0.34, 0.58, 0.46), group=1),
        part("light", ellipse(0.34, 0.34, 0.45, 0.34), group=1, tone=0.97),
        part("secondary", ellipse(0.34, 0.34, 0.40, 0.29), group=1, only=(0, 0)),
        part("secondary", ellipse(0.18, 0.26, 0.17, 0.13), group=1, only=(0, 1)),
        part("accent", ellipse(0.50, 0.26, 0.17, 0.13), group=1, only=(0, 1)),
        part("primary", ellipse(0.34, 0.49, 0.19, 0.12), group=1, only=(0, 1)),
        part("dark", box(-0.56, 0.52, 0.22, 0.36, 0.04), group=2),
        part("metal", box(-0.56, 0.06, 0.18, 0.14, 0.02), group=2),
        part("primary", polygon((-0.71, -0.04), (-0.71, -0.46), (-0.62, -0.60), (-0.41, -0.40), (-0.41, -0.04), round=0.03), group=2,
            only=(1, 0)),
        part("primary", capsule(-0.56, -0.06, -0.56, -0.44, 0.15), group=2, only=(1, 1)),
        part("wood", capsule(-0.12, 0.94, 0.20, 0.58, 0.035), only=(2, 0), group=3),
        part("accent", capsule(0.20, 0.58, 0.36, 0.40, 0.08, 0.12), only=(2, 0), group=3),
    ),
    ((0, 0, 0.5), (0.34, 0.34, 0.7), (-0.56, 0.6, 0.9), (0, 0.8, 0.8)),
)  # fmt: skip

WATERCOLOUR = Silhouette(
    (
        part("light", box(0, 0.0, 0.84, 0.70, 0.02, 0.06)),
        main(ellipse(-0.24, -0.20, 0.44, 0.34, 0.4), ellipse(-0.46, 0.06, 0.22, 0.20), ellipse(0.08, -0.10, 0.26, 0.22), group=1,
            only=(0, 0)),
        main(ellipse(-0.10, -0.10, 0.50, 0.42), group=1, only=(0, 1)),
        main(polygon((-0.66, 0.24), (-0.30, -0.36), (0.02, 0.0), (0.24, -0.24), (0.60, 0.24), round=0.04), group=1, only=(0, 2)),
        part("secondary", ellipse(0.40, -0.30, 0.22, 0.18), ellipse(0.28, -0.22, 0.13), group=2, relief=0.3),
        part("accent", ellipse(0.22, 0.28, 0.24, 0.15, -0.3), ellipse(0.02, 0.34, 0.11), group=2, relief=0.3),
        part("leaf", *(ellipse(-0.50 + 0.18 * k, 0.34 - 0.06 * (k % 2), 0.05, 0.13, 0.5 - 0.3 * k) for k in range(3)), only=(1, 0),
            relief=0.3),
        part("dark", box(0, 0.76, 0.70, 0.16, 0.05), group=3),
        part("primary", ellipse(-0.50, 0.76, 0.11), group=3),
        part("secondary", ellipse(-0.25, 0.76, 0.11), group=3),
        part("accent", ellipse(0.0, 0.76, 0.11), group=3),
        part("leaf", ellipse(0.25, 0.76, 0.11), group=3),
        part("water", ellipse(0.50, 0.76, 0.11), group=3),
        part("wood", capsule(0.44, 0.10, 0.96, -0.80, 0.045, 0.03)),
        part("metal", capsule(0.36, 0.24, 0.44, 0.10, 0.055)),
        part("primary", capsule(0.24, 0.44, 0.36, 0.24, 0.015, 0.06), tone=0.85),
    ),
    ((0, 0, 0.6), (-0.1, -0.1, 0.9), (0.2, 0.0, 0.9), (0, 0.76, 0.4)),
)  # fmt: skip

_ART = within(box(0, 0, 0.52, 0.74))
POSTER = Silhouette(
    (
        part("dark", box(0, 0, 0.72, 0.96, 0.01), only=(2, 0)),
        part("wood", box(0, 0, 0.72, 0.96, 0.01), only=(2, 1)),
        part("white", box(0, 0, 0.72, 0.96, 0.01), tone=0.93, only=(2, 2)),
        part("light", box(0, 0, 0.65, 0.89), relief=-1),
        main(box(0, 0, 0.52, 0.74)),
        part("secondary", ellipse(0.10, -0.30, 0.26), _ART, only=(0, 0), group=1, relief=0.2),
        part("accent", ellipse(-0.20, 0.70, 0.60, 0.46), _ART, only=(0, 0), group=2, relief=0.2),
        part("dark", ellipse(0.44, 0.86, 0.50, 0.42), _ART, only=(0, 0), group=2, relief=0.2),
        part("secondary", arc(0, 0.46, 0.44, 0.12, -90, 90), arc(0, 0.46, 0.12, 0.10, -90, 90), _ART, only=(0, 1), group=1, relief=0.2),
        part("accent", arc(0, 0.46, 0.28, 0.12, -90, 90), ellipse(0.22, -0.42, 0.13), _ART, only=(0, 1), group=2, relief=0.2),
        part("secondary", ellipse(-0.14, 0.16, 0.30, 0.40, 0.3), _ART, only=(0, 2), group=1, relief=0.2),
        part("accent", *(ellipse(0.06 + 0.13 * k, -0.20 - 0.02 * k, 0.06, 0.26, 0.5 * k - 0.3) for k in range(3)),
            capsule(0.12, 0.0, 0.06, 0.56, 0.02), _ART, only=(0, 2), group=2, relief=0.2),
        part("dark", box(0, 0.64, 0.30, 0.035), box(0, 0.56, 0.18, 0.018), only=(1, 0), relief=-1),
    ),
    ((0, 0, 0.8), (0, 0, 1), (0, 0.3, 1)),
)  # fmt: skip

YOGA = Silhouette(
    (
        part("secondary", polygon((-0.86, 0.72), (0.86, 0.72), (0.98, 0.92), (-0.98, 0.92), round=0.02), group=1),
        part("accent", ellipse(0.86, 0.66, 0.13), cut(ellipse(0.86, 0.66, 0.07)), only=(1, 0), group=1),
        part("skin", *both(capsule(0.24, -0.26, 0.46, 0.06, 0.085, 0.075), capsule(0.46, 0.06, 0.60, 0.46, 0.07, 0.06)), only=(0, 0),
            group=2),
        part("skin", *both(capsule(0.24, -0.28, 0.30, -0.64, 0.085, 0.07), capsule(0.30, -0.64, 0.03, -0.98, 0.065, 0.05)), only=(0, 1),
            group=2),
        part("skin", *both(capsule(0.24, -0.26, 0.40, 0.04, 0.085, 0.07), capsule(0.40, 0.04, 0.04, -0.02, 0.065, 0.055)), only=(0, 2),
            group=2),
        main(*both(capsule(0.20, 0.40, 0.70, 0.58, 0.17, 0.12), capsule(0.68, 0.60, -0.10, 0.72, 0.10, 0.08)), group=3),
        part("skin", *both(ellipse(0.24, 0.74, 0.13, 0.06))),
        main(polygon((-0.28, -0.32), (0.28, -0.32), (0.18, 0.08), (0.24, 0.46), (-0.24, 0.46), (-0.18, 0.08), round=0.05)),
        part("skin", box(0, -0.40, 0.08, 0.12, 0.03), tone=0.92),
        part("hair", ellipse(0, -0.66, 0.22, 0.24), ellipse(0, -0.92, 0.10), only=(2, 0)),
        part("hair", ellipse(0, -0.64, 0.23, 0.25), *both(capsule(0.18, -0.6, 0.20, -0.36, 0.07)), only=(2, 1)),
        part("hair", ellipse(0, -0.68, 0.20, 0.21), only=(2, 2)),
        part("skin", ellipse(0, -0.60, 0.17, 0.21)),
        part("accent", box(0, 0.42, 0.25, 0.045, 0.02)),
    ),
    ((0, 0.4, 0.6), (0, 0.8, 0.5), (0.24, -0.26, 0.4), (0, 0.6, 0.5)),
)  # fmt: skip

RUNNING = Silhouette(
    (
        part("secondary", capsule(-0.98, -0.30, -0.60, -0.30, 0.022), capsule(-0.90, -0.08, -0.50, -0.08, 0.022),
            capsule(-1.0, 0.14, -0.66, 0.14, 0.022), only=(0, 0), relief=-1),
        part("accent", ellipse(0, 0.92, 0.90, 0.06), tone=0.95, only=(0, 1)),
        part("dark", ellipse(0, 0.92, 0.90, 0.035), tone=1.6, only=(0, 0), relief=-1),
        part("skin", capsule(-0.02, -0.40, -0.34, -0.16, 0.085, 0.075), capsule(-0.34, -0.16, -0.58, -0.36, 0.07, 0.06), tone=0.85,
            group=1),
        part("skin", capsule(-0.06, 0.34, -0.34, 0.50, 0.11, 0.09), capsule(-0.34, 0.50, -0.76, 0.42, 0.085, 0.06), tone=0.85, group=2),
        part("accent", capsule(-0.78, 0.34, -0.84, 0.56, 0.085, 0.07), group=2, tone=0.85),
        part("skin", capsule(0.10, 0.30, 0.42, 0.40, 0.12, 0.10), capsule(0.42, 0.40, 0.34, 0.76, 0.09, 0.065), group=3),
        part("accent", capsule(0.30, 0.84, 0.52, 0.82, 0.08, 0.075), group=3),
        main(polygon((-0.16, 0.10), (0.22, 0.14), (0.40, 0.36), (0.22, 0.50), (-0.02, 0.40), (-0.26, 0.48), (-0.30, 0.30), round=0.05),
            tone=0.72),
        main(polygon((-0.10, -0.50), (0.22, -0.48), (0.26, -0.16), (0.20, 0.22), (-0.18, 0.18), (-0.14, -0.14), round=0.07)),
        part("light", box(0.06, -0.14, 0.11, 0.10, 0.02, 0.1), relief=0.2, only=(1, 0)),
        part("secondary", box(0.05, -0.10, 0.20, 0.045, 0.02, 0.1), relief=0.2, only=(1, 1)),
        part("skin", capsule(0.16, -0.38, 0.36, -0.10, 0.085, 0.075), capsule(0.36, -0.10, 0.64, -0.26, 0.07, 0.06), group=1),
        part("skin", box(0.10, -0.58, 0.07, 0.10, 0.02, 0.2), ellipse(0.17, -0.77, 0.17, 0.19)),
        part("hair", ellipse(0.12, -0.84, 0.18, 0.16), cut(ellipse(0.30, -0.70, 0.17, 0.18))),
        part("hair", capsule(-0.02, -0.84, -0.28, -0.70, 0.07, 0.03), only=(2, 0)),
        part("accent", box(0.15, -0.84, 0.18, 0.04, 0.02, 0.15), only=(2, 1)),
    ),
    ((0, 0, 0.5), (0.05, -0.4, 0.35), (-0.1, 0.4, 0.35), (0.2, 0.4, 0.35)),
)  # fmt: skip

LEISURE = (
    CAKE, BREAD, PASTA, SALAD, CROCHET, WOODWORK, ORIGAMI, HIKING, CITY_BREAK, BEACH, NAILS, HAIRSTYLE, MAKE_UP, WATERCOLOUR, POSTER,
    YOGA, RUNNING,
)  # fmt: skip
"""Topics 23 to 39 of the vocabulary, in its order."""
