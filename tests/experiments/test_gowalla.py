"""Gowalla in the LightGCN protocol, on made files: the split, the measures by hand, what is chosen, and that a run is kept."""

import gzip
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from typer.testing import CliRunner

from corkboard.cli.app import app
from corkboard.errors import InputError, NotFound
from corkboard.experiments import gowalla
from corkboard.experiments.gowalla import Bench, GowallaConfig, SpectralScorer, WalkScorer, agreement, fitted, load, run_gowalla
from corkboard.experiments.held_out_sets import HeldOutSets, held_out_figures
from corkboard.experiments.result import Cell, Row, Table

DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here")
CHEAP = (gowalla.POPULARITY, gowalla.KNN, gowalla.SPECTRAL, gowalla.WALKS)
QUICK = GowallaConfig(threads=1, lambdas=(1.0, 1000.0), dampings=(0.5,), dims=(4, 8), visits=(500,), chosen_by=50, hidden_share=0.2)


class Fixed:
    """The same scores whoever is asked."""

    def __init__(self, scores):
        self.scores = np.array(scores, np.float32)

    def score_all(self, histories):
        return np.tile(self.scores, (len(histories), 1))


def sets(train, test, items):
    def matrix(parts):
        pairs = [(user, item) for user, part in enumerate(parts) for item in part]
        users, columns = zip(*pairs, strict=True) if pairs else ((), ())
        return sp.csr_array((np.ones(len(pairs), np.float32), (users, columns)), shape=(len(parts), items))

    return HeldOutSets(matrix(train), matrix(test))


