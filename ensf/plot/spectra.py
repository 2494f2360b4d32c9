"""Power spectra of truth, error and spread."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ensf.plot.reading import Runs, longest, scored, when_scored
from ensf.plot.style import INK, colours, legend_below, line_look, new_figure, styled
from ensf.plot.words import heading, method_label, unit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["figure_spectra", "quantity_of_spectra"]

SUFFIX = "_spectrum_truth"


def quantity_of_spectra(run: xr.Dataset) -> str | None:
    """What a file has spectra of, such as ``kinetic_energy``; None if it has none."""
    return next((str(name).removesuffix(SUFFIX) for name in run if str(name).endswith(SUFFIX)), None)


@styled
def figure_spectra(runs: Runs) -> Figure:
    """Spectra of the truth, and of error and spread of the analysis of each method; logarithmic axes.

    Means over all seeds and over the cycles after burn-in, without wavenumber 0 and the corners. Parameters and result
    as in `figure_rmse`; the files must have spectra.
    """
    run = next(iter(runs.values()))[0]
    name = quantity_of_spectra(run)
    every = list(itertools.chain(*runs.values()))
    caption = (
        f"{heading(every)}, means {when_scored(longest(every))}. Solid: error of the analysis mean. Dashed: "
        "spread of the analysis. Where the error of a method reaches the truth, it knows nothing of such waves."
    )
    words = str(name).replace("_", " ")
    figure = new_figure(5.6, f"Spectra of {words}: truth, error and spread", caption)
    axes = figure.subplots()
    truth = _mean(every, f"{name}{SUFFIX}")
    axes.plot(truth["wavenumber"], truth, **line_look(truth, INK, 1.6), label="truth")
    for method, colour in colours(runs).items():
        error, spread = (_mean(runs[method], f"{name}_spectrum_analysis_{what}") for what in ("error", "spread"))
        axes.plot(spread["wavenumber"], spread, **line_look(spread, colour, 1.2), linestyle="dashed")
        label = method_label(method, runs[method][0])
        axes.plot(error["wavenumber"], error, **line_look(error, colour, 1.6), label=label)
    axes.set(xlabel="total wavenumber (cycles per period)", ylabel=f"{words} ({unit_of(run[f'{name}{SUFFIX}'])})")
    _scale(axes, truth.values)
    legend_below(figure, axes, 3)
    return figure


def _mean(runs: Sequence[xr.Dataset], name: str) -> xr.DataArray:
    """Mean over seeds and scored cycles; what is not finite does not count."""
    parts = [scored(run[name], run).isel(wavenumber=slice(1, -1)).load().astype(float) for run in runs]
    joined = xr.concat(parts, "time", coords="minimal", compat="override")
    return joined.where(np.isfinite(joined)).mean("time")


def _scale(axes: Axes, truth: np.ndarray) -> None:
    """Logarithmic, no higher than ten times the truth: a method that is lost does not press the others together."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axes.set(xscale="log", yscale="log")
    axes.set_ylim(top=min(axes.get_ylim()[1], 10 * float(np.nanmax(truth, initial=1e-30))))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(LogLocator(subs=()))
    axes.grid()
