from ensf.wrappers.hybrid_mean.displacement import DisplacementCovariance
from ensf.wrappers.hybrid_mean.ensemble import EnsembleCovariance
from ensf.wrappers.hybrid_mean.filter import HybridMean
from ensf.wrappers.hybrid_mean.static import StaticCovariance

__all__ = ["DisplacementCovariance", "EnsembleCovariance", "HybridMean", "StaticCovariance"]
