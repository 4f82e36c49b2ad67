"""Pictures in a folder or a tar, with a table: made by hand, hostile, and the real ones where they are there."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from typer.testing import CliRunner

from corkboard.cli.app import app
from corkboard.errors import InputError
from corkboard.lake.importers import find_importer, ingest_outside, load_outside
from corkboard.lake.lake import Lake
from corkboard.lake.pictures import sources
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.store import PictureStore, hash_of


def photo(seed: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.full((12, 16, 3), 20 * seed + 15, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


TABLE = """id,articleType,masterCategory,productDisplayName,baseColour,year,usage,file
11,Shirts,Apparel,"Navy, checked",Navy Blue,2011.0,Casual,11.png
12,Shirts,Apparel,White one,White,2012.0,NA,12.png
13,Jeans,Apparel,Blue jeans,Blue,2012.0,Casual,13.png
14,Watches,Accessories,A watch,Silver,2011.0,Formal,14.png
14,Watches,Accessories,A watch,Silver,2011.0,Formal,14-back.png
15,Shirts,Apparel,Never photographed,Blue,2011.0,Casual,15.png
"""
PHOTOS = {f"{name}.png": photo(seed) for seed, name in enumerate(("11", "12", "13", "14", "14-back", "99"))}


def tar_of(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def in_folder(folder: Path) -> Path:
    (folder / "images").mkdir(parents=True)
    for name, data in PHOTOS.items():
        (folder / "images" / name).write_bytes(data)
    (folder / "styles.csv").write_text(TABLE)
    return folder


def in_tar(folder: Path) -> Path:
    folder.mkdir()
    tar_of(folder / "images.tar", PHOTOS)
    (folder / "styles.csv.gz").write_bytes(gzip.compress(TABLE.encode()))
    return folder


def in_packed_tar(folder: Path) -> Path:
    folder.mkdir()
    tar_of(folder / "photos.tar.gz", {f"./deep/{name}": data for name, data in PHOTOS.items()}, "w:gz")
    (folder / "styles.tsv").write_text(TABLE.replace('"Navy, checked"', "Navy; checked").replace(",", "\t").replace("; ", ", "))
    return folder


def all_in_one_tar(folder: Path) -> Path:
    folder.mkdir()
    return tar_of(folder / "everything.tar", {"styles.csv": TABLE.encode(), **{f"img/{name}": data for name, data in PHOTOS.items()}})


def as_json(folder: Path) -> Path:
    folder.mkdir()
    tar_of(folder / "images.tar", PHOTOS)
    frame = pl.read_csv(TABLE.encode(), infer_schema=False)
    (folder / "styles.json.gz").write_bytes(gzip.compress(json.dumps(frame.to_dicts()).encode()))
    return folder


LAYOUTS = (in_folder, in_tar, in_packed_tar, all_in_one_tar, as_json)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_imports_alike(tmp_path: Path, layout: Callable[[Path], Path]) -> None:
    path = layout(tmp_path / "data")
    assert find_importer(path).name == "photos"
    report = ingest_outside(tmp_path / "lake", path)
    assert (report.rows_added, report.refused, report.pictures.refused, report.pictures.stored) == ({"items": 5}, 0, 0, 5)
    items = {row["item_id"]: row for row in Lake(tmp_path / "lake").items().iter_rows(named=True)}
    assert list(items) == ["11", "12", "13", "14", "15"]
    assert (items["11"]["title"], items["11"]["category"], items["11"]["time_ms"]) == ("Navy, checked", "Shirts", 0)
    assert items["14"]["images"] == [f"sha256:{hash_of(PHOTOS[name])}" for name in ("14.png", "14-back.png")]
    assert items["15"]["images"] == []
    facts = [(pair["name"], pair["value"]) for pair in items["11"]["attributes"]]
    assert facts == [("master_category", "Apparel"), ("colour", "Navy Blue"), ("year", "2011"), ("usage", "Casual")]
    assert "usage" not in [pair["name"] for pair in items["12"]["attributes"]]  # NA is nothing
    notes = " ".join(report.notes)
    assert "title = productDisplayName" in notes
    assert "category = articleType" in notes
    assert "1 rows have no picture" in notes
    assert "1 pictures have no row" in notes
    assert ingest_outside(tmp_path / "lake", path).rows_added == {}


def test_the_table_with_most_pictures_is_read_and_the_other_is_named(tmp_path: Path) -> None:
    folder = in_tar(tmp_path / "data")
    more = TABLE + "".join(f"{n},Shirts,Apparel,More,Red,2011.0,Casual,\n" for n in range(100, 130))
    (folder / "all.csv").write_text(more)
    imported = load_outside(folder)
    assert imported.frames["items"].height == 5
    assert any("all.csv" in note for note in imported.notes)


def test_tags_and_ids_that_only_the_names_of_pictures_tell(tmp_path: Path) -> None:
    rows = [
        {
            "emoji": chr(0x1F600 + n),
            "hexcode": f"1F60{n}",
            "group": "faces",
            "subgroups": f"smile-{n % 2}",
            "annotation": f"face {n}",
            "tags": "face, grin",
        }
        for n in range(10)
    ]
    (tmp_path / "data").mkdir()
    rows += [{**row, "hexcode": f"2{row['hexcode']}", "emoji": f"x{row['emoji']}", "openmoji_tags": "happy,grin"} for row in rows]
    tar_of(tmp_path / "data" / "pictures.tar", {f"{row['hexcode']}.png": photo(n % 11) for n, row in enumerate(rows)})
    (tmp_path / "data" / "openmoji.json").write_text(json.dumps(rows))
    imported = load_outside(tmp_path / "data")
    item = imported.frames["items"].row(10, named=True)
    assert (item["item_id"], item["title"], item["category"], item["images"]) == ("21F600", "face 0", "smile-0", ["21F600.png"])
    tags = [(pair["name"], pair["value"]) for pair in item["attributes"]]
    assert tags == [("group", "faces"), ("tag", "face"), ("tag", "grin"), ("tag", "happy")]
    assert any("emoji" in note and "left out" in note for note in imported.notes)


def test_a_hostile_tar_is_read_and_never_unpacked(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "data"
    folder.mkdir(parents=True)
    secret = tmp_path / "secret.png"
    secret.write_bytes(photo(9))
    bad = {
        "../../escaped.png": photo(1),
        str(tmp_path / "absolute.png"): photo(2),
        "text.jpg": b"text",
        "empty.jpg": b"",
        "good.png": photo(3),
    }
    tar_of(folder / "images.tar", {**bad, "large.png": b"\x89PNG\r\n\x1a\n" + bytes(9 << 20)})
    others = {"link.png": (tarfile.SYMTYPE, str(secret)), "hard.png": (tarfile.LNKTYPE, "good.png"), "pipe.png": (tarfile.FIFOTYPE, "")}
    with tarfile.open(folder / "images.tar", "a") as archive:
        for name, (kind, target) in others.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            archive.addfile(member)
    names = [*bad, "large.png", *others]
    (folder / "table.csv").write_text("item_id,title,image\n" + "".join(f"i{n},T{n},{name}\n" for n, name in enumerate(names)))
    before = set(tmp_path.rglob("*"))
    report = ingest_outside(tmp_path / "lake", folder)
    made = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(tmp_path / "lake") for path in made)
    items = dict(Lake(tmp_path / "lake").items().select("item_id", "images").iter_rows())
    assert {item for item, images in items.items() if images} == {"i0", "i1", "i4"}  # a strange name is a name like any other
    assert len(items) == len(names)
    reasons = " ".join(row["found"] for row in report.pictures.refusals)
    assert report.pictures.refused == 3
    assert all(part in reasons for part in ("text.jpg", "empty", "too large"))
    assert not PictureStore(tmp_path / "lake").has(hash_of(photo(9)))


def test_a_part_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    folder = in_tar(tmp_path / "data")
    claim = tarfile.TarInfo("././@LongLink")
    claim.type, claim.size = tarfile.GNUTYPE_LONGNAME, 1 << 40
    (folder / "images.tar").write_bytes(claim.tobuf(tarfile.GNU_FORMAT) + (folder / "images.tar").read_bytes())
    with pytest.raises(InputError, match="claims"):
        load_outside(folder, "photos")
    assert find_importer(folder) is None


def test_a_large_file_in_a_tar_is_read_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_READ_AT_ONCE", 1 << 20)
    table = b"item_id,image\n" + b"a,1\n" * (1 << 19)
    tar_of(tmp_path / "all.tar", {"table.csv": table})
    assert dict(sources.TarSource(tmp_path / "all.tar").read(["table.csv"], PictureLimits())) == {"table.csv": table}


@pytest.mark.parametrize("kept", [512 * 2 * 4, 512 * 2 * 4 + 100, 512 * 2 * 4 + 512 + 20])
def test_a_tar_that_breaks_off_brings_nothing_in(tmp_path: Path, kept: int) -> None:
    """Between two files, within a header, within a file."""
    folder = in_tar(tmp_path / "data")
    whole = (folder / "images.tar").read_bytes()
    (folder / "images.tar").write_bytes(whole[:kept])
    with pytest.raises(InputError, match="cannot be read"):
        ingest_outside(tmp_path / "lake", folder, "photos")
    assert Lake(tmp_path / "lake").items().is_empty()


def test_pictures_without_a_table_and_tables_without_pictures_are_not_ours(tmp_path: Path) -> None:
    folder = in_folder(tmp_path / "data")
    (folder / "styles.csv").write_text("id,title\n1,One\n2,Two\n")
    assert find_importer(folder) is None
    with pytest.raises(InputError, match="no table here that tells of pictures"):
        load_outside(folder, "photos")
    (folder / "styles.csv").unlink()
    assert find_importer(folder) is None
    assert find_importer(tmp_path) is None


def test_a_picture_of_the_same_name_in_two_folders_is_meant_by_its_path_only(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    for part in ("a", "b"):
        (folder / part).mkdir(parents=True)
        (folder / part / "1.png").write_bytes(photo(1 if part == "a" else 2))
    (folder / "table.csv").write_text("item_id,image\nx,a/1.png\ny,b/1.png\nz,1.png\n")
    items = load_outside(folder).frames["items"]
    assert dict(items.select("item_id", "images").iter_rows()) == {"x": ["a/1.png"], "y": ["b/1.png"], "z": []}


@pytest.mark.parametrize(
    ("name", "items", "category", "kinds"),
    [("fashion-products", 4_765, "Shirts", 71), ("clothing-cc0", 5_398, "T-Shirt", 19), ("openmoji", 4_147, "face-smiling", 100)],
)
def test_real_pictures_import_with_one_command(
    real_data: Callable[[str], Path], tmp_path: Path, name: str, items: int, category: str, kinds: int
) -> None:
    result = CliRunner().invoke(app, ["ingest", str(real_data(name)), "-w", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["rows_added"] == {"items": items}
    assert (report["refused"], report["pictures"]["refused"]) == (0, 0)
    lake = Lake(tmp_path / "lake")
    found = lake.items()
    assert lake.pictures().main(found).height == items
    assert category in found["category"].to_list()
    assert found["category"].n_unique() >= kinds
    assert found["attributes"].list.len().min() >= 1


def test_what_has_a_price_is_a_product(tmp_path: Path) -> None:
    in_folder(tmp_path)
    rows = ["id,title,price,currency,kind,file", "11,A shirt,19.99,eur,Product,11.png", "12,Another,500,JPY,product,12.png"]
    rows += ["13,Jeans,a lot,€,pin,13.png", "14,A watch,5,n/a,product,14.png"]
    (tmp_path / "styles.csv").write_text("\n".join(rows))
    imported = load_outside(tmp_path)
    told = {row["item_id"]: row for row in imported.frames["items"].to_dicts()}
    assert [(told[name]["price_minor"], told[name]["currency"]) for name in ("11", "12", "13", "14")] == [
        (1999, "EUR"),
        (500, "JPY"),
        (None, None),
        (500, "USD"),
    ]
    assert [told[name]["kind"] for name in ("11", "13")] == ["product", "pin"]
    assert any(note.startswith("1 rows have no price") for note in imported.notes)
    assert any(note.startswith("1 prices name no currency: USD was assumed") for note in imported.notes)
    assert ingest_outside(tmp_path / "lake", tmp_path).refused == 0
    (tmp_path / "styles.csv").write_text("file,price_minor,currency\n11.png,1999,EUR\n12.png,,EUR")
    items = load_outside(tmp_path).frames["items"]
    assert items.select("price_minor", "currency").rows() == [(1999, "EUR"), (None, None)]
    (tmp_path / "styles.csv").write_text("file,price,currency,kind\n11.png,$$,EUR,shirt\n12.png,$$,EUR,shirt\n13.png,$,EUR,shirt")
    items = load_outside(tmp_path).frames["items"]
    assert "price_minor" not in items.columns
    assert {one["name"] for one in items["attributes"][0]} >= {"currency", "kind"}  # as any other column
