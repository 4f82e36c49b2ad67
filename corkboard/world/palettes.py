"""Colours of what is drawn: a shade fixes the hue, a style how bright, how full and with what beside it.

Colours are mixed in OKLCH (lightness 0 to 1, chroma 0 to about 0.3, hue in degrees; Ottosson 2020), where equal steps look equal, and
come out as sRGB rounded to whole 255ths: so the last bit of a machine's power function can't be seen.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SLOTS = (
    "primary", "secondary", "accent", "dark", "light",
    "skin", "hair", "leaf", "wood", "crust", "metal", "white", "sand", "water",
)  # fmt: skip
"""What a part of a silhouette is painted with; the first five follow shade and style, the others what the thing is made of."""

SHADE_LCH = np.array(
    [
        (0.60, 0.200, 26), (0.71, 0.155, 37), (0.75, 0.160, 62), (0.86, 0.160, 96), (0.82, 0.180, 124), (0.65, 0.150, 148),
        (0.60, 0.105, 195), (0.76, 0.110, 230), (0.53, 0.180, 262), (0.56, 0.180, 290), (0.50, 0.180, 318), (0.77, 0.130, 357),
    ]
)  # fmt: skip
"""float (12, 3): lightness, chroma and hue of each shade, in the order of the vocabulary."""
NEUTRAL_LCH = np.array((0.76, 0.022, 82))
"""What is drawn where the shade is missing: grey-beige."""


class Style(NamedTuple):
    """How a style looks. Numbers are shares and object units (a thing is two units long) unless said otherwise."""

    lightness: float
    """Towards which lightness the shade is drawn, half of the way."""
    chroma: float
    """Factor on the chroma of the shade."""
    beside: tuple[tuple[float, float, float], ...]
    """Second colours it takes: hue away from the first (degrees), lightness, chroma."""
    accent: tuple[float, float, float]
    """The third colour, in the same terms."""
    neutral: float
    """Hue of its greys."""
    line: float
    """Width of the outline."""
    ink: float
    """How strongly the outline is drawn."""
    relief: float
    """How round parts look."""
    gloss: float
    """Strength of a highlight."""
    grain: float
    """Strength of a texture."""
    trim: tuple[float, float, float, int]
    """A line inside of the edge: how far, how wide, dashes a unit (0 for a whole line), slot of its colour; width 0 for none."""
    backdrop: tuple[float, float]
    """Lightness and chroma of its backgrounds."""


STYLES: tuple[Style, ...] = (
    # boho
    Style(0.68, 0.85, ((45, 0.88, 0.06), (-50, 0.52, 0.11), (160, 0.50, 0.08)), (30, 0.60, 0.15), 70, 0.016, 0.35, 0.6, 0.0, 0.5,
          (0.075, 0.034, 5.5, 4), (0.90, 0.050)),
    # minimal
    Style(0.84, 0.55, ((0, 0.96, 0.01), (0, 0.60, 0.03)), (0, 0.50, 0.06), 90, 0.0, 0.0, 0.35, 0.0, 0.0, (0.0, 0.0, 0.0, 4), (0.95, 0.014)),
    # vintage
    Style(0.64, 0.72, ((40, 0.90, 0.05), (180, 0.46, 0.07)), (-60, 0.56, 0.10), 65, 0.022, 0.55, 0.5, 0.0, 0.7,
          (0.06, 0.014, 8.0, 4), (0.88, 0.045)),
    # nordic
    Style(0.78, 0.60, ((0, 0.97, 0.008), (170, 0.42, 0.03)), (60, 0.72, 0.08), 240, 0.010, 0.25, 0.45, 0.0, 0.1,
          (0.05, 0.016, 0.0, 11), (0.93, 0.024)),
    # industrial
    Style(0.46, 0.60, ((0, 0.32, 0.012), (30, 0.72, 0.02)), (40, 0.66, 0.11), 255, 0.026, 0.75, 0.9, 0.25, 0.45,
          (0.085, 0.040, 3.6, 10), (0.80, 0.022)),
    # romantic
    Style(0.86, 0.72, ((-28, 0.95, 0.035), (30, 0.93, 0.05)), (-30, 0.70, 0.12), 10, 0.010, 0.25, 0.75, 0.1, 0.0,
          (0.045, 0.040, 7.5, 11), (0.94, 0.028)),
    # sporty
    Style(0.62, 1.25, ((180, 0.92, 0.05), (150, 0.38, 0.12), (0, 0.22, 0.01)), (140, 0.80, 0.18), 265, 0.0, 0.0, 0.55, 0.3, 0.0,
          (0.055, 0.036, 0.0, 11), (0.90, 0.045)),
    # classic
    Style(0.46, 0.85, ((0, 0.94, 0.025), (50, 0.86, 0.05)), (60, 0.74, 0.11), 80, 0.014, 0.5, 0.6, 0.1, 0.0,
          (0.06, 0.013, 0.0, 2), (0.91, 0.026)),
    # rustic
    Style(0.56, 0.62, ((30, 0.86, 0.045), (-20, 0.40, 0.05)), (50, 0.58, 0.10), 60, 0.030, 0.6, 0.7, 0.0, 1.0,
          (0.075, 0.016, 4.0, 3), (0.85, 0.055)),
    # futuristic
    Style(0.70, 1.15, ((120, 0.82, 0.14), (-110, 0.40, 0.16)), (170, 0.88, 0.15), 285, 0.0, 0.0, 1.3, 1.0, 0.0,
          (0.035, 0.020, 0.0, 2), (0.85, 0.065)),
    # coastal
    Style(0.72, 0.85, ((0, 0.97, 0.005), (15, 0.33, 0.07)), (170, 0.78, 0.10), 230, 0.012, 0.35, 0.5, 0.0, 0.2,
          (0.07, 0.022, 0.0, 11), (0.92, 0.028)),
    # maximalist
    Style(0.58, 1.30, ((150, 0.78, 0.16), (-120, 0.45, 0.17), (180, 0.85, 0.14)), (90, 0.86, 0.16), 330, 0.024, 0.7, 0.9, 0.45, 0.1,
          (0.06, 0.048, 4.4, 2), (0.82, 0.095)),
)  # fmt: skip
"""One a style of the vocabulary, in its order."""
NO_STYLE = Style(
    0.74, 0.8, ((0, 0.93, 0.015),), (0, 0.5, 0.02), 80, 0.008, 0.2, 0.5, 0.0, 0.0, (0.0, 0.0, 0.0, 4), (0.92, 0.014)
)  # fmt: skip
"""How a thing of no visible style is drawn."""

SKINS = np.array([(0.87, 0.045, 60), (0.80, 0.065, 58), (0.70, 0.080, 55), (0.58, 0.080, 50), (0.44, 0.060, 48)])
HAIRS = np.array([(0.24, 0.02, 50), (0.36, 0.06, 52), (0.48, 0.09, 55), (0.78, 0.10, 85), (0.52, 0.14, 42), (0.70, 0.01, 80)])
WOODS = np.array([(0.76, 0.070, 72), (0.62, 0.080, 60), (0.46, 0.065, 50), (0.85, 0.050, 82)])
_NEARLY = 2e-3
"""How far outside of what a screen can show (linear light) a colour may lie and still be cut off rather than lose chroma."""
STUFF = {
    "leaf": (0.60, 0.130, 142), "crust": (0.74, 0.115, 70), "metal": (0.80, 0.012, 250), "white": (0.985, 0.004, 90),
    "sand": (0.88, 0.060, 85), "water": (0.74, 0.090, 222),
}  # fmt: skip


def to_rgb(lch: np.ndarray) -> np.ndarray:
    """float32 (..., 3) sRGB in whole 255ths of OKLCH colours; what a screen cannot show loses chroma until it can."""
    lch = np.asarray(lch, np.float64).copy()
    for _ in range(24):
        linear = _linear(lch)
        outside = (linear.min(-1) < -_NEARLY) | (linear.max(-1) > 1 + _NEARLY)
        if not outside.any():
            break
        lch[..., 1] = np.where(outside, lch[..., 1] * 0.9, lch[..., 1])
    linear = _linear(lch).clip(0, 1)
    coded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 1e-9) ** (1 / 2.4) - 0.055)
    return (np.round(coded * 255) / 255).astype(np.float32)


def _linear(lch: np.ndarray) -> np.ndarray:
    lightness, chroma, hue = lch[..., 0], lch[..., 1], np.deg2rad(lch[..., 2])
    a, b = chroma * np.cos(hue), chroma * np.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    middle = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    return np.stack(
        [
            4.0767416621 * long - 3.3077115913 * middle + 0.2309699292 * short,
            -1.2684380046 * long + 2.6097574011 * middle - 0.3413193965 * short,
            -0.0041960863 * long - 0.7034186147 * middle + 1.7076147010 * short,
        ],
        -1,
    )


def colours(shade: np.ndarray, style: np.ndarray, draw: np.ndarray) -> np.ndarray:
    """float32 (n, slots, 3) sRGB of every slot: ``shade`` and ``style`` int (n,), -1 where missing; ``draw`` uniform (n, 16).

    Around the hue of its shade a product varies by 9 degrees, in lightness by 0.06 and in chroma by 15 %; its second colour is one of
    those its style takes, varied as well.
    """
    n = len(shade)
    made = np.empty((n, len(SLOTS), 3))
    spread = draw * 2 - 1
    looks = [STYLES[k] if k >= 0 else NO_STYLE for k in style.tolist()]
    base = np.where((shade >= 0)[:, None], SHADE_LCH[shade], NEUTRAL_LCH)
    target, factor = np.array([look.lightness for look in looks]), np.array([look.chroma for look in looks])
    first = np.stack([0.55 * base[:, 0] + 0.45 * target + 0.06 * spread[:, 0], base[:, 1] * factor, base[:, 2] + 9 * spread[:, 2]], 1)
    first[:, 1] *= 1 + 0.15 * spread[:, 1]
    beside = np.array([look.beside[int(d * len(look.beside))] for look, d in zip(looks, draw[:, 3].tolist(), strict=True)])
    second = np.stack(
        [beside[:, 1] + 0.04 * spread[:, 4], beside[:, 2] * (1 + 0.25 * spread[:, 5]), first[:, 2] + beside[:, 0] + 14 * spread[:, 6]], 1
    )
    second[:, 0] = _apart(second[:, 0], first[:, 0], np.abs(beside[:, 0]) >= 100)
    accents, grey = np.array([look.accent for look in looks]), np.array([look.neutral for look in looks])
    third = np.stack([accents[:, 1] + 0.04 * spread[:, 7], accents[:, 2], first[:, 2] + accents[:, 0] + 12 * spread[:, 8]], 1)
    made[:, 0], made[:, 1], made[:, 2] = first, second, third
    made[:, 3] = np.stack([0.30 + 0.05 * spread[:, 9], np.full(n, 0.022), grey], 1)
    made[:, 4] = np.stack([0.95 + 0.02 * spread[:, 10], np.full(n, 0.014), grey], 1)
    for slot, kinds, k in (("skin", SKINS, 11), ("hair", HAIRS, 12), ("wood", WOODS, 13)):
        made[:, SLOTS.index(slot)] = kinds[(draw[:, k] * len(kinds)).astype(np.int64)]
    for slot, colour in STUFF.items():
        made[:, SLOTS.index(slot)] = np.array(colour) + np.array((0.03, 0.01, 6)) * spread[:, [14, 14, 15]]
    made[:, SLOTS.index("metal"), 2] = np.where(draw[:, 15] < 0.5, 85, 250)
    made[:, SLOTS.index("metal"), 1] = np.where(draw[:, 15] < 0.5, 0.10, 0.012)
    return to_rgb(made)


def _apart(lightness: np.ndarray, other: np.ndarray, enough: np.ndarray) -> np.ndarray:
    """``lightness`` moved until it can be told from ``other``: by 0.2, or 0.1 where the hues already differ (``enough``)."""
    least = np.where(enough, 0.1, 0.2)
    gap = lightness - other
    side = np.where(gap == 0, 1.0, np.sign(gap))
    side = np.where(other + side * least > 0.98, -1.0, side)
    return np.where(np.abs(gap) < least, other + side * least, lightness)


def finishes(style: np.ndarray) -> np.ndarray:
    """float32 (n, 9): line, ink, relief, gloss, grain and the four numbers of the trim, as ``Style`` says."""
    looks = [STYLES[k] if k >= 0 else NO_STYLE for k in style.tolist()]
    return np.array([(s.line, s.ink, s.relief, s.gloss, s.grain, *s.trim) for s in looks], np.float32).reshape(-1, 9)


def backdrops() -> np.ndarray:
    """float32 (styles + 1, 8, 3): soft background colours of each style, around the circle; the last row is for none."""
    hue = np.arange(8) * 45.0 + 20
    rows = [np.stack([np.full(8, s.backdrop[0]), np.full(8, s.backdrop[1]), hue], 1) for s in (*STYLES, NO_STYLE)]
    return to_rgb(np.stack(rows))


def surroundings() -> np.ndarray:
    """float32 (24, 3): colours of rooms, floors, walls and things that cameras meet, from pale to dark."""
    k = np.arange(24)
    return to_rgb(np.stack([0.42 + 0.5 * ((k * 7) % 24) / 23, 0.02 + 0.09 * ((k * 5) % 8) / 7, 15.0 * ((k * 11) % 24)], 1))
