"""Silhouettes of homes and gardens: seating, lighting, textiles, tableware, plants."""

from __future__ import annotations

from corkboard.world.shapes import Silhouette, arc, both, box, capsule, cut, ellipse, main, part, polygon, within

SOFA = Silhouette(
    (
        part("wood", *both(polygon((0.70, 0.46), (0.80, 0.46), (0.84, 0.72), (0.78, 0.72))), tone=0.8),
        main(box(0, -0.06, 0.82, 0.40, 0.12), group=1, only=(0, 0)),
        main(*both(box(0.40, -0.06, 0.42, 0.40, 0.18)), group=1, only=(0, 1)),
        main(box(0, 0.0, 0.82, 0.30, 0.06), group=1, only=(0, 2)),
        part("primary", *both(box(0.385, 0.17, 0.37, 0.13, 0.07)), tone=1.07, group=2),
        main(box(0, 0.37, 0.80, 0.13, 0.05)),
        main(*both(box(0.86, 0.14, 0.13, 0.35, 0.11)), tone=0.93),
        part("secondary", box(-0.46, -0.06, 0.20, 0.19, 0.07, -0.18), group=4, only=(1, 0)),
        part("accent", box(0.48, -0.04, 0.19, 0.18, 0.07, 0.22), group=4, only=(1, 0)),
        part("accent", box(-0.44, -0.02, 0.28, 0.15, 0.08, 0.05), group=4, only=(1, 1)),
        part("secondary", polygon((0.22, -0.47), (0.62, -0.47), (0.66, 0.28), (0.22, 0.28), round=0.02), group=4, only=(1, 2)),
        part("accent", *(box(x, 0.31, 0.018, 0.05) for x in (0.26, 0.35, 0.44, 0.53, 0.62)), group=4, only=(1, 2), relief=-1),
    ),
    ((0, 0.4, 0.8), (0, 0.3, 1), (0, 0.3, 0.6), (0, 0, 0), (0, 0.0, 0.9)),
)  # fmt: skip

ARMCHAIR = Silhouette(
    (
        part("wood", *both(polygon((0.44, 0.58), (0.56, 0.58), (0.66, 0.94), (0.58, 0.94)))),
        main(polygon((-0.48, -0.78), (-0.30, -0.90), (0.30, -0.90), (0.48, -0.78), (0.50, 0.40), (-0.50, 0.40), round=0.08), group=1,
            only=(0, 0)),
        main(ellipse(0, -0.30, 0.60, 0.62), group=1, only=(0, 1)),
        main(box(0, -0.22, 0.56, 0.44, 0.10), group=1, only=(0, 2)),
        part("primary", *both(polygon((0.46, -0.74), (0.64, -0.54), (0.64, 0.20), (0.50, 0.20), round=0.05)), tone=0.86, group=1,
            only=(0, 0)),
        part("secondary", *(ellipse(x, y, 0.03) for x, y in ((-0.2, -0.5), (0.2, -0.5), (0, -0.3), (-0.2, -0.1), (0.2, -0.1))), group=1,
            only=(1, 0)),
        part("secondary", box(0, -0.08, 0.30, 0.22, 0.09, 0.1), group=2, only=(1, 1)),
        part("accent", box(0, -0.08, 0.30, 0.03, 0.0, 0.1), group=2, only=(1, 1), relief=-1),
        part("primary", box(0, 0.24, 0.46, 0.15, 0.09), tone=1.08),
        main(box(0, 0.46, 0.54, 0.15, 0.05)),
        main(*both(box(0.60, 0.26, 0.15, 0.36, 0.13)), tone=0.92, group=3),
    ),
    ((0, 0.5, 0.8), (0, 0.35, 1), (0, 0, 1), (0.55, 0.58, 0.7)),
)  # fmt: skip

