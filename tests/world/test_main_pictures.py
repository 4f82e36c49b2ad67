"""Pictures in the tables of a world: they change nothing else, and the control that writes them down changes the text alone."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import polars as pl
from PIL import Image

from corkboard.world.config import Mechanisms, WorldConfig
from corkboard.world.main_pictures import domains_of
from corkboard.world.vocabulary import FACETS, PICTURE_FACETS
from corkboard.world.world import World

SMALL = {"days": 6, "users": 60}


def test_pictures_change_nothing_but_the_column_of_images():
    shown, bare = World(WorldConfig.tiny(**SMALL)), World(WorldConfig.tiny(**SMALL, pictures=0))
    with_pictures, without = shown.tables(), bare.tables()
    for name in ("users", "boards", "impressions", "actions"):
        assert with_pictures[name].equals(without[name])
    assert with_pictures["items"].drop("images").equals(without["items"].drop("images"))
    assert without["items"]["images"].list.len().to_list() == [0] * len(without["items"])
    assert list(bare.picture_bytes()) == []


def test_every_item_carries_the_hash_of_its_picture(tiny):
    files = dict(tiny.picture_bytes())
    items = tiny.tables()["items"]
    assert set(files) == set(tiny.item_ids)
    for item_id, images in items.select("item_id", "images").rows():
        assert images == ["sha256:" + hashlib.sha256(files[item_id]).hexdigest()]
    assert len(set(files.values())) == len(files)
    picture = Image.open(BytesIO(files[tiny.item_ids[0]]))
    assert (picture.format, picture.size, picture.mode) == ("JPEG", (48, 48), "RGB")
    assert World(tiny.config).main_pictures.images == tiny.main_pictures.images


def test_kinds_of_items_show_themselves_in_their_domains(everything_on):
    catalogue = everything_on.behaviour.catalogue
    domains = domains_of(everything_on.config, catalogue)
    bought = np.bincount(domains[catalogue.product], minlength=3) / catalogue.product.sum()
    other = np.bincount(domains[~catalogue.product], minlength=3) / (~catalogue.product).sum()
    assert np.abs(bought - [0.65, 0.35, 0.0]).max() < 0.08
    assert np.abs(other - [0.05, 0.75, 0.20]).max() < 0.08


def test_complete_text_tells_what_the_picture_shows_and_changes_nothing_else():
    plain = World(WorldConfig.tiny(**SMALL, pictures=0))
    told = World(WorldConfig.tiny(**SMALL, pictures=0, mechanisms=Mechanisms(text_complete=True)))
    one, other = plain.tables(), told.tables()
    for name in ("users", "boards", "impressions", "actions"):
        assert one[name].equals(other[name])
    text = ["title", "description"]
    assert one["items"].drop(text).equals(other["items"].drop(text))
    catalogue = told.behaviour.catalogue
    rows = {item_id: row for row, item_id in enumerate(catalogue.ids)}
    both = (
        one["items"].select("item_id", "title", "description").join(other["items"].select("item_id", *text), on="item_id", suffix="_told")
    )
    for item_id, title, description, title_told, description_told in both.unique("item_id").rows():
        row = rows[item_id]
        language = catalogue.observed["language"][row]
        words = [FACETS[name][code][language] for name in PICTURE_FACETS if (code := catalogue.observed[name][row]) >= 0]
        for word in words:
            assert word.lower() in title_told.lower()
            assert word.lower() in description_told.lower()
        assert len(title_told) == len(title) + sum(len(word) + 1 for word in words)
        assert description_told.startswith(description)
    assert (both["title"] != both["title_told"]).mean() > 0.9
    missing = (catalogue.observed["shade"] < 0) & (catalogue.observed["pattern"] < 0) & (catalogue.observed["style"] < 0)
    same = both.filter(pl.col("title") == pl.col("title_told"))["item_id"].unique()
    assert set(same) == {catalogue.ids[row] for row in np.flatnonzero(missing)}
