"""Maps of truth, mean, error and spread: one figure, or an animation."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ensf.plot.fields.frame import Frame
from ensf.plot.style import Style
from ensf.runs.files import clear_unfinished, expanded, replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["animate", "figure_fields", "writer_for"]


def figure_fields(frame: Frame, title: str = "") -> Figure:
    """Maps of truth, analysis mean, error and spread, with dots where some of the points are observed.

    Parameters
    ----------
    frame : Frame
    title : str
        A line above the one with time and RMSE.
    """
    return _Maps(frame, title).figure


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
    path = expanded(path)
    coming = iter(cycles)
    first = next(coming, None)
    if first is None:
        raise ValueError("there is no cycle to animate: run one first")
    maps = _Maps(first)
    writer = writer_for(path, rate)
    maps.figure.draw_without_rendering()
    maps.figure.set_layout_engine("none")  # else the panels move from frame to frame
    clear_unfinished(path)
    with replacing(path) as hidden, writer.saving(maps.figure, str(hidden), dpi=80):
        writer.grab_frame()
        for frame in coming:
            maps.show(frame)
            writer.grab_frame()
    return path


def writer_for(path: Path, rate: int) -> Any:
    """What writes an animation of this name, with so many frames per second.

    Raises
    ------
    ValueError
        If nothing does.
    """
    from matplotlib.animation import FFMpegWriter, PillowWriter

    writers: dict[str, Any] = {".gif": PillowWriter, ".mp4": FFMpegWriter}
    kind = writers.get(path.suffix)
    if kind is None or not kind.isAvailable():
        raise ValueError(f"{path.name} cannot be written: name a .gif, or install ffmpeg and name an .mp4")
    return kind(fps=rate)


class _Maps:
    """Four panels that show one frame after another on the scales of the first."""

    def __init__(self, frame: Frame, title: str = "") -> None:
        from matplotlib.figure import Figure

        self.title = title
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
        rmse = np.sqrt(np.mean(frame.error.astype(float) ** 2))
        time = f"{frame.time:g} {frame.time_units}".strip()
        dots = "; dots: observed" if len(rows) else ""
        words = f"time {time}, RMSE {rmse:.3g} {frame.units} on this level{dots}"
        self.figure.suptitle(f"{self.title}\n{words}".lstrip())


def _ends(values: np.ndarray) -> tuple[float, float]:
    """Outer edges of the cells around equidistant centres; a single one is 1 wide."""
    half = (values[1] - values[0]) / 2 if len(values) > 1 else 0.5
    return float(values[0] - half), float(values[-1] + half)


def _looks(frame: Frame) -> dict[str, Style]:
    """Colours and scale of each map; the error's is symmetric."""
    low, high = _quantile(frame.truth, 0.005), _quantile(frame.truth, 0.995)
    state = {"cmap": "viridis", "vmin": low, "vmax": high}
    largest = _quantile(abs(frame.error), 0.99) or 1.0
    error = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest}
    spread = {"cmap": "viridis", "vmin": 0.0, "vmax": _quantile(frame.spread, 0.995) or 1.0}
    return {"truth": state, "mean": state, "error": error, "spread": spread}


def _quantile(values: np.ndarray, level: float) -> float:
    """Quantile of what is finite; 0 if nothing is."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, level)) if finite.size else 0.0
