"""Kernels that paint one thing: signed distances of its shapes, patterns, relief, and how it is laid over a picture.

Everything is plain arithmetic and square roots, in a fixed order: no fast mathematics, no sine or power of a library. So the same
numbers give the same bytes on every machine and with any number of threads. A thing is painted into a layer of its own, from back to
front, and then laid over the picture with a soft shadow.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit

from corkboard.world.shapes import ARC, BOX, CAPSULE, CUT, ELLIPSE, POLYGON, WITHIN

FAR = 1e3
PLAIN, STRIPED, DOTTED, CHECKED, FLORAL, GRADIENT = range(6)
_GOLDEN, _MIX_1, _MIX_2 = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_U27, _U30, _U31, _U11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
_UNIT = 2.0**-53
_DARK, _LIGHT = 3, 4


def compiled(build: Callable[[int], Callable]) -> Callable:
    """The kernel that ``build`` makes, compiled once and kept on disk for as long as no kernel here or beside it changes.

    Numba looks at the file of a kernel alone to tell whether what it kept is old, not at the kernels that it calls; but also at what a
    closure holds. So ``build`` takes a number that stands for all the sources, and its kernel must mention it.
    """
    sources = sorted(path.read_bytes() for path in Path(__file__).parent.glob("*.py") if b"njit" in path.read_bytes())
    return njit(cache=True, nogil=True)(build(int.from_bytes(blake2b(b"".join(sources), digest_size=6).digest(), "little")))


class Cast(NamedTuple):
    """What the kernels know of products, one row each."""

    topic: np.ndarray
    """int64 (n,)."""
    pattern: np.ndarray
    """int64 (n,): 0 to 5."""
    style: np.ndarray
    """int64 (n,): -1 where missing."""
    choice: np.ndarray
    """int64 (n, 3): which of the variants of its parts it has."""
    shape: np.ndarray
    """float64 (n, groups, 2): factors on width and height of each group of parts."""
    aspect: np.ndarray
    """float64 (n,): factor on width; height is divided by it."""
    colours: np.ndarray
    """float32 (n, slots, 3)."""
    weave: np.ndarray
    """float64 (n, 4): frequency, cosine and sine of the angle, and phase of the pattern."""
    finish: np.ndarray
    """float32 (n, 9): see ``palettes.finishes``."""
    key: np.ndarray
    """uint64 (n,)."""


@njit
def mix(value):
    """The finaliser of SplitMix64: a word whose bits look drawn, for every word."""
    value = (value ^ (value >> _U30)) * _MIX_1
    value = (value ^ (value >> _U27)) * _MIX_2
    return value ^ (value >> _U31)


@njit
def draw(state):
    """The next uniform number of a stream; ``state`` is a uint64 array of one word."""
    state[0] += _GOLDEN
    return (mix(state[0]) >> _U11) * _UNIT


@njit
def between(state, low, high):
    """A uniform number of [low, high)."""
    return low + (high - low) * draw(state)


@njit
def clamp(value):
    """``value`` within 0 to 1."""
    return min(max(value, 0.0), 1.0)


@njit
def lattice(a, b, salt):
    """A uniform number of a cell of a grid."""
    word = np.uint64(np.int64(a) * 73856093) ^ np.uint64(np.int64(b) * 19349663) ^ (np.uint64(salt) * _GOLDEN)
    return (mix(word + _GOLDEN) >> _U11) * _UNIT


@njit
def noise(x, y, salt):
    """Smooth noise of 0 to 1 that changes over about one unit."""
    i, j = np.floor(x), np.floor(y)
    fx, fy = x - i, y - j
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    top = lattice(i, j, salt) * (1 - fx) + lattice(i + 1, j, salt) * fx
    low = lattice(i, j + 1, salt) * (1 - fx) + lattice(i + 1, j + 1, salt) * fx
    return top * (1 - fy) + low * fy


@njit
def turn(angle):
    """Cosine and sine of a small or medium angle (radians): both from the tangent of its half, by a short series, always of length 1."""
    half = 0.25 * angle
    t = half * (1 + half * half / 3 * (1 + 0.4 * half * half))
    c, s = (1 - t * t) / (1 + t * t), 2 * t / (1 + t * t)
    return c * c - s * s, 2 * c * s


# --------------------------------------------------------------------------------------------------------------- distances


@njit
def formed(figures, cast, row, shapes):
    """The shapes of a product with its own proportions, written to ``shapes``; (left, top, right, bottom) of what is painted."""
    topic = cast.topic[row]
    wide, high = cast.aspect[row], 1 / cast.aspect[row]
    frame = np.array((FAR, FAR, -FAR, -FAR))
    base = figures.parts[figures.first[topic], 0]
    for p in range(figures.first[topic], figures.first[topic + 1]):
        group, choice = figures.parts[p, 4], figures.parts[p, 5]
        ax, ay, share = figures.anchors[topic, group]
        sx, sy = 1 + share * (cast.shape[row, group, 0] - 1), 1 + share * (cast.shape[row, group, 1] - 1)
        shown = choice < 0 or cast.choice[row, choice] == figures.parts[p, 6]
        for k in range(figures.parts[p, 0], figures.parts[p, 1]):
            to = shapes[k - base]
            to[:] = figures.shapes[k]
            _scale(to, ax * to[-1], ay, sx, sy, wide, high)
            if shown and to[1] != CUT and to[1] != WITHIN:
                _frame(to, frame)
    return frame[0], frame[1], frame[2], frame[3]


@njit
def _scale(s, ax, ay, sx, sy, wide, high):
    """Points of a shape scaled about its group's anchor, then the aspect; lengths likewise."""
    kind = int(s[0])
    points = 1
    first = 3
    if kind == CAPSULE:
        points = 2
    elif kind == POLYGON:
        points, first = int(s[3]), 5
    for k in range(points):
        s[first + 2 * k] = (ax + (s[first + 2 * k] - ax) * sx) * wide
        s[first + 2 * k + 1] = (ay + (s[first + 2 * k + 1] - ay) * sy) * high
    fx, fy = sx * wide, sy * high
    mean = np.sqrt(fx * fy)
    if kind in (BOX, ELLIPSE):
        c2 = s[8] * s[8]
        s[5] *= fx * c2 + fy * (1 - c2)
        s[6] *= fy * c2 + fx * (1 - c2)
        s[7] *= min(fx, fy)
    elif kind == CAPSULE:
        s[7] *= mean
        s[8] *= mean
    elif kind == ARC:
        s[5] *= mean
        s[6] *= mean
    else:
        s[4] *= mean


