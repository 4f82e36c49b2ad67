"""Tiny data sets in the formats of others (every row invented), and the real ones where they are there."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from corkboard.lake.importers import Imported
from corkboard.lake.schema import validate_frame

Writer = Callable[..., Path]

TINY: dict[str, dict[str, str]] = {
    "movielens-100k": {
        "u.data": "7\t1\t5\t880000000\n7\t2\t3\t880000060\n8\t1\t1\t880000100\n8\t3\t4\t880000200\n",
        "u.item": (
            "1|Le Thé (1995)|01-Jan-1995||http://x/1|0|0|0|0|0|1|0|0|1|0|0|0|0|0|0|0|0|0|0\n"
            "2|Two (1996)|01-Jan-1996||http://x/2|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
            "3|Nobody Knows|||http://x/3|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
            "4|Unseen (1990)|01-Jan-1990||http://x/4|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|1\n"
        ),
        "u.user": "7|25|F|writer|12345\n8|53|M|other|T8H1N\n",
    },
    "movielens-1m": {
        "ratings.dat": "1::10::5::978300760\n1::20::2::978300760\n2::10::3::978300900\n",
        "movies.dat": "10::Café (1990)::Comedy|Drama\n20::Twenty (1991)::Horror\n30::Thirty (1992)::War\n",
        "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
    },
    "movielens-csv": {
        "ratings.csv": "userid,movieid,rating,timestamp\n1,10,4.0,1000000000\n1,20,2.5,1000000010\n2,10,3.5,1000200000\n",
        "movies.csv": 'movieId,title,genres\n10,"Ten, the Film (1999)",Comedy|Drama\n20,Twenty (2000),(no genres listed)\n',
        "tags.csv": "userId,movieId,tag,timestamp\n"
        "1,10,Funny,1000000100\n2,10,dry,1000000200\n2,10,funny,1000100000\n2,10,slow,1000200000\n",
    },
    "recbole": {
        "toy.inter": "user_id:token\titem_id:token\trating:float\ttimestamp:float\n"
        "u1\ti1\t5\t1000000000\nu1\ti2\t1\t1000000060\nu2\ti1\t3\t1000000120\n",
        "toy.item": (
            "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\tprice:float\n"
            "i1\tOne Two\t1999\tComedy Drama\t1.5\ni2\tThree\t2000\tHorror\t\n"
        ),
        "toy.user": "user_id:token\tage:token\tzip_code:token\tcountry:token\nu1\t33\t999\tNO\nu2\t44\t888\tIS\n",
        "toy.kg": "head_id:token\trelation_id:token\ttail_id:token\nm1\tr1\tm2\n",
    },
    "personalize": {
        "interactions.csv": (
            "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE,IMPRESSION,RECOMMENDATION_ID\n"
            "u1,b,1600000000,Click,,a|b|c,rec-1\nu1,c,1600000005,Purchase,,a|b|c,rec-1\nu2,z,1600000100,View,,z|a,\nu2,q,1600000200,Like,,,\n"
        ),
        "items.csv": (
            "ITEM_ID,CREATION_TIMESTAMP,CATEGORY_L1,GENRES,PRICE,DESCRIPTION\n"
            'a,1500000000,shoes,Red|Blue,12.50,"Fine, red"\nb,1650000000,hats,,3,Hat\nn,1590000000,hats,,,New\n'
        ),
        "users.csv": "USER_ID,COUNTRY,AGE\nu1,SE,31\nu2,FI,\n",
    },
    "rechorus": {
        "train.csv": "user_id\titem_id\ttime\n1\t5\t965779200\n1\t6\t965865600\n2\t5\t965865600\n",
        "item_meta.csv": "item_id\ti_category\tr_complement\tr_substitute\n5\t0\t[6, 7]\t[]\n6\t1\t[5]\t[8]\n9\t2\t[]\t[]\n",
    },
    "ratings": {
        "stars.csv": "visitor_id,sku,stars,date\nann,s1,5,2024-03-01T10:00:00Z\nann,s2,2,2024-03-02\nbob,s1,3,2024-03-03 08:30:00\n"
    },
    "sequences": {
        "toy.txt": "1 10 11 12\n2 11 13\n3 10 10 14 15 16\n",
        "toy_item2attributes.json": '{"10": [1, 2], "99": [3]}',
    },
}
"""Format -> file name -> content."""

NAMES = {form: form.partition("-")[0] for form in TINY}
"""Format -> name of its importer."""


@pytest.fixture(params=sorted(TINY))
def form(request: pytest.FixtureRequest) -> str:
    """Every format in turn."""
    return request.param


@pytest.fixture
def importer_of() -> dict[str, str]:
    return NAMES


@pytest.fixture
def tiny(tmp_path: Path) -> Writer:
    """``tiny(form, zipped=False, **changed)`` writes a data set and returns its folder; latin-1 where the format has it."""

    def write(form: str, *, zipped: bool = False, changed: dict[str, str] | None = None, folder: str = "data") -> Path:
        target = tmp_path / folder
        target.mkdir()
        encoding = "latin-1" if form in ("movielens-100k", "movielens-1m") else "utf-8"
        for name, text in (TINY[form] | (changed or {})).items():
            data = text.encode(encoding)
            (target / (f"{name}.gz" if zipped else name)).write_bytes(gzip.compress(data) if zipped else data)
        return target

    return write


@pytest.fixture
def fitting() -> Callable[[Imported], dict[str, pl.DataFrame]]:
    """The frames as the lake would store them; fails where a row would be refused."""

    def check(imported: Imported) -> dict[str, pl.DataFrame]:
        stored = {}
        for table, frame in imported.frames.items():
            verdict = validate_frame(table, frame)
            assert verdict.bad.is_empty(), verdict.bad
            stored[table] = verdict.good
        return stored

    return check


@pytest.fixture
def real_data() -> Callable[[str], Path]:
    """``real_data("ml-100k")``: that data set, or the test is skipped."""

    def find(name: str) -> Path:
        root = os.environ.get("CORKBOARD_DATA")
        if not root or not (Path(root) / name).exists():
            pytest.skip(f"needs the data set {name} in the folder that CORKBOARD_DATA names")
        return Path(root) / name

    return find
