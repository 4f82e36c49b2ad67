"""Encoders of transformers, as tiny checkpoints with random weights; nothing here may reach the network."""

import json
import logging
import pickle
import socket
import sys

import numpy as np
import pytest
import torch
from torch import nn

from corkboard.errors import ArtifactError, InputError, NotFound
from corkboard.learning.config import TrainingConfig
from corkboard.learning.training import train
from corkboard.seeds import generator
from corkboard.vision.config import TrunkConfig
from corkboard.vision.encoder import TrunkEncoder, digest
from corkboard.vision.pretrained import load_pretrained
from corkboard.vision.trunk import build_trunk, load_trunk, parameter_groups, save_trunk, trunk_facts

transformers = pytest.importorskip("transformers")

TINY = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
SIZED = TINY | {"image_size": 16, "patch_size": 4}
TEXT = TINY | {"vocab_size": 32, "max_position_embeddings": 8}
PREPARED = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5], "size": {"height": 16, "width": 16}}


def model_of(kind):
    t = transformers
    torch.manual_seed(0)
    return {
        "vit": lambda: t.ViTModel(t.ViTConfig(**SIZED)),
        "clip_vision": lambda: t.CLIPVisionModel(t.CLIPVisionConfig(**SIZED)),
        "clip": lambda: t.CLIPModel(t.CLIPConfig(text_config=TEXT, vision_config=SIZED, projection_dim=8)),
        "siglip_vision": lambda: t.SiglipVisionModel(t.SiglipVisionConfig(**SIZED)),
        "siglip": lambda: t.SiglipModel(t.SiglipConfig(text_config=TEXT, vision_config=SIZED)),
        "siglip2_vision": lambda: t.Siglip2VisionModel(t.Siglip2VisionConfig(**TINY, patch_size=4, num_patches=16)),
        "dinov2": lambda: t.Dinov2Model(t.Dinov2Config(**SIZED)),
        "dinov2_registers": lambda: t.Dinov2WithRegistersModel(t.Dinov2WithRegistersConfig(**SIZED, num_register_tokens=3)),
        "dinov3": lambda: t.DINOv3ViTModel(t.DINOv3ViTConfig(**SIZED, num_register_tokens=2)),
        "convnext": lambda: t.ConvNextModel(t.ConvNextConfig(hidden_sizes=[8, 12], depths=[1, 1], num_stages=2, patch_size=4)),
    }[kind]()


VITS = ["vit", "clip_vision", "clip", "siglip_vision", "siglip", "siglip2_vision", "dinov2", "dinov2_registers", "dinov3"]
KINDS = [*VITS, "convnext"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_):
        raise AssertionError("A test asked for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def saved(folder, kind="vit", prepared=None):
    model = model_of(kind).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PREPARED if prepared is None else prepared))
    return model


def noise(n, side, seed=0):
    return generator(seed, "noise").integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def plain_outputs(kind, model, pixels):
    """The vector by the model itself, as its paper pools."""
    with torch.no_grad():
        if kind == "siglip2_vision":
            n = len(pixels)
            rows = [
                [image[:, y : y + 4, x : x + 4].permute(1, 2, 0).flatten() for y in range(0, 16, 4) for x in range(0, 16, 4)]
                for image in pixels
            ]
            patches = torch.stack([torch.stack(row) for row in rows])
            return model(patches, torch.ones(n, 16, dtype=torch.int64), torch.full((n, 2), 4)).pooler_output
        output = getattr(model, "vision_model", model)(pixels)
        return output.last_hidden_state[:, 0] if kind == "vit" else output.pooler_output


