"""The experiment on products: cells and splits with known answers, contrasts by hand, jobs, and all of it once with tiny sizes."""

import json

import numpy as np
import polars as pl
import pytest

from corkboard.embeddings.product_pairs import PRODUCT_PAIR_SCHEMA
from corkboard.embeddings.product_pairs import TASKS as TRAINED
from corkboard.experiments import products_claims as name
from corkboard.experiments.graph_claims import TOLD
from corkboard.experiments.measured import MAIN
from corkboard.experiments.products import BAR, FIRST, OPTIONAL, SECOND, ProductsResult, products_jobs, run_products
from corkboard.experiments.products_claims import CLAIMS, CONTROLS, TASKS, above_best, loses_less, recall, transfer, wider
from corkboard.experiments.products_config import ProductsConfig
from corkboard.experiments.products_data import Grid, cosines, first_time, mean_of, per_user, ranks
from corkboard.experiments.products_models import (
    OMNIS,
    PICTURES,
    PRODUCTS,
    SEARCHES,
    ProductBench,
    by_words,
    coverage,
    itemsage_settings,
    searchsage_settings,
)
from corkboard.experiments.products_report import summary, to_dict, write_reports
from corkboard.experiments.spine_runs import Finished, UserRunStore
from corkboard.experiments.spine_worlds import SpineWorld
from corkboard.metrics.intervals import PerUser

QUICK = ProductsConfig.quick()


def pairs(*rows):
    """(task, text, item, product, time, user)"""
    return pl.DataFrame(list(rows), schema=PRODUCT_PAIR_SCHEMA, orient="row")


GIVEN = pairs(
    ("text_click", "red mug", None, "a", 10, "u"),
    ("text_click", "red mug", None, "b", 11, "u"),
    ("text_save", "red mug", None, "a", 12, "v"),
    ("image_cart", None, "q", "c", 13, "v"),
    ("image_cart", None, "q", "gone", 14, "v"),
)


@pytest.fixture
def grid():
    return Grid.of(GIVEN, ["a", "b", "c"])


def test_the_cells_are_the_tasks_of_itemsage():
    assert set(TASKS) == set(TRAINED)
    assert {recall(10, "text_cart"), recall(1, "mean")} == {"recall@10 text cart", "recall@1 mean"}


def test_a_grid_holds_every_pair_of_a_ranked_product(grid):
    assert (grid.texts, grid.items, grid.n_users) == (["red mug"], ["q"], 2)
    assert [TASKS[task] for task in grid.tasks] == ["text_click", "text_click", "text_save", "image_cart"]
    assert grid.targets.tolist() == [0, 1, 0, 2]
    assert grid.of_text.tolist() == [True, True, True, False]
    assert grid.counts()["pairs text click"] == 2
    assert grid.counts()["products"] == 3


def test_recall_of_each_cell_and_their_mean_by_hand(grid):
    by_text, by_item = np.array([[3.0, 1.0, 2.0]]), np.array([[0.0, 0.0, 0.0]])
    positions = grid.positions(lambda rows: by_text[rows], lambda rows: by_item[rows])
    assert positions.tolist() == [0, 2, 0, 2]  # equal scores count against the wanted one
    figures = grid.figures(positions)
    assert figures[recall(1, "text_click")].value == 0.5
    assert figures[recall(1, "text_save")].value == 1.0
    assert figures[recall(1, "image_cart")].value == 0.0
    assert figures[recall(1, "mean")].value == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert figures[recall(1, "text")].value == pytest.approx(0.75)
    assert figures[recall(1, "clicks and saves")].value == pytest.approx(0.75)
    assert figures[recall(10, "mean")].value == 1.0
    assert figures[recall(1, "text_click")].total.tolist() == [1.0, 0.0]


def test_a_row_that_cannot_answer_a_kind_of_query_has_no_mean_over_both(grid):
    positions = grid.positions(None, lambda rows: np.array([[0.0, 0.0, 1.0]])[rows])
    figures = grid.figures(positions, ["image"])
    assert figures[recall(1, "image")].value == 1.0
    assert not {recall(1, "mean"), recall(1, "text"), recall(1, "text_click"), recall(1, "clicks and saves")} & set(figures)


