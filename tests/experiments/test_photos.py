"""The experiment on real photos, on made ones: nothing straddles the split, the list is judged rightly, runs are kept."""

import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from corkboard.errors import InputError, NotFound
from corkboard.experiments import photos as experiment
from corkboard.experiments.photos import (
    BUILT_IN,
    HISTOGRAM,
    PIXELS,
    SCRATCH,
    UNTRAINED,
    WEAK,
    Bench,
    Plan,
    retrieval_figures,
    row_name,
    run_photos,
    tuning,
)
from corkboard.experiments.photos_config import PhotosConfig
from corkboard.experiments.photos_data import (
    CLOTHING,
    COLOUR,
    FASHION,
    TEST,
    TRAIN,
    TYPE,
    VALID,
    difference_hash,
    found_sources,
    near_duplicates,
    parts_of,
    read_photos,
)
from corkboard.experiments.spine_runs import Run

DATA = Path(os.environ.get("CORKBOARD_DATA") or "no data here")
SIDE = 16
COLOURS = {"Red": (200, 30, 30), "Green": (30, 180, 40), "Blue": (30, 40, 200)}


def drawn(kind, colour, rng):
    """A shirt is a square, a belt a bar, a shoe a triangle; somewhere on white, with noise."""
    picture = np.full((32, 32, 3), 255.0)
    top, left = rng.integers(1, 8, 2)
    rows, columns = np.mgrid[:32, :32]
    inside = {
        "Shirts": (rows - top < 20) & (rows >= top) & (columns >= left) & (columns - left < 20),
        "Belts": (rows - top < 6) & (rows >= top) & (columns >= left) & (columns - left < 22),
        "Shoes": (rows - top < 20) & (columns - left < rows - top) & (columns >= left),
    }[kind]
    picture[inside] = COLOURS[colour]
    return (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)


def packed(place, pictures):
    """A tar of pictures by name, JPEG as the real ones."""
    with tarfile.open(place / "images.tar", "w") as tar:
        for name, picture in pictures.items():
            buffer = io.BytesIO()
            if isinstance(picture, bytes):
                buffer.write(picture)
            else:
                Image.fromarray(picture).save(buffer, "JPEG", quality=90)
            entry = tarfile.TarInfo(name)
            entry.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(entry, buffer)


