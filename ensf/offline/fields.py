"""Files on the grid of the state, written part by part; `fields.nc` says what an analysis did to each place.

VARIABLE_increment          mean of the analysis minus mean of the forecast
VARIABLE_prior_spread       spread of the forecast
VARIABLE_analysis_spread    spread of the analysis
VARIABLE_inflation, ...     what the filter shows of places: inflation, half_width, degrees_of_freedom, correction
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import netCDF4
import numpy as np

from ensf.arrays import member_mean, member_variance
from ensf.dataset import Layout
from ensf.dataset.netcdf import LOCK, save, start
from ensf.dataset.pipeline import Done
from ensf.dataset.tiles import Range, layout_at

__all__ = ["FIELDS", "GridFile", "attributes_of", "moments"]

FIELDS = "fields.nc"
TITLE: Mapping[Hashable, object] = {
    "Conventions": "CF-1.11",
    "title": "what the analysis did, on the grid of the state",
}

WORDS = {
    "increment": "increment of the mean of {}",
    "prior_spread": "spread of the forecast of {}",
    "analysis_spread": "spread of the analysis of {}",
    "inflation": "factor of the standard deviation of the forecast of {}",
    "correction": "what was added to the forecast of {} for a bias of the model",
    "half_width": "half-width of the localization of {}",
    "degrees_of_freedom": "degrees of freedom that the observations took where {} is",
}
CACHE = 2**20
"""Bytes that the library keeps of a field: each of its pieces is written once."""
OF_VARIABLE = ("increment", "prior_spread", "analysis_spread", "correction")
"""Fields with the unit of their variable."""


def moments(done: Done) -> dict[str, np.ndarray]:
    """Increment and spreads of a tile, ``(entry,)`` each."""
    return {
        "increment": member_mean(done.analysis - done.prior),
        "prior_spread": np.sqrt(member_variance(done.prior)),
        "analysis_spread": np.sqrt(member_variance(done.analysis)),
    }


def attributes_of(
    layout: Layout, name: Hashable, what: str, length_unit: str, transformed: bool = False
) -> dict[str, str]:
    """Attributes of a field of a variable; half-widths are in the length unit.

    What is added to a variable that is transformed has no unit: it is added to the transformed one.
    """
    units = "1"
    if what in OF_VARIABLE and not (transformed and what == "correction"):
        units = str(layout.template[name].attrs.get("units", ""))
    elif what == "half_width":
        units = length_unit
    long_name = WORDS.get(what, what.replace("_", " ") + " of {}").format(name)
    return {"long_name": long_name} | ({"units": units} if units else {})


class GridFile:
    """A file with fields on the grid of a layout; what it holds in memory is a part of one.

    Parameters
    ----------
    path : Path
    layout : Layout
    attributes : mapping
        Of the file.
    """

    def __init__(self, path: Path, layout: Layout, attributes: Mapping[Hashable, object] = TITLE) -> None:
        coordinates = layout.template.drop_vars(list(layout.template.data_vars))
        coordinates.encoding = {}
        coordinates.attrs = dict(attributes)
        for coordinate in coordinates.variables.values():
            coordinate.encoding = {}
        save(coordinates, path)
        self.file = start(path, "r+")
        self.layout = layout

    @classmethod
    @contextmanager
    def open(cls, path: Path, layout: Layout, attributes: Mapping[Hashable, object] = TITLE) -> Iterator[GridFile]:
        """A new file, closed at the end."""
        made = cls(path, layout, attributes)
        try:
            yield made
        finally:
            with LOCK:
                made.file.close()

    def write(
        self, names: Mapping[Hashable, tuple[str, Mapping[str, object]]], parts: Iterable[tuple[Range, np.ndarray]]
    ) -> None:
        """Write a field of each variable.

        Parameters
        ----------
        names : mapping
            Variable of the layout to name and attributes of its field.
        parts : iterable of Range and (entry,) array
        """
        for part, values in parts:
            own = layout_at(self.layout, part)
            for name in part.names:
                grid = own.template[name]
                block = np.full(grid.size, np.nan, dtype=grid.dtype)
                block[own.kept(name)] = values[own.block(name)]
                place = tuple(part.where.get(dim, slice(None)) for dim in grid.dims)
                with LOCK:
                    self._variable(name, *names[name], grid.shape)[place] = block.reshape(grid.shape)

    def _variable(
        self, name: Hashable, full: str, attributes: Mapping[str, object], chunks: tuple[int, ...]
    ) -> netCDF4.Variable:
        if full in self.file.variables:
            return self.file[full]
        grid = self.layout.template[name]
        for dim, size in grid.sizes.items():
            if dim not in self.file.dimensions:
                self.file.createDimension(str(dim), size)
        compressed = bool(grid.ndim)
        variable = self.file.createVariable(
            full,
            grid.dtype,
            [str(dim) for dim in grid.dims],
            zlib=compressed,
            complevel=1,
            shuffle=compressed,
            chunksizes=chunks if compressed else None,
            fill_value=np.nan,
            chunk_cache=CACHE,
        )
        beside = [str(one) for one in grid.coords if one not in grid.dims]
        variable.setncatts(dict(attributes) | ({"coordinates": " ".join(beside)} if beside else {}))
        return variable
