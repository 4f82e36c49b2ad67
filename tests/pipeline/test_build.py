import shutil

import numpy as np
import polars as pl
import pytest

from corkboard.embeddings.config import HistoryConfig
from corkboard.errors import LakeError, NotFound
from corkboard.pipeline.build import building
from corkboard.pipeline.gates import chance_of_falling
from corkboard.pipeline.ledger import Ledger, machine
from corkboard.pipeline.plan import UNCUT_MS
from corkboard.workspace import Workspace, open


@pytest.fixture
def copied(built, tmp_path) -> Workspace:
    """A copy of the built workspace that a test may change."""
    folder = shutil.copytree(built.folder, tmp_path / "copy")
    return Workspace(folder, built.settings)


LADDER = [
    "popularity and content",
    "+ item-kNN",
    "+ trained content",
    "+ MultiBiSage",
    "+ PinnerFormer",
    "+ ranker",
    "+ TransAct",
    "+ light ranker",
]


def test_the_ladder_ends_on_the_light_ranker(built):
    assert [release.label for release in built.releases.list()] == LADDER
    assert built.releases.current().label == LADDER[-1]


def test_a_second_build_makes_nothing(copied):
    before = copied.releases.current_id()
    report = copied.build()
    assert report.made == []
    assert report.promoted == []
    assert report.live == before


def test_only_what_reads_a_changed_setting_is_made_again(copied):
    changed = open(copied.folder, overrides=["scale=tiny", "retrieval.boards.neighbours=7"])
    assert changed.build().made == ["boards"]


def test_a_damaged_artifact_is_not_promoted(copied):
    old = copied.releases.current()
    content = old.artifacts["item_knn"]
    (content.path / "tensors.safetensors").write_bytes(b"damaged")
    report = open(copied.folder, overrides=["scale=tiny", "retrieval.boards.neighbours=7"]).build()
    assert [gate["gate"] for refused in report.refused for gate in refused["gates"]] == ["whole"] * len(report.refused)
    assert report.refused
    assert copied.releases.current_id() == old.id


@pytest.mark.parametrize(
    ("hits", "fails"),
    [
        (0.0, True),  # everybody lost their hit: 0 is below 0.8 of the live recall, and n coins all fall so once in 2**n
        (0.5, True),  # half lost it, nobody gained: once in 2**(n / 2)
        (0.9, False),  # a tenth lost it: within the fifth that may be lost
    ],
)
def test_a_worse_release_does_not_go_live(copied, hits, fails):
    """The gate holds hits by user against those of the live release; here both are given."""
    live = copied.releases.current()
    release = copied.releases.write("another label", live.artifacts)
    gates = copied.gates()
    users = len(gates._day.taken)
    assert users > 12
    gates._hits = {live.id: np.ones(users, np.int64), release.id: (np.arange(users) < hits * users).astype(np.int64)}
    assert [gate["gate"] for gate in gates.failed(release)] == (["recall of the last day"] if fails else [])


def test_a_drop_that_one_user_explains_is_not_held_against_a_release(copied):
    live = copied.releases.current()
    release = copied.releases.write("another label", live.artifacts)
    gates = copied.gates()
    users = len(gates._day.taken)
    before = np.zeros(users, np.int64)
    before[0] = 5  # the only user with hits loses them: one coin, which falls so every second time
    gates._hits = {live.id: before, release.id: np.zeros(users, np.int64)}
    assert gates.failed(release) == []


@pytest.mark.parametrize(
    ("fallen", "chance"),
    [
        ([], 1.0),
        ([0, 0, 0], 1.0),
        ([1, 0, 1], 1 / 4),  # both lose
        ([1, 1, -1], 4 / 8),  # a sum of 1 or 3: all lose, or all but one
        ([2, 1], 1 / 4),  # 3 of -3, -1, 1, 3
        ([-1, -1], 1.0),
        ([1] * 6, 1 / 64),
    ],
)
def test_the_chance_of_a_fall_is_that_of_coins(fallen, chance):
    assert chance_of_falling(np.array(fallen, np.int64)) == pytest.approx(chance)


def test_too_few_users_for_a_ranker_leave_it_out_and_the_rest_serves(copied):
    shutil.rmtree(copied.folder / "releases")
    settings = ["scale=tiny", "ranking.rows.min_users=100000"]
    report = open(copied.folder, overrides=settings).build()
    assert list(report.skipped) == ["+ ranker", "+ TransAct", "+ light ranker"]
    assert all("Too few users" in reason for reason in report.skipped.values())
    assert copied.releases.current().label == "+ PinnerFormer"
    evaluation = open(copied.folder, overrides=settings).evaluate()
    assert sum("There is no ranker" in warning for warning in evaluation.warnings) == 2
    assert not any("ranker" in row.name for table in evaluation.tables for row in table.rows)


