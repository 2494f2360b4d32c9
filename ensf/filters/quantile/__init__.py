"""Quantile-conserving filters: serial, any error law, any marginal."""

from ensf.filters.quantile.filter import QuantileFilter
from ensf.filters.quantile.marginals import Kernel, RankHistogram

__all__ = ["Kernel", "QuantileFilter", "RankHistogram"]