@njit
def _frame(s, frame):
    """``frame`` widened by a shape."""
    kind = int(s[0])
    if kind in (BOX, ELLIPSE):
        c, q = abs(s[8]), abs(s[9])
        _widen(frame, s[3], s[4], s[5] * c + s[6] * q, s[5] * q + s[6] * c)
    elif kind == CAPSULE:
        _widen(frame, s[3], s[4], s[7], s[7])
        _widen(frame, s[5], s[6], s[8], s[8])
    elif kind == ARC:
        middle, half = s[5] + s[6] * 0.5, s[5] * 0.72
        _widen(frame, s[3] + s[7] * half, s[4] + s[8] * half, middle - half * abs(s[7]), middle - half * abs(s[8]))
    else:
        for k in range(int(s[3])):
            _widen(frame, s[5 + 2 * k], s[6 + 2 * k], s[4], s[4])


@njit
def _widen(frame, x, y, rx, ry):
    frame[0], frame[1] = min(frame[0], x - rx), min(frame[1], y - ry)
    frame[2], frame[3] = max(frame[2], x + rx), max(frame[3], y + ry)


@njit
def _row_of_distances(s, u, v, du, dv, x0, x1, out):
    """Signed distance of one shape along a row of pixels; (u, v) is the object point of pixel ``x0``."""
    kind = int(s[0])
    if kind == BOX:
        for x in range(x0, x1):
            a, b = u + (x - x0) * du - s[3], v + (x - x0) * dv - s[4]
            p, q = abs(a * s[8] + b * s[9]) - s[5] + s[7], abs(b * s[8] - a * s[9]) - s[6] + s[7]
            px, qx = max(p, 0.0), max(q, 0.0)
            out[x] = np.sqrt(px * px + qx * qx) + min(max(p, q), 0.0) - s[7]
    elif kind == ELLIPSE:
        for x in range(x0, x1):
            a, b = u + (x - x0) * du - s[3], v + (x - x0) * dv - s[4]
            p, q = (a * s[8] + b * s[9]) / s[5], (b * s[8] - a * s[9]) / s[6]
            near = np.sqrt(p * p + q * q)
            slope = np.sqrt((p / s[5]) ** 2 + (q / s[6]) ** 2)
            out[x] = near * (near - 1) / slope if slope > 1e-9 else -min(s[5], s[6])
    elif kind == CAPSULE:
        ex, ey = s[5] - s[3], s[6] - s[4]
        length = max(ex * ex + ey * ey, 1e-12)
        for x in range(x0, x1):
            a, b = u + (x - x0) * du - s[3], v + (x - x0) * dv - s[4]
            h = min(max((a * ex + b * ey) / length, 0.0), 1.0)
            p, q = a - h * ex, b - h * ey
            out[x] = np.sqrt(p * p + q * q) - (s[7] + (s[8] - s[7]) * h)
    elif kind == ARC:
        for x in range(x0, x1):
            a, b = u + (x - x0) * du - s[3], v + (x - x0) * dv - s[4]
            p, q = abs(b * s[7] - a * s[8]), a * s[7] + b * s[8]
            if p * s[9] > q * s[10]:
                p, q = p - s[5] * s[10], q - s[5] * s[9]
                out[x] = np.sqrt(p * p + q * q) - 0.5 * s[6]
            else:
                out[x] = abs(np.sqrt(p * p + q * q) - s[5]) - 0.5 * s[6]
    else:
        _row_of_polygon(s, u, v, du, dv, x0, x1, out)


