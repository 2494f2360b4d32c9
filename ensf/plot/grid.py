"""A field of an analysis as a map or a profile: its horizontal coordinates in degrees or kilometres, one level of it.

Regular and curvilinear grids, in latitude and longitude or in x and y; fields of one dimension are curves.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import find_coordinate
from ensf.plot.style import PALE, Style
from ensf.plot.words import place_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Grid", "symmetric", "upward", "words_of_level"]

PAIRS = (("longitude", "latitude"), ("x", "y"))
FAR = 5000.0
"""Metres from which on an axis is in kilometres."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the values of a field are drawn.

    Attributes
    ----------
    x, y : array
        Horizontal coordinates, as they are drawn; of one or two dimensions. y is None for a curve.
    labels : tuple of str
        Of the axes.
    dims : tuple of str
        Horizontal dimensions of the field, in their order in `values`.
    scale : float
        What positions of observations are multiplied with.
    is_sphere : bool
    """

    x: np.ndarray
    y: np.ndarray | None
    labels: tuple[str, str]
    dims: tuple[Hashable, ...]
    scale: float = 1.0
    is_sphere: bool = False

    @classmethod
    def of(cls, field: xr.DataArray) -> Grid:
        """The grid of a field; by the indices of its last two dimensions where it has no coordinates."""
        for names in PAIRS:
            columns = [find_coordinate(field, name) for name in names]
            across, up = columns
            if across is not None and up is not None and across.ndim in (1, 2) and across.ndim == up.ndim:
                dims = (*up.dims, *across.dims) if up.ndim == 1 else up.dims
                if len(set(dims)) == 2 and np.isfinite(across.values).all() and np.isfinite(up.values).all():
                    return cls._of_pair(across, up.transpose(*across.dims) if up.ndim == 2 else up, dims)
        if field.ndim < 2:
            dim = field.dims[0] if field.ndim else "place"
            along = find_coordinate(field, "x") if field.ndim else None
            along = along if along is not None else field[dim] if field.ndim else xr.DataArray([0.0], dims=["place"])
            scale, label = _unit(along)
            return cls(along.values * scale, None, (label, ""), (dim,), scale)
        up, across = (field[dim] for dim in field.dims[-2:])
        return cls(across.values, up.values, (_unit(across)[1], _unit(up)[1]), field.dims[-2:])

    @classmethod
    def _of_pair(cls, across: xr.DataArray, up: xr.DataArray, dims: tuple[Hashable, ...]) -> Grid:
        scale, label = _unit(across)
        labels = label, _unit(up)[1]
        is_sphere = str(up.attrs.get("units", "")).startswith("degree") or up.attrs.get("standard_name") == "latitude"
        if is_sphere:
            labels = "longitude (°E)", "latitude (°N)"
        return cls(across.values * scale, up.values * scale, labels, dims, scale, is_sphere)

    @property
    def aspect(self) -> float:
        """Height over width of a map."""
        if self.y is None:
            return 0.6
        height, width = np.ptp(self.y), np.ptp(self.x)
        if self.is_sphere:
            width = width * max(np.cos(np.deg2rad(np.mean(self.y))), 0.2)
        return float(np.clip(height / width if width else 1.0, 0.35, 1.6))

    def level(self, field: xr.DataArray) -> dict[Hashable, int]:
        """Where in its other dimensions a field is largest, root mean square."""
        above = [dim for dim in field.dims if dim not in self.dims]
        if not above:
            return {}
        power = (field.astype(float) ** 2).mean([dim for dim in field.dims if dim in self.dims])
        place = np.unravel_index(int(np.nanargmax(np.nan_to_num(power.values, nan=-1.0))), power.shape)
        return {dim: int(index) for dim, index in zip(power.dims, place, strict=True)}

    def values(self, field: xr.DataArray, level: Mapping[Hashable, int]) -> np.ndarray:
        """The field on one level, horizontal dimensions in their order."""
        return field.isel(level).transpose(*(dim for dim in self.dims if dim in field.dims)).values

    def points(self, position: np.ndarray, axes: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Where places of a table ``(row, axis)`` are drawn; along a curve those of one coordinate."""
        across, up = (1, 0) if axes == ("lat", "lon") else (0, position.shape[1] - 1)
        x, y = position[:, across] * self.scale, position[:, up] * self.scale
        if self.is_sphere:
            x = (x - np.min(self.x)) % 360.0 + np.min(self.x)
        return x, y

    def draw(self, axes: Axes, values: np.ndarray, look: Style) -> Any:
        """The values as coloured cells, or a curve; what a colour bar belongs to."""
        axes.set_facecolor(PALE)
        axes.set_xlabel(self.labels[0])
        if self.y is None:
            axes.set_facecolor("white")
            axes.grid()
            return axes.plot(self.x, values.ravel(), color="#0072B2", linewidth=1.4)
        axes.set_ylabel(self.labels[1])
        axes.set_box_aspect(self.aspect)
        return axes.pcolormesh(self.x, self.y, values, shading="nearest", rasterized=True, **look)


def _unit(coordinate: xr.DataArray) -> tuple[float, str]:
    """What a coordinate is multiplied with on an axis, and its label: long distances are in kilometres."""
    unit, name = str(coordinate.attrs.get("units", "")), str(coordinate.name)
    if unit in ("m", "metre", "meter", "metres", "meters") and np.nanmax(np.abs(coordinate.values)) >= FAR:
        return 1e-3, f"{name} (km)"
    return 1.0, f"{name} ({unit})" if unit not in ("", "1") else name


def words_of_level(field: xr.DataArray, level: Mapping[Hashable, int]) -> str:
    """A level in words: ``depth 50 m``."""
    return ", ".join(place_of(field[dim][index]) for dim, index in level.items())


def upward(values: np.ndarray) -> Style:
    """Look of what is 0 or more."""
    top = float(np.nanquantile(values, 0.995)) if np.isfinite(values).any() else 1.0
    return {"cmap": "viridis", "vmin": 0.0, "vmax": top or 1.0}


def symmetric(values: np.ndarray) -> Style:
    """Look of what has either sign."""
    finite = np.abs(values[np.isfinite(values)])
    top = float(np.quantile(finite, 0.99)) if len(finite) else 1.0
    return {"cmap": "RdBu_r", "vmin": -(top or 1.0), "vmax": top or 1.0}
