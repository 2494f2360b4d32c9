"""Namespaces, transfers and random streams."""

from __future__ import annotations

import array_api_compat.numpy
import array_api_strict
import numpy as np
import pytest

from ensf.arrays import (
    add_scaled_noise,
    centred,
    fft,
    is_host,
    like,
    member_mean,
    member_variance,
    namespace,
    normal,
    stream,
    to_numpy,
)


def test_namespace_is_the_one_of_the_arrays(backend):
    assert namespace(backend.array([1.0]), backend.array([2.0])) is backend.xp


def test_namespaces_do_not_mix():
    with pytest.raises(TypeError):
        namespace(np.ones(1), array_api_strict.ones(1))


def test_host_arrays_are_numpy_arrays(backend):
    assert is_host(backend.array([1.0])) == (backend.xp is array_api_compat.numpy)


def test_transfer_there_and_back(backend, rng):
    values = rng.standard_normal((3, 2)).astype(backend.dtype)
    there = like(values, backend.array([0.0]))
    assert backend.owns(there)
    np.testing.assert_array_equal(to_numpy(there), values)


def test_like_casts_floats_and_keeps_integers(backend):
    target = backend.array([0.0])
    assert backend.owns(like(np.ones(2, np.float64), target))
    index = like(np.arange(3), target)
    assert namespace(target).isdtype(index.dtype, "integral")


def test_normal_has_the_dtype_and_device_of_its_example(backend, rng):
    draw = normal(rng, (50, 40), backend.array([0.0]))
    assert backend.owns(draw) and draw.shape == (50, 40)
    values = to_numpy(draw)
    assert abs(values.mean()) < 5 / np.sqrt(2000) and abs(values.var() - 1) < 5 * np.sqrt(2 / 2000)


def test_host_streams_are_handed_through(rng):
    assert stream(rng, np.ones(1)) is rng


@pytest.mark.parametrize("generator", [np.random.PCG64, np.random.SFC64, np.random.Philox])
@pytest.mark.parametrize("shape", [(7,), (20, 51)])
def test_compiled_noise_is_numpys_stream_bit_for_bit(generator, shape):
    compiled, plain = (np.random.Generator(generator(5)) for _ in range(2))
    mean = np.random.default_rng(0).standard_normal(shape)
    expected = mean + 0.3 * plain.standard_normal(shape)
    np.testing.assert_array_equal(add_scaled_noise(mean.copy(), 0.3, compiled), expected)
    assert compiled.random() == plain.random()


def test_noise_in_another_memory_order_is_the_same_noise():
    mean = np.random.default_rng(0).standard_normal((6, 5))
    rows = add_scaled_noise(mean.copy(), 0.3, np.random.default_rng(5))
    columns = add_scaled_noise(np.asfortranarray(mean), 0.3, np.random.default_rng(5))
    np.testing.assert_array_equal(rows, columns)


def test_scaled_noise_keeps_dtype_and_has_its_scale(backend, rng):
    noisy = add_scaled_noise(backend.array(np.full((100, 50), 3.0)), 0.5, rng)
    assert backend.owns(noisy)
    values = to_numpy(noisy).astype(float)
    assert abs(values.mean() - 3) < 5 * 0.5 / np.sqrt(5000)
    assert abs(values.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * 5000)


def test_fft_keeps_dtype_and_inverts(backend, rng):
    values = backend.array(rng.standard_normal((2, 8)))
    back = fft(values).irfft(fft(values).rfft(values), n=8)
    assert backend.owns(back)
    np.testing.assert_allclose(to_numpy(back), to_numpy(values), atol=backend.tolerance)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("moment", [member_mean, member_variance, centred])
def test_moments_of_an_entry_have_its_bits_alone_and_in_any_order_of_memory(moment, dtype, rng):
    """NumPy adds one column, and columns that lie in memory one by one, in pairs."""
    members = (280 + rng.standard_normal((300, 40))).astype(dtype)
    whole = moment(members)
    alone = [moment(members[:, k : k + 1]) for k in range(40)]
    np.testing.assert_array_equal(np.concatenate(alone, axis=-1), whole)
    np.testing.assert_array_equal(moment(np.asfortranarray(members)), whole)
