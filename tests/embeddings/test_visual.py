from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from corkboard.artifacts import load_artifact, write_artifact
from corkboard.embeddings.config import VisualConfig
from corkboard.embeddings.visual import VisualEncoder, VisualTask, int8_of, output_widths, pack_bits
from corkboard.errors import ArtifactError, InputError
from corkboard.vision.config import TrunkConfig
from corkboard.vision.trunk import build_trunk

SIDE, WIDTH = 16, 32
TRUNK = TrunkConfig(side=SIDE, width=0.25)
FEATURES = np.random.default_rng(1).random((200, WIDTH), np.float32)  # never negative, as after a ReLU


def encoder(config: VisualConfig, width: int = WIDTH, seed: int = 0) -> VisualEncoder:
    widths = output_widths(config)
    draw = np.random.default_rng(seed)
    weights = {f"output{i}": draw.standard_normal((width, dim)) for i, dim in enumerate(widths[-1:] if config.nested else widths)}
    return VisualEncoder(config, build_trunk(TRUNK, seed), weights)


# ------------------------------------------------------------------------------------------------------------------ codes


def test_bits_by_hand() -> None:
    values = np.array([[0.5, -1.0, 0.0, 2.0, -0.1, -0.1, -0.1, 1e-9], [-1, -1, -1, -1, -1, -1, -1, 3.0]])
    assert pack_bits(values).tolist() == [[0b10010001], [0b00000001]]  # 0 is not above 0
    with pytest.raises(InputError, match="whole bytes"):
        pack_bits(np.ones((2, 12)))


VALUES = arrays.arrays(np.float32, (3, 24), elements=st.floats(-10, 10, width=32))


@given(VALUES, st.floats(1e-3, 1e3))
def test_packed_bits_unpack_to_the_signs_whatever_the_length(values: np.ndarray, length: float) -> None:
    codes = pack_bits(values)
    assert codes.shape == (3, 3)
    assert np.array_equal(np.unpackbits(codes, axis=1).astype(bool), values > 0)
    assert np.array_equal(pack_bits(values.astype(np.float64) * length), codes)


@given(VALUES)
def test_hamming_distance_is_the_popcount_of_xor(values: np.ndarray) -> None:
    codes, signs = pack_bits(values), values > 0
    for i in range(3):
        for j in range(3):
            assert np.bitwise_count(codes[i] ^ codes[j]).sum() == (signs[i] != signs[j]).sum()


@given(arrays.arrays(np.float32, (4, 6), elements=st.floats(-5, 5, width=32, allow_subnormal=False)))
def test_eight_bits_are_within_half_a_scale(vectors: np.ndarray) -> None:
    small, scale = int8_of(vectors)
    assert small.dtype == np.int8
    assert (np.abs(small * scale[:, None].astype(np.float64) - vectors) <= scale[:, None] * (0.5 + 1e-5)).all()
    assert (np.abs(small).max(axis=1) == 127)[vectors.any(axis=1)].all()
    assert not small[~vectors.any(axis=1)].any()


def test_eight_bits_keep_the_order_of_inner_products() -> None:
    vectors = encoder(VisualConfig()).vectors_of(FEATURES)
    small, scale = int8_of(vectors)
    query = vectors[0]
    approximate, exact = (small.astype(np.float32) @ query) * scale, vectors @ query
    assert np.abs(approximate - exact).max() < 0.005
    assert np.argmax(approximate) == 0
    assert int8_of(np.zeros((0, 4)))[0].shape == (0, 4)


# ---------------------------------------------------------------------------------------------------------------- outputs


def test_outputs_by_hand() -> None:
    config = VisualConfig(dim=8, code_bits=8)
    weights = np.zeros((2, 8), np.float32)
    weights[:, 0], weights[:, 1] = (1, 0), (0, 2)
    made = VisualEncoder(config, build_trunk(TRUNK, 0), {"output0": weights})
    # features (1, 5): mean 3, deviation 2 -> (-1, 1) -> z = (-1, 2, 0 ...) -> length sqrt(5)
    vector = made.vectors_of(np.array([[1.0, 5.0]]))[0]
    assert vector[:2] == pytest.approx([-1 / 5**0.5, 2 / 5**0.5], abs=1e-5)
    assert made.codes_of(np.array([[1.0, 5.0]])).tolist() == [[0b01000000]]


def test_without_a_layer_norm_outputs_are_a_matrix_product() -> None:
    made = encoder(VisualConfig(dim=16, code_bits=16, layer_norm=False))
    assert np.allclose(made.outputs(FEATURES)[0], FEATURES @ made.weights["output0"])
    after = encoder(VisualConfig(dim=16, code_bits=16, layer_norm=False, layer_norm_after=True)).outputs(FEATURES)[0]
    assert np.allclose(after.mean(axis=1), 0, atol=1e-5)
    assert np.allclose(after.std(axis=1), 1, atol=1e-3)


