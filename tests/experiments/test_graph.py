"""The graph experiment from its jobs to its report, with figures that are given instead of measured."""

import json

import numpy as np
import pytest

from corkboard.experiments import graph_claims as name
from corkboard.experiments import graph_report
from corkboard.experiments.graph import PUBLIC, GraphResult, all_variants, graph_jobs, run_graph
from corkboard.experiments.graph_config import GraphExperimentConfig
from corkboard.experiments.graph_data import LASTFM, MOVIELENS
from corkboard.experiments.graph_models import ENCODERS, settings_of
from corkboard.experiments.graph_people import PEOPLE, pinnersage_config
from corkboard.experiments.measured import MAIN
from corkboard.experiments.spine_config import DEVELOPMENT_SEED, FIRST_SEED
from corkboard.experiments.spine_runs import Finished, UserRunStore
from corkboard.metrics.intervals import PerUser

USERS = 250
SEEDS = [FIRST_SEED + n for n in range(5)]
DIGESTS = dict.fromkeys(PUBLIC, "digest")
STRENGTH = {
    name.MULTI: 0.4,
    name.MULTI_BASE: 0.3,
    name.PINSAGE: 0.3,
    name.MEAN: 0.28,
    name.MAX: 0.26,
    name.NO_GRAPH: 0.24,
    name.HIDDEN: 0.4,
}


def keys(config, digests=DIGESTS):
    jobs = graph_jobs(config, SEEDS[:1], None, digests)
    return {(run.world, run.variant): json.dumps(run.config, sort_keys=True) for job in jobs for run in job.runs}


def given(world, variant, seed):
    """Figures by user as if they had been measured: more graphs find more, but where a control took the reason away."""
    rng = np.random.default_rng([seed, sum(map(ord, variant + world))])
    level = rng.uniform(0.9, 1.1, USERS)
    strength = STRENGTH.get(variant, 0.2)
    if world in (name.CARRIES, name.COPIES):
        strength = 0.3
    if variant in PEOPLE:
        strength = 0.3 if variant == name.SEVERAL else 0.2
    parts = ("", *(f" {one}" for one in (*name.ACTIONS, name.UNSEEN, name.NO_BOARD, name.FEW_BOARDS, name.MANY_BOARDS, "cold")))
    figures = {f"{k}{part}": PerUser(level * strength, np.ones(USERS), 900) for k in (name.R10, name.R100) for part in parts}
    if variant == name.HIDDEN:
        figures[f"{name.R10} {name.UNSEEN}{name.NO_EDGES}"] = PerUser(level * 0.1, np.ones(USERS), 900)
    figures |= {measure: PerUser(level * strength, np.ones(USERS), 900) for measure in (name.BOARDS10, name.BOARDS100, name.RARE)}
    if variant == name.WHOLE:
        figures |= {measure: PerUser(np.full(30, 0.95), np.ones(30)) for measure in (name.OVERLAP, name.seed_overlap(100_000))}
        figures[name.VISITS_SHARE] = PerUser(np.full(30, 0.5), np.ones(30))
    return figures


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    config = GraphExperimentConfig.model_validate({"evaluation": {"replicates": 100}})
    jobs = graph_jobs(config, SEEDS, None, {LASTFM: "digest"})
    runs = {(run.world, run.variant, run.seed): run for job in jobs for run in job.runs}
    store = UserRunStore(tmp_path_factory.mktemp("runs"), data="d", code="c")
    for (world, variant, seed), run in runs.items():
        if variant != name.FLAT and not store.done(run):
            store.put_by_user(run, given(world, variant, seed), {"users": USERS, "pairs": 900, "edges kept": 0.9}, 1.0)
    return GraphResult(config, SEEDS, runs, store, Finished(skipped=["one run"]), missing=[MOVIELENS])


def test_jobs_hold_every_run_once_and_the_weightiest_come_first():
    config = GraphExperimentConfig()
    jobs = graph_jobs(config, SEEDS, None, DIGESTS)
    runs = [(run.world, run.variant, run.seed) for job in jobs for run in job.runs]
    assert len(set(runs)) == len(runs)
    assert {variant for world, variant, _ in runs if world == MAIN} == set(all_variants(config)) >= {*ENCODERS, *PEOPLE} - {name.PICTURED}
    assert jobs[0].config["seed"] != jobs[1].config["seed"]  # two workers begin with two worlds
    assert [run.variant for run in jobs[0].runs][:2] == [name.PINSAGE, name.MULTI]
    worlds = [job.runs[0].world for job in jobs]
    assert worlds.index(MAIN) < worlds.index(LASTFM) < worlds.index(name.CARRIES)
    assert [job.name.split(", ")[-1] for job in jobs[-5:]] == ["optional"] * 5
    needed = {variant for claim in name.CLAIMS for variant, _ in claim.needs()}
    assert needed <= set(all_variants(config))
    fewer = graph_jobs(GraphExperimentConfig(controls=False, optional=False), SEEDS, None, {})
    assert {run.world for job in fewer for run in job.runs} == {MAIN}
    assert name.FLAT not in {run.variant for job in fewer for run in job.runs}


def test_in_the_control_without_news_what_reads_boards_alone_is_the_run_of_the_world_as_it_is():
    found = keys(GraphExperimentConfig())
    for variant in (name.PINSAGE, name.MULTI_BASE):
        assert found[name.COPIES, variant] == found[MAIN, variant]
        assert found[name.CARRIES, variant] != found[MAIN, variant]
    assert found[name.COPIES, name.MULTI] != found[MAIN, name.MULTI]