def test_ranks_agree_with_sorting_and_what_is_not_finite_is_never_found():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(700, 40)).astype(np.float32)
    queries, targets = rng.integers(0, 700, 3000), rng.integers(0, 40, 3000)
    plain = [sorted(scores[q], reverse=True).index(scores[q, t]) for q, t in zip(queries, targets, strict=True)]
    assert ranks(lambda rows: scores[rows], queries, targets).tolist() == plain
    empty = np.array([[np.nan, -np.inf, 1.0]])
    assert ranks(lambda rows: empty[rows], np.zeros(3, int), np.arange(3)).tolist() == [3, 3, 0]


def test_nothing_is_near_to_a_vector_of_zeros():
    score = cosines(np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 0.0], [-1.0, 0.0]]))
    assert score(np.array([0, 1])).tolist() == [[1.0, -np.inf, -1.0], [-np.inf] * 3]
    assert ranks(score, np.array([0, 0, 1]), np.array([0, 2, 0])).tolist() == [0, 1, 3]


def test_a_mean_of_cells_counts_each_once_and_keeps_users():
    large = per_user(np.array([True] * 6 + [False] * 2), np.array([0, 0, 0, 0, 1, 1, 1, 1]), 2)
    small = per_user(np.array([False]), np.array([1]), 2)
    mean = mean_of([large, small])
    assert mean.value == pytest.approx((0.75 + 0.0) / 2)
    assert mean.weight.tolist() == [4.0, 5.0]
    assert mean.positives == 9


def test_only_what_was_not_chosen_before_is_asked_and_once_a_cell():
    found = first_time(
        pairs(
            ("text_click", "mug", None, "a", 1, "u"),
            ("text_save", "mug", None, "a", 11, "v"),  # chosen before, if not saved
            ("text_click", "mug", None, "b", 12, "u"),
            ("text_click", "mug", None, "b", 10, "v"),  # the first of them is asked
            ("text_cart", "mug", None, "b", 13, "u"),  # another cell
            ("image_click", None, "q", "a", 9, "u"),
            ("image_click", None, "q", "a", 14, "w"),  # chosen before
            ("image_click", None, "r", "a", 15, "w"),
        ),
        10,
        ["query", "query_item_id", "item_id"],
        per=["task"],
    )
    assert found.select("task", "item_id", "time_ms").rows() == [("text_click", "b", 10), ("text_cart", "b", 13), ("image_click", "a", 15)]


def test_words_find_products_in_the_order_of_bm25():
    products = pl.DataFrame({"item_id": ["a", "b", "c"], "title": ["red mug", "blue mug", "lamp"]})
    score = by_words(products, ["red mug", "lamp", "nothing of it", None])
    assert score(np.array([0, 1, 2, 3])).tolist() == [[0.0, -1.0, -np.inf], [-np.inf, -np.inf, 0.0], [-np.inf] * 3, [-np.inf] * 3]


def test_coverage_is_the_share_of_items_in_any_list():
    vectors = np.eye(4, dtype=np.float32)
    assert coverage(cosines(vectors[:2], vectors), 2, 4, k=1) == 0.5
    assert coverage(cosines(np.zeros((2, 4)), vectors), 2, 4, k=1) == 0.0


# ---------------------------------------------------------------------------------------------------- claims and variants


def test_contrasts_by_hand():
    values = {(name.ITEMSAGE, "m"): 0.5, ("b", "m"): 0.3, ("c", "m"): 0.4, (name.ITEMSAGE, "n"): 0.45, ("b", "n"): 0.4, ("c", "n"): 0.1}
    figures = lambda variant, measure: values[variant, measure]  # noqa: E731
    assert above_best(name.ITEMSAGE, ["b", "c"], "m")(figures) == pytest.approx(0.1)
    assert wider(name.ITEMSAGE, "b", "m", "n")(figures) == pytest.approx(0.2 - 0.05)
    assert loses_less("b", "c", "m", 0.02)(figures) == pytest.approx(-0.08)
    assert transfer({"b": "m", "c": "n"})(figures) == pytest.approx((0.45 - 0.1) - (0.5 - 0.3))


