"""Every law in every filter that takes laws: one variable against quadrature, several columns, several laws."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtri

from ensf.filters import LETSF, ParticleFilter, QuantileFilter
from ensf.localization import periodic_line
from ensf.observations import (
    Affine,
    Censored,
    Composed,
    Contaminated,
    Gaussian,
    Identity,
    JoinedLaw,
    Laplace,
    Lognormal,
    Observation,
    Pointwise,
    Poisson,
    Proportional,
    Select,
    StudentT,
    Threshold,
    WindSpeed,
    exponential,
)
from ensf.wrappers import AdaptiveSpread, Copula, OutlierRejection, Tempered

QUARTER = Pointwise(Composed(exponential, Affine(0.0, 0.25)), Identity())
# name: operator, law, value; the prior is N(1, 2^2)
POSTERIORS = {
    "Laplace": (Identity(), Laplace(1.5), 3.0),
    "StudentT": (Identity(), StudentT(1.0, 3), 2.5),
    "StudentT, far off": (Identity(), StudentT(1.0, 3), 12.0),
    "Contaminated": (Identity(), Contaminated(1.0, 0.05, 10.0), 2.0),
    "Contaminated, far off": (Identity(), Contaminated(1.0, 0.05, 10.0), 14.0),
    "Censored, at the limit": (Identity(), Censored(1.0, high=2.0), 2.0),
    "Censored, inside": (Identity(), Censored(1.0, low=0.0), 2.0),
    "Threshold": (Identity(), Threshold(1.0, level=1.5), 1.0),
    "Poisson": (QUARTER, Poisson(), 3.0),
    "Lognormal": (QUARTER, Lognormal(0.3), 2.0),
    "Proportional": (QUARTER, Proportional(0.1, 0.3), 2.0),
}


def exact(operator, law, value):
    """Mean and standard deviation of the posterior."""
    x = np.linspace(-15, 25, 400_001)
    with np.errstate(divide="ignore"):
        logs = law.each(np.array([value]), operator(x[:, None]))[:, 0] - 0.5 * ((x - 1) / 2) ** 2
    mass = np.exp(logs - logs.max())
    mean = (mass * x).sum() / mass.sum()
    return mean, np.sqrt((mass * (x - mean) ** 2).sum() / mass.sum())


@pytest.mark.parametrize("name", POSTERIORS)
@pytest.mark.parametrize("joined", [False, True])
def test_one_variable_has_its_exact_posterior(name, joined, rng):
    operator, law, value = POSTERIORS[name]
    members = ndtri((np.arange(400) + 0.5) / 400)
    prior = 1 + 2 * np.stack([members, rng.permutation(members)], axis=1) / members.std(ddof=1)
    if joined:  # beside a variable of its own, seen under another law
        law, value = JoinedLaw((Gaussian(1e3), law), ((1,), (0,))), np.array([value, 1.0])
    else:
        prior, value = prior[:, :1], np.array([value])
    here = LETSF(periodic_line(1000, 0.4), steps=6)
    analysis = here.analyse(prior, Observation(value, operator, law), rng).ensemble[:, 0]
    mean, deviation = exact(*POSTERIORS[name])
    assert analysis.mean() == pytest.approx(mean, abs=0.06 * deviation)
    assert analysis.std() == pytest.approx(deviation, rel=0.1)


FILTERS = {
    "letsf": LETSF(periodic_line(12, 2.0)),
    "quantile": QuantileFilter(periodic_line(12, 2.0)),
    "probit": QuantileFilter(probit=True),
    "particle": ParticleFilter(jitter=0.1),
    "tempered": Tempered(LETSF(periodic_line(12, 2.0)), 2),
    "copula": Copula(LETSF(periodic_line(12, 2.0))),
    "adaptive": AdaptiveSpread(LETSF(periodic_line(12, 2.0)), periodic_line(12, 4.0)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_several_laws_of_one_kind_are_that_law(name, rng):
    prior, value = rng.normal(2, 1, (20, 12)), rng.normal(2, 1, 12)
    law, odd, even = StudentT(np.linspace(0.5, 2, 12), 3), np.arange(1, 12, 2), np.arange(0, 12, 2)
    joined = JoinedLaw((law.restrict(odd), law.restrict(even)), (tuple(odd.tolist()), tuple(even.tolist())))
    one, other = (FILTERS[name].analyse(prior, Observation(value, Identity(), each), 1) for each in (law, joined))
    np.testing.assert_allclose(one.ensemble, other.ensemble, rtol=1e-9)
    assert np.abs(one.ensemble - prior).max() > 0.1


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_wind_speed_under_any_law_stays_within_its_columns(steps, rng):
    """One column per observation, not two: under a law that is nearly Gaussian as under a Gaussian one."""
    prior = rng.normal(3, 0.3, (40, 12))
    places = np.arange(6.0)[:, None]
    speed = WindSpeed(Select(range(6)), Select(range(6, 12)))
    value = speed(prior).mean(axis=0) + 0.2
    filter = LETSF(periodic_line(12, 2.0), steps=steps)
    laws = Gaussian(0.5), StudentT(0.5, 1e6)
    one, other = (
        filter.analyse(prior, Observation(value, speed, law, position=places), 1).ensemble[:, :6] for law in laws
    )
    np.testing.assert_allclose(one.mean(axis=0), other.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(one.std(axis=0), other.std(axis=0), rtol=0.1)


def test_weights_of_observations_are_reported(rng):
    prior, value = rng.normal(0, 1, (20, 12)), np.zeros(12)
    value[4] = 15.0
    for law in (StudentT(1.0, 3), Contaminated(1.0)):
        weight = LETSF().analyse(prior, Observation(value, Identity(), law), 1).info["observation_weight"]
        assert weight[4] < 0.05 and np.delete(weight, 4).min() > 0.5
    assert "observation_weight" not in LETSF().analyse(prior, Observation(value, Identity(), Laplace(1.0)), 1).info


@pytest.mark.parametrize("near", [None, periodic_line(12, 2.0)])
def test_a_gross_error_is_rejected_and_counted(near, rng):
    prior, value = rng.normal(0, 1, (20, 12)), rng.normal(0, 1, 12)
    value[4] = 15.0
    letsf = LETSF(periodic_line(12, 2.0))
    analysis = OutlierRejection(letsf, localization=near).analyse(prior, Observation(value, Identity(), 1.0), 1)
    without = np.where(np.arange(12) == 4, np.nan, value)
    np.testing.assert_allclose(
        analysis.ensemble, letsf.analyse(prior, Observation(without, Identity(), 1.0), 1).ensemble, atol=1e-8
    )
    assert analysis.info["rejected"] == 1 and analysis.info["rejected_rows"].tolist() == [4]


@pytest.mark.parametrize("near", [None, periodic_line(12, 2.0)])
def test_a_forecast_that_is_wrong_is_no_gross_error(near, rng):
    prior, value = rng.normal(0, 1, (20, 12)), np.full(12, 15.0)
    analysis = OutlierRejection(LETSF(), localization=near).analyse(prior, Observation(value, Identity(), 1.0), 1)
    assert analysis.info["rejected"] == 0 and analysis.ensemble.mean() > 3


def test_other_laws_are_left_to_themselves(rng):
    prior, value = rng.normal(0, 1, (20, 12)), np.zeros(12)
    value[[2, 4]] = 15.0
    law = JoinedLaw((StudentT(1.0, 3), Gaussian(1.0)), (tuple(range(4)), tuple(range(4, 12))))
    analysis = OutlierRejection(LETSF()).analyse(prior, Observation(value, Identity(), law), 1)
    assert analysis.info["rejected_rows"].tolist() == [4]


@pytest.mark.parametrize(
    ("settings", "sentence"), [({"limit": 0}, "limit of the outlier rejection"), ({"max_part": 0}, "max_part")]
)
def test_settings_out_of_range_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        OutlierRejection(LETSF(), **settings)
