"""Silhouettes of what is worn: tops, trousers and skirts, shoes, bags, jewellery."""

from __future__ import annotations

from corkboard.world.shapes import Silhouette, arc, both, box, capsule, cut, ellipse, main, part, polygon, within

BLOUSE = Silhouette(
    (
        main(*both(polygon((0.30, -0.70), (0.48, -0.70), (0.66, -0.50), (0.92, 0.44), (0.68, 0.52), (0.40, -0.20), round=0.04)), group=1,
            only=(0, 0)),
        part("secondary", *both(polygon((0.91, 0.40), (0.94, 0.54), (0.70, 0.62), (0.66, 0.48), round=0.03)), group=1, only=(0, 0)),
        main(*both(polygon((0.30, -0.70), (0.50, -0.70), (0.70, -0.48), (0.90, -0.06), (0.60, 0.10), (0.40, -0.20), round=0.04)),
            group=1, only=(0, 1)),
        part("secondary", *both(polygon((0.87, -0.12), (0.92, -0.02), (0.61, 0.13), (0.57, 0.04), round=0.02)), group=1, only=(0, 1)),
        main(
            polygon((-0.46, -0.72), (-0.16, -0.80), (0.16, -0.80), (0.46, -0.72), (0.42, 0.0), (0.50, 0.80), (-0.50, 0.80), (-0.42, 0.0),
                round=0.05),
            cut(polygon((-0.17, -0.95), (0.17, -0.95), (0.0, -0.55))),
        ),
        part("primary", box(0, 0.12, 0.055, 0.72, 0.01), tone=0.86, relief=0.5),
        part("light", *(ellipse(0, y, 0.03) for y in (-0.40, -0.12, 0.16, 0.44, 0.70))),
        part("secondary", *both(polygon((0.20, -0.86), (0.0, -0.54), (0.16, -0.44), (0.34, -0.76), round=0.02)), group=2, only=(1, 0)),
        part("accent", *both(polygon((0.0, -0.56), (0.34, -0.74), (0.34, -0.40), round=0.03),
            capsule(0.02, -0.5, 0.13, -0.12, 0.05, 0.07)), ellipse(0, -0.56, 0.08), group=2, only=(1, 1)),
        part("light", arc(0, -0.84, 0.22, 0.07, 90, 72), group=2, only=(1, 2)),
        part("primary", box(0.24, -0.16, 0.13, 0.14, 0.03), tone=0.90, only=(2, 0)),
    ),
    ((0, 0, 1), (0.44, -0.55, 0.8), (0, -0.7, 0.9)),
)  # fmt: skip

SWEATER = Silhouette(
    (
        main(*both(capsule(0.50, -0.48, 0.80, 0.50, 0.23, 0.17)), group=1),
        part("secondary", *both(box(0.805, 0.58, 0.17, 0.09, 0.05, -0.25)), group=1),
        main(polygon((-0.52, -0.66), (-0.20, -0.76), (0.20, -0.76), (0.52, -0.66), (0.50, 0.68), (-0.50, 0.68), round=0.09)),
        part("secondary", box(0, -0.10, 0.57, 0.13), within(polygon((-0.58, -0.66), (0.58, -0.66), (0.56, 0.7), (-0.56, 0.7))),
            only=(1, 0)),
        part("accent", *(polygon((x - 0.09, -0.10), (x, -0.20), (x + 0.09, -0.10), (x, 0.0)) for x in (-0.42, -0.14, 0.14, 0.42)),
            only=(1, 0), relief=-1),
        part("primary", *(capsule(x, -0.55, x, 0.62, 0.035) for x in (-0.3, -0.1, 0.1, 0.3)), tone=0.86, only=(1, 1)),
        part("secondary", box(0, 0.75, 0.53, 0.10, 0.05)),
        part("primary", *(box(x, 0.75, 0.012, 0.08) for x in (-0.42, -0.28, -0.14, 0.0, 0.14, 0.28, 0.42)), tone=0.78, relief=-1),
        part("secondary", ellipse(0, -0.72, 0.30, 0.16), cut(ellipse(0, -0.78, 0.19, 0.10)), group=3, only=(0, 0)),
        part("secondary", polygon((-0.25, -0.66), (-0.21, -0.94), (0.21, -0.94), (0.25, -0.66), round=0.05), group=3, only=(0, 1)),
        part("dark", ellipse(0, -0.79, 0.18, 0.07), group=3, only=(0, 0), relief=0.3),
    ),
    ((0, 0, 1), (0.5, -0.48, 0.8), (0, 0, 0), (0, -0.7, 0.6)),
)  # fmt: skip