TABLE_LAMP = Silhouette(
    (
        part("secondary", ellipse(0, 0.88, 0.36, 0.08), group=1),
        part("secondary", capsule(0, -0.10, 0, 0.86, 0.045), group=1, only=(0, 0)),
        part("secondary", ellipse(0, 0.44, 0.34, 0.42), box(0, 0.02, 0.07, 0.16), group=1, only=(0, 1)),
        part("secondary", *(ellipse(0, y, r) for y, r in ((0.12, 0.14), (0.36, 0.20), (0.64, 0.26))), group=1, only=(0, 2)),
        part("accent", ellipse(0, 0.08, 0.09, 0.05), group=1, only=(0, 1)),
        part("light", polygon((-0.52, -0.06), (0.52, -0.06), (0.40, 0.04), (-0.40, 0.04), round=0.02), tone=1.05),
        main(polygon((-0.34, -0.92), (0.34, -0.92), (0.64, -0.08), (-0.64, -0.08), round=0.04), only=(1, 0), group=2),
        main(box(0, -0.50, 0.56, 0.42, 0.04), only=(1, 1), group=2),
        main(ellipse(0, -0.06, 0.66, 0.82), cut(box(0, 0.46, 1, 0.52)), only=(1, 2), group=2),
        part("accent", capsule(0.28, -0.06, 0.28, 0.18, 0.014), ellipse(0.28, 0.21, 0.04)),
        part("secondary", ellipse(0, -0.92, 0.05, 0.07), group=2),
    ),
    ((0, 0, 0.6), (0, 0.88, 1), (0, -0.06, 1)),
)  # fmt: skip

PENDANT = Silhouette(
    (
        part("dark", box(0, -0.60, 0.016, 0.44), relief=-1),
        part("metal", box(0, -0.98, 0.16, 0.05, 0.03)),
        part("light", ellipse(0, 0.34, 0.17, 0.20), tone=1.05),
        main(ellipse(0, 0.34, 0.88, 0.62), cut(box(0, 0.86, 1.2, 0.52)), only=(0, 0), group=1),
        main(polygon((-0.16, -0.22), (0.16, -0.22), (0.86, 0.36), (-0.86, 0.36), round=0.03), only=(0, 1), group=1),
        main(ellipse(0, 0.28, 0.62), only=(0, 2), group=1),
        part("secondary", ellipse(0, 0.34, 0.86, 0.07), tone=0.9, only=(0, 0), group=1),
        part("light", ellipse(0, 0.34, 0.70, 0.045), only=(0, 0), group=1, relief=0.2),
        part("secondary", box(0, 0.38, 0.88, 0.04, 0.03), only=(0, 1), group=1),
        part("secondary", ellipse(0, 0.28, 0.645, 0.10), cut(ellipse(0, 0.22, 0.70, 0.09)), only=(0, 2), group=1),
        part("secondary", polygon((-0.10, -0.42), (0.10, -0.42), (0.20, -0.16), (-0.20, -0.16), round=0.02), group=2),
        part("accent", box(0, -0.17, 0.21, 0.03, 0.01), group=2),
        part("accent", *(ellipse(x, 0.58 - abs(x) * 0.2, 0.045, 0.07) for x in (-0.6, -0.4, -0.2, 0.2, 0.4, 0.6)), only=(1, 0), group=1),
    ),
    ((0, 0, 0.5), (0, 0.0, 1), (0, -0.2, 0.8)),
)  # fmt: skip

