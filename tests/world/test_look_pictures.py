"""Scenes and collages among the main pictures of a world: what they show, what is known of them, and that nothing else changes."""

from __future__ import annotations

import hashlib
from io import BytesIO

import numpy as np
import polars as pl
import pytest
from PIL import Image
from pydantic import ValidationError

from corkboard.world.catalogue import Catalogue
from corkboard.world.config import WORLD_VERSION, WorldConfig
from corkboard.world.look_pictures import ENOUGH, ShownLooks
from corkboard.world.looks import ROLES, Looks
from corkboard.world.main_pictures import OBJECTS, domains_of, to_jpeg
from corkboard.world.rendering import DOMAINS, render
from corkboard.world.vocabulary import CATEGORIES
from corkboard.world.world import World

SMALL = {"days": 6, "users": 60}
SIDES = ("left", "top", "right", "bottom")


@pytest.fixture(scope="module")
def shown() -> World:
    return World(WorldConfig.tiny(**SMALL))


@pytest.fixture(scope="module")
def single() -> World:
    return World(WorldConfig.tiny(**SMALL, scene_share=0, collage_share=0))


@pytest.fixture(scope="module")
def large() -> tuple[Catalogue, Looks, ShownLooks]:
    """A catalogue of the default size, of which nothing is drawn."""
    config = WorldConfig(items=3000, seed=101)
    looks = Looks.make(config.seed)
    catalogue = Catalogue.make(config, looks)
    return catalogue, looks, ShownLooks.make(config, catalogue, looks)


def test_without_looks_every_picture_is_that_of_version_2(single):
    config, products = single.config, single.products()
    domains = domains_of(config, single.behaviour.catalogue)
    for row in range(0, config.items, 7):
        plain = render(products, [row], DOMAINS[domains[row]], 0, config.pictures, config.seed)[0]
        assert single.main_pictures.files[row] == to_jpeg(plain)
    assert single.shown_outfits().is_empty()
    assert set(single.objects()["kind"]) == {"product"}


def test_everything_but_the_images_is_that_of_version_2(shown):
    known = {"items": "f8c29013f054649e", "users": "e32101bd62796b62", "boards": "b0b5d62fb63b1829", "actions": "4c183fd87b7a8c58"}
    tables = shown.tables()
    for name, digest in known.items():
        told = tables[name].drop("images", strict=False).write_ndjson()
        assert hashlib.sha256(told.encode()).hexdigest()[:16] == digest, name
    pages = tables["impressions"].explode("slots").unnest("slots").drop("score", "propensity", "release").write_ndjson()
    assert hashlib.sha256(pages.encode()).hexdigest()[:16] == "41ac425579ba8b55"
    assert (WORLD_VERSION, set(tables["impressions"]["release"])) == (3, {"world-3"})


def test_looks_change_no_other_picture(shown, single):
    several = shown.shown_looks.kind > 0
    assert 15 < several.sum() < 100
    for name in ("users", "boards", "impressions", "actions"):
        assert shown.tables()[name].equals(single.tables()[name])
    same = np.array([a == b for a, b in zip(shown.main_pictures.images, single.main_pictures.images, strict=True)])
    assert np.array_equal(same, ~several)


def test_pins_and_ideas_of_a_family_show_looks_in_their_shares(large):
    catalogue, _, shown = large
    family = np.isin(catalogue.category, [role for roles in ROLES.values() for role in roles])
    may = family & ~catalogue.product
    assert not shown.kind[~may].any()
    shares = np.bincount(shown.kind[may], minlength=3) / may.sum()
    assert np.abs(shares - [0.6, 0.25, 0.15]).max() < 0.05
    counts = (shown.rows >= 0).sum(1)
    assert set(counts[shown.kind == 0]) == {0}
    assert set(counts[shown.kind == 1]) == {2, 3, 4}
    assert set(counts[shown.kind == 2]) == {3, 4, 5}
    others = (counts - 1)[shown.kind > 0].sum()
    assert 0.6 < others / counts.sum() < 0.75
    assert 0.15 < shown.noise.sum() / others < 0.25


def test_a_look_is_of_products_of_other_categories_that_were_there(large):
    catalogue, _, shown = large
    for item in np.flatnonzero(shown.kind):
        rows = shown.rows[item][shown.rows[item] >= 0]
        assert rows[-1] == item
        assert not shown.noise[item, len(rows) - 1 :].any()
        assert catalogue.product[rows[:-1]].all()
        assert len(set(catalogue.category[rows])) == len(rows)
        assert len({CATEGORIES[category].family for category in catalogue.category[rows]}) == 1
        born = catalogue.created_ms[item]
        for row in rows[:-1]:
            alike = catalogue.product & (catalogue.category == catalogue.category[row])
            if (alike & (catalogue.created_ms < born) & (catalogue.gone_ms > born)).sum() >= ENOUGH:
                assert catalogue.created_ms[row] < born < catalogue.gone_ms[row]


