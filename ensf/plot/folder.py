"""All figures of a folder, whatever left it: a run, an analysis of files, or a cycled model.

run         METHOD_seedN.nc                              rmse, ranks, states, spectra, maps_METHOD;
                                                         of forecasts leads, hydrographs in place of states
analysis    fields.nc, observations.nc, statistics.nc    increment, spread, places, fit, rejected
cycles      statistics.nc, cycle_NNNN/                   innovations, consistency, rows, parameters, estimates,
                                                         forecasts, and those of the last cycle
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ensf.dataset.pipeline import Follow, quiet
from ensf.offline.fields import FIELDS
from ensf.offline.model_runs import MODEL_RUNS
from ensf.offline.parameter_statistics import parameters_of
from ensf.offline.statistics import STATISTICS, lines, read_statistics
from ensf.offline.writer import TABLE
from ensf.plot import analysis, cycles
from ensf.plot.fields import Frame, animate, figure_fields, frames
from ensf.plot.fields.maps import writer_for
from ensf.plot.forecasts import figure_hydrographs, figure_leads
from ensf.plot.html import page
from ensf.plot.ranks import figure_ranks
from ensf.plot.reading import Runs, read_runs, variable_of
from ensf.plot.scores import figure_rmse
from ensf.plot.spectra import figure_spectra, quantity_of_spectra
from ensf.plot.states import figure_states
from ensf.plot.words import heading, method_label
from ensf.runs.files import clear_unfinished, expanded, replacing, write_text
from ensf.runs.owner import owned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FORMATS", "Report", "report", "save"]

FORMATS = ("png", "pdf", "svg")
PAGE = "report.html"
RATE = 4


@contextmanager
def _whole(directory: Path) -> Iterator[None]:
    """A variable that a figure needs and a file lacks becomes one sentence."""
    try:
        yield
    except KeyError as error:
        needed = str(error.args[0]).split(". ")[0]
        raise ValueError(f"{directory}: a file lacks what a figure needs ({needed}): make it again") from error


@dataclass(frozen=True)
class Report:
    """How a folder is drawn.

    Parameters
    ----------
    formats : tuple of str
        Of ``png``, ``pdf``, ``svg``: one file of each for every figure.
    dpi : int
        Dots per inch of what is made of dots.
    methods : tuple of str
        Of a run; all if empty.
    html : bool
        One page ``report.html`` with all figures in it, too: it can be sent as it is.
    follow : callable
        ``follow(steps, what)`` gives the same steps and may show progress.

    Raises
    ------
    ValueError
        If there is no such format, or the number of dots makes no sense.
    """

    formats: tuple[str, ...] = ("png",)
    dpi: int = 160
    methods: tuple[str, ...] = ()
    html: bool = False
    follow: Follow = quiet

    def __post_init__(self) -> None:
        for form in self.formats:
            if form not in FORMATS:
                raise ValueError(f"there is no format {form!r}: choose from {', '.join(FORMATS)}")
        if not self.formats:
            raise ValueError(f"no format is named: choose from {', '.join(FORMATS)}")
        if not 20 <= self.dpi <= 2400:
            raise ValueError(f"dpi is {self.dpi}: give dots per inch from 20 to 2400, such as 160")

    def draw(self, directory: str | Path) -> list[Path]:
        """Draw the figures of a folder into it.

        Returns
        -------
        list of Path

        Raises
        ------
        ValueError
            If the folder holds nothing to draw, or a file that cannot be read.
        """
        directory = expanded(directory)
        paths, pictures = [], []
        with owned(directory, make=False), ExitStack() as stack, _whole(directory):
            for name, figure in self.follow(_figures(directory, self.methods, stack), "figures"):
                paths += self.save(figure, directory, name)
                if self.html:
                    drawn = directory / f"{name}.png"
                    pictures.append((name, drawn.read_bytes() if drawn in paths else _png(figure, self.dpi)))
            if self.html:
                paths.append(directory / PAGE)
                clear_unfinished(paths[-1])
                write_text(paths[-1], page(directory.resolve().name, pictures, _words(directory)))
        return paths

    def save(self, figure: Figure, directory: Path, name: str) -> list[Path]:
        """A figure in every format, each file at once."""
        paths = [directory / f"{name}.{form}" for form in self.formats]
        return [save(figure, path, self.dpi) for path in paths]

    def animate(self, directory: str | Path, suffix: str = "gif") -> Iterator[Path]:
        """Animations: maps of each file of a run, or the increments of all cycles that are kept.

        Parameters
        ----------
        directory : str or Path
        suffix : str
            ``gif``, or ``mp4`` where ffmpeg is installed.

        Raises
        ------
        ValueError
            If there is nothing to animate.
        """
        directory = expanded(directory)
        places = _cycles_with_fields(directory)
        if places:
            yield self._animate_cycles(directory / f"increment.{suffix}", places)
            return
        with ExitStack() as stack:
            chosen = _chosen(read_runs(directory, stack), self.methods)
        for path in sorted(directory.glob("*_seed*.nc")):
            if path.stem.rsplit("_seed", 1)[0] in chosen:
                yield animate(self.follow(frames(path), path.stem), path.with_suffix(f".{suffix}"))

    def _animate_cycles(self, path: Path, places: Sequence[Path]) -> Path:
        from matplotlib.figure import Figure

        first = _look_of_cycle(places[0])
        writer = writer_for(path, RATE)
        picture = _pixels(analysis.figure_increment(first), 90)
        canvas = Figure(figsize=(picture.shape[1] / 90, picture.shape[0] / 90))
        clear_unfinished(path)
        with replacing(path) as hidden, writer.saving(canvas, str(hidden), dpi=90):
            for place in self.follow(places, "cycles"):
                canvas.clear()
                canvas.figimage(_pixels(analysis.figure_increment(_look_of_cycle(place), first), 90))
                writer.grab_frame()
        return path


def report(directory: str | Path) -> list[Path]:
    """Draw the figures of a folder into it, as `Report` does by default."""
    return Report().draw(directory)


def save(figure: Figure, path: Path, dpi: float = 160) -> Path:
    """Replace a figure at once; nobody else may be writing it.

    Raises
    ------
    OSError
        If it cannot be written; a former one is untouched.
    """
    clear_unfinished(path)
    with replacing(path) as hidden:
        figure.savefig(hidden, format=path.suffix[1:], dpi=dpi)
    return path


# --- what is drawn ------------------------------------------------------------------------------------------


def _figures(directory: Path, methods: Sequence[str], stack: ExitStack) -> Iterator[tuple[str, Figure]]:
    """Figures by name, as they are made."""
    if not directory.is_dir():
        raise ValueError(f"there is no folder {directory}: name that of a run, an analysis, or a cycled model")
    of_cycles = any(directory.glob("cycle_*")) and (directory / STATISTICS).is_file()
    if methods and (of_cycles or (directory / FIELDS).is_file()):
        raise ValueError(f"{directory} has one method: leave out --methods, which chooses among those of a run")
    if of_cycles:
        yield from _figures_of_cycles(directory)
    elif (directory / FIELDS).is_file():
        yield from analysis.figures(analysis.Look.read(directory / FIELDS, directory / TABLE, directory.resolve().name))
    else:
        yield from _figures_of_run(_chosen(read_runs(directory, stack), methods))


def _chosen(runs: Runs, methods: Sequence[str]) -> Runs:
    for name in methods:
        if name not in runs:
            raise ValueError(f"there is no run of a method {name!r}: choose from {', '.join(runs)}")
    return {name: runs[name] for name in methods or runs}


def _figures_of_run(runs: Runs) -> Iterator[tuple[str, Figure]]:
    yield "rmse", figure_rmse(runs)
    yield "ranks", figure_ranks(runs)
    if all("lead" in run.dims for run in chain(*runs.values())):
        yield "leads", figure_leads(runs)
        yield "hydrographs", figure_hydrographs(runs)
    else:
        yield "states", figure_states(runs)
    spectral = {
        method: having for method, some in runs.items() if (having := [run for run in some if quantity_of_spectra(run)])
    }
    if spectral:
        yield "spectra", figure_spectra(spectral)
    for method, (run, *_) in runs.items():
        if run[f"{variable_of(run)}_truth"].ndim > 2:
            title = f"{heading([run])}, {method_label(method, run)}, cycle {run.sizes['time']}"
            yield f"maps_{method}", figure_fields(Frame.read(run, -1), title)


def _figures_of_cycles(directory: Path) -> Iterator[tuple[str, Figure]]:
    statistics = read_statistics(directory / STATISTICS)
    about = directory.resolve().name
    yield "innovations", cycles.figure_innovations(statistics, about)
    yield "consistency", cycles.figure_consistency(statistics, about)
    yield "rows", cycles.figure_rows(statistics, about)
    if parameters_of(statistics):
        yield "parameters", cycles.figure_parameters(statistics, about)
    if cycles.found(statistics):
        yield "estimates", cycles.figure_estimates(statistics, about)
    if MODEL_RUNS in statistics:
        yield "forecasts", cycles.figure_model_runs(statistics, about)
    places = _cycles_with_fields(directory)
    if places:
        yield from analysis.figures(_look_of_cycle(places[-1]))


def _cycles_with_fields(directory: Path) -> list[Path]:
    places = sorted(directory.glob("cycle_*"))
    return [place for place in places if (place / FIELDS).is_file() and (place / "observations.csv").is_file()]


def _look_of_cycle(place: Path) -> analysis.Look:
    number = int(place.name.removeprefix("cycle_"))
    about = f"{place.resolve().parent.name}, cycle {number}"
    if (place.parent / STATISTICS).is_file():
        statistics = read_statistics(place.parent / STATISTICS)
        if number in statistics["cycle"].values:
            time = statistics["time"].sel(cycle=number).values
            about += f", {np.datetime_as_string(time, 'm')} UTC" if time.dtype.kind == "M" else f", time {time:g}"
    return analysis.Look.read(place / FIELDS, place / "observations.csv", about)


def _words(directory: Path) -> str:
    """The table of statistics, if there is one."""
    return "\n".join(lines(read_statistics(directory / STATISTICS))) if (directory / STATISTICS).is_file() else ""


def _png(figure: Figure, dpi: int) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def _pixels(figure: Figure, dpi: int) -> np.ndarray:
    from matplotlib.image import imread

    return imread(io.BytesIO(_png(figure, dpi)))
