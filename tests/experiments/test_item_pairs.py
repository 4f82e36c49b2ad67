"""Pairs of items: found as a plain loop finds them, ranked as a plain sort ranks them, and no edge of the test in any graph."""

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import write_artifact
from corkboard.errors import InputError, LeakError, NotFound
from corkboard.experiments.config import EvaluationConfig
from corkboard.experiments.item_pairs import PairTask, evaluate_item_pairs, item_pairs, pair_figures
from corkboard.experiments.item_questions import CONTENT, LEVELS, measures_of
from corkboard.experiments.item_scorers import ChanceItems, PixieItems
from corkboard.experiments.leaks import require_cuts, require_known_edges, require_no_later_edges
from corkboard.experiments.report import report_html
from corkboard.experiments.result import Evaluation
from corkboard.graph.config import PruningConfig
from corkboard.graph.from_lake import FAMILIES, graphs, item_edges
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake
from corkboard.lake.schema import POSITIVE

from .fakes import FakeLake, action, at, calendar, frame, item

CALENDAR = calendar(days=10, rank_days=2, test_days=4)
MINUTE = 1 / (24 * 60)
B = 6.0


class Table:
    """Scores of every item for every item, ``(items, items)``."""

    def __init__(self, scores):
        self.scores = np.asarray(scores, np.float32)

    def score_items(self, rows):
        return self.scores[rows]


def pairs_of(*actions, window_minutes=60):
    found = item_pairs(frame("actions", actions), window_minutes)
    return {(row["user"], row["left_id"], row["right_id"]): row for row in found.to_dicts()}


def kinds(row):
    return {family for family in FAMILIES if row[family]}


def test_all_actions_on_the_next_item_count_for_one_pair():
    found = pairs_of(
        action("u", "a", 7),
        action("u", "a", 7 + MINUTE, "save"),
        action("u", "b", 7 + 2 * MINUTE, "close_up"),
        action("u", "b", 7 + 3 * MINUTE, "long_click"),
        action("u", "b", 7 + 4 * MINUTE, "checkout"),
    )
    assert list(found) == [("u", "a", "b")]
    assert kinds(found["u", "a", "b"]) == {"close_up", "click", "cart"}
    assert (found["u", "a", "b"]["after"], found["u", "a", "b"]["related"]) == (True, False)


def test_there_and_back_are_two_pairs_and_again_is_none():
    found = pairs_of(*(action("u", name, 7 + n * MINUTE) for n, name in enumerate("abab")))
    assert set(found) == {("u", "a", "b"), ("u", "b", "a")}


def test_a_pair_is_of_one_user_and_no_hide_comes_between():
    found = pairs_of(
        action("u", "a", 7),
        action("v", "c", 7 + MINUTE),
        action("u", "x", 7 + 2 * MINUTE, "hide"),
        action("u", "b", 7 + 3 * MINUTE),
        action(None, "d", 7 + 4 * MINUTE, session_id="s"),
        action(None, "e", 7 + 5 * MINUTE, session_id="s"),
    )
    assert set(found) == {("u", "a", "b"), ("session:s", "d", "e")}


def test_the_window_ends_to_the_millisecond():
    late = {"time_ms": at(7) + 3_600_001}
    assert set(pairs_of(action("u", "a", 7), {**action("u", "b", 7), "time_ms": at(7) + 3_600_000})) == {("u", "a", "b")}
    assert pairs_of(action("u", "a", 7), {**action("u", "b", 7), **late}) == {}
    assert set(pairs_of(action("u", "a", 7), {**action("u", "b", 7), **late}, window_minutes=61)) == {("u", "a", "b")}


def test_a_related_page_makes_a_pair_with_its_item_whenever_that_was_engaged():
    found = pairs_of(
        action("u", "a", 6.5),
        action("u", "b", 7, "save", surface="related", context_item_id="a"),
        action("u", "b", 7 + MINUTE, "click", surface="related", context_item_id="b"),
    )
    assert list(found) == [("u", "a", "b")]
    assert kinds(found["u", "a", "b"]) == {"save"}
    assert (found["u", "a", "b"]["after"], found["u", "a", "b"]["related"]) == (False, True)
    both = pairs_of(action("u", "a", 7), action("u", "b", 7 + MINUTE, "save", context_item_id="a"))
    assert (both["u", "a", "b"]["after"], both["u", "a", "b"]["related"]) == (True, True)