def test_a_look_goes_together_but_for_what_is_there_at_random(large):
    catalogue, looks, shown = large
    fits: dict[bool, list[float]] = {True: [], False: []}
    for item in np.flatnonzero(shown.kind):
        for row, noise in zip(shown.rows[item], shown.noise[item], strict=True):
            if row >= 0 and row != item:
                fits[bool(noise)].append(float(looks.fit(catalogue, np.array([row]), np.array([item]))[0]))
    assert np.mean(fits[False]) > 0.55
    assert abs(np.mean(fits[True])) < 0.2


def test_what_an_item_shows_does_not_depend_on_the_shares(large):
    catalogue, looks, shown = large
    other = ShownLooks.make(WorldConfig(items=3000, seed=101, scene_share=0.5, collage_share=0.5), catalogue, looks)
    both = (shown.kind == other.kind) & (shown.kind > 0)
    assert both.sum() > 100
    assert np.array_equal(shown.rows[both], other.rows[both])
    assert ((other.kind == 0) & (shown.kind > 0)).sum() == 0
    with pytest.raises(ValidationError, match="at most 1"):
        WorldConfig(scene_share=0.6, collage_share=0.5)


def test_where_nothing_is_sold_nothing_is_shown_beside(large):
    catalogue, looks, _ = large
    bare = Catalogue(**{**vars(catalogue), "kind": np.zeros_like(catalogue.kind)})
    assert not ShownLooks.make(WorldConfig(items=3000, scene_share=0.5, collage_share=0.5), bare, looks).kind.any()


def test_objects_are_what_the_pictures_show(shown):
    objects, catalogue = shown.objects(), shown.behaviour.catalogue
    assert objects.schema == pl.Schema(OBJECTS)
    assert (
        dict(objects.select("item_id", "image").unique().rows()).items()
        <= dict(zip(shown.item_ids, (images[0] for images in shown.item_images()), strict=True)).items()
    )
    boxes = objects.select(SIDES).to_numpy()
    assert (boxes.min(), boxes.max()) >= (0, 0)
    assert boxes.max() <= 1
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert ((objects["visible"] > 0) & (objects["visible"] < 1 + 1e-6)).all()
    row = {item_id: k for k, item_id in enumerate(shown.item_ids)}
    for item_id, of in objects.group_by("item_id", maintain_order=True):
        item = row[item_id[0]]
        rows = shown.shown_looks.rows[item]
        if not shown.shown_looks.kind[item]:
            assert of.select("product_id", "category", "kind").rows() == [
                (shown.item_ids[item], CATEGORIES[catalogue.category[item]].name, "product")
            ]
            continue
        want = [(shown.item_ids[k] if k != item else None, CATEGORIES[catalogue.category[k]].name) for k in rows[rows >= 0]]
        assert of["kind"].unique().to_list() == [("product", "scene", "collage")[shown.shown_looks.kind[item]]]
        assert set(of.select("product_id", "category").rows()) <= set(want)
        assert of.select("product_id", "category").row(-1) == want[-1]  # its own thing is in front, and seen whole
        assert of["visible"][-1] == pytest.approx(1)
    sold = [item_id for item_id, product in zip(shown.item_ids, catalogue.product, strict=True) if product]
    assert objects.filter(kind="product")["item_id"].to_list() == sold


def test_boxes_lie_where_things_are(shown):
    """All that is far from the ground of a collage lies in a box, and most boxes are reached by it on every side."""
    files = dict(zip(shown.item_ids, shown.main_pictures.files, strict=True))
    reached: list[bool] = []
    for item_id, of in shown.objects().filter(kind="collage").group_by("item_id"):
        picture = np.asarray(Image.open(BytesIO(files[item_id[0]]))).astype(int)
        dark = (np.median(picture[[0, -1]], axis=(0, 1)) - picture).max(2) > 60
        inside = np.zeros_like(dark)
        for box in np.round(of.select(SIDES).to_numpy() * 48).astype(int):
            left, top, right, bottom = box
            inside[max(top - 1, 0) : bottom + 1, max(left - 1, 0) : right + 1] = True
            y, x = np.nonzero(dark[top:bottom, left:right])
            if len(y):
                reached += [x.min() <= 2, y.min() <= 2, x.max() >= right - left - 3, y.max() >= bottom - top - 3]
        assert not (dark & ~inside).any()
    assert len(reached) > 60
    assert np.mean(reached) > 0.85


def test_shown_outfits_are_what_lies_in_collages(shown):
    outfits = shown.shown_outfits()
    assert outfits.columns == ["outfit_id", "item_id", "category", "noise"]
    lying = shown.objects().filter(kind="collage").select(outfit_id="item_id", item_id="product_id", category="category")
    assert outfits.drop("noise").rows() == lying.rows()
    assert outfits.group_by("outfit_id").agg(pl.col("item_id").null_count())["item_id"].unique().to_list() == [1]
    assert outfits["item_id"].drop_nulls().is_in(shown.item_ids).all()


def test_without_pictures_nothing_is_shown():
    bare = World(WorldConfig.tiny(**SMALL, pictures=0))
    assert bare.objects().is_empty()
    assert bare.objects().schema == pl.Schema(OBJECTS)
    assert bare.shown_outfits().is_empty()
    assert bare.shown_outfits().schema == World(WorldConfig.tiny(**SMALL)).shown_outfits().schema
