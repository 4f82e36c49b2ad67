"""What encoders of the graph experiment are given: neighbours by hand, what training must not know; and one tiny world, all through."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from corkboard.artifacts import EmbeddingTable, Space
from corkboard.experiments import graph_claims as name
from corkboard.experiments.graph import graph_jobs, pictured_jobs
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.graph_models import ENCODERS, Bench, first_neighbours, one_list, uniform_neighbours
from corkboard.experiments.item_scorers import VectorItems
from corkboard.experiments.measured import MAIN
from corkboard.experiments.spine_runs import Run, UserRunStore, run_jobs
from corkboard.graph.bipartite import BipartiteGraph
from corkboard.graph.neighbour_lists import NeighbourLists
from corkboard.lake.calendar import Calendar
from corkboard.lake.config import CalendarConfig
from corkboard.lake.ingest import ingest_frames
from corkboard.lake.lake import Lake

from .fakes import action, at, frame, item

IDS = ["a", "b", "c"]


def lists():
    rows = np.array([[[1, 2], [0, -1], [-1, -1]], [[2, -1], [2, 0], [0, 1]]], np.int32)
    visits = np.array([[[9, 3], [5, 0], [0, 0]], [[4, 0], [7, 6], [2, 2]]], np.int32)
    return NeighbourLists(("board", "query"), IDS, rows, visits, np.array([[2, 1, 0], [1, 2, 3]], np.int32))


def test_fewer_neighbours_are_the_most_visited_ones():
    few = first_neighbours(lists(), 1)
    assert few.rows[0].tolist() == [[1], [0], [-1]]
    assert few.visits[1].tolist() == [[4], [7], [2]]
    assert few.degrees.tolist() == lists().degrees.tolist()
    none = first_neighbours(lists(), 0)
    assert (none.rows == -1).all()
    assert not none.visits.any()
    assert not none.degrees.any()


def test_one_list_holds_the_most_visited_of_all_graphs():
    one = one_list(lists(), 3)
    assert one.graphs == ("all",)
    assert one.rows[0].tolist() == [[1, 2, 2], [2, 0, 0], [0, 1, -1]]
    assert one.visits[0].tolist() == [[9, 4, 3], [7, 6, 5], [2, 2, 0]]
    assert one.degrees.tolist() == [[3, 3, 3]]


def test_uniform_neighbours_share_a_board_and_have_no_order():
    left, right = np.array([0, 1, 2, 3, 3], np.int32), np.array([0, 0, 0, 1, 2], np.int32)
    graph = BipartiteGraph.of_pairs("board", left, right, ["a", "b", "c", "d"], ["x", "y", "z"])
    found = uniform_neighbours(graph, graph.left_ids, 2, seed=0)
    assert set(found.rows[0, 0]) == {1, 2}
    assert found.rows[0, 3].tolist() == [-1, -1]
    assert found.visits[0].tolist() == [[1, 1], [1, 1], [1, 1], [0, 0]]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Forty people who save, click and carry on in one of four tastes of ten items, over four weeks."""
    rng, rows = np.random.default_rng(0), []
    for user in range(40):
        taste = user % 4
        for day in np.sort(rng.uniform(0, 27.9, 24)):
            for minute in range(2):
                chosen = f"i{10 * taste + rng.integers(10):02d}"
                kind = ("save", "click", "close_up")[rng.integers(3)]
                board = {"board_id": f"b{user}"} if kind == "save" else {}
                rows.append(action(f"u{user}", chosen, day + minute / 1440, kind, **board))
    boards = [{"board_id": f"b{user}", "user_id": f"u{user}", "time_ms": at(0), "secret": False, "deleted": False} for user in range(40)]
    ids = [f"i{n:02d}" for n in range(40)]
    frames = {"items": [item(one) for one in ids], "actions": rows, "boards": boards}
    folder = tmp_path_factory.mktemp("lake")
    ingest_frames(folder, {table: frame(table, given) for table, given in frames.items()}, source="by hand")
    lake = Lake(folder)
    vectors = rng.normal(size=(40, 8)).astype(np.float32)
    content = EmbeddingTable(ids, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), Space("content", "1"))
    calendar = Calendar.of(lake, CalendarConfig(rank_days=1, test_days=7))
    return Bench(lake, calendar, GraphExperimentConfig.quick(), content, seed=3, graphs=("board", "user_click", "user_close_up", "brand"))


def test_graphs_are_those_that_there_are_the_base_first(bench):
    assert list(bench.graphs) == ["board", "user_click", "user_close_up"]
    assert bench.lists.graphs == ("board", "user_click", "user_close_up")
    copies = Bench(bench.data.lake, bench.data.calendar, bench.config, bench.content, 3, ("board", "user_click"), copies=True)
    assert list(copies.graphs) == ["board", "user_click"]
    assert copies.graphs["user_click"].edges < bench.graphs["board"].edges


