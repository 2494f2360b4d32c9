"""Values of a file that holds a memory, each checked: anyone may have changed them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import netCDF4
import numpy as np
import xarray as xr

from ensf.dataset import Layout
from ensf.offline.memory.quantities import Quantity

__all__ = ["Reader"]


@dataclass(frozen=True, eq=False)
class Reader:
    """Values of one file, each checked."""

    path: Path
    layout: Layout
    dtype: np.dtype

    def knots(self, stored: xr.Dataset, name: str, lowest: float) -> np.ndarray:
        """One value at each knot."""
        return self.values(stored, name, ("knot",), (stored.sizes.get("knot", 0),), lowest)

    def count(self, stored: xr.Dataset, quantity: Quantity) -> int:
        """A whole number."""
        values = self.values(stored, quantity.name, (), (), quantity.lowest)
        if values != np.round(values):
            raise ValueError(f"{self.path}: {quantity.name} is {values}: give a whole number")
        return int(values)

    def state(self, stored: xr.Dataset, quantity: Quantity) -> np.ndarray:
        """One value at each entry of the state."""
        state = np.empty(self.layout.size, dtype=self.dtype)
        for variable, grid in self.layout.template.data_vars.items():
            name = f"{variable}_{quantity.name}"
            values = self._values(stored, name, grid.dims, grid.shape).ravel()[self.layout.kept(variable)]
            self._check(values, name, quantity.lowest)
            state[self.layout.block(variable)] = values
        return state

    def values(
        self, stored: xr.Dataset, name: str, dims: tuple[Hashable, ...], shape: tuple[int, ...], lowest: float
    ) -> np.ndarray:
        """Numbers that are there, finite and not below the lowest."""
        values = self._values(stored, name, dims, shape)
        self._check(values, name, lowest)
        return values

    def _values(self, stored: xr.Dataset, name: str, dims: tuple[Hashable, ...], shape: tuple[int, ...]) -> np.ndarray:
        if name not in stored.variables:
            raise ValueError(f"{self.path} has no variable {name!r}, which the method remembers: put it back")
        variable = stored[name]
        if variable.dims != dims or variable.shape != shape:
            wanted = " x ".join(f"{dim} {size}" for dim, size in zip(dims, shape, strict=True)) or "one number"
            there = " x ".join(f"{dim} {size}" for dim, size in variable.sizes.items()) or "one number"
            raise ValueError(f"{self.path}: {name} has {there}, but should have {wanted}: change values, not the shape")
        if variable.dtype.kind not in "fiu":
            raise ValueError(f"{self.path}: {name} is no number: put numbers back")
        return np.asarray(variable.values)

    def _check(self, values: np.ndarray, name: str, lowest: float) -> None:
        bad = ~np.isfinite(values) | (np.abs(values) >= netCDF4.default_fillvals["f4"])
        if bad.any():
            raise ValueError(
                f"{self.path}: {name} is missing or not finite at {np.count_nonzero(bad)} places: repair it"
            )
        if (values < lowest).any():
            raise ValueError(f"{self.path}: {name} is {values[values < lowest].min()} somewhere: it cannot be negative")
