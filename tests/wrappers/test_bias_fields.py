"""Bias of the model as fields: closed forms, silence under noise, a forcing that is wrong here and right there."""

from __future__ import annotations

from dataclasses import dataclass, replace

import array_api_strict as xp
import numpy as np
import pytest

from ensf.arrays import to_numpy
from ensf.filters import LETKF
from ensf.filters.base import as_part
from ensf.localization import Euclidean, Localization, periodic_line
from ensf.localization.taper import gaspari_cohn
from ensf.models.integrate import rk4
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import Identity, Observation, Select
from ensf.twin import GaussianStart, Network, Streams, twin
from ensf.wrappers import AdaptiveSpread, Rotation
from ensf.wrappers.spread_control.bias import MAX_NOISE
from ensf.wrappers.spread_control.bias_fields import DEAD_ZONE, FIRST_CYCLES, GAIN, LEAK, SCALES, BiasFields, tapers

SIZE = 40
RING = periodic_line(SIZE, 10.0)
PLACES = np.arange(SIZE)[:, None]
EVERYWHERE = tapers(RING.patches(PLACES, PLACES), RING.half_width)
ONES = np.ones(SIZE)
DISTANCE = np.minimum(np.arange(SIZE), SIZE - np.arange(SIZE)).astype(float)
WAVE = np.cos(2 * np.pi * np.arange(SIZE) / SIZE)


def followed(innovations, believed=True, fields=None):
    """Fields after innovations ``(cycle, place)`` of information 1, less what is believed."""
    fields = fields or BiasFields.at_first(SIZE)
    for innovation in innovations:
        slope = innovation - (fields.at(RING, PLACES, PLACES) if believed else 0.0)
        fields = fields.with_shifts(EVERYWHERE, slope, ONES, ONES)
    return fields


def part_left(weight):
    """What a mean with weights by distance ``(place,)`` leaves of a wave around the ring."""
    return weight @ WAVE / weight.sum()


def test_a_wave_of_innovations_is_summed():
    """raw = w a gain (1 - (1 - leak)^n) / leak, noise = (w a gain)^2 (1 - (1 - leak)^2n) / (1 - (1 - leak)^2)."""
    n, kept = 100, 1 - LEAK
    fields = followed(np.full((n, SIZE), 0.7 * WAVE), believed=False)
    left = np.array([part_left(gaspari_cohn(DISTANCE, scale * RING.half_width)) for scale in SCALES])
    shift = 0.7 * left[:, None] * WAVE
    np.testing.assert_allclose(fields.raw, shift * GAIN * (1 - kept**n) / LEAK, atol=1e-12)
    np.testing.assert_allclose(fields.noise, (shift * GAIN) ** 2 * (1 - kept ** (2 * n)) / (1 - kept**2), atol=1e-12)
    beyond = np.abs(fields.raw) - DEAD_ZONE * np.sqrt(fields.noise)
    np.testing.assert_allclose(fields.value, (np.sign(fields.raw) * beyond).sum(axis=0), atol=1e-12)
    assert fields.value[0] > 0.1


def test_what_all_have_in_common_is_left_to_the_number():
    np.testing.assert_allclose(followed(np.full((50, SIZE), 0.7)).raw, 0, atol=1e-12)


def test_a_bias_that_is_believed_leaves_little():
    """At rest raw = w left gain / leak, noise = (w left gain)^2 / (1 - (1 - leak)^2), left = 1 - b at the places."""
    each = np.array([part_left(gaspari_cohn(DISTANCE, scale * RING.half_width)) for scale in SCALES])
    between = part_left(gaspari_cohn(DISTANCE, 2.5) + 1e-3 * gaspari_cohn(DISTANCE, RING.half_width))
    deviation = GAIN / np.sqrt(1 - (1 - LEAK) ** 2)
    left = 1 / (1 + between * each.sum() * (GAIN / LEAK - DEAD_ZONE * deviation))
    shift = left * each[:, None] * WAVE
    resting = BiasFields(shift * GAIN / LEAK, shift**2, (shift * deviation) ** 2, 1 + 0 * shift)
    np.testing.assert_allclose(resting.at(RING, PLACES, PLACES), (1 - left) * WAVE, atol=1e-12)
    after = followed(WAVE[None, :], fields=resting)
    np.testing.assert_allclose(after.raw, resting.raw, atol=1e-12)
    np.testing.assert_allclose(after.noise, resting.noise, atol=1e-12)
    assert left < 0.25


