"""A field of an analysis as a map or a profile: its horizontal coordinates in degrees or kilometres, one level of it.

Regular and curvilinear grids, in latitude and longitude or in x and y; sections, of a horizontal and a vertical
coordinate; fields of one dimension are curves.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import COLUMNS, find_coordinate
from ensf.plot.style import PALE, Style
from ensf.plot.words import place_of
from ensf.tables.stations.stations import dates, time_dims
from ensf.tables.stations.vertical import is_vertical, kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Grid", "chosen_dims", "downwards", "symmetric", "upward", "words_of_level"]

PAIRS = (("longitude", "latitude"), ("x", "y"))
FAR = 5000.0
"""Metres from which on an axis is in kilometres."""


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the values of a field are drawn.

    Attributes
    ----------
    x, y : array
        Coordinates, as they are drawn; of one or two dimensions. y is None for a curve.
    labels : tuple of str
        Of the axes.
    dims : tuple of str
        Dimensions of the field that are drawn, in their order in `values`.
    columns : tuple of str
        Of a table of observations, along x and y; ``z`` is the level of a row.
    scales : tuple of float
        What they are multiplied with.
    is_sphere : bool
    vertical : DataArray, optional
        The coordinate along y of a section, or along a curve, if it is a vertical one.
    """

    x: np.ndarray
    y: np.ndarray | None
    labels: tuple[str, str]
    dims: tuple[Hashable, ...]
    columns: tuple[str, str]
    scales: tuple[float, float] = (1.0, 1.0)
    is_sphere: bool = False
    vertical: xr.DataArray | None = None

    @classmethod
    def of(cls, field: xr.DataArray) -> Grid:
        """The grid of a field; by the indices of its last two dimensions where it has no coordinates.

        Of several times one is drawn.
        """
        field = field.isel(dict.fromkeys(time_dims(field, field.dims), 0)) if field.ndim > 1 else field
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
            scale = _scale(along)
            vertical, column = (along, "z") if is_vertical(along) else (None, str(along.name))
            labels = _label(along, scale), ""
            return cls(along.values * scale, None, labels, (dim,), (column, ""), (scale, 1.0), vertical=vertical)
        return cls._of_dims(field, *field.dims[-2:])

    @classmethod
    def _of_dims(cls, field: xr.DataArray, *dims: Hashable) -> Grid:
        """Of two dimensions: a section if one of them is vertical, which is then along y."""
        up, across = (_along(field, dim) for dim in dims)
        if is_vertical(across) and not is_vertical(up):
            up, across = across, up
        scales = _scale(across), _scale(up)
        labels = _label(across, scales[0]), _label(up, scales[1])
        is_section = is_vertical(up) and not is_vertical(across)
        columns = _column(field, across), "z" if is_section else _column(field, up)
        x, y = across.values * scales[0], up.values * scales[1]
        drawn = *up.dims, *across.dims
        return cls(x, y, labels, drawn, columns, scales, vertical=up if is_section else None)

    @classmethod
    def _of_pair(cls, across: xr.DataArray, up: xr.DataArray, dims: tuple[Hashable, ...]) -> Grid:
        scale = _scale(across, up)
        labels, columns = (_label(across, scale), _label(up, scale)), ("x", "y")
        is_sphere = str(up.attrs.get("units", "")).startswith("degree") or up.attrs.get("standard_name") == "latitude"
        if is_sphere:
            labels, columns = ("longitude (°E)", "latitude (°N)"), ("lon", "lat")
        return cls(across.values * scale, up.values * scale, labels, dims, columns, (scale, scale), is_sphere)

    @property
    def is_section(self) -> bool:
        """Whether y is vertical."""
        return self.y is not None and self.vertical is not None

    @property
    def is_column(self) -> bool:
        """Whether this is a curve along the vertical, which is drawn upright."""
        return self.y is None and self.vertical is not None

    @property
    def aspect(self) -> float:
        """Height over width of a map."""
        if self.y is None:
            return 0.6
        if self.is_section:
            return 0.5
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

    def points(self, position: np.ndarray, axes: tuple[str, ...], height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rows of a table are drawn; along a curve by one coordinate.

        Parameters
        ----------
        position : (row, axis) array
        axes : tuple of str
            Its columns.
        height : (row,) array
            In the vertical coordinate of the grid.
        """
        columns = dict(zip(axes, position.T, strict=True)) | {"z": height}
        others = [*position.T] or [height]
        across, up = (-1, 0) if axes == ("lat", "lon") else (0, -1)
        x = columns.get(self.columns[0], others[across]) * self.scales[0]
        y = columns.get(self.columns[1], others[up]) * self.scales[1]
        if self.columns[0] == "lon":
            x = (x - np.min(self.x)) % 360.0 + np.min(self.x)
        return x, y

    def label(self, axes: Axes, quantity: str = "") -> None:
        """Labels of the axes, with what a curve shows; depths and pressures grow downwards."""
        across, up = self.labels if self.y is not None else (self.labels[0], quantity)
        axes.set(xlabel=quantity if self.is_column else across, ylabel=across if self.is_column else up)
        if self.vertical is not None and downwards(self.vertical) and not axes.yaxis_inverted():
            axes.invert_yaxis()

    def draw(self, axes: Axes, values: np.ndarray, look: Style, quantity: str) -> Any:
        """The values of a quantity as coloured cells, or a curve; what a colour bar belongs to."""
        axes.set_facecolor(PALE)
        self.label(axes, quantity)
        if self.y is None:
            axes.set_facecolor("white")
            axes.grid()
            curve = (values.ravel(), self.x) if self.is_column else (self.x, values.ravel())
            return axes.plot(*curve, color="#0072B2", linewidth=1.4)
        axes.set_box_aspect(self.aspect)
        return axes.pcolormesh(self.x, self.y, values, shading="nearest", rasterized=True, **look)

    def on_curve(self, values: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points of the curve of a field of one dimension, at places along it."""
        order = np.argsort(self.x)
        value = np.interp(along, self.x[order], values.ravel()[order])
        return (value, along) if self.is_column else (along, value)


def downwards(vertical: xr.DataArray) -> bool:
    """Whether a vertical coordinate grows downwards, as depth and pressure do."""
    return kind(vertical) in ("depth", "pressure") or vertical.attrs.get("positive") == "down"


def _along(field: xr.DataArray, dim: Hashable) -> xr.DataArray:
    """The coordinate of a dimension: the vertical one along levels that have only numbers."""
    vertical = find_coordinate(field, "vertical")
    return vertical if vertical is not None and vertical.dims == (dim,) else field[dim]


def _column(field: xr.DataArray, coordinate: xr.DataArray) -> str:
    """Column of a table that has a coordinate of a field."""
    for column in ("lat", "lon", "x", "y"):
        found = find_coordinate(field, COLUMNS.get(column, column))
        if found is not None and found.name == coordinate.name:
            return column
    return str(coordinate.name)


def _scale(*coordinates: xr.DataArray) -> float:
    """What coordinates are multiplied with on an axis: long distances are in kilometres."""
    are_metres = all(one.attrs.get("units") in ("m", "metre", "meter", "metres", "meters") for one in coordinates)
    return 1e-3 if are_metres and max(np.nanmax(np.abs(one.values)) for one in coordinates) >= FAR else 1.0


def _label(coordinate: xr.DataArray, scale: float) -> str:
    unit = "km" if scale != 1.0 else str(coordinate.attrs.get("units", ""))
    return f"{coordinate.name} ({unit})" if unit not in ("", "1") else str(coordinate.name)


def chosen_dims(field: xr.DataArray, level: Mapping[Hashable, int]) -> dict[Hashable, int]:
    """A level along the dimensions of which it is one point of several."""
    return {dim: index for dim, index in level.items() if field.sizes[dim] > 1}


def words_of_level(field: xr.DataArray, level: Mapping[Hashable, int]) -> str:
    """A level in words: ``depth 50 m``; a time as a date; nothing along a dimension that has one point only."""
    words, times = [], time_dims(field, field.dims)
    for dim, index in chosen_dims(field, level).items():
        date = np.datetime_as_string(dates(field, dim)[index], unit="m") if dim in times else ""
        words.append(f"{date} UTC" if date else place_of(field[dim][index]))
    return ", ".join(words)


def upward(values: np.ndarray) -> Style:
    """Look of what is 0 or more."""
    top = float(np.nanquantile(values, 0.995)) if np.isfinite(values).any() else 1.0
    return {"cmap": "viridis", "vmin": 0.0, "vmax": top or 1.0}


def symmetric(values: np.ndarray) -> Style:
    """Look of what has either sign."""
    finite = np.abs(values[np.isfinite(values)])
    top = float(np.quantile(finite, 0.99)) if len(finite) else 1.0
    return {"cmap": "RdBu_r", "vmin": -(top or 1.0), "vmax": top or 1.0}
