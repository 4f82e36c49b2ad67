import numpy as np
import pytest

from corkboard.errors import InputError
from corkboard.graph.config import PruningConfig
from corkboard.graph.from_lake import follow_edges, graphs, item_edges, newer_saves
from corkboard.lake.lake import Lake
from tests.lake.rows import DAY, T0, action, item, lake_of, undo

ITEMS = ["i1", "i2", "i3", "i4"]


def board(board_id: str, user_id: str | None, secret: bool = False, deleted: bool = False) -> dict:
    return {
        "event_id": f"e-{board_id}",
        "time_ms": T0 - DAY,
        "board_id": board_id,
        "user_id": user_id,
        "secret": secret,
        "deleted": deleted,
    }


def save(event_id: str, day: float, user_id: str, item_id: str, board_id: str | None = None, **more) -> dict:
    return action(event_id, int(T0 + day * DAY), "save", item_id, user_id, board_id=board_id, **more)


def a_lake(folder) -> Lake:
    """Public boards b1, b5 of ann and b2 of bob; b3 is secret, b4 deleted, b9 undeclared."""
    attributes = [{"name": "colour", "value": "red"}, {"name": "form", "value": "round"}]
    items = [item(f"e-{name}", T0 - DAY, name, creator_id="c1", category="art") for name in ITEMS[1:]]
    items.append(item("e-i1", T0 - DAY, "i1", creator_id="c2", brand_id="x", attributes=attributes))
    boards = [board("b1", "ann"), board("b2", "bob"), board("b3", "ann", secret=True), board("b4", "ann", deleted=True), board("b5", "ann")]
    actions = [
        save("s1", 1, "ann", "i1", "b1"),
        save("s2", 1.1, "ann", "i2", "b1"),
        save("s2b", 1.2, "ann", "i2", "b1"),
        save("s3", 2, "bob", "i2", "b2"),
        save("s4", 2, "bob", "i3", "b2"),
        save("s5", 2.5, "ann", "i4", "b5"),
        save("secret", 1, "ann", "i3", "b3", query="hidden"),
        save("deleted", 1, "ann", "i3", "b4"),
        save("undeclared", 1, "cat", "i3", "b9"),
        save("undone", 1, "bob", "i1", "b2"),
        undo("undo", T0 + int(1.1 * DAY), "undone", "bob"),
        save("plain", 3, "cat", "i1"),
        action("k1", T0 + 3 * DAY, "click", "i1", "ann", query=" Red  vase "),
        action("k2", T0 + 3 * DAY, "long_click", "i1", "bob", query="red  vase"),
        action("k3", T0 + 3 * DAY, "click", "i2", "ann", query="red  vase"),
        action("v1", T0 + 3 * DAY, "close_up", "i2", None, session_id="s"),
        action("f1", T0 + 3 * DAY, "follow", None, "ann", creator_id="c1"),
        action("f2", T0 + 3 * DAY, "follow", None, "bob", creator_id="c1"),
        action("f3", T0 + 3 * DAY, "follow", None, "bob", creator_id="c2"),
    ]
    return lake_of(folder, items=items, boards=boards, actions=actions)


def edges_of(lake: Lake, name: str, **config) -> set[tuple[str, str]]:
    found = item_edges(lake, PruningConfig(**config))
    return set(found[name].select("left", "right").collect().rows()) if name in found else set()


def test_boards_hold_public_saves_that_were_not_taken_back(tmp_path):
    assert edges_of(a_lake(tmp_path), "board") == {("i1", "b1"), ("i2", "b1"), ("i2", "b2"), ("i3", "b2"), ("i4", "b5")}


def test_what_lies_on_a_secret_board_shows_in_no_graph(tmp_path):
    lake = a_lake(tmp_path)
    assert edges_of(lake, "user_save", min_people=1) == {
        ("i1", "ann"), ("i2", "ann"), ("i2", "bob"), ("i3", "bob"), ("i4", "ann"), ("i1", "cat"),
    }  # fmt: skip
    assert "hidden" not in {right for _, right in edges_of(lake, "query", min_people=1)}


def test_a_lake_without_boards_keeps_saves_onto_them_for_its_users(tmp_path):
    lake = lake_of(tmp_path, actions=[save("s1", 1, "ann", "i1", "b1"), save("s2", 1, "bob", "i1", "b2")])
    assert edges_of(lake, "user_save") == {("i1", "ann"), ("i1", "bob")}
    assert edges_of(lake, "board") == set()


