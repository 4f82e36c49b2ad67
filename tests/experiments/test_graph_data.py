"""Lakes of public sets, and edges that must not know the test: a small Last.fm folder written by hand, and the real ones where they are."""

import gzip
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError, NotFound
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.graph_data import (
    LASTFM,
    MOVIELENS,
    GraphData,
    graphs_of,
    public_calendar,
    public_content,
    public_lake,
    thinned_copies,
    without_items,
)
from corkboard.lake.calendar import DAY_MS

DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here")
NO_FLOOR = GraphExperimentConfig.model_validate({"graph": {"pruning": {"min_people": 1}}, "content": {"training": {"steps": 3}}})


def written(folder, rows, packed=True):
    """A Last.fm folder: (user, artist, tag, day of January 2010 or a date) each."""
    place = folder / LASTFM
    place.mkdir(parents=True, exist_ok=True)
    dated = [(user, artist, tag, *((day, 1, 2010) if isinstance(day, int) else day)) for user, artist, tag, day in rows]
    texts = {
        "user_taggedartists.dat": ["userID\tartistID\ttagID\tday\tmonth\tyear", *("\t".join(map(str, row)) for row in dated)],
        "artists.dat": ["id\tname\turl\tpictureURL", *(f'{n}\tThe "{n}"\tu\tp' for n in range(1, 30))],
        "tags.dat": ["tagID\ttagValue", "1\tMetal", "2\tpop", "3\tlate"],
    }
    for name, lines in texts.items():
        content = ("\n".join(lines) + "\n").encode("latin-1")
        if packed:
            (place / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (place / name).write_bytes(content)
    return folder


ROWS = [(1, 10, 1, 1), (1, 11, 1, 1), (2, 10, 1, 2), (2, 12, 2, 3), (1, 12, 2, 5), (3, 10, 3, 9), (3, 13, 3, 9), (9, 14, 1, (1, 1, 1956))]


@pytest.fixture
def lake(tmp_path):
    return public_lake(LASTFM, written(tmp_path / "data", ROWS), tmp_path / "runs")


def data_of(lake, config=NO_FLOOR):
    calendar = public_calendar(lake, 0.3)
    return GraphData(lake, calendar, config, lake.items()["item_id"].to_list())


def test_a_tag_assignment_is_a_save_to_the_board_of_a_user_and_a_tag(lake):
    actions = lake.actions()
    assert actions.height == 7  # the one of 1956 is a mistake
    assert actions["board_id"].unique().sort().to_list() == ["u1/metal", "u1/pop", "u2/metal", "u2/pop", "u3/late"]
    assert set(actions["item_id"]) == {"a10", "a11", "a12", "a13"}
    titles = dict(lake.items().select("item_id", "title").iter_rows())
    assert titles["a10"] == 'The "10"'
    first = actions.filter(pl.col("user_id") == "u1").sort("time_ms")
    assert first["time_ms"].diff().drop_nulls().min() == 1000  # two of one day have moments of their own


def test_graphs_and_tags_end_at_the_cut(lake):
    """Two assignments of the ninth are the test: their board, tag and artist are in no graph, although the lake has them."""
    data = data_of(lake)
    assert data.calendar.rank_cut_ms % DAY_MS == 0
    boards = data.edges["board"]
    assert set(boards["right"]) == {"u1/metal", "u1/pop", "u2/metal", "u2/pop"}
    assert "a13" not in set(boards["left"])
    assert set(data.edges["user_save"]["right"]) == {"u1", "u2"}
    tags = set(data.edges["tag"]["right"])
    assert tags == {"tag\x1fmetal", "tag\x1fpop"}
    assert "a13" in data.item_ids
    assert "a13" not in data.learned_ids
    graph = graphs_of(data.edges, data.item_ids)["board"]
    assert graph.left.degrees[data.item_ids.index("a13")] == 0


def test_encoders_learn_from_pairs_that_come_after_their_graph(lake):
    """With the calendar begun 40 days before the cut, its last quarter is ten days, which hold every pair and leave the graph empty."""
    data = data_of(lake)
    cut_ms = data.calendar.rank_cut_ms
    long, short = (replace(data, calendar=replace(data.calendar, start_ms=cut_ms - days * DAY_MS)) for days in (40, 16))
    assert long.pairs.height > 0
    assert long.pairs["time_ms"].is_between(long.pairs_ms, cut_ms, closed="left").all()
    assert long.edges_before_pairs.get("board") is None
    boards, kept = data.edges["board"], short.edges_before_pairs["board"]
    assert kept.height == boards.filter(pl.col("time_ms") < short.pairs_ms).height
    assert 0 < kept.height < boards.height


def test_content_of_newer_items_has_no_tags_and_is_kept(lake, tmp_path, monkeypatch):
    import corkboard.experiments.graph_data as module

    read = {}

    def untrained(items, pairs, config, seed, progress, cut_ms):
        from corkboard.embeddings.content import untrained_content

        tower = untrained_content(items, config)
        encode = tower.encode
        tower.encode = lambda items, now_ms: read.update(items=items) or encode(items, now_ms)
        return tower

    monkeypatch.setattr("corkboard.embeddings.content.train_content", untrained)
    data = data_of(lake)
    table = public_content(lake, data.calendar, NO_FLOOR, tmp_path / "kept")
    assert sorted(table.ids) == ["a10", "a11", "a12", "a13"]
    attributes = {row["item_id"]: [one["value"] for one in row["attributes"] or []] for row in read["items"].iter_rows(named=True)}
    assert attributes["a13"] == []  # tagged "late", but only in the test
    assert attributes["a10"] == ["metal"]  # and "late" later
    read.clear()
    again = module.public_content(lake, data.calendar, NO_FLOOR, tmp_path / "kept")
    assert read == {}
    assert np.array_equal(again.vectors, table.vectors)


def test_a_lake_is_made_once_and_anew_for_other_files(tmp_path):
    data, runs = written(tmp_path / "data", ROWS), tmp_path / "runs"
    first = public_lake(LASTFM, data, runs).folder
    assert public_lake(LASTFM, data, runs).folder == first
    plain = public_lake(LASTFM, written(tmp_path / "plain", ROWS, packed=False), runs)
    assert plain.actions().height == 7
    assert public_lake(LASTFM, written(tmp_path / "data", ROWS[:-2]), runs).folder != first


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFound, match=LASTFM):
        public_lake(LASTFM, tmp_path, tmp_path / "runs")
    one_day = public_lake(LASTFM, written(tmp_path / "data", [(1, 10, 1, 1), (1, 11, 1, 1)]), tmp_path / "runs")
    with pytest.raises(InputError, match="No midnight"):
        public_calendar(one_day, 0.3)


