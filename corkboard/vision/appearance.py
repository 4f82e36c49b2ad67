"""What can be said of how a thing looks: its colours by name, its pattern and its style, each with how sure it is.

    appearance(crops)[0].colours             (Colour("blue", 0.71), Colour("white", 0.22))
    appearance(crops)[0].guesses["pattern"]  Guess("striped", 0.93)

Colours are computed from pixels, without training: the middle of the crop, less a ground that is flat, in OKLCH (Ottosson, 2020), where
equal steps look equal; a name belongs to a range of hues, and to a range of lightness where there is hardly any hue. Pattern, shade and
style are told by a small network (:mod:`corkboard.vision.appearance_network`) that was trained on rendered products beyond any world, in
catalogue, web and camera pictures and as crops of scenes and collages, with confidences that are calibrated on products that it has not
seen. The values that it knows stand in the file of the weights. How likely each value is says more than the likeliest one: these chances
are what the outfit model reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from corkboard.artifacts import Space, write_atomically
from corkboard.errors import ArtifactError, InputError, NotFound

FILE = "appearance.safetensors"
FACETS = ("pattern", "shade", "style")
"""What the reader that comes with the package tells chances of, in their order."""
HEADS = ("pattern", "style")
"""What is guessed of a thing in words; colours say more than a shade."""
SPACE = "appearance"
"""Name of the space of chances."""
HUES: tuple[tuple[str, float], ...] = (
    ("pink", 356.0), ("red", 24.0), ("coral", 39.0), ("orange", 60.0), ("yellow", 95.0), ("lime", 123.0), ("green", 147.0),
    ("teal", 192.0), ("sky blue", 230.0), ("blue", 260.0), ("violet", 289.0), ("purple", 320.0),
)  # fmt: skip
"""Names of hues and where on the circle of OKLCH each lies, in degrees; a hue has the name that is nearest."""
NEUTRALS = ("black", "grey", "white", "beige", "brown")
"""Names of what has hardly any hue; brown is dark orange."""
COLOUR_NAMES = (*(name for name, _ in HUES), *NEUTRALS)
SIDE = 64
"""Pictures are brought to this side, px, for the network."""
_PIXELS = 48
"""About so many pixels a side are counted for the colours."""
_MIDDLE = 0.7
"""Share of the side that is looked at."""
_NEAR = 0.035
"""Distance in OKLab within which a pixel is of the ground."""
_PARTS = ("weight", "bias", "mean", "scale")
_NETWORK = "network/"
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
    """The likeliest value of each of :data:`HEADS`."""
    chances: tuple[float, ...] = ()
    """How likely each value of each facet is, as :meth:`AppearanceReader.chances` has them; () where nobody could tell."""


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
        return chances_of((inputs - self.mean) / self.scale @ self.weight + self.bias, self.temperature)


def chances_of(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """float32 (n, classes), rows summing to 1: the softmax of ``logits`` over ``temperature``."""
    shares = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class FacetWeights:
    """The network that tells facets, as it is kept."""

    names: dict[str, tuple[str, ...]]
    """By facet, what its values are called; in this order are the chances."""
    temperatures: tuple[float, ...]
    """What the logits of each facet are divided by."""
    side: int
    """Side of the pictures that it reads, px."""
    tensors: dict[str, np.ndarray]
    """Of :class:`corkboard.vision.appearance_network.AppearanceNetwork`, float16."""

    @cached_property
    def version(self) -> str:
        """12 hex digits over all that decides the chances."""
        found = blake2b(json.dumps([self.names, self.temperatures, self.side]).encode(), digest_size=6)
        for name, values in sorted(self.tensors.items()):
            found.update(f"{name}{values.shape}".encode() + np.ascontiguousarray(values).tobytes())
        return found.hexdigest()


def save_appearance(
    file: Path, heads: Mapping[str, LinearHead], facets: FacetWeights | None = None, notes: Mapping[str, Any] | None = None
) -> None:
    """Write heads and the network as safetensors, atomically; ``notes`` (JSON) say what they were made of and what they are worth."""
    from safetensors.numpy import save

    tensors = {f"{name}/{part}": np.ascontiguousarray(getattr(head, part), np.float32)
               for name, head in heads.items() for part in _PARTS}  # fmt: skip
    told: dict[str, Any] = {"heads": {name: {"names": head.names, "temperature": head.temperature} for name, head in heads.items()}}
    if facets is not None:
        tensors |= {_NETWORK + name: values for name, values in facets.tensors.items()}
        told["facets"] = {"names": list(facets.names.items()), "temperatures": facets.temperatures, "side": facets.side}
    write_atomically(Path(file), save(tensors, {"appearance": json.dumps(told | {"notes": dict(notes or {})}, sort_keys=True)}))


def load_appearance(file: Path) -> tuple[dict[str, LinearHead], FacetWeights | None, dict[str, Any]]:
    """Heads, network and notes of :func:`save_appearance`.

    Raises :class:`NotFound` without a file, :class:`ArtifactError` where it is another one.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(file).is_file():
        raise NotFound("There are no weights of appearance here", found=str(file), hint="docs/concepts/looks.md names the command.")
    try:
        with safe_open(file, "numpy") as tensors:
            facts = json.loads((tensors.metadata() or {})["appearance"])
            heads = {name: LinearHead(tuple(of["names"]), **{p: tensors.get_tensor(f"{name}/{p}") for p in _PARTS},
                                      temperature=float(of["temperature"])) for name, of in facts["heads"].items()}  # fmt: skip
            facets, of = None, facts.get("facets")
            if of is not None:
                kept = {name[len(_NETWORK) :]: tensors.get_tensor(name) for name in sorted(tensors.keys()) if name.startswith(_NETWORK)}
                facets = FacetWeights({k: tuple(v) for k, v in of["names"]}, tuple(of["temperatures"]), int(of["side"]), kept)
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ArtifactError(f"{file} holds nothing of appearance: {error!r}", expected="safetensors of save_appearance") from None
    return heads, facets, facts["notes"]


