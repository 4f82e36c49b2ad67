"""Which picture an item shows, and many as one array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.errors import NotFound
from corkboard.lake.lake import Lake
from corkboard.lake.pictures import reading
from corkboard.lake.pictures.fetch import SCHEMA
from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.pictures.store import PictureStore

from .samples import encoded, jpeg, picture


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    store = PictureStore(tmp_path)
    names = [store.put(encoded(picture(8, 16, seed))) for seed in range(3)]
    rows = [
        ("http://a/0", names[0], None, False, 1),
        ("http://a/gone", None, "status 404", False, 1),
        ("http://a/late", None, "down", True, 1),
        ("http://a/late", names[2], None, False, 2),
    ]
    folder = tmp_path / "pictures" / "fetched"
    folder.mkdir()
    pl.DataFrame(rows[:3], schema=SCHEMA, orient="row").write_parquet(folder / "2.parquet")
    pl.DataFrame(rows[3:], schema=SCHEMA, orient="row").write_parquet(folder / "1.parquet")
    return tmp_path


def names_of(lake: Path) -> list[str]:
    return [PictureStore(lake).put(encoded(picture(8, 16, seed))) for seed in range(3)]


def test_hashes_of_every_kind_of_entry(lake: Path) -> None:
    names = names_of(lake)
    entries = [f"sha256:{names[1]}", "http://a/0", "http://a/gone", "http://a/late", "http://a/unknown", "sha256:" + "0" * 64, "a.jpg"]
    assert Lake(lake).pictures().hashes(entries) == [names[1], names[0], None, names[2], None, None, None]
    assert Pictures(lake).hashes([]) == []


def test_the_main_picture_is_the_first_that_there_is(lake: Path) -> None:
    names = names_of(lake)
    items = pl.DataFrame(
        {
            "item_id": ["c", "a", "b", "none", "null"],
            "images": [["http://a/gone", f"sha256:{names[1]}", "http://a/0"], ["http://a/0"], ["http://a/late"], [], None],
        },
        schema_overrides={"images": pl.List(pl.String)},
    )
    assert Pictures(lake).main(items).rows() == [("c", names[1]), ("a", names[0]), ("b", names[2])]
    assert Pictures(lake).main(items.clear()).rows() == []


def test_the_digest_tells_what_was_fetched(lake: Path) -> None:
    before = Pictures(lake).digest
    assert Pictures(lake).digest == before
    more = pl.DataFrame([("http://a/gone", None, "again", False, 3)], schema=SCHEMA, orient="row")
    more.write_parquet(lake / "pictures" / "fetched" / "3.parquet")
    assert Pictures(lake).digest == before  # still no picture there
    more.with_columns(hash=pl.lit(names_of(lake)[0])).write_parquet(lake / "pictures" / "fetched" / "4.parquet")
    assert Pictures(lake).digest != before


def test_arrays_stand_on_white_squares(lake: Path) -> None:
    names = names_of(lake)
    array = Pictures(lake).array([names[1], names[0], names[1]], 8)
    assert (array.shape, array.dtype, array.flags.writeable) == ((3, 8, 8, 3), np.uint8, False)
    assert (array[:, :2] == 255).all()
    assert (array[:, 6:] == 255).all()
    assert not (array[:, 2:6] == 255).all()
    assert np.array_equal(array[0], array[2])
    assert np.abs(array[1, 2:6, 4].astype(int) - picture(8, 16, 0)[::2, 8]).max() < 40
    assert Pictures(lake).array(names, 16).shape == (3, 16, 16, 3)  # the picture is 16 px long: as it is
    assert np.array_equal(Pictures(lake).array([names[0]], 16)[0, 4:12], PictureStore(lake).rgb(names[0]))
    assert Pictures(lake).array([], 8).shape == (0, 8, 8, 3)


def test_tall_pictures_and_small_ones(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    black = np.zeros((40, 10, 3), np.uint8)
    array = Pictures(tmp_path).array([store.put(encoded(black)), store.put(encoded(black[:10]))], 20)
    assert (array[0, :, :7] == 255).all()
    assert (array[0, :, 8:12] == 0).all()
    assert (array[1] == 0).all()  # a small square fills the large one


def test_arrays_are_made_once_and_old_ones_go(lake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names, made = names_of(lake), []
    really = reading._read_on_square
    monkeypatch.setattr(reading, "_read_on_square", lambda path, side: made.append(side) or really(path, side))
    first = Pictures(lake).array(names, 8)
    assert np.array_equal(Pictures(lake).array(names, 8), first)
    assert len(made) == 3
    for side in range(9, 9 + reading.ARRAYS_KEPT):
        Pictures(lake).array(names, side)
    assert len(list((lake / "pictures" / "arrays").iterdir())) == reading.ARRAYS_KEPT
    assert first[0, 4].any()  # who has it still reads it
    Pictures(lake).array(names, 8)
    assert made.count(8) == 6


def test_a_hash_that_is_not_there_makes_no_array(lake: Path) -> None:
    with pytest.raises(NotFound, match="no such picture"):
        Pictures(lake).array([*names_of(lake), "0" * 64], 8)
    assert list((lake / "pictures" / "arrays").iterdir()) == []


def test_many_pictures_in_one_pass(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    names = [store.put(jpeg(seed)) for seed in range(5)]
    wanted = [names[place % 5] for place in range(200)]
    array = Pictures(tmp_path).array(wanted, 6)
    for seed in range(5):
        assert (array[seed::5] == reading._read_on_square(store.path(names[seed]), 6)).all()
