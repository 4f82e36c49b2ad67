import numpy as np

from corkboard import seeds


def test_the_same_names_give_the_same_stream_and_other_names_another():
    a, b = seeds.generator(7, "walks", "ann"), seeds.generator(7, "walks", "ann")
    assert np.array_equal(a.random(5), b.random(5))
    assert seeds.derive(7, "walks", "ann") != seeds.derive(7, "walks", "bob")
    assert seeds.derive(7, "walks") != seeds.derive(8, "walks")


def test_names_are_kept_apart():
    # "ab" + "c" and "a" + "bc" are different names, so they must be different streams.
    assert seeds.derive(1, "ab", "c") != seeds.derive(1, "a", "bc")


def test_a_seed_fits_in_63_bits():
    assert all(0 <= seeds.derive(s, "x") < 2**63 for s in range(200))
