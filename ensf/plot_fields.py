"""Figures of fields on a plane: maps with the observations, power spectra, an animation.

A `Frame` has what a map shows of one cycle and one level, from a `Cycle` or from the file of a run. The power of a
field f on a doubly periodic plane at total wavenumber k, cycles per period, is

    P(k) = sum of |f_mn|^2 over k - 1/2 <= |(m, n)| < k + 1/2,   f = sum f_mn exp(i (m x + n y)),

so that the sum over k is the mean square of f. `Spectra` adds the power of truth, error and ensemble spread over
cycles; given a function from states to the two components of the wind, they are spectra of kinetic energy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.fft

from ensf.arrays import Array, namespace, to_numpy
from ensf.netcdf import read
from ensf.observation import observed_index

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Frame", "Spectra", "animate", "animate_folder", "figure_fields", "figure_spectra", "frames", "power"]

STAGES = {"forecast": lambda cycle: cycle.forecast, "analysis": lambda cycle: cycle.analysis.ensemble}


# --- spectra ---------------------------------------------------------------------------------------------


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


# --- maps ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Frame:
    """One cycle on one level.

    Attributes
    ----------
    time : float
    units : str
        Of the fields.
    x, y : array
        Coordinates of columns and rows.
    truth, mean, spread : (y, x) arrays
        The truth, and mean and spread of the analysis.
    observed : (y, x) boolean array
        Grid points that were observed; all False if that is not known.
    time_units : str
    labels : tuple of str
        Of the axes x and y.
    """

    time: float
    units: str
    x: np.ndarray
    y: np.ndarray
    truth: np.ndarray
    mean: np.ndarray
    spread: np.ndarray
    observed: np.ndarray
    time_units: str = ""
    labels: tuple[str, str] = ("x", "y")

    @property
    def error(self) -> np.ndarray:
        """Mean minus truth."""
        return self.mean - self.truth

    @classmethod
    def of(cls, cycle: Any, model: Any, *level: int) -> Frame:
        """From a `Cycle` of a model with `shape`, `dims`, `coords`; `level` are indices before the last two dimensions.

        Raises
        ------
        ValueError
            If the model has no fields of two dimensions.
        """
        if len(model.shape) < 2:
            raise ValueError(f"the model has fields of shape {model.shape}: maps need two dimensions")
        members = cycle.analysis.ensemble
        xp = namespace(members)
        states = (
            cycle.truth,
            xp.mean(members, axis=0),
            xp.std(members, axis=0, correction=1),
        )
        place = (*level, *[0] * (len(model.shape) - 2))[: len(model.shape) - 2]
        truth, mean, spread = (to_numpy(state).reshape(model.shape)[place] for state in states)
        seen = _seen(observed_index(cycle.observation.operator), model.shape)[place]
        rows, columns = model.dims[-2:]
        y, x = (np.asarray(model.coords[name], float) for name in (rows, columns))
        units = getattr(model, "coord_units", {})
        labels = _label(columns, units.get(columns)), _label(rows, units.get(rows))
        return cls(cycle.time, getattr(model, "units", "1"), x, y, truth, mean, spread, seen, labels=labels)


def _label(name: str, units: str | None) -> str:
    return f"{name} ({units})" if units else str(name)


def _seen(index: np.ndarray | None, model_shape: Sequence[int]) -> np.ndarray:
    """Where something is observed, in the shape of the model; nowhere if that is not known."""
    seen = np.zeros(int(np.prod(model_shape)), bool)
    seen[[] if index is None else index[index >= 0]] = True
    return seen.reshape(model_shape)


def frames(path: str | Path, *level: int) -> Iterator[Frame]:
    """Frames of the file of a run, one cycle after another.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is none of ours, or has no fields of two dimensions.
    """
    with read(path) as run:
        names = [str(name).removesuffix("_analysis_mean") for name in run if str(name).endswith("_analysis_mean")]
        if not names or run[f"{names[0]}_truth"].ndim < 3:
            raise ValueError(f"{path} has no truth and analysis of two dimensions: maps need them")
        truth = run[f"{names[0]}_truth"]
        *above, rows, columns = map(str, truth.dims[1:])
        place = {name: level[k] if k < len(level) else 0 for k, name in enumerate(above)}
        for k, time in enumerate(run["time"].values):
            fields = (
                run[f"{names[0]}_{what}"][k].isel(place).values
                for what in ("truth", "analysis_mean", "analysis_spread")
            )
            truth_plane, mean, spread = fields
            units = str(truth.attrs.get("units", "1"))
            x, y = run[columns], run[rows]
            labels = _label(columns, x.attrs.get("units")), _label(rows, y.attrs.get("units"))
            index = run["observation_index"][k].values if "observation_index" in run else None
            seen = _seen(index, truth.shape[1:])[tuple(place.values())]
            since = str(run["time"].attrs.get("units", "")).partition(" since ")[0]
            yield Frame(float(time), units, x.values, y.values, truth_plane, mean, spread, seen, since, labels)


def figure_fields(frame: Frame) -> Figure:
    """Maps of truth, analysis mean, error and spread, with dots where some of the points are observed."""
    return _Maps(frame).figure


def animate(cycles: Iterable[Frame], path: str | Path, rate: int = 10) -> Path:
    """Write maps of all frames as an animation, one after another as they come.

    Parameters
    ----------
    cycles : iterable of Frame
    path : str or Path
        Ends in ``.gif`` (needs nothing else) or ``.mp4`` (needs the program ffmpeg).
    rate : int
        Frames per second.

    Raises
    ------
    ValueError
        If there is no frame, or no writer for such a file.
    """
    from matplotlib.animation import FFMpegWriter, PillowWriter

    path, coming = Path(path), iter(cycles)
    first = next(coming, None)
    if first is None:
        raise ValueError("there is no cycle to animate: run one first")
    writers: dict[str, Any] = {".gif": PillowWriter, ".mp4": FFMpegWriter}
    kind = writers.get(path.suffix)
    if kind is None or not kind.isAvailable():
        raise ValueError(f"{path.name} cannot be written: name a .gif, or install ffmpeg and name an .mp4")
    maps, writer = _Maps(first), kind(fps=rate)
    with writer.saving(maps.figure, str(path), dpi=80):
        writer.grab_frame()
        for frame in coming:
            maps.show(frame)
            writer.grab_frame()
    return path


def animate_folder(directory: str | Path) -> Iterator[Path]:
    """Write ``METHOD_seedN.gif`` for each file ``METHOD_seedN.nc`` of a folder, with a bar on standard error.

    Raises
    ------
    ValueError
        If the folder holds no such file, or its fields have not two dimensions.
    """
    from tqdm import tqdm

    paths = sorted(Path(directory).glob("*_seed*.nc"))
    if not paths:
        raise ValueError(f"{directory} holds no METHOD_seedN.nc: name the folder of a run, or run one first")
    for path in paths:
        yield animate(tqdm(frames(path), desc=path.stem, unit="frame", disable=None), path.with_suffix(".gif"))


class _Maps:
    """Four panels that show one frame after another on the scales of the first."""

    def __init__(self, frame: Frame) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(9.6, 9), layout="constrained")
        panels = self.figure.subplots(2, 2, sharex=True, sharey=True)
        extent = (*_ends(frame.x), *_ends(frame.y))
        self.images = {}
        for axes, (name, look) in zip(panels.flat, _looks(frame).items(), strict=True):
            image = axes.imshow(getattr(frame, name), origin="lower", extent=extent, **look)
            self.figure.colorbar(image, ax=axes, shrink=0.8, extend="both", label=f"{name} ({frame.units})")
            self.images[name] = image
        for axes, side, label in ((panels[1], "xlabel", 0), (panels[:, 0], "ylabel", 1)):
            for one in axes:
                one.set(**{side: frame.labels[label]})
        self.dots = panels[0, 0].plot([], [], ".", color="black", markersize=1.5)[0]
        self.show(frame)

    def show(self, frame: Frame) -> None:
        """Another frame."""
        for name, image in self.images.items():
            image.set_data(getattr(frame, name))
        rows, columns = np.nonzero(frame.observed & ~frame.observed.all())
        self.dots.set_data(frame.x[columns], frame.y[rows])
        rmse = np.sqrt(np.mean(frame.error**2))
        time = f"{frame.time:g} {frame.time_units}".strip()
        dots = "; dots: observed" if len(rows) else ""
        self.figure.suptitle(f"time {time}, RMSE {rmse:.3g} {frame.units} on this level{dots}")


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Outer edges of the cells around equidistant centres."""
    half = (values[1] - values[0]) / 2
    return float(values[0] - half), float(values[-1] + half)


def _looks(frame: Frame) -> dict[str, dict[str, Any]]:
    """Colours and scale of each map; the error's is symmetric."""
    low, high = np.quantile(frame.truth, (0.005, 0.995))
    state = {"cmap": "viridis", "vmin": low, "vmax": high}
    most = float(np.quantile(abs(frame.error), 0.99)) or 1.0
    error = {"cmap": "RdBu_r", "vmin": -most, "vmax": most}
    spread = {"cmap": "viridis", "vmin": 0.0, "vmax": float(np.quantile(frame.spread, 0.995)) or 1.0}
    return {"truth": state, "mean": state, "error": error, "spread": spread}