@pytest.mark.parametrize("variant", [name.HIDDEN, name.HIDDEN_NO_GRAPH])
def test_training_does_not_know_unseen_items_and_inference_does(bench, monkeypatch, variant):
    """The encoder is a stand-in that notes what it is given."""
    seen = {}

    class Noting:
        def encode(self, features, given):
            seen.setdefault("encoded", []).append(given)
            return features.values

    def train(features, given, pairs, config, seed, now_ms, progress, hard=None):
        seen.update(lists=given, pairs=pairs, hard=hard, items=features.item_ids)
        return Noting()

    monkeypatch.setattr("corkboard.embeddings.graph_training.train_multibisage", train)
    monkeypatch.setattr("corkboard.embeddings.graph_training.train_pinsage", train)
    model, facts = bench.learned(variant, lambda at, of: None)
    vectors = bench.vectors(variant, model)
    unseen = {one for one, hidden in zip(bench.task.item_ids, bench.unseen.tolist(), strict=True) if hidden}
    assert 0 < len(unseen) < 20
    assert not unseen & {*seen["pairs"]["left_id"], *seen["pairs"]["right_id"]}
    assert facts["pairs learned from"] == seen["pairs"].height < bench.data.pairs.height
    assert seen["items"] == seen["lists"].item_ids == [one for one in bench.data.learned_ids if one not in unseen]  # no negatives either
    if variant == name.HIDDEN:
        assert (seen["lists"].rows >= 0).any()
        with_edges, without = seen["encoded"]
        rows = np.flatnonzero(bench.unseen)
        assert (with_edges.rows[:, rows] >= 0).any()
        assert (without.rows[:, rows] == -1).all()
        assert list(vectors) == ["", name.NO_EDGES]
    else:
        assert (seen["lists"].rows == -1).all()
        assert list(vectors) == [""]


def test_each_variant_reads_what_its_name_says(bench):
    def read(variant):
        return bench.chosen(ENCODERS[variant], bench.lists)

    assert read(name.PINSAGE).graphs == ("board",)
    assert read(name.MULTI).graphs == ("board", "user_click", "user_close_up")
    assert read(name.added("user_click")).graphs == ("board", "user_click")
    assert read(name.FEW).rows.shape[2] == bench.config.few
    assert read(name.MANY).rows.shape[2] == bench.config.many > read(name.MULTI).rows.shape[2]
    assert read(name.FLAT).graphs == ("all",)
    assert (read(name.NO_GRAPH).rows == -1).all()
    assert bench.hard.shape[0] == 40
    assert not (bench.hard == np.arange(40)[:, None]).any()


