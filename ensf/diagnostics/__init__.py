"""Scores of ensembles: arrays in, arrays out.

Members x_1, ..., x_N with mean m and sample standard deviation s (divisor N - 1), truth x. Over the components of
the state,

    rmse = sqrt(mean (m - x)^2),   bias = mean (m - x),   spread = sqrt(mean s^2),

and from the sorted members x_(1) <= ... <= x_(N) the fair continuous ranked probability score, whose expectation
does not depend on N,

    crps = mean |x_i - x| - sum_i (2 i - N - 1) x_(i) / (N (N - 1)).

Against p observations y = h(x) + e, e ~ N(0, R), everything follows from the whitened *departures*
w_i = R^(-1/2) (y - h(x_i)), their mean d and their anomalies A = (w - d) / sqrt(N - 1):

    chi2 = d^T (I + A^T A)^(-1) d / p

is 1 on average if spread and error explain the innovations d; with d_b of the forecast and d_a of the analysis,
E[d_a d_b^T] = I and E[(d_b - d_a) d_b^T] = A^T A. Observations that are NaN do not count.

The power of a field f on a doubly periodic plane at total wavenumber k, cycles per period, is

    P(k) = sum of |f_mn|^2 over k - 1/2 <= |(m, n)| < k + 1/2,   f = sum f_mn exp(i (m x + n y)),

so that the sum over k is the mean square of f.

Ensembles are (..., member, state), truths (..., state); results have the leading axes.
"""

from ensf.diagnostics.cycle import scores
from ensf.diagnostics.observations import Desroziers, departures, desroziers, innovation_chi2
from ensf.diagnostics.spectra import cycle_spectra, power
from ensf.diagnostics.truth import (
    bias,
    coverage,
    crps,
    effective_sample_size,
    rank_histogram,
    rmse,
    spread,
    spread_skill,
)

__all__ = [
    "Desroziers",
    "bias",
    "coverage",
    "crps",
    "cycle_spectra",
    "departures",
    "desroziers",
    "effective_sample_size",
    "innovation_chi2",
    "power",
    "rank_histogram",
    "rmse",
    "scores",
    "spread",
    "spread_skill",
]
