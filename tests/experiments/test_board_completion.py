"""Board completion: which boards are asked about, by what, and for what; by hand and against a plain loop."""

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError, NotFound
from corkboard.experiments.board_completion import BoardTask, board_figures, evaluate_boards
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.item_questions import CONTENT
from corkboard.experiments.item_scorers import ChanceItems, PixieItems
from corkboard.graph.from_lake import graphs
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake

from .fakes import action, at, calendar, frame, item

CALENDAR = calendar(days=10, rank_days=2, test_days=4)


def board(board_id, user="ann", day=0.0, **more):
    return {"board_id": board_id, "time_ms": at(day), "user_id": user, "secret": False, "deleted": False, **more}


def save(item_id, day, board_id="one", user="ann", **more):
    return action(user, item_id, day, "save", board_id=board_id, **more)


def lake_of(folder, items, boards, actions):
    rows = {"items": items, "boards": boards, "actions": actions}
    report = ingest_frames(folder, {name: frame(name, part) for name, part in rows.items() if part}, "test")
    assert report.refused == 0, report.refusals
    return Lake(folder)


def ids(task, rows):
    return [task.item_ids[row] for row in rows]


class Known:
    """Scores every item by ``scores`` for every board, and keeps what it was asked."""

    def __init__(self, scores):
        self.scores, self.asked = np.asarray(scores, np.float32), []

    def score_sets(self, sets):
        self.asked += [rows.tolist() for rows in sets]
        return np.repeat(self.scores[None], len(sets), axis=0)


def test_a_board_is_asked_by_its_items_newest_first_and_for_what_came_after(tmp_path):
    items = [item(name) for name in "abcdef"] + [item("new", 7), item("gone", available=False)]
    actions = [
        *(save(name, day) for name, day in (("b", 1), ("a", 2), ("d", 3), ("c", 4), ("a", 5), ("gone", 5))),
        *(save(name, day) for name, day in (("b", 7), ("e", 7), ("new", 8), ("e", 9), ("gone", 8))),  # b lay there already
        action("ann", "f", 8, "click"),
        save("f", 8, board_id=None),
    ]
    task = BoardTask.of(lake_of(tmp_path, items, [board("one")], actions), CALENDAR)
    assert task.board_ids == ["one"]
    assert ids(task, task.sets[0]) == ["a", "c", "d", "b"]  # a was saved again on day 5
    assert ids(task, task.targets) == ["e", "new"]
    assert (task.sizes.tolist(), task.user_ids, task.outside) == ([4], ["ann"], 0)
    assert task.questions.cold.tolist() == [True, True]


def test_items_that_left_the_catalogue_are_neither_asked_by_nor_wanted(tmp_path):
    items = [item(name) for name in "abcdef"] + [item(name, available=False) for name in "xy"]
    actions = [save(name, 1) for name in "abcdx"] + [save(name, 7) for name in "ey"]
    task = BoardTask.of(lake_of(tmp_path, items, [board("one")], actions), CALENDAR)
    assert (ids(task, task.sets[0]), ids(task, task.targets), task.outside) == (list("abcd"), ["e"], 1)


def test_secret_deleted_undeclared_and_small_boards_are_not_asked_about(tmp_path):
    boards = [
        board("one"),
        board("secret", secret=True),
        board("deleted"),
        board("deleted", day=2, deleted=True),
        board("later secret"),
        board("later secret", day=8, secret=True),
        board("secret at first", secret=True),
        board("secret at first", day=8),
        board("small"),
        board("nothing new"),
        board("no owner", user=None),
    ]
    names = [*{row["board_id"]: None for row in boards}, "undeclared"]
    actions = [
        row
        for name in names
        for row in (
            *(save(f"i{n}", 1 + n / 10, name) for n in range(3 if name == "small" else 4)),
            *([] if name == "nothing new" else [save("i5", 7, name)]),
        )
    ]
    task = BoardTask.of(lake_of(tmp_path, [item(f"i{n}") for n in range(6)], boards, actions), CALENDAR)
    assert task.board_ids == ["no owner", "one"]
    assert task.user_ids == ["ann", "board no owner"]
    assert task.owners.tolist() == [1, 0]


def test_what_was_taken_back_is_not_on_the_board(tmp_path):
    actions = [
        *(save(f"i{n}", 1 + n / 10, event_id=f"s{n}") for n in range(6)),
        action("ann", None, 2, "undo", undoes="s0"),
        action("ann", None, 9, "undo", undoes="s1"),  # nobody could know of it at B
        save("i7", 7, event_id="t1"),
        save("i8", 7.1, event_id="t2"),
        action("ann", None, 8, "undo", undoes="t1"),
    ]
    task = BoardTask.of(lake_of(tmp_path, [item(f"i{n}") for n in range(9)], [board("one")], actions), CALENDAR)
    assert sorted(ids(task, task.sets[0])) == ["i1", "i2", "i3", "i4", "i5"]
    assert ids(task, task.targets) == ["i8"]


def test_a_table_by_hand(tmp_path):
    """A board of 25 items, of which 20 are asked by and none is listed; 12 others, and two wanted."""
    items = [item(f"i{n:02}") for n in range(25)] + [item(f"o{n:02}") for n in range(12)]
    actions = [save(f"i{n:02}", 1 + n / 10) for n in range(25)] + [save(name, 7) for name in ("o03", "o11")]
    task = BoardTask.of(lake_of(tmp_path, items, [board("one")], actions), CALENDAR)
    scores = np.array([100.0] * 25 + [12 - n for n in range(12)])
    model = Known(scores)
    table = evaluate_boards(task, {CONTENT: Known(np.zeros(37)), "model": model}, EvaluationConfig(replicates=100))
    assert model.asked == [list(range(24, 4, -1))]
    assert table.cell("model", "recall@10").value == 0.5  # o03 is fourth, o11 is twelfth: the board's own items take no place
    assert table.cell("model", "recall@100").value == 1.0
    assert table.cell("model", "recall@10 cold").positives == 2
    assert table.facts == {"boards": 1, "owners": 1, "items": 37, "new pins": 2, "wanted items cold": 2, "median size": 25.0, "outside": 0}
    assert next(one for one in table.breakdowns if one.name == "by size of the board").buckets == ["20+"]
    assert table.baseline == CONTENT


