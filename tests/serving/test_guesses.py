"""What an item does not say is shown apart from what it does."""

from __future__ import annotations

import numpy as np
import polars as pl
from starlette.testclient import TestClient

from corkboard.artifacts import Space, write_artifact
from corkboard.embeddings.attribute_config import AttributeHeadConfig
from corkboard.embeddings.attribute_head import FILLED_SCHEMA, AttributeHead, FilledAttribute
from corkboard.serving.app import create_app
from corkboard.workspace import Workspace
from tests.serving.builders import make_engine, release_ids

GUESSED = {"brand": {"value": "acme", "confidence": 0.925}}


def promote_with_guesses(workspace: Workspace) -> None:
    """Make a release live that has guessed the brand of one item."""
    brand = FilledAttribute(("acme", "other"), np.zeros((3, 3), np.float32), np.full(3, 1 / 3, np.float32))
    head = AttributeHead(AttributeHeadConfig(), Space("unsaid", "1"), {"brand": brand})
    filled = pl.DataFrame([("item-001", "brand", "acme", 0.925)], schema=FILLED_SCHEMA, orient="row")
    root, given = workspace.folder / "artifacts", {"tensors": head.tensors(), "config": head.config, "makes": [head.space]}
    made = write_artifact(root, "attributes", "a1", tables={"filled": filled}, **given)
    second = workspace.releases.load(release_ids(workspace)[1])
    workspace.releases.promote(workspace.releases.write("guesses", {**second.artifacts, "attributes": made}).id)


def test_a_guess_is_shown_apart_until_the_item_says_it_itself(workspace: Workspace) -> None:
    promote_with_guesses(workspace)
    with TestClient(create_app(make_engine(workspace))) as client:
        entry = client.get("/v1/items/item-001").json()
        assert entry["guessed"] == GUESSED
        assert entry["brand_id"] is None
        assert "guessed" not in client.get("/v1/items/item-002").json()
        shown = client.post("/v1/recommend", json={"user_id": "user-1", "k": 120, "details": True}).json()["items"]
        assert {item["item_id"]: item["item"]["guessed"] for item in shown if "guessed" in item["item"]} == {"item-001": GUESSED}
        by_brand = client.post("/v1/recommend", json={"user_id": "user-1", "k": 120, "filter": {"brand_id": "acme"}}).json()["items"]
        assert by_brand == []
        said = {"event": "item", "time_ms": 1_770_000_000_000, "item_id": "item-001", "kind": "product", "brand_id": "other"}
        client.post("/v1/events", json=said)
        entry = client.get("/v1/items/item-001").json()
        assert entry["brand_id"] == "other"
        assert "guessed" not in entry
        item = client.get("/openapi.json").json()["components"]["schemas"]["Item"]
        assert set(entry) <= set(item["properties"])
        assert "guessed" in item["properties"]
        assert "guessed" not in item["required"]


def test_show_tells_it_too(workspace: Workspace) -> None:
    assert "guessed" not in workspace.show("item-001")
    promote_with_guesses(workspace)
    assert workspace.show("item-001")["guessed"] == GUESSED
    assert "guessed" not in workspace.show("item-002")
