"""WHERE A ROW IS on the grids of a layout: the operator that each row of a table stands for, and which rows have one.

The operator of a variable interpolates between grid points around the station, horizontally
(`ensf.dataset.interpolation`), and vertically if the variable has levels (`ensf.tables.stations.profiles`): a sparse
matrix with the products of both weights. Where some of these grid points are masked, as land is, their weights go to
the others in proportion; a row with less than the part `Bilinear.min_weight` of its weight on grid points with data is
rejected as "on land". `ensf.tables.stations.derived` has what is derived from variables of the state.

A table of several kinds of rows gives one operator: `Select` or `Linear` if all rows are linear, else `Joined`.
"""

from ensf.dataset.interpolation import Bilinear, Interpolation, Nearest
from ensf.tables.stations.derived import Combination, Derived, FunctionOf, LayerMean, Speed, register, registered
from ensf.tables.stations.stations import StationOperator, Stations

__all__ = [
    "Bilinear",
    "Combination",
    "Derived",
    "FunctionOf",
    "Interpolation",
    "LayerMean",
    "Nearest",
    "Speed",
    "StationOperator",
    "Stations",
    "register",
    "registered",
]