def random_lake(folder, boards=30, items=140, seed=0):
    rng = np.random.default_rng(seed)
    actions = [
        save(f"i{rng.integers(items):03}", float(rng.uniform(1, 10)), f"b{b:02}", f"u{b // 2}")
        for b in range(boards)
        for _ in range(rng.integers(2, 40))
    ]
    return lake_of(folder, [item(f"i{n:03}") for n in range(items)], [board(f"b{b:02}", f"u{b // 2}") for b in range(boards)], actions)


@pytest.mark.parametrize("chunk_scores", [1, 500, 10**9])
def test_recall_equals_a_plain_loop_in_chunks_of_any_size(tmp_path, chunk_scores):
    lake = random_lake(tmp_path)
    task = BoardTask.of(lake, CALENDAR)
    scores = np.random.default_rng(1).permutation(140).astype(float)
    figures = board_figures(task, Known(scores), EvaluationConfig(chunk_scores=chunk_scores))
    saves = lake.actions().sort("time_ms")
    hits = {10: [], 100: []}
    for (_,), own in saves.group_by("board_id", maintain_order=True):
        lying = set(own.filter(pl.col("time_ms") < CALENDAR.rank_cut_ms)["item_id"])
        if len(lying) < 4:
            continue
        order = [f"i{n:03}" for n in np.argsort(-scores) if f"i{n:03}" not in lying]
        for wanted in set(own["item_id"]) - lying:
            for k, found in hits.items():
                found.append(wanted in order[:k])
    assert len(task.targets) == len(hits[10]) > 50
    for k, found in hits.items():
        assert figures[f"recall@{k}"].value == pytest.approx(np.mean(found))
    assert figures["recall@10"].users == len(task.user_ids) <= 15  # two boards each


def test_walks_from_the_board_find_its_kin_and_nothing_of_the_test_is_in_the_graph(tmp_path):
    """Boards of one taste share their items; the graph until B ranks them above the other taste."""
    rng = np.random.default_rng(0)
    actions = [
        save(f"{taste}{n}", 1 + place / 10 if place < 8 else 7, f"{taste}-{b}", f"{taste}{b}")
        for taste in "xy"
        for b in range(12)
        for place, n in enumerate(rng.permutation(40)[:10])
    ]
    items = [item(f"{taste}{n}") for taste in "xy" for n in range(40)]
    lake = lake_of(tmp_path, items, [board(f"{taste}-{b}", f"{taste}{b}") for taste in "xy" for b in range(12)], actions)
    task = BoardTask.of(lake, CALENDAR)
    honest, leaky = (graphs(part, task.item_ids).by_name["board"] for part in (lake.until(CALENDAR.rank_cut_ms), lake))
    assert (honest.edges, leaky.edges) == (24 * 8, 24 * 10)
    rows = {CONTENT: ChanceItems(80), "walks": PixieItems.of(honest, task.item_ids), "leaky": PixieItems.of(leaky, task.item_ids)}
    table = evaluate_boards(task, rows, EvaluationConfig(replicates=100))
    values = {row.name: row.cells["recall@10"].value for row in table.rows}
    assert values[CONTENT] + 0.1 < values["walks"] < values["leaky"] - 0.2


def test_more_boards_than_wanted_are_drawn_by_seed(tmp_path):
    lake = random_lake(tmp_path)
    tasks = [BoardTask.of(lake, CALENDAR, EvaluationConfig(seed=seed), max_boards=5) for seed in (0, 0, 1)]
    assert tasks[0].board_ids == tasks[1].board_ids != tasks[2].board_ids
    assert len(tasks[0].sets) == len(tasks[0].board_ids) == 5
    assert "boards were drawn by seed" in tasks[0].warnings[0]
    everything = BoardTask.of(lake, CALENDAR)
    for place, board_id in enumerate(tasks[0].board_ids):
        there = everything.board_ids.index(board_id)
        assert tasks[0].sets[place].tolist() == everything.sets[there].tolist()
        assert sorted(tasks[0].targets[tasks[0].boards == place]) == sorted(everything.targets[everything.boards == there])


def test_errors_say_what_is_missing(tmp_path):
    items, saves = [item(f"i{n}") for n in range(6)], [save(f"i{n}", 1 + n / 10) for n in range(4)]
    with pytest.raises(InputError, match="No board can be asked about.*1 public boards"):
        BoardTask.of(lake_of(tmp_path / "nothing new", items, [board("one")], [*saves, action("ann", "i5", 7)]), CALENDAR)
    with pytest.raises(InputError, match="0 public boards"):
        BoardTask.of(lake_of(tmp_path / "no boards", items, [], [*saves, save("i5", 7)]), CALENDAR)
    task = BoardTask.of(lake_of(tmp_path / "fine", items, [board("one")], [*saves, save("i5", 7)]), CALENDAR)
    with pytest.raises(NotFound, match="no row to compare with"):
        evaluate_boards(task, {"model": ChanceItems(6)})
    with pytest.raises(ValueError, match="shape"):
        board_figures(task, ChanceItems(7))