def fashion(place, count=140):
    """Things with titles. 3 shows what 1 shows; 5 is called what 2 is called; 7 is broken; 8 has no colour; 9 is not in the tar."""
    place.mkdir(parents=True)
    rng, rows, pictures = np.random.default_rng(0), ["id,articleType,baseColour,productDisplayName,file"], {}
    for i in range(count):
        kind, colour = ("Shirts", "Belts", "Shoes")[i % 3], ("Red", "Green", "Blue")[i // 3 % 3]
        pictures[f"{i}.jpg"] = drawn(kind, colour, rng)
        title = f"Brand{i} Men {colour} {kind}" if i != 5 else f"Brand2 Men {'Red'} Shoes"
        rows.append(f"{i},{kind},{'' if i == 8 else colour},{title},{i}.jpg")
    pictures["3.jpg"], pictures["7.jpg"] = pictures["1.jpg"], b"\xff\xd8\xff no more"
    del pictures["9.jpg"]
    (place / "styles_with_image.csv").write_text("\n".join(rows))
    packed(place, pictures)


def clothing(place, count=90):
    """Things of twelve senders; some not sure."""
    place.mkdir(parents=True)
    rng, rows, pictures = np.random.default_rng(1), ["image,sender_id,label,kids,file"], {}
    for i in range(count):
        kind, colour = ("Shirts", "Belts", "Shoes")[i % 3], ("Red", "Green", "Blue")[i // 3 % 3]
        pictures[f"{i}.jpg"] = drawn(kind, colour, rng)
        label = "Not sure" if i % 10 == 0 else "" if i % 10 == 5 else kind
        rows.append(f"{i},{rng.integers(30)},{label},False,{i}.jpg")
    (place / "images.csv").write_text("\n".join(rows))
    packed(place, pictures)


def small(**more):
    base = PhotosConfig().model_dump()
    base |= {"trunk": {"side": SIDE, "width": 0.5}, "shares": (0.2, 1.0), "steps": (3, 4), "test_share": 0.3, "valid_share": 0.2}
    base |= {"duplicate_bits": 0, "duplicate_difference": 2.0, "tuned_trunk_after": 1}
    base["visual"] |= {"dim": 16, "code_bits": 16, "batch_classes": 6}
    base["weak"]["phrases"] |= {"min_products": 5}
    base["weak"]["classes"] |= {"clusters": 4, "min_images": 5, "text_dim": 4}
    base["weak"]["pretraining"] |= {"batch": 16}
    base["weak"]["pretraining"]["training"] |= {"steps": 4, "warmup_steps": 1}
    base["evaluation"] |= {"replicates": 100}
    return PhotosConfig.model_validate(base | more)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("data")
    fashion(place / "fashion-products")
    clothing(place / "clothing-cc0")
    return place


@pytest.fixture(scope="module")
def things(folder, tmp_path_factory):
    return read_photos(FASHION, folder / FASHION.name, tmp_path_factory.mktemp("kept"), small())


# ------------------------------------------------------------------------------------------------------------------ data


def test_rows_are_those_with_a_picture_that_can_be_read(things):
    assert len(things) == 138
    assert things.refused == 2
    assert {"7", "9"}.isdisjoint(things.ids)
    assert things.images.shape == (138, SIDE, SIDE, 3)
    assert things.titles[things.ids.index("4")] == "Brand4 Men Green Belts"


def test_labels_are_numbers_of_values_and_of_combinations(things):
    kinds, both = things.labels[TYPE], things.labels[COLOUR]
    assert len(np.unique(kinds)) == 3
    assert len(np.unique(both[both >= 0])) == 9
    row = things.ids.index("8")
    assert (kinds[row] >= 0, both[row]) == (True, -1)  # without a colour: it has a type all the same
    red_belts = [things.ids.index(name) for name in ("1", "10", "19")]
    assert len(set(both[red_belts].tolist())) == 1


def test_no_group_straddles_the_split_and_equal_titles_and_pictures_are_one(things):
    for group in np.unique(things.groups):
        assert len(np.unique(things.parts[things.groups == group])) == 1
    group_of = dict(zip(things.ids, things.groups.tolist(), strict=True))
    assert group_of["1"] == group_of["3"]
    assert group_of["2"] == group_of["5"]
    assert group_of["1"] != group_of["2"]
    assert all((things.parts == part).sum() > 10 for part in (TRAIN, VALID, TEST))


def test_senders_are_groups_and_what_nobody_was_sure_of_is_left_out(folder, tmp_path):
    worn = read_photos(CLOTHING, folder / CLOTHING.name, tmp_path, small())
    assert len(worn) == 72
    assert worn.titles is None
    assert len(np.unique(worn.labels[TYPE])) == 3
    table = [line.split(",") for line in (folder / CLOTHING.name / "images.csv").read_text().splitlines()[1:]]
    sender = {row[0]: row[1] for row in table}
    for group in np.unique(worn.groups):
        assert len({sender[name] for name, own in zip(worn.ids, worn.groups, strict=True) if own == group}) == 1
    assert len(np.unique(worn.groups)) == len({sender[name] for name in worn.ids})


def test_the_split_is_the_same_again_and_moves_with_the_pixels_kept_aside(folder, things, tmp_path, monkeypatch):
    first = read_photos(FASHION, folder / FASHION.name, tmp_path, small())
    monkeypatch.setattr("corkboard.experiments.photos_data.decode", None)  # the second time nothing is decoded
    again = read_photos(FASHION, folder / FASHION.name, tmp_path, small())
    assert first.split_hash == again.split_hash == things.split_hash
    np.testing.assert_array_equal(first.images, again.images)
    other = read_photos(FASHION, folder / FASHION.name, tmp_path, small(test_share=0.2))
    assert other.split_hash != first.split_hash
    assert set(other.rows(TEST)) < set(first.rows(TEST))  # the hash of a group says how far up it is


def test_parts_follow_the_smallest_id_of_a_group_whatever_the_order():
    config, ids = small(), [f"{i:03}" for i in range(300)]
    groups = np.arange(300) // 3
    parts = parts_of(ids, groups, config)
    draw = np.random.default_rng(0).permutation(300)
    np.testing.assert_array_equal(parts_of([ids[i] for i in draw], groups[draw] * 7, config), parts[draw])
    shares = np.bincount(parts, minlength=3) / 300
    np.testing.assert_allclose(shares, (0.5, 0.2, 0.3), atol=0.12)


def test_the_difference_hash_of_a_ramp_and_of_a_plain_picture():
    ramp = np.repeat(np.linspace(0, 240, 90).astype(np.uint8)[None, :, None], 90, axis=0).repeat(3, axis=2)
    assert difference_hash(ramp)[:64].all()
    assert not difference_hash(ramp)[64:].any()
    assert not difference_hash(ramp[:, ::-1].copy()).any()
    assert not difference_hash(np.full((20, 30, 3), 254, np.uint8)).any()


def test_near_duplicates_need_like_shapes_and_like_colours():
    rng = np.random.default_rng(0)
    red, blue, bar = (drawn(*what, np.random.default_rng(3)) for what in (("Shirts", "Red"), ("Shirts", "Blue"), ("Belts", "Red")))
    noisy = (red + rng.normal(0, 2, red.shape)).clip(0, 255).astype(np.uint8)
    images = np.stack([red, bar, noisy, blue])
    marks = np.stack([difference_hash(image) for image in images])
    assert near_duplicates(marks, images, 20, 8.0).tolist() == [[0, 2]]
    assert near_duplicates(marks, images, 128, 255.0).tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]


def test_a_share_of_labels_is_of_every_type_and_grows_in_place(things):
    few, more, whole = (things.labelled(share, 3) for share in (0.05, 0.4, 1.0))
    kinds = things.labels[TYPE]
    assert set(few) < set(more) < set(whole) == set(things.rows(TRAIN))
    totals = np.bincount(kinds[whole])
    assert np.bincount(kinds[more]).tolist() == np.ceil(0.4 * totals).astype(int).tolist()
    assert np.bincount(kinds[few]).min() >= 1
    assert set(things.labelled(0.4, 4)) != set(more)


def test_what_is_not_there_is_said(tmp_path):
    with pytest.raises(NotFound, match="no photos"):
        found_sources(tmp_path)
    with pytest.raises(NotFound, match=r"images\.tar"):
        read_photos(FASHION, tmp_path, tmp_path, small())
    packed(tmp_path, {"1.jpg": drawn("Shirts", "Red", np.random.default_rng(0))})
    (tmp_path / "styles_with_image.csv").write_text("id,articleType,file\n1,Shirts,1.jpg")
    with pytest.raises(InputError, match="baseColour"):
        read_photos(FASHION, tmp_path, tmp_path, small())
    (tmp_path / "styles_with_image.csv").write_text("id,articleType,baseColour,productDisplayName,file\n1,Shirts,Red,x,2.jpg")
    with pytest.raises(InputError, match="no picture"):
        read_photos(FASHION, tmp_path, tmp_path, small())


@pytest.mark.parametrize("wrong", [{"steps": (3,)}, {"shares": (0.0, 1.0)}, {"test_share": 0.9}])
def test_settings_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="share"):
        small(**wrong)


