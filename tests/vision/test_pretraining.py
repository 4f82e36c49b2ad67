import numpy as np
import pytest
import scipy.sparse as sp
import torch

from corkboard.errors import InputError, LeakError
from corkboard.learning.config import TrainingConfig
from corkboard.vision.cnn import ConvTrunk
from corkboard.vision.config import LabelClusterConfig, PhraseConfig, PretrainingConfig, TrunkConfig, WeakPretrainingConfig
from corkboard.vision.encoder import TrunkEncoder
from corkboard.vision.label_quality import LabelTruth
from corkboard.vision.pretraining import ClassSampler, plain_vectors, pretrain, refined, weak_classes, weakly_supervised
from corkboard.vision.weak_labels import Bags, WeakLabels

COLOURS = np.array([[220, 40, 40], [40, 200, 60], [50, 80, 220], [230, 210, 40]])
WORDS = (("red", "crimson"), ("green", "emerald"), ("blue", "navy"), ("yellow", "gold"))
SIDE = 16


def squares(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 images of coloured squares somewhere on grey noise, and the row of each colour."""
    rng = np.random.default_rng(seed)
    colour = rng.integers(0, 4, count)
    images = rng.integers(90, 150, (count, SIDE, SIDE, 3)).astype(np.uint8)
    for image, row in zip(images, colour.tolist(), strict=True):
        top, left = rng.integers(0, SIDE - 9, 2)
        image[top : top + 9, left : left + 9] = np.clip(COLOURS[row] + rng.integers(-25, 25, 3), 0, 255)
    return images, colour


def said_of(colour: np.ndarray, wrong: float = 0.3, seed: int = 1) -> Bags:
    """Titles with a word of the colour, a share of them of another colour, and words that mean nothing."""
    rng = np.random.default_rng(seed)
    told = np.where(rng.random(len(colour)) < wrong, (colour + rng.integers(1, 4, len(colour))) % 4, colour)
    words = [WORDS[row][int(rng.random() < 0.3)] for row in told.tolist()]
    noise = rng.choice(["lovely", "2019", "acme", "sale"], len(colour))
    texts = [f"{extra}: {word}" for extra, word in zip(noise, words, strict=True)]
    return Bags(np.arange(len(colour)), texts, np.zeros(len(colour), np.int8), np.arange(len(colour)))


def truth_of(colour: np.ndarray) -> LabelTruth:
    meanings = {word: f"colour:{row}" for row, words in enumerate(WORDS) for word in words}
    return LabelTruth(meanings, {f"colour:{row}": colour == row for row in range(4)})


def build(seed: int) -> ConvTrunk:
    torch.manual_seed(seed)
    return ConvTrunk(TrunkConfig(side=SIDE, width=0.5))


def config(steps: int = 60, refine: bool = True, **phrases) -> WeakPretrainingConfig:
    return WeakPretrainingConfig(
        phrases=PhraseConfig(min_products=10, dropped_share=0.0, **phrases),
        classes=LabelClusterConfig(clusters=4, min_images=10, image_weight=4.0),
        pretraining=PretrainingConfig(batch=48, training=TrainingConfig(steps=steps, learning_rate=3e-3, warmup_steps=5)),
        refine=refine,
    )


def labels(dense: list[list[float]]) -> WeakLabels:
    scores = np.array(dense, np.float32)
    return WeakLabels(sp.csr_array(scores), tuple({f"label {n}": int((column > 0).sum())} for n, column in enumerate(scores.T)))


# ----------------------------------------------------------------------------------------------------------- the whole of it


@pytest.fixture(scope="module")
def noisy():
    """A run on 600 squares, 30 % of which have a wrong word; the last 100 are held out."""
    images, colour = squares(600)
    held_out = np.arange(600) >= 500
    return (
        images,
        colour,
        held_out,
        weakly_supervised(images, said_of(colour), build, config(), 0, held_out=held_out, truth=truth_of(colour)),
    )


def test_labels_get_cleaner_step_by_step(noisy):
    steps = {step.step: step for step in noisy[3].report.steps}
    assert list(steps) == ["phrases", "best phrases", "coherent", "classes", "refined"]
    assert steps["phrases"].precision < 0.45  # half of the phrases mean nothing, and a third of the rest is wrong
    assert 0.6 < steps["coherent"].precision < 0.8  # what means nothing is gone
    assert steps["coherent"].labels == 8
    assert steps["classes"].labels == 4  # two words each
    assert steps["classes"].precision == pytest.approx(steps["coherent"].precision)
    assert steps["refined"].precision > 0.9
    assert steps["refined"].recall > steps["classes"].recall - 0.1
    assert steps["refined"].images < steps["classes"].images  # images whose only label was wrong have none now


def test_the_trunk_knows_colours_that_it_was_never_told_of(noisy):
    images, colour, held_out, found = noisy
    meaning = np.array([next(row for row in range(4) if f"{WORDS[row][0]}" in members) for members in found.labels.members])
    predicted = meaning[found.model.posterior(images[held_out]).argmax(axis=1)]
    assert (predicted == colour[held_out]).mean() > 0.9


def test_what_is_held_out_is_in_no_label_and_changes_nothing(noisy):
    images, colour, held_out, found = noisy
    assert not found.labels.labelled[held_out].any()
    said, other = said_of(colour), images.copy()
    other[held_out] = 255 - other[held_out]
    texts = [text if row < 500 else "lovely: red. nonsense" for row, text in enumerate(said.texts)]
    few = config(steps=3)
    vectors = plain_vectors(images)
    runs = [
        weakly_supervised(
            pictures, Bags(said.images, words, said.sources, said.products), build, few, 0, vectors=vectors, held_out=held_out
        )
        for pictures, words in ((images, said.texts), (other, texts))
    ]
    assert runs[0].labels.members == runs[1].labels.members
    for one, two in zip(runs[0].trunk.state_dict().values(), runs[1].trunk.state_dict().values(), strict=True):
        assert torch.equal(one, two)


def test_images_that_are_held_out_must_not_have_labels():
    images, _ = squares(3)
    with pytest.raises(LeakError, match="held out"):
        pretrain(images, labels([[1], [1], [0]]), build(0), PretrainingConfig(), 0, held_out=np.array([0, 1, 0], bool))


def test_switches_leave_their_steps_out():
    images, colour = squares(200)
    said, vectors = said_of(colour), plain_vectors(images)
    plain = config(steps=2, refine=False, visual_filter=False)
    found = weakly_supervised(images, said, build, plain, 0)
    assert [step.step for step in found.report.steps] == ["phrases", "best phrases", "classes"]
    assert len(found.results) == 1
    raw = plain.model_copy(update={"classes": LabelClusterConfig(cluster=False, min_images=10)})
    assert {"lovely", "acme", "sale", "2019", "red"} <= set(weak_classes(said, vectors, raw, 0).names)


def test_arrays_that_do_not_fit_are_refused():
    images, colour = squares(30)
    with pytest.raises(InputError, match="row of text"):
        weakly_supervised(images[:-1], said_of(colour), build, config(), 0)
    with pytest.raises(InputError, match="row of vector"):
        weakly_supervised(images, said_of(colour), build, config(), 0, vectors=np.ones((3, 2), np.float32))
    with pytest.raises(InputError, match="row of labels"):
        pretrain(images, labels([[1]]), build(0), PretrainingConfig(), 0)


# ---------------------------------------------------------------------------------------------------------------- sampling


@pytest.mark.parametrize(("q", "shares"), [(1.0, [0.9, 0.1]), (0.5, [0.75, 0.25]), (0.0, [0.5, 0.5])])
def test_q_sets_the_chances_of_classes(q, shares):
    dense = np.zeros((100, 2))
    dense[:90, 0], dense[90:, 1] = 1, 1
    sampler = ClassSampler(labels(dense.tolist()), q)
    assert sampler.chances.tolist() == pytest.approx(shares)
    rows, classes = sampler.draw(20_000, np.random.default_rng(0))
    assert np.bincount(classes) / 20_000 == pytest.approx(shares, abs=0.015)
    assert (dense[rows, classes] == 1).all()


def test_within_a_class_images_are_drawn_by_score():
    dense = [[1.0, 0.2], [3.0, 0], [0, 0.6], [0, 0]]
    rows, classes = ClassSampler(labels(dense), 0.0).draw(40_000, np.random.default_rng(0))
    for column, wanted in ((0, [0.25, 0.75, 0, 0]), (1, [0.25, 0, 0.75, 0])):
        assert np.bincount(rows[classes == column], minlength=4) / (classes == column).sum() == pytest.approx(wanted, abs=0.015)


def test_a_class_without_images_is_never_drawn_and_none_at_all_is_refused():
    _, classes = ClassSampler(labels([[1.0, 0.0], [1.0, 0.0]]), 0.0).draw(50, np.random.default_rng(0))
    assert set(classes.tolist()) == {0}
    with pytest.raises(InputError, match="no image has a label"):
        ClassSampler(labels([[0.0], [0.0]]), 0.5)


# -------------------------------------------------------------------------------------------------------------- refinement


def test_refinement_multiplies_by_the_posterior_over_the_upper_quartile_with_a_floor():
    carried = labels([[0.5, 0.4], [0.5, 0.0], [0.5, 0.0], [0.5, 0.0], [0.5, 0.0]])
    posterior = np.array([[0.8, 0.1], [0.4, 0.9], [0.2, 0.9], [0.01, 0.9], [0.1, 0.9]])
    # upper quartile of label 0: 0.4; label 1 is carried once and is its own measure, however small
    found = refined(carried, posterior, floor=0.1, k=10, threshold=0.0).scores.toarray()
    assert found.tolist() == [pytest.approx(row) for row in ([0.5, 0.4], [0.5, 0], [0.25, 0], [0.05, 0], [0.125, 0])]
    dropped = refined(carried, posterior, floor=0.1, k=1, threshold=0.1)
    assert dropped.scores.toarray().tolist() == [pytest.approx(row) for row in ([0.5, 0], [0.5, 0], [0.25, 0], [0, 0], [0.125, 0])]
    assert len(dropped.members) == 2


def test_refinement_never_empties_a_rare_label():
    rng = np.random.default_rng(0)
    dense = (rng.random((200, 10)) < 0.05 * np.arange(1, 11)).astype(float) * 0.25
    posterior = rng.dirichlet(np.arange(1, 11) ** 3, 200)  # sure of the frequent, and of the first nearly never
    found = refined(labels(dense.tolist()), posterior, floor=0.1, k=10, threshold=0.1)
    assert (found.counts >= 0.24 * (dense > 0).sum(axis=0)).all()


# ---------------------------------------------------------------------------------------------------------------- training


def test_a_run_that_was_interrupted_ends_as_one_that_was_not(tmp_path):
    images, colour = squares(80)
    carried = labels(np.eye(4)[colour].tolist())
    whole = PretrainingConfig(batch=16, training=TrainingConfig(steps=6, warmup_steps=2, checkpoint_every=3))

    class Enough(Exception):
        pass

    def stop(progress):
        if progress.step == 4:
            raise Enough

    file = tmp_path / "run.safetensors"
    with pytest.raises(Enough):
        pretrain(images, carried, build(0), whole, 0, progress=stop, checkpoint=file)
    resumed, result = pretrain(images, carried, build(5), whole, 0, checkpoint=file)
    straight, _ = pretrain(images, carried, build(0), whole, 0)
    assert len(result.losses) == 6
    for name, value in straight.state_dict().items():
        assert torch.allclose(value, resumed.state_dict()[name], atol=1e-6), name


def test_plain_vectors_tell_colours_apart():
    images, colour = squares(200)
    vectors = plain_vectors(images)
    cosines = vectors @ vectors.T
    same = colour[:, None] == colour[None, :]
    assert cosines[same].mean() > cosines[~same].mean() + 0.1


def test_a_pretrained_trunk_is_an_encoder(noisy):
    images, _, _, found = noisy
    vectors = TrunkEncoder(found.trunk).encode(images[:50])
    assert vectors.shape == (50, found.trunk.dim)
    assert np.isfinite(vectors).all()
