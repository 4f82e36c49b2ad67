import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from corkboard.errors import ArtifactError, ConfigError, InputError, NotFound
from corkboard.learning.config import TrainingConfig
from corkboard.learning.training import train
from corkboard.seeds import generator
from corkboard.vision import trunk as module
from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import TrunkEncoder, digest
from corkboard.vision.trunk import (
    build_trunk,
    built_in_trunk,
    load_trunk,
    parameter_groups,
    restored,
    save_trunk,
    trunk_facts,
    trunk_notes,
    trunk_tensors,
)

KINDS = {
    "cnn": TrunkConfig(side=16, width=0.5),
    "vit": TrunkConfig(kind="vit", side=12, dim=16, layers=2, heads=2, pool="cls"),
    "conv_vit": TrunkConfig(kind="conv_vit", side=16, dim=16, layers=2, heads=2),
}


def noise(n, side, seed=0):
    return generator(seed, "noise").integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def moved(trunk):
    """One pass in training: statistics that are no longer those of the start."""
    with torch.no_grad():
        trunk.train()(trunk.pixels(noise(8, trunk.side)))
    return trunk.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_depend_on_the_seed_alone(kind):
    torch.manual_seed(1)
    first = digest(build_trunk(KINDS[kind], 5).state_dict())
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert digest(build_trunk(KINDS[kind], 5).state_dict()) == first != digest(build_trunk(KINDS[kind], 6).state_dict())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kept_trunk_encodes_alike(kind, tmp_path):
    trunk, images = moved(build_trunk(KINDS[kind], 0)), noise(20, KINDS[kind].side, 1)
    save_trunk(trunk, tmp_path / "t.safetensors", {"steps": 7})
    loaded = load_trunk(tmp_path / "t.safetensors")
    wanted, found = TrunkEncoder(trunk).encode(images), TrunkEncoder(loaded).encode(images)
    assert loaded.settings == trunk.settings
    assert not loaded.training
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())
    assert digest(loaded.state_dict()) != digest(trunk.state_dict())
    assert trunk_notes(tmp_path / "t.safetensors") == {"steps": 7}
    save_trunk(loaded, tmp_path / "again.safetensors", {"steps": 7})
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "t.safetensors").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_tensors_and_facts_restore_a_trunk_to_the_bit(kind):
    trunk = moved(build_trunk(KINDS[kind], 0))
    other = restored(trunk_facts(trunk), trunk_tensors(trunk))
    assert digest(other.state_dict()) == digest(trunk.state_dict())
    assert TrunkEncoder(other).space == TrunkEncoder(trunk).space


def test_the_default_trunks_are_small_enough_to_ship(tmp_path):
    for kind in KINDS:
        save_trunk(build_trunk(TrunkConfig(kind=kind), 0), tmp_path / kind)
        assert (tmp_path / kind).stat().st_size < 900_000


def test_tensors_are_copies():
    trunk = build_trunk(KINDS["cnn"], 0)
    tensors, before = trunk_tensors(trunk), digest(trunk.state_dict())
    for values in tensors.values():
        values[...] = 0
    assert digest(trunk.state_dict()) == before


@pytest.mark.parametrize("value", [1e6, np.nan])
def test_weights_that_float16_cannot_hold_are_refused(value, tmp_path):
    trunk = build_trunk(KINDS["cnn"], 0)
    with torch.no_grad():
        trunk.blocks[0].conv.weight[0, 0, 0, 0] = value
    with pytest.raises(InputError, match="float16"):
        save_trunk(trunk, tmp_path / "t.safetensors")
    assert not (tmp_path / "t.safetensors").exists()


def test_a_folded_trunk_is_not_kept(tmp_path):
    with pytest.raises(ConfigError, match="for serving"):
        save_trunk(build_trunk(KINDS["cnn"], 0).served(), tmp_path / "t.safetensors")


