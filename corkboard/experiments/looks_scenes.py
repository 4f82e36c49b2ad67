"""What goes with a scene: scenes of a world less one product that they show, and that product among others of its category.

The truth is the world's: which product is where in which picture. A product is cut away by the rule of the four rectangles, and its
vector is what the trunk that comes with the package says of its own picture. Two splits are asked: *other scenes*, whose products may be
known, and *other products*, where neither product nor scene was learned; pairs of a known with an unknown one are in no part of it.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import torch
from PIL import Image
from torch.nn import functional

from corkboard.artifacts import Space
from corkboard.errors import InputError, LeakError
from corkboard.experiments.looks_claims import (
    BY_PRODUCT,
    BY_SCENE,
    FEATURES,
    GLOBAL,
    HYBRID,
    LOCAL,
    SCENE_ORACLE,
    SIAMESE,
    UNIFORM,
)
from corkboard.experiments.looks_config import ScenePairsConfig
from corkboard.experiments.measured import MAIN
from corkboard.experiments.spine_runs import Context, Measure, Run
from corkboard.learning.training import Progress, seeded, train
from corkboard.metrics.intervals import PerUser
from corkboard.seeds import generator
from corkboard.shopping.complete_config import SceneModelConfig
from corkboard.shopping.config import ObjectsConfig
from corkboard.shopping.objects import crop, enlarged
from corkboard.shopping.scene_model import cut, scene_maps, without
from corkboard.shopping.scene_network import StyleHead
from corkboard.shopping.scene_training import ScenePairs, same_category_negatives, train_scene_model

if TYPE_CHECKING:
    from corkboard.world.world import World

MODELS: dict[str, dict[str, str]] = {
    HYBRID: {},
    GLOBAL: {"parts": "global"},
    LOCAL: {"parts": "local"},
    UNIFORM: {"attention": "uniform"},
}
"""What is trained, and how its settings differ."""
VARIANTS = (SCENE_ORACLE, FEATURES, HYBRID, UNIFORM, GLOBAL, LOCAL, SIAMESE)
SPLITS = (BY_PRODUCT, BY_SCENE)
_SPACE, _TRUNK = Space("looks_trunk", "built_in"), "built in"
_LEAST_VISIBLE = 0.35
_AT_ONCE = 256

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(rows of pairs, rows of pairs whose products are candidates) to float: how well each scene goes with each candidate."""


def work(context: Context) -> None:
    """The work of a job: its variants, in one world."""

    def measuring() -> Measure:
        from corkboard.world.world import World

        config, seed = ScenePairsConfig.model_validate(context.job.config["pairs"]), int(context.job.config["seed"])
        stage = SceneStage(config, seed, World(config.world.model_copy(update={"seed": seed})))
        stage.pairs  # noqa: B018 — what all variants share is made before the first is timed
        return lambda run: stage.measured(run.variant, context.training(run))

    context.each(measuring)


def scene_runs(config: ScenePairsConfig, seed: int, code: str) -> list[Run]:
    """The runs of one world."""
    given = {"pairs": config.model_dump(mode="json"), "code": code}
    return [Run(MAIN, one, seed, {"variant": one, **given}, 15.0 if one in (*MODELS, SIAMESE) else 3.0) for one in VARIANTS]