TEE = Silhouette(
    (
        main(*both(polygon((0.34, -0.74), (0.56, -0.66), (0.95, -0.24), (0.68, 0.0), (0.42, -0.24), round=0.04)), group=1),
        part("secondary", *both(polygon((0.89, -0.30), (0.95, -0.24), (0.68, 0.0), (0.63, -0.06), round=0.035)), group=1, only=(0, 0)),
        main(
            polygon((-0.50, -0.72), (-0.22, -0.78), (0.22, -0.78), (0.50, -0.72), (0.48, 0.82), (-0.48, 0.82), round=0.05),
            cut(ellipse(0, -0.84, 0.23, 0.22)),
        ),
        part("secondary", arc(0, -0.84, 0.25, 0.055, 90, 78), group=2),
        part("accent", *both(ellipse(0.12, -0.20, 0.15)), polygon((-0.26, -0.16), (0.26, -0.16), (0.0, 0.16), round=0.01), only=(1, 0),
            relief=0.3, group=3),
        part("accent", box(0, -0.14, 0.28, 0.055, 0.02), box(0, 0.02, 0.20, 0.055, 0.02), only=(1, 1), relief=0.3, group=3),
        part("secondary", box(0.22, -0.20, 0.13, 0.15, 0.03), only=(1, 2), group=3),
        part("primary", box(0, 0.79, 0.49, 0.015), tone=0.78, relief=-1),
    ),
    ((0, 0, 1), (0.42, -0.5, 0.9), (0, -0.78, 0.4), (0, -0.1, 1)),
)  # fmt: skip

JEANS = Silhouette(
    (
        main(*both(polygon((0.0, -0.34), (0.44, -0.55), (0.40, 0.94), (0.13, 0.94), round=0.03)),
            polygon((-0.35, -0.88), (0.35, -0.88), (0.44, -0.42), (0.10, -0.12), (-0.10, -0.12), (-0.44, -0.42), round=0.03),
            only=(0, 0)),
        main(*both(polygon((0.0, -0.34), (0.42, -0.55), (0.40, 0.10), (0.62, 0.94), (0.16, 0.94), (0.12, 0.10), round=0.03)),
            polygon((-0.35, -0.88), (0.35, -0.88), (0.42, -0.42), (0.10, -0.12), (-0.10, -0.12), (-0.42, -0.42), round=0.03),
            only=(0, 1)),
        part("primary", capsule(0, -0.80, 0, -0.14, 0.018), *both(capsule(0.40, -0.60, 0.20, -0.74, 0.015),
            capsule(0.20, -0.74, 0.17, -0.86, 0.015)), tone=0.62, relief=-1),
        part("primary", *both(box(0.27, 0.88, 0.17, 0.07, 0.02)), tone=1.12, only=(0, 0)),
        part("secondary", *both(box(0.27, 0.30, 0.09, 0.11, 0.03, 0.1)), only=(1, 0), group=2),
        part("secondary", box(0, -0.91, 0.38, 0.075, 0.03)),
        part("dark", *both(box(0.24, -0.91, 0.03, 0.10, 0.01)), relief=0.4),
        part("metal", ellipse(0, -0.91, 0.045)),
        part("accent", *both(box(0.25, -0.50, 0.10, 0.012)), relief=-1, only=(2, 0)),
    ),
    ((0, -0.9, 0.6), (0.27, 0.94, 0.7), (0.27, 0.3, 1)),
)  # fmt: skip

