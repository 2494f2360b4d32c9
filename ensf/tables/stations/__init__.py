"""A table and a layout -> an `Observation`: which part of the state each row sees, and which rows can be used.

The operator of a variable interpolates between grid points around the station, horizontally
(`ensf.dataset.grids`), and vertically if the variable has levels (`ensf.tables.stations.profiles`): a sparse
matrix with the products of both weights. Where some of these grid points are masked, as land is, their weights go to
the others in proportion; a row with less than the part `Bilinear.least` of its weight on grid points with data is
rejected as "on land".

A table of several kinds of rows gives one operator: `Select` or `Linear` if all rows are linear, else `Joined`.
"""

from ensf.observations.joined import Joined
from ensf.tables.stations.interpolation import Bilinear, Interpolation, Nearest
from ensf.tables.stations.observed import Check, Observed, observe
from ensf.tables.stations.stations import Stations

__all__ = ["Bilinear", "Check", "Interpolation", "Joined", "Nearest", "Observed", "Stations", "observe"]
