"""What a build guesses of products, and how it says how good that is."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.embeddings.attribute_config import AttributeHeadConfig
from corkboard.embeddings.attribute_head import AttributeHead
from corkboard.feed.guesses import ATTRIBUTES
from corkboard.lake.schema import TABLES
from corkboard.pipeline import attribute_steps
from corkboard.pipeline.plan import plan
from corkboard.settings import load_settings

SPACE = Space("unsaid_multibisage", "1")
KINDS = ("lamp", "vase", "rug", "bowl")


def items_of(n: int, sold: bool = True) -> pl.DataFrame:
    """Every fifth is no product, every tenth says no category; nobody says a colour, all the same brand."""
    rows = [
        {
            "item_id": f"i{k:03}",
            "title": f"{KINDS[k % 4]} {k}",
            "kind": "product" if sold and k % 5 else "pin",
            "category": None if k % 10 == 3 else KINDS[k % 4],
            "brand_id": "acme",
        }
        for k in range(n)
    ]
    schema = TABLES["items"].schema
    return pl.DataFrame([dict.fromkeys(schema) | row for row in rows], schema=schema)


def made_of(items: pl.DataFrame, monkeypatch: pytest.MonkeyPatch):
    angle = np.arange(len(items)) % 4 * np.pi / 2
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32).reshape(-1, 2)
    table = EmbeddingTable(items["item_id"].to_list(), vectors, SPACE)
    monkeypatch.setattr(attribute_steps, "unsaid_vectors", lambda *_: (table, table))
    lake, calendar = SimpleNamespace(items=lambda: items), SimpleNamespace(end_ms=1)
    given = SimpleNamespace(lake=lake, artifacts={}, calendar=calendar, config=AttributeHeadConfig(), seed=3)
    return attribute_steps.fill_attributes(given)


def test_what_is_missing_is_filled_and_what_was_hidden_is_told(monkeypatch):
    made = made_of(items_of(400), monkeypatch)
    filled = made.tables["filled"]
    rows = filled["item_id"].str.slice(1).cast(int).to_list()
    assert rows == [k for k in range(400) if k % 10 == 3]
    assert filled["value"].to_list() == [KINDS[k % 4] for k in rows]
    assert set(filled["attribute"]) == {"category"}
    assert made.metrics["filled"] == {"category": 40}
    hidden = made.metrics["hidden"]
    assert set(hidden) == {"category"}
    assert hidden["category"]["top1"] == 1
    assert hidden["category"]["top1_baseline"] < 0.5
    assert hidden["category"]["examples"] < 0.2 * 320
    assert "| category | 40 | 4 |" in made.card
    assert list(made.makes) == [SPACE]
    json.dumps(dict(made.metrics), allow_nan=False)
    head = AttributeHead.from_artifact(SimpleNamespace(config=made.config, tensors=made.tensors))
    assert list(head.known) == ["category"]


@pytest.mark.parametrize("items", [items_of(0), items_of(400, sold=False), items_of(12)])
def test_a_lake_that_says_too_little_has_an_empty_artefact(items, monkeypatch):
    made = made_of(items, monkeypatch)
    assert made.config == {"kind": "none"}
    assert not made.tensors
    assert not made.makes


def test_the_stage_with_products_has_it():
    whole = plan(load_settings(overrides=[]))
    stages = {stage.label: stage.roles for stage in whole.stages}
    assert ATTRIBUTES not in stages["+ trained content"]
    assert all(stages[label][ATTRIBUTES] == ATTRIBUTES for label in ("+ MultiBiSage", "+ light ranker"))
    assert ATTRIBUTES in [step.title for step in whole.needed_by([ATTRIBUTES])]
