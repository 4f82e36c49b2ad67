"""Kernels that compose whole pictures: what stands behind and before a product in each domain, and what a camera does to it.

catalogue: white, upright, in the middle. web: a soft backdrop in the taste of the style, the product anywhere near the middle, at times
with something beside it. camera: wood, tiles, cloth, grass or a room, with pieces of other things behind and before the product, turned,
shifted, seen from aside, in poor light. collage: several products side by side on a plain ground. scene: several, one before the other,
before a backdrop of the web or of a camera. All that varies is drawn from a stream that belongs to one picture alone.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from corkboard.world.painting import between, clamp, compiled, draw, draw_product, lattice, lay, noise, turn

WEB_BACKDROPS, CAMERA_BACKDROPS, COLLAGE_GROUNDS = 8, 7, 3
"""Kinds of background of each domain; the last one of each can be held out."""
CATALOGUE, WEB, CAMERA, COLLAGE, SCENE = range(5)
MOST = 6
"""Things in a picture at most."""
AT_ONCE, IN_COLLAGE = 4, 5
"""Products in a scene, and in a collage, at most."""
TINTS = ((0.97, 0.93, 0.88), (0.90, 0.94, 0.97), (0.93, 0.96, 0.90), (0.97, 0.91, 0.92), (0.91, 0.91, 0.91))
"""What grounds of collages are tinted with: few, pale and of no style, for all that lies on one ground shares its colour."""
OVERLAP = 0.3
"""Share of the smaller of two squares around products of a scene that may lie in the other, as they are placed."""
_TRIES = 40
LIGHT_SPREAD = (0.0, 0.5, 2.0, 0.0, 1.0)
SHADOW = (0.22, 0.36, 0.45, 0.12, 0.4)
"""By domain: how far (radians) light may come from another side, and how dark shadows are."""


@njit
def _fill(canvas, colour):
    for y in range(canvas.shape[0]):
        for x in range(canvas.shape[1]):
            for k in range(3):
                canvas[y, x, k] = colour[k]


@njit
def _tint(canvas, y, x, colour, share):
    for k in range(3):
        canvas[y, x, k] += (colour[k] - canvas[y, x, k]) * share


@njit
def web_backdrop(canvas, kind, palette, state):
    """A soft background: 0 plain, 1 wall and floor, 2 gradient, 3 arch and floor, 4 two colours, 5 blobs, 6 wallpaper, 7 terrazzo."""
    side = canvas.shape[0]
    first = int(draw(state) * len(palette))
    a, b = palette[first], palette[(first + 1 + int(draw(state) * 3)) % len(palette)]
    pale = 0.35 + 0.5 * draw(state)
    low, angle, size = between(state, 0.58, 0.8), between(state, -1.2, 1.2), between(state, 0.26, 0.40)
    middle, salt = between(state, 0.35, 0.65), int(draw(state) * 1e6)
    cosine, sine = turn(angle)
    _fill(canvas, a)
    soft = 1.0 / side
    for y in range(side):
        for x in range(side):
            s, t = (x + 0.5) / side, (y + 0.5) / side
            if kind == 1 or kind == 3:
                if kind == 3:
                    d = np.sqrt((s - middle) ** 2 + max(0.45 - t, 0.0) ** 2) - size
                    _tint(canvas, y, x, b, 0.8 * clamp(0.5 - d / soft))
                floor = clamp(0.5 + (t - low) / soft)
                for k in range(3):
                    canvas[y, x, k] *= 1 - floor * (0.10 + 0.35 * (t - low))
            elif kind == 2:
                _tint(canvas, y, x, b, clamp(t * cosine + s * sine))
            elif kind == 4:
                _tint(canvas, y, x, b, clamp(0.5 + ((s - middle) * cosine + (t - 0.5) * sine) / soft))
            elif kind == 5:
                _tint(canvas, y, x, b, clamp(0.5 + (noise(s * 2.6, t * 2.6, salt) - 0.52) * 26))
            elif kind == 6:
                w = (s * cosine + t * sine) * (6 + 40 * size * size)
                _tint(canvas, y, x, b, 0.55 * clamp(0.5 + (0.25 - abs(w - np.floor(w) - 0.5)) * 9))
            elif kind == 7:
                _terrazzo(canvas, y, x, s, t, palette, salt)
            glow = 0.06 * (1 - 2 * ((s - 0.4) ** 2 + (t - 0.35) ** 2))
            for k in range(3):
                canvas[y, x, k] = canvas[y, x, k] + (1 - canvas[y, x, k]) * 0.25 * pale + glow - 0.03


@njit
def _terrazzo(canvas, y, x, s, t, palette, salt):
    p, q = s * 9, t * 9
    i, j = np.floor(p), np.floor(q)
    for u in range(-1, 2):
        for v in range(-1, 2):
            cx, cy = i + u + 0.2 + 0.6 * lattice(i + u, j + v, salt), j + v + 0.2 + 0.6 * lattice(i + u, j + v, salt + 1)
            r = 0.12 + 0.26 * lattice(i + u, j + v, salt + 2)
            d = abs(p - cx) * 0.8 + abs(q - cy) * 1.1
            colour = palette[int(lattice(i + u, j + v, salt + 3) * len(palette))]
            for k in range(3):
                canvas[y, x, k] += (colour[k] * 0.8 - canvas[y, x, k]) * clamp((r - d) * 12)


@njit
def camera_backdrop(canvas, kind, palette, state):
    """What things lie on: 0 planks, 1 tiles, 2 checked cloth, 3 grass, 4 concrete, 5 a room, 6 pebbles."""
    side = canvas.shape[0]
    a, b = palette[int(draw(state) * len(palette))], palette[int(draw(state) * len(palette))]
    c = palette[int(draw(state) * len(palette))]
    cosine, sine = turn(between(state, -1.5, 1.5))
    scale, salt = between(state, 3.0, 6.5), int(draw(state) * 1e6)
    low = between(state, 0.5, 0.8)
    _fill(canvas, a)
    for y in range(side):
        for x in range(side):
            s, t = (x + 0.5) / side, (y + 0.5) / side
            p, q = (s * cosine + t * sine) * scale, (t * cosine - s * sine) * scale
            if kind == 0:
                board = np.floor(q)
                tone = 0.72 + 0.4 * lattice(board, 0, salt) + 0.35 * (noise(p * 1.2, q * 11, salt) - 0.5)
                tone *= 1 - 0.55 * clamp((abs(q - board - 0.5) - 0.46) * 30)
                for k in range(3):
                    canvas[y, x, k] = (0.35 * a[k] + 0.65 * (0.62, 0.46, 0.32)[k]) * tone
            elif kind == 1:
                i, j = np.floor(p), np.floor(q)
                grout = max(abs(p - i - 0.5), abs(q - j - 0.5))
                _tint(canvas, y, x, b, 0.8 if (i + j) % 2 == 0 else 0.12 * lattice(i, j, salt))
                for k in range(3):
                    canvas[y, x, k] *= 1 - 0.3 * clamp((grout - 0.455) * 40)
            elif kind == 2:
                i, j = p * 1.2 - np.floor(p * 1.2), q * 1.2 - np.floor(q * 1.2)
                _tint(canvas, y, x, b, 0.5 * ((1.0 if i < 0.5 else 0.0) + (1.0 if j < 0.5 else 0.0)))
                weave = 0.93 + 0.14 * lattice(np.floor(p * 18), np.floor(q * 18), salt)
                for k in range(3):
                    canvas[y, x, k] *= weave
            elif kind == 3:
                blade = noise(p * 9, q * 2.2, salt) * 0.6 + noise(p * 3, q * 3, salt + 1) * 0.5
                for k in range(3):
                    canvas[y, x, k] = (0.25 * a[k] + 0.75 * (0.34, 0.52, 0.24)[k]) * (0.5 + blade)
            elif kind == 4:
                tone = 0.78 + 0.3 * noise(p, q, salt) + 0.14 * noise(p * 7, q * 7, salt + 1)
                for k in range(3):
                    canvas[y, x, k] = (0.45 * a[k] + 0.55 * 0.68) * tone
            elif kind == 5:
                _room(canvas, y, x, s, t, low, b, c, salt)
            else:
                _pebbles(canvas, y, x, p * 1.6, q * 1.6, a, b, salt)


@njit
def _room(canvas, y, x, s, t, low, b, c, salt):
    """A wall with some flat things on it above a floor."""
    for k in range(3):
        x0, y0 = lattice(k, 0, salt) * 0.9, lattice(k, 1, salt) * 0.5
        wide, high = 0.1 + 0.3 * lattice(k, 2, salt), 0.1 + 0.4 * lattice(k, 3, salt)
        if x0 < s < x0 + wide and y0 < t < y0 + high:
            _tint(canvas, y, x, b if k % 2 else c, 0.85)
    if t > low:
        _tint(canvas, y, x, c, 0.9)
        for k in range(3):
            canvas[y, x, k] *= 0.62 + 0.4 * (t - low) + 0.15 * noise(s * 5 / (t - low + 0.2), 3 / (t - low + 0.15), salt)


@njit
def _pebbles(canvas, y, x, p, q, a, b, salt):
    i, j = np.floor(p), np.floor(q)
    nearest, second, tone = 9.0, 9.0, 1.0
    for u in range(-1, 2):
        for v in range(-1, 2):
            cx, cy = i + u + lattice(i + u, j + v, salt), j + v + lattice(i + u, j + v, salt + 1)
            d = np.sqrt((p - cx) ** 2 + (q - cy) ** 2)
            if d < nearest:
                nearest, second, tone = d, nearest, lattice(i + u, j + v, salt + 2)
            elif d < second:
                second = d
    for k in range(3):
        stone = 0.5 * (a[k] * tone + b[k] * (1 - tone)) + 0.3
        canvas[y, x, k] = stone * (0.35 + 0.65 * clamp((second - nearest) * 3.5)) * (1.1 - 0.25 * nearest)


@njit
def collage_ground(canvas, kind, state):
    """What things of a collage lie on: 0 white, 1 a pale tint, 2 a tint that fades upwards."""
    side = canvas.shape[0]
    tint = TINTS[int(draw(state) * len(TINTS))]
    _fill(canvas, (0.995, 0.995, 0.995))
    for y in range(side):
        share = 0.0 if kind == 0 else 1.0 if kind == 1 else (y + 0.5) / side
        for x in range(side):
            _tint(canvas, y, x, tint, share)


@njit
def filtered(canvas, state):
    """What people do to pictures before they show them: exposure, warmth, saturation and a fade towards a pale tone."""
    gain, warm, green = between(state, 0.90, 1.16), between(state, -0.10, 0.10), between(state, -0.05, 0.05)
    full, fade = between(state, 0.65, 1.35), between(state, 0.0, 0.14)
    for y in range(canvas.shape[0]):
        for x in range(canvas.shape[1]):
            r, g, b = canvas[y, x, 0], canvas[y, x, 1], canvas[y, x, 2]
            grey = 0.3 * r + 0.59 * g + 0.11 * b
            r, g, b = grey + (r - grey) * full, grey + (g - grey) * full, grey + (b - grey) * full
            canvas[y, x, 0] = r * gain * (1 + warm) * (1 - fade) + 0.88 * fade
            canvas[y, x, 1] = g * gain * (1 + green) * (1 - fade) + 0.84 * fade
            canvas[y, x, 2] = b * gain * (1 - warm) * (1 - fade) + 0.81 * fade


@njit
def developed(canvas, state, spare):
    """What a camera does: light that falls off, gain 0.7 to 1.2, a cast of 10 %, some blur and noise of 0.03."""
    side = canvas.shape[0]
    cosine, sine = turn(between(state, -3.0, 3.0))
    fall, gain, soft = between(state, 0.0, 0.3), between(state, 0.7, 1.2), between(state, 0.0, 0.9)
    cast = np.array((between(state, 0.9, 1.1), between(state, 0.9, 1.1), between(state, 0.9, 1.1)))
    seed = int(draw(state) * 1e9)
    for k in range(3):
        spare[:] = canvas[:, :, k]
        for y in range(side):
            for x in range(side):
                above, below, left, right = max(y - 1, 0), min(y + 1, side - 1), max(x - 1, 0), min(x + 1, side - 1)
                around = 0.25 * (spare[above, x] + spare[below, x] + spare[y, left] + spare[y, right])
                lit = gain * (1 - fall * (0.5 + ((x + 0.5) / side - 0.5) * cosine + ((y + 0.5) / side - 0.5) * sine))
                value = (spare[y, x] + (around - spare[y, x]) * soft) * lit * cast[k]
                grain = lattice(y, x, seed + k) + lattice(y, x, seed + 3 + k) - 1
                canvas[y, x, k] = value + 0.075 * grain


@njit
def cast_shadow(room, window, light, strength, side):
    """What was just painted laid over the canvas of ``room``, with its shadow."""
    canvas, layer, alpha, _, shadow, spare, line, _ = room
    dx, dy, radius = int(-light[0] * 0.028 * side), int(-light[1] * 0.032 * side), max(int(0.03 * side), 1)
    lay(canvas, layer, alpha, window, shadow, spare, line, strength, dx, dy, radius)


@njit
def put(at, x, y, size, angle, flip, shear, squash):
    """Write where a product stands, as :func:`draw_product` takes it."""
    at[0], at[1], at[2] = x, y, size
    at[3], at[4] = turn(angle)
    at[5], at[6], at[7] = flip, shear, squash


@njit
def light_from(state, spread, light):
    """Write where the light comes from: the upper left, give or take ``spread`` radians."""
    cosine, sine = turn(between(state, -spread, spread))
    light[0], light[1] = -0.6 * cosine + 0.8 * sine, -0.8 * cosine - 0.6 * sine


@njit
def _catalogue_plan(state, at, who):
    """White, in the middle, upright. Plans are (what stands where, from back to front; -1 for the product itself, else another thing)."""
    x, y = 0.5 + between(state, -0.02, 0.02), 0.5 + between(state, -0.02, 0.02)
    put(at[0], x, y, between(state, 0.82, 0.95), between(state, -0.03, 0.03), 1.0, 0.0, 1.0)
    who[0] = -1
    return 1


@njit
def _web_plan(state, others, at, who):
    """The product near the middle; now and then a thing beside it, further back."""
    size, count = between(state, 0.60, 0.95), 0
    x, y = 0.5 + between(state, -0.15, 0.15), 0.5 + between(state, -0.15, 0.15)
    if draw(state) < 0.4:
        side = -1.0 if x > 0.5 else 1.0
        aside, low, small = x + side * between(state, 0.34, 0.5), y + between(state, -0.1, 0.2), between(state, 0.3, 0.45)
        put(at[0], aside, low, small, between(state, -0.2, 0.2), side, 0.0, 1.0)
        who[0], count = int(draw(state) * others), 1
    flip = -1.0 if draw(state) < 0.35 else 1.0
    put(at[count], x, y, size, between(state, -0.16, 0.16), flip, between(state, -0.05, 0.05), 1.0)
    who[count] = -1
    return count + 1


@njit
def _camera_plan(state, others, at, who):
    """Clutter behind, the product turned and shifted and seen from aside, and for three in four something before it."""
    many = 2 + int(draw(state) * 3)
    for k in range(many):
        x, y, size = between(state, -0.05, 1.05), between(state, -0.05, 1.05), between(state, 0.3, 0.75)
        put(at[k], x, y, size, between(state, -1.2, 1.2), 1.0, 0.0, 1.0)
        who[k] = int(draw(state) * others)
    size = between(state, 0.50, 0.86)
    x, y = 0.5 + between(state, -0.2, 0.2), 0.5 + between(state, -0.2, 0.2)
    flip = -1.0 if draw(state) < 0.5 else 1.0
    angle = between(state, -0.25, 0.25) + (between(state, -0.3, 0.3) if draw(state) < 0.4 else 0.0)
    put(at[many], x, y, size, angle, flip, between(state, -0.2, 0.2), between(state, 0.8, 1.05))
    who[many] = -1
    if draw(state) >= 0.75:
        return many + 1
    cosine, sine = turn(between(state, -3.1, 3.1))
    far = between(state, 0.42, 0.62) * size
    put(at[many + 1], x + cosine * far, y + sine * far, between(state, 0.28, 0.5), between(state, -1.0, 1.0), 1.0, 0.0, 1.0)
    who[many + 1] = int(draw(state) * others)
    return many + 2


@njit
def room_for(figures, side):
    """The buffers that pictures of ``side`` pixels are made in: canvas, layer, alpha, distances, two spare ones, a row, shapes."""
    longest = 0
    for topic in range(len(figures.first) - 1):
        longest = max(longest, figures.parts[figures.first[topic + 1] - 1, 1] - figures.parts[figures.first[topic], 0])
    canvas, layer = np.zeros((side, side, 3)), np.zeros((side, side, 3))
    alpha, dist, shadow, spare = np.zeros((side, side)), np.zeros((side, side)), np.zeros((side, side)), np.zeros((side, side))
    return canvas, layer, alpha, dist, shadow, spare, np.zeros(side), np.zeros((longest, figures.shapes.shape[1]))


@njit
def to_bytes(canvas, out):
    """The canvas in whole 255ths."""
    for y in range(canvas.shape[0]):
        for x in range(canvas.shape[1]):
            for k in range(3):
                out[y, x, k] = np.uint8(clamp(canvas[y, x, k]) * 255 + 0.5)


@njit
def _scene_plan(state, many, camera, at, who):
    """Places for ``many`` products: tried again while two squares around them overlap too much, smaller with every try."""
    for k in range(many):
        size = between(state, 0.36, 0.56) if many < 4 else between(state, 0.32, 0.46)
        for _ in range(_TRIES):
            size *= 0.985
            x, y = between(state, 0.5 * size, 1 - 0.5 * size), between(state, 0.5 * size, 1 - 0.5 * size)
            free = True
            for j in range(k):
                wide = min(x + 0.5 * size, at[j, 0] + 0.5 * at[j, 2]) - max(x - 0.5 * size, at[j, 0] - 0.5 * at[j, 2])
                high = min(y + 0.5 * size, at[j, 1] + 0.5 * at[j, 2]) - max(y - 0.5 * size, at[j, 1] - 0.5 * at[j, 2])
                if wide > 0 and high > 0 and wide * high > OVERLAP * min(size, at[j, 2]) ** 2:
                    free = False
            if free:
                break
        spread = 0.25 if camera else 0.12
        flip = -1.0 if draw(state) < 0.4 else 1.0
        put(at[k], x, y, size, between(state, -spread, spread), flip, between(state, -0.1, 0.1) if camera else 0.0, 1.0)
        who[k] = -1


@njit
def _collage_plan(state, many, at, who):
    """Places for ``many`` products that do not touch: the picture is cut, and the largest part again; the last one has most room."""
    cells, spread = np.empty((many, 4)), 0.1
    cells[0, 0], cells[0, 1], cells[0, 2], cells[0, 3] = 0.02, 0.02, 0.98, 0.98
    for k in range(1, many):
        _largest_last(cells, k, False)
        wide, high = cells[k - 1, 2] - cells[k - 1, 0], cells[k - 1, 3] - cells[k - 1, 1]
        axis = 0 if wide > high * between(state, 0.9, 1.1) else 1
        share = between(state, 0.54, 0.66)
        share = 1 - share if draw(state) < 0.5 else share
        cut = cells[k - 1, axis] + share * (cells[k - 1, axis + 2] - cells[k - 1, axis])
        cells[k] = cells[k - 1]
        cells[k - 1, axis + 2], cells[k, axis] = cut, cut
    _largest_last(cells, many, True)
    for k in range(many):
        wide, high = cells[k, 2] - cells[k, 0], cells[k, 3] - cells[k, 1]
        angle, flip = between(state, -spread, spread), -1.0 if draw(state) < 0.4 else 1.0
        reach = min(wide, high) * between(state, 0.82, 0.96)
        x = 0.5 * (cells[k, 0] + cells[k, 2]) + (wide - reach) * between(state, -0.5, 0.5) * 0.9
        y = 0.5 * (cells[k, 1] + cells[k, 3]) + (high - reach) * between(state, -0.5, 0.5) * 0.9
        put(at[k], x, y, reach / (1 + abs(angle)), angle, flip, 0.0, 1.0)
        who[k] = -1


@njit
def _largest_last(cells, many, by_side):
    """The largest of the first ``many`` cells, by its shorter side or by its area, changes places with the last of them."""
    best, most = 0, 0.0
    for k in range(many):
        wide, high = cells[k, 2] - cells[k, 0], cells[k, 3] - cells[k, 1]
        large = min(wide, high) if by_side else wide * high
        if large > most:
            best, most = k, large
    for k in range(4):
        cells[best, k], cells[many - 1, k] = cells[many - 1, k], cells[best, k]


@njit
def box_of(seen, whole, out):
    """Left, top, right, bottom and visible share, all 0 where no pixel is mostly this product."""
    side = len(seen)
    left, top, right, bottom, total = side, side, 0, 0, 0.0
    for y in range(side):
        for x in range(side):
            total += seen[y, x]
            if seen[y, x] >= 0.5:
                left, top, right, bottom = min(left, x), min(top, y), max(right, x + 1), max(bottom, y + 1)
    if right > left:
        out[0], out[1], out[2], out[3], out[4] = left, top, right, bottom, total / whole


@njit
def _noted(alpha, k, seen):
    """What was just painted as the ``k``-th thing of a picture covers what lies behind it: ``seen`` (things, side, side) is kept up."""
    for y in range(alpha.shape[0]):
        for x in range(alpha.shape[1]):
            a = alpha[y, x]
            seen[k, y, x] = a
            for j in range(k):
                seen[j, y, x] *= 1 - a


def _build(sources):
    def paint_pictures(figures, cast, rows, others, domain, seeds, papers, kinds, out, found):
        _ = sources
        side, room = out.shape[1], room_for(figures, out.shape[1])
        canvas, layer, alpha, dist, shadow, _, line, shapes = room
        state, light, at, who = np.empty(1, np.uint64), np.empty(2), np.empty((MOST, 8)), np.empty(MOST, np.int64)
        several, noted = domain in (SCENE, COLLAGE), len(found) > 0
        seen, whole = np.zeros((found.shape[1] if noted else 0, side, side)), np.zeros(MOST)
        backdrops, surroundings = papers
        for n in range(len(out)):
            state[0] = seeds[n]
            light_from(state, LIGHT_SPREAD[domain], light)
            place = domain if domain != SCENE else (CAMERA if draw(state) < 0.5 else WEB)
            kind = kinds[place, 0] + int(draw(state) * (kinds[place, 1] - kinds[place, 0]))
            if place == CATALOGUE:
                canvas[:] = 0.995
            elif place == WEB:
                web_backdrop(canvas, kind, backdrops[cast.style[rows[n, 0]]], state)
            elif place == CAMERA:
                camera_backdrop(canvas, kind, surroundings, state)
            else:
                collage_ground(canvas, kind, state)
            count = 0
            while several and count < rows.shape[1] and rows[n, count] >= 0:
                count += 1
            if domain == SCENE:
                _scene_plan(state, count, place == CAMERA, at, who)
            elif domain == COLLAGE:
                _collage_plan(state, count, at, who)
            elif domain == CATALOGUE:
                count = _catalogue_plan(state, at, who)
            elif domain == WEB:
                count = _web_plan(state, len(others.topic), at, who)
            else:
                count = _camera_plan(state, len(others.topic), at, who)
            for k in range(count):  # one place where things are drawn, or the compiler takes minutes
                drawn, row = (others, who[k]) if who[k] >= 0 else (cast, rows[n, k] if several else rows[n, 0])
                window = draw_product(figures, drawn, row, at[k], light, shapes, dist, line, layer, alpha)
                if noted:
                    _noted(alpha, k, seen)
                    whole[k] = alpha.sum()
                cast_shadow(room, window, light, SHADOW[domain], side)
            if place == WEB:
                filtered(canvas, state)
            elif place == CAMERA:
                developed(canvas, state, shadow)
            to_bytes(canvas, out[n])
            if noted:
                for k in range(count):
                    box_of(seen[k], whole[k], found[n, k])
                    found[n, k, 5] = who[k]

    return paint_pictures


paint_pictures = compiled(_build)
"""``paint_pictures(figures, cast, rows, others, domain, seeds, papers, kinds, out, found)`` draws ``out`` (n, side, side, 3) uint8.

Each from the stream of its seed. ``rows`` (n, things) of ``cast`` are what it shows, of a single product (n, 1); ``others`` what else
may stand about, ``papers`` the colours of backgrounds (of styles, of cameras), ``kinds`` (4, 2) the range of backgrounds of each
domain. ``found`` (n, things, 6) is filled with the box, the share that is seen, and -1 for what ``rows`` name, else the row of
``others``; of single products it has room for MOST things. It may be empty, (0, 0, 6), where nobody asks.
"""