@pytest.mark.parametrize("kind", KINDS)
def test_the_vector_is_that_of_the_model_itself(kind, tmp_path):
    model = saved(tmp_path, kind)
    trunk, images = load_pretrained(tmp_path), noise(3, 16)
    mean, std = (torch.tensor(PREPARED[key]).view(1, 3, 1, 1) for key in ("image_mean", "image_std"))
    pixels = (torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - mean) / std
    wanted = plain_outputs(kind, model, pixels)
    assert (trunk.side, trunk.dim) == (16, wanted.shape[1])
    np.testing.assert_allclose(TrunkEncoder(trunk, batch=2).encode(images), wanted.numpy(), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_map_has_a_cell_a_patch_and_no_other_tokens(kind, tmp_path):
    saved(tmp_path, kind)
    trunk = load_pretrained(tmp_path)
    with torch.no_grad():
        features = trunk.features(trunk.pixels(noise(2, 16)))
    assert features.shape == ((2, trunk.dim, 2, 2) if kind == "convnext" else (2, 16, 4, 4))


def test_a_cell_of_the_map_is_where_its_patch_is(tmp_path):
    saved(tmp_path, "dinov2_registers")
    trunk = load_pretrained(tmp_path)
    states = []
    trunk.model.register_forward_hook(lambda module, inputs, output: states.append(output.last_hidden_state))
    with torch.no_grad():
        features = trunk.features(torch.randn(1, 3, 16, 16))
    torch.testing.assert_close(features[0, :, 1, 2], states[0][0, 1 + 3 + 4 + 2])


@pytest.mark.parametrize("kind", [kind for kind in VITS if kind != "siglip2_vision"])
def test_another_side_stretches_the_grid(kind, tmp_path):
    saved(tmp_path, kind)
    trunk = load_pretrained(tmp_path, side=24)
    assert trunk.settings.checkpoint_side == trunk.side == 24
    with torch.no_grad():
        assert trunk.features(trunk.pixels(noise(1, 16))).shape == (1, 16, 6, 6)
    with pytest.raises(InputError, match="whole number of patches"):
        load_pretrained(tmp_path, side=18)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_kept_and_restored_without_its_checkpoint(kind, tmp_path):
    (tmp_path / "checkpoint").mkdir()
    saved(tmp_path / "checkpoint", kind)
    trunk, images = load_pretrained(tmp_path / "checkpoint"), noise(4, 16)
    wanted = TrunkEncoder(trunk).encode(images)
    save_trunk(trunk, tmp_path / "kept")
    for file in (tmp_path / "checkpoint").iterdir():
        file.unlink()
    loaded = load_trunk(tmp_path / "kept")
    assert json.dumps(trunk_facts(loaded)) == json.dumps(trunk_facts(trunk))
    np.testing.assert_allclose(TrunkEncoder(loaded).encode(images), wanted, atol=5e-3)


class Classifier(nn.Module):
    def __init__(self, trunk):
        super().__init__()
        self.trunk, self.head = trunk, nn.Linear(trunk.dim, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_fine_tuned_by_the_same_code(kind, tmp_path):
    saved(tmp_path, kind)
    model = Classifier(build_trunk(TrunkConfig(kind="pretrained", checkpoint=str(tmp_path)), seed=0))
    images, classes = noise(6, 16), torch.arange(6) % 2
    start = digest(model.trunk.state_dict())

    def loss_of(_):
        return nn.functional.cross_entropy(model.head(model.trunk(model.trunk.pixels(images))), classes)

    config = TrainingConfig(steps=25, learning_rate=0.02, warmup_steps=1)
    losses = train(model, loss_of, config, 0, groups=parameter_groups(model.trunk, rate=0.5)).losses
    assert losses[-1] < 0.5 * losses[0]
    assert digest(model.trunk.state_dict()) != start


@pytest.mark.parametrize("kind", VITS)
def test_depths_follow_the_layers(kind, tmp_path):
    saved(tmp_path, kind)
    trunk = load_pretrained(tmp_path)
    depths = {name: trunk.depth_of(name) for name, _ in trunk.named_parameters()}
    assert trunk.depths == 3
    assert {depth for name, depth in depths.items() if "embeddings" in name or "pre_layrnorm" in name} == {0}
    assert {depth for name, depth in depths.items() if ".0." in name} == {1}
    assert {depth for name, depth in depths.items() if ".1." in name} == {2}
    assert {depth for name, depth in depths.items() if name.split(".")[1] in ("post_layernorm", "layernorm", "norm", "head")} == {2}


# ------------------------------------------------------------------------------------------------------------ preparation


@pytest.mark.parametrize(
    ("changes", "side", "mean", "std"),
    [
        ({"size": 16}, 16, (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)),
        (
            {"size": {"shortest_edge": 20}, "crop_size": {"height": 16, "width": 16}, "do_center_crop": True},
            16,
            (0.5, 0.4, 0.3),
            (0.2, 0.25, 0.5),
        ),
        ({"crop_size": 99, "do_center_crop": False}, 16, (0.5, 0.4, 0.3), (0.2, 0.25, 0.5)),
        ({"do_normalize": False}, 16, (0, 0, 0), (1, 1, 1)),
        ({"rescale_factor": 1 / 127.5}, 16, (0.25, 0.2, 0.15), (0.1, 0.125, 0.25)),
        ({"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [51] * 3}, 16, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2)),
    ],
)
def test_preparation_is_read_in_all_its_forms(changes, side, mean, std, tmp_path):
    saved(tmp_path, prepared=PREPARED | changes)
    trunk = load_pretrained(tmp_path)
    assert trunk.side == side
    assert trunk.mean == pytest.approx(mean)
    assert trunk.std == pytest.approx(std)


def test_preparation_may_lie_in_the_processor_and_a_side_follow_from_the_number_of_patches(tmp_path):
    model_of("siglip2_vision").save_pretrained(tmp_path)
    prepared = {key: PREPARED[key] for key in ("image_mean", "image_std")} | {"max_num_patches": 16, "patch_size": 4}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": prepared}))
    trunk = load_pretrained(tmp_path)
    assert (trunk.side, trunk.mean) == (16, (0.5, 0.4, 0.3))


@pytest.mark.parametrize(
    ("prepared", "error", "message"),
    [
        (None, NotFound, "does not say how its pictures are prepared"),
        ("no JSON", ArtifactError, "cannot be read"),
        (json.dumps(PREPARED | {"image_mean": None}), ArtifactError, "image_mean"),
        (json.dumps(PREPARED | {"image_std": [0, 1, 1]}), ArtifactError, "image_std"),
        (json.dumps({key: PREPARED[key] for key in ("image_mean", "image_std")}), ArtifactError, "how large"),
    ],
)
def test_preparation_that_is_missing_or_wrong_is_refused(prepared, error, message, tmp_path):
    model_of("vit").save_pretrained(tmp_path)
    if prepared is not None:
        (tmp_path / "preprocessor_config.json").write_text(prepared)
    with pytest.raises(error, match=message):
        load_pretrained(tmp_path)


# ------------------------------------------------------------------------------------------------------- what is refused


class Bomb:
    def __init__(self, file):
        self.file = str(file)

    def __reduce__(self):
        return open, (self.file, "w")


def test_weights_that_are_no_safetensors_are_never_unpickled(tmp_path):
    folder, mark = tmp_path / "checkpoint", tmp_path / "exploded"
    folder.mkdir()
    saved(folder)
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(ArtifactError, match="safetensors"):
        load_pretrained(folder)
    assert not mark.exists()


def test_code_of_a_checkpoint_is_never_run(tmp_path):
    folder, mark = tmp_path / "checkpoint", tmp_path / "ran"
    folder.mkdir()
    saved(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps(config | {"model_type": "mine", "auto_map": {"AutoConfig": "mine.C", "AutoModel": "mine.M"}})
    )
    (folder / "mine.py").write_text(f"open({str(mark)!r}, 'w')\n")
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_pretrained(folder)
    assert not mark.exists()


def test_a_checkpoint_that_lacks_weights_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    saved(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    lost = [name for name in tensors if name.startswith("pooler.")]
    save_file({name: values for name, values in tensors.items() if name not in lost}, tmp_path / "model.safetensors", {"format": "pt"})
    assert lost
    load_pretrained(tmp_path)  # nobody reads the pooler
    save_file({name: v for name, v in tensors.items() if name != "layernorm.weight"}, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ArtifactError, match=r"lacks weights.*layernorm"):
        load_pretrained(tmp_path)


def test_a_broken_or_empty_checkpoint_is_refused(tmp_path):
    saved(tmp_path)
    weights = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(weights)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"intermediate_size": 25}))
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ArtifactError, match="cannot be loaded"):
        load_pretrained(tmp_path)


def test_a_model_of_text_is_refused(tmp_path):
    config = transformers.BertConfig(**TEXT)
    transformers.BertModel(config).save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPARED))
    with pytest.raises(InputError, match="no model of pictures"):
        load_pretrained(tmp_path)


