"""All figures of a folder."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from ensf.plot.ranks import figure_ranks
from ensf.plot.reading import read_runs
from ensf.plot.scores import figure_rmse
from ensf.plot.states import figure_states

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["report"]


def report(directory: str | Path) -> list[Path]:
    """Draw `rmse.png`, `ranks.png` and `states.png` from the files ``METHOD_seedN.nc`` of a folder.

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
    directory = Path(directory)
    figures = {"rmse.png": figure_rmse, "ranks.png": figure_ranks, "states.png": figure_states}
    with ExitStack() as stack:
        runs = read_runs(directory, stack)
        return [_save(draw(runs), directory / name) for name, draw in figures.items()]


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=160)
    return path
