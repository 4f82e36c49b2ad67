"""Small products for the tests of this room."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.config import ItemSageConfig
from corkboard.embeddings.product_images import ProductImages
from corkboard.embeddings.product_inputs import ProductInputs
from corkboard.embeddings.product_pairs import PRODUCT_PAIR_SCHEMA
from corkboard.lake.schema import TABLES
from corkboard.learning.config import TextConfig, TrainingConfig
from corkboard.seeds import generator

SPACE = Space("multibisage", "v1")
DIM = 12
COLOURS = ["red", "grey", "blue", "green", "black", "white", "violet", "orange"]
THINGS = ["vase", "lamp", "chair", "carpet", "kettle", "mirror", "pillow", "candle"]


def unit(*shape: int, seed: int = 0) -> np.ndarray:
    vectors = generator(seed, "tests", "products").standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def items_frame(*rows: dict) -> pl.DataFrame:
    """Items of the lake that name only what they need."""
    schema = TABLES["items"].schema
    return pl.DataFrame([{**dict.fromkeys(schema), **row} for row in rows], schema=schema)


def images_of(vectors: np.ndarray, there: np.ndarray | None = None, space: Space = SPACE) -> ProductImages:
    """Images ``(n, tokens, dim)`` of i0, i1 and so on."""
    there = vectors.any(axis=2) if there is None else there
    return ProductImages([f"i{k}" for k in range(len(vectors))], vectors, there, space)


def products(n: int = 64, tokens: int = 2, seed: int = 0) -> ProductInputs:
    """Things in colours: the title says which thing, an attribute the colour; every second one has a second picture."""
    vectors = unit(n, tokens, DIM, seed=seed)
    there = np.arange(tokens) <= np.arange(n)[:, None] % 2
    rows = [
        {"item_id": f"i{k}", "title": f"{THINGS[k % 8]}", "attributes": [{"name": "color", "value": COLOURS[k // 8 % 8]}]} for k in range(n)
    ]
    return ProductInputs.of(items_frame(*rows), images_of(vectors * there[:, :, None]))


def table(n: int = 64, seed: int = 5, prefix: str = "i", space: Space = SPACE) -> EmbeddingTable:
    return EmbeddingTable([f"{prefix}{k}" for k in range(n)], unit(n, DIM, seed=seed), space)


def pairs_of(*rows: tuple[str, str, str]) -> pl.DataFrame:
    """Pairs of a task, a query (an id for image tasks, a text otherwise) and a product."""
    made = [
        (task, None if task.startswith("image") else query, query if task.startswith("image") else None, item_id, 0, "ann")
        for task, query, item_id in rows
    ]
    return pl.DataFrame(made, schema=PRODUCT_PAIR_SCHEMA, orient="row")


def small(steps: int = 3, **changes: object) -> ItemSageConfig:
    given = {
        "width": 16,
        "text_width": 8,
        "table_rows": 512,
        "hidden": 16,
        "heads": 2,
        "batch": 32,
        "pool": 16,
        "validation_share": 0.0,
        "text": TextConfig(min_count=1),
        "training": TrainingConfig(steps=steps, warmup_steps=1, learning_rate=0.01, validate_every=max(steps // 3, 1)),
    }
    return ItemSageConfig.model_validate({**given, **changes})


def everything(tasks: Sequence[str] = ("image_click", "text_click"), n: int = 64) -> pl.DataFrame:
    """Every product once a task, each for a query of its own: item k + 1 and the text k."""
    rows = [(task, f"i{(k + 1) % n}" if task.startswith("image") else f"q{k}", f"i{k}") for task in tasks for k in range(n)]
    return pairs_of(*rows)