def test_half_precision_checkpoints_compute_in_float32(tmp_path):
    model_of("vit").half().save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PREPARED))
    assert {p.dtype for p in load_pretrained(tmp_path).parameters()} == {torch.float32}


# ------------------------------------------------------------------------------------------------- hub, extra, quietness


def test_a_name_is_fetched_from_the_hub_as_safetensors_alone(tmp_path, monkeypatch):
    import huggingface_hub

    saved(tmp_path)
    asked = {}

    def fetched(name, allow_patterns):
        asked.update(name=name, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    trunk = load_pretrained("somebody/encoder")
    assert trunk.settings.checkpoint == asked["name"] == "somebody/encoder"
    assert not any(pattern.endswith((".bin", ".py", "*")) for pattern in asked["patterns"])


@pytest.mark.parametrize("error", [OSError("offline"), ValueError("no such name")])
def test_a_name_that_the_hub_does_not_give_is_not_found(error, monkeypatch):
    import huggingface_hub

    def fails(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(NotFound, match=f"no folder somebody/encoder.*{error}"):
        load_pretrained("somebody/encoder")


def test_without_the_extra_the_way_to_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(NotFound, match=r"corkboard\[encoders\]"):
        load_pretrained(tmp_path)


def test_loading_prints_nothing_and_leaves_the_messages_of_others_on(tmp_path, capfd):
    saved(tmp_path, "clip")
    capfd.readouterr()
    before = logging.getLogger("transformers").level
    load_pretrained(tmp_path)
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("transformers").level == before
    assert transformers.utils.logging.is_progress_bar_enabled()
