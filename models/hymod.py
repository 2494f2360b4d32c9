"""HYMOD: the rainfall-runoff model of Boyle (2001).

A catchment is a soil whose storage capacity c (mm) differs from place to place, and four linear tanks. With
F(c) = 1 - (1 - c / C)^b the part of it with a capacity below c, and all places filled to the same level c*,

    S = S_max (1 - (1 - c* / C)^(b + 1)),    S_max = C / (b + 1)                water in the soil
    c* <- min(c* + rain, C)                                                     what does not fit runs off
    S <- S - E S / S_max                                                        E = potential evaporation
    runoff -> a part `quick` into three tanks in a row, the rest into a slow one
    tank: out = k (x + in),  x <- (1 - k) (x + in)

in every step, and the discharge is what leaves the third quick tank and the slow one. No water is lost or made. With n
steps a day k = 1 - (1 - rate)^(1 / n): a tank without inflow loses the part `quick_rate` or `slow_rate` in a day.

Source: Moore (1985), Hydrol. Sci. J. 30, 273 (the soil); Boyle (2001), PhD thesis, University of Arizona; Vrugt et al.
(2003), Water Resour. Res. 39, 1201 (the whole, and ranges of the parameters).
"""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

__all__ = ["PARAMETERS", "STORAGES", "Hymod"]

PARAMETERS = ("capacity", "shape", "quick", "slow_rate", "quick_rate")
"""C in mm, b, part of the runoff that is quick, and the parts of slow and quick tanks that leave them in a day."""

STORAGES = ("soil", "quick_1", "quick_2", "quick_3", "slow")
"""Water over the area of the catchment, in mm."""


@dataclass(frozen=True)
class Hymod:
    """The model of a catchment.

    Parameters
    ----------
    area : float
        km2.
    steps : int
        Steps in a day.

    Raises
    ------
    ValueError
        If the area is not positive, or there is no step.
    """

    area: float
    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"HYMOD has {self.steps} steps in a day: give a whole number, 1 or more")
        if not self.area > 0:
            raise ValueError(f"the area of the catchment is {self.area} km2: give a positive number")

    def run(
        self, storages: np.ndarray, parameters: np.ndarray, rain: np.ndarray, evaporation: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Days after one another, of many members at once.

        Parameters
        ----------
        storages : (member, 5) array
            mm, as in `STORAGES`. What is below 0 counts as 0, soil above its maximum as the maximum.
        parameters : (member, 5) array
            As in `PARAMETERS`.
        rain, evaporation : (member, step) array
            mm in each step of whole days, the second one potential.

        Returns
        -------
        storages : (member, 5) array
            At the end of the last day.
        discharge : (member, day) array
            m3/s, mean of each day.

        Raises
        ------
        ValueError
            If the days are not whole.
        """
        if np.shape(rain)[-1] % self.steps:
            raise ValueError(f"there is rain of {np.shape(rain)[-1]} steps: give {self.steps} for each day")
        after = np.array(storages, dtype=np.float64)
        members, days = len(after), np.shape(rain)[-1] // self.steps
        own = np.array(parameters, dtype=np.float64)
        own[:, 3:] = 1 - (1 - own[:, 3:]) ** (1 / self.steps)
        runoff = np.empty((members, days * self.steps))
        wet, warm = (np.ascontiguousarray(part, np.float64) for part in (rain, evaporation))
        _steps(after, own, wet, warm, runoff)
        return after, runoff.reshape(members, days, self.steps).sum(axis=2) * (self.area / 86.4)


@numba.njit(cache=True, error_model="numpy")
def _steps(storages, parameters, rain, evaporation, runoff):
    """Overwrite storages with those at the end, and `runoff` with that of each step, in mm."""
    for member in range(len(storages)):
        capacity, shape, quick, slow_rate, quick_rate = parameters[member]
        largest = capacity / (shape + 1)
        tanks = storages[member]
        for i in range(5):
            tanks[i] = max(tanks[i], 0.0)
        for step in range(rain.shape[1]):
            soil = min(tanks[0], largest)
            level = capacity * (1 - (1 - soil / largest) ** (1 / (shape + 1)))
            level = min(level + rain[member, step], capacity)
            filled = largest * (1 - (1 - level / capacity) ** (shape + 1))
            excess = max(rain[member, step] - (filled - soil), 0.0)
            tanks[0] = max(filled - evaporation[member, step] * filled / largest, 0.0)
            flow = quick * excess
            for i in range(1, 4):
                water = tanks[i] + flow
                flow = quick_rate * water
                tanks[i] = water - flow
            water = tanks[4] + (1 - quick) * excess
            tanks[4] = water - slow_rate * water
            runoff[member, step] = flow + slow_rate * water