def clubs(users=120, items=40, seed=0):
    """Two clubs of users that take from two halves of the items; a quarter of what a user took is the test."""
    draw = np.random.default_rng(seed)
    train, test = [], []
    for user in range(users):
        half = np.arange(items // 2) + (user % 2) * (items // 2)
        taken = draw.choice(half, 12, replace=False)
        train.append(taken[:9].tolist())
        test.append(taken[9:].tolist())
    return train, test


def write(folder, train, test, gz=True):
    folder.mkdir(exist_ok=True)
    for name, parts in (("train", train), ("test", test)):
        text = "".join(f"{user} {' '.join(map(str, part))}\n" for user, part in enumerate(parts))
        if gz:
            (folder / f"gowalla_{name}.txt.gz").write_bytes(gzip.compress(text.encode()))
        else:
            (folder / f"gowalla_{name}.txt").write_text(text)
    return folder


# ------------------------------------------------------------------------------------------------------------- the split


@pytest.mark.parametrize("gz", [True, False])
def test_files_are_read_plain_or_zipped(tmp_path, gz):
    data = load(write(tmp_path, [[2, 0, 2], [1], []], [[3], [], [0, 5]], gz))
    assert data.train.toarray().tolist() == [[1, 0, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0] * 6]
    assert data.test.toarray().tolist() == [[0, 0, 0, 1, 0, 0], [0] * 6, [1, 0, 0, 0, 0, 1]]
    assert (data.users, data.items) == (3, 6)


@pytest.mark.parametrize("line", ["1 2 x", "1 -2", "1 2.5", "-1 3", "1 99999999999999999999"])
def test_a_line_that_is_no_set_is_named(tmp_path, line):
    (tmp_path / "gowalla_train.txt").write_text(f"0 1 2\n{line}\n")
    (tmp_path / "gowalla_test.txt").write_text("0 3\n")
    with pytest.raises(InputError, match=r"Line 2 of gowalla_train\.txt"):
        load(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NotFound, match=r"gowalla_train\.txt"):
        load(tmp_path)


def test_a_target_that_was_taken_before_is_refused():
    with pytest.raises(InputError, match="already"):
        sets([[0, 1]], [[1]], 3)


def test_the_hash_names_the_pairs():
    one = sets([[0], [1]], [[2], []], 3).split_hash
    assert one == sets([[0], [1]], [[2], []], 3).split_hash
    assert len({one, sets([[0], [1]], [[], [2]], 3).split_hash, sets([[2], [1]], [[0], []], 3).split_hash}) == 3


def test_the_most_popular_are_counted_in_the_training_part():
    # taken in training: item 0 once, 1 twice, 2 never, 3 twice
    data = sets([[0, 1], [1, 3], [3]], [[2, 3], [2], [2]], 4).most_popular(2)
    assert data.train.toarray().tolist() == [[1, 0], [1, 1], [0, 1]]
    assert data.test.toarray().tolist() == [[0, 1], [0, 0], [0, 0]]
    assert data.most_popular(2) is data


def test_validation_hides_a_share_of_the_training_items_and_sees_no_test():
    train, test = clubs()
    train[3] = [0]
    data = sets(train, test, 40)
    part = data.validation(0.3, seed=1, users=60)
    lengths, hidden = np.diff(part.train.indptr), np.diff(part.test.indptr)
    assert set(lengths[np.arange(120) != 3]) == {6}  # round(0.3 * 9) = 3 are hidden of everybody
    assert lengths[3] == 1
    assert hidden[3] == 0
    assert set(hidden) == {0, 3}
    assert (hidden > 0).sum() == 60
    assert (part.test - part.test.multiply(data.train)).count_nonzero() == 0
    assert (part.test.toarray() == data.validation(0.3, seed=1, users=60).test.toarray()).all()
    assert (part.test.toarray() != data.validation(0.3, seed=2, users=60).test.toarray()).any()


# ---------------------------------------------------------------------------------------------------------- the measures


def test_measures_by_hand():
    """Scores fall from item 0 to 5. User 0 has 0: the list is 1, 2, 3, with test items 2 and 5. User 1 has none: 0, 1, 2; test 0, 1, 2, 4.
    User 2 is not asked."""
    data = sets([[0], [], [1]], [[2, 5], [0, 1, 2, 4], []], 6)
    found = held_out_figures(data, Fixed([6, 5, 4, 3, 2, 1]), k=3)
    assert found["recall@3"].value == pytest.approx((1 / 2 + 3 / 4) / 2)
    ideal = 1 + 1 / math.log2(3)
    assert found["NDCG@3"].value == pytest.approx((1 / math.log2(3) / ideal + 1) / 2)
    assert found["recall@3"].users == found["NDCG@3"].users == 2


def test_measures_equal_a_plain_count():
    train, test = clubs(users=31, items=30)
    data = sets(train, test, 30)
    scorer = fitted(gowalla.KNN, data, {"damping": 0.5}, 0)
    recalls, gains = [], []
    for user in range(31):
        scores = scorer.score_all([np.array(train[user])])[0].astype(float)
        scores += np.linspace(0, 1e-9, 30)
        scores[train[user]] = -np.inf
        best = np.argsort(-scores)[:5]
        hits = np.isin(best, test[user])
        recalls.append(hits.sum() / len(test[user]))
        gains.append((hits / np.log2(np.arange(5) + 2)).sum() / (1 / np.log2(np.arange(min(5, len(test[user]))) + 2)).sum())
    found = held_out_figures(data, scorer, k=5, chunk_scores=60)  # three users at once
    assert found["recall@5"].value == pytest.approx(np.mean(recalls))
    assert found["NDCG@5"].value == pytest.approx(np.mean(gains), abs=1e-6)


def test_who_scores_everything_alike_gets_a_draw():
    data = sets([[]] * 400, [[0]] * 400, 50)
    lists = [held_out_figures(data, Fixed(np.zeros(50)), k=20, seed=seed)["recall@20"].value for seed in range(40)]
    assert 0.15 < np.mean(lists) < 0.65  # one order a seed: 20 of 50, not always the item in front
    assert len(set(lists)) == 2


def test_wrong_scores_are_refused():
    data = sets([[0]], [[1]], 3)
    with pytest.raises(ValueError, match="shape"):
        held_out_figures(data, Fixed([1, 2]), k=1)
    with pytest.raises(ValueError, match="NaN"):
        held_out_figures(data, Fixed([1, 2, np.nan]), k=1)


# -------------------------------------------------------------------------------------------------------------- the rows


def test_pure_svd_by_hand():
    """Against NumPy's decomposition of the normalised matrix."""
    train, _ = clubs(users=50, items=30)
    x = sets(train, [[]] * 50, 30).train.toarray().astype(float)
    scale = x.sum(axis=0) ** 0.3
    _, _, rows = np.linalg.svd(x / np.sqrt(x.sum(axis=1))[:, None] / scale)
    expected = (x / scale) @ rows[:4].T @ rows[:4] * scale
    scorer = SpectralScorer.of(sp.csr_array(x.astype(np.float32)), 4, seed=0)
    found = scorer.score_all([np.flatnonzero(row) for row in x])
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert not scorer.score_all([np.array([], np.int64)]).any()


def test_walks_list_what_is_connected_and_depend_on_nobody_else():
    train, test = clubs()
    scorer = WalkScorer(sets(train, test, 40), 2000, seed=0)
    mine, other = np.array(train[0]), np.array(train[1])
    scores = scorer.score_all([mine, other, np.array([], np.int64)])
    assert np.isneginf(scores[0, 20:]).all()
    assert np.isneginf(scores[1, :20]).all()
    assert np.isfinite(scores[0, np.setdiff1d(np.arange(20), mine)]).all()
    assert np.isneginf(scores[2]).all()
    assert (scorer.score_all([mine[::-1].copy()])[0] == scores[0]).all()


def test_ease_is_the_plain_inverse_in_float64():
    train, test = clubs()
    data = sets(train, test, 40)
    x = data.train.toarray().astype(np.float64)
    inverse = np.linalg.inv(x.T @ x + 3.0 * np.eye(40))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    found = fitted(gowalla.CLOSED, data, {"lambda": 3.0}, 0).score_all(data.histories(np.arange(120)))
    np.testing.assert_allclose(found, x @ weights, atol=2e-5)


@pytest.mark.parametrize("row", [*CHEAP[1:], gowalla.CLOSED])
def test_all_but_popularity_tell_the_clubs_apart(row):
    train, test = clubs()
    data = sets(train, test, 40)
    setting = {"damping": 0.5, "factors": 4, "visits": 2000, "lambda": 10.0}
    recall = {name: held_out_figures(data, fitted(name, data, setting, 0), k=11)["recall@11"].value for name in (row, gowalla.POPULARITY)}
    assert recall[row] > 0.95  # 20 items in the half, 9 known: nearly all the rest is listed
    assert recall[gowalla.POPULARITY] < 0.8


# --------------------------------------------------------------------------------------------------------- the experiment


def test_settings_are_chosen_without_the_test():
    train, test = clubs()
    config = QUICK.model_copy(update={"lambda_items": 30})
    chosen, facts = Bench(sets(train, test, 40), config).chosen(gowalla.CLOSED, print)
    again, same = Bench(sets(train, [[] for _ in test], 40), config).chosen(gowalla.CLOSED, print)
    assert (chosen, facts) == (again, same)
    assert set(facts) == {"valid recall at lambda 1", "valid recall at lambda 1000"}
    assert facts[f"valid recall at lambda {chosen['lambda']:g}"] == max(facts.values())


def test_an_experiment_is_run_once_and_told_from_what_is_kept(tmp_path):
    write(tmp_path / "data", *clubs())
    heard = []
    first = run_gowalla(tmp_path / "data", tmp_path / "runs", heard.append, minutes=5, workers=0, config=QUICK)
    table = first.table("held-out sets")
    assert [row.name for row in table.rows] == [*CHEAP, gowalla.CLOSED, "published EASE", "published LightGCN", "published SimpleX"]
    assert table.cell("EASE", "recall@20").value > table.cell("popularity", "recall@20").value
    assert table.cell("EASE", "recall@20").verdict == "too few to tell"
    assert table.cell("published EASE", "NDCG@20").verdict == "published"
    assert any("EASE: lambda" in line for line in table.protocol)
    assert any("EASE against the published figure" in line for line in table.warnings)
    assert heard
    heard.clear()
    again = run_gowalla(tmp_path / "data", tmp_path / "runs", heard.append, minutes=0, workers=0, config=QUICK)
    assert again.table("held-out sets").rows == table.rows
    assert heard == []
    again.print()


def test_what_one_row_is_made_of_is_no_matter_of_another(tmp_path):
    """Other settings of one row leave the others as they are: EASE must not be solved again for them."""
    data = load(write(tmp_path / "data", *clubs()))
    keys = [
        {run.variant: json.dumps(run.config, sort_keys=True) for job in gowalla.jobs_of(tmp_path, data, config) for run in job.runs}
        for config in (QUICK, QUICK.model_copy(update={"visits": (100,), "threads": 2}))
    ]
    assert [row for row in keys[0] if keys[0][row] != keys[1][row]] == [gowalla.WALKS]


def test_what_no_time_was_left_for_is_not_measured(tmp_path):
    write(tmp_path / "data", *clubs())
    found = run_gowalla(tmp_path / "data", tmp_path / "runs", lambda line: None, minutes=0, workers=0, config=QUICK)
    assert {row.cells["recall@20"].verdict for row in found.table("held-out sets").rows if "published" not in row.name} == {"not measured"}
    found.print()


def test_ease_has_a_process_of_its_own(tmp_path):
    """The same figures as in this process; the environment is as it was afterwards."""
    write(tmp_path / "data", *clubs())
    before = dict(os.environ)
    here = run_gowalla(tmp_path / "data", tmp_path / "here", lambda line: None, workers=0, config=QUICK)
    there = run_gowalla(tmp_path / "data", tmp_path / "there", lambda line: None, workers=1, config=QUICK)
    assert there.warnings == []
    assert there.table("held-out sets").rows == here.table("held-out sets").rows
    assert dict(os.environ) == before


def test_what_goes_wrong_in_its_process_is_told(tmp_path):
    """The file disappears between the jobs being made and the process reading it."""
    folder = write(tmp_path / "data", *clubs())
    job = gowalla.jobs_of(tmp_path / "elsewhere", load(folder), QUICK)[-1]
    store = gowalla.UserRunStore(tmp_path / "runs", "data", "code")
    finished = gowalla.run_jobs([job], store, tmp_path / "runs", 5, lambda line: None, workers=0)
    assert "NotFound" in finished.failed[gowalla.CLOSED]
    assert not store.done(job.runs[0])


@pytest.mark.parametrize(("recall", "agrees"), [(0.1765, True), (0.1781, True), (0.1784, False), (0.1745, False)])
def test_agreement_with_what_was_published(recall, agrees):
    cells = {"recall@20": Cell(recall, 29858), "NDCG@20": Cell(0.1467, 29858)}
    text, found = agreement(Table("t", "t", "popularity", [], [Row("EASE", cells)], []))
    assert found is agrees
    assert "lambda 80" in text
    assert agreement(Table("t", "t", "popularity", [], [Row("EASE", {**cells, "NDCG@20": Cell(None, 0)})], [])) is None


def test_fewer_items_are_not_beside_published_figures(tmp_path):
    write(tmp_path / "data", *clubs())
    sets_ = ["items=20", "threads=1", "lambdas=[5]", "dampings=[0.5]", "dims=[4]", "visits=[200]"]
    overrides = [part for one in sets_ for part in ("--set", one)]
    place = ["--data", str(tmp_path / "data"), "-w", str(tmp_path / "runs"), "--workers", "0"]
    found = CliRunner().invoke(app, ["experiment", "gowalla", *place, *overrides, "--json"])
    assert found.exit_code == 0, found.output
    table = json.loads(found.stdout)["tables"][0]
    assert [row["name"] for row in table["rows"]] == [*CHEAP, gowalla.CLOSED]
    assert table["facts"]["items"] == 20
    assert "20 most taken" in table["warnings"][0]


@pytest.mark.skipif(not (DATA / "lightgcn").exists(), reason="set CORKBOARD_DATA to the folder that holds lightgcn")
def test_the_real_files_are_those_of_the_papers():
    data = load(DATA / "lightgcn")
    assert (data.users, data.items, data.train.nnz, data.test.nnz) == (29858, 40981, 810128, 217242)
    assert data.split_hash == "1d992f517def"
    small = data.most_popular(800)
    found = {
        row: held_out_figures(small, fitted(row, small, {"lambda": 80.0}, 0))["recall@20"].value
        for row in (gowalla.POPULARITY, gowalla.CLOSED)
    }
    assert found[gowalla.CLOSED] > 2 * found[gowalla.POPULARITY]
