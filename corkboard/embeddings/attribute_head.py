"""Missing category, colour and brand of products, filled from their vectors with a confidence that means what it says.

    attribute a:   p(value | vector) = softmax((W' vector + b) / T);   confidence = sigmoid(slope * log odds of the likeliest + offset)

Each attribute is a multinomial logistic regression on the products that say it. On products that the weights never saw, one temperature an
attribute is fitted to all probabilities (Guo et al., ICML 2017), and then a line to the log odds that the likeliest value is right (Platt,
1999): among the values that are filled with confidence 0.8, about four in five are right. The second step is for attributes that some
products spell out and others do not tell at all, such as the brand; one temperature is wrong for both. Neither changes which value is the
likeliest, nor which product is surer. Values of few products are one class together, "unknown": a product is held against it like against
any value, and where it is the likeliest nothing is filled. What a product says itself is never overwritten.

Calibration holds for products like those that were learned from. Which products lack a value is the merchants' doing and no random draw,
so measure on values that were said and hidden (:func:`measure_hidden`), and read that as the best case. The vectors must be made without
the fields that are filled, also those of the products that say them (:func:`unsaid`): a head that reads the category in a vector has
nothing to read where it is missing, and is sure all the same. Fitting and filling are NumPy and SciPy alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np
import polars as pl

from corkboard.artifacts import Artifact, EmbeddingTable, Space
from corkboard.embeddings.attribute_config import AttributeHeadConfig
from corkboard.errors import ArtifactError, InputError, NotFound
from corkboard.metrics.prediction import calibration
from corkboard.seeds import generator

FILLED_SCHEMA = {"item_id": pl.String, "attribute": pl.String, "value": pl.String, "confidence": pl.Float32}
"""Columns of :meth:`AttributeHead.fill`."""
_BIAS_PENALTY = 1e-6
"""On the biases: nothing but that a class without examples stays finite."""
_TEMPERATURES = (-3.0, 3.0)
"""Between which logs a temperature lies."""
_SLOPES, _OFFSETS = (0.1, 10.0), (-10.0, 10.0)
"""Between which the line lies; a slope above zero keeps the order."""
_EPSILON = 1e-12


@dataclass(frozen=True)
class FilledAttribute:
    """What is known of one attribute. The class after the last of ``values`` is "unknown"."""

    values: tuple[str, ...]
    """The values that can be filled, most usual first."""
    weights: np.ndarray
    """float32 ``(dim + 1, values + 1)``; the last row is the bias."""
    prior: np.ndarray
    """float32 ``(values + 1,)``: the share of each class among the products that were learned from; the baseline."""
    temperature: float = 1.0
    line: tuple[float, float] = (1.0, 0.0)
    """Slope and offset of the log odds."""

    def probabilities(self, vectors: np.ndarray) -> np.ndarray:
        """float32 ``(n, values + 1)`` of ``vectors`` ``(n, dim)``; rows sum to 1, the last column is "unknown"."""
        return _softmax(_logits(vectors, self.weights) / self.temperature).astype(np.float32)

    def likeliest(self, vectors: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(value int64 ``(n,)``, confidence float32 ``(n,)``, whether it is filled bool ``(n,)``) of ``vectors`` ``(n, dim)``.

        It is filled where it is as sure as ``least`` and likelier than "unknown".
        """
        given = self.probabilities(vectors)
        best = given[:, :-1].argmax(axis=1)
        share = given[np.arange(len(given)), best]
        confidence = _on_line(share, self.line)
        return best, confidence, (confidence >= least) & (share > given[:, -1])


@dataclass(frozen=True)
class AttributeReport:
    """How well one attribute is filled, over products whose value was hidden. Beside each: saying the most usual, at its usual rate."""

    examples: int
    """Products measured."""
    values: int
    """Values that can be filled."""
    top1: float
    """Share whose likeliest value is the hidden one; a value that cannot be filled counts as missed."""
    top1_baseline: float
    log_loss: float
    """Mean negative log probability of the hidden class, in nats."""
    log_loss_baseline: float
    brier: float
    """Mean squared distance of the probabilities from the truth, 0 to 2."""
    brier_baseline: float
    calibration_error: float
    """Mean gap between the confidence of the likeliest value and how often it is right, over ten bins of equal size."""
    coverage: float
    """Share that is filled at the least confidence asked for."""
    precision: float
    """Share of the filled that is right; NaN where nothing is filled."""

    def as_dict(self) -> dict[str, float]:
        """For metrics of an artefact."""
        return asdict(self)