SKIRT = Silhouette(
    (
        main(polygon((-0.34, -0.72), (0.34, -0.72), (0.86, 0.78), (-0.86, 0.78), round=0.05), only=(0, 0)),
        main(polygon((-0.34, -0.72), (0.34, -0.72), (0.50, -0.2), (0.52, 0.86), (-0.52, 0.86), (-0.50, -0.2), round=0.05), only=(0, 1)),
        main(polygon((-0.34, -0.72), (0.34, -0.72), (0.62, 0.1), (-0.62, 0.1), round=0.05),
            polygon((-0.60, 0.0), (0.60, 0.0), (0.92, 0.76), (-0.92, 0.76), round=0.05), only=(0, 2)),
        part("primary", *(polygon((x * 0.40, -0.66), (x * 0.95 + 0.015, 0.78), (x * 0.95 - 0.035, 0.78))
            for x in (-0.6, -0.36, -0.12, 0.12, 0.36, 0.6)), tone=0.74, relief=-1, only=(0, 0)),
        part("primary", capsule(0.26, 0.2, 0.28, 0.88, 0.015), tone=0.6, relief=-1, only=(0, 1)),
        part("primary", polygon((-0.64, 0.06), (0.64, 0.06), (0.66, 0.12), (-0.66, 0.12)), tone=0.7, relief=-1, only=(0, 2)),
        part("accent", polygon((-0.84, 0.72), (0.84, 0.72), (0.87, 0.82), (-0.87, 0.82), round=0.02), only=(0, 0)),
        part("secondary", box(0, -0.78, 0.35, 0.10, 0.03), group=1),
        part("metal", box(0, -0.78, 0.08, 0.075, 0.02), cut(box(0, -0.78, 0.04, 0.035)), only=(1, 0), group=1),
        part("accent", *both(polygon((0, -0.76), (0.20, -0.88), (0.20, -0.64), round=0.02)), ellipse(0, -0.76, 0.05), only=(1, 1),
            group=1),
    ),
    ((0, -0.7, 1), (0, -0.78, 0.6)),
)  # fmt: skip

SNEAKER = Silhouette(
    (
        part("secondary", ellipse(-0.30, -0.34, 0.20, 0.12, -0.2), tone=0.75),
        main(
            polygon((-0.86, 0.34), (-0.90, -0.34), (-0.70, -0.40), (-0.52, -0.24), (-0.16, -0.34), (0.22, -0.02), (0.70, 0.10),
                (0.94, 0.30), (0.94, 0.40), round=0.04),
        ),
        part("secondary", polygon((0.50, 0.07), (0.72, 0.10), (0.95, 0.28), (0.95, 0.40), (0.46, 0.40), round=0.035), only=(0, 0)),
        part("secondary", polygon((-0.88, 0.36), (-0.92, -0.30), (-0.74, -0.34), (-0.62, 0.0), (-0.66, 0.36), round=0.03)),
        part("accent", polygon((-0.46, 0.16), (-0.20, 0.24), (0.26, -0.02), (0.30, 0.06), (-0.18, 0.36), (-0.52, 0.26), round=0.01),
            group=2, only=(1, 0), relief=0.4),
        part("accent", *(polygon((x, 0.32), (x + 0.20, -0.10), (x + 0.28, -0.06), (x + 0.09, 0.32)) for x in (-0.44, -0.28, -0.12)),
            group=2, only=(1, 1), relief=0.3),
        part("accent", ellipse(-0.28, 0.06, 0.17), group=2, only=(1, 2), relief=0.3),
        part("light", *(capsule(x, y, x + 0.15, y - 0.12, 0.028) for x, y in ((-0.22, -0.08), (-0.08, 0.0), (0.06, 0.07), (0.20, 0.13)))),
        part("light", capsule(-0.46, -0.42, -0.20, -0.22, 0.07, 0.06)),
        part("white", polygon((-0.92, 0.36), (0.97, 0.36), (0.98, 0.46), (0.88, 0.54), (-0.86, 0.54), (-0.94, 0.48), round=0.04)),
        part("accent", box(0, 0.45, 0.90, 0.018), relief=-1, only=(2, 0)),
        part("dark", polygon((-0.88, 0.56), (0.88, 0.56), (0.82, 0.60), (-0.84, 0.60), round=0.02)),
    ),
    ((0, 0.4, 1), (0, 0, 0), (-0.2, 0.1, 1)),
)  # fmt: skip

