"""Further pictures of what can be bought: other views of the same product, and nothing else of the world changes."""

from __future__ import annotations

import hashlib
import json
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from corkboard.embeddings.visual_lake import pictures_of
from corkboard.lake.pictures.reading import Pictures
from corkboard.settings import Settings
from corkboard.workspace import Workspace
from corkboard.world.config import WorldConfig
from corkboard.world.main_pictures import FURTHER_SHARES, FurtherPictures, further_domains
from corkboard.world.world import World

SMALL = {"days": 6, "users": 60, "items": 120}


@pytest.fixture(scope="module")
def one() -> World:
    return World(WorldConfig.tiny(**SMALL))


@pytest.fixture(scope="module")
def three() -> World:
    return World(WorldConfig.tiny(**SMALL, product_pictures=3))


def bought_of(world: World) -> dict[str, bool]:
    return dict(zip(world.item_ids, world.behaviour.catalogue.product.tolist(), strict=True))


def test_further_pictures_change_nothing_but_the_column_of_images(one, three):
    with_one, with_three = one.tables(), three.tables()
    for name in ("users", "boards", "impressions", "actions"):
        assert with_one[name].equals(with_three[name])
    assert with_one["items"].drop("images").equals(with_three["items"].drop("images"))
    assert with_one["items"]["images"].to_list() == [images[:1] for images in with_three["items"]["images"].to_list()]


def test_what_can_be_bought_carries_the_hashes_of_all_its_pictures(three):
    files: dict[str, list[bytes]] = {}
    for item_id, data in three.picture_bytes():
        files.setdefault(item_id, []).append(data)
    bought = bought_of(three)
    assert 0 < sum(bought.values()) < len(bought)
    for item_id, images in three.tables()["items"].select("item_id", "images").rows():
        assert len(images) == (3 if bought[item_id] else 1)
        assert images == ["sha256:" + hashlib.sha256(data).hexdigest() for data in files[item_id]]
    every = [data for several in files.values() for data in several]
    assert len(set(every)) == len(every)
    assert Image.open(BytesIO(files[next(item for item in bought if bought[item])][2])).size == (48, 48)


def test_one_picture_draws_no_further_one_and_none_draws_none(one):
    assert (one.further_pictures.files, one.further_pictures.images) == ({}, {})
    assert all(len(images) == 1 for images in one.item_images())
    bare = World(WorldConfig.tiny(**SMALL, pictures=0, product_pictures=3))
    assert list(bare.picture_bytes()) == []
    assert bare.item_images() == [[] for _ in bare.item_ids]


def test_a_further_picture_does_not_know_how_many_there_are(three):
    five = World(WorldConfig.tiny(**SMALL, product_pictures=5))
    for row, images in three.further_pictures.images.items():
        assert five.further_pictures.images[row][:2] == images
    assert five.main_pictures.images == three.main_pictures.images


def test_further_pictures_show_the_same_product():
    """Colours before white: a further picture is nearer to its own main picture than to those of others, and is no copy of it."""
    world = World(WorldConfig.tiny(**SMALL, product_pictures=2))
    config, catalogue = world.config, world.behaviour.catalogue
    domains = further_domains(config, catalogue, 1)
    rows = [row for row in world.further_pictures.files if domains[row] == 0]
    main, further = world.main_pictures.files, FurtherPictures.make(config, catalogue).files

    def colour(data: bytes) -> np.ndarray:
        return np.asarray(Image.open(BytesIO(data)), float)[16:32, 16:32].mean(axis=(0, 1))

    first, second = np.array([colour(main[row]) for row in rows]), np.array([colour(further[row][0]) for row in rows])
    away = np.linalg.norm(second[:, None] - first[None], axis=2)
    assert len(rows) > 8
    assert np.diag(away).mean() < 0.5 * away.mean()


def test_domains_of_further_pictures_have_their_shares():
    world = World(WorldConfig.tiny(items=3000, users=20, days=4, pictures=0))
    config, catalogue = world.config, world.behaviour.catalogue
    shares = np.bincount(further_domains(config, catalogue, 1), minlength=3) / 3000
    assert np.abs(shares - FURTHER_SHARES).max() < 0.04
    assert (further_domains(config, catalogue, 1) != further_domains(config, catalogue, 2)).mean() > 0.4


@pytest.mark.parametrize("count", [0, 21])
def test_a_product_shows_one_to_twenty_pictures(count):
    with pytest.raises(ValidationError):
        WorldConfig(product_pictures=count)


def test_a_simulated_lake_holds_all_of_them_and_so_does_a_folder_of_tables(tmp_path):
    settings = Settings(world=WorldConfig.tiny(**SMALL, product_pictures=3))
    workspace = Workspace(tmp_path / "workspace", settings)
    workspace.simulate()
    items, pictures = workspace.lake().items(), Pictures(tmp_path / "workspace" / "lake")
    world = World(settings.world)
    bought = bought_of(world)
    counts = dict(pictures_of(items, pictures).group_by("item_id").len().rows())
    assert counts == {item_id: 3 if bought[item_id] else 1 for item_id in items["item_id"]}
    workspace.simulate(tmp_path / "out")
    written = pl.read_parquet(tmp_path / "out" / "items.parquet")
    files = dict(zip(written["item_id"], written["images"].to_list(), strict=True))
    item_id = next(item for item in bought if bought[item])
    assert files[item_id] == [f"pictures/{item_id}.jpg", f"pictures/{item_id}-2.jpg", f"pictures/{item_id}-3.jpg"]
    named = ["sha256:" + hashlib.sha256((tmp_path / "out" / path).read_bytes()).hexdigest() for path in files[item_id]]
    assert named == world.item_images()[world.item_ids.index(item_id)]


def test_a_workspace_that_was_made_before_there_was_the_setting_is_still_known(tmp_path):
    """Its marker does not name the setting; with another number of pictures it is another world."""
    settings = Settings(world=WorldConfig.tiny(**SMALL))
    made = Workspace(tmp_path, settings)
    counts = made.simulate()
    marker = tmp_path / "world.json"
    told = json.loads(marker.read_text())
    told.pop("product_pictures")
    marker.write_text(json.dumps(told))
    again = Workspace(tmp_path, settings).simulate()
    assert {name: again[name] for name in counts} == counts
    with pytest.raises(Exception, match="another world"):
        Workspace(tmp_path, Settings(world=WorldConfig.tiny(**SMALL, product_pictures=2))).simulate()