def test_no_actions_make_no_pairs():
    assert pairs_of() == {}
    assert pairs_of(action("u", "a", 7)) == {}


def plain_pairs(rows, window_ms):
    """(user, left, right) -> families, by walking through each user's actions."""
    found = {}
    for user in {row["user_id"] for row in rows}:
        own = sorted((row for row in rows if row["user_id"] == user and row["action"] in POSITIVE), key=lambda row: row["time_ms"])
        for n, row in enumerate(own):
            others = [one for one in own[:n] if one["item_id"] != row["item_id"]]
            lefts = {others[-1]["item_id"]} if others and row["time_ms"] - others[-1]["time_ms"] <= window_ms else set()
            if row.get("context_item_id") not in (None, row["item_id"]):
                lefts.add(row["context_item_id"])
            for left in lefts:
                families = {family for family, names in FAMILIES.items() if row["action"] in names}
                found[user, left, row["item_id"]] = found.get((user, left, row["item_id"]), set()) | families
    return found


@pytest.mark.parametrize("seed", range(5))
def test_pairs_equal_those_of_a_plain_loop(seed):
    rng = np.random.default_rng(seed)
    names = [*POSITIVE, "hide"]
    rows = [
        action(
            f"u{rng.integers(4)}",
            f"i{rng.integers(6)}",
            7 + float(time) * MINUTE,
            names[rng.integers(len(names))],
            context_item_id=f"i{rng.integers(6)}" if rng.random() < 0.2 else None,
        )
        for time in rng.permutation(400)
    ]
    found = pairs_of(*rows, window_minutes=15)
    assert {key: kinds(row) for key, row in found.items()} == plain_pairs(rows, 15 * 60_000)


# ------------------------------------------------------------------------------------------------------------- the table


def small_lake():
    """c was acted on five times before B, d twice, a and b never; e is created in the test, f after it, g is not available."""
    items = [item(name) for name in "abcd"] + [item("e", 7), item("f", 11), item("g", available=False)]
    before = [action(f"x{n}", "c", 1) for n in range(5)] + [action("x", "d", 5), action("x", "a", 5, "hide")]
    test = [
        *(action("u", name, 7 + n * MINUTE) for n, name in enumerate("abc")),
        *(action("v", name, 8 + n * MINUTE, "save") for n, name in enumerate("abde")),
        action("v", "g", 8 + 5 * MINUTE),
        *(action("w", name, day) for name, day in (("d", 5.9999), ("c", 6.0))),  # its query lies before B
    ]
    return FakeLake.of(items, before + test)


def test_a_table_by_hand():
    task = PairTask.of(small_lake(), CALENDAR)
    assert task.item_ids == ["a", "b", "c", "d", "e"]
    assert task.known.earlier.tolist() == [0, 0, 5, 2, 0]
    assert [LEVELS[level] for level in task.known.levels] == ["no action before B"] * 2 + ["5-19", "1-4", "created after B"]
    asked = {(task.user_ids[u], task.item_ids[q], task.item_ids[i]) for u, q, i in zip(task.users, task.queries, task.targets, strict=True)}
    assert asked == {("u", "a", "b"), ("u", "b", "c"), ("v", "a", "b"), ("v", "b", "d"), ("v", "d", "e")}
    assert (task.outside, task.asked.tolist()) == (1, [0, 1, 3])  # e to g, which was not available
    assert task.actions["save"].tolist() == [user == 1 for user in task.users]

    # eleven more items, so that ten places are not enough for everybody
    wide = FakeLake.of([item(f"z{n:02}") for n in range(11)] + [item(name) for name in "abcd"] + [item("e", 7)], [])
    task = PairTask.of(FakeLake(wide.item_rows, small_lake().action_rows, wide.impression_rows), CALENDAR)
    order = {name: row for row, name in enumerate(task.item_ids)}
    scores = np.zeros((16, 16))
    scores[:, [order[f"z{n:02}"] for n in range(11)]] = 2.0
    first = scores.copy()
    first[order["a"], order["b"]] = 3.0  # both users' first pair
    first[order["d"], order["e"]] = 3.0  # a pair with a new item
    table = evaluate_item_pairs(task, {CONTENT: Table(scores), "better": Table(first)})
    assert table.cell(CONTENT, "recall@10").value == 0.0
    assert table.cell(CONTENT, "recall@100").value == 1.0
    cell = table.cell("better", "recall@10")
    assert (cell.value, cell.difference, cell.users, cell.positives) == (pytest.approx(3 / 5), pytest.approx(3 / 5), 2, 5)
    assert table.cell("better", "recall@10 by user").value == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert table.cell("better", "recall@10 save").value == pytest.approx(2 / 3)
    assert table.cell("better", "recall@10 click").value == pytest.approx(1 / 2)
    cold = table.cell("better", "recall@10 cold")  # u-a-b, v-a-b, v-d-e
    assert (cell.verdict, cold.value, cold.positives) == ("too few to tell", 1.0, 3)
    assert "recall@10 cart" not in table.row("better").cells  # nobody did
    level = next(one for one in table.breakdowns if one.name == "by what was known of the wanted item" and one.measure == "recall@10")
    assert {bucket: one.value for bucket, one in zip(level.buckets, level.cells["better"], strict=True)} == {
        "created after B": 1.0,
        "no action before B": 1.0,
        "1-4": 0.0,
        "5-19": 0.0,
    }
    assert table.facts["pairs"] == 5
    assert table.facts["wanted items cold"] == 3