class AttributeHead:
    """A finished head over vectors of ``space``; ``known`` holds what it can fill, by the name of the attribute."""

    kind: ClassVar[str] = "attribute_head"

    def __init__(self, settings: AttributeHeadConfig, space: Space, known: Mapping[str, FilledAttribute]):
        self.settings = settings
        self.space = space
        self.known = dict(known)

    # ----------------------------------------------------------------------------------------------------------------- fill

    def fill(self, items: pl.DataFrame, vectors: EmbeddingTable, min_confidence: float | None = None) -> pl.DataFrame:
        """item_id, attribute, value, confidence: what ``items`` do not say and what their vectors tell, in the order of ``items``.

        ``items`` has columns of the lake's items, absent ones say nothing. ``min_confidence`` in [0, 1], None: the setting. An item without
        a vector, or with the zero vector, is left alone. Raises :class:`corkboard.errors.SpaceMismatch` for vectors of another space.
        """
        self.space.require(vectors.space)
        least = _share(self.settings.min_confidence if min_confidence is None else min_confidence)
        item_ids = items["item_id"].to_list()
        rows, _ = vectors.lookup(item_ids)
        there = rows.any(axis=1)
        filled: list[tuple[int, str, str, float]] = []
        for name, attribute in self.known.items():
            told = said(items, self.settings.sources[name])
            open_ = np.flatnonzero(there & np.array([value is None for value in told], bool))
            best, confidence, sure = attribute.likeliest(rows[open_], least)
            chosen = zip(open_[sure].tolist(), best[sure].tolist(), confidence[sure].tolist(), strict=True)
            filled += [(row, name, attribute.values[value], share) for row, value, share in chosen]
        filled.sort(key=lambda entry: entry[0])
        return pl.DataFrame([(item_ids[row], *rest) for row, *rest in filled], schema=FILLED_SCHEMA, orient="row")

    def report(self, name: str, truth: Sequence[str], vectors: np.ndarray, min_confidence: float | None = None) -> AttributeReport:
        """How well attribute ``name`` is told from ``vectors`` ``(n, dim)`` of products that have ``truth``, which nothing here has read.

        Raises :class:`NotFound` for an attribute that it does not fill, :class:`InputError` without any product.
        """
        if name not in self.known:
            raise NotFound("This head does not fill such an attribute", found=name, expected=sorted(self.known))
        if not len(truth) or len(truth) != len(vectors):
            raise InputError("A report needs products with a vector and a truth each", found=(len(truth), len(vectors)))
        attribute = self.known[name]
        classes, unknown = _classes(truth, attribute.values), len(attribute.values)
        given = attribute.probabilities(vectors).astype(np.float64)
        usual = np.broadcast_to(attribute.prior.astype(np.float64), given.shape)
        least = _share(self.settings.min_confidence if min_confidence is None else min_confidence)
        best, confidence, sure = attribute.likeliest(vectors, least)
        right = best == classes
        return AttributeReport(
            examples=len(classes),
            values=unknown,
            top1=float(right.mean()),
            top1_baseline=float((usual[:, :unknown].argmax(axis=1) == classes).mean()),
            log_loss=_log_loss(given, classes),
            log_loss_baseline=_log_loss(usual, classes),
            brier=_brier(given, classes),
            brier_baseline=_brier(usual, classes),
            calibration_error=calibration(confidence, right).error,
            coverage=float(sure.mean()),
            precision=float(right[sure].mean()) if sure.any() else float("nan"),
        )

    # ----------------------------------------------------------------------------------------------------------- artefacts

    def tensors(self) -> dict[str, np.ndarray]:
        """The arrays of an artefact."""
        arrays: dict[str, np.ndarray] = {}
        for place, attribute in enumerate(self.known.values()):
            arrays |= {f"weights{place}": attribute.weights, f"prior{place}": attribute.prior}
        return arrays

    @property
    def config(self) -> dict[str, Any]:
        """The settings of an artefact."""
        known = [
            {"name": name, "values": list(one.values), "temperature": one.temperature, "line": list(one.line)}
            for name, one in self.known.items()
        ]
        return {"kind": self.kind, "settings": self.settings.model_dump(mode="json"), "space": str(self.space), "known": known}

    @classmethod
    def from_artifact(cls, artifact: Artifact) -> AttributeHead:
        """The head of an artefact written with :meth:`tensors` and :attr:`config`."""
        config, tensors = artifact.config, artifact.tensors
        if config.get("kind") != cls.kind:
            raise ArtifactError("This artefact holds no attribute head", found=config.get("kind"), expected=cls.kind)
        known: dict[str, FilledAttribute] = {}
        for place, facts in enumerate(config["known"]):
            slope, offset = facts["line"]
            arrays = tensors[f"weights{place}"], tensors[f"prior{place}"]
            known[facts["name"]] = FilledAttribute(tuple(facts["values"]), *arrays, facts["temperature"], (slope, offset))
        return cls(AttributeHeadConfig.model_validate(config["settings"]), Space.parse(config["space"]), known)