def test_another_setting_is_another_run():
    base = keys(GraphExperimentConfig())
    other = keys(GraphExperimentConfig.model_validate({"multibisage": {"width": 32}}))
    changed = {key for key in base if base[key] != other[key]}
    assert (MAIN, name.MULTI) in changed
    assert (LASTFM, name.MULTI) in changed
    assert (MAIN, name.SEVERAL) in changed  # people read its vectors
    assert (MAIN, name.PINSAGE) not in changed
    assert (MAIN, name.SUM) not in changed
    smaller = keys(GraphExperimentConfig.model_validate({"world": {"users": 1400}}))
    assert all(base[key] != smaller[key] for key in base if key[0] not in PUBLIC)
    assert all(base[key] == smaller[key] for key in base if key[0] in PUBLIC)
    files = keys(GraphExperimentConfig(), {**DIGESTS, LASTFM: "other"})
    assert {key[0] for key in base if base[key] != files[key]} == {LASTFM}


def test_variants_differ_in_what_their_name_says():
    config = GraphExperimentConfig()
    assert settings_of(config, name.PINSAGE) == config.pinsage
    assert settings_of(config, name.MULTI) == config.multibisage
    assert settings_of(config, name.MEAN) == config.pinsage.model_copy(update={"pooling": "mean"})
    at_once = config.pinsage.hard.model_copy(update={"at_once": True})
    assert settings_of(config, name.AT_ONCE) == config.pinsage.model_copy(update={"hard": at_once})
    assert ENCODERS[name.CURRICULUM].hard
    assert not ENCODERS[name.PINSAGE].hard
    assert ENCODERS[name.alone("user_cart")].graphs == ("user_cart",)
    assert pinnersage_config(config, name.SEVERAL) == config.pinnersage
    assert pinnersage_config(config, name.LAST).representative == "newest"


def test_reported_and_development_worlds_are_not_the_same():
    assert GraphExperimentConfig().first_seed == FIRST_SEED
    assert GraphExperimentConfig.quick().first_seed == DEVELOPMENT_SEED


def test_a_control_switches_its_mechanism_on():
    config = GraphExperimentConfig()
    assert not config.world_settings().world.mechanisms.boards_carry_everything
    job = next(job for job in graph_jobs(config, SEEDS, None, {}) if job.runs[0].world == name.CARRIES)
    assert config.world_settings(job.config["on"]).world.mechanisms.boards_carry_everything


def test_verdicts_follow_the_figures(result):
    verdicts = {claim.name: result.claim(claim).verdict for claim in name.CLAIMS}
    assert verdicts["MultiBiSage > PinSage"] == "reproduced"
    assert verdicts["importance > mean pooling"] == "reproduced"
    assert verdicts["per graph, then across > one list"] == "not measured"
    assert verdicts["multi-hit boost > plain sum"] == "undecided"
    assert verdicts["several vectors > the best single one"] == "reproduced"
    assert verdicts["stopping early takes at most 60 % of the visits"] == "reproduced"
    likenesses = [graph_report.likeness(result, one).verdict for one in name.LIKENESSES[:2]]
    assert likenesses == ["alike", "worse"]  # unseen items are found as well with edges, and half as well without
    assert result.control(name.CONTROLS[0]).ending == "gone with its cause"
    assert result.within(name.CLAIMS[0], SEEDS[0]).low > 0


def test_public_rows_are_over_users_and_seeds_and_a_set_that_is_not_there_is_named(result):
    rows = {row.name: row for row in graph_report.public_rows(result, LASTFM)}
    assert rows[name.MULTI].cells[name.R10].verdict == "better"
    assert rows[name.PINSAGE].cells[name.R10].verdict == "baseline"
    assert rows[name.MULTI].cells[name.R10].lift == pytest.approx(0.4 / 0.3 - 1, abs=0.02)
    assert rows[name.KNN].cells[name.R10].verdict == "worse"
    assert graph_report.public_rows(result, MOVIELENS) == []
    assert result.sets() == [LASTFM]


def test_the_report_tells_all_of_it(result, tmp_path):
    files = graph_report.write_reports(result, tmp_path)
    told = json.loads(files["json"].read_text())
    assert told["schema"] == graph_report.SCHEMA
    assert len(told["claims"]) == len(name.CLAIMS)
    assert {one["ending"] for one in told["controls"]} == {"gone with its cause"}
    assert told["missing"] == [MOVIELENS]
    text = files["md"].read_text()
    for expected in (
        "not measured",
        "reproduced",
        "No time was left for 1 runs",
        f"{MOVIELENS} was not there",
        LASTFM,
        "gone with its cause",
    ):
        assert expected in text
    assert files["html"].read_text().count("<table>") == len(graph_report.grids(result))
    graph_report.report(result).print()


def test_without_minutes_nothing_is_measured_and_missing_data_is_said(tmp_path):
    heard = []
    found = run_graph(tmp_path, GraphExperimentConfig.quick(), 1, 0.0, heard.append, workers=0, data=tmp_path)
    assert list(found.missing) == list(PUBLIC)
    assert heard[0].startswith("skipped: hetrec-lastfm-2k, ml-latest-small")
    assert found.finished.made == 0
    assert {found.claim(claim).verdict for claim in name.CLAIMS} == {"not measured"}
    graph_report.write_reports(found, tmp_path)
