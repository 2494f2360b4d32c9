"""Power spectra of truth, error and spread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft

from ensf.arrays import Array, namespace, to_numpy

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Spectra", "figure_spectra", "power"]

STAGES = {"forecast": lambda cycle: cycle.forecast, "analysis": lambda cycle: cycle.analysis.ensemble}


def power(fields: Array) -> np.ndarray:
    """Power by total wavenumber 0, 1, ..., ``(..., y, x) -> (..., wavenumber)``, on the host.

    The corners of the square of wavenumbers count to the last one, so that the sum is the mean square.
    """
    waves = np.abs(scipy.fft.fftn(to_numpy(fields), axes=(-2, -1), norm="forward")) ** 2
    rows, columns = (np.fft.fftfreq(size, 1 / size) for size in waves.shape[-2:])
    most = min(waves.shape[-2:]) // 2
    ring = np.minimum(np.rint(np.hypot(rows[:, None], columns)).astype(int), most).ravel()
    flat = waves.reshape(-1, ring.size)
    return np.stack([np.bincount(ring, row, most + 1) for row in flat]).reshape(*waves.shape[:-2], most + 1)


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

    def add(self, cycle: Any) -> None:
        """Take the power of one `Cycle`."""
        self._sum("truth", cycle.truth)
        for stage, ensemble in STAGES.items():
            members = ensemble(cycle)
            mean = namespace(members).mean(members, axis=0)
            self._sum(f"error of the {stage}", mean - cycle.truth)
            self._sum(f"spread of the {stage}", (members - mean) / np.sqrt(len(members) - 1))
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

    def _sum(self, name: str, states: Array) -> None:
        """Add the power of states ``(state,)``, or the sum over members ``(member, state)``."""
        fields = [namespace(f).reshape(f, (-1, *self.shape[-2:])) for f in self.fields(states)]
        levels = int(np.prod(self.shape[:-2], dtype=int))
        self.sums[name] = self.sums.get(name, 0.0) + sum(power(f).sum(axis=0) for f in fields) / levels


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