def random_task(seed=0, items=130, users=60):
    rng = np.random.default_rng(seed)
    actions = [action(f"u{rng.integers(users)}", f"i{rng.integers(items):03}", float(rng.uniform(1, 10))) for _ in range(6000)]
    return PairTask.of(FakeLake.of([item(f"i{n:03}") for n in range(items)], actions), CALENDAR, window_minutes=200)


@pytest.mark.parametrize("chunk_scores", [1, 1000, 10**9])
def test_recall_equals_a_plain_loop_in_chunks_of_any_size(chunk_scores):
    task = random_task()
    scores = np.random.default_rng(1).permuted(np.tile(np.arange(130.0), (130, 1)), axis=1)
    config = EvaluationConfig(chunk_scores=chunk_scores, replicates=100)
    figures = pair_figures(task, Table(scores), config)
    for k in (10, 100):
        hits = []
        for query, target in zip(task.queries, task.targets, strict=True):
            order = [row for row in np.argsort(-scores[query]) if row != query]
            hits.append(target in order[:k])
        assert figures[f"recall@{k}"].value == pytest.approx(np.mean(hits))
    assert set(figures) == {measure.name for measure in measures_of(task.questions)}


def test_the_query_itself_takes_no_place():
    task = random_task()
    own = np.eye(130, dtype=np.float32) * 5
    table = evaluate_item_pairs(task, {CONTENT: Table(np.zeros((130, 130))), "itself": Table(own)}, EvaluationConfig(replicates=100))
    assert table.cell("itself", "recall@10").value == table.cell(CONTENT, "recall@10").value
    everything = [item(f"i{n}") for n in range(100)]
    actions = [action("u", f"i{n}", 7 + n * MINUTE) for n in range(100)]
    task = PairTask.of(FakeLake.of(everything, actions), CALENDAR)
    # 100 items, so 99 others: each is among the first hundred
    assert pair_figures(task, ChanceItems(100))["recall@100"].value == 1.0


def test_scores_that_are_all_alike_are_a_fair_draw():
    task = random_task()
    values = [pair_figures(task, Table(np.zeros((130, 130))), EvaluationConfig(seed=seed))["recall@10"].value for seed in range(12)]
    assert len(set(values)) > 1
    assert np.mean(values) == pytest.approx(10 / 129, rel=0.2)
    config = EvaluationConfig(seed=3)
    again = [pair_figures(task, Table(np.zeros((130, 130))), config)["recall@10"].value for _ in range(2)]
    assert again == [values[3]] * 2


def test_an_item_that_is_never_to_be_listed_is_no_hit():
    task = random_task()
    scores = np.zeros((130, 130), np.float32)
    scores[:, 1:] = -np.inf
    assert pair_figures(task, Table(scores))["recall@100"].total.sum() == np.count_nonzero(task.targets == 0)


def test_more_pairs_than_wanted_are_drawn_by_seed():
    lake = FakeLake.of([item(f"i{n}") for n in range(50)], [action("u", f"i{n}", 7 + n * MINUTE) for n in range(50)])
    tasks = [PairTask.of(lake, CALENDAR, EvaluationConfig(seed=seed), max_pairs=20) for seed in (0, 0, 1)]
    assert [len(task.users) for task in tasks] == [20] * 3
    assert tasks[0].targets.tolist() == tasks[1].targets.tolist() != tasks[2].targets.tolist()
    assert "20 of 49 pairs were drawn" in tasks[0].warnings[0]
    assert tasks[0].outside == 0