def test_a_shift_is_the_likeliest_of_the_observations_near_by(rng):
    slope, curvature, variance = rng.standard_normal(SIZE), rng.uniform(1, 2, SIZE), rng.uniform(1, 2, SIZE)
    fields = BiasFields.at_first(SIZE).with_shifts(EVERYWHERE, slope, curvature, variance)
    for k, scale in enumerate(SCALES):
        taper = np.stack([gaspari_cohn(np.roll(DISTANCE, i), scale * RING.half_width) for i in range(SIZE)])
        shift = (taper @ slope) / (taper @ curvature) - slope.sum() / curvature.sum()
        np.testing.assert_allclose(fields.raw[k], GAIN * shift)
        np.testing.assert_allclose(fields.square[k], shift**2)
        np.testing.assert_allclose(fields.variance[k], (taper @ variance) / taper.sum(axis=1))


def test_errors_that_are_correlated_in_time_teach_nothing():
    """What was learnt leaks away."""
    fields = followed(np.full((50, SIZE), WAVE), believed=False)
    after = fields.with_shifts(EVERYWHERE, WAVE, ONES, ONES, trust=0.0)
    np.testing.assert_allclose(after.raw, (1 - LEAK) * fields.raw)
    np.testing.assert_allclose(after.noise, (1 - LEAK) ** 2 * fields.noise)


def test_noise_is_no_bias(rng):
    """Within 3 standard deviations at .997 of the knots."""
    silent = []
    for _ in range(3):
        fields = followed(rng.standard_normal((800, SIZE)), believed=False)
        silent.append((np.abs(fields.raw) <= DEAD_ZONE * np.sqrt(fields.noise)).mean())
        assert np.abs(fields.value).max() < 0.05
    assert np.mean(silent) == pytest.approx(0.997, abs=0.01)


def test_noise_that_is_large_beside_the_spread_is_none():
    fields = followed(np.full((50, SIZE), WAVE), believed=False)
    for factor, is_silent in ((0.9, False), (1.1, True)):
        narrow = replace(fields, variance=fields.noise / (factor * MAX_NOISE))
        assert (narrow.value == 0).all() == is_silent


def test_what_sees_nothing_near_a_knot_changes_nothing_there():
    """Observations at 0 to 4, and others that do not count: knots further than about a half-width from them stay."""
    line = Localization(Euclidean(), 4.0)
    knots = np.arange(0.0, 21.0)[:, None]
    near = tapers(line.patches(knots, knots), 4.0)
    slope = np.where(knots[:, 0] <= 4, knots[:, 0] - 1.7, np.nan)
    fields = BiasFields.at_first(len(knots)).with_shifts(near, slope, np.ones(21), np.ones(21))
    assert (fields.raw[:, :5] != 0).all() and (fields.raw[:, 9:] == 0).all() and (fields.square[:, 9:] == -1).all()
    assert np.isfinite(fields.raw).all()
    grown = fields.covering(23)
    assert (grown.raw[:, :21] == fields.raw).all()
    assert (grown.raw[:, 21:] == 0).all() and (grown.square[:, 21:] < 0).all()


def learnt(rng, value, dtype=np.float64):
    """A spread control whose memory has a field of this shape, ``(knot,)``."""
    control = AdaptiveSpread(LETKF(RING), RING, estimate_error=False)
    prior = (5 + rng.standard_normal((12, SIZE))).astype(dtype)
    observation = Observation(prior[0], Identity(), 1.0)
    memory = control.analyse(prior, observation, 1).memory
    field = np.broadcast_to(value(memory.knots[:, 0]), (2, len(memory.knots)))
    fields = BiasFields(field / 2, 0 * field, 0 * field, 1 + 0 * field)
    return control, replace(memory, kinds={"": replace(memory.kinds[""], bias_fields=fields)}), prior, observation