def test_the_oracle_is_of_the_world_that_was_made_whatever_the_settings_say_now(copied):
    """A demo's world is moved towards today, and nobody who evaluates it later names the day."""
    later = open(copied.folder, overrides=["world.seed=99"])
    assert later.settings.world != copied.settings.world
    assert later.world().config == copied.settings.world
    assert later.world() is later.world()
    marker = copied.folder / "world.json"
    marker.write_text(marker.read_text().replace('"version": ', '"version": 1000'))
    assert open(copied.folder).world() is None
    marker.unlink()
    assert open(copied.folder).world() is None


def test_a_rollback_stays_until_somebody_chooses_again(copied):
    ladder = copied.releases.list()
    copied.releases.choose(next(release.id for release in ladder if release.label == "+ trained content"))
    report = copied.build()
    refused = [one["release"] for one in report.refused]  # by its gates beside the one that was chosen, in some weeks of this tiny world
    assert report.withdrawn
    assert sorted([*report.withdrawn, *refused]) == sorted(release.id for release in ladder[3:])
    assert report.promoted == []
    assert copied.releases.current().label == "+ trained content"


def test_two_builds_at_once_are_refused(copied):
    with building(copied.folder), pytest.raises(LakeError, match="Another build"):
        copied.build()


def test_what_a_step_reads_ends_at_its_cut(built):
    calendar = built.calendar()
    cuts = {role: artifact.cut_ms for role, artifact in built.releases.current().artifacts.items()}
    assert cuts["content"] == cuts["multibisage"] == cuts["pinnerformer"] == calendar.item_cut_ms
    assert cuts["ranker"] == calendar.rank_cut_ms
    assert cuts["item_knn"] == calendar.end_ms - 86_400_000
    assert cuts["catalogue"] == UNCUT_MS


def test_show_knows_things_and_says_what_it_does_not(built):
    user = built.lake().actions()["user_id"][0]
    assert built.show(user)["user"] == user
    assert built.show("lake")["actions"] > 0
    assert built.show(built.releases.current_id())["label"] == LADDER[-1]
    assert built.show(built.lake().items()["item_id"][0])["item_id"]
    with pytest.raises(NotFound, match="no such thing"):
        built.show("nothing")


def test_a_ledger_adds_up_and_names_the_machine():
    ledger = Ledger()
    with ledger.time("one"):
        sum(range(200_000))
    assert ledger.cpu_s == ledger.entries[0].cpu_s > 0
    assert machine(0.05)["matrix_gflop_per_s"] > 0


def test_between_trainings_only_users_of_whom_something_new_is_known_are_computed(copied, tmp_path):
    """The nightly batch: models that are trained weekly stand still, and a night computes those who did something since the last."""
    weekly = open(copied.folder, overrides=["scale=tiny", "lake.calendar.retrain_days=7"])
    calendar = weekly.calendar()
    first = weekly.builder()
    before = first.artifact("user_vectors")
    lake = weekly.lake()
    read = pl.col("action").is_in(list(HistoryConfig().actions)) & pl.col("item_id").is_not_null()
    active = set(lake.actions(before.config["known_ms"], calendar.end_ms).filter(read)["user_id"])
    quiet = sorted(set(before.table("users")["user_key"]) - active)
    assert active
    assert len(quiet) > 2
    item = lake.actions()["item_id"].drop_nulls()[0]
    times = [calendar.end_ms + 1, before.config["known_ms"] - 1]  # one of the next day, and one that arrives late
    rows = [
        {"event_id": f"more {n}", "time_ms": time_ms, "user_id": quiet[n], "item_id": item, "action": "click", "surface": "home"}
        for n, time_ms in enumerate(times)
    ]
    pl.DataFrame(rows).write_parquet(tmp_path / "actions.parquet")
    weekly.ingest(tmp_path / "actions.parquet", table="actions")
    second = weekly.builder()
    after = second.artifact("user_vectors")
    assert "pinnerformer" in second.report.kept
    table = after.table("users").filter(pl.col("made_ms") == after.config["known_ms"])
    assert set(table["user_key"]) == active | {quiet[1]}
    assert after.metrics["computed"] == len(active) + 1
    assert quiet[0] in set(after.table("users")["user_key"])


def test_user_vectors_of_another_version_are_made_anew(copied):
    """They would only have saved work."""
    old = copied.releases.current().artifacts["user_vectors"]
    users = old.path / "users.parquet"
    pl.read_parquet(users).drop("read").write_parquet(users)
    folder = old.path.rename(old.path.with_name("of-another-version"))
    builder = copied.builder()
    made = builder.artifact("user_vectors")
    assert folder.exists()
    assert made.metrics["computed"] == made.metrics["users"] == len(made.table("users"))