def test_people_stand_behind_edges(tmp_path):
    lake = a_lake(tmp_path)
    assert edges_of(lake, "user_save", min_people=2) == {("i1", "ann"), ("i1", "cat"), ("i2", "ann"), ("i2", "bob")}
    assert edges_of(lake, "user_click", min_people=2) == {("i1", "ann"), ("i1", "bob")}
    assert edges_of(lake, "query", min_people=2) == {("i1", "red  vase")}
    assert edges_of(lake, "query", min_people=1) == {("i1", "red  vase"), ("i2", "red  vase")}
    assert edges_of(lake, "user_close_up", min_people=1) == {("i2", "session:s")}
    assert set(follow_edges(lake).select("left", "right").collect().rows()) == {("c1", "ann"), ("c1", "bob")}


def test_labels_join_items(tmp_path):
    lake = a_lake(tmp_path)
    assert edges_of(lake, "creator") == {("i1", "c2"), ("i2", "c1"), ("i3", "c1"), ("i4", "c1")}
    assert edges_of(lake, "brand") == {("i1", "x")}
    assert edges_of(lake, "tag") == {("i1", "colour\x1fred"), ("i1", "form\x1fround")}
    assert "user_cart" not in item_edges(lake)


def test_graphs_are_over_the_items_that_are_asked_for(tmp_path):
    found = graphs(a_lake(tmp_path), ["i4", "i2"], PruningConfig(min_people=1))
    assert set(found.by_name) == {
        "board",
        "query",
        "user_save",
        "user_click",
        "user_close_up",
        "creator",
        "brand",
        "category",
        "tag",
        "follow",
    }
    board_graph = found.by_name["board"]
    assert (board_graph.left_ids, board_graph.right_ids) == (["i4", "i2"], ["b1", "b2", "b5"])
    assert board_graph.owners.rows() == [("default", "ann"), ("default", "bob"), ("default", "ann")]
    assert [board_graph.left.of(row).tolist() for row in range(2)] == [[2], [0, 1]]
    assert found.by_name["follow"].left_ids == ["c1", "c2"]
    assert found.by_name["follow"].right_ids == ["ann", "bob"]


def test_no_edge_after_the_cut_is_in_a_graph(tmp_path):
    """An edge is planted after the cut in every graph that actions make; none of them is there."""
    lake = a_lake(tmp_path)
    cut = lake.until(T0 + 2 * DAY)
    assert edges_of(cut, "board") == {("i1", "b1"), ("i2", "b1")}
    found = graphs(cut, ITEMS, PruningConfig(min_people=1))
    assert not {"user_click", "query", "user_close_up", "follow"} & set(found.by_name)
    for edges in item_edges(lake.until(T0 + int(2.2 * DAY)), PruningConfig(min_people=1)).values():
        assert edges.collect()["time_ms"].max() < T0 + int(2.2 * DAY)


def test_an_undo_after_the_cut_is_not_known_before_it(tmp_path):
    assert ("i1", "b2") in edges_of(a_lake(tmp_path).until(T0 + int(1.05 * DAY)), "board")


def test_newer_saves_are_public_ones_since_the_cut(tmp_path):
    newer = newer_saves(a_lake(tmp_path), T0 + 2 * DAY)
    assert newer.select("item_id", "board_id", "user_key").rows() == [("i2", "b2", "bob"), ("i3", "b2", "bob"), ("i4", "b5", "ann")]
    assert newer["time_ms"].to_list() == [T0 + 2 * DAY, T0 + 2 * DAY, T0 + int(2.5 * DAY)]


def pruning_lake(tmp_path) -> Lake:
    """Board "about" holds i1, i2 of one topic, "all" all four; user ann saved what is on both."""
    saves = [save(f"a{name}", 1, "ann", name, "about") for name in ITEMS[:2]] + [save(f"b{name}", 2, "bob", name, "all") for name in ITEMS]
    items = [item(f"e-{name}", T0 - DAY, name, creator_id="c") for name in ITEMS]
    return lake_of(tmp_path, items=items, boards=[board("about", "ann"), board("all", "bob")], actions=saves)


def test_boards_about_everything_are_left_out(tmp_path):
    lake, topics = pruning_lake(tmp_path), np.eye(4, dtype=np.float32)[[0, 0, 1, 2]]
    found = graphs(lake, ITEMS, PruningConfig(max_entropy=0.5, min_people=1), topics=topics)
    assert found.by_name["board"].right_ids == ["about"]
    assert found.by_name["board"].owners.rows() == [("default", "ann")]
    assert found.by_name["user_save"].edges == 6, "only boards are told by their topics"
    assert found.by_name["creator"].edges == 4


