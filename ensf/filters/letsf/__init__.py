"""The local ensemble transform score filter."""

from ensf.filters.letsf.filter import LETSF

__all__ = ["LETSF"]
