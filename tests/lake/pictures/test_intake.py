"""Pictures of rows on their way in: replaced by what they are called in the lake, or left out with a reason."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from corkboard.errors import PictureRefused
from corkboard.lake import ingest
from corkboard.lake.ingest import ingest_file, ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.pictures import store as store_module
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.sources import FolderSource
from corkboard.lake.pictures.store import PictureStore

from ..test_kill import die_at, run
from .samples import SVG, encoded, gif, huge_png, jpeg, picture


def name_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def data_address(data: bytes, kind: str = "jpeg") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def written(folder: Path, *rows: dict) -> Path:
    file = folder / "items.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def images(lake: Path) -> dict[str, list[str]]:
    return dict(Lake(lake).items().select("item_id", "images").iter_rows())


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder with pictures, good and bad, and a secret beside it."""
    folder = tmp_path / "shop"
    (folder / "photos").mkdir(parents=True)
    files = {
        "photos/red.jpg": jpeg(1),
        "photos/red copy.jpg": jpeg(1),
        "blue.png": encoded(picture(seed=2)),
        "cut.jpg": jpeg()[:-300],
        "huge.png": huge_png(),
        "drawing.svg": SVG,
        "long.gif": gif(10_000),
        "text.jpg": b"not a picture at all",
        "empty.jpg": b"",
        "dot.png": encoded(picture(1, 1)),
        "../secret.jpg": jpeg(3),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "link.jpg").symlink_to("../secret.jpg")
    (folder / "inside.jpg").symlink_to("blue.png")
    os.mkfifo(folder / "pipe.jpg")
    return folder


def test_paths_and_data_become_pictures_of_the_lake(tmp_path: Path, shop: Path) -> None:
    web = "https://pictures.example/a.jpg"
    source = written(
        shop,
        {"item_id": "a", "images": ["photos/red.jpg", web, "blue.png", "inside.jpg"]},
        {"item_id": "b", "images": [data_address(jpeg(5))]},
        {"item_id": "c", "images": ["photos/red copy.jpg"]},
        {"item_id": "d", "images": []},
        {"item_id": "e"},
    )
    report = ingest_file(tmp_path / "lake", source)
    blue = name_of(encoded(picture(seed=2)))
    assert images(tmp_path / "lake") == {
        "a": [name_of(jpeg(1)), web, blue, blue],
        "b": [name_of(jpeg(5))],
        "c": [name_of(jpeg(1))],
        "d": [],
        "e": None,
    }
    assert (report.pictures.stored, report.pictures.refused, report.pictures.by_address) == (3, 0, 1)
    assert (report.refused, report.rows_added) == (0, {"items": 5})
    assert "pictures: 3 new, 1 named by address" in report.render()
    again = ingest_file(tmp_path / "lake", source)
    assert (again.duplicates, again.pictures.stored) == (5, 0)


LEFT_OUT = {
    "cut.jpg": "truncated|Truncated",
    "huge.png": "too many pixels",
    "drawing.svg": "SVG",
    "long.gif": "too many frames",
    "text.jpg": "text",
    "empty.jpg": "empty",
    "dot.png": "too small",
    "nowhere.jpg": "no such file",
    "photos": "no file|cannot be read",
    "pipe.jpg": "no file",
    "link.jpg": "leads out",
    "../secret.jpg": "leads out",
    "/etc/passwd": "leads out",
    "file:///etc/passwd": "no such file",
    "a\x00b.jpg": "cannot be read",
    "x" * 5_000: "cannot be read",
    "ftp://pictures.example/a.jpg": "no such file",
    "sha256:" + "0" * 64: "no such picture",
    "sha256:beef": "no name of a picture",
    "data:image/png;base64,????": "not base64",
    "data:text/plain,hello": "no picture in base64",
    data_address(b"text"): "not a picture",
}


def test_each_that_leads_to_no_picture_is_left_out_and_its_item_stays(tmp_path: Path, shop: Path) -> None:
    source = written(shop, *({"item_id": f"i{n}", "images": [image, "blue.png"]} for n, image in enumerate(LEFT_OUT)))
    report = ingest_file(tmp_path / "lake", source)
    blue = name_of(encoded(picture(seed=2)))
    assert images(tmp_path / "lake") == {f"i{n}": [blue] for n in range(len(LEFT_OUT))}
    assert (report.refused, report.refused_file, report.rows_added) == (0, None, {"items": len(LEFT_OUT)})
    assert (report.pictures.refused, len(report.pictures.refusals)) == (len(LEFT_OUT), 20)
    kept = [json.loads(line) for line in Path(report.pictures.refused_file).read_text().splitlines()]
    for number, (row, (image, reason)) in enumerate(zip(kept, LEFT_OUT.items(), strict=True)):
        assert (row["row"], row["field"], row["original"]["item_id"]) == (number + 1, "images[0]", f"i{number}")
        assert any(part in row["found"] for part in reason.split("|")), (image, row)
    assert "picture left out, row 1: 'cut.jpg': The JPEG " in report.render()
    assert "… and 2 more" in report.render()
    assert not any(line.startswith("  refused row") for line in report.render().splitlines())


