"""A plane of a field as coloured cells, with the colour scales of states and errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from ensf.plot.style import GREY, PALE, Style
from ensf.plot.words import axis_label, quantity_of, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["aspect_of", "colour_bars", "draw_plane", "error_look", "layer", "state_look"]


def layer(fields: xr.Dataset) -> xr.Dataset:
    """The plane of the last two dimensions: one time, and the first of any levels."""
    return fields.isel(dict.fromkeys(fields["truth"].dims[:-2], 0))


def aspect_of(plane: xr.DataArray) -> float:
    """Height over width: the true one if both axes are in metres, say, or in degrees."""
    vertical, horizontal = (plane[name] for name in plane.dims)
    if unit_of(vertical)[:1] != unit_of(horizontal)[:1]:
        return 1.0
    return float(np.clip(np.ptp(_edges(vertical)) / np.ptp(_edges(horizontal)), 0.25, 2))


def state_look(truth: xr.DataArray) -> Style:
    from matplotlib.colors import Normalize

    return {"cmap": "viridis", "norm": Normalize(*np.quantile(truth, (0.005, 0.995)))}


def error_look(errors: Iterable[xr.DataArray]) -> Style:
    """Symmetric about 0, for the errors of the typical method: one that is lost does not pale the others."""
    from matplotlib.colors import Normalize

    sizes = [np.abs(error.values[np.isfinite(error.values)]) for error in errors]
    limits = [np.quantile(size, 0.99) for size in sizes if len(size)]
    limit = float(np.quantile(limits or 1.0, 0.5, method="lower")) or 1.0
    return {"cmap": "RdBu_r", "norm": Normalize(-limit, limit)}


def draw_plane(axes: Axes, plane: xr.DataArray, look: Style, title: str, colour: str = GREY) -> None:
    """A plane (vertical, horizontal) with its coordinates on the axes and a margin in the method's colour."""
    vertical, horizontal = (plane[name] for name in plane.dims)
    axes.set_axis_on()
    axes.set(title=title, facecolor=PALE, ylabel=axis_label(vertical), ylim=_edges(vertical)[[0, -1]])
    axes.spines["left"].set(color=colour, linewidth=3)
    if len(axis_label(vertical)) < 3:
        axes.yaxis.label.set(rotation=0, va="center")
    if horizontal.name != "time":
        axes.set_xlabel(axis_label(horizontal))
    if plane.size:
        axes.pcolormesh(_edges(horizontal), _edges(vertical), plane.values, rasterized=True, **look)
    else:
        axes.text(0.5, 0.5, "ended before", transform=axes.transAxes, ha="center", va="center")


def _edges(centres: xr.DataArray) -> np.ndarray:
    """Edges of the cells around centres."""
    values = centres.values.astype(float)
    middle = (values[1:] + values[:-1]) / 2
    first, last = (middle[0], middle[-1]) if len(middle) else (values[0] - 0.5, values[0] + 0.5)
    ends = (2 * values[0] - first, 2 * values[-1] - last) if len(middle) else (first, last)
    return np.concatenate((ends[:1], middle, ends[1:]))


def colour_bars(figure: Figure, panels: Any, state: Style, error: Style, truth: xr.DataArray) -> None:
    """Colour bars of states and errors below the left and right half of the panels."""
    from matplotlib.cm import ScalarMappable

    half = panels.shape[1] // 2
    labels = quantity_of(truth), f"error ({unit_of(truth)})"
    for look, label, part in zip((state, error), labels, (panels[:, :half], panels[:, half:]), strict=True):
        place: Style = {"location": "bottom", "aspect": 80 * part.shape[1] / panels.shape[1], "pad": 0.02}
        figure.colorbar(ScalarMappable(**look), ax=list(part.flat), label=label, extend="both", **place)
