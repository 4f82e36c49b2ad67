import json
import os
import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import (
    EmbeddingTable,
    ItemList,
    Releases,
    Space,
    load_artifact,
    sweep_staging,
    write_artifact,
    write_atomically,
)
from corkboard.errors import ArtifactError, NotFound, SpaceMismatch

CONTENT = Space("content", "v1")


def make(root, artifact_id="a1", step="content", makes=(CONTENT,), requires=()):
    return write_artifact(
        root / "artifacts",
        step,
        artifact_id,
        tensors={"vectors": np.eye(2, dtype=np.float32)},
        tables={"ids": pl.DataFrame({"id": ["x", "y"]})},
        config={"dim": 2},
        metrics={"recall": 0.5},
        makes=makes,
        requires=requires,
        seed=3,
    )


def test_an_artifact_comes_back_as_it_was_written(tmp_path):
    written = make(tmp_path)
    again = load_artifact(written.path)
    again.check()
    table = again.embeddings()
    assert table.space == CONTENT
    assert table.ids == ["x", "y"]
    assert np.array_equal(table.vectors, np.eye(2))
    assert (again.config, again.metrics, again.manifest["seed"]) == ({"dim": 2}, {"recall": 0.5}, 3)
    assert again.key == "content/default/a1"


def test_writing_it_twice_changes_nothing(tmp_path):
    first = make(tmp_path)
    stamp = (first.path / "manifest.json").read_bytes()
    assert make(tmp_path).path == first.path
    assert (first.path / "manifest.json").read_bytes() == stamp


@pytest.mark.parametrize("damage", ["flip", "shorten", "remove"])
def test_damage_is_found(tmp_path, damage):
    artifact = make(tmp_path)
    file = artifact.path / "tensors.safetensors"
    data = bytearray(file.read_bytes())
    if damage == "remove":
        file.unlink()
    else:
        data[-1] ^= 1
        file.write_bytes(data if damage == "flip" else data[:-1])
    with pytest.raises(ArtifactError, match=r"tensors\.safetensors"):
        artifact.check()


def test_a_folder_without_a_manifest_is_not_an_artifact(tmp_path):
    artifact = make(tmp_path)
    (artifact.path / "manifest.json").unlink()
    with pytest.raises(ArtifactError, match="no whole artefact"):
        load_artifact(artifact.path)
    make(tmp_path).check()  # and it is made anew over the remains


