"""What an analysis did to each place, on the grid of the state: written tile by tile, as they are done.

VARIABLE_increment          mean of the analysis minus mean of the forecast
VARIABLE_prior_spread       spread of the forecast
VARIABLE_analysis_spread    spread of the analysis
VARIABLE_inflation, ...     what the filter shows of places: inflation, half_width, degrees_of_freedom
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from ensf.dataset import Layout
from ensf.dataset.netcdf import LOCK, save, start
from ensf.dataset.pipeline import Done

__all__ = ["FIELDS", "FieldsFile", "moments"]

FIELDS = "fields.nc"

WORDS = {
    "increment": "increment of the mean of {}",
    "prior_spread": "spread of the forecast of {}",
    "analysis_spread": "spread of the analysis of {}",
    "inflation": "factor of the standard deviation of the forecast of {}",
    "half_width": "half-width of the localization of {}",
    "degrees_of_freedom": "degrees of freedom that the observations took where {} is",
}
OF_VARIABLE = ("increment", "prior_spread", "analysis_spread")
"""Fields with the unit of their variable."""


def moments(done: Done) -> dict[str, np.ndarray]:
    """Increment and spreads of a tile, ``(entry,)`` each."""
    return {
        "increment": done.analysis.mean(axis=0) - done.prior.mean(axis=0),
        "prior_spread": done.prior.std(axis=0, ddof=1),
        "analysis_spread": done.analysis.std(axis=0, ddof=1),
    }


class FieldsFile:
    """A file that takes tiles; what it holds at once is one of them.

    Parameters
    ----------
    path : Path
    layout : Layout
        Of the whole state.
    length_unit : str
        Of half-widths.
    """

    def __init__(self, path: Path, layout: Layout, length_unit: str) -> None:
        coordinates = layout.template.drop_vars(list(layout.template.data_vars))
        coordinates.encoding = {}
        coordinates.attrs = {"Conventions": "CF-1.11", "title": "what the analysis did, on the grid of the state"}
        for coordinate in coordinates.variables.values():
            coordinate.encoding = {}
        save(coordinates, path)
        self.file = start(path, "r+")
        self.layout, self.length_unit = layout, length_unit

    @classmethod
    @contextmanager
    def open(cls, path: Path, layout: Layout, length_unit: str = "") -> Iterator[FieldsFile]:
        """A new file, closed at the end."""
        made = cls(path, layout, length_unit)
        try:
            yield made
        finally:
            with LOCK:
                made.file.close()

    def write(self, done: Done) -> None:
        """Take one tile."""
        layout = done.tile.layout
        for what, values in {**moments(done), **done.looks}.items():
            for name, grid in layout.template.data_vars.items():
                block = np.full(grid.size, np.nan, dtype=values.dtype)
                block[layout.kept(name)] = values[layout.block(name)]
                place = tuple(done.tile.where.get(dim, slice(None)) for dim in grid.dims)
                with LOCK:
                    self._variable(str(name), what, grid)[place] = block.reshape(grid.shape)

    def _variable(self, name: str, what: str, part: xr.DataArray) -> netCDF4.Variable:
        full = f"{name}_{what}"
        if full in self.file.variables:
            return self.file[full]
        grid = self.layout.template[name]
        for dim, size in grid.sizes.items():
            if dim not in self.file.dimensions:
                self.file.createDimension(str(dim), size)
        dims, chunks = [str(dim) for dim in grid.dims], part.shape if grid.ndim else None
        compressed = bool(grid.ndim)
        variable = self.file.createVariable(
            full,
            grid.dtype,
            dims,
            zlib=compressed,
            complevel=1,
            shuffle=compressed,
            chunksizes=chunks,
            fill_value=np.nan,
        )
        variable.long_name = WORDS.get(what, what.replace("_", " ") + " of {}").format(name)
        units = grid.attrs.get("units") if what in OF_VARIABLE else self.length_unit if what == "half_width" else "1"
        if units:
            variable.units = str(units)
        beside = [str(one) for one in grid.coords if one not in grid.dims]
        if beside:
            variable.coordinates = " ".join(beside)
        return variable