def test_copies_hold_nothing_that_the_boards_do_not_say():
    rng = np.random.default_rng(0)
    lefts, rights = rng.integers(0, 40, 400), rng.integers(0, 30, 400)
    board = pl.DataFrame({"left": [f"i{n}" for n in lefts], "right": [f"b{n}" for n in rights], "time_ms": np.zeros(400, np.int64)})
    copies = thinned_copies(board, ["one", "two"], 0.5, seed=3)
    assert list(copies) == ["one", "two"]
    boards_of = {left: set(found) for left, found in board.group_by("left").agg("right").iter_rows()}
    for copy in copies.values():
        assert 120 < copy.height < 280
        assert copy["right"].n_unique() <= 15
        members = copy.group_by("right").agg("left").iter_rows()
        for _, items in members:  # items that a copy puts together lie on one of two boards
            assert len(set.union(*(boards_of[item] for item in items)) & set(board["right"])) >= 1
    assert not copies["one"].equals(copies["two"])
    assert copies["one"].equals(thinned_copies(board, ["one"], 0.5, seed=3)["one"])


def test_items_that_are_taken_out_have_no_edge_left():
    board = pl.DataFrame({"left": ["a", "b", "a"], "right": ["x", "x", "y"], "time_ms": [1, 2, 3]})
    left = without_items({"board": board}, ["a", "b"], np.array([True, False]))
    assert left["board"].rows() == [("b", "x", 2)]
    graph = graphs_of(left, ["a", "b"])["board"]
    assert graph.left.degrees.tolist() == [0, 1]


@pytest.mark.skipif(not (DATA / LASTFM).exists(), reason="set CORKBOARD_DATA to the folder that holds hetrec-lastfm-2k")
def test_the_real_last_fm_set_has_the_counts_of_its_readme(tmp_path):
    lake = public_lake(LASTFM, DATA, tmp_path)
    actions = lake.actions()
    assert actions.height == 186_473  # of 186,479, without impossible dates and a repeated row
    assert actions["user_id"].n_unique() == 1_892
    data = data_of(lake, GraphExperimentConfig())
    assert set(data.edges) == {"board", "user_save", "tag"}
    assert max(int(edges["time_ms"].max()) for edges in data.edges.values()) < data.calendar.rank_cut_ms


@pytest.mark.skipif(not (DATA / MOVIELENS).exists(), reason="set CORKBOARD_DATA to the folder that holds ml-latest-small")
def test_the_real_movielens_set_has_several_graphs(tmp_path):
    data = data_of(public_lake(MOVIELENS, DATA, tmp_path), GraphExperimentConfig())
    assert set(data.edges) == {"user_save", "user_click", "category", "tag"}
    assert max(int(edges["time_ms"].max()) for edges in data.edges.values()) < data.calendar.rank_cut_ms
