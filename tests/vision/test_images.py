import numpy as np
import pytest
import torch

from corkboard.errors import InputError
from corkboard.seeds import generator
from corkboard.vision.images import augmented, centre_crop, colour_histogram, raw_pixels, resized, to_tensor


def noise(n, height, width, seed=0):
    return generator(seed, "noise").integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def plain(n, side, colour):
    return np.broadcast_to(np.array(colour, np.uint8), (n, side, side, 3)).copy()


def test_a_tensor_is_normalised_by_channel_and_keeps_its_pixels_in_place():
    images = noise(2, 3, 4)
    tensor = to_tensor(images, (0.1, 0.2, 0.3), (0.5, 0.25, 1.0))
    assert tensor.shape == (2, 3, 3, 4)
    for channel, (mean, std) in enumerate(zip((0.1, 0.2, 0.3), (0.5, 0.25, 1.0), strict=True)):
        np.testing.assert_allclose(tensor[:, channel].numpy(), (images[..., channel] / 255 - mean) / std, atol=1e-5)
    assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert to_tensor(plain(1, 2, (0, 0, 0))).unique().tolist() == [-2.0]


def test_mapped_pictures_are_read_and_never_written(tmp_path):
    images = noise(2, 4, 4)
    np.save(tmp_path / "pictures.npy", images)
    mapped = np.load(tmp_path / "pictures.npy", mmap_mode="r")
    assert torch.equal(to_tensor(mapped), to_tensor(images))
    resized(mapped, 2)
    assert np.array_equal(mapped, images)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((2, 4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((2, 4, 4, 4), np.uint8), np.zeros((1, 0, 4, 3), np.uint8)],
)
def test_other_arrays_are_refused(wrong):
    with pytest.raises(InputError, match="wrong form"):
        to_tensor(wrong)


def test_resizing_by_a_whole_factor_blends_and_a_plain_colour_stays():
    halves = np.zeros((1, 8, 8, 3), np.uint8)
    halves[:, :, 4:] = 200
    small = resized(halves, 2)[0, :, :, 0]
    assert (small[:, 0] < 40).all()
    assert (small[:, 1] > 160).all()
    assert np.array_equal(resized(plain(1, 7, (10, 20, 30)), 3), plain(1, 3, (10, 20, 30)))
    assert np.array_equal(resized(plain(1, 3, (10, 20, 30)), 7), plain(1, 7, (10, 20, 30)))


def test_a_picture_of_that_size_is_itself():
    images = noise(2, 5, 5)
    assert resized(images, 5) is images


def test_a_picture_that_is_no_square_stands_in_the_middle_of_a_white_one():
    wide = np.zeros((2, 4, 8, 3), np.uint8)
    out = resized(wide, 8)
    assert (out[:, [0, 1, 6, 7]] == 255).all()
    assert (out[:, 2:6] == 0).all()
    tall = resized(np.zeros((1, 100, 1, 3), np.uint8), 10)
    assert (tall[0, :, 4] == 0).all()
    assert (tall == 0).sum() == 10 * 3


def test_many_pictures_are_resized_as_each_alone():
    images = noise(300, 6, 9)
    assert np.array_equal(resized(images, 4)[[0, 255, 256, 299]], np.concatenate([resized(images[[i]], 4) for i in (0, 255, 256, 299)]))
    assert resized(images[:0], 4).shape == (0, 4, 4, 3)


def test_the_crop_is_the_middle():
    images = np.arange(36, dtype=np.uint8).reshape(1, 6, 6, 1).repeat(3, axis=3)
    assert centre_crop(images, 2)[0, :, :, 0].tolist() == [[14, 15], [20, 21]]
    with pytest.raises(InputError, match="does not fit"):
        centre_crop(images, 7)


def reference(image, down, right, mirrored, gain):
    height, width, _ = image.shape
    out = np.empty_like(image)
    for y in range(height):
        for x in range(width):
            across = width - 1 - x if mirrored else x
            from_y, from_x = np.clip(y + down, 0, height - 1), np.clip(across + right, 0, width - 1)
            out[y, x] = [min(int(np.float32(v) * np.float32(gain) + np.float32(0.5)), 255) for v in image[from_y, from_x]]
    return out


def test_augmentation_against_a_loop_over_pixels():
    images = noise(6, 5, 7)
    found = augmented(images, generator(3, "step"))
    draw = generator(3, "step")
    down, right = draw.integers(-2, 3, (2, 6, 1))[:, :, 0]
    mirrored, gain = draw.random((6, 1))[:, 0] < 0.5, draw.uniform(0.85, 1.15, (6, 1, 1, 1)).ravel()
    assert set(mirrored) == {True, False}
    for i in range(6):
        assert np.array_equal(found[i], reference(images[i], down[i], right[i], mirrored[i], gain[i]))


def test_augmentation_can_be_nothing_but_a_mirror_and_repeats_itself():
    images = noise(40, 4, 4)
    found = augmented(images, generator(0, "a"), shift=0, brightness=0.0)
    same = np.array([np.array_equal(a, b) for a, b in zip(found, images, strict=True)])
    mirrored = np.array([np.array_equal(a, b[:, ::-1]) for a, b in zip(found, images, strict=True)])
    assert (same ^ mirrored).all()
    assert 8 < mirrored.sum() < 32
    assert np.array_equal(augmented(images, generator(1, "b")), augmented(images, generator(1, "b")))
    assert augmented(images[:0], generator(0, "a")).shape == (0, 4, 4, 3)


def test_a_histogram_is_the_root_of_the_shares_of_its_colours():
    image = np.zeros((1, 2, 2, 3), np.uint8)
    image[0, 0, 0] = (255, 0, 0)
    found = colour_histogram(image, centre=False, levels=2)
    assert found.shape == (1, 8)
    np.testing.assert_allclose(found[0], [np.sqrt(0.75), 0, 0, 0, 0.5, 0, 0, 0], atol=1e-6)


def test_the_centre_is_the_middle_half_of_each_side():
    image = plain(1, 8, (255, 255, 255))
    image[:, 2:6, 2:6] = 0
    assert colour_histogram(image, centre=True, levels=2)[0].tolist() == [1, 0, 0, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(colour_histogram(image, centre=False, levels=2)[0, [0, 7]], np.sqrt([0.25, 0.75]), atol=1e-6)
    assert colour_histogram(plain(3, 1, (1, 2, 3))).shape == (3, 216)


def test_histograms_of_many_have_unit_length_and_are_those_of_each():
    images = noise(260, 6, 6)
    found = colour_histogram(images)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert np.array_equal(found[[0, 259]], np.concatenate([colour_histogram(images[[0]]), colour_histogram(images[[259]])]))


def test_raw_pixels_forget_light_but_not_place():
    dark = noise(1, 8, 8) // 4
    brighter = dark + 40
    first, second = raw_pixels(dark, 8), raw_pixels(brighter, 8)
    assert first.shape == (1, 192)
    np.testing.assert_allclose(first, second, atol=1e-4)
    np.testing.assert_allclose([first.mean(), np.linalg.norm(first)], [0, 1], atol=1e-5)
    assert float((first @ raw_pixels(dark[:, ::-1], 8).T).item()) < 0.5
    assert not raw_pixels(plain(1, 4, (9, 9, 9)), 4).any()
