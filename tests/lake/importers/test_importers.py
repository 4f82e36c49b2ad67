"""What holds for every importer, whatever its format."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from corkboard.errors import InputError, NotFound
from corkboard.lake.importers import IMPORTERS, ImportConfig, Imported, find_importer, import_notes, ingest_outside, load_outside
from corkboard.lake.importers.config import ImportConfig as LightConfig
from corkboard.lake.lake import Lake

Fitting = Callable[[Imported], dict[str, pl.DataFrame]]


def test_exactly_one_importer_recognises_each_format(form: str, tiny: Callable[..., Path], importer_of: dict[str, str]) -> None:
    folder = tiny(form)
    path = folder / "stars.csv" if form == "ratings" else folder
    assert [importer.name for importer in IMPORTERS if importer.recognises(path)] == [importer_of[form]]
    assert find_importer(path).name == importer_of[form]


def test_the_main_file_stands_for_its_folder(form: str, tiny: Callable[..., Path]) -> None:
    folder = tiny(form)
    path = folder / "stars.csv" if form == "ratings" else folder
    by_folder = find_importer(path).files(path)
    by_file = find_importer(by_folder[0]).files(by_folder[0])
    assert by_file == by_folder


def test_rows_fit_the_lake_and_items_are_there_before_anybody_touches_them(form: str, tiny: Callable[..., Path], fitting: Fitting) -> None:
    folder = tiny(form)
    stored = fitting(load_outside(folder / "stars.csv" if form == "ratings" else folder))
    actions, items = stored["actions"], stored["items"]
    born = items.group_by("item_id").agg(born=pl.col("time_ms").min())
    joined = actions.join(born, on="item_id", how="left")
    assert joined["born"].null_count() == 0
    assert (joined["born"] < joined["time_ms"]).all()
    if "users" in stored:
        users = actions.join(stored["users"].select("user_id", known="time_ms"), on="user_id")
        assert (users["known"] < users["time_ms"]).all()


def test_compressed_files_give_the_same_rows(form: str, tiny: Callable[..., Path]) -> None:
    plain, zipped = tiny(form), tiny(form, zipped=True, folder="zipped")
    one, other = (
        load_outside(next(f for f in d.iterdir() if f.name.startswith("stars")) if form == "ratings" else d) for d in (plain, zipped)
    )
    assert one.frames.keys() == other.frames.keys()
    for table, frame in one.frames.items():
        assert_frame_equal(frame, other.frames[table])


def test_importing_again_adds_nothing(form: str, tiny: Callable[..., Path], tmp_path: Path, importer_of: dict[str, str]) -> None:
    folder = tiny(form)
    path = folder / "stars.csv" if form == "ratings" else folder
    frames = load_outside(path).frames
    first = ingest_outside(tmp_path / "lake", path)
    assert first.rows_added == {table: frame.height for table, frame in frames.items()}
    assert first.refused == 0
    snapshot = Lake(tmp_path / "lake").snapshot
    again = ingest_outside(tmp_path / "lake", path)
    assert sum(again.rows_added.values()) == 0
    assert again.duplicates == sum(frame.height for frame in frames.values())
    assert Lake(tmp_path / "lake").snapshot == snapshot
    assert Lake(tmp_path / "lake").counts()["actions"] == frames["actions"].height
    notes = import_notes(tmp_path / "lake")
    assert [note["importer"] for note in notes] == [importer_of[form]]
    assert notes[0]["notes"] == load_outside(path).notes
    assert set(notes[0]["notes"]) <= set(first.notes)


def test_a_bad_row_is_listed_and_the_good_ones_come_in(tiny: Callable[..., Path], tmp_path: Path) -> None:
    broken = "userid,movieid,rating,timestamp\n1,10,4.0,1000000000\n1,20,many,1000000010\n2,10,3.5,yesterday\n,10,3.5,1000000020\n"
    report = ingest_outside(tmp_path / "lake", tiny("movielens-csv", changed={"ratings.csv": broken}))
    assert report.rows_added["actions"] == 1
    assert report.refused == 3
    assert [(refusal["row"], refusal["field"]) for refusal in report.refusals] == [
        (2, "actions.action"),
        (3, "actions.time_ms"),
        (4, "actions.user_id"),
    ]


def test_an_impossible_moment_does_not_decide_since_when_an_item_exists(tiny: Callable[..., Path], tmp_path: Path) -> None:
    rows = "userid,movieid,rating,timestamp\n1,10,4.0,12\n1,10,4.0,1000000000\n1,20,4.0,99999999999999\n"
    report = ingest_outside(
        tmp_path / "lake", tiny("movielens-csv", changed={"ratings.csv": rows, "tags.csv": "userId,movieId,tag,timestamp\n"})
    )
    assert [refusal["field"] for refusal in report.refusals] == ["actions.time_ms", "actions.time_ms"]
    born = dict(Lake(tmp_path / "lake").items().select("item_id", "time_ms").iter_rows())
    assert born == {"10": 1_000_000_000_000 - 1, "20": 1_000_000_000_000}  # nobody touched 20 at a possible time: the end of the data


def test_a_named_importer_is_used_even_where_it_does_not_recognise(tiny: Callable[..., Path], tmp_path: Path) -> None:
    file = tmp_path / "even.txt"
    file.write_text("1 10 11\n2 10 12\n")  # lines of one length: not surely sequences
    assert find_importer(file) is None
    with pytest.raises(InputError, match="No importer recognises this"):
        load_outside(file)
    assert load_outside(file, "sequences").frames["actions"].height == 4


def test_errors_name_what_is_wrong(tiny: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no such importer.*movielens"):
        find_importer(tmp_path, "movielense")
    with pytest.raises(NotFound, match="no such file"):
        find_importer(tmp_path / "missing")
    for importer in IMPORTERS:
        with pytest.raises(InputError):
            importer.load(tmp_path, ImportConfig())
    with pytest.raises(InputError, match="does not fit the format movielens"):
        load_outside(tiny("movielens-csv", changed={"movies.csv": "movieId,name\n10,Ten\n"}))


def test_a_truncated_archive_is_one_sentence(tiny: Callable[..., Path]) -> None:
    folder = tiny("movielens-1m", zipped=True)
    movies = folder / "movies.dat.gz"
    movies.write_bytes(movies.read_bytes()[:-20])
    with pytest.raises(InputError, match=r"movies\.dat\.gz cannot be read"):
        load_outside(folder)


def test_files_that_are_something_else_are_left_alone(tmp_path: Path) -> None:
    native = tmp_path / "clicks.csv"
    native.write_text("user_id,item_id,time_ms,action\nu,i,1700000000000,click\n")
    (tmp_path / "pairs.txt").write_text("1 10\n1 11\n2 10\n")
    (tmp_path / "picture.txt").write_bytes(b"\x89PNG\x00\x01")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not really")
    for file in tmp_path.iterdir():
        assert find_importer(file) is None, file.name


def test_settings_refuse_thresholds_out_of_order() -> None:
    with pytest.raises(ValueError, match="hide_to < click_from <= save_from"):
        ImportConfig(click_from=4.5)
    assert LightConfig is ImportConfig


def test_the_settings_of_importers_load_no_table_library() -> None:
    code = "import sys, corkboard.lake.importers.config; print([m for m in ('polars', 'pyarrow', 'numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rows_belong_to_the_tenant_that_is_named(tiny: Callable[..., Path], tmp_path: Path) -> None:
    ingest_outside(tmp_path / "lake", tiny("movielens-csv"), tenant="shop-1")
    lake = Lake(tmp_path / "lake")
    assert set(lake.actions()["tenant"]) | set(lake.items()["tenant"]) == {"shop-1"}