RUG = Silhouette(
    (
        part("light", *both(*(capsule(0.92, y, 1.0, y * 1.02, 0.02) for y in (-0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4,
            0.5))), only=(0, 0), relief=-1),
        main(box(0, 0, 0.92, 0.58, 0.03), only=(0, 0)),
        main(ellipse(0, 0, 0.92, 0.74), only=(0, 1)),
        main(polygon((-0.60, -0.62), (0.60, -0.62), (0.92, 0.62), (-0.92, 0.62), round=0.02), only=(0, 2)),
        part("secondary", box(0, 0, 0.80, 0.46, 0.02), cut(box(0, 0, 0.70, 0.36)), only=(0, 0), relief=0.2, group=1),
        part("secondary", ellipse(0, 0, 0.78, 0.62), cut(ellipse(0, 0, 0.66, 0.51)), only=(0, 1), relief=0.2, group=1),
        part("secondary", polygon((-0.52, -0.50), (0.52, -0.50), (0.77, 0.50), (-0.77, 0.50)),
            cut(polygon((-0.43, -0.40), (0.43, -0.40), (0.64, 0.40), (-0.64, 0.40))), only=(0, 2), relief=0.2, group=1),
        part("accent", polygon((-0.34, 0), (0, -0.26), (0.34, 0), (0, 0.26)), only=(1, 0), relief=0.2, group=2),
        part("light", polygon((-0.18, 0), (0, -0.13), (0.18, 0), (0, 0.13)), only=(1, 0), relief=-1, group=2),
        part("accent", *(polygon((x - 0.13, 0), (x, -0.17), (x + 0.13, 0), (x, 0.17)) for x in (-0.40, 0.0, 0.40)), only=(1, 1),
            relief=0.2, group=2),
    ),
    ((0, 0, 1), (0, 0, 0.5), (0, 0, 1)),
)  # fmt: skip

CUSHION = Silhouette(
    (
        part("accent", *both(ellipse(0.80, -0.80, 0.13), ellipse(0.80, 0.80, 0.13)), only=(1, 0)),
        part("secondary", ellipse(0, 0, 0.89), only=(1, 2)),
        main(polygon((-0.78, -0.78), (0, -0.68), (0.78, -0.78), (0.70, 0), (0.78, 0.78), (0, 0.70), (-0.78, 0.78), (-0.70, 0),
            round=0.08), only=(1, 0)),
        main(polygon((-0.92, -0.54), (0, -0.48), (0.92, -0.54), (0.87, 0), (0.92, 0.54), (0, 0.50), (-0.92, 0.54), (-0.87, 0),
            round=0.07), only=(1, 1)),
        main(ellipse(0, 0, 0.84), only=(1, 2)),
        part("secondary", ellipse(0, 0, 0.30), cut(ellipse(0, 0, 0.20)), only=(2, 0), group=1, relief=0.5),
        part("secondary", box(0, 0, 0.20, 0.70), cut(box(0, 0, 0.07, 0.8)), within(box(0, 0, 0.72, 0.50)), only=(2, 1), group=1,
            relief=0.3),
        part("accent", ellipse(0, 0, 0.08)),
        part("primary", *(capsule(0, 0, x, y, 0.02, 0.005) for x, y in ((0.26, 0.2), (-0.26, 0.2), (0.26, -0.2), (-0.26, -0.2))),
            tone=0.75, relief=-1, only=(2, 2)),
    ),
    ((0, 0, 1), (0, 0, 1)),
)  # fmt: skip

