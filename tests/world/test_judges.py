from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from corkboard.errors import InputError
from corkboard.metrics.agreement import votes_kappa
from corkboard.shopping.judging import as_judgements, judged, pooled, with_gold
from corkboard.world.config import WorldConfig
from corkboard.world.judges import GRADES, Judges, alike, true_grades, votes
from corkboard.world.rendering import Products
from corkboard.world.world import World


@pytest.fixture(scope="module")
def world() -> World:
    return World(WorldConfig.tiny(seed=101, scene_share=0.5, collage_share=0.3))


def things(*rows: tuple[int, int, int, int]) -> Products:
    """(topic, pattern, shade, style) of each."""
    topic, pattern, shade, style = (np.array(column, np.int64) for column in zip(*rows, strict=True))
    return Products(np.arange(len(rows), dtype=np.uint64), topic, pattern, shade, style)


def test_grades_by_hand() -> None:
    # topics 0, 1 and 2 are tops; 3 is no top
    shown = things((0, 1, 0, 2), (0, 1, 11, 2), (0, 1, 2, 2), (0, 0, 2, 2), (1, 1, 1, 3), (1, 1, 4, 3), (3, 1, 0, 2), (0, 1, -1, 2))
    first = np.zeros(8, np.int64)
    assert alike(shown, first, np.arange(8)).tolist() == [3, 3, 2, 1, 1, 0, 0, 2]
    assert np.array_equal(alike(shown, np.arange(8), first), alike(shown, first, np.arange(8)))


def test_judges_are_as_sure_as_they_are_said_to_be() -> None:
    panel = Judges.drawn(0, 12, careless=1)
    truth = np.random.default_rng(0).integers(GRADES, size=20_000)
    question, judge, grade = panel.vote(truth, 3, 0)
    assert len(question) == 3 * len(truth)
    assert (np.bincount(question) == 3).all()
    assert len(np.unique(question * 100 + judge)) == len(question)  # three different ones
    right = np.array([(grade == truth[question])[judge == k].mean() for k in range(12)])
    # a mistake may be thrown onto the right grade
    expected = panel.sure + (1 - panel.sure) * 0.3 / GRADES
    assert np.abs(right - np.where(panel.careless, 1 / GRADES, expected)).max() < 0.03
    with pytest.raises(InputError):
        panel.vote(truth, 13, 0)


def test_noise_is_what_kappa_finds() -> None:
    truth = np.random.default_rng(1).integers(GRADES, size=5_000)
    sure, shaky = (Judges(["a", "b", "c"], np.full(3, share), np.zeros(3, bool)).vote(truth, 3, 0) for share in (1.0, 0.6))
    assert votes_kappa(*sure, GRADES) == 1
    assert 0.2 < votes_kappa(*shaky, GRADES) < 0.6


def test_what_is_in_a_scene_is_extremely_similar_to_its_product(world: World) -> None:
    shown = world.objects().drop_nulls("product_id")
    assert len(shown) > 20
    questions = pl.DataFrame(
        {
            "query_image": shown["image"].str.strip_prefix("sha256:"),
            "query_box": shown.select(pl.concat_list("left", "top", "right", "bottom").cast(pl.List(pl.Float32))).to_series(),
            "item_id": shown["product_id"],
        }
    )
    assert (true_grades(world, questions) == 3).mean() > 0.97  # all but boxes that lie in one another
    assert (true_grades(world, questions.with_columns(pl.col("item_id").shuffle(0))) == 3).mean() < 0.3
    nowhere = questions[:1].with_columns(query_box=pl.Series([[0.0, 0.0, 0.01, 0.01]], dtype=pl.List(pl.Float32)))
    assert true_grades(world, nowhere).tolist() == [-1]
    assert true_grades(world, questions[:1].with_columns(item_id=pl.lit("nothing"))).tolist() == [-1]
    whole = pl.DataFrame({"query_image": [world.item_images()[5][0]], "query_box": [None], "item_id": [world.item_ids[5]]})
    assert true_grades(world, whole).tolist() == [3]


def test_votes_lead_back_to_the_truth(world: World) -> None:
    """Three noisy votes, a careless judge found out by gold: most verdicts are right, and more than any one judge gives."""
    rng = np.random.default_rng(0)
    ids, images = world.item_ids, [images[0].removeprefix("sha256:") for images in world.item_images()]
    rows = rng.integers(len(ids), size=(600, 2))
    frame = pl.DataFrame(
        {
            "query_image": [images[a] for a, _ in rows],
            "query_box": pl.Series([None] * 600, dtype=pl.List(pl.Float32)),
            "item_id": [ids[b] for _, b in rows],
            "rank": 0,
        }
    )
    same = pl.DataFrame(
        {"query_image": images[:80], "query_box": pl.Series([None] * 80, dtype=pl.List(pl.Float32)), "item_id": ids[:80], "grade": 3}
    )
    questions = with_gold(pooled({"random": frame}, 1, 0), same, 0.1, 0)
    found = judged(as_judgements(questions, votes(world, questions), 1_700_000_000_000))
    careless = found.judges.filter(~pl.col("trusted"))["judge_id"].to_list()
    assert careless == ["judge-11"]
    assert 0.1 < found.kappa < 0.9  # random pairs are mostly alike in nothing, which leaves kappa little
    right = (true_grades(world, found.pairs) == found.pairs["grade"].to_numpy()).mean()
    assert right > 0.85