def test_every_claim_asks_for_what_is_measured():
    measured = {*FIRST, *SECOND, *OPTIONAL}
    asked = {variant for claim in CLAIMS for variant, _ in claim.needs()}
    assert asked <= measured
    assert {*PRODUCTS, *SEARCHES, *OMNIS} <= measured
    assert {"I1", "I2", "I3", "I4", "Q1", "Q3", "Q6"} <= {claim.label for claim in CLAIMS}
    assert len({claim.name for claim in CLAIMS}) == len(CLAIMS)
    assert {variant for claim in CLAIMS[:2] for variant, _ in claim.needs()} == set(BAR)


def test_variants_differ_in_what_their_name_says():
    base = itemsage_settings(QUICK, name.ITEMSAGE)
    assert itemsage_settings(QUICK, name.CARTS).tasks == ("image_cart", "image_checkout", "text_cart", "text_checkout")
    assert itemsage_settings(QUICK, name.alone("text_cart")).tasks == ("text_cart",)
    assert itemsage_settings(QUICK, name.TEXT_QUERIES).tasks == TASKS[4:]
    for variant in PRODUCTS:
        changed = [field for field, value in itemsage_settings(QUICK, variant) if value != getattr(base, field)]
        assert changed == list(PRODUCTS[variant].changes)
    assert searchsage_settings(QUICK, name.LOW_CAP).cap_per_item == QUICK.cap
    assert searchsage_settings(QUICK, name.FROZEN).trained == "output"


def test_jobs_come_in_the_order_of_their_weight_and_runs_differ_where_they_must():
    jobs = products_jobs(ProductsConfig(), [1, 2])
    assert [job.name for job in jobs][:5:2] == ["as it is, seed 1", "as it is, seed 1, variants", f"{TOLD}, seed 1"]
    runs = {(run.world, run.variant, run.seed): json.dumps(run.config, sort_keys=True) for job in jobs for run in job.runs}
    assert len(runs) == sum(len(job.runs) for job in jobs)
    assert len({value for (_, _, seed), value in runs.items() if seed == 1}) == len(runs) // 2
    assert not any("optional" in job.name or TOLD in job.name for job in products_jobs(ProductsConfig(optional=False, controls=False), [1]))
    first = products_jobs(ProductsConfig(itemsage={"batch": 99}), [1])[0]
    other = {run.variant: json.dumps(run.config, sort_keys=True) for run in first.runs}
    assert other[name.ITEMSAGE] != runs[MAIN, name.ITEMSAGE, 1]
    assert other[name.BM25] == runs[MAIN, name.BM25, 1]


# ------------------------------------------------------------------------------------------------------- figures to verdicts


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """Five seeds in which all views and tasks together are best, pictures bring nothing where the text tells them, and Q6 is missing."""
    config, seeds = ProductsConfig(evaluation={"replicates": 100}), [1000, 1001, 1002, 1003, 1004]
    jobs = products_jobs(config, seeds)
    runs = {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}
    store = UserRunStore(tmp_path_factory.mktemp("runs"), data="d", code="c")
    strength = {name.ITEMSAGE: 0.5, name.BY_PICTURE: 0.45, name.TEXT_ONLY: 0.3, name.alone("text_cart"): 0.42}
    for (world, variant, seed), run in runs.items():
        if variant in OMNIS:
            continue
        level = np.random.default_rng([seed, 0 if world == TOLD else len(variant)]).uniform(0.98, 1.02, 40)
        value = 0.45 if world == TOLD else strength.get(variant, 0.4)
        parts = [*(recall(10, part) for part in (*name.GROUPS, *TASKS)), name.SEARCH, name.SEARCH_RARE, name.COVERAGE]
        figures = {part: PerUser(level * value, np.ones(40), 900) for part in parts}
        store.put_by_user(run, figures, {**Grid.of(GIVEN, ["a"]).counts(), "pairs learned from": 9.0, "search pairs": 5.0}, 1.0)
    return ProductsResult(config, seeds, runs, store, Finished())