BOOTS = Silhouette(
    (
        main(polygon((-0.52, -0.86), (0.14, -0.86), (0.16, 0.02), (0.50, 0.20), (0.86, 0.44), (0.86, 0.62), (-0.56, 0.62), (-0.50, 0.0),
            round=0.07), only=(0, 0)),
        main(polygon((-0.50, -0.48), (0.16, -0.48), (0.18, 0.06), (0.50, 0.20), (0.86, 0.44), (0.86, 0.62), (-0.56, 0.62), (-0.52, 0.0),
            round=0.07), only=(0, 1)),
        part("secondary", box(-0.19, -0.84, 0.38, 0.10, 0.05), only=(0, 0)),
        part("secondary", box(-0.17, -0.48, 0.38, 0.09, 0.05), only=(0, 1)),
        part("dark", *(capsule(0.02, y, 0.24, y + 0.05, 0.024) for y in (-0.36, -0.20, -0.04, 0.10)), only=(1, 0)),
        part("dark", polygon((-0.28, -0.42), (-0.02, -0.42), (-0.08, 0.16), (-0.22, 0.16), round=0.02), tone=1.2, only=(1, 1)),
        part("metal", capsule(-0.14, -0.50, -0.12, 0.46, 0.022), only=(1, 2)),
        part("accent", box(-0.20, 0.14, 0.36, 0.05, 0.02, 0.18), only=(2, 0), group=2),
        part("metal", box(-0.02, 0.17, 0.07, 0.07, 0.02), cut(box(-0.02, 0.17, 0.035, 0.035)), only=(2, 0), group=2),
        part("dark", box(0.15, 0.71, 0.78, 0.07, 0.04)),
        part("dark", polygon((-0.63, 0.70), (-0.20, 0.70), (-0.26, 0.92), (-0.58, 0.92), round=0.02)),
        part("wood", box(0.20, 0.645, 0.72, 0.02), relief=-1),
    ),
    ((0, 0.6, 1), (0, 0, 0), (-0.1, 0.15, 1)),
)  # fmt: skip

SANDALS = Silhouette(
    (
        part("dark", *both(capsule(0.42, -0.60, 0.42, 0.62, 0.36, 0.27)), tone=1.1, group=1),
        part("crust", *both(capsule(0.42, -0.60, 0.42, 0.62, 0.32, 0.23)), group=1, tone=1.08),
        part("wood", *both(ellipse(0.42, 0.55, 0.15, 0.19)), relief=-1, group=1, tone=1.1),
        main(*both(polygon((0.06, -0.48), (0.42, -0.66), (0.78, -0.48), (0.78, 0.0), (0.42, -0.10), (0.06, 0.0), round=0.04)),
            only=(0, 0)),
        main(*both(capsule(0.42, -0.72, 0.14, -0.02, 0.075, 0.12), capsule(0.42, -0.72, 0.70, -0.02, 0.075, 0.12)), only=(0, 1)),
        main(*both(box(0.42, -0.50, 0.37, 0.14, 0.04, -0.1), box(0.42, -0.10, 0.35, 0.12, 0.04, 0.1)), only=(0, 2)),
        part("accent", *both(ellipse(0.42, -0.70, 0.085)), only=(0, 1), group=2),
        part("metal", *both(box(0.62, -0.28, 0.08, 0.09, 0.02), cut(box(0.62, -0.28, 0.04, 0.05))), only=(0, 2), group=2),
        part("accent", *both(ellipse(0.42, -0.36, 0.12)), *both(ellipse(0.30, -0.30, 0.07)), *both(ellipse(0.54, -0.30, 0.07)),
            only=(0, 0), group=2),
    ),
    ((0, -0.3, 0.7), (0, 0, 0.6), (0.42, -0.4, 1)),
)  # fmt: skip