@njit
def _row_of_polygon(s, u, v, du, dv, x0, x1, out):
    """:func:`_row_of_distances` of a polygon: distance to the nearest edge, its sign by crossings."""
    n = int(s[3])
    for x in range(x0, x1):
        a, b = u + (x - x0) * du, v + (x - x0) * dv
        nearest, inside = 1e9, False
        j = n - 1
        for i in range(n):
            ix, iy, jx, jy = s[5 + 2 * i], s[6 + 2 * i], s[5 + 2 * j], s[6 + 2 * j]
            ex, ey, wx, wy = jx - ix, jy - iy, a - ix, b - iy
            h = min(max((wx * ex + wy * ey) / max(ex * ex + ey * ey, 1e-12), 0.0), 1.0)
            p, q = wx - ex * h, wy - ey * h
            nearest = min(nearest, p * p + q * q)
            if (iy > b) != (jy > b) and a < ix + (b - iy) * ex / ey:
                inside = not inside
            j = i
        out[x] = (-np.sqrt(nearest) if inside else np.sqrt(nearest)) - s[4]


@njit
def distances(shapes, first, last, place, x0, y0, x1, y1, row, dist):
    """Signed distance (object units) of one part to every pixel of a window of ``dist``; ``place`` is pixel to object, (6,)."""
    for y in range(y0, y1):
        u, v = place[0] * (x0 + 0.5) + place[1] * (y + 0.5) + place[2], place[3] * (x0 + 0.5) + place[4] * (y + 0.5) + place[5]
        line = dist[y]
        for k in range(first, last):
            s = shapes[k]
            _row_of_distances(s, u, v, place[0], place[3], x0, x1, row)
            if k == first:
                line[x0:x1] = row[x0:x1]
            elif s[1] == CUT:
                for x in range(x0, x1):
                    line[x] = max(line[x], -row[x])
            elif s[1] == WITHIN:
                for x in range(x0, x1):
                    line[x] = max(line[x], row[x])
            elif s[2] > 0:
                for x in range(x0, x1):
                    h = max(s[2] - abs(line[x] - row[x]), 0.0) / s[2]
                    line[x] = min(line[x], row[x]) - h * h * s[2] * 0.25
            else:
                for x in range(x0, x1):
                    line[x] = min(line[x], row[x])