def built_in_file() -> Path:
    """Where the weights lie that come with the package."""
    return Path(__file__).parent / "weights" / FILE


@cache
def built_in_heads() -> dict[str, LinearHead]:
    """The linear heads that come with the package: ``picture``, on statistics of pictures."""
    return load_appearance(built_in_file())[0]


def built_in_version() -> str:
    """What :attr:`AppearanceReader.version` of :func:`built_in_reader` is; empty where this copy of the package has no weights."""
    facets = load_appearance(built_in_file())[1] if built_in_file().is_file() else None
    return "" if facets is None else facets.version


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
    """Colours by pixels, and how likely each value of each facet is by what ``tell`` says of pictures.

    ``names`` has the values of each facet; ``tell`` takes uint8 ``(n, 64, 64, 3)`` to float32 ``(n, width)``, the chances of all values,
    facet after facet, those of one facet adding up to 1. ``version`` names what decides them.
    """

    def __init__(self, names: Mapping[str, Sequence[str]], tell: Callable[[np.ndarray], np.ndarray], version: str = ""):
        self.names, self.version, self._tell = {facet: tuple(values) for facet, values in names.items()}, version, tell

    @property
    def width(self) -> int:
        """Values of all facets together."""
        return sum(map(len, self.names.values()))

    @property
    def space(self) -> Space:
        """The space of the chances."""
        return Space(SPACE, self.version)

    def chances(self, crops: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
        """float32 ``(n, width)``: how likely each value of each facet is, of crops uint8 ``(height, width, 3)`` of any size."""
        from corkboard.vision.images import resized

        if not len(crops):
            return np.zeros((0, self.width), np.float32)
        return self._tell(np.concatenate([resized(np.asarray(crop)[None], SIDE) for crop in crops]))

    def read(self, crops: Sequence[np.ndarray] | np.ndarray) -> list[Appearance]:
        """One a crop, each uint8 ``(height, width, 3)`` of any size."""
        return self.read_with(crops, self.chances(crops))

    def read_with(self, crops: Sequence[np.ndarray] | np.ndarray, chances: np.ndarray) -> list[Appearance]:
        """As :meth:`read`, where the chances are there already."""
        colours, begin, parts = [colours_of(_small(crop)) for crop in crops], 0, {}
        for facet, values in self.names.items():
            parts[facet], begin = chances[:, begin : begin + len(values)], begin + len(values)
        best = {facet: part.argmax(axis=1) for facet, part in parts.items() if facet in HEADS}
        return [
            Appearance(
                of,
                {facet: Guess(self.names[facet][at[k]], float(parts[facet][k, at[k]])) for facet, at in best.items()},
                tuple(np.asarray(chances[k], np.float32).tolist()),
            )
            for k, of in enumerate(colours)
        ]


def _small(crop: np.ndarray) -> np.ndarray:
    """The crop with about :data:`_PIXELS` pixels a side at most, and no border of its own: every so many pixels."""
    steps = [max(1, part // _PIXELS) for part in np.shape(crop)[:2]]
    return np.asarray(crop)[:: steps[0], :: steps[1]]


def reader_of(facets: FacetWeights) -> AppearanceReader:
    """The reader with this network. Raises :class:`ArtifactError` where its tensors do not fit."""
    from corkboard.vision.appearance_network import logits_of, restored

    counts = {facet: len(values) for facet, values in facets.names.items()}
    try:
        network = restored(counts, facets.side, facets.tensors).served()
    except RuntimeError as error:
        raise ArtifactError(f"The tensors are of another network: {error}", expected=f"one of {counts}") from None
    ends = np.cumsum(list(counts.values()))[:-1]

    def tell(images: np.ndarray) -> np.ndarray:
        logits = np.split(logits_of(network, images), ends, axis=1)
        return np.concatenate([chances_of(part, heat) for part, heat in zip(logits, facets.temperatures, strict=True)], axis=1)

    return AppearanceReader(facets.names, tell, facets.version)


@cache
def built_in_reader() -> AppearanceReader:
    """The reader that comes with the package. Raises :class:`NotFound` where this copy has no weights of it."""
    facets = load_appearance(built_in_file())[1]
    if facets is None:
        hint = "Make them again: `corkboard experiment appearance`."
        raise NotFound("There is no network in the weights of appearance", found=str(built_in_file()), hint=hint)
    return reader_of(facets)


def appearance(crops: Sequence[np.ndarray] | np.ndarray) -> list[Appearance]:
    """How the things in ``crops`` look, each uint8 ``(height, width, 3)``, by :func:`built_in_reader`."""
    return built_in_reader().read(crops)


def appearance_table(ids: Sequence[str], appearances: Sequence[Appearance]) -> pl.DataFrame:
    """One row an id: its id, colours and shares (lists), a value and a confidence for each of :data:`HEADS`, null where unknown.

    ``chances`` are lists, empty where nobody could tell.
    """
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
    columns["chances"] = [list(one.chances) for one in appearances]
    return pl.DataFrame(columns, schema=schema | {"chances": pl.List(pl.Float32)})


def read_appearances(table: pl.DataFrame) -> list[Appearance]:
    """The appearances of :func:`appearance_table`, row by row."""
    found = []
    for row in table.iter_rows(named=True):
        guesses = {name: Guess(row[name], row[f"{name}_confidence"]) for name in HEADS if row[name] is not None}
        found.append(Appearance(tuple(map(Colour, row["colours"], row["shares"])), guesses, tuple(row["chances"])))
    return found


def chances_matrix(appearances: Sequence[Appearance]) -> np.ndarray | None:
    """float32 ``(n, width)``: the chances of each, zeros where nobody could tell; None where that is so of all.

    Raises :class:`InputError` where some are of other facets than others.
    """
    widths = sorted({len(one.chances) for one in appearances if one.chances})
    if len(widths) > 1:
        raise InputError("Chances are of other facets", found=widths, expected="one width")
    missing = (0.0,) * widths[0] if widths else ()
    return np.array([one.chances or missing for one in appearances], np.float32) if widths else None