# ---------------------------------------------------------------------------------------------------------------------- training


def train_attribute_head(
    items: pl.DataFrame,
    vectors: EmbeddingTable,
    config: AttributeHeadConfig | None = None,
    seed: int = 0,
    groups: np.ndarray | None = None,
    also: EmbeddingTable | None = None,
) -> AttributeHead:
    """A head for every attribute of ``config.sources`` that ``items`` say often enough: two values of ``config.min_examples`` products.

    ``groups`` int64 ``(items,)``: items of one number (variants, offers of several merchants) are either fitted to or calibrated on. Where
    a product and its twin were on both sides, the head would seem surer of strangers than it is. ``also`` are other vectors of the same
    items in the same space, such as an item may have when it has just arrived: the head learns to tell from either.
    """
    config = config or AttributeHeadConfig()
    told = {name: said(items, sources) for name, sources in config.sources.items()}
    rows, groups = _given(items, vectors, groups, also)
    known = {name: _learned(name, values, rows, groups, config, seed) for name, values in told.items()}
    return AttributeHead(config, vectors.space, {name: attribute for name, attribute in known.items() if attribute is not None})


def measure_hidden(
    items: pl.DataFrame,
    vectors: EmbeddingTable,
    config: AttributeHeadConfig | None = None,
    seed: int = 0,
    share: float = 0.2,
    groups: np.ndarray | None = None,
    min_confidence: float | None = None,
    asked: np.ndarray | None = None,
    also: EmbeddingTable | None = None,
) -> dict[str, AttributeReport]:
    """Each attribute hidden from a ``share`` of the products that say it, learned from the others, and told again.

    ``vectors`` must not have read the attributes. ``groups`` as for :func:`train_attribute_head`: a group is hidden whole. ``asked``, bool
    ``(items,)``, says whose values are asked for; what else is hidden with them is not. ``also`` is learned from, too, and not told from.
    """
    config = config or AttributeHeadConfig()
    rows, groups = _given(items, vectors, groups, also)
    hidden = _drawn(groups, share, seed, "attributes", "hidden") & rows[0].any(axis=1)
    candidates = np.flatnonzero(hidden if asked is None else hidden & asked).tolist()
    reports: dict[str, AttributeReport] = {}
    for name, sources in config.sources.items():
        told = said(items, sources)
        attribute = _learned(name, [None if out else value for value, out in zip(told, hidden, strict=True)], rows, groups, config, seed)
        measured = [row for row in candidates if told[row] is not None]
        if attribute is not None and measured:
            truth = [value for row in measured if (value := told[row]) is not None]
            reports[name] = AttributeHead(config, vectors.space, {name: attribute}).report(name, truth, rows[0][measured], min_confidence)
    return reports


def unsaid(items: pl.DataFrame, sources: Mapping[str, Sequence[str]]) -> pl.DataFrame:
    """The same items without what they say of any attribute of ``sources``: what vectors for a head are made from.

    Columns are emptied, pairs of ``attributes`` left out. A title may still tell the colour; so it does for products that say none.
    """
    names = {name for of_one in sources.values() for name in of_one}
    emptied = [pl.lit(None, items.schema[name]).alias(name) for name in sorted(names) if name in items.columns]
    if "attributes" in items.columns:
        kept = [
            None if pairs is None else [pair for pair in pairs if pair and _named(str(pair.get("name"))) not in names]
            for pairs in items["attributes"].to_list()
        ]
        emptied.append(pl.Series("attributes", kept, items.schema["attributes"]))
    return items.with_columns(emptied)