CURTAINS = Silhouette(
    (
        part("water", box(0, 0.02, 0.52, 0.66, 0.0), tone=1.15, relief=-1),
        part("white", box(0, 0.02, 0.56, 0.70), cut(box(0, 0.02, 0.48, 0.62)), box(0, 0.02, 0.03, 0.66), box(0, -0.14, 0.52, 0.03),
            only=(1, 0)),
        part("white", box(0, 0.02, 0.56, 0.70), cut(box(0, 0.02, 0.48, 0.62)), only=(1, 1)),
        main(*both(polygon((0.20, -0.82), (0.90, -0.82), (0.94, 0.90), (0.46, 0.90), round=0.03)), only=(0, 0)),
        main(*both(polygon((0.06, -0.82), (0.90, -0.82), (0.92, 0.16), (0.62, 0.16), round=0.03),
            polygon((0.62, 0.12), (0.92, 0.12), (0.96, 0.90), (0.52, 0.90), round=0.03)), only=(0, 1)),
        part("primary", *both(*(polygon((x - 0.02, -0.78), (x + 0.03, -0.78), (x + 0.10, 0.88), (x + 0.04, 0.88))
            for x in (0.40, 0.56, 0.72))), tone=0.76, relief=-1, only=(0, 0)),
        part("primary", *both(*(capsule(x, -0.78, 0.60 + 0.3 * x, 0.12, 0.018) for x in (0.28, 0.50, 0.72))), tone=0.76, relief=-1,
            only=(0, 1)),
        part("accent", *both(box(0.77, 0.13, 0.18, 0.06, 0.03, -0.2)), only=(0, 1)),
        part("secondary", *both(polygon((0.45, 0.80), (0.93, 0.80), (0.95, 0.92), (0.46, 0.92))), only=(0, 0)),
        part("wood", box(0, -0.88, 1.0, 0.04, 0.03), *both(ellipse(1.0, -0.88, 0.07)), tone=0.8),
        part("secondary", box(0, -0.78, 0.92, 0.12, 0.02), only=(2, 0), group=3),
    ),
    ((0, -0.8, 1), (0.77, 0.13, 0.8), (0.7, 0.92, 0.5), (0, -0.88, 1)),
)  # fmt: skip

PLATES = Silhouette(
    (
        part("metal", capsule(-0.92, -0.20, -0.92, 0.62, 0.035, 0.05), *(capsule(-0.92 + x, -0.56, -0.92 + x, -0.26, 0.018)
            for x in (-0.07, 0.0, 0.07)), capsule(-0.98, -0.24, -0.86, -0.24, 0.03), only=(0, 0)),
        part("metal", capsule(0.92, 0.0, 0.92, 0.62, 0.04, 0.05), polygon((0.86, 0.05), (0.86, -0.52), (0.93, -0.60), (0.98, -0.40),
            (0.97, 0.05), round=0.01), only=(0, 0)),
        part("light", ellipse(0, 0, 0.80), tone=0.97),
        main(ellipse(0, 0, 0.77), cut(ellipse(0, 0, 0.48)), only=(1, 0), group=1),
        main(ellipse(0, 0, 0.77), only=(1, 1), group=1),
        main(ellipse(0, 0, 0.52), only=(1, 2), group=1),
        part("light", ellipse(0, 0, 0.46), cut(ellipse(0, 0, 0.44)), tone=0.8, relief=-1, only=(1, 1)),
        part("accent", ellipse(0, 0, 0.77), cut(ellipse(0, 0, 0.735)), relief=-1, only=(2, 0)),
        part("secondary", ellipse(0, 0, 0.40), only=(2, 1), group=2),
        part("secondary", ellipse(0, 0, 0.34), cut(ellipse(0, 0, 0.26)), only=(2, 2), group=2),
        part("light", ellipse(0, 0, 0.30), tone=0.93, only=(2, 1), group=2),
    ),
    ((0, 0, 0.7), (0, 0, 0.5), (0, 0, 1)),
)  # fmt: skip