@dataclass(frozen=True)
class SceneStage:
    """One world: its scenes less a product, that product, and both splits."""

    config: ScenePairsConfig
    seed: int
    world: World

    @cached_property
    def table(self) -> pl.DataFrame:
        """A row a product that can be cut out of a scene: scene (row of the item), product (row of it), category, part (what stays)."""
        objects, row_of = self.world.objects(), {item_id: row for row, item_id in enumerate(self.world.item_ids)}
        shown = objects.filter((pl.col("kind") == "scene") & pl.col("product_id").is_not_null() & (pl.col("visible") >= _LEAST_VISIBLE))
        rows = []
        model = self.config.model
        for item_id, product_id, category, *box in shown.select(
            "item_id", "product_id", "category", "left", "top", "right", "bottom"
        ).rows():
            part = without(box, model.enlarge, model.least_left)
            if part is not None:
                rows.append((row_of[item_id], row_of[product_id], category, part.tolist()))
        schema = {"scene": pl.Int64, "product": pl.Int64, "category": pl.String, "part": pl.List(pl.Float64)}
        return pl.DataFrame(rows, schema=schema, orient="row")

    @cached_property
    def pairs(self) -> ScenePairs:
        """Every pair there is."""
        from corkboard.vision.encoder import TrunkEncoder
        from corkboard.vision.trunk import built_in_trunk

        table, trunk = self.table, built_in_trunk()
        if not len(table):
            raise InputError(
                "The world has no scenes", found=self.config.world.scene_share, expected="scenes out of which products can be cut"
            )
        scene, product = table["scene"].to_numpy(), table["product"].to_numpy()
        parts, maps = table["part"].to_list(), []
        for start in range(0, len(table), _AT_ONCE):
            span = range(start, min(start + _AT_ONCE, len(table)))
            cuts = [cut(self._image(int(scene[k])), np.array(parts[k], np.float32)) for k in span]
            maps.append(scene_maps(trunk, cuts, self.config.model))
        unique, place = np.unique(product, return_inverse=True)
        vectors = TrunkEncoder(trunk).encode(np.stack([self._sold(int(row), trunk.side) for row in unique]))
        return ScenePairs(np.concatenate(maps), vectors[place].astype(np.float32), table["category"].to_list(), product, scene)

    def _image(self, row: int) -> np.ndarray:
        with Image.open(io.BytesIO(self.world.main_pictures.files[row])) as image:
            return np.asarray(image.convert("RGB"))

    def _sold(self, row: int, side: int) -> np.ndarray:
        """A product's own picture, cut as a build cuts it."""
        return crop(self._image(row), enlarged(self._box_of[self.world.item_ids[row]], ObjectsConfig().margin), side)

    @cached_property
    def _box_of(self) -> dict[str, tuple[float, ...]]:
        own = self.world.objects().filter((pl.col("kind") == "product") & (pl.col("item_id") == pl.col("product_id")))
        return {item_id: tuple(box) for item_id, *box in own.select("item_id", "left", "top", "right", "bottom").rows()}

    @cached_property
    def splits(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """By name: rows of pairs (to learn from, to be asked about)."""
        pairs, config = self.pairs, self.config
        scenes = _drawn(pairs.scene, config.scene_share, self.seed, "scenes")
        apart = _drawn(pairs.scene, config.product_share, self.seed, "scenes apart")
        products = _drawn(pairs.product, config.product_share, self.seed, "products")
        found = {BY_SCENE: (np.flatnonzero(~scenes), np.flatnonzero(scenes))}
        found[BY_PRODUCT] = (np.flatnonzero(~apart & ~products), np.flatnonzero(apart & products))
        for name, (learned, asked) in found.items():
            both = np.isin(pairs.scene[asked], pairs.scene[learned])
            both |= np.isin(pairs.product[asked], pairs.product[learned]) & (name == BY_PRODUCT)
            if both.any():
                raise LeakError("A scene or a product is both learned and asked about", found=int(both.sum()), expected=0)
        return found

    def measured(self, variant: str, told: Callable[[int, int], None]) -> tuple[dict[str, PerUser], dict[str, float]]:
        """Triplet accuracy with negatives of the same category, on both splits, by scene; ties count half."""
        figures, facts = {}, {"pairs": float(len(self.pairs))}
        for name in SPLITS:
            learned, asked = self.splits[name]
            score = self.scorer(variant, learned, told)
            right, wrong = same_category_negatives(self.pairs.take(asked), np.arange(len(asked)), self.seed)
            right, wrong = asked[right], asked[wrong]
            ahead = score(right, right) - score(right, wrong)
            won = (ahead > 0) + 0.5 * (ahead == 0)
            scene = np.unique(self.pairs.scene[right], return_inverse=True)[1]
            weight = np.bincount(scene).astype(np.float64)
            figures[name] = PerUser(np.bincount(scene, won, len(weight)), weight, len(right))
            facts |= {f"{name}: learned": float(len(learned)), f"{name}: asked": float(len(right))}
        return figures, facts

    def scorer(self, variant: str, learned: np.ndarray, told: Callable[[int, int], None]) -> Scorer:
        """What scores candidates."""
        pairs = self.pairs
        if variant == SCENE_ORACLE:
            return self._truth
        if variant == FEATURES:
            scenes, products = (_unit(part - part[learned].mean(axis=0)) for part in (_means(pairs), pairs.vectors))
            return lambda rows, others: (scenes[rows] * products[others]).sum(axis=1)
        if variant == SIAMESE:
            asked, products = one_head(pairs.take(learned), self.config.model, self.seed, told)(pairs)
            return lambda rows, others: (asked[rows] * products[others]).sum(axis=1)
        settings = SceneModelConfig.model_validate(self.config.model.model_dump() | MODELS[variant])
        model, _ = train_scene_model(pairs.take(learned), settings, _SPACE, _TRUNK, self.seed, lambda at: told(at.step, at.steps))
        products = model.products(pairs.vectors)

        def score(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
            part = pairs.take(rows)
            return (model.asked(part.maps, part.categories) * products[others]).sum(axis=1)

        return score

    def _truth(self, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """How well candidates go with all that the scene shows but the product that was cut out, by the world's own compatibility."""
        pairs, looks, catalogue = self.pairs, self.world.behaviour.looks, self.world.behaviour.catalogue
        shown = self.world.shown_looks.rows
        out = np.zeros(len(rows))
        for k, (row, other) in enumerate(zip(rows.tolist(), others.tolist(), strict=True)):
            beside = shown[pairs.scene[row]]
            beside = beside[(beside >= 0) & (beside != pairs.product[row])]
            out[k] = float(looks.fit(catalogue, np.full(len(beside), pairs.product[other]), beside).mean()) if len(beside) else 0.0
        return out


def one_head(
    pairs: ScenePairs, config: SceneModelConfig, seed: int, told: Callable[[int, int], None]
) -> Callable[[ScenePairs], tuple[np.ndarray, np.ndarray]]:
    """One head for whole scenes and for products, trained with the scene model's loss and steps; gives the vectors of both."""
    learning = config.learning
    scenes, products = torch.from_numpy(_means(pairs)), torch.from_numpy(pairs.vectors)
    with seeded(seed, "one head"):
        head = StyleHead(torch.cat([scenes, products]).numpy(), config)
    category = torch.from_numpy(np.unique(pairs.categories, return_inverse=True)[1])
    product = torch.from_numpy(pairs.product)

    def loss(draw: np.random.Generator) -> torch.Tensor:
        rows = torch.from_numpy(draw.integers(0, len(pairs), min(learning.batch, len(pairs))))
        near = head(scenes[rows]) @ head(products[rows]).T
        open_ = (product[rows][:, None] != product[rows][None, :]) & (category[rows][:, None] == category[rows][None, :])
        logits = (2 * near / learning.temperature).masked_fill(~(open_ | torch.eye(len(rows), dtype=torch.bool)), -1e9)
        return functional.cross_entropy(logits, torch.arange(len(rows)))

    def progress(at: Progress) -> None:
        told(at.step, at.steps)

    train(head, loss, learning.training, seed, progress=progress)

    def vectors(of: ScenePairs) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            return tuple(head.eval()(torch.from_numpy(part)).numpy() for part in (_means(of), of.vectors))  # type: ignore[return-value]

    return vectors


def _drawn(values: np.ndarray, share: float, seed: int, name: str) -> np.ndarray:
    """bool (n,): the value is among a drawn share of all different ones."""
    every = np.unique(values)
    return np.isin(values, generator(seed, "looks", name).permutation(every)[: round(share * len(every))])


def _means(pairs: ScenePairs) -> np.ndarray:
    """float32 (n, width): the mean of each map."""
    return pairs.maps.astype(np.float32).mean(axis=(2, 3))


def _unit(values: np.ndarray) -> np.ndarray:
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12)