# -------------------------------------------------------------------------------------------------------------- measures


def test_precision_by_hand():
    # photo 0 at 0 degrees; from it: 1 (another type), 2, 3 (its type), 4 (its own group and type: not in its list)
    angles = np.radians([0, 10, 20, 40, 1])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    figures = retrieval_figures(vectors, {"type": np.array([0, 1, 0, 0, 0])}, np.array([0, 1, 2, 3, 0]), most=20)
    # photo 0: 1 no, 2 yes, 3 yes -> (1/2 + 2/3) / 2; photo 4 the same; photo 2: 1 no, 4, 0, 3 -> (1/2 + 2/3 + 3/4) / 3;
    # photo 3: 2 yes, 1 no, 4, 0 -> (1 + 2/3 + 3/4) / 3; photo 1 is alone
    wanted = [7 / 12, 7 / 12, (1 / 2 + 2 / 3 + 3 / 4) / 3, (1 + 2 / 3 + 3 / 4) / 3]
    assert figures["type mAP"].value == pytest.approx(np.mean(wanted))
    assert figures["type P@1"].value == pytest.approx(1 / 4)
    assert figures["type mAP"].users == 3
    assert figures["type mAP"].positives == 4


def test_a_large_group_counts_as_its_most():
    # five photos of one group and two of others: the group answers rightly, the others wrongly
    vectors = np.zeros((9, 3), np.float32)
    vectors[:5, 0], vectors[5:7, 0], vectors[5, 1], vectors[6, 1] = 1, 0.9, 0.4, 0.4
    vectors[7:, 1] = 1
    kinds, groups = np.array([0] * 5 + [1, 0] + [1, 2]), np.array([0] * 5 + [1, 2, 3, 4])
    whole, one = (retrieval_figures(vectors, {"type": kinds}, groups, most)["type mAP"] for most in (20, 1))
    assert whole.weight.tolist() == [5, 1, 1, 1]
    assert one.weight.tolist() == [1, 1, 1, 1]
    assert one.value == pytest.approx((whole.total / whole.weight).mean())
    assert one.value != pytest.approx(whole.value)