def test_an_unknown_format_is_refused(tmp_path):
    artifact = make(tmp_path)
    manifest = json.loads((artifact.path / "manifest.json").read_text())
    (artifact.path / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(ArtifactError, match="unknown format.*99"):
        load_artifact(artifact.path)


def test_staging_of_killed_writers_is_swept(tmp_path):
    artifact = make(tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left, mine = (tmp_path / f"artifacts/.staging/{pid}-x" for pid in (dead.pid, os.getpid()))
    left.mkdir(parents=True)
    mine.mkdir()
    sweep_staging(tmp_path / "artifacts")
    assert not left.exists()
    assert mine.exists(), "what a running process writes must stay"
    artifact.check()


def test_a_release_joins_artifacts_and_is_switched_by_name(tmp_path):
    releases = Releases(tmp_path)
    assert releases.current() is None
    first = releases.write("first", {"content": make(tmp_path)})
    second = releases.write("second", {"content": make(tmp_path)}, {"recall": 0.25})
    assert releases.write("first", {"content": make(tmp_path)}).id == first.id
    releases.promote(first.id)
    assert releases.current().label == "first"
    releases.promote(second.id)
    assert releases.current().metrics == {"recall": 0.25}
    releases.promote(first.id)
    assert releases.current_id() == first.id
    assert {release.id for release in releases.list()} == {first.id, second.id}
    with pytest.raises(NotFound, match="no such release"):
        releases.promote("nope")


def test_what_somebody_rolled_back_is_withdrawn_until_it_is_chosen_again(tmp_path):
    releases = Releases(tmp_path)
    first, second = (releases.write(label, {"content": make(tmp_path)}) for label in ("first", "second"))
    releases.promote(second.id)
    releases.choose(first.id)
    assert (releases.current_id(), releases.withdrawn()) == (first.id, {second.id})
    releases.choose(second.id)
    assert (releases.current_id(), releases.withdrawn()) == (second.id, {first.id})


def test_a_release_with_mixed_spaces_cannot_be_written(tmp_path):
    content = make(tmp_path, "new", makes=[Space("content", "v2")])
    ranker = make(tmp_path, "r1", step="ranker", makes=(), requires=[CONTENT])
    with pytest.raises(SpaceMismatch, match=r"content@v2.*content@v1"):
        Releases(tmp_path).write("mixed", {"content": content, "ranker": ranker})
    with pytest.raises(SpaceMismatch, match=r"content@v2.*content@v1"):
        Releases(tmp_path).write("mixed", {"tower": make(tmp_path), "index": content})
    assert Releases(tmp_path).list() == []


def test_spaces_are_compared_by_name_and_version():
    Space.parse("content@v1").require(CONTENT)
    with pytest.raises(SpaceMismatch):
        CONTENT.require(Space("content", "v2"))
    with pytest.raises(ArtifactError, match="name@version"):
        Space.parse("content")


def test_an_embedding_table_gives_zeros_for_unknown_ids():
    table = EmbeddingTable(["a", "b"], np.array([[1, 2], [3, 4]]), CONTENT)
    vectors, known = table.lookup(["b", "?", "a"])
    assert vectors.tolist() == [[3, 4], [0, 0], [1, 2]]
    assert known.tolist() == [True, False, True]
    assert "a" in table
    assert "?" not in table
    assert table.to_polars()["vector"].to_list() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("ids", [["a"], ["a", "a"]])
def test_an_embedding_table_refuses_ids_that_do_not_fit(ids):
    with pytest.raises(ArtifactError, match=r"one vector an id|unique ids"):
        EmbeddingTable(ids, np.zeros((2, 2)), CONTENT)


def test_an_item_list_keeps_its_columns_together():
    items = ItemList(["a", "b", "c"], [3, 2, 1], [("knn",), ("fresh", "knn"), ()])
    taken = items.take([2, 0])
    assert (list(taken), taken.scores.tolist(), taken.sources) == (["c", "a"], [1, 3], [(), ("knn",)])
    assert taken.to_polars().columns == ["item_id", "score", "sources", "reason"]
    with pytest.raises(ArtifactError, match="differ in length"):
        ItemList(["a"], [1, 2])


def test_atomic_writing_replaces_and_leaves_nothing_behind(tmp_path):
    write_atomically(tmp_path / "x", b"one")
    write_atomically(tmp_path / "x", b"two")
    assert (tmp_path / "x").read_bytes() == b"two"
    assert [file.name for file in tmp_path.iterdir()] == ["x"]


TENSORS = {
    "float": np.arange(6, dtype=np.float32).reshape(2, 3),
    "long/name": np.arange(5, dtype=np.int64),
    "bool": np.array([True, False]),
    "words": np.array([2**64 - 1, 1], np.uint64),
    "small": np.array([[-1]], np.int8),
    "half": np.array([0.5, 2], np.float16),
    "scalar": np.array(7, np.int32),
    "nothing": np.empty((0, 3), np.int32),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_mapped_tensor_is_what_was_written_and_cannot_be_written(tmp_path, name):
    artifact = write_artifact(tmp_path, "step", "a", tensors=TENSORS)
    mapped = artifact.mapped(name)
    read = artifact.tensors[name]
    assert (mapped.dtype, mapped.shape) == (read.dtype, read.shape)
    assert np.array_equal(mapped, read)
    assert mapped.reshape(-1).tolist() == TENSORS[name].reshape(-1).tolist()
    assert not mapped.flags.writeable
    assert mapped.size == 0 or isinstance(mapped.base, np.memmap) or isinstance(mapped.base.base, np.memmap)


def test_a_tensor_that_is_not_there_cannot_be_mapped(tmp_path):
    with pytest.raises(ArtifactError, match=r"no tensor wrong.*vectors"):
        make(tmp_path).mapped("wrong")
    with pytest.raises(ArtifactError, match="no tensor vectors"):
        write_artifact(tmp_path, "step", "b").mapped("vectors")