def test_items_keep_the_edges_most_like_them(tmp_path):
    """i1 lies on four boards; it keeps two, those of items like it. The others lie on one board each, which they keep."""
    beside = {"like": "i2", "also": "i3", "other": "i4", "odd": "i5"}
    saves = [save(f"a-{name}", 1, name, "i1", name) for name in beside] + [
        save(f"b-{name}", 1, name, i, name) for name, i in beside.items()
    ]
    ids = ["i1", *beside.values()]
    lake = lake_of(
        tmp_path, items=[item(f"e-{i}", T0 - DAY, i, creator_id="c") for i in ids], boards=[board(n, n) for n in beside], actions=saves
    )
    vectors = np.array([[1, 0], [1, 0], [0.8, 0.6], [0, 1], [-1, 0]], np.float32)
    found = graphs(lake, ids, PruningConfig(degree_exponent=0.5, min_people=1), vectors=vectors)
    for name in ("board", "user_save"):
        graph = found.by_name[name]
        assert [sorted(graph.right_ids[right] for right in graph.left.of(row)) for row in range(5)] == [
            ["also", "like"], ["like"], ["also"], ["other"], ["odd"],
        ]  # fmt: skip
    assert found.by_name["creator"].edges == 5
    assert graphs(lake, ids, PruningConfig(min_people=1)).by_name["board"].edges == 8


@pytest.mark.parametrize(("config", "name"), [({"max_entropy": 1.0}, "topics"), ({"degree_exponent": 0.9}, "vectors")])
def test_pruning_without_what_it_needs_is_refused(tmp_path, config, name):
    lake = pruning_lake(tmp_path)
    with pytest.raises(InputError, match=name):
        graphs(lake, ITEMS, PruningConfig(**config))
    with pytest.raises(InputError, match=name):
        graphs(lake, ITEMS, PruningConfig(**config), **{name: np.zeros((3, 2), np.float32)})


def test_a_graph_of_the_past_is_judged_by_what_is_known_now(tmp_path):
    """On the last day b1 becomes secret and bob takes a save back: neither is in a graph that ends before that day, as of now."""
    base = a_lake(tmp_path / "a")
    cut_ms = int(T0 + 5 * DAY)
    boards = [board(name, owner) for name, owner in (("b1", "ann"), ("b2", "bob"))]
    boards.append(board("b1", "ann", secret=True) | {"event_id": "hush", "time_ms": cut_ms + 1})
    actions = [save("s1", 1, "ann", "i1", "b1"), save("s3", 2, "bob", "i2", "b2"), save("s4", 2, "bob", "i3", "b2")]
    actions += [undo("back", cut_ms + 2, "s4", "bob"), save("late", 5.5, "bob", "i4", "b2")]
    items = [item(f"e-{name}", T0 - DAY, name) for name in ITEMS]
    lake = lake_of(tmp_path / "b", items=items, boards=boards, actions=actions)
    then, now = (
        graphs(lake.until(cut_ms), ITEMS, PruningConfig(min_people=1)),
        graphs(lake, ITEMS, PruningConfig(min_people=1), until_ms=cut_ms),
    )
    assert set(then.by_name["board"].right_ids) == {"b1", "b2"}
    assert now.by_name["board"].right_ids == ["b2"]
    assert (then.by_name["board"].edges, now.by_name["board"].edges) == (3, 1)
    assert newer_saves(lake, cut_ms)["item_id"].to_list() == ["i4"]
    assert base.declares_boards


def test_a_lake_whose_boards_are_all_gone_is_not_one_without_boards(tmp_path):
    items, saves = [item("e-i1", T0 - DAY, "i1")], [save("s", 1, "ann", "i1", "b", query="hush")]
    gone = lake_of(tmp_path / "gone", items=items, boards=[board("b", "ann", deleted=True)], actions=saves)
    never = lake_of(tmp_path / "never", items=items, actions=saves)
    assert "user_save" not in item_edges(gone, PruningConfig(min_people=1))
    assert "user_save" in item_edges(never, PruningConfig(min_people=1))
    early = lake_of(tmp_path / "early", items=items, boards=[board("b", "ann", secret=True) | {"time_ms": T0 + 3 * DAY}], actions=saves)
    assert "user_save" not in item_edges(
        early.until(T0 + 2 * DAY), PruningConfig(min_people=1)
    )  # a view that ends before anybody declared one