HANDBAG = Silhouette(
    (
        part("secondary", arc(0, -0.26, 0.40, 0.085, -90, 96), group=1, only=(0, 0)),
        part("metal", *(ellipse(x, -0.98 + 1.6 * x * x, 0.055, 0.045, x)
            for x in (-0.64, -0.54, -0.43, -0.32, -0.2, -0.07, 0.07, 0.2, 0.32, 0.43, 0.54, 0.64)), group=1, only=(0, 1)),
        part("secondary", *both(capsule(0.30, -0.24, 0.26, -0.82, 0.045), capsule(0.26, -0.82, 0, -0.92, 0.045)), group=1, only=(0, 2)),
        main(polygon((-0.62, -0.26), (0.62, -0.26), (0.80, 0.72), (-0.80, 0.72), round=0.10), only=(1, 0)),
        main(box(0, 0.24, 0.84, 0.50, 0.16), only=(1, 1)),
        main(ellipse(0, 0.20, 0.86, 0.62), cut(box(0, -0.60, 1.0, 0.36)), only=(1, 2)),
        part("secondary", polygon((-0.66, -0.27), (0.66, -0.27), (0.56, 0.14), (0.0, 0.28), (-0.56, 0.14), round=0.07), group=2,
            only=(2, 0)),
        part("secondary", box(0, -0.22, 0.64, 0.09, 0.04), group=2, only=(2, 1)),
        part("secondary", box(0, 0.24, 0.09, 0.48), group=2, only=(2, 1)),
        part("metal", box(0, 0.20, 0.11, 0.08, 0.03), group=3, only=(2, 0)),
        part("metal", ellipse(0, -0.22, 0.08), group=3, only=(2, 1)),
        part("accent", ellipse(0.46, 0.02, 0.06), polygon((0.46, 0.02), (0.55, 0.42), (0.37, 0.42), round=0.02), group=3),
    ),
    ((0, 0.2, 1), (0, -0.26, 0.9), (0, -0.2, 0.8), (0, 0.1, 1)),
)  # fmt: skip

BACKPACK = Silhouette(
    (
        part("dark", arc(0, -0.80, 0.15, 0.07, -90, 100)),
        part("secondary", *both(capsule(0.45, -0.52, 0.64, 0.46, 0.07, 0.06)), tone=0.7, group=1),
        main(box(0, 0.04, 0.60, 0.84, 0.26), only=(0, 0)),
        main(polygon((-0.46, -0.74), (0.46, -0.74), (0.60, 0.80), (-0.60, 0.80), round=0.10), only=(0, 1)),
        part("dark", arc(0, 0.0, 0.50, 0.03, -90, 75), relief=0.3, only=(0, 0)),
        part("secondary", polygon((-0.50, -0.80), (0.50, -0.80), (0.56, -0.16), (-0.56, -0.16), round=0.07), only=(0, 1), group=2),
        part("crust", *both(box(0.26, -0.06, 0.05, 0.24, 0.02)), tone=0.7, only=(0, 1), group=2),
        part("metal", *both(box(0.26, 0.10, 0.08, 0.055, 0.02)), only=(0, 1), group=2),
        part("secondary", box(0, 0.48, 0.46, 0.32, 0.12), group=3),
        part("dark", box(0, 0.30, 0.40, 0.016), relief=-1, group=3),
        part("accent", capsule(0.30, 0.30, 0.33, 0.44, 0.03), group=3),
        part("accent", box(0, -0.30, 0.15, 0.10, 0.03), only=(1, 0), group=4),
        part("accent", polygon((0, -0.46), (0.14, -0.18), (-0.14, -0.18), round=0.02), only=(1, 1), group=4),
        part("accent", ellipse(0, -0.30, 0.12), only=(1, 2), group=4),
    ),
    ((0, 0.1, 1), (0.56, 0, 0.5), (0, -0.7, 0.7), (0, 0.7, 1), (0, -0.3, 0.9)),
)  # fmt: skip