def test_folders_that_are_named_leave_no_file_open(shop: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    assert all(isinstance(found, PictureRefused) for _, found in FolderSource(shop).read(["photos", ".", "photos/."], PictureLimits()))
    assert len(os.listdir("/dev/fd")) == before


def test_csv_and_parquet_name_pictures_alike(tmp_path: Path, shop: Path) -> None:
    (shop / "items.csv").write_text('item_id,images\na,photos/red.jpg|blue.png\nb,"[""blue.png"", ""cut.jpg""]"\nc,\n')
    ingest_file(tmp_path / "csv", shop / "items.csv")
    lists = [["photos/red.jpg", "blue.png"], ["blue.png", "cut.jpg"], None]
    pl.DataFrame({"item_id": ["a", "b", "c"], "images": lists}).write_parquet(shop / "items.parquet")
    ingest_file(tmp_path / "parquet", shop / "items.parquet")
    blue = name_of(encoded(picture(seed=2)))
    assert images(tmp_path / "parquet") == {"a": [name_of(jpeg(1)), blue], "b": [blue], "c": None}
    assert {key: value or None for key, value in images(tmp_path / "csv").items()} == images(tmp_path / "parquet")


def test_what_is_no_list_of_texts_refuses_its_row_as_before(tmp_path: Path, shop: Path) -> None:
    source = written(
        shop, {"item_id": "a", "images": {"url": "blue.png"}}, {"item_id": "b", "images": ["blue.png"]}, {"item_id": "c", "images": [None]}
    )
    report = ingest_file(tmp_path / "lake", source)
    assert [(r["row"], r["field"]) for r in report.refusals] == [(1, "images"), (3, "images[0]")]
    assert images(tmp_path / "lake") == {"b": [name_of(encoded(picture(seed=2)))]}


def test_live_rows_cannot_name_files_of_this_machine(tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop)
    row = {"time_ms": [0], "item_id": ["a"], "images": [["blue.png", str(shop / "blue.png"), data_address(encoded(picture(8, 8)), "png")]]}
    report = ingest_frames(tmp_path / "lake", {"items": pl.DataFrame(row)}, "store")
    assert images(tmp_path / "lake") == {"a": [name_of(encoded(picture(8, 8)))]}
    assert report.pictures.refused == 2
    assert "do not come from a file" in report.pictures.refusals[0]["found"]


def test_limits_are_those_of_the_caller(tmp_path: Path, shop: Path) -> None:
    source = written(shop, {"item_id": "a", "images": ["blue.png", data_address(jpeg(7))]})
    report = ingest_file(tmp_path / "lake", source, limits=PictureLimits(max_bytes=100))
    assert images(tmp_path / "lake") == {"a": []}
    assert all("too large" in r["found"] for r in report.pictures.refusals)


def test_a_picture_as_large_as_the_limit_fits_into_a_row(tmp_path: Path, shop: Path) -> None:
    import numpy as np

    noise = encoded(np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8))
    source = written(shop, {"item_id": "a", "images": [data_address(noise, "png")]})
    ingest_file(tmp_path / "lake", source, limits=PictureLimits(max_bytes=len(noise)))
    assert images(tmp_path / "lake") == {"a": [name_of(noise)]}


# ------------------------------------------------------------------------------------------------------------- kill -9

POINTS: dict[str, tuple[object, str, int]] = {
    "while pictures are written aside": (Path, "write_bytes", 3),
    "before they are durable": (store_module, "make_durable", 1),
    "while they are put in place": (store_module.os, "replace", 2),
    "before their names are durable": (store_module, "make_durable", 2),
    "before rows are written": (ingest, "write_tables", 1),
    "before the commit": (ingest, "publish", 1),
}


def ingest_and_die(folder: Path, source: Path, point: str) -> None:
    die_at(*POINTS[point])
    ingest_file(folder, source)


@pytest.mark.parametrize("point", POINTS)
def test_a_row_is_never_visible_before_its_picture(tmp_path: Path, point: str) -> None:
    for number in range(5):
        (tmp_path / f"{number}.jpg").write_bytes(jpeg(number))
    source = written(tmp_path, *({"item_id": f"i{n}", "images": [f"{n}.jpg"]} for n in range(5)))
    lake = tmp_path / "lake"
    assert run(ingest_and_die, lake, source, point) == -signal.SIGKILL
    _all_named_are_there(lake)
    for path in (lake / "pictures").glob("??/*"):
        assert PictureStore(lake).rgb(path.stem).shape == (24, 32, 3)  # what has its name is whole
    ingest_file(lake, source)
    assert images(lake) == {f"i{n}": [name_of(jpeg(n))] for n in range(5)}
    _all_named_are_there(lake)
    assert not list((lake / "pictures" / "incoming").iterdir())


def _all_named_are_there(lake: Path) -> None:
    store = PictureStore(lake)
    items = Lake(lake).items()
    assert all(store.has(image.removeprefix("sha256:")) for image in items["images"].explode().drop_nulls())


def test_two_writers_bring_the_same_pictures(tmp_path: Path, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = written(shop, {"item_id": "a", "images": ["blue.png"]})
    other = written(shop / "photos", {"item_id": "b", "images": ["red.jpg"]})
    (shop / "photos" / "blue.png").write_bytes((shop / "blue.png").read_bytes())
    really: Callable = ingest.publish
    calls = []

    def publish_after_another(*arguments: object) -> bool:
        if not calls:
            calls.append(1)
            ingest_file(tmp_path / "lake", other)
        return really(*arguments)

    monkeypatch.setattr(ingest, "publish", publish_after_another)
    ingest_file(tmp_path / "lake", source)
    assert set(images(tmp_path / "lake")) == {"a", "b"}
    _all_named_are_there(tmp_path / "lake")
