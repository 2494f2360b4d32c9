"""What one observation would do: increment and reduction of the spread, radius by radius."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import find_coordinate
from ensf.localization import Sphere
from ensf.plot.analysis import colour_bar
from ensf.plot.grid import Grid, chosen_dims, downwards, symmetric, words_of_level
from ensf.plot.style import INK, PALETTE, legend_below, new_figure, styled
from ensf.tables.columns import axes as place_columns
from ensf.tables.stations.vertical import SI, heights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_observe_one"]


@styled
def figure_observe_one(one: xr.Dataset, variable: str) -> Figure:
    """Maps of a variable, a column for each radius: increment of the mean, and what is left of the spread.

    Circles on maps are at the half-width and twice of it, where the taper is 5/24 and 0. Beside maps of a field with
    levels, profiles at the place.

    Parameters
    ----------
    one : xarray.Dataset
        Of `ensf.offline.observe_one.ObserveOne`.
    variable : str
        Analysed variable that is drawn.
    """
    increment, spread = one[f"{variable}_increment"], one[f"{variable}_analysis_spread"]
    prior = one[f"{variable}_prior_spread"]
    grid = Grid.of(prior)
    level = grid.level(increment.isel(radius=-1))
    radii = one["radius"].values
    unit = str(one["radius"].attrs.get("units", ""))
    place = _place(one, grid)
    profiled = list(chosen_dims(prior, level))
    has_profile = len(profiled) == 1
    units = str(increment.attrs.get("units", ""))
    columns = len(radii) + has_profile
    height = 1.6 + 2 * (0.7 + np.clip(8.4 / max(columns, 2) * grid.aspect, 1.3, 4.5))
    caption = _caption(one, variable, words_of_level(prior, level))
    if grid.y is not None and not grid.is_section:
        caption += " Circles: the half-width, and twice of it, where the reach ends."
    if grid.y is None:
        caption += " Dotted: the place."
    figure = new_figure(height, _title(one), caption)
    panels = figure.subplots(2, columns, squeeze=False)
    if grid.y is None:
        _share(panels, grid)
    shades = symmetric(grid.values(increment.isel(radius=-1), level))
    top = float(np.nanmax(np.abs(increment.isel(level).values))) or 1.0
    shades |= {"vmin": -top, "vmax": top}
    for column, radius in enumerate(radii):
        last = column == len(radii) - 1
        left = np.asarray(100 * (spread.isel(radius=column) / prior.where(prior > 0) - 1))
        fields = (increment.isel(radius=column), prior.copy(data=left))
        looks = (shades, {"cmap": "YlGnBu_r", "vmin": min(-1.0, float(np.nanmin(left))), "vmax": 0.0})
        labels = (f"increment of {variable}" + f" ({units})" * bool(units), f"change of spread of {variable} (%)")
        for axes, field, look, label in zip(panels[:, column], fields, looks, labels, strict=True):
            drawn = grid.draw(axes, grid.values(field, level), look, label)
            if grid.y is None:
                mark = axes.axhline if grid.is_column else axes.axvline
                mark(place[0], color=INK, linewidth=1, linestyle="dotted")
                continue
            if last:
                colour_bar(figure, axes, drawn, label)
            _mark(axes, one, grid, prior, place, float(radius))
        panels[0, column].set_title(f"half-width {radius:.4g} {unit}".strip() if np.isfinite(radius) else "everywhere")
    if has_profile:
        at = {dim: index for dim, index in level.items() if dim not in profiled} | _nearest(grid, place)
        _draw_profiles(panels[:, -1], one, variable, profiled[0], at)
        legend_below(figure, panels[0, -1], 6)
    return figure


def _share(panels: np.ndarray, grid: Grid) -> None:
    """Curves of all radii have their axes in common: that of the place everywhere, that of the quantity in a row."""
    for row in panels:
        for axes in row:
            if axes is not row[0]:
                (axes.sharex if grid.is_column else axes.sharey)(row[0])
            if axes is not panels[0, 0]:
                (axes.sharey if grid.is_column else axes.sharex)(panels[0, 0])


def _title(one: xr.Dataset) -> str:
    at = ", ".join(f"{key.removeprefix('place_')} {value:g}" for key, value in one.attrs.items() if key[:6] == "place_")
    return f"One observation of {one.attrs['observed_variable']} at {at}"


def _caption(one: xr.Dataset, variable: str, level: str) -> str:
    about = one.attrs
    unit = one.attrs["observed_units"]
    numbers = {"innovation": about["innovation"], "error": about["error"], "spread there": about["prior_spread"]}
    words = ", ".join(f"{name} {value:.3g} {unit}".strip() for name, value in numbers.items())
    where = f" at {level}" if level else ""
    return f"{words}. Increment of the mean of {variable}{where}, above, and change of its spread, below."


def _place(one: xr.Dataset, grid: Grid) -> tuple[float, float]:
    at = {key.removeprefix("place_"): float(value) for key, value in one.attrs.items() if key[:6] == "place_"}
    chosen = place_columns(at) or tuple(at)[:1]
    height = np.array([at.get("z", np.nan)])
    if grid.vertical is not None:
        height = heights(grid.vertical, height, {name: np.array([at[name]]) for name in SI if name in at})
    x, y = grid.points(np.array([[at[axis] for axis in chosen]]), chosen, height)
    return float(x[0]), float(y[0])


def _mark(
    axes: Axes, one: xr.Dataset, grid: Grid, field: xr.DataArray, place: tuple[float, float], radius: float
) -> None:
    """A cross at the place, circles of the localization."""
    axes.plot(*place, "+", color=INK, markersize=9, mew=1.6)
    if not np.isfinite(radius) or grid.y is None or grid.is_section:
        return
    x, y = (grid.x, grid.y) if grid.x.ndim == 2 else np.meshgrid(grid.x, grid.y)
    if grid.is_sphere:
        positions = np.stack([y.ravel(), x.ravel()], axis=1)
        distance = _great_circle(positions, np.array(place[::-1]))
    else:
        distance = np.hypot(x - place[0], y - place[1]) / grid.scales[0]
    distance = distance.reshape(x.shape)
    if min(x.shape) > 1:
        axes.contour(x, y, distance, levels=[radius, 2 * radius], colors=INK, linewidths=0.8, linestyles=["-", "--"])


def _great_circle(positions: np.ndarray, place: np.ndarray) -> np.ndarray:
    """Distance in km of ``(point, 2)`` degrees north and east."""
    north, east = np.deg2rad(positions).T
    here_north, here_east = np.deg2rad(place)
    haversine = np.sin((north - here_north) / 2) ** 2
    haversine += np.cos(north) * np.cos(here_north) * np.sin((east - here_east) / 2) ** 2
    return 2 * Sphere().radius * np.arcsin(np.sqrt(np.clip(haversine, 0, 1)))


def _draw_profiles(
    panels: np.ndarray, one: xr.Dataset, variable: str, dim: Hashable, near: dict[Hashable, int]
) -> None:
    """Increment and change of the spread along the levels, in the column `near`, that is nearest to the place."""
    increment, spread, prior = (one[f"{variable}_{what}"] for what in ("increment", "analysis_spread", "prior_spread"))
    units = str(increment.attrs.get("units", ""))
    vertical = find_coordinate(prior, "vertical")
    levels = vertical if vertical is not None and vertical.dims == (dim,) else one[str(dim)]
    for column, radius in enumerate(one["radius"].values):
        colour = PALETTE[column % len(PALETTE)]
        label = f"{radius:g} {one['radius'].attrs.get('units', '')}".strip()
        look = {
            "color": colour,
            "linewidth": 1.4,
            "label": label,
            "marker": ".",
            "linestyle": ("-", "--", ":")[column % 3],
        }
        panels[0].plot(increment.isel({**near, "radius": column}).values, levels.values, **look)
        change = 100 * (spread.isel({**near, "radius": column}) / prior.isel(near) - 1)
        panels[1].plot(change.values, levels.values, **look)
    panels[0].set(title="at the place", xlabel=f"increment of {variable}" + f" ({units})" * bool(units))
    panels[1].set_xlabel("change of spread (%)")
    unit = str(levels.attrs.get("units", ""))
    for axes in panels:
        axes.set_ylabel(f"{levels.name} ({unit})" if unit else str(levels.name))
        axes.grid()
        if downwards(levels):
            axes.invert_yaxis()


def _nearest(grid: Grid, place: tuple[float, float]) -> dict[Hashable, int]:
    if grid.y is None:
        return {grid.dims[0]: int(np.argmin(np.abs(grid.x - place[0])))}
    x, y = (grid.x, grid.y) if grid.x.ndim == 2 else np.meshgrid(grid.x, grid.y)
    stretch = np.cos(np.deg2rad(place[1])) if grid.is_sphere else 1.0
    index = np.unravel_index(int(np.argmin(((x - place[0]) * stretch) ** 2 + (y - place[1]) ** 2)), x.shape)
    return dict(zip(grid.dims, map(int, index), strict=True))