def said(items: pl.DataFrame, sources: Sequence[str]) -> list[str | None]:
    """What each item says: the first of ``sources``, columns or names of attributes, that has a value; None where none has one."""
    columns = [items[source].cast(pl.String).to_list() for source in sources if source in items.columns]
    pairs = items["attributes"].to_list() if "attributes" in items.columns else [None] * len(items)
    found: list[str | None] = []
    for row, attributes in enumerate(pairs):
        values = [column[row] for column in columns]
        if attributes:
            first: dict[str, str] = {}
            for pair in attributes:
                if pair and pair.get("value"):
                    first.setdefault(_named(str(pair.get("name"))), str(pair["value"]))
            values += [first.get(source) for source in sources]
        found.append(next((text for value in values if value and (text := value.strip())), None))
    return found


@cache
def _named(name: str) -> str:
    """An attribute's name in small letters with "_" between words; "baseColour" has two."""
    parted = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return re.sub(r"[\W_]+", "_", parted).strip("_").lower()


def _classes(said: Sequence[str], values: Sequence[str]) -> np.ndarray:
    """int64 ``(n,)``: the place of each of ``said`` among ``values``, the number of these where it is none of them."""
    code = {value: place for place, value in enumerate(values)}
    return np.array([code.get(value, len(values)) for value in said], np.int64)


def _given(
    items: pl.DataFrame, vectors: EmbeddingTable, groups: np.ndarray | None, also: EmbeddingTable | None
) -> tuple[np.ndarray, np.ndarray]:
    """(vectors float32 ``(1 or 2, items, dim)``, groups)."""
    tables = [vectors] if also is None else [vectors, also]
    for table in tables:
        vectors.space.require(table.space)
    rows = np.stack([table.lookup(items["item_id"].to_list())[0] for table in tables])
    if groups is not None and len(groups) != len(items):
        raise InputError("Items and groups differ in number", found=(len(items), len(groups)), expected="one number an item")
    return rows, np.arange(len(items)) if groups is None else np.asarray(groups, np.int64)


def _learned(
    name: str, told: Sequence[str | None], rows: np.ndarray, groups: np.ndarray, config: AttributeHeadConfig, seed: int
) -> FilledAttribute | None:
    """One attribute; None where fewer than two values have enough products, or all of them fell on one side."""
    there = rows.any(axis=2).all(axis=0)
    chosen = np.array([row for row, value in enumerate(told) if value is not None and there[row]], np.int64)
    if len(chosen) > config.max_examples:
        chosen = np.sort(generator(seed, "attributes", name, "examples").choice(chosen, config.max_examples, replace=False))
    values = [value for row in chosen.tolist() if (value := told[row]) is not None]
    usual = sorted(Counter(values).items(), key=lambda entry: (-entry[1], entry[0]))[: config.max_values]
    kept = tuple(value for value, count in usual if count >= config.min_examples)
    if len(kept) < 2:
        return None
    classes = _classes(values, kept)
    apart = _drawn(groups[chosen], config.calibration_share, seed, "attributes", name, "calibration")
    if apart.all() or not apart.any():
        return None
    learned, held = (rows[:, chosen[side]].reshape(-1, rows.shape[2]) for side in (~apart, apart))
    of_learned, of_held = (np.tile(classes[side], len(rows)) for side in (~apart, apart))
    return _fitted_best(learned, of_learned, held, of_held, kept, config)


def _fitted_best(
    rows: np.ndarray, classes: np.ndarray, held: np.ndarray, of_held: np.ndarray, values: tuple[str, ...], config: AttributeHeadConfig
) -> FilledAttribute:
    """Weights by the penalty that tells the calibration products best, each with its temperature; the strongest penalty first, from
    where the next one goes on."""
    count = len(values) + 1
    prior = (np.bincount(classes, minlength=count) + 1.0) / (len(classes) + count)
    weights = np.zeros((rows.shape[1] + 1, count))
    weights[-1] = np.log(prior)
    tried: list[tuple[float, np.ndarray, float]] = []
    for penalty in sorted(config.penalties, reverse=True):
        weights = _fit(rows, classes, weights, penalty, config.iterations)
        logits = _logits(held, weights)
        temperature = _temperature(logits, of_held) if config.calibrate else 1.0
        tried.append((_log_loss(_softmax(logits / temperature), of_held), weights, temperature))
    _, weights, temperature = min(tried, key=lambda one: one[0])
    made = FilledAttribute(values, weights.astype(np.float32), prior.astype(np.float32), temperature)
    return replace(made, line=_line(made, held, of_held)) if config.calibrate else made


