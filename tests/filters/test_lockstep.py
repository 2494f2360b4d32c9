"""Places in lockstep: what LAPACK gives, and the same bits whatever places stand beside one."""

import math

import numpy as np
import pytest

from ensf.filters.kalman import loops
from ensf.filters.kalman.rational import CLASSES, inverse_root, rule
from ensf.filters.letsf.flow import exponential_step
from ensf.localization import Patches, lockstep
from ensf.localization.information_limit import degrees_of_freedom

STEPS = [(0.0, 1.0), (0.0, 0.6), (0.6, 1.0)]


def problem(members, largest, columns, rng, scale=1.0, places=40, variables=2):
    """Anomalies over ``sqrt(J - 1)``, rows with so many columns beside S, patches of 0 to `largest` observations."""
    rows = scale * rng.standard_normal((60, members + columns)) / math.sqrt(members - 1)
    anomalies = rng.standard_normal((members, variables * places)) / math.sqrt(members - 1)
    count = rng.integers(0, largest + 1, places)
    index = rng.integers(0, 60, count.sum())
    weight = rng.uniform(0.01, 1.0, count.sum())
    numbers = np.arange(variables * places).reshape(places, variables)
    numbers[::3, 1:] = numbers[::3, :1]
    return anomalies, rows, Patches(numbers, np.concatenate([[0], np.cumsum(count)]), index, 1 - weight, weight)


def by_lapack(anomalies, rows, start, end, patches):
    increment, freedom = np.zeros_like(anomalies), np.zeros(anomalies.shape[1])
    places = np.arange(len(patches.variables))
    loops.places(
        anomalies, rows, patches.variables, patches.indptr, patches.index, patches.weight, start, end, places,
        increment, freedom,
    )  # fmt: skip
    return increment, freedom


def alone(patches, place):
    near = slice(patches.indptr[place], patches.indptr[place + 1])
    parts = (part[near] for part in (patches.index, patches.distance, patches.weight))
    numbers = np.arange(patches.variables.shape[1])[None, :] * (patches.variables[place] > patches.variables[place, 0])
    return Patches(numbers, np.array([0, near.stop - near.start]), *parts)


@pytest.mark.parametrize("members, largest", [(2, 1), (2, 6), (3, 4), (9, 5), (9, 40), (20, 30), (41, 60)])
@pytest.mark.parametrize("beside", ["value", "value of each member", "members that have moved"])
def test_lockstep_is_lapack_to_rounding(members, largest, beside, rng):
    columns = {"value": 1, "value of each member": members, "members that have moved": 2 * members}[beside]
    for scale, tolerance in ((1e-6, 1e-12), (1.0, 1e-12), (30.0, 1e-12), (150.0, 1e-10)):
        anomalies, rows, patches = problem(members, largest, columns, rng, scale)
        used = np.unique(patches.variables)
        for start, end in STEPS:
            expected, ours = (step(anomalies, rows, start, end, patches) for step in (by_lapack, exponential_step))
            for one, other in zip(expected, ours, strict=True):
                size = np.abs(one[..., used]).max()
                np.testing.assert_allclose(other[..., used], one[..., used], rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("members, largest", [(3, 4), (9, 5), (9, 30), (20, 30)])
@pytest.mark.parametrize("columns", [1, 9])
def test_a_place_has_the_bits_that_it_has_alone(members, largest, columns, rng):
    columns = 1 if columns == 1 else 2 * members
    anomalies, rows, patches = problem(members, largest, columns, rng, places=21)
    rows *= 10 ** rng.uniform(-2, 1.5, (len(rows), 1))
    spectrum = rows[:, :members].T
    increment, freedom = exponential_step(anomalies, rows, 0.3, 0.9, patches)
    taken = degrees_of_freedom(patches, patches.weight, spectrum)
    for place in range(21):
        own, one = np.unique(patches.variables[place]), alone(patches, place)
        those = exponential_step(np.ascontiguousarray(anomalies[:, own]), rows, 0.3, 0.9, one)
        np.testing.assert_array_equal(those[0], increment[:, own])
        np.testing.assert_array_equal(those[1], freedom[own])
        np.testing.assert_array_equal(degrees_of_freedom(one, one.weight, spectrum)[0], taken[place])


@pytest.mark.parametrize("kappa", CLASSES)
def test_rational_inverse_root(kappa):
    nodes, weights = inverse_root(float(kappa))
    numbers = np.geomspace(1, kappa, 501)
    np.testing.assert_allclose((weights / (numbers[:, None] + nodes)).sum(axis=1) * numbers**0.5, 1, rtol=2e-14)


@pytest.mark.parametrize("start, end", [*STEPS, (0.999, 1.0), (0.0, 1e-3)])
def test_rational_step_keeps_the_digits_of_little_information(start, end):
    shifts, factors, counts = rule(start, end)
    for kappa, shift, factor, count in zip(CLASSES, shifts, factors, counts, strict=True):
        values = np.geomspace(1e-12, kappa - 1, 501)
        before, after = 1 + (1 - start**2) * values, 1 + (1 - end**2) * values
        expected = -(end - start) * (end + start) / (before * (1 + np.sqrt(after / before)))
        rational = (factor[:count] / (values[:, None] + shift[:count])).sum(axis=1)
        np.testing.assert_allclose(rational, expected, rtol=2e-13)


def test_two_threads_give_the_bits_of_one(rng, monkeypatch):
    anomalies, rows, patches = problem(9, 30, 1, rng, places=600)
    limit = rows[:, :9].T
    one = *exponential_step(anomalies, rows, 0.0, 1.0, patches), degrees_of_freedom(patches, patches.weight, limit)
    monkeypatch.setattr(lockstep, "SMALL", 1)
    monkeypatch.setattr("numba.get_num_threads", lambda: 2)
    two = *exponential_step(anomalies, rows, 0.0, 1.0, patches), degrees_of_freedom(patches, patches.weight, limit)
    used = np.unique(patches.variables)
    for first, second in zip(one[:2], two[:2], strict=True):
        np.testing.assert_array_equal(second[..., used], first[..., used])
    np.testing.assert_array_equal(two[2], one[2])