_STEMS = part(
    "leaf",
    capsule(0, -0.2, -0.30, -0.66, 0.02),
    capsule(0, -0.2, 0.02, -0.80, 0.02),
    capsule(0, -0.2, 0.32, -0.62, 0.02),
    ellipse(-0.22, -0.40, 0.06, 0.13, -0.9),
    ellipse(0.24, -0.42, 0.06, 0.13, 0.9),
    only=(0, 0),
    tone=0.9,
    group=1,
)
VASE = Silhouette(
    (
        _STEMS,
        part("accent", *(ellipse(x + dx, y + dy, 0.10) for x, y in ((-0.32, -0.68), (0.02, -0.84), (0.34, -0.64)) for dx,
            dy in ((-0.09, 0), (0.09, 0.02), (0.0, -0.09), (0.0, 0.09))), only=(0, 0), group=1),
        part("light", *(ellipse(x, y, 0.06) for x, y in ((-0.32, -0.68), (0.02, -0.84), (0.34, -0.64))), only=(0, 0), group=1),
        part("leaf", *(ellipse(x + s * 0.11, y, 0.10, 0.065, -s * 0.5) for x,
            y in ((-0.20, -0.46), (-0.27, -0.66), (0.0, -0.56), (0.0, -0.76), (0.20, -0.42), (0.28, -0.62)) for s in (-1, 1)),
            *(capsule(0, -0.1, x, y, 0.016) for x, y in ((-0.32, -0.80), (0.0, -0.92), (0.34, -0.76))),
            *(ellipse(x, y, 0.065, 0.10) for x, y in ((-0.33, -0.82), (0.0, -0.94), (0.35, -0.78))), only=(0, 1), group=1),
        part("secondary", arc(0.46, 0.30, 0.26, 0.09, 0, 100), only=(1, 1), group=2),
        main(ellipse(0, 0.48, 0.52, 0.48), polygon((-0.16, -0.18), (0.16, -0.18), (0.24, 0.20), (-0.24, 0.20), round=0.03), only=(1, 0)),
        main(polygon((-0.26, -0.16), (0.26, -0.16), (0.40, 0.30), (0.32, 0.92), (-0.32, 0.92), (-0.40, 0.30), round=0.05), only=(1, 1)),
        main(polygon((-0.40, -0.14), (0.40, -0.14), (0.26, 0.92), (-0.26, 0.92), round=0.04), only=(1, 2)),
        part("secondary", box(0, -0.18, 0.22, 0.05, 0.04), only=(1, 0), group=2),
        part("secondary", box(0, -0.16, 0.32, 0.05, 0.04), only=(1, 1), group=2),
        part("secondary", box(0, -0.14, 0.44, 0.06, 0.04), only=(1, 2), group=2),
        part("secondary", box(0, 0.48, 0.60, 0.10), within(ellipse(0, 0.48, 0.52, 0.48)), only=(1, 0), group=0, relief=0.6),
        part("secondary", box(0, 0.93, 0.24, 0.04, 0.02), group=3),
    ),
    ((0, 0.9, 1), (0, -0.16, 1), (0, -0.16, 0.6), (0, 0.93, 0.5)),
)  # fmt: skip

_POT = polygon((-0.50, 0.22), (0.50, 0.22), (0.38, 0.94), (-0.38, 0.94), round=0.04)
BALCONY_PLANTS = Silhouette(
    (
        part("leaf", *(capsule(0, 0.24, x, y, 0.03, 0.09) for x, y in ((-0.56, -0.30), (-0.28, -0.70), (0.04, -0.86), (0.34, -0.66),
            (0.60, -0.26))), only=(0, 0), group=1),
        part("leaf", *both(ellipse(0.42, -0.24, 0.26, 0.16, -0.6), ellipse(0.22, -0.62, 0.24, 0.15, -1.1)),
            ellipse(0, -0.80, 0.15, 0.22), capsule(0, 0.24, 0, -0.70, 0.03), only=(0, 1), tone=0.85, group=1),
        part("leaf", *both(ellipse(0.30, -0.02, 0.22, 0.13, -0.5), capsule(0.0, 0.2, 0.26, -0.50, 0.02)),
            capsule(0, 0.2, 0, -0.68, 0.025), only=(0, 2), group=1),
        part("accent", *(ellipse(x + dx, y + dy, 0.11) for x, y in ((-0.27, -0.54), (0.0, -0.74), (0.27, -0.54)) for dx,
            dy in ((-0.1, 0), (0.1, 0), (0, -0.1), (0, 0.1))), only=(0, 2), group=1),
        part("light", *(ellipse(x, y, 0.07) for x, y in ((-0.27, -0.54), (0.0, -0.74), (0.27, -0.54))), only=(0, 2), group=1),
        part("leaf", *(ellipse(x, y, 0.16, 0.11, t) for x, y, t in ((-0.34, 0.06, 0.4), (0.34, 0.06, -0.4), (0.0, 0.04, 0.0))),
            tone=1.12, group=1, only=(1, 0)),
        main(_POT, only=(2, 0), group=2),
        main(box(0, 0.56, 0.66, 0.34, 0.05), only=(2, 1), group=2),
        main(ellipse(0, 0.42, 0.54, 0.52), cut(box(0, -0.10, 1, 0.32)), only=(2, 2), group=2),
        part("secondary", box(0, 0.22, 0.57, 0.085, 0.03), group=2, only=(2, 0)),
        part("secondary", box(0, 0.24, 0.71, 0.06, 0.03), group=2, only=(2, 1)),
        part("secondary", box(0, 0.24, 0.54, 0.05, 0.03), group=2, only=(2, 2)),
        part("secondary", box(0, 0.95, 0.46, 0.045, 0.03), only=(2, 0), group=2, tone=0.85),
    ),
    ((0, 0, 0.6), (0, 0.24, 1), (0, 0.24, 0.9)),
)  # fmt: skip

