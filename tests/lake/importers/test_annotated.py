"""Boxes of COCO, YOLO and tables: tiny sets by hand, what is refused and where, and the real ones where they are there."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corkboard.cli.app import app
from corkboard.errors import InputError
from corkboard.lake.check import look
from corkboard.lake.importers import find_importer, ingest_outside, load_outside
from corkboard.lake.importers.yolo import class_names
from corkboard.lake.lake import Lake
from corkboard.lake.pictures.decode import decode
from corkboard.lake.pictures.store import hash_of


def picture(seed: int, width: int = 20, height: int = 10) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), 20 * seed + 15, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


PICTURES = {"a.png": picture(1), "b.png": picture(2, 10, 10), "c.png": picture(3)}
COCO: dict[str, Any] = {
    "info": {},
    "images": [
        {"id": 1, "file_name": "a.png", "width": 200, "height": 100},  # the file was made smaller
        {"id": 2, "file_name": "b.png"},  # 10 x 10, as its header says
        {"id": 3, "file_name": "c.png", "width": 20, "height": 10},
    ],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 7, "bbox": [20, 10, 100, 50]},
        {"id": 2, "image_id": 1, "category_id": 9, "bbox": [150, 0, 50.4, 100]},  # reaches over the edge by a rounding
        {"id": 3, "image_id": 2, "category_id": 9, "bbox": [0, 5, 5, 5]},
        {"id": 4, "image_id": 2, "category_id": 9, "bbox": [0, 0, 10, 10], "iscrowd": 1},
    ],
    "categories": [{"id": 7, "name": "shoe"}, {"id": 9, "name": "bag"}],
}
BOXES = [("a", (0.1, 0.1, 0.6, 0.6), "shoe"), ("a", (0.75, 0.0, 1.0, 1.0), "bag"), ("b", (0.0, 0.5, 0.5, 1.0), "bag")]
"""What every format below tells."""


def write(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


def tar_of(files: dict[str, bytes | str], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, data in files.items():
            member, data = tarfile.TarInfo(name), data.encode() if isinstance(data, str) else data
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def below(folder: str) -> dict[str, bytes | str]:
    return {f"{folder}/{name}": data for name, data in PICTURES.items()}


YOLO = {"a": "0 0.35 0.35 0.5 0.5\n1 0.875 0.5 0.25 1\n", "b": "\n1 0 0.5 0.5 0.5 0.5 1 0 1\n", "c": ""}
"""The second picture has a polygon, the third an empty file."""
NAMES = "path: .\ntrain: images\nnames:\n  0: shoe  # on feet\n  1: 'bag'\nnc: 2\n"
TABLE = "file,label,x0,y0,x1,y1,area\na.png,shoe,.1,.1,.6,.6,1\na,bag,.75,0,1.004,1,2\nb.png,bag,0,.5,.5,1,3\n"


def coco_in_folders(folder: Path) -> Path:
    return write(folder, {**below("images"), "annotations/instances.json": json.dumps(COCO)})


def coco_in_tar(folder: Path) -> Path:
    return write(folder, {"images.tar": tar_of(PICTURES), "coco.json.gz": gzip.compress(json.dumps(COCO).encode())})


def yolo_in_folders(folder: Path) -> Path:
    return write(folder, {**below("images/train"), "data.yaml": NAMES, **{f"labels/train/{n}.txt": t for n, t in YOLO.items()}})


def yolo_in_tars(folder: Path) -> Path:
    labels = tar_of({f"train/{name}.txt": text for name, text in YOLO.items()}, "w:gz")
    return write(folder, {"images.tar": tar_of(below("train")), "labels.tar.gz": labels, "config.yaml": NAMES})


def yolo_side_by_side(folder: Path) -> Path:
    return write(folder, {**below("train"), "classes.txt": "shoe\nbag\n", **{f"train/{n}.txt": t for n, t in YOLO.items()}})


def table_of_shares(folder: Path) -> Path:
    pieces = TABLE + "a.png,shoe,0,0,.1,.1,1\n"
    return write(folder, {"images.tar": tar_of(PICTURES), "pieces.csv": pieces, "merged.csv.gz": gzip.compress(TABLE.encode())})


def table_of_px(folder: Path) -> Path:
    rows = "filename\tclass\txmin\tymin\txmax\tymax\na.png\tshoe\t2\t1\t12\t6\na.png\tbag\t15\t0\t20\t10\nb.png\tbag\t0\t5\t5\t10\n"
    return write(folder, {**below("photos"), "boxes.tsv": rows})


LAYOUTS = {
    "coco": (coco_in_folders, coco_in_tar),
    "yolo": (yolo_in_folders, yolo_in_tars, yolo_side_by_side),
    "boxes": (table_of_shares, table_of_px),
}


@pytest.mark.parametrize(("name", "layout"), [(name, layout) for name, layouts in LAYOUTS.items() for layout in layouts])
def test_every_layout_gives_the_same_boxes(tmp_path: Path, name: str, layout: Callable[[Path], Path]) -> None:
    path = layout(tmp_path / "data")
    assert find_importer(path).name == name
    report = ingest_outside(tmp_path / "lake", path)
    assert report.refused == 0
    assert report.pictures.refused == 0
    lake = Lake(tmp_path / "lake")
    objects = {(row["item_id"], row["category"]): row for row in lake.objects().iter_rows(named=True)}
    assert len(objects) == 3
    for item, box, category in BOXES:
        row = objects[item, category]
        assert row["box"] == pytest.approx(box, abs=1e-6)
        assert (row["source"], row["image_hash"], row["time_ms"]) == (name, f"sha256:{hash_of(PICTURES[f'{item}.png'])}", 0)
    items = {row["item_id"]: row for row in lake.items().iter_rows(named=True)}
    assert set(items) == ({"a", "b"} if name == "boxes" else {"a", "b", "c"})
    assert items["a"]["kind"] == "pin"
    assert items["a"]["images"] == [objects["a", "shoe"]["image_hash"]]
    assert lake.pictures().main(lake.items()).height == len(items)
    assert ingest_outside(tmp_path / "lake", path).rows_added == {}


@pytest.mark.parametrize("turn", [5, 6, 7, 8])
def test_boxes_of_pictures_that_are_turned_lie_on_what_they_were_drawn_around(tmp_path: Path, turn: int) -> None:
    """A black block in what is stored, 40 x 20; its box is told in px of the stored picture, of the upright one, and as a table."""
    stored = np.full((20, 40, 3), 255, np.uint8)
    stored[2:10, 4:16] = 0
    stream, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = turn
    Image.fromarray(stored).save(stream, "PNG", exif=exif)
    upright = decode(stream.getvalue()).rgb
    rows, columns = np.nonzero(upright[:, :, 0] == 0)
    x0, y0, x1, y1 = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    told = [
        {"id": 1, "file_name": "a.png", "width": 40, "height": 20},
        {"id": 2, "file_name": "b.png", "width": 20, "height": 40},
        {"id": 3, "file_name": "c.png"},
    ]
    boxes = [[4, 2, 12, 8], [x0, y0, x1 - x0, y1 - y0], [x0, y0, x1 - x0, y1 - y0]]
    annotations = [{"id": n, "image_id": n, "category_id": 7, "bbox": box} for n, box in enumerate(boxes, start=1)]
    coco = {"images": told, "annotations": annotations, "categories": [{"id": 7, "name": "shoe"}]}
    names = {f"{name}.png": stream.getvalue() for name in "abc"}
    path = write(tmp_path / "data", {**{f"images/{name}": data for name, data in names.items()}, "coco.json": json.dumps(coco)})
    found = load_outside(path).frames["objects"]
    assert len(found) == 3
    for box in found["box"].to_list():
        assert box == pytest.approx((x0 / 20, y0 / 40, x1 / 20, y1 / 40), abs=1e-6)


@pytest.mark.parametrize(("name", "layout"), [(name, layouts[0]) for name, layouts in LAYOUTS.items()])
def test_check_says_what_it_is(tmp_path: Path, name: str, layout: Callable[[Path], Path]) -> None:
    path = layout(tmp_path / "data")
    report = look(path)
    assert report.importer == name
    assert report.tables == {"items": 2 if name == "boxes" else 3, "objects": 3}
    assert report.command == f"corkboard ingest {path}"
    report.render()


def test_check_looks_at_a_set_without_actions(tmp_path: Path) -> None:
    folder = write(tmp_path / "data", {**below("images"), "table.csv": "id,title,file\n1,One,a.png\n2,Two,b.png\n"})
    report = look(folder)
    assert (report.importer, report.tables, report.activity) == ("photos", {"items": 2}, None)
    report.render()


def test_crowds_are_left_out_with_a_note(tmp_path: Path) -> None:
    assert any("1 regions" in note and "crowds" in note for note in load_outside(coco_in_tar(tmp_path / "data")).notes)


def test_of_two_tables_the_one_whose_labels_repeat_least_is_read(tmp_path: Path) -> None:
    folder = table_of_shares(tmp_path / "data")
    imported = load_outside(folder)
    assert imported.frames["objects"].height == 3
    assert any("pieces.csv" in note for note in imported.notes)
    assert load_outside(folder / "pieces.csv").frames["objects"].height == 4


# ---------------------------------------------------------------------------------------------------------------- refused


def refusals(report: Any) -> list[tuple[int, str, str]]:
    return [(one["row"], one["field"], one["found"]) for one in report.refusals]


def test_bad_coco_rows_are_refused_where_they_stand_and_good_ones_stay(tmp_path: Path) -> None:
    changed = json.loads(json.dumps(COCO))
    changed["images"].append({"id": 4, "file_name": "gone.png", "width": 9, "height": 9})
    changed["images"].append({"file_name": "a.png"})
    box = {"image_id": 1, "category_id": 7, "bbox": [0, 0, 10, 10]}
    bad = [
        {**box, "bbox": [150, 0, 100, 50]},  # outside
        {**box, "bbox": [10, 10, 0, 50]},  # no area
        {**box, "bbox": [10, 10, -5, 50]},
        {**box, "bbox": [10, 10, 5]},
        {**box, "bbox": [10, 10, "5", 5]},
        {**box, "bbox": [10, 10, 10**400, 5]},
        {**box, "bbox": [10, 10, float("nan"), 5]},
        {**box, "category_id": 8},
        {**box, "image_id": 99},
        {**box, "image_id": 4},
        "no annotation",
    ]
    changed["annotations"] += bad
    folder = write(tmp_path / "data", {**below("images"), "coco.json": json.dumps(changed)})
    report = ingest_outside(tmp_path / "lake", folder)
    assert report.rows_added == {"items": 3, "objects": 3}
    assert report.refused == len(bad) + 2
    assert report.rows_read == 6 + len(bad) + 2
    by_field = [(row, field) for row, field, _ in refusals(report)]
    assert (4, "coco.json: images.file_name") in by_field
    assert (5, "coco.json: images") in by_field
    assert [row for row, field in by_field if field.endswith("annotations.bbox")] == [5, 6, 7, 8, 9, 10, 11]
    assert (12, "coco.json: annotations.category_id") in by_field
    assert (13, "coco.json: annotations.image_id") in by_field
    assert (14, "coco.json: picture") in by_field
    assert (15, "coco.json: annotations") in by_field
    kept = [json.loads(line) for line in report.refused_file.read_text().splitlines()]
    assert {"row": 12, "field": "coco.json: annotations.category_id", "found": "8", "expected": "the id of a category"}.items() <= next(
        one for one in kept if one["row"] == 12
    ).items()
    assert next(one for one in kept if one["row"] == 12)["original"] == bad[7]


def test_bad_yolo_lines_are_refused_where_they_stand(tmp_path: Path) -> None:
    folder = yolo_in_folders(tmp_path / "data")
    lines = ["0 0.5 0.5 0.2 0.2", "7 0.5 0.5 0.2 0.2", "0 0.5 0.5 0.2", "x 1 1 1 1", "0 0.9 0.5 0.4 0.2", "1 0.5 0.5 0 0.2", "0 nan 0 0 0"]
    write(folder, {"labels/train/c.txt": "\n".join(lines), "labels/train/gone.txt": "0 0.5 0.5 0.2 0.2\n"})
    write(tmp_path, {"secret.txt": "a secret"})
    (folder / "labels" / "train" / "linked.txt").symlink_to(tmp_path / "secret.txt")
    report = ingest_outside(tmp_path / "lake", folder)
    assert report.rows_added == {"items": 3, "objects": 4}
    file = "labels/train/c.txt"
    wanted = [(2, "class"), (3, "line"), (4, "line"), (5, "box"), (6, "box"), (7, "box")]
    assert [(row, field) for row, field, _ in refusals(report)] == [
        *[(row, f"{file}: {what}") for row, what in wanted],
        (1, "labels/train/gone.txt: picture"),
    ]
    assert report.refusals[0]["expected"] == "the number of one of 2 classes"


def test_bad_rows_of_a_table_are_refused_where_they_stand(tmp_path: Path) -> None:
    more = "a.png,,0,0,1,1,1\na.png,bag,0,0,wide,1,1\na.png,bag,.5,0,.4,1,1\ngone.png,bag,0,0,1,1,1\n,bag,0,0,1,1,1\n"
    folder = write(
        tmp_path / "data", {"images.tar": tar_of({**PICTURES, "text.png": b"text"}), "boxes.csv": f"{TABLE}{more}text.png,bag,0,0,1,1,1\n"}
    )
    report = ingest_outside(tmp_path / "lake", folder)
    assert report.rows_added["objects"] == 3
    assert [(row, field.partition(": ")[2]) for row, field, _ in refusals(report)] == [
        (4, "label"),
        (5, "box"),
        (6, "box"),
        (7, "picture"),
        (8, "picture"),
        (9, "picture"),
    ]
    assert "text.png" in report.refusals[-1]["found"]


def test_check_shows_what_would_be_refused(tmp_path: Path) -> None:
    folder = yolo_in_folders(tmp_path / "data")
    write(folder, {"labels/train/c.txt": "7 0.5 0.5 0.2 0.2\n"})
    assert any("1 rows would be refused" in note and "labels/train/c.txt: class" in note for note in look(folder).notes)


@pytest.mark.parametrize(
    ("files", "name", "message"),
    [
        ({"coco.json": json.dumps({**COCO, "annotations": {}}), **below("images")}, "coco", "lists: images, annotations, categories"),
        ({"coco.json": json.dumps(COCO)[:-20], **below("images")}, "coco", "is no JSON"),
        ({"coco.json": json.dumps(COCO)}, "coco", "no pictures beside the boxes"),
        ({"coco.json": "[1]"}, "coco", "no COCO annotations"),
        ({"labels/a.txt": YOLO["a"], **below("images")}, "yolo", "names the classes"),
        ({"data.yaml": NAMES, **below("images")}, "yolo", "no labels"),
        ({"data.yaml": "names:\nnc: 2\n", "labels/a.txt": YOLO["a"], **below("images")}, "yolo", "names no classes"),
        ({"boxes.csv": "file,label,x0,y0\n", **below("images")}, "boxes", "no table of boxes"),
        ({"boxes.csv": TABLE}, "boxes", "no pictures beside the boxes"),
    ],
)
def test_what_is_missing_is_said(tmp_path: Path, files: dict[str, bytes | str], name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_outside(write(tmp_path / "data", files), name)


def test_pictures_of_one_name_in_two_folders_are_two_items(tmp_path: Path) -> None:
    files = {"images/x/a.png": picture(1), "images/y/a.png": picture(2), "data.yaml": NAMES}
    labels = {"labels/x/a.txt": "0 0.5 0.5 0.5 0.5\n", "labels/y/a.txt": "1 0.5 0.5 0.5 0.5\n"}
    objects = load_outside(write(tmp_path / "data", {**files, **labels})).frames["objects"]
    assert dict(objects.select("item_id", "category").iter_rows()) == {"images/x/a": "shoe", "images/y/a": "bag"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("names: [shoe, 'big bag', \"a, b\"]\nnc: 3\n", ["shoe", "big bag", "a, b"]),
        ("names:\n- shoe\n- bag # of any kind\n\n- hat\nnc: 3\n", ["shoe", "bag", "hat"]),
        ('nc: 2\nnames:\n  "0": shoe\n  1: bag\n', ["shoe", "bag"]),
        ("names: {0: shoe, 1: bag}\n", ["shoe", "bag"]),
        ("names: [shoe,\n  bag]\nnc: 2\n", ["shoe", "bag"]),
        ("names: # all of them\n  0: shoe\n", ["shoe"]),
    ],
)
def test_names_of_classes_are_read_from_yaml(text: str, expected: list[str]) -> None:
    assert class_names(text, "data.yaml") == dict(enumerate(expected))


# ------------------------------------------------------------------------------------------------------------------- real


@pytest.mark.parametrize(
    ("name", "source", "items", "objects", "refused", "classes"),
    [("coco128", "yolo", 256, 1_827, 12, 76), ("clothing-coparsing", "boxes", 501, 3_531, 0, 53)],
)
def test_real_boxes_import_with_one_command(
    real_data: Callable[[str], Path], tmp_path: Path, name: str, source: str, items: int, objects: int, refused: int, classes: int
) -> None:
    """Two label files of coco128 have no picture: they hold 12 boxes of its 1,839."""
    result = CliRunner().invoke(app, ["ingest", str(real_data(name)), "-w", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["rows_added"] == {"items": items, "objects": objects}
    assert (report["refused"], report["pictures"]["refused"]) == (refused, 0)
    found = Lake(tmp_path / "lake").objects()
    assert found["source"].unique().to_list() == [source]
    assert found["category"].n_unique() == classes
    assert all(0 <= left < right <= 1 and 0 <= top < bottom <= 1 for left, top, right, bottom in found["box"].to_list())
