r"""The analysis mean by a hybrid covariance on a periodic grid: where few members see few directions of the error.

With m the mean of the members, d = y - H m and R the variance of the errors,

    B = w_e B_e + w_s B_s + w_d B_d,        m <- m + B H^T (H B H^T + R)^{-1} d.

B_e is the covariance of the members, localized by scale (`EnsembleCovariance`); B_s homogeneous and isotropic with
their spectra (`StaticCovariance`); B_d that of a displacement of the mean field (`DisplacementCovariance`). None is
ever a matrix: each is a few Fourier transforms, and the system, whitened by R, is solved by conjugate gradients. What
is not linear in one column Lx, or has no Gaussian error, is replaced by the pseudo-observation of Lx that carries the
tilted moments of its likelihood under the prior, as in the first step of LETSF: then H is L.

The anomalies are those of a local filter, moved to the mean.
"""

from ensf.wrappers.hybrid_mean.displacement import DisplacementCovariance
from ensf.wrappers.hybrid_mean.ensemble import EnsembleCovariance
from ensf.wrappers.hybrid_mean.filter import CovarianceModel, HybridMean
from ensf.wrappers.hybrid_mean.static import StaticCovariance

__all__ = ["CovarianceModel", "DisplacementCovariance", "EnsembleCovariance", "HybridMean", "StaticCovariance"]
