"""The model in the loop on files: members are forecast again from copies of their start files that the update changed.

start file --copied--> --start of the window written in--> model --> end of the window
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ensf.dataset.stores import copy
from ensf.observations import Window
from ensf.offline.members import Source
from ensf.offline.writer import write_values

__all__ = ["Again", "NotForecast"]


class NotForecast(ValueError):
    """A member could not be forecast from where the update would have it start.

    Attributes
    ----------
    members : tuple of int
        Its number among those that are analysed.
    """

    def __init__(self, reason: str, member: int) -> None:
        super().__init__(reason, member)
        self.members = (member,)

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, eq=False)
class Again:
    """Where the members of a forecast started, and how they are forecast again.

    Parameters
    ----------
    paths : tuple of Path
        Of each member, from which its forecast started; they stay as they are.
    folder : Path
        Of changed copies, which is the loop's own.
    forecast : callable
        Takes the copies of one member or of all, gives the files of their forecasts. One alone is the first member, or
        the mean of all in a copy of the first member's file. Raises `NotForecast` for what fails.
    """

    paths: tuple[Path, ...]
    folder: Path
    forecast: Callable[[Sequence[Path]], Sequence[Path]]

    def window(self, source: Source, end: np.ndarray) -> Window:
        """The physical window of a forecast.

        Parameters
        ----------
        source : Source
            Of the forecast.
        end : (member, state) array
            The forecast.

        Raises
        ------
        ValueError, OSError
            If a start file cannot be read, or is not like those of the forecast; from the window, if the mean cannot be
            forecast, which is no member's failure.
        """
        before = source.earlier(self.paths)
        start = before.load(distinct=False).astype(end.dtype, copy=False)

        def forecast(states: np.ndarray) -> np.ndarray:
            is_moved = not np.array_equal(states, start[: len(states)])
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            names = [path.name for path in source.paths[: len(states)]]
            for path, name in zip(before.paths, names, strict=False):
                copy(path, self.folder / name)
            if is_moved:  # else the rounding of packed numbers would be taken for noise of the model
                write_values(self.folder, before, states, names)
            try:
                ends = self.forecast([self.folder / name for name in names])
            except NotForecast as error:
                if is_moved and len(states) == 1:
                    raise OSError(f"the forecast of the mean failed: {error}; repair it and resume") from None
                raise
            return source.catalogue(ends).astype(end.dtype, copy=False)

        return Window(start, end, forecast)