# ----------------------------------------------------------------------------------------------------------------- paint


@njit
def _band(s, soft):
    """1 within the first half of each period of ``s``, 0 in the other, with an edge as wide as a pixel."""
    return clamp(0.5 + (0.25 - abs(s - np.floor(s) - 0.5)) / soft)


@njit
def woven(pattern, u, v, weave, pixel, salt):
    """How much of the second and of the third colour a pattern shows at an object point; ``pixel`` is the width of one there."""
    a, b = u * weave[1] + v * weave[2], v * weave[1] - u * weave[2]
    if pattern == GRADIENT:
        return clamp(0.5 + 0.62 * a), 0.0
    s, t = a * weave[0] + weave[3], b * weave[0] + weave[3]
    soft = max(pixel * weave[0], 1e-6)
    if pattern == STRIPED:
        return _band(s, soft), 0.0
    if pattern == CHECKED:
        return 0.5 * (_band(s, soft) + _band(t, soft)), 0.0
    i = np.floor(s)
    if pattern == DOTTED:
        t += 0.5 * (i - 2 * np.floor(0.5 * i))
        p, q = s - i - 0.5, t - np.floor(t) - 0.5
        return clamp(0.5 + (0.29 - np.sqrt(p * p + q * q)) / soft), 0.0
    t += 0.5 * (i - 2 * np.floor(0.5 * i))
    j = np.floor(t)
    p, q = s - i - 0.5 + 0.16 * (lattice(i, j, salt) - 0.5), t - j - 0.5 + 0.16 * (lattice(i, j, salt + 1) - 0.5)
    near = 1e3
    c, d = 1.0, 0.0
    for _ in range(5):
        near = min(near, (p - 0.22 * c) ** 2 + (q - 0.22 * d) ** 2)
        c, d = c * 0.30901699437494745 - d * 0.9510565162951535, c * 0.9510565162951535 + d * 0.30901699437494745
    return clamp(0.5 + (0.155 - np.sqrt(near)) / soft), clamp(0.5 + (0.115 - np.sqrt(p * p + q * q)) / soft)


@njit
def paint(figures, cast, row, part, place, x0, y0, x1, y1, light, dist, layer, alpha):
    """One part, whose distances are known, painted over a layer (premultiplied). ``light`` is where light comes from, (2,)."""
    slot, woven_on, trimmed = figures.parts[part, 2], figures.parts[part, 3], figures.parts[part, 7]
    tone, relief = figures.paint[part, 0], figures.paint[part, 1]
    colour, colours, finish = cast.colours[row, slot], cast.colours[row], cast.finish[row]
    pixel = np.sqrt(place[0] * place[0] + place[3] * place[3])
    pattern = cast.pattern[row] if woven_on else PLAIN
    salt = np.int64(cast.key[row] >> np.uint64(40))
    dark, edge = colours[_DARK], colours[int(finish[8])]
    line, ink, bulge = finish[0], finish[1], finish[2] * max(relief, 0.0)
    for y in range(y0, y1):
        for x in range(x0, x1):
            d = dist[y, x]
            cover = 0.5 - d / pixel
            if cover <= 0:
                continue
            cover = min(cover, 1.0)
            u, v = place[0] * (x + 0.5) + place[1] * (y + 0.5) + place[2], place[3] * (x + 0.5) + place[4] * (y + 0.5) + place[5]
            r, g, b = colour[0] * tone, colour[1] * tone, colour[2] * tone
            if pattern != PLAIN:
                second, third = woven(pattern, u, v, cast.weave[row], pixel, salt)
                r, g, b = _mixed(r, g, b, colours[1], second, tone)
                r, g, b = _mixed(r, g, b, colours[2], third, tone)
            if trimmed and finish[6] > 0:
                r, g, b = _mixed(r, g, b, edge, _trim(finish, -d, u, v, pixel), 1.0)
            shade = 1.0 - 0.05 * v * relief if relief > 0 else 1.0
            if relief >= 0 and line > 0:
                r, g, b = _mixed(r, g, b, dark, ink * clamp(0.5 + (line + d) / pixel), 1.0)
            if bulge > 0:
                rim = clamp(1 + d / 0.20)
                ax, bx, ay, by = max(x - 1, x0), min(x + 1, x1 - 1), max(y - 1, y0), min(y + 1, y1 - 1)
                gx, gy = (dist[y, bx] - dist[y, ax]) / pixel * 0.5, (dist[by, x] - dist[ay, x]) / pixel * 0.5
                shade += bulge * 0.30 * rim * rim * (gx * light[0] + gy * light[1])
                if finish[3] > 0 and woven_on:
                    streak = clamp(1 - abs(u + 0.55 * v + 0.42) / 0.13)
                    shade += 0.28 * finish[3] * streak * streak
            if finish[4] > 0:
                shade += 0.16 * finish[4] * (noise(u * 26, v * 9, salt) - 0.5)
            alpha[y, x] = cover + alpha[y, x] * (1 - cover)
            layer[y, x, 0] = layer[y, x, 0] * (1 - cover) + min(max(r * shade, 0.0), 1.0) * cover
            layer[y, x, 1] = layer[y, x, 1] * (1 - cover) + min(max(g * shade, 0.0), 1.0) * cover
            layer[y, x, 2] = layer[y, x, 2] * (1 - cover) + min(max(b * shade, 0.0), 1.0) * cover