def test_what_is_believed_is_added_to_what_is_observed_only(rng):
    control, memory, prior, _ = learnt(rng, lambda place: 0.5 + 0 * place)
    seen = np.arange(0, 20, 2)
    analysis = control.analyse(prior, Observation(prior[0, seen], Select(seen), 1.0), 2, memory)
    expected = np.zeros(SIZE)
    expected[seen] = 0.5
    np.testing.assert_allclose(analysis.info["correction"], expected)
    part = as_part(prior, PLACES)
    np.testing.assert_allclose(analysis.update.correction.unbiased(part) - prior, expected + 0 * prior, atol=1e-12)


def test_a_kind_that_is_not_there_keeps_its_field(rng):
    control, memory, prior, observation = learnt(rng, lambda place: 0.5 + 0 * place)
    other = replace(observation, kind=np.full(SIZE, "other"))
    analysis = control.analyse(prior, other, 2, memory)
    assert "correction" not in analysis.info
    np.testing.assert_array_equal(analysis.memory.kinds[""].bias_fields.value, memory.kinds[""].bias_fields.value)


@pytest.mark.parametrize(("cycles", "learns"), [(FIRST_CYCLES - 1, False), (FIRST_CYCLES, True)])
def test_the_first_cycles_teach_nothing(rng, cycles, learns):
    control, memory, prior, _ = learnt(rng, lambda place: 0 * place)
    kind = memory.kinds[""]
    memory = replace(memory, kinds={"": replace(kind, bias=replace(kind.bias, cycles=cycles))})
    observation = Observation(prior.mean(axis=0) + 0.5 * WAVE, Identity(), 1.0)
    after = control.analyse(prior, observation, 2, memory).memory.kinds[""].bias_fields
    assert after.raw.any() == learns


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_parts_equal_the_whole(rng, dtype):
    control, memory, prior, observation = learnt(rng, lambda place: np.sin(2 * np.pi * place / SIZE), dtype)
    analysis = control.analyse(prior, observation, 2, memory, PLACES)
    assert analysis.ensemble.dtype == dtype and analysis.info["correction"].any()
    for entries in ([3], [7, 2, 30], np.arange(SIZE)[::-1]):
        part = analysis.update.near(PLACES[entries]).apply(prior[:, entries], PLACES[entries], np.asarray(entries))
        np.testing.assert_array_equal(part, analysis.ensemble[:, entries])


def test_other_arrays_learn_the_same(rng):
    control, memory, prior, observation = learnt(rng, lambda place: np.sin(2 * np.pi * place / SIZE))
    memory = replace(memory, last=None)
    names = "local", "local_information", "freedom"
    elsewhere = replace(memory, **{name: xp.asarray(getattr(memory, name)) for name in names})
    here = control.analyse(prior, observation, 2, memory)
    seen = Observation(xp.asarray(observation.value), Identity(), 1.0)
    there = control.analyse(xp.asarray(prior), seen, 2, elsewhere)
    np.testing.assert_allclose(to_numpy(there.ensemble), here.ensemble, rtol=1e-9)
    mine, its = (one.memory.kinds[""].bias_fields for one in (here, there))
    np.testing.assert_allclose(its.raw, mine.raw, rtol=1e-9, atol=1e-12)


@dataclass(frozen=True)
class Wavy(Lorenz96):
    """Driven by F + 1.5 sin of the place."""

    def tendency(self, states):
        return super().tendency(states) + 1.5 * np.sin(2 * np.pi * np.arange(self.size) / self.size)

    def advance(self, states, time, duration, rng=None):
        return rk4(self.tendency, states, self.dt, round(duration / self.dt))


def test_a_forcing_that_is_wrong_here_and_right_there_is_found():
    """Where more drives the truth, more is added; in a calm model nothing is."""
    size, line, start = 20, periodic_line(20, 5.0), GaussianStart(np.full(20, 2.0), 1.0)
    wave, found = np.sin(2 * np.pi * np.arange(size) / size), {}
    for truth in (Lorenz96(size), Wavy(size)):
        run = twin(
            Lorenz96(size), AdaptiveSpread(Rotation(LETKF(line)), line), Network(Identity(), 0.5), start,
            members=12, cycles=200, interval=0.05, streams=Streams.spawn(2), truth_model=truth,
        )  # fmt: skip
        *_, last = run
        found[type(truth)] = last.analysis.info.get("correction", 0 * wave)
    assert np.abs(found[Lorenz96]).max() < 0.02
    assert found[Wavy] @ wave / (wave @ wave) == pytest.approx(1.5 * 0.05, abs=0.04)