_HOOK = (arc(0.46, -0.80, 0.10, 0.035, -60, 130), capsule(0.46, -0.70, 0.46, -0.58, 0.018))
EARRINGS = Silhouette(
    (
        part("metal", *both(*_HOOK)),
        part("accent", *both(ellipse(0.46, -0.48, 0.12)), group=1),
        main(*both(capsule(0.46, -0.16, 0.46, 0.40, 0.06, 0.36)), group=2, only=(0, 0)),
        main(*both(ellipse(0.46, 0.20, 0.42, 0.50), cut(ellipse(0.46, 0.20, 0.22, 0.30))), group=2, only=(0, 1)),
        main(*both(polygon((0.46, -0.30), (0.86, 0.52), (0.60, 0.66), (0.32, 0.66), (0.06, 0.52), round=0.03)), group=2, only=(0, 2)),
        part("light", *both(ellipse(0.46, 0.36, 0.13, 0.16)), group=3, only=(0, 0)),
        part("secondary", *both(ellipse(0.46, 0.24, 0.14, 0.18)), group=3, only=(0, 1)),
        part("secondary", *both(*(ellipse(0.46 + x, 0.74 - x * x * 0.6, 0.06) for x in (-0.34, -0.17, 0.0, 0.17, 0.34))), group=2,
            only=(0, 2)),
        part("metal", *both(ellipse(0.46, -0.33, 0.05))),
    ),
    ((0, -0.5, 0.5), (0.46, -0.48, 1), (0.46, -0.2, 1), (0.46, 0.3, 0.8)),
)  # fmt: skip

WATCH = Silhouette(
    (
        main(polygon((-0.24, -1.0), (0.24, -1.0), (0.34, -0.36), (-0.34, -0.36), round=0.04),
            polygon((-0.34, 0.36), (0.34, 0.36), (0.24, 1.0), (-0.24, 1.0), round=0.04), group=1),
        part("primary", *(ellipse(0, y, 0.032, 0.045) for y in (0.62, 0.74, 0.86)), tone=0.45, relief=-1, group=1),
        part("metal", box(0.55, 0, 0.07, 0.08, 0.02)),
        part("metal", ellipse(0, 0, 0.54), only=(0, 0)),
        part("metal", box(0, 0, 0.48, 0.52, 0.16), only=(0, 1)),
        part("light", ellipse(0, 0, 0.42), only=(0, 0), relief=0.3),
        part("light", box(0, 0, 0.37, 0.41, 0.10), only=(0, 1), relief=0.3),
        part("secondary", ellipse(0, 0, 0.41), cut(ellipse(0, 0, 0.30)), only=(1, 0), relief=-1),
        part("secondary", ellipse(0, 0.17, 0.12), cut(ellipse(0, 0.17, 0.09)), only=(1, 1), relief=-1),
        part("dark", box(0, -0.34, 0.022, 0.055), box(0, 0.34, 0.022, 0.055), *both(box(0.34, 0, 0.055, 0.022)), relief=-1),
        part("dark", capsule(0, 0, -0.13, -0.15, 0.03), capsule(0, 0, 0.15, -0.24, 0.022), relief=-1, group=2),
        part("accent", capsule(-0.04, -0.05, 0.12, 0.24, 0.012), ellipse(0, 0, 0.04), relief=-1, group=2),
    ),
    ((0, 0, 0.6), (0, 0, 1), (0, 0, 0.8)),
)  # fmt: skip

FASHION = (BLOUSE, SWEATER, TEE, JEANS, SKIRT, SNEAKER, BOOTS, SANDALS, HANDBAG, BACKPACK, EARRINGS, WATCH)
"""Topics 0 to 11 of the vocabulary, in its order."""