@njit
def _mixed(r, g, b, other, share, tone):
    keep = 1 - share
    return r * keep + other[0] * tone * share, g * keep + other[1] * tone * share, b * keep + other[2] * tone * share


@njit
def _trim(finish, depth, u, v, pixel):
    """How much of the trim shows at a depth (object units) below the edge."""
    wide = 0.5 * finish[6]
    shown = clamp(0.5 + (wide - abs(depth - finish[5] - wide)) / pixel)
    if finish[7] > 0:
        shown *= _band((u + v) * finish[7], pixel * finish[7] * 1.5)
    return shown


@njit
def placed(frame, side, x, y, size, cosine, sine, flip, shear, squash, place):
    """Write to ``place`` how pixels become object points, for a product whose ``frame`` is fitted into ``size`` of the picture, its middle

    at (x, y) (shares of the side), turned, mirrored (``flip`` -1), sheared and squashed in height. Returns pixels a unit.
    """
    middle_x, middle_y = 0.5 * (frame[0] + frame[2]), 0.5 * (frame[1] + frame[3])
    unit = size * side / max(frame[2] - frame[0], frame[3] - frame[1])
    # forward: (p, q) = unit * R * [[flip, shear], [0, squash]] * (object - middle)
    a, b = unit * cosine * flip, unit * (cosine * shear - sine * squash)
    c, d = unit * sine * flip, unit * (sine * shear + cosine * squash)
    under = a * d - b * c
    place[0], place[1], place[3], place[4] = d / under, -b / under, -c / under, a / under
    place[2] = middle_x - place[0] * x * side - place[1] * y * side
    place[5] = middle_y - place[3] * x * side - place[4] * y * side
    return unit


@njit
def draw_product(figures, cast, row, at, light, shapes, dist, line, layer, alpha):
    """Paint a product into an empty layer. ``at``: (x, y, size, cosine, sine, flip, shear, squash), as :func:`placed` takes them.

    Returns the window (left, top, right, bottom) in pixels that it may have touched.
    """
    side = alpha.shape[0]
    frame = formed(figures, cast, row, shapes)
    place = np.empty(6)
    placed(frame, side, at[0], at[1], at[2], at[3], at[4], at[5], at[6], at[7], place)
    topic = cast.topic[row]
    base = figures.parts[figures.first[topic], 0]
    window = np.array((side, side, 0, 0))
    for p in range(figures.first[topic], figures.first[topic + 1]):
        choice = figures.parts[p, 5]
        if choice >= 0 and cast.choice[row, choice] != figures.parts[p, 6]:
            continue
        first, last = figures.parts[p, 0] - base, figures.parts[p, 1] - base
        x0, y0, x1, y1 = _window(shapes, first, last, place, side)
        if x0 >= x1 or y0 >= y1:
            continue
        distances(shapes, first, last, place, x0, y0, x1, y1, line, dist)
        paint(figures, cast, row, p, place, x0, y0, x1, y1, light, dist, layer, alpha)
        window[0], window[1] = min(window[0], x0), min(window[1], y0)
        window[2], window[3] = max(window[2], x1), max(window[3], y1)
    return window[0], window[1], window[2], window[3]


