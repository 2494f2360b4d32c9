"""Truth, analysis and error: curves, time-space diagrams or maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ensf.plot.planes import aspect_of, colour_bars, draw_plane, error_look, layer, state_look
from ensf.plot.reading import WINDOW, Chosen, Runs, fields_of, longest, recent_fields, variable_of
from ensf.plot.style import INK, colours, legend_below, line_look, new_figure, styled
from ensf.plot.words import axis_label, heading, method_label, place_of, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_states"]

CURVES = 8
"""A model of more variables is shown as a field."""


@styled
def figure_states(runs: Runs) -> Figure:
    """Truth, analysis mean and error of one seed, the first that all methods share.

    Curves of each variable for tiny models, time-space diagrams for fields of one dimension, maps otherwise.
    Parameters and result as in `figure_rmse`.
    """
    shared = set.intersection(*({run.attrs["seed"] for run in datasets} for datasets in runs.values()))
    chosen = {
        method: next((run for run in datasets if run.attrs["seed"] in sorted(shared)[:1]), datasets[0])
        for method, datasets in runs.items()
    }
    run = longest(chosen.values())
    truth = run[f"{variable_of(run)}_truth"]
    draw = _curves if truth[0].size <= CURVES else _hovmoeller if truth.ndim == 2 else _maps
    return draw(chosen)


def _about(chosen: Chosen) -> str:
    cycles = longest(chosen.values()).sizes["time"]
    return heading(chosen.values()) + f", last {WINDOW} of {cycles} cycles" * (cycles > WINDOW)


def _curves(chosen: Chosen) -> Figure:
    fields, truth = recent_fields(chosen)
    size = truth[0].size
    name = variable_of(next(iter(chosen.values())))
    caption = f"{_about(chosen)}. Left: states. Right: analysis mean minus truth. Bands: two standard deviations."
    figure = new_figure(1.4 + 1.5 * size, "Truth, analysis and error", caption)
    panels = figure.subplots(size, 2, sharex=True, squeeze=False)
    for number, row in enumerate(panels):
        for method, colour in colours(chosen).items():
            mean, error, spread = (_component(fields[method][what], number) for what in ("mean", "error", "spread"))
            _draw_band(row[0], mean, spread, colour, method_label(method, chosen[method]))
            _draw_band(row[1], error, spread, colour)
        values = _component(truth, number)
        margin = 0.2 * float(values.max() - values.min()) or 1.0
        row[0].plot(truth["time"], values, **line_look(values, INK, 0.9), label="truth")
        row[0].set_ylim(float(values.min()) - margin, float(values.max()) + margin)
        row[0].set_ylabel(f"{name}[{number}] ({unit_of(truth)})")
        row[1].set_ylabel(f"error ({unit_of(truth)})")
        row[1].axhline(0, color=INK, linewidth=0.9)
    for axes in panels.flat:
        axes.margins(x=0.01)
        axes.grid()
    for axes in panels[-1]:
        axes.set_xlabel(axis_label(truth["time"]))
    legend_below(figure, panels[0, 0], 4)
    return figure


def _component(field: xr.DataArray, number: int) -> xr.DataArray:
    return field.stack(component=field.dims[1:])[:, number]


def _draw_band(axes: Axes, centre: xr.DataArray, spread: xr.DataArray, colour: str, label: str | None = None) -> None:
    """A line, with two standard deviations either side."""
    time = centre["time"]
    axes.plot(time, centre, **line_look(time, colour, 1.3), label=label)
    axes.fill_between(time, centre - 2 * spread, centre + 2 * spread, color=colour, alpha=0.2, linewidth=0)


def _hovmoeller(chosen: Chosen) -> Figure:
    fields, truth = recent_fields(chosen)
    caption = f"{_about(chosen)}. Left: states. Right: analysis mean minus truth, and its RMSE."
    figure = new_figure(2.1 + 1.3 * (len(chosen) + 1), "Truth, analysis and error", caption)
    panels = figure.subplots(len(chosen) + 1, 2, sharex=True)
    state = state_look(truth)
    error = error_look(part["error"][part.sizes["time"] // 2 :] for part in fields.values())
    draw_plane(panels[0, 0], truth.T, state, "truth")
    for row, (method, colour) in zip(panels[1:], colours(chosen).items(), strict=True):
        part = fields[method]
        draw_plane(row[0], part["mean"].T, state, method_label(method, chosen[method]), colour)
        draw_plane(row[1], part["error"].T, error, f"error of {method}", colour)
        panels[0, 1].plot(part["time"], part["rmse_analysis"], **line_look(part["time"], colour, 1.3))
    panels[0, 1].set(title="RMSE of the methods", ylabel=f"RMSE\n({unit_of(truth)})", ylim=(0, None))
    panels[0, 1].grid()
    for axes in panels[-1]:
        axes.set_xlabel(axis_label(truth["time"]))
    colour_bars(figure, panels, state, error, truth)
    return figure


def _maps(chosen: Chosen) -> Figure:
    last = min(run["time"].values[-1] for run in chosen.values())
    fields = {method: layer(part) for method, part in fields_of(chosen, slice(last, last)).items()}
    truth = next(iter(fields.values()))["truth"]
    fixed = sorted((name for name in truth.coords if not truth[name].ndim), key=lambda name: name != "time")
    where = ", ".join(place_of(truth[name]) for name in fixed)
    caption = f"{heading(chosen.values())}, {where}. Below each state: analysis mean minus truth."
    columns = min(len(chosen) + 1, 4)
    aspect = aspect_of(truth)
    blocks = -(-(len(chosen) + 1) // columns)
    height = 1.75 + 2 * blocks * (0.3 + np.clip(9.2 * aspect / columns, 1, 4))
    figure = new_figure(height, "Truth, analysis and error", caption)
    panels = figure.subplots(2 * blocks, columns, sharex=True, sharey=True)
    for axes in panels.flat:
        axes.set_axis_off()
    state, error = state_look(truth), error_look(part["error"] for part in fields.values())
    draw_plane(panels[0, 0], truth, state, "truth")
    for place, (method, colour) in enumerate(colours(chosen).items(), 1):
        part = fields[method]
        (block, column) = divmod(place, columns)
        title = f"error, RMSE {float(part['rmse_analysis']):.3g}"
        draw_plane(panels[2 * block, column], part["mean"], state, method_label(method, chosen[method]), colour)
        draw_plane(panels[2 * block + 1, column], part["error"], error, title, colour)
    for axes in panels.flat:
        axes.set_box_aspect(aspect)
        axes.label_outer()
    colour_bars(figure, panels, state, error, truth)
    return figure