def test_errors_say_what_is_missing():
    with pytest.raises(InputError, match="Nobody engaged one item after another"):
        PairTask.of(FakeLake.of([item("a")], [action("u", "a", 7)]), CALENDAR)
    task = PairTask.of(small_lake(), CALENDAR)
    with pytest.raises(NotFound, match="no row to compare with"):
        evaluate_item_pairs(task, {"model": ChanceItems(5)})
    with pytest.raises(ValueError, match="shape"):
        evaluate_item_pairs(task, {CONTENT: ChanceItems(4)})


def test_the_table_is_printed_and_reported_like_any_other(capsys):
    task = random_task()
    config = EvaluationConfig(replicates=100)
    table = evaluate_item_pairs(task, {CONTENT: ChanceItems(130), "other": ChanceItems(130, seed=1)}, config)
    found = Evaluation(
        tables=[table], split_hash="s", snapshot="n", calendar={}, seed=0, level=0.95, version="0", created_ms=0, warnings=["careful"]
    )
    assert Evaluation.from_json(found.to_json()).table("items").cell("other", "recall@100").positives == len(task.users)
    found.print()
    printed = capsys.readouterr().out
    assert "Which item comes next" in printed
    assert max(map(len, printed.splitlines())) <= 100
    assert "by what was known of the query" in report_html(found)


def test_what_graphs_cannot_know_is_said():
    actions = [action("u", f"i{n}", 7 + n * MINUTE) for n in range(20)]
    table = evaluate_item_pairs(PairTask.of(FakeLake.of([item(f"i{n}") for n in range(20)], actions), CALENDAR), {CONTENT: ChanceItems(20)})
    assert any("100% of the pairs ask about an item that nobody had acted on" in warning for warning in table.warnings)


# -------------------------------------------------------------------------------------------------------- a planted edge


def planted_lake(folder, users=40):
    """Two circles of items on boards of their own before B; edges are planted after B: "last" comes onto the boards of the first.

    In the test everybody engages "last" right after an item of the first circle.
    """
    items = [item(f"{circle}{n}") for circle in "ab" for n in range(20)] + [item("last")]
    boards = [
        {"board_id": f"{c}-{n}", "time_ms": at(0), "user_id": f"{c}{n}", "secret": False, "deleted": False} for c in "ab" for n in range(6)
    ]
    rng = np.random.default_rng(0)
    saves = [
        action(f"{circle}{n}", f"{circle}{place}", 1 + float(rng.uniform(0, 4)), "save", board_id=f"{circle}-{n}")
        for circle in "ab"
        for n in range(6)
        for place in rng.permutation(20)[:8]
    ]
    planted = [action(f"a{n}", "last", B + 0.5, "save", board_id=f"a-{n}") for n in range(6)]
    queries = [row["item_id"] for row in saves if row["board_id"] == "a-0"]
    test = [
        row
        for n in range(users)
        for row in (action(f"u{n}", queries[n % len(queries)], 8 + n / 100), action(f"u{n}", "last", 8 + n / 100 + MINUTE))
    ]
    rows = {"items": items, "boards": boards, "actions": saves + planted + test}
    report = ingest_frames(folder, {name: frame(name, part) for name, part in rows.items()}, "test")
    assert report.refused == 0, report.refusals
    return Lake(folder)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    return planted_lake(tmp_path_factory.mktemp("planted"))


def board_graphs(lake, item_ids):
    """The honest graph and the one that has read the evaluation period."""
    return [graphs(part, item_ids).by_name["board"] for part in (lake.until(CALENDAR.rank_cut_ms), lake)]


def test_an_edge_of_the_evaluation_period_is_not_in_the_graph_and_walks_do_not_reach_it(planted):
    task = PairTask.of(planted, CALENDAR)
    last = list(task.item_ids).index("last")
    honest, leaky = board_graphs(planted, task.item_ids)
    assert (honest.left.degrees[last], leaky.left.degrees[last]) == (0, 6)
    assert leaky.edges == honest.edges + 6
    reached = [PixieItems.of(graph, task.item_ids).score_items(task.asked)[:, last] for graph in (honest, leaky)]
    assert not reached[0].any()
    assert reached[1][np.isin(task.asked, task.queries[task.targets == last])].all()