def test_files_that_are_no_trunk(tmp_path):
    from safetensors.numpy import save_file

    with pytest.raises(NotFound, match="no weights"):
        load_trunk(tmp_path / "nothing")
    (tmp_path / "text").write_text("not a tensor in sight")
    save_file({"a": np.zeros(2)}, tmp_path / "other")
    save_file({"a": np.zeros(2)}, tmp_path / "wrong", {"trunk": '{"settings": {"kind": "cnn"}}'})
    save_file({"a": np.zeros(2)}, tmp_path / "unknown", {"trunk": '{"settings": {"kind": "mamba"}}'})
    for name, message in [("text", "not a trunk"), ("other", "not a trunk"), ("wrong", "another trunk"), ("unknown", "cannot be read")]:
        with pytest.raises(ArtifactError, match=message):
            load_trunk(tmp_path / name)


def test_tensors_of_another_shape_are_refused():
    small, large = build_trunk(KINDS["cnn"], 0), build_trunk(TrunkConfig(side=16), 0)
    with pytest.raises(ArtifactError, match="another trunk"):
        restored(trunk_facts(large), trunk_tensors(small))


def test_the_built_in_trunk_is_read_from_its_file_or_missed_clearly(tmp_path, monkeypatch):
    (tmp_path / "weights").mkdir()
    monkeypatch.setattr(module, "__file__", str(tmp_path / "trunk.py"))
    with pytest.raises(NotFound, match="without the weights"):
        built_in_trunk()
    save_trunk(build_trunk(KINDS["cnn"], 3), tmp_path / "weights" / module.BUILT_IN)
    assert built_in_trunk().settings == KINDS["cnn"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "vit", "patch": 7},
        {"kind": "conv_vit", "side": 20},
        {"kind": "vit", "dim": 97},
        {"kind": "pretrained"},
        {"kind": "resnet"},
        {"width": 0},
    ],
)
def test_settings_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValidationError):
        TrunkConfig(**wrong)


def test_settings_import_nothing_heavy():
    code = "import sys, corkboard.vision.config; print({'torch', 'transformers', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"


# ------------------------------------------------------------------------------------------------------------ fine-tuning


class Classifier(nn.Module):
    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(trunk.dim, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_each_parameter_has_one_group_and_norms_do_not_decay(kind):
    trunk = build_trunk(KINDS[kind], 0)
    groups = {group.prefix: group for group in parameter_groups(trunk, rate=0.1)}
    assert set(groups) == {f"trunk.{name}" for name, _ in trunk.named_parameters()}
    assert {group.rate for group in groups.values()} == {0.1}
    plain = {name for name, group in groups.items() if group.weight_decay == 0.0}
    named = {f"trunk.{name}" for name, p in trunk.named_parameters() if p.ndim == 1} | {n for n in groups if n == "trunk.positions"}
    assert plain == named
    assert {group.weight_decay for name, group in groups.items() if name not in plain} == {None}


def test_a_decay_by_layer_halves_towards_the_input():
    trunk = build_trunk(KINDS["vit"], 0)
    rates = {group.prefix: group.rate for group in parameter_groups(trunk, layer_decay=0.5)}
    assert rates["trunk.norm.weight"] == rates["trunk.blocks.1.up.weight"] == 0.5
    assert rates["trunk.blocks.0.up.weight"] == 0.25
    assert rates["trunk.stem.weight"] == rates["trunk.positions"] == 0.125


@pytest.mark.parametrize("wrong", [{"rate": 0.0}, {"rate": 1.5}, {"layer_decay": 0.0}])
def test_rates_out_of_range_are_refused(wrong):
    with pytest.raises(ConfigError, match="out of range"):
        parameter_groups(build_trunk(KINDS["cnn"], 0), **wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_training_overfits_a_few_pictures_with_the_trunk_at_a_tenth(kind):
    model = Classifier(build_trunk(KINDS[kind], 0))
    images, classes = noise(8, model.trunk.side), torch.arange(8) % 2
    start = {name: p.detach().clone() for name, p in model.named_parameters()}

    def loss_of(_):
        return nn.functional.cross_entropy(model.head(model.trunk(model.trunk.pixels(images))), classes)

    config = TrainingConfig(steps=30, learning_rate=0.02, warmup_steps=1)
    losses = train(model, loss_of, config, 0, groups=parameter_groups(model.trunk)).losses
    assert losses[-1] < 0.5 * losses[0]
    assert all(not torch.equal(p, start[name]) for name, p in model.named_parameters())
