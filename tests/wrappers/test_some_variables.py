"""Corrections of some variables, and noise from a catalogue: their formulas, by parts, in Datasets; what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from ensf import (
    ETKF,
    LETKF,
    RTPP,
    RTPS,
    AdditiveNoise,
    AnalysisInflation,
    AugmentedState,
    Copula,
    ForecastInflation,
    Observation,
    OnlyVariables,
    Parameter,
    Rotation,
    Select,
    periodic_line,
)
from ensf.dataset import Problem

SIZE, MEMBERS = 12, 10
LINE = periodic_line(SIZE, 2.5)
SEEN = Observation(np.array([0.5, -0.2, 1.0]), Select((0, 4, 9)), 0.5)
CORRECTIONS = [AnalysisInflation(LETKF(LINE), 1.2), RTPS(LETKF(LINE), 0.5), RTPP(ETKF(), 0.5)]


@pytest.fixture
def prior(rng):
    return rng.standard_normal((MEMBERS, SIZE))


@pytest.mark.parametrize("correction", CORRECTIONS, ids=lambda one: type(one).__name__)
def test_some_variables_are_corrected_and_the_others_are_the_filters(correction, prior, rng):
    method, some = OnlyVariables(correction, (0, 3, 9)), [0, 3, 9]
    analysis = method.analyse(prior, SEEN, 1)
    expected = correction.filter.analyse(prior, SEEN, 1).ensemble.copy()
    expected[:, some] = correction.analyse(prior, SEEN, 1).ensemble[:, some]
    np.testing.assert_array_equal(analysis.ensemble, expected)
    positions = np.arange(float(SIZE))[:, None]
    for entries in np.split(rng.permutation(SIZE), [1, 5]):
        part = analysis.update.near(positions[entries]).apply(prior[:, entries], positions[entries], entries)
        np.testing.assert_array_equal(part, expected[:, entries])
    for other in ({"inflate": False}, {"field": "soil"}):
        uncorrected = analysis.update.apply(prior, positions, **other)
        np.testing.assert_array_equal(uncorrected, correction.filter.analyse(prior, SEEN, 1).ensemble)


def test_variables_of_a_dataset_have_names(prior):
    fields = {"t": (("realization", "x"), prior[:, :6]), "q": (("realization", "x"), prior[:, 6:])}
    dataset = xr.Dataset(fields, {"x": ("x", np.arange(6.0), {"axis": "X"})})

    def analysed(method):
        return Problem.of(dataset, SEEN, method).analyse(1).ensemble

    inflated, plain = analysed(AnalysisInflation(ETKF(), 1.2)), analysed(ETKF())
    some = analysed(OnlyVariables(AnalysisInflation(ETKF(), 1.2), ("q",)))
    np.testing.assert_array_equal(some, np.concatenate([plain[:, :6], inflated[:, 6:]], axis=1))
    with pytest.raises(ValueError, match="names 'q' but the variables of an array have no names"):
        OnlyVariables(AnalysisInflation(ETKF(), 1.2), ("q",)).analyse(prior, SEEN, 1)


@pytest.mark.parametrize("inner", [LETKF(LINE), Copula(LETKF(LINE))], ids=["LETKF", "Copula"])
def test_noise_keeps_the_mean_and_adds_its_covariance(inner, prior, rng):
    catalogue = rng.standard_normal((30, SIZE)) * np.linspace(0.5, 1.5, SIZE)
    method, plain = AdditiveNoise(inner, catalogue, 0.4), inner.analyse(prior, SEEN, 1).ensemble
    seeds = range(2 if isinstance(inner, Copula) else 150)
    noise = [method.analyse(prior, SEEN, np.random.default_rng(seed)).ensemble - plain for seed in seeds]
    np.testing.assert_allclose(np.mean(noise, axis=1), 0, atol=1e-12)
    if len(noise) > 2:
        covariance = np.mean([np.cov(one.T) for one in noise], axis=0)
        np.testing.assert_allclose(covariance, 0.16 * np.cov(catalogue.T), atol=0.03)


def test_noise_has_the_same_bits_by_parts_and_not_for_earlier_states_or_parameters(prior, rng):
    catalogue = rng.standard_normal((4, SIZE))
    analysis = AdditiveNoise(LETKF(LINE), catalogue, 0.4).analyse(prior, SEEN, 3)
    positions = np.arange(float(SIZE))[:, None]
    for entries in np.split(rng.permutation(SIZE), [1, 5]):
        part = analysis.update.near(positions[entries]).apply(prior[:, entries], positions[entries], entries)
        np.testing.assert_array_equal(part, analysis.ensemble[:, entries])
    plain = LETKF(LINE).analyse(prior, SEEN, 3)
    np.testing.assert_array_equal(analysis.update.apply(prior, positions, inflate=False), plain.ensemble)
    np.testing.assert_array_equal(analysis.update.apply(prior[:, :1]), plain.update.apply(prior[:, :1]))
    joint = AugmentedState(AdditiveNoise(LETKF(LINE), catalogue, 0.4), (Parameter(),))
    augmented = joint.analyse(np.column_stack([prior, prior[:, 0]]), SEEN, 3).ensemble
    np.testing.assert_array_equal(augmented[:, :SIZE], analysis.ensemble)


def test_what_does_not_fit_is_refused_in_a_sentence(prior):
    with pytest.raises(ValueError, match="give AnalysisInflation, RTPS or RTPP around a filter that is Preparable"):
        OnlyVariables(ForecastInflation(ETKF(), 1.1), ("t",))
    with pytest.raises(ValueError, match="around a filter that is Preparable"):
        OnlyVariables(RTPS(Copula(ETKF()), 0.5), ("t",))
    with pytest.raises(ValueError, match="OnlyVariables has no variables"):
        OnlyVariables(RTPS(ETKF(), 0.5), ())
    with pytest.raises(ValueError, match="the catalogue has states of 3 variables but there are 12"):
        AdditiveNoise(Rotation(ETKF()), np.ones((4, 3)), 0.1).analyse(prior, SEEN, 1)
    with pytest.raises(ValueError, match="factor of the additive noise is -1"):
        AdditiveNoise(ETKF(), np.ones((4, SIZE)), -1.0)
