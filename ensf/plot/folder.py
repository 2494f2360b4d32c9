"""All figures of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ensf.plot.fields import Frame, figure_fields
from ensf.plot.ranks import figure_ranks
from ensf.plot.reading import Runs, read_runs, variable_of
from ensf.plot.scores import figure_rmse
from ensf.plot.spectra import figure_spectra, quantity_of_spectra
from ensf.plot.states import figure_states
from ensf.plot.words import heading, method_label
from ensf.runs.files import clear_unfinished, expanded, replacing
from ensf.runs.owner import owned

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["report", "save"]


def report(directory: str | Path) -> list[Path]:
    """Draw the figures of a folder from its files ``METHOD_seedN.nc``.

    `rmse.png`, `ranks.png` and `states.png`; `spectra.png` if the files have spectra, and ``maps_METHOD.png`` if the
    fields have two dimensions.

    Parameters
    ----------
    directory : str or Path

    Returns
    -------
    list of Path
        The figures.

    Raises
    ------
    ValueError
        If the folder holds no such file, or one that cannot be read, or none with a finished cycle.
    """
    directory = expanded(directory)
    with owned(directory, make=False), ExitStack() as stack:
        return [save(figure, directory / name) for name, figure in _figures(read_runs(directory, stack))]


def _figures(runs: Runs) -> Iterator[tuple[str, Figure]]:
    yield "rmse.png", figure_rmse(runs)
    yield "ranks.png", figure_ranks(runs)
    yield "states.png", figure_states(runs)
    spectral = {
        method: having for method, some in runs.items() if (having := [run for run in some if quantity_of_spectra(run)])
    }
    if spectral:
        yield "spectra.png", figure_spectra(spectral)
    for method, (run, *_) in runs.items():
        if run[f"{variable_of(run)}_truth"].ndim > 2:
            title = f"{heading([run])}, {method_label(method, run)}, cycle {run.sizes['time']}"
            yield f"maps_{method}.png", figure_fields(Frame.read(run, -1), title)


def save(figure: Figure, path: Path, dpi: float = 160) -> Path:
    """Replace a figure at once; nobody else may be writing it.

    Raises
    ------
    OSError
        If it cannot be written; a former one is untouched.
    """
    clear_unfinished(path)
    with replacing(path) as hidden:
        figure.savefig(hidden, dpi=dpi)
    return path