def test_vectors_that_are_all_alike_reach_what_chance_reaches():
    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 4, 400)
    figures = retrieval_figures(np.ones((400, 2), np.float32), {"type": kinds}, np.arange(400), 20)
    assert figures["type P@1"].value == pytest.approx(0.25, abs=0.07)
    assert figures["type mAP"].value == pytest.approx(0.25, abs=0.05)


def test_photos_without_a_label_are_nobodys_answer():
    figures = retrieval_figures(np.ones((3, 1), np.float32), {"type": np.array([-1, -1, 0])}, np.arange(3), 20)
    assert figures["type P@1"].users == 0


# ---------------------------------------------------------------------------------------------------------------- the run


def test_rates_and_steps_are_those_of_start_and_share():
    config = small(scratch_trunk_lr=0.9, tuned_trunk_lr=0.2)
    scratch, weak = tuning(config, SCRATCH, 0.2), tuning(config, WEAK, 1.0)
    assert (scratch.trunk_lr, scratch.trunk_after, scratch.training.steps) == (0.9, 0, 3)
    assert (weak.trunk_lr, weak.trunk_after, weak.training.steps) == (0.2, 1, 4)


def test_nothing_is_chosen_or_learned_on_test_photos(folder, things, tmp_path):
    scrambled, test = things.images.copy(), things.rows(TEST)
    scrambled[test] = np.random.default_rng(0).integers(0, 256, scrambled[test].shape)
    labels = {name: values.copy() for name, values in things.labels.items()}
    for values in labels.values():
        values[test] = 0
    benches = []
    for photos in (things, replace(things, images=scrambled, labels=labels)):
        benches.append(Bench(Plan(folder, tmp_path, [photos], small(), 1), photos, SimpleNamespace(doing=lambda *at: None)))
    for row in (HISTOGRAM, PIXELS):
        (_, first), (_, second) = (bench._plain(row) for bench in benches)
        assert first == second
    run = Run(FASHION.name, row_name(SCRATCH, 1.0), 0, {"row": SCRATCH, "share": 1.0})
    (learned, facts), (also, _) = (bench._tuned(run) for bench in benches)
    np.testing.assert_array_equal(learned[things.rows(TRAIN)], also[things.rows(TRAIN)])
    assert facts["labelled photos"] == len(things.rows(TRAIN))
    untuned = [bench._untuned(UNTRAINED, 0)[things.rows(VALID)] for bench in benches]
    np.testing.assert_array_equal(*untuned)


def test_the_whole_of_it_goes_on_where_it_stopped(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "built_in_digest", lambda: None)
    said = []
    found = run_photos(folder, tmp_path, said.append, minutes=10, seeds=2, workers=0, config=small())
    assert not found.warnings
    table = found.table("fashion-products")
    names = [row.name for row in table.rows]
    assert names[:5] == [HISTOGRAM, PIXELS, UNTRAINED, "weak labels, 0%", "built-in, 0%"]
    assert {row_name(start, share) for start in (SCRATCH, WEAK, BUILT_IN) for share in (0.2, 1.0)} < set(names)
    measured = [row for row in table.rows if not row.name.startswith(BUILT_IN)]
    assert all(0 < cell.value <= 1 for row in measured for cell in row.cells.values())
    assert table.cell(row_name(BUILT_IN, 0.2), "type P@1").verdict == "not measured"
    assert table.facts["split"] in found.to_json()
    assert any("of the training photos of these" in line for line in table.protocol)
    compared = found.table("clothing-cc0 20%")
    assert compared.baseline == row_name(SCRATCH, 0.2)
    assert compared.cell(row_name(WEAK, 0.2), "type mAP").difference is not None
    assert len(list((tmp_path / "trunks").glob("*.safetensors"))) == 2  # one a seed, for both sets
    again = run_photos(folder, tmp_path, said.append, minutes=0, seeds=2, workers=0, config=small())
    assert [replace(one, seconds=0) for one in again.tables] == [replace(one, seconds=0) for one in found.tables]