@njit
def _window(shapes, first, last, place, side):
    """The pixels that the shapes of a part can touch."""
    frame = np.array((FAR, FAR, -FAR, -FAR))
    for k in range(first, last):
        if shapes[k, 1] != CUT and shapes[k, 1] != WITHIN:
            _frame(shapes[k], frame)
    under = place[0] * place[4] - place[1] * place[3]
    left, top, right, bottom = FAR * FAR, FAR * FAR, -FAR * FAR, -FAR * FAR
    for k in range(4):
        a, b = (frame[0] if k % 2 else frame[2]) - place[2], (frame[1] if k < 2 else frame[3]) - place[5]
        x, y = (a * place[4] - b * place[1]) / under, (b * place[0] - a * place[3]) / under
        left, top, right, bottom = min(left, x), min(top, y), max(right, x), max(bottom, y)
    x0, y0 = max(int(np.floor(left)) - 1, 0), max(int(np.floor(top)) - 1, 0)
    return x0, y0, min(int(np.ceil(right)) + 2, side), min(int(np.ceil(bottom)) + 2, side)


# ------------------------------------------------------------------------------------------------------------------- laid


@njit
def blurred(values, radius, x0, y0, x1, y1, spare, totals):
    """A window of ``values`` blurred in place by a box of ``2 radius + 1`` pixels, twice over each axis; nothing lies outside."""
    share = 1.0 / (2 * radius + 1)
    for _ in range(2):
        for y in range(y0, y1):
            total = 0.0
            for x in range(x0, min(x0 + radius, x1)):
                total += values[y, x]
            for x in range(x0, x1):
                if x + radius < x1:
                    total += values[y, x + radius]
                if x - radius - 1 >= x0:
                    total -= values[y, x - radius - 1]
                spare[y, x] = total * share
        totals[x0:x1] = 0.0
        for y in range(y0, min(y0 + radius, y1)):
            for x in range(x0, x1):
                totals[x] += spare[y, x]
        for y in range(y0, y1):
            if y + radius < y1:
                for x in range(x0, x1):
                    totals[x] += spare[y + radius, x]
            if y - radius - 1 >= y0:
                for x in range(x0, x1):
                    totals[x] -= spare[y - radius - 1, x]
            for x in range(x0, x1):
                values[y, x] = totals[x] * share


@njit
def lay(canvas, layer, alpha, window, shadow, spare, totals, strength, dx, dy, radius):
    """The layer over the canvas, above a soft shadow that falls ``(dx, dy)`` pixels away; the layer is empty afterwards.

    ``window`` (left, top, right, bottom) holds all that is painted.
    """
    side = alpha.shape[0]
    reach = 2 * radius + max(abs(dx), abs(dy)) + 1
    x0, y0, x1, y1 = max(window[0] - reach, 0), max(window[1] - reach, 0), min(window[2] + reach, side), min(window[3] + reach, side)
    shadow[y0:y1, x0:x1] = alpha[y0:y1, x0:x1]
    blurred(shadow, radius, x0, y0, x1, y1, spare, totals)
    for y in range(y0, y1):
        for x in range(x0, x1):
            keep = 1 - alpha[y, x]
            if keep > 0 and y0 <= y - dy < y1 and x0 <= x - dx < x1:
                keep *= 1 - strength * min(max(shadow[y - dy, x - dx], 0.0), 1.0)
            for k in range(3):
                canvas[y, x, k] = canvas[y, x, k] * keep + layer[y, x, k]
                layer[y, x, k] = 0.0
            alpha[y, x] = 0.0
