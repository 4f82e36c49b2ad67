"""The store of one lake: each picture once, whole, and on disk before anything names it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from corkboard.errors import NotFound, PictureRefused
from corkboard.lake.pictures import store as module
from corkboard.lake.pictures.config import PictureLimits
from corkboard.lake.pictures.decode import decode
from corkboard.lake.pictures.store import PictureStore, hash_named
from corkboard.lake.write import LOCKS, batch

from .samples import encoded, jpeg, picture, turned


def test_put_once_by_the_hash_of_what_came_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, data = PictureStore(tmp_path), jpeg(exif=turned(6))
    name = store.put(data)
    assert name == hashlib.sha256(data).hexdigest()
    assert store.has(name)
    content, media_type = store.bytes(name)
    assert media_type == "image/jpeg"
    assert content == store.path(name).read_bytes() != data
    assert store.rgb(name).shape == (32, 24, 3)  # upright
    assert np.array_equal(store.rgb(name), decode(content).rgb)
    monkeypatch.setattr(module, "kept_form", lambda *_: pytest.fail("decoded again"))
    assert PictureStore(tmp_path).put(data) == name


def test_kept_no_larger_than_the_limit(tmp_path: Path) -> None:
    store = PictureStore(tmp_path, PictureLimits(kept_side=40))
    assert store.rgb(store.put(encoded(picture(100, 50)))).shape == (40, 20, 3)


def test_refused_pictures_leave_nothing(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    with pytest.raises(PictureRefused, match="truncated"):
        store.put(jpeg()[:-100])
    assert not list(tmp_path.rglob("*.*"))


@pytest.mark.parametrize("name", ["0" * 64, "../../etc/passwd", "A" * 64, "", "0" * 63 + "\n"])
def test_what_is_not_there_is_not_found(tmp_path: Path, name: str) -> None:
    store = PictureStore(tmp_path)
    assert not store.has(name)
    with pytest.raises(NotFound, match="no such picture"):
        store.path(name)


def test_names_in_rows() -> None:
    digits = "0123456789abcdef" * 4
    assert hash_named(f"sha256:{digits}") == digits
    for other in (digits, f"sha256:{digits[:-1]}", f"sha256:{digits.upper()}", f"sha256:{digits}0", f"sha256:{digits}\n"):
        assert hash_named(other) is None


def test_many_come_in_aside_and_are_settled_together(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    before = store.put(jpeg(9))
    refused = PictureRefused("no such file")
    given = [("a", jpeg(1)), ("b", jpeg(2)), ("again", jpeg(1)), ("old", jpeg(9)), ("bad", b"text"), ("gone", refused), ("worse", b"text")]
    with batch(tmp_path) as mine:
        became = dict(store.put_all(given, mine))
        assert became["gone"] is refused
        assert "not a picture" in str(became["bad"])
        assert "not a picture" in str(became["worse"])
        assert became["a"] == became["again"] == hashlib.sha256(jpeg(1)).hexdigest()
        assert became["old"] == before
        assert not store.has(became["a"])
        assert store.settle(mine) == 2
        assert all(store.has(became[key]) for key in ("a", "b", "again", "old"))
        assert store.settle(mine) == 0
        store.drop(mine)
    assert store.bytes(became["b"])[0] == PictureStore(tmp_path / "other").bytes(PictureStore(tmp_path / "other").put(jpeg(2)))[0]
    assert not list((tmp_path / "pictures" / "incoming").iterdir())


def test_what_killed_writers_left_is_swept_and_what_others_write_is_not(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    for name in ("killed", "writing"):
        folder = tmp_path / "pictures" / "incoming" / name
        folder.mkdir(parents=True)
        (folder / "x.jpg").write_bytes(b"x")
    with batch(tmp_path) as mine:
        (tmp_path / LOCKS / "writing").touch()  # as if another process held it
        store.drop(mine)
    assert [folder.name for folder in (tmp_path / "pictures" / "incoming").iterdir()] == ["writing"]
