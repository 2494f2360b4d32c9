"""Normal numbers from a counter: the reference's words, one law, the same bits however they are asked for."""

from __future__ import annotations

import numba
import numpy as np
import pytest
import scipy.stats

from ensf.diffusion import counter_loops
from ensf.diffusion.counted import CountedNormals
from ensf.diffusion.counter import PANEL, panel_normals, threefry

KNOWN = {  # known-answer vectors of Random123 (threefry2x32, 20 rounds): counter, key, words
    (0x00000000, 0x00000000, 0x00000000, 0x00000000): (0x6B200159, 0x99BA4EFE),
    (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF): (0x1CB996FC, 0xBB002BE7),
    (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344): (0xC4923A9C, 0x483DF7A0),
}


@pytest.mark.parametrize(("asked", "words"), KNOWN.items(), ids=["zeros", "ones", "digits"])
def test_words_of_the_reference(asked, words):
    first, second, *key = asked
    twin = threefry(np.array([first], np.uint32), np.array([second], np.uint32), *key)
    assert (int(twin[0][0]), int(twin[1][0])) == words
    compiled = counter_loops.threefry(*(np.uint32(word) for word in asked))
    assert tuple(int(word) for word in compiled) == words


def test_no_draw_has_the_key_of_another():
    rng = CountedNormals(np.random.default_rng(1))
    keys = [key for count in (1, 3, 1, 2) for key in map(tuple, rng.next_keys(count).tolist())]
    assert len(set(keys)) == 7
    one_by_one = CountedNormals(np.random.default_rng(1))
    assert keys == [tuple(one_by_one.next_keys(1)[0].tolist()) for _ in range(7)]


@pytest.mark.parametrize("panel", [0, 7, 2**23 - 1])
@pytest.mark.parametrize("row", [0, 999])
def test_compiled_numbers_have_the_bits_of_the_twin(panel, row):
    work, key = counter_loops.workspace(), (0xDEADBEEF, 0x01234567)
    counter_loops.panel_normals(panel, row, *(np.uint32(word) for word in key), work)
    np.testing.assert_array_equal(work[2], panel_normals(panel, row, *key))


def test_functions_of_the_twin_are_those_of_numpy():
    """Against double precision, over the extremes of the words too."""
    from ensf.diffusion import counter

    words = np.concatenate(
        [np.array([0, 1, 2**30, 2**31, 2**32 - 1]), np.random.default_rng(0).integers(2**32, size=10**5)]
    )
    words = words.astype(np.uint32)
    uniform = ((words >> np.uint32(1)).astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-31)
    assert uniform.min() > 0 and uniform.max() <= 1
    np.testing.assert_allclose(counter._log(uniform), np.log(uniform.astype(float)), rtol=2e-7, atol=1e-12)
    cosine, sine = counter._cosine_and_sine(words)
    angle = words.astype(float) * (2 * np.pi / 2**32)
    np.testing.assert_allclose(cosine, np.cos(angle), atol=1.5e-7)
    np.testing.assert_allclose(sine, np.sin(angle), atol=1.5e-7)


def test_numbers_are_standard_normal_and_independent():
    numbers = CountedNormals(np.random.default_rng(1)).standard_normal((40, 20_000), np.float32).astype(float)
    assert scipy.stats.kstest(numbers.ravel(), "norm").pvalue > 1e-3
    assert abs(scipy.stats.kurtosis(numbers.ravel())) < 0.03
    correlation = np.corrcoef(numbers) - np.eye(40)
    assert np.abs(correlation).max() < 5 / np.sqrt(20_000)
    halves = numbers[:, : 39 * PANEL].reshape(-1, 2, PANEL // 2)
    assert abs(np.mean(halves[:, 0] * halves[:, 1])) < 5 / np.sqrt(halves.size / 2)
    assert abs(np.mean(halves[:, 0] ** 2 * halves[:, 1] ** 2) - 1) < 15 / np.sqrt(halves.size / 2)


def test_a_number_depends_on_draw_row_and_entry_alone():
    """Whatever the dtype, the number of entries and of threads, and what was drawn before."""
    first, second = (CountedNormals(np.random.default_rng(1)) for _ in range(2))
    whole = [first.standard_normal((30, 5000), np.float32) for _ in range(2)]
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        part = [second.standard_normal((3, 700), np.float64) for _ in range(2)]
        again = CountedNormals(np.random.default_rng(1)).standard_normal((30, 5000), np.float32)
    finally:
        numba.set_num_threads(threads)
    for numbers, few in zip(whole, part, strict=True):
        np.testing.assert_array_equal(numbers[:3, :700], few.astype(np.float32))
    np.testing.assert_array_equal(again, whole[0])
    assert not np.array_equal(whole[0], whole[1])


def test_a_stream_moves_its_generator_on():
    rng = np.random.default_rng(3)
    first, second = CountedNormals(rng), CountedNormals(rng)
    assert first.key != second.key