def test_without_time_nothing_is_guessed(folder, tmp_path):
    found = run_photos(folder, tmp_path, lambda line: None, minutes=0, seeds=1, workers=0, config=small())
    assert all(cell.value is None for table in found.tables for row in table.rows for cell in row.cells.values())
    assert found.tables[0].warnings


def test_pre_training_reads_titles_and_pictures_of_the_training_part_alone(folder, tmp_path, monkeypatch):
    from corkboard.vision import pretraining

    seen = {}

    def spied(images, bags, build, config, seed, **more):
        seen["images"], seen["bags"] = images, bags
        raise RuntimeError("seen")

    monkeypatch.setattr(pretraining, "weakly_supervised", spied)
    found = run_photos(folder, tmp_path, lambda line: None, minutes=10, seeds=1, workers=0, config=small())
    assert found.warnings == [
        "fashion-products weak labels 0 failed: RuntimeError: seen",
        "clothing-cc0 weak labels 0 failed: RuntimeError: seen",
    ]
    things = read_photos(FASHION, folder / FASHION.name, tmp_path / "photos", small())
    rows = things.rows(TRAIN)
    np.testing.assert_array_equal(seen["images"], things.images[rows])
    assert seen["bags"].texts == [things.titles[row] for row in rows]
    assert found.table("fashion-products").cell(row_name(SCRATCH, 1.0), "type P@1").value is not None


def test_a_trunk_that_ships_is_a_start_of_its_own(folder, tmp_path, monkeypatch):
    from corkboard.vision import trunk as trunks

    made = trunks.build_trunk(small().trunk, 5)
    monkeypatch.setattr(trunks, "built_in_trunk", lambda: made)
    things = read_photos(FASHION, folder / FASHION.name, tmp_path, small())
    plan = Plan(folder, tmp_path, [things], small(), 2)
    runs = [run for job in plan.jobs(things) for run in job.runs if run.config["row"] == BUILT_IN]
    assert [(run.variant, run.seed) for run in runs] == [
        ("built-in, 0%", 0),
        ("built-in, 20%", 0),
        ("built-in, 100%", 0),
        ("built-in, 20%", 1),
        ("built-in, 100%", 1),
    ]
    made = trunks.build_trunk(small().trunk, 6)
    other = [run for job in plan.jobs(things) for run in job.runs if run.config["row"] == BUILT_IN]
    assert other[0].config != runs[0].config  # other weights are other runs


def test_the_command_prints_json(folder, tmp_path):
    from corkboard.cli.experiment import app

    options = ["--data", str(folder), "-w", str(tmp_path), "--minutes", "0", "--workers", "0", "--seeds", "1", "--json"]
    result = CliRunner().invoke(app, ["photos", *options, "--set", "trunk.side=16"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout[result.stdout.index("{") :])
    assert [table["name"] for table in found["tables"]][:2] == ["fashion-products", "fashion-products 5%"]
    assert (tmp_path / "report.json").exists()


@pytest.mark.skipif(not (DATA / "fashion-products").is_dir(), reason="CORKBOARD_DATA does not hold fashion-products")
def test_the_real_set_splits_without_a_giant_group(tmp_path):
    things = read_photos(FASHION, DATA / "fashion-products", tmp_path, PhotosConfig())
    assert len(things) == 4765
    assert np.bincount(things.groups).max() < 150  # a hash that is too lax joins a fifth of them
    assert (things.parts == TEST).mean() == pytest.approx(0.2, abs=0.03)
