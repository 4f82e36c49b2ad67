"""Picture sets on disk, contact sheets, and scenes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from corkboard.errors import InputError, NotFound
from corkboard.pipeline.show import show
from corkboard.world import picture_set as module
from corkboard.world.composing import box_of
from corkboard.world.config import WorldConfig
from corkboard.world.picture_set import picture_set
from corkboard.world.rendering import Products, render
from corkboard.world.scenes import scenes
from corkboard.world.sheet import by_category, contact_sheet, products_sheet
from corkboard.world.world import World

VIEWS = {"catalogue": 1, "camera": 2}


@pytest.fixture(scope="module")
def products() -> Products:
    return Products.drawn(30, seed=3)


def test_a_set_holds_every_view_and_is_made_once(products, tmp_path, monkeypatch):
    told = []
    made = picture_set(products, tmp_path, VIEWS, 16, seed=4, progress=lambda *state: told.append(state))
    assert told[-1] == ("pictures", 90, 90)
    assert made["camera"].shape == (2, 30, 16, 16, 3)
    assert np.array_equal(made["camera"][1], render(products, None, "camera", 1, 16, 4))
    assert not made["catalogue"].flags.writeable
    with pytest.raises(InputError, match="no pictures"):
        made["web"]
    monkeypatch.setattr(module, "render", lambda *_: pytest.fail("made twice"))
    assert np.array_equal(picture_set(products, tmp_path, VIEWS, 16, seed=4)["camera"], made["camera"])


def test_other_settings_are_another_set_and_a_broken_one_is_made_again(products, tmp_path):
    first = picture_set(products, tmp_path, VIEWS, 16)
    others = [
        picture_set(products.take(range(29)), tmp_path, VIEWS, 16),
        picture_set(products, tmp_path, {"catalogue": 1}, 16),
        picture_set(products, tmp_path, VIEWS, 12),
        picture_set(products, tmp_path, VIEWS, 16, seed=1),
        picture_set(products, tmp_path, VIEWS, 16, backgrounds="held_out"),
    ]
    assert len({one.folder for one in (first, *others)}) == 6
    want = first["camera"].copy()
    (first.folder / "facts.json").unlink()
    (first.folder / "camera.npy").write_bytes(b"half of it")
    assert np.array_equal(picture_set(products, tmp_path, VIEWS, 16)["camera"], want)
    with pytest.raises(InputError, match="by domain"):
        picture_set(products, tmp_path, {"photo": 1}, 16)


def test_scenes_are_the_same_whatever_their_number(products):
    few, many = scenes(products, 5, seed=2, side=48, threads=1), scenes(products, 40, seed=2, side=48)
    assert np.array_equal(few.images, many.images[:5])
    rows = many.scene < 5
    for name in ("scene", "boxes", "product", "category", "style", "visible", "depth"):
        assert np.array_equal(getattr(few, name), getattr(many, name)[rows])
    assert not np.array_equal(scenes(products, 5, seed=3, side=48).images, few.images)


def test_boxes_hold_what_shows(products):
    made = scenes(products, 60, seed=6, side=64)
    counts = np.bincount(made.scene, minlength=60)
    assert set(counts) <= {1, 2, 3, 4}
    assert (counts >= 2).mean() > 0.95
    left, top, right, bottom = made.boxes.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert max(right.max(), bottom.max()) <= 64
    assert (right - left).min() > 2
    assert (bottom - top).min() > 2
    assert ((made.visible > 0) & (made.visible <= 1 + 1e-6)).all()
    front = np.array([made.depth[made.scene == k].max() for k in made.scene.tolist()]) == made.depth
    assert made.visible[front] == pytest.approx(1)  # nothing lies before the last one
    assert made.visible[~front].min() < 0.99
    assert np.array_equal(made.category, products.category[made.product])
    assert np.array_equal(made.style, products.style[made.product])


def test_what_is_hidden_is_in_no_box():
    seen, out = np.zeros((10, 10)), np.zeros(5)
    seen[2:5, 3:9] = 1.0
    seen[4, 8] = 0.4  # less than half
    seen[7, 1] = 0.49
    box_of(seen, 36.0, out)
    assert out.tolist() == [3, 2, 9, 5, pytest.approx((17 + 0.4 + 0.49) / 36)]
    nothing = np.zeros(5)
    box_of(np.full((4, 4), 0.3), 4.8, nothing)
    assert nothing.tolist() == [0] * 5


def test_scenes_of_chosen_products(products):
    together = [[3, 4], [5, 6, 7, 8], [9, 9, 2]]
    made = scenes(products, 3, seed=1, side=48, together=together)
    for k, rows in enumerate(together):
        assert set(made.product[made.scene == k]) <= set(rows)
    assert np.array_equal(made.product[made.scene == 0], [3, 4])
    with pytest.raises(InputError, match="one to four"):
        scenes(products, 1, seed=1, together=[[1, 2, 3, 4, 5]])
    with pytest.raises(InputError, match="one to four"):
        scenes(products, 2, seed=1, together=[[1, 2]])


def test_a_sheet_lays_pictures_side_by_side(products):
    images = np.arange(6, dtype=np.uint8).repeat(4 * 4 * 3).reshape(2, 3, 4, 4, 3)
    sheet = contact_sheet(images, gap=1)
    assert sheet.shape == (11, 16, 3)
    assert sheet[1, 1].tolist() == [0, 0, 0]
    assert sheet[6, 11].tolist() == [5, 5, 5]
    assert sheet[0, 0].tolist() == [247] * 3
    rows = by_category(products, 10)
    assert len(set(products.category[rows])) == min(10, len(set(products.category)))
    assert products_sheet(products, rows[:2], side=16).shape == (2 * 22 + 6, 5 * 22 + 6, 3)


def test_show_pictures_writes_a_sheet(tmp_path):
    world = World(WorldConfig.tiny())
    here = SimpleNamespace(folder=tmp_path, world=lambda: world)
    facts = show(here, "pictures")
    assert facts["contact sheet"] == str(tmp_path / "pictures.png")
    assert (tmp_path / "pictures.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert facts["rows"].split(", ")[0] in world.item_ids
    with pytest.raises(NotFound, match="no simulated world"):
        show(SimpleNamespace(folder=tmp_path, world=lambda: None), "pictures")