RAISED_BED = Silhouette(
    (
        part("leaf", *(capsule(x, 0.10, x + dx, -0.42, 0.03, 0.08) for x in (-0.70, -0.46) for dx in (-0.10, 0.0, 0.10)), tone=0.85,
            group=1),
        part("leaf", *(ellipse(x, y, 0.19, 0.15) for x, y in ((-0.06, -0.02), (0.14, -0.02), (0.04, -0.16))), tone=1.15, group=1,
            only=(0, 0)),
        part("leaf", *(capsule(0.03, 0.10, 0.03 + dx, -0.34, 0.02, 0.05) for dx in (-0.14, -0.05, 0.06, 0.15)), tone=1.1, group=1,
            only=(0, 1)),
        part("wood", capsule(0.58, 0.10, 0.58, -0.86, 0.022), tone=0.8, group=2),
        part("leaf", capsule(0.58, 0.10, 0.58, -0.74, 0.035), *(ellipse(0.58 + dx, y, 0.14, 0.08, t) for dx, y,
            t in ((-0.16, -0.10, 0.4), (0.16, -0.26, -0.4), (-0.15, -0.44, 0.4), (0.14, -0.60, -0.4), (-0.06, -0.74, 0.4))), group=2),
        part("accent", *(ellipse(x, y, 0.085) for x, y in ((0.46, -0.24), (0.72, -0.40), (0.48, -0.56), (0.70, -0.10))), group=2),
        part("crust", box(0, 0.12, 0.90, 0.07, 0.03), tone=0.42),
        main(box(0, 0.46, 0.94, 0.34, 0.02), group=3),
        part("primary", box(0, 0.35, 0.94, 0.014), box(0, 0.58, 0.94, 0.014), tone=0.6, relief=-1, group=3),
        part("secondary", *both(box(0.86, 0.46, 0.08, 0.38, 0.02)), group=3),
        part("secondary", box(0, 0.16, 0.96, 0.05, 0.02), group=3, only=(1, 0)),
        part("light", box(-0.56, 0.0, 0.11, 0.09, 0.02, -0.1), capsule(-0.56, 0.05, -0.56, 0.16, 0.015), only=(1, 1)),
    ),
    ((0, 0.1, 0.6), (0, 0.1, 1), (0.58, 0.1, 1), (0, 0.1, 0.8)),
)  # fmt: skip

HOME = (SOFA, ARMCHAIR, TABLE_LAMP, PENDANT, RUG, CUSHION, CURTAINS, PLATES, VASE, BALCONY_PLANTS, RAISED_BED)
"""Topics 12 to 22 of the vocabulary, in its order."""