def test_vectors_and_codes_have_outputs_of_their_own_or_share_one() -> None:
    apart, nested, one = (encoder(VisualConfig(dim=16, code_bits=bits, nested=n)) for bits, n in ((64, False), (64, True), (16, False)))
    for made in (apart, nested, one):
        vectors, codes = made.vectors_of(FEATURES), made.codes_of(FEATURES)
        assert vectors.shape == (200, 16)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
        assert codes.shape == (200, made.bits // 8)
        begins_alike = np.array_equal(np.unpackbits(codes, axis=1)[:, :16].astype(bool), vectors > 0)
        assert begins_alike == (made is not apart)


@pytest.mark.parametrize("bits", [256, 512, 1024])
def test_codes_of_every_width(bits: int) -> None:
    codes = encoder(VisualConfig(code_bits=bits)).codes_of(FEATURES)
    assert codes.shape == (200, bits // 8)
    assert np.unpackbits(codes, axis=1).mean() == pytest.approx(0.5, abs=0.05)


def test_centred_features_set_half_of_the_bits_and_others_all() -> None:
    """Features that are never negative, served as they are: without a layer norm every bit is constant."""
    served = {
        norm: VisualEncoder(VisualConfig(dim=WIDTH, code_bits=WIDTH, layer_norm=norm), build_trunk(TRUNK, 0), {}) for norm in (True, False)
    }
    bits = {norm: np.unpackbits(made.codes_of(FEATURES), axis=1) for norm, made in served.items()}
    assert bits[False].all()
    assert bits[True].mean(axis=1).min() > 0.25
    assert bits[True].mean(axis=0) == pytest.approx(np.full(WIDTH, 0.5), abs=0.2)


# --------------------------------------------------------------------------------------------------------------- pictures


def pictures(n: int, side: int = SIDE) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def test_pictures_of_any_size_and_number() -> None:
    made = encoder(VisualConfig(dim=16, code_bits=64))
    assert (made.dim, made.bits, made.side) == (16, 64, SIDE)
    seen = pictures(300)
    vectors = made.encode(seen)
    assert np.allclose(vectors[7], made.encode(seen[7:8])[0], atol=1e-5)  # no other picture of a call matters
    assert np.array_equal(vectors, made.vectors_of(made.features(seen)))
    assert np.array_equal(made.codes(seen), made.codes_of(made.features(seen)))
    assert made.encode(pictures(2, 24)).shape == (2, 16)
    assert made.encode(seen[:0]).shape == (0, 16)
    assert made.codes(seen[:0]).shape == (0, 8)


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_an_artifact_holds_all_of_it(tmp_path: Path, kind: str) -> None:
    trunk = build_trunk(TrunkConfig(kind=kind, side=SIDE, patch=8, width=0.25, dim=16, heads=2, layers=1), 3)
    trunk.train()(trunk.pixels(pictures(8)))  # batch norms that have seen something
    config = VisualConfig(dim=16, code_bits=64, nested=True)
    made = VisualEncoder(config, trunk, {"output0": np.random.default_rng(0).standard_normal((trunk.dim, 64))})
    written = write_artifact(tmp_path, "visual", "1", tensors=made.tensors(), config=made.config, makes=[made.space])
    read = VisualEncoder.from_artifact(load_artifact(written.path))
    assert (read.space, read.code_space, read.settings) == (made.space, made.code_space, made.settings)
    assert np.array_equal(read.encode(pictures(5)), made.encode(pictures(5)))
    assert np.array_equal(read.codes(pictures(5)), made.codes(pictures(5)))
    other = write_artifact(tmp_path, "visual", "2", config={"kind": "content"})
    with pytest.raises(ArtifactError, match="no visual encoder"):
        VisualEncoder.from_artifact(other)


def test_a_space_is_named_after_all_weights_and_what_shapes_outputs() -> None:
    config = VisualConfig(dim=16, code_bits=16)
    first = encoder(config)
    assert first.space == encoder(config.model_copy(update={"temperature": 0.1})).space  # said by the weights
    others = [
        encoder(config, seed=1),
        VisualEncoder(config, build_trunk(TRUNK, 5), first.weights),
        VisualEncoder(config.model_copy(update={"layer_norm": False}), first.trunk, first.weights),
        VisualEncoder(config, first.trunk, {"output0": -first.weights["output0"]}),
    ]
    assert len({first.space, *(other.space for other in others)}) == 5
    assert first.space.name == "visual"
    assert first.code_space.name == "visual_codes"
    assert first.code_space.version == first.space.version


# ------------------------------------------------------------------------------------------------------------------ tasks


def test_tasks_may_be_narrowed_and_shuffled() -> None:
    task = VisualTask("shop", np.arange(90), np.arange(90) // 3, np.arange(90) % 3)
    catalogue = task.of_domains((0,))
    assert catalogue.images.tolist() == list(range(0, 90, 3))
    assert catalogue.classes.tolist() == list(range(30))
    shuffled = task.shuffled(1)
    assert np.array_equal(shuffled.images, task.images)
    assert np.array_equal(np.sort(shuffled.classes), task.classes)  # as many pictures a class as before
    assert (shuffled.classes == task.classes).mean() < 0.2
    assert np.array_equal(shuffled.classes, task.shuffled(1).classes)
    with pytest.raises(InputError, match="a class and a domain each"):
        VisualTask("shop", np.arange(3), np.arange(2), np.arange(3))
    with pytest.raises(InputError, match="a class and a domain each"):
        task.of_domains(())


def test_importing_it_loads_no_torch() -> None:
    program = "import sys, corkboard.embeddings.visual; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
