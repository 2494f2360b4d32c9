"""Power spectra of truth, error and spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ensf.arrays import Array
from ensf.diagnostics import cycle_spectra

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ensf.twin import Cycle

__all__ = ["Spectra", "figure_spectra"]

NAMES = {
    "truth": "truth",
    "forecast_error": "error of the forecast",
    "forecast_spread": "spread of the forecast",
    "analysis_error": "error of the analysis",
    "analysis_spread": "spread of the analysis",
}


@dataclass(eq=False)
class Spectra:
    """Time means of power: of the truth, and of error and spread of forecast and analysis.

    Parameters
    ----------
    shape : tuple of int
        The model's.
    fields : callable, optional
        Linear function of the states ``(..., state)`` to a sequence of fields of the same shape whose powers are added,
        such as the two components of the wind, each over sqrt(2), for kinetic energy. Default: the states.
    """

    shape: tuple[int, ...]
    fields: Callable[[Array], Sequence[Array]] = lambda states: (states,)
    sums: dict[str, np.ndarray] = field(default_factory=dict)
    count: int = 0

    def add(self, cycle: Cycle) -> None:
        """Take the power of one `Cycle`."""
        for key, values in cycle_spectra(cycle, self.shape, self.fields).items():
            self.sums[NAMES[key]] = self.sums.get(NAMES[key], 0.0) + values
        self.count += 1

    def means(self) -> dict[str, np.ndarray]:
        """Power ``(wavenumber,)`` by name, averaged over the levels and the cycles taken.

        Raises
        ------
        ValueError
            If there was no cycle.
        """
        if not self.count:
            raise ValueError("no cycle was added: add one before asking for the spectra")
        return {name: total / self.count for name, total in self.sums.items()}


def figure_spectra(spectra: Spectra, quantity: str = "power", title: str = "") -> Figure:
    """Spectra of truth, error (full lines) and spread (dashed), without the mean and the corners; logarithmic axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    colours = {"truth": "black", "forecast": "#0072B2", "analysis": "#D55E00"}
    for name, values in spectra.means().items():
        style = "--" if name.startswith("spread") else "-"
        axes.loglog(np.arange(1, len(values) - 1), values[1:-1], style, color=colours[name.split()[-1]], label=name)
    axes.set(xlabel="total wavenumber (cycles per period)", ylabel=quantity, title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure
