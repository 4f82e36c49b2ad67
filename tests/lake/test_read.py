from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from corkboard.errors import InputError, SchemaError
from corkboard.lake import read
from corkboard.lake.read import frame_of, read_pieces


def numbered(path: Path) -> list[tuple[int, dict]]:
    return [(int(n), piece.original(k)) for piece in read_pieces(path) for k, n in enumerate(piece.numbers)]


def broken(path: Path) -> list[tuple[int, str]]:
    return [(row.row, row.found) for piece in read_pieces(path) for row in piece.broken]


ROWS = [{"a": "x", "b": "1"}, {"a": "y", "b": "2"}]


@pytest.mark.parametrize("compression", ["plain", "gzip", "zstd"])
@pytest.mark.parametrize("kind", ["jsonl", "csv", "tsv", "parquet", "json"])
def test_every_format_and_compression_gives_the_same_rows(tmp_path: Path, kind: str, compression: str) -> None:
    plain = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pl.DataFrame(ROWS).write_parquet(plain)
    else:
        texts = {"jsonl": "\n".join(map(json.dumps, ROWS)), "csv": "a,b\nx,1\ny,2\n", "tsv": "a\tb\nx\t1\ny\t2", "json": json.dumps(ROWS)}
        plain.write_text(texts[kind])
    if compression != "plain":
        with pa.output_stream(str(tmp_path / "packed"), compression=compression) as stream:
            stream.write(plain.read_bytes())
        plain = tmp_path / "packed"  # without any ending: the bytes say what it is
    assert numbered(plain) == [(1, ROWS[0]), (2, ROWS[1])]


def test_json_lines_that_are_no_objects_are_told_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n\n{"a": \n[1]\n{"a": 2}\n"\xff"\n{"a": 3}')
    assert [(n, row["a"]) for n, row in numbered(path)] == [(1, 1), (5, 2), (7, 3)]
    assert [n for n, _ in broken(path)] == [3, 4, 6]
    assert broken(path)[1] == (4, "list")


def test_csv_rows_with_a_wrong_number_of_fields_are_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('a,b\nx,1\nlost\n"two\nlines",2\n1,2,3\ny,3\n')
    assert [(n, row["a"]) for n, row in numbered(path)] == [(1, "x"), (3, "two\nlines"), (5, "y")]
    assert broken(path) == [(2, "1 fields"), (4, "3 fields")]


def test_csv_rows_are_numbered_alike_over_many_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "CSV_BLOCK", 64)
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n" + "".join(f"{n},x\n" if n % 7 else f"{n}\n" for n in range(1, 200)))
    assert [n for n, row in numbered(path)] == [int(row["a"]) for _, row in numbered(path)]
    assert [n for n, _ in broken(path)] == list(range(7, 200, 7))


def test_csv_bytes_that_are_not_utf8_cost_their_row_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b"a,b\nx,1\ncaf\xe9,2\ny,3\n")
    assert [(n, row["a"]) for n, row in numbered(path)] == [(1, "x"), (3, "y")]
    assert broken(path) == [(2, "bytes that are not UTF-8")]


def test_csv_with_a_header_only_has_columns_and_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b")
    (piece,) = read_pieces(path)
    assert piece.frame.columns == ["a", "b"]
    assert piece.frame.height == 0


def test_csv_columns_with_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("a,b,a\n1,2,3\n")
    with pytest.raises(SchemaError, match=r"same name.*'a'"):
        list(read_pieces(path))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    path.write_bytes(b"\xef\xbb\xbf" + (b"a,b\nx,1\n" if kind == "csv" else b'{"a": "x", "b": "1"}\n'))
    assert numbered(path) == [(1, ROWS[0])]


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n \n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.csv"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match="is empty"):
        list(read_pieces(path))


@pytest.mark.parametrize("kind", ["gz", "parquet"])
def test_a_damaged_file_is_an_input_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"rows.{kind}"
    pl.DataFrame({"a": np.random.default_rng(0).random(5000)}).write_parquet(path)
    path.write_bytes(gzip.compress(path.read_bytes())[:-2000] if kind == "gz" else path.read_bytes()[:-2000])
    with pytest.raises(InputError, match="cannot be read"):
        list(read_pieces(path))


def test_columns_of_records_get_a_type_only_where_all_values_share_it() -> None:
    rows = [
        {"whole": 1, "mixed": 1, "flag": True, "odd": True, "words": ["a"], "slots": [{"x": 1}], "gap": None},
        {"whole": None, "mixed": 2.5, "flag": False, "odd": 1, "words": [], "slots": [{"x": 2, "y": "b"}, {"x": 3}], "gap": None},
    ]
    frame = frame_of(rows)
    assert frame.schema == {
        "whole": pl.Int64,
        "mixed": pl.Float64,
        "flag": pl.Boolean,
        "odd": pl.Object,  # true is no number: as a column of numbers it would become 1
        "words": pl.List(pl.String),
        "slots": pl.List(pl.Struct({"x": pl.Int64, "y": pl.String})),
        "gap": pl.Null,
    }
    assert frame["slots"].to_list() == [[{"x": 1, "y": None}], [{"x": 2, "y": "b"}, {"x": 3, "y": None}]]
