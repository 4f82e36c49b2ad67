"""Pictures by address come in once, whoever is killed on the way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from corkboard.lake.lake import Lake
from corkboard.lake.pictures import fetch as module
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.fetch import addresses, fetch_pictures, fetched
from corkboard.lake.pictures.reading import Pictures
from corkboard.lake.pictures.store import PictureStore, hash_of

from ..rows import item, lake_of
from ..test_kill import die_at, run
from .samples import SVG, jpeg
from .web import Web, web

LIMITS = PictureLimits(fetch_seconds=10, processes=1)


@pytest.fixture
def site() -> Iterator[Web]:
    with web() as running:
        yield running


def lake_with(folder: Path, *images: str) -> Path:
    lake_of(folder, items=[item(f"e{n}", 0, f"i{n}", images=[image]) for n, image in enumerate(images)])
    return folder


def test_each_is_fetched_once_and_told_of(tmp_path: Path, site: Web) -> None:
    site.serve("/a.jpg", jpeg(1))
    site.serve("/same.jpg", jpeg(1))
    site.serve("/b.jpg", jpeg(2))
    site.serve("/drawing.svg", SVG)
    site.serve("/down.jpg", status=503)
    site.redirect("/sly.jpg", site.url("/a.jpg", "inside.test"))
    paths = ["/a.jpg", "/same.jpg", "/b.jpg", "/drawing.svg", "/down.jpg", "/sly.jpg"]
    lake = lake_with(tmp_path, *map(site.url, paths), site.url("/a.jpg"))
    told = []
    report = fetch_pictures(lake, LIMITS, lambda *step: told.append(step), site.network())
    assert (report.fetched, report.refused, report.unreachable, report.known) == (3, 2, 1, 0)
    assert told[-1] == ("fetch pictures", 6, 6)
    assert "3 fetched" in report.render()
    assert "The host answers 503" in report.render()
    rows = {row["image"]: row for row in fetched(lake).iter_rows(named=True)}
    assert rows[site.url("/a.jpg")]["hash"] == rows[site.url("/same.jpg")]["hash"] == hash_of(jpeg(1))
    assert PictureStore(lake).has(hash_of(jpeg(2)))
    assert "SVG" in rows[site.url("/drawing.svg")]["reason"]
    assert "not public" in rows[site.url("/sly.jpg")]["reason"]
    assert sum(row["may_pass"] for row in rows.values()) == 1

    site.hits.clear()
    site.serve("/down.jpg", jpeg(3))
    again = fetch_pictures(lake, LIMITS, network=site.network())
    assert (again.fetched, again.known, [path for path, _, _ in site.hits]) == (1, 5, ["/down.jpg"])
    assert Pictures(lake).hashes([site.url("/down.jpg")]) == [hash_of(jpeg(3))]
    assert not fetch_pictures(lake, LIMITS, network=site.network()).happened


def test_a_lake_without_addresses_asks_nobody(tmp_path: Path) -> None:
    assert not fetch_pictures(tmp_path).happened
    lake_with(tmp_path, "sha256:" + "0" * 64)  # refused at ingestion: nothing stays
    assert addresses(Lake(tmp_path)).to_list() == []
    assert not fetch_pictures(tmp_path).happened
    assert not (tmp_path / "pictures" / "fetched").exists()


def test_a_host_that_is_down_is_left_alone_after_a_while(tmp_path: Path, site: Web) -> None:
    for number in range(12):
        site.serve(f"/{number}", status=500)
    site.serve("/good", jpeg())
    lake = lake_with(tmp_path, *(site.url(f"/{n}") for n in range(12)), site.url("/good", "more.test"))
    limits = LIMITS.model_copy(update={"host_failures": 3, "connections": 1})
    report = fetch_pictures(lake, limits, network=site.network())
    assert (report.fetched, report.unreachable, len(site.hits)) == (1, 12, 4)
    assert report.reasons["The host has failed too often in a row"] == 9


POINTS = {"in the middle of pictures": (PictureStore, "put", 7), "before the second file": (module, "write_atomically", 2)}


def fetch_and_die(lake: Path, port: int, point: str) -> None:
    site = Web()
    site.port = port
    module.WRITE_EVERY = 4
    die_at(*POINTS[point])
    fetch_pictures(lake, LIMITS.model_copy(update={"connections": 1}), network=site.network())


@pytest.mark.parametrize("point", POINTS)
def test_killed_and_called_again_it_goes_on(tmp_path: Path, site: Web, point: str) -> None:
    paths = [f"/{number}.jpg" for number in range(10)]
    for number, path in enumerate(paths):
        site.serve(path, jpeg(number))
    lake = lake_with(tmp_path, *map(site.url, paths))
    assert run(fetch_and_die, lake, site.port, point) == -signal.SIGKILL
    known = fetched(lake)
    assert known.height == 4  # what was written before
    assert all(PictureStore(lake).has(found) for found in known["hash"])
    site.hits.clear()
    report = fetch_pictures(lake, LIMITS, network=site.network())
    assert (report.fetched, report.known, len(site.hits)) == (6, 4, 6)
    assert Pictures(lake).hashes(list(map(site.url, paths))) == [hash_of(jpeg(number)) for number in range(10)]
