"""Scores against a setting."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ensf.plot.style import colours, legend_below, new_figure, styled
from ensf.plot.words import unit_of
from ensf.runs.recipe.settings import is_of_another

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_sweep"]

STYLES = ("solid", "dashed", "dotted", "dashdot")


@styled
def figure_sweep(cube: xr.Dataset) -> Figure:
    """RMSE and spread of the analysis against the setting with most values, a line for each method and further setting.

    Parameters
    ----------
    cube : Dataset
        As `ensf sweep` writes it: scores ``(filter, setting, ..., seed)``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    settings = [str(name) for name in cube["rmse_analysis"].dims if name not in ("filter", "seed")]
    along = max(settings, key=lambda name: cube.sizes[name])
    others = [name for name in settings if name != along]
    words = "Lines are medians over seeds, bands span all seeds; a gap is a run that ended in an error."
    if (cube["past_burn_in"] == 0).any():
        words += " Some runs end within their burn-in: their means are over all cycles."
    figure = new_figure(5.0, f"Error and spread against {_short(along)}", f"{cube.attrs['summary']}. {words}")
    panels = figure.subplots(1, 2, sharey=True)
    palette = colours([str(method) for method in cube["filter"].values])
    combinations = list(itertools.product(*(cube[name].values for name in others)))
    for method, colour in palette.items():
        for values, style in zip(combinations, itertools.cycle(STYLES), strict=False):
            point = dict(zip(others, values, strict=True))
            if any(is_of_another(name, method, palette) and point[name] != cube[name][0] for name in others):
                continue
            at = cube.sel(filter=method).sel(point)
            own = [name for name in others if not is_of_another(name, method, palette)]
            label = ", ".join([method, *(f"{_short(name)} {point[name]}" for name in own)])
            for axes, score in zip(panels, ("rmse_analysis", "spread_analysis"), strict=True):
                _draw(axes, at[score].transpose("seed", along), along, colour, style, label)
    for axes, title in zip(panels, ("RMSE of the analysis mean", "spread of the analysis"), strict=True):
        axes.set(title=title, xlabel=_short(along))
        axes.grid(axis="y")
    panels[0].set_ylabel(f"RMSE and spread ({unit_of(cube['rmse_analysis'])})")
    legend_below(figure, panels[0], 3)
    return figure


def _short(setting: str) -> str:
    """First and last word of a dotted name."""
    words = setting.split(".")
    return setting if len(words) < 3 else f"{words[0]}.{words[-1]}"


def _draw(axes: Axes, scores: xr.DataArray, along: str, colour: str, style: str, label: str) -> None:
    places = scores[along].values
    is_number = np.issubdtype(places.dtype, np.number) and places.dtype != bool
    x = places if is_number else np.arange(places.size)
    order = np.argsort(x)
    values = scores.values[:, order]
    axes.fill_between(x[order], values.min(axis=0), values.max(axis=0), color=colour, alpha=0.15, linewidth=0)
    axes.plot(x[order], np.median(values, axis=0), color=colour, linestyle=style, marker="o", markersize=4, label=label)
    axes.set_xticks(x[order], [f"{value:g}" if is_number else str(value) for value in places[order]])