def test_a_planted_edge_would_lift_the_table_and_is_refused(planted, tmp_path):
    task = PairTask.of(planted, CALENDAR)
    honest, leaky = board_graphs(planted, task.item_ids)
    rows = {
        CONTENT: ChanceItems(len(task.item_ids)),
        "honest": PixieItems.of(honest, task.item_ids),
        "leaky": PixieItems.of(leaky, task.item_ids),
    }
    table = evaluate_item_pairs(task, rows, EvaluationConfig(replicates=100))
    assert table.cell("leaky", "recall@10 cold").value > table.cell("honest", "recall@10 cold").value + 0.3

    cut_ms = CALENDAR.rank_cut_ms
    artifacts = [
        write_artifact(tmp_path, "graphs", name, tensors=graph.tensors(), tables={"right": graph.table()}, cut_ms=read_until)
        for name, graph, read_until in (("honest", honest, cut_ms), ("leaky", leaky, CALENDAR.end_ms))
    ]
    require_cuts({"graphs": artifacts[0]}, cut_ms)
    with pytest.raises(LeakError, match="The graphs .* read past its cut"):
        require_cuts({"graphs": artifacts[1]}, cut_ms)


def test_edges_with_times_are_held_against_the_cut(planted):
    cut_ms = CALENDAR.rank_cut_ms
    require_no_later_edges(item_edges(planted.until(cut_ms)), cut_ms)
    with pytest.raises(LeakError, match="The graph board holds rows of the evaluation period.*6 of"):
        require_no_later_edges({"board": item_edges(planted)["board"]}, cut_ms)


def test_a_finished_graph_that_lies_about_its_cut_is_found_in_the_log(planted):
    cut_ms = CALENDAR.rank_cut_ms
    ids = PairTask.of(planted, CALENDAR).item_ids
    require_known_edges(graphs(planted.until(cut_ms), ids).by_name, planted, cut_ms)
    with pytest.raises(LeakError, match="The graph board has edges of the evaluation period.*6 of .* one of last"):
        require_known_edges({"board": board_graphs(planted, ids)[1]}, planted, cut_ms)
    # a graph that only the evaluation period makes at all
    with pytest.raises(LeakError, match="user_click"):
        require_known_edges({"user_click": graphs(planted, ids).by_name["user_click"]}, planted, cut_ms)


def test_a_later_edge_of_an_item_that_had_others_is_found(tmp_path):
    boards = [{"board_id": name, "time_ms": at(0), "user_id": "u", "secret": False, "deleted": False} for name in ("one", "two")]
    saves = [action("u", "a", day, "save", board_id=name) for day, name in ((1, "one"), (7, "one"), (8, "two"))]
    ingest_frames(
        tmp_path, {"items": frame("items", [item("a")]), "boards": frame("boards", boards), "actions": frame("actions", saves)}, "t"
    )
    lake, cut_ms = Lake(tmp_path), CALENDAR.rank_cut_ms
    require_known_edges(graphs(lake.until(cut_ms), ["a"]).by_name, lake, cut_ms)  # it was saved to "one" again: that edge was known
    with pytest.raises(LeakError, match="1 of 2 edges"):
        require_known_edges(graphs(lake, ["a"]).by_name, lake, cut_ms)


def test_an_edge_that_only_later_enough_people_stood_behind_is_found(tmp_path):
    searches = [action(f"u{n}", "a", day, query="cork") for n, day in enumerate((1, 2, 7))]
    report = ingest_frames(tmp_path, {"items": frame("items", [item("a")]), "actions": frame("actions", searches)}, "test")
    assert report.refused == 0
    lake, three = Lake(tmp_path), PruningConfig(min_people=3)
    later = {"query": graphs(lake, ["a"], three).by_name["query"]}
    with pytest.raises(LeakError, match="The graph query"):
        require_known_edges(later, lake, CALENDAR.rank_cut_ms, three)
    require_known_edges(later, lake, CALENDAR.rank_cut_ms, PruningConfig(min_people=2))  # two were enough
    # an edge that the log does not account for is not judged
    foreign = pl.DataFrame({"left": ["a"], "right": ["elsewhere"]})
    require_known_edges({"query": type(later["query"]).of("query", foreign, ["a"])}, lake, CALENDAR.rank_cut_ms, three)