def test_figures_become_verdicts_and_a_report(result, tmp_path):
    verdicts = {claim.name: result.claim(claim).verdict for claim in CLAIMS}
    assert [verdicts[claim.name] for claim in CLAIMS[:2]] == ["reproduced", "reproduced"]
    assert {verdicts[claim.name] for claim in CLAIMS if claim.label == "Q6"} == {"not measured"}
    assert verdicts["image + text > the best single one, mean of the cells"] == "reproduced"
    assert [result.control(control).ending for control in CONTROLS] == ["gone with its cause"]
    files = write_reports(result, tmp_path)
    page = files["md"].read_text()
    assert "gone with its cause" in page
    assert "pairs text click 1" in page
    told = json.loads(files["json"].read_text())
    assert len(told["claims"]) == len(CLAIMS) == len(to_dict(result)["claims"])
    assert len(told["runs"]) == sum(variant not in OMNIS for _, variant, _ in result.runs)


def test_the_summary_names_the_best_single_ones(result):
    found = summary(result)
    assert found["recall10_mean"] == pytest.approx(0.5, abs=0.01)
    assert (found["best_single_modality"], found["best_single_task"]) == (name.IMAGE_ONLY, name.alone("text_cart"))
    assert found["recall10_mean_best_single_modality"] == pytest.approx(0.4, abs=0.01)
    assert found["above_best_single_task_low"] > 0
    one_missing = {key: run for key, run in result.runs.items() if key != (MAIN, name.alone("image_save"), 1000)}
    found = summary(ProductsResult(result.config, result.seeds, one_missing, result.store, Finished()))
    assert found["recall10_mean_best_single_task"] == "not measured"
    assert found["recall10_mean"] == pytest.approx(0.5, abs=0.01)


# --------------------------------------------------------------------------------------------------------- a tiny world


def test_all_of_it_with_tiny_sizes_is_resumed_and_knows_nothing_of_the_test(tmp_path):
    variants = [name.ITEMSAGE, name.BY_PICTURE, name.alone("text_click"), name.SUM, name.BM25, name.POPULAR, name.VISUAL]
    variants += [name.LOW_CAP, name.OMNI]
    said = []
    first = run_products(tmp_path, QUICK, 1, 10, said.append, workers=0, only=variants)
    assert not first.finished.failed
    assert first.finished.made == len(variants) + 1  # and what comes before them
    again = run_products(tmp_path, QUICK, 1, 10, said.append, workers=0, only=variants)
    assert again.finished.made == 0
    found = {variant: again.figures(MAIN, variant, 101) for variant in variants}
    assert {name.MEAN, name.IMAGE, name.TEXT} <= set(found[name.ITEMSAGE])
    assert name.MEAN not in found[name.VISUAL]
    assert {name.SEARCH, name.COVERAGE} <= set(found[name.LOW_CAP])
    assert name.OLD_INDEX in found[name.OMNI]
    assert found[name.SUM] != found[name.ITEMSAGE]
    assert found[name.POPULAR]["products"] > 20
    assert found[name.ITEMSAGE]["pairs learned from"] > found[name.alone("text_click")]["pairs learned from"]

    world = SpineWorld.prepared(tmp_path, QUICK.graph.world_settings(()), 101, (), said.append)
    bench = ProductBench(world, QUICK, 101, lambda what, at, of: None)
    grid, placed = bench.grid, bench.placed(PICTURES)
    assert bench.searchsage(PICTURES).space == placed.space
    assert set(grid.product_ids) - bench.known  # products that came after the cut are ranked ...
    assert set(bench._learned(PICTURES).ids) == set(placed.item_ids) & bench.known  # ... and nothing learns of them
    assert (placed.served != placed.by_features).any()
    assert (placed.served != placed.earlier).any()
    at_the_cut = ProductBench(world, QUICK.model_copy(update={"learned_on": "cut"}), 101, lambda what, at, of: None)
    assert at_the_cut.product_vectors(name.ITEMSAGE)[1]["pairs learned from"] > found[name.ITEMSAGE]["pairs learned from"]