def test_the_truth_is_found_and_its_parts_add_up(bench):
    """Vectors that know the tastes find most of them; wanted items on no, few and many boards are all of them."""
    taste = np.zeros((40, 4), np.float32)
    for row, item_id in enumerate(bench.task.item_ids):
        taste[row, int(item_id[1:]) // 10] = 1
    figures = bench.figures(VectorItems(taste))
    assert figures["recall@10"].value > 0.95
    assert figures[f"boards {name.R100}"].value == 1.0
    parts = [figures[f"recall@10 {part}"] for part in (name.NO_BOARD, name.FEW_BOARDS, name.MANY_BOARDS) if f"recall@10 {part}" in figures]
    assert sum(part.weight.sum() for part in parts) == figures["recall@10"].weight.sum()
    assert bench.figures(VectorItems(np.eye(4, dtype=np.float32)[np.arange(40) % 4]))["recall@10"].value < 0.5


def test_an_encoder_of_boards_learns_the_tastes(bench):
    """Content is noise here, so whatever is found comes from the graph and the pairs."""
    figures, facts = bench.measured(Run(MAIN, name.MULTI, 3, {}), lambda at, of: None)
    content = bench.measured(Run(MAIN, name.CONTENT, 3, {}), lambda at, of: None)[0]
    assert figures["recall@10"].value > content["recall@10"].value + 0.05
    assert facts["steps"] == 12


def test_a_tiny_world_from_its_jobs_to_figures(tmp_path):
    """Two encoders, walks and people; a second call does nothing."""
    config = GraphExperimentConfig.quick()
    jobs = {job.name: job for job in graph_jobs(config, [101], None, {})}
    items = jobs[f"{MAIN}, seed 101"]
    items = replace(items, runs=[run for run in items.runs if run.variant in (name.MULTI, name.CONTENT, name.PIXIE_ALL)])
    walks = jobs["walks, seed 101"]
    people = jobs["people, seed 101"]
    people = replace(people, runs=[run for run in people.runs if run.variant in (name.SEVERAL, name.LAST, name.TEN)])
    chosen, heard = [items, walks, people], []
    store = UserRunStore(tmp_path / "runs", "d", "c")
    finished = run_jobs(chosen, store, tmp_path, 10, heard.append, workers=0)
    assert finished.failed == {}
    assert all(store.done(run) for job in chosen for run in job.runs)
    whole, summed = (store.by_user(run) for run in walks.runs if run.variant in (name.WHOLE, name.SUM))
    assert set(summed) < set(whole)
    assert 0 < whole[name.VISITS_SHARE].value <= 1
    edges = {run.variant: store.get(run.config, 101)["edges"] for run in walks.runs}
    assert edges[name.pruned(0.5)] < edges[name.pruned(0.7)] < edges[name.WHOLE] == edges[name.SUM]
    assert edges[name.UNDIVERSE] < edges[name.WHOLE]
    several, last, _ = (store.by_user(run) for run in people.runs)
    assert several["recall@100"].weight.tolist() == last["recall@100"].weight.tolist()
    assert store.get(people.runs[0].config, 101)["groups, median"] > 1 == store.get(people.runs[1].config, 101)["groups, median"]
    assert run_jobs(chosen, store, tmp_path, 10, heard.append, workers=0).made == 0


class Content:
    """An encoder that leaves the items as they are."""

    def encode(self, features, lists):
        return features.values


def test_a_learned_user_vector_stands_beside_them_on_both_kinds_of_vectors(bench, monkeypatch):
    """Content and MultiBiSage are one table here, so both rows learn and score the same; recall of rare items asks of fewer pairs."""
    from corkboard.experiments import evaluate, graph_people

    people = graph_people.People(bench, Content())
    wanted = np.concatenate([people.task.popularity[moment.positive_items] for moment in people.task.moments])
    monkeypatch.setattr(evaluate, "LITTLE_KNOWN", int(np.median(wanted)))
    found = [people.measured(Run(MAIN, variant, 3, {}), lambda at, of: None)[0] for variant in graph_people.FORMERS]
    assert found[0][name.R100].value == pytest.approx(found[1][name.R100].value)
    rare, everything = found[0][name.RARE], found[0][name.R100]
    assert 0 < rare.weight.sum() == (wanted < np.median(wanted)).sum() < everything.weight.sum()


def test_a_learned_user_vector_learns_on_the_graph_before_the_pairs_and_is_asked_on_that_of_the_cut(bench, monkeypatch):
    from corkboard.experiments.graph_people import People

    read = {}

    def train(histories, items, settings, seed, cut_ms, progress):
        read["learned"] = items.vectors
        return type("Model", (), {"encode_items": lambda self, ids, vectors: read.update(asked=vectors)})()

    monkeypatch.setattr("corkboard.embeddings.pinnerformer_training.train_pinnerformer", train)
    monkeypatch.setattr(Content, "encode", lambda self, features, lists: np.tile(lists.degrees[0][:, None], (1, 4)))
    users = People(bench, Content())._former(Run(MAIN, name.FORMER, 3, {}), lambda at, of: None)
    before, now = bench.learning_graphs["board"].left.degrees, bench.graphs["board"].left.degrees
    known = [bench.task.item_ids.index(item_id) for item_id in bench.data.learned_ids]
    np.testing.assert_array_equal(read["learned"][:, 0], before[known])
    np.testing.assert_array_equal(read["asked"][:, 0], now)
    np.testing.assert_array_equal(users.inputs.vectors[:, 0], now[known])
    assert before[known].sum() < now[known].sum()


def test_pictures_are_read_where_a_world_has_them(tmp_path):
    """In a tiny world with pictures, and with texts that tell what they show; whose encoder has another part of features."""
    config = GraphExperimentConfig.quick()
    config = config.model_copy(update={"world": config.world.model_copy(update={"pictures": 48})})
    jobs = pictured_jobs(config, [101])
    assert [job.name for job in jobs] == [f"{world}, seed 101, pictures" for world in (MAIN, name.TOLD)]
    store = UserRunStore(tmp_path / "runs", "d", "c")
    finished = run_jobs(jobs, store, tmp_path, 10, lambda line: None, workers=0)
    assert finished.failed == {}
    plain, pictured, content, pictures = (store.by_user(run)["recall@100"] for run in jobs[0].runs)
    assert plain.weight.tolist() == pictured.weight.tolist() == pictures.weight.tolist() == content.weight.tolist()
    assert len({plain.value, pictured.value, pictures.value}) == 3
    told = store.by_user(jobs[1].runs[2])["recall@100"]
    assert told.value != content.value  # other words, another tower


def test_what_people_have_acted_on_is_not_listed_to_them(bench):
    from corkboard.experiments.graph_people import People, pinnersage_config

    people = People(bench, Content())
    lists = list(people.lists(people.task.user_ids, pinnersage_config(bench.config, name.SEVERAL)))
    known = people.actions.filter(pl.col("user") == people.task.user_ids[0])["row"].to_numpy()
    assert len(lists) == len(people.task.user_ids)
    assert not np.isin(lists[0], known).any()
    assert len(np.unique(lists[0])) == len(lists[0]) == len(people.task.item_ids) - len(np.unique(known))
