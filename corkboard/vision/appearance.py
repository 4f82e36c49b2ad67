"""What can be said of how a thing looks: its colours by name, its pattern and its style, each with how sure it is.

    appearance(crops)[0].colours             (Colour("blue", 0.71), Colour("white", 0.22))
    appearance(crops)[0].guesses["pattern"]  Guess("striped", 0.93)

Colours are computed from pixels, without training: the middle of the crop, less a ground that is flat, in OKLCH (Ottosson, 2020), where
equal steps look equal; a name belongs to a range of hues, and to a range of lightness where there is hardly any hue. Pattern and style are
linear on what the layers of the trunk that comes with the package say of textures, fitted on rendered products beyond any world, with
confidences that are calibrated on products that the fit has not seen. The values that they know stand in the file of the weights.

Textures are means and deviations of every layer's map, and the products of pairs of channels of the second layer (Gatys et al., CVPR 2016)
at 96 px: on 500 products in catalogue pictures these tell .65 of twelve styles and .55 of six patterns after a fit on 2,200; the trunk's
own output at 48 px, which was trained to find products, .35 and .41.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from corkboard.artifacts import write_atomically
from corkboard.errors import ArtifactError, InputError, NotFound

if TYPE_CHECKING:
    from corkboard.vision.encoder import Trunk

FILE = "appearance.safetensors"
HEADS = ("pattern", "style")
"""What is guessed of a thing."""
HUES: tuple[tuple[str, float], ...] = (
    ("pink", 356.0), ("red", 24.0), ("coral", 39.0), ("orange", 60.0), ("yellow", 95.0), ("lime", 123.0), ("green", 147.0),
    ("teal", 192.0), ("sky blue", 230.0), ("blue", 260.0), ("violet", 289.0), ("purple", 320.0),
)  # fmt: skip
"""Names of hues and where on the circle of OKLCH each lies, in degrees; a hue has the name that is nearest."""
NEUTRALS = ("black", "grey", "white", "beige", "brown")
"""Names of what has hardly any hue; brown is dark orange."""
COLOUR_NAMES = (*(name for name, _ in HUES), *NEUTRALS)
SIDE = 96
"""Pictures are brought to this side, px, for the heads."""
_PIXELS = 48
"""About so many pixels a side are counted for the colours."""
_MIDDLE = 0.7
"""Share of the side that is looked at."""
_AT_ONCE = 64
_NEAR = 0.035
"""Distance in OKLab within which a pixel is of the ground."""
_FLAT = 0.6
"""A ground is flat where so much of the edge is near its median."""
_LEAST_THING = 0.08
"""Share of the middle that has to be left, or it was no ground."""


@dataclass(frozen=True)
class Colour:
    """A colour of a thing, by name, and the share of the thing that has it."""

    name: str
    share: float


@dataclass(frozen=True)
class Guess:
    """A value, and the chance that it is right, in [0, 1]."""

    value: str
    confidence: float


@dataclass(frozen=True)
class Appearance:
    """How one thing looks."""

    colours: tuple[Colour, ...]
    """The colours that cover most of it, at most three, falling by share; none where there was nothing but ground."""
    guesses: Mapping[str, Guess] = field(default_factory=dict)
    """The likeliest value of each head: ``pattern`` and ``style``."""


# --------------------------------------------------------------------------------------------------------------- colours


def oklab(pixels: np.ndarray) -> np.ndarray:
    """float32 (..., 3): lightness in [0, 1], a and b of sRGB ``pixels`` uint8 (..., 3); chroma is the length of (a, b)."""
    coded = np.asarray(pixels, np.float32) / 255
    linear = np.where(coded <= 0.04045, coded / 12.92, ((coded + 0.055) / 1.055) ** 2.4)
    to_cones = np.array([[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
                         [0.0883024619, 0.2817188376, 0.6299787005]])  # fmt: skip
    to_lab = np.array([[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
                       [0.0259040371, 0.7827717662, -0.8086757660]])  # fmt: skip
    return (np.cbrt(linear @ to_cones.T) @ to_lab.T).astype(np.float32)


def colour_names(lab: np.ndarray) -> np.ndarray:
    """int64 (...,): rows of :data:`COLOUR_NAMES` of OKLab colours (..., 3)."""
    light, a, b = np.moveaxis(np.asarray(lab, np.float64), -1, 0)
    chroma, hue = np.hypot(a, b), np.degrees(np.arctan2(b, a)) % 360
    away = np.abs(hue[..., None] - np.array([at for _, at in HUES]))
    named = np.minimum(away, 360 - away).argmin(-1)
    black, grey, white, beige, brown = (COLOUR_NAMES.index(name) for name in NEUTRALS)
    warm = (hue > 35) & (hue < 110)
    pale = chroma < np.where(warm & (light > 0.7), 0.055, 0.036)
    named = np.where(warm & (hue < 95) & (light < 0.55) & (chroma < 0.105), brown, named)
    neutral = np.select([light < 0.32, light > 0.93, warm & (chroma > 0.018) & (light > 0.62)], [black, white, beige], grey)
    return np.where(pale | (light < 0.2), neutral, named).astype(np.int64)


def ground_of(image: np.ndarray) -> tuple[np.ndarray, float, np.ndarray]:
    """The ground of a picture, uint8 ``(height, width, 3)``: its colour, how flat, and where.

    The colour float32 (3,) in OKLab is the median of the edge; the share of the edge that is near it, in [0, 1], says how flat it is;
    bool ``(height, width)`` marks every pixel near it.
    """
    lab = oklab(image)
    edge = np.concatenate([lab[0], lab[-1], lab[:, 0], lab[:, -1]])
    colour = np.median(edge, axis=0)
    near = np.linalg.norm(lab - colour, axis=-1) < _NEAR
    return colour, float((np.linalg.norm(edge - colour, axis=-1) < _NEAR).mean()), near


def colours_of(image: np.ndarray, most: int = 3, least: float = 0.12) -> tuple[Colour, ...]:
    """The colours of the thing in a picture, uint8 ``(height, width, 3)``: at most ``most``, each on at least the share ``least`` of it.

    Only the middle is looked at. A flat ground is left out, unless nothing would be left: then the ground is the thing.
    """
    from corkboard.vision.images import checked

    image = checked(np.asarray(image)[None])[0]
    _, flat, near = ground_of(image)
    height, width = image.shape[:2]
    down, right = (int(part * (1 - _MIDDLE) / 2) for part in (height, width))
    middle = (slice(down, height - down), slice(right, width - right))
    thing = ~near[middle] if flat >= _FLAT else np.ones(near[middle].shape, bool)
    if thing.mean() < _LEAST_THING:
        thing[:] = True
    named = colour_names(oklab(image[middle][thing]))
    shares = np.bincount(named, minlength=len(COLOUR_NAMES)) / len(named)
    order = np.argsort(-shares, kind="stable")[:most]
    return tuple(Colour(COLOUR_NAMES[k], round(float(shares[k]), 4)) for k in order if shares[k] >= least)


# ----------------------------------------------------------------------------------------------------------------- heads


@dataclass(frozen=True)
class LinearHead:
    """A linear classifier of standardised numbers, with calibrated confidence.

    ``p = softmax(((x - mean) / scale @ weight + bias) / temperature)``
    """

    names: tuple[str, ...]
    """What the classes are called, at least two."""
    weight: np.ndarray
    """float32 (width, classes)."""
    bias: np.ndarray
    """float32 (classes,)."""
    mean: np.ndarray
    scale: np.ndarray
    """float32 (width,): what the inputs are standardised with."""
    temperature: float = 1.0

    def __post_init__(self) -> None:
        width, classes = np.shape(self.weight)
        shapes = (np.shape(self.bias), np.shape(self.mean), np.shape(self.scale), len(self.names))
        if shapes != ((classes,), (width,), (width,), classes):
            raise ArtifactError("The parts of a head do not fit", found=shapes, expected=f"{classes} classes, {width} inputs")

    def posteriors(self, inputs: np.ndarray) -> np.ndarray:
        """float32 (n, classes) of ``inputs`` (n, width); rows sum to 1."""
        inputs = np.asarray(inputs, np.float32)
        if inputs.ndim != 2 or inputs.shape[1] != len(self.mean):
            raise InputError("A head reads other numbers", found=inputs.shape, expected=f"(n, {len(self.mean)})")
        logits = ((inputs - self.mean) / self.scale @ self.weight + self.bias) / self.temperature
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


def save_heads(heads: Mapping[str, LinearHead], file: Path, notes: Mapping[str, Any] | None = None) -> None:
    """Write heads as safetensors, atomically; ``notes`` (JSON) say what they were made of and what they are worth."""
    from safetensors.numpy import save

    tensors = {f"{name}/{part}": np.ascontiguousarray(getattr(head, part), np.float32)
               for name, head in heads.items() for part in ("weight", "bias", "mean", "scale")}  # fmt: skip
    facts = {name: {"names": head.names, "temperature": head.temperature} for name, head in heads.items()}
    write_atomically(Path(file), save(tensors, {"appearance": json.dumps({"heads": facts, "notes": dict(notes or {})}, sort_keys=True)}))


def load_heads(file: Path) -> tuple[dict[str, LinearHead], dict[str, Any]]:
    """Heads and notes of :func:`save_heads`. Raises :class:`NotFound` without a file, :class:`ArtifactError` where it is another one."""
    from safetensors import SafetensorError, safe_open

    if not Path(file).is_file():
        raise NotFound("There are no weights of appearance here", found=str(file), hint="docs/concepts/looks.md names the command.")
    try:
        with safe_open(file, "numpy") as tensors:
            facts = json.loads((tensors.metadata() or {})["appearance"])
            parts = ("weight", "bias", "mean", "scale")
            heads = {name: LinearHead(tuple(of["names"]), **{p: tensors.get_tensor(f"{name}/{p}") for p in parts},
                                      temperature=float(of["temperature"])) for name, of in facts["heads"].items()}  # fmt: skip
    except (SafetensorError, KeyError, ValueError) as error:
        raise ArtifactError(f"{file} holds no heads: {error!r}", expected="safetensors that save_heads has written") from None
    return heads, facts["notes"]


def built_in_file() -> Path:
    """Where the heads lie that come with the package."""
    return Path(__file__).parent / "weights" / FILE


@cache
def built_in_heads() -> dict[str, LinearHead]:
    """The heads that come with the package: ``pattern`` and ``style`` on its trunk, ``picture`` on statistics of pictures."""
    return load_heads(built_in_file())[0]


def fitted_head(
    inputs: np.ndarray, classes: np.ndarray, names: Sequence[str], held_out: tuple[np.ndarray, np.ndarray], decay: float = 1e-3
) -> LinearHead:
    """Logistic regression on all rows at once, then a temperature that makes ``held_out`` (inputs, classes) likeliest.

    ``inputs`` (n, width), ``classes`` int64 (n,) rows of ``names``; ``decay`` is the weight of half the squared weights. The minimum is
    unique; nothing is drawn.
    """
    import torch
    from torch.nn import functional

    inputs = np.asarray(inputs, np.float32)
    mean, scale = inputs.mean(0), np.maximum(inputs.std(0), 1e-6)
    x, y = torch.from_numpy((inputs - mean) / scale), torch.from_numpy(np.asarray(classes, np.int64))
    weight = torch.zeros(x.shape[1], len(names), requires_grad=True)
    bias = torch.zeros(len(names), requires_grad=True)
    _least([weight, bias], lambda: functional.cross_entropy(x @ weight + bias, y) + 0.5 * decay * (weight**2).sum())
    head = LinearHead(tuple(names), weight.detach().numpy(), bias.detach().numpy(), mean, scale)
    others, truth = held_out
    logits = torch.from_numpy((np.asarray(others, np.float32) - mean) / scale @ head.weight + head.bias)
    target, log_heat = torch.from_numpy(np.asarray(truth, np.int64)), torch.zeros(1, requires_grad=True)
    _least([log_heat], lambda: functional.cross_entropy(logits / log_heat.exp(), target))
    return LinearHead(head.names, head.weight, head.bias, head.mean, head.scale, float(log_heat.detach().exp()))


def _least(parameters: list[Any], loss_of: Callable[[], Any]) -> None:
    """Bring ``parameters`` to where ``loss_of`` is least, in place, by L-BFGS."""
    import torch

    optimizer = torch.optim.LBFGS(parameters, max_iter=200, history_size=20, line_search_fn="strong_wolfe")

    def step() -> Any:
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        return loss

    optimizer.step(step)


# ------------------------------------------------------------------------------------------------------------ everything


class AppearanceReader:
    """Colours by pixels, and the heads ``pattern`` and ``style`` on what ``features`` says of pictures.

    ``features`` takes uint8 ``(n, 96, 96, 3)`` to float32 ``(n, width)``.
    """

    def __init__(self, heads: Mapping[str, LinearHead], features: Callable[[np.ndarray], np.ndarray]):
        self.heads = {name: head for name, head in heads.items() if name in HEADS}
        self.features = features

    def read(self, crops: Sequence[np.ndarray] | np.ndarray) -> list[Appearance]:
        """One a crop, each uint8 ``(height, width, 3)`` of any size."""
        from corkboard.vision.images import resized

        if not len(crops):
            return []
        small = np.concatenate([resized(np.asarray(crop)[None], SIDE) for crop in crops])
        return self.read_with(crops, self.features(small))

    def read_with(self, crops: Sequence[np.ndarray] | np.ndarray, features: np.ndarray) -> list[Appearance]:
        """As :meth:`read`, where the features are there already."""
        colours = [colours_of(_small(crop)) for crop in crops]
        posteriors = {name: head.posteriors(features) for name, head in self.heads.items()}
        best = {name: shares.argmax(axis=1) for name, shares in posteriors.items()}
        return [
            Appearance(of, {name: Guess(self.heads[name].names[at[k]], float(posteriors[name][k, at[k]])) for name, at in best.items()})
            for k, of in enumerate(colours)
        ]


def _small(crop: np.ndarray) -> np.ndarray:
    """The crop with about :data:`_PIXELS` pixels a side at most, and no border of its own: every so many pixels."""
    steps = [max(1, part // _PIXELS) for part in np.shape(crop)[:2]]
    return np.asarray(crop)[:: steps[0], :: steps[1]]


def texture_features(trunk: Trunk, images: np.ndarray) -> np.ndarray:
    """float32 ``(n, width)`` of uint8 ``(n, height, width, 3)``: what the layers of a convolutional trunk say of textures at 96 px.

    Raises :class:`InputError` for a trunk of another kind.
    """
    import torch

    from corkboard.vision.cnn import ConvTrunk
    from corkboard.vision.images import resized, to_tensor

    if not isinstance(trunk, ConvTrunk):
        raise InputError("Textures are read from the layers of a convolutional trunk", found=type(trunk).__name__)
    served, found = trunk.served(), []
    assert isinstance(served, ConvTrunk)
    with torch.inference_mode():
        for start in range(0, len(images), _AT_ONCE):
            maps = [to_tensor(resized(images[start : start + _AT_ONCE], SIDE), trunk.mean, trunk.std)]
            for block in served.blocks:
                maps.append(block(maps[-1]))
            flat = maps[2].flatten(2)
            first, second = torch.triu_indices(flat.shape[1], flat.shape[1])
            together = (flat @ flat.transpose(1, 2) / flat.shape[2])[:, first, second].clamp(min=0).log1p()
            parts = [part for of in maps[1:] for part in (of.mean((2, 3)), of.std((2, 3)))]
            found.append(torch.cat([*parts, together], dim=1).numpy())
    return np.concatenate(found) if found else np.zeros((0, 0), np.float32)


@cache
def built_in_reader() -> AppearanceReader:
    """The reader on the trunk and the heads that come with the package. Raises :class:`NotFound` where this copy has none of them."""
    from corkboard.vision.encoder import digest
    from corkboard.vision.trunk import built_in_trunk

    trunk = built_in_trunk()
    heads, notes = load_heads(built_in_file())
    if notes.get("trunk") != digest(trunk.state_dict()):
        hint = "Make them again: `corkboard experiment appearance`."
        raise ArtifactError("The heads of appearance are of another trunk", found=notes.get("trunk"), hint=hint)
    return AppearanceReader(heads, lambda images: texture_features(trunk, images))


def appearance(crops: Sequence[np.ndarray] | np.ndarray) -> list[Appearance]:
    """How the things in ``crops`` look, each uint8 ``(height, width, 3)``, by :func:`built_in_reader`."""
    return built_in_reader().read(crops)


def appearance_table(ids: Sequence[str], appearances: Sequence[Appearance]) -> pl.DataFrame:
    """One row an id: item_id, colours and shares (lists), and a value and a confidence for each of :data:`HEADS`, null where unknown."""
    columns: dict[str, Any] = {
        "item_id": list(ids),
        "colours": [[colour.name for colour in one.colours] for one in appearances],
        "shares": [[colour.share for colour in one.colours] for one in appearances],
    }
    schema: dict[str, Any] = {"item_id": pl.String, "colours": pl.List(pl.String), "shares": pl.List(pl.Float32)}
    for name in HEADS:
        guesses = [one.guesses.get(name) for one in appearances]
        columns[name] = [None if guess is None else guess.value for guess in guesses]
        columns[f"{name}_confidence"] = [None if guess is None else guess.confidence for guess in guesses]
        schema |= {name: pl.String, f"{name}_confidence": pl.Float32}
    return pl.DataFrame(columns, schema=schema)


def read_appearances(table: pl.DataFrame) -> list[Appearance]:
    """The appearances of :func:`appearance_table`, row by row."""
    found = []
    for row in table.iter_rows(named=True):
        guesses = {name: Guess(row[name], row[f"{name}_confidence"]) for name in HEADS if row[name] is not None}
        found.append(Appearance(tuple(map(Colour, row["colours"], row["shares"])), guesses))
    return found
