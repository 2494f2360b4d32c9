"""Observation tables: one row per observation, read, checked row by row, and written with a reason per rejected row.

A table is a record of columns,

    variable, value, error, time, (lat, lon) or (x, y), optional z, depth, height, pressure, qc,

with `error` a standard deviation in the units of the variable, and ``qc = 0`` meaning "use". `read` and
`ObservationTable.write` know CSV and CF NetCDF (``featureType = "point"``); `read_ioda` and `read_dart` import the
files of JEDI and DART. What is wrong with a file is one sentence that names the file and what to do; what is wrong with
a row rejects the row, with a reason.
"""

from ensf.tables.correlations import ByChannel, ByDistance, Constant, Correlation
from ensf.tables.groups import Correlations
from ensf.tables.reading import from_dart, from_frame, read, read_dart, read_ioda
from ensf.tables.table import Check, ObservationTable, Observed

__all__ = [
    "ByChannel",
    "ByDistance",
    "Check",
    "Constant",
    "Correlation",
    "Correlations",
    "ObservationTable",
    "Observed",
    "from_dart",
    "from_frame",
    "read",
    "read_dart",
    "read_ioda",
]