def _fit(rows: np.ndarray, classes: np.ndarray, start: np.ndarray, penalty: float, iterations: int) -> np.ndarray:
    """float64 ``(dim + 1, classes)``: the least mean log loss plus half the squared weights times ``penalty``."""
    from scipy.optimize import minimize

    given = np.column_stack([rows, np.ones(len(rows))]).astype(np.float32)
    penalties = np.full((start.shape[0], 1), penalty)
    penalties[-1] = _BIAS_PENALTY
    numbers = np.arange(len(classes))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(start.shape)
        errors = _softmax((given @ weights.astype(np.float32)).astype(np.float64))
        value = -np.log(np.maximum(errors[numbers, classes], _EPSILON)).mean()
        errors[numbers, classes] -= 1
        pull = given.T @ errors.astype(np.float32) / len(given)
        return value + 0.5 * float((penalties * weights**2).sum()), (pull + penalties * weights).ravel()

    return minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": iterations}).x.reshape(start.shape)


def _temperature(logits: np.ndarray, classes: np.ndarray) -> float:
    """What logits are divided by for the least log loss; between e to the power of the two of ``_TEMPERATURES``."""
    from scipy.optimize import minimize_scalar

    def loss(log: float) -> float:
        return _log_loss(_softmax(logits / np.exp(log)), classes)

    return float(np.exp(minimize_scalar(loss, bounds=_TEMPERATURES, method="bounded").x))


def _line(made: FilledAttribute, held: np.ndarray, of_held: np.ndarray) -> tuple[float, float]:
    """Slope and offset of the log odds that the likeliest value is right, on products that it was not fitted to.

    The targets are Platt's: a little inside of 0 and 1, so that few products that are all right promise no certainty.
    """
    from scipy.optimize import minimize

    given = made.probabilities(held)
    best = given[:, :-1].argmax(axis=1)
    odds, right = _odds(given[np.arange(len(given)), best]), best == of_held
    target = np.where(right, (right.sum() + 1) / (right.sum() + 2), 1 / ((~right).sum() + 2))

    def loss(line: np.ndarray) -> float:
        x = line[0] * odds + line[1]
        return float((np.logaddexp(0, x) - target * x).mean())

    slope, offset = minimize(loss, [1.0, 0.0], method="L-BFGS-B", bounds=[_SLOPES, _OFFSETS]).x
    return float(slope), float(offset)


def _drawn(groups: np.ndarray, share: float, seed: int, *names: str) -> np.ndarray:
    """bool ``(n,)``: groups drawn until they are a ``share`` of all groups."""
    distinct, place = np.unique(groups, return_inverse=True)
    out = np.zeros(len(distinct), bool)
    out[generator(seed, *names).permutation(len(distinct))[: round(share * len(distinct))]] = True
    return out[place]


def _odds(share: np.ndarray) -> np.ndarray:
    """Log odds of probabilities, those of 0 and 1 kept finite."""
    inside = np.clip(np.asarray(share, np.float64), 1e-6, 1 - 1e-6)
    return np.log(inside) - np.log1p(-inside)


def _on_line(share: np.ndarray, line: tuple[float, float]) -> np.ndarray:
    """float32: the confidence that probabilities of the likeliest value stand for."""
    if line == (1.0, 0.0):
        return share.astype(np.float32)
    return (1 / (1 + np.exp(-(line[0] * _odds(share) + line[1])))).astype(np.float32)


def _logits(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.asarray(vectors, np.float64) @ weights[:-1] + weights[-1]


def _softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def _log_loss(probabilities: np.ndarray, classes: np.ndarray) -> float:
    return float(-np.log(np.maximum(probabilities[np.arange(len(classes)), classes], _EPSILON)).mean())


def _brier(probabilities: np.ndarray, classes: np.ndarray) -> float:
    hit = probabilities[np.arange(len(classes)), classes]
    return float(((probabilities**2).sum(axis=1) - 2 * hit + 1).mean())


def _share(value: float) -> float:
    if not 0 <= value <= 1:
        raise InputError("A confidence lies between 0 and 1", found=value)
    return value
