"""What the pages of a global atmosphere share: truth and members from one climate, networks on the sphere, scores.

Truth and members of a seed are states of a nature run five days apart, in an order of the seed's own: all that is known
at the start is the climate. Errors are counted at columns without a station, weighted by area, for each variable and
layer, and as one number in the norm of dry total energy (Ehrendorfer and Errico 1995, J. Atmos. Sci. 52, 3475),

    e^2 = mean over layers of  du^2 + dv^2 + (c_p / T_r) dT^2   +  R T_r (dp_s / p_r)^2,    T_r = 300 K, p_r = 1000 hPa,

in (m/s)^2.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ensf.arrays import Array
from ensf.localization import Localization, Product, Sphere
from ensf.models.held_suarez import HeldSuarez
from ensf.runs.nature import NatureRun
from ensf.twin import Streams

DAY = 24.0
MEMBERS = 20
MODEL = HeldSuarez()
NATURE = NatureRun(MODEL, spin_up=200 * DAY, duration=300 * DAY, interval=5 * DAY)

REGIONS = {"north": (20.0, 90.0), "tropics": (-20.0, 20.0), "south": (-90.0, -20.0)}
"""Southern and northern bounds, degrees."""
HEAT, GAS, WARMTH, PRESSURE = 1004.0, 287.0, 300.0, 1000.0


@dataclass(frozen=True)
class Climate:
    """Truth and members are states of a nature run, drawn without replacement; the truth depends on the seed alone.

    Parameters
    ----------
    nature : NatureRun
    """

    nature: NatureRun = NATURE

    def draw(self, members: int, streams: Streams) -> tuple[Array, Array]:
        """Initial truth ``(state,)`` and members ``(member, state)``.

        Raises
        ------
        ValueError
            If the run has not as many states.
        """
        states = self.nature.load().states
        if members >= len(states):
            raise ValueError(f"{members} members and a truth from {len(states)} states: take fewer members")
        order = streams.truth.permutation(len(states))
        return states[order[0]], states[order[1 : members + 1]]


# --- what is observed ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Radiosondes:
    """Soundings of temperature and wind on all layers, and surface pressure, at the same columns in all cycles.

    Columns are drawn once: by area on two continents, 20 to 70 degrees north, and a tenth as often elsewhere.

    Parameters
    ----------
    count : int
    temperature, wind : (float, float)
        Error at the ground and at the top, K and m/s; linear in sigma.
    pressure : float
        Error, hPa.
    """

    count: int = 80
    temperature: tuple[float, float] = (0.7, 1.2)
    wind: tuple[float, float] = (1.5, 2.5)
    pressure: float = 0.7

    def columns(self, model: HeldSuarez) -> np.ndarray:
        """Numbers of the stations' columns, ascending: latitude by longitude."""
        latitude, longitude = model.latitude[:, None], model.longitude
        land = (abs(latitude - 45) < 25) & ((longitude < 140) | (abs(longitude - 265) < 35))
        weight = (model.area[:, None] * np.where(land, 1.0, 0.1)).ravel()
        drawn = np.random.default_rng(7).choice(weight.size, self.count, replace=False, p=weight / weight.sum())
        return np.sort(drawn)

    def entries(self, model: HeldSuarez) -> np.ndarray:
        """Numbers of the observed entries of a state, plane by plane."""
        plane = len(model.latitude) * len(model.longitude)
        return (np.arange(model.shape[0])[:, None] * plane + self.columns(model)).ravel()

    def errors(self, model: HeldSuarez) -> np.ndarray:
        """Standard deviation of each observation."""
        temperature, wind = (np.interp(model.sigma, (0, 1), (top, low)) for low, top in (self.temperature, self.wind))
        return np.repeat(np.concatenate([temperature, wind, wind, [self.pressure]]), self.count)


def unobserved(model: HeldSuarez, columns: np.ndarray) -> np.ndarray:
    """Where there is no station, ``(latitude, longitude)``."""
    away = np.ones(model.shape[1:], dtype=bool)
    away.ravel()[columns] = False
    return away


def local(half_width: float, height: float) -> Localization:
    """Gaspari-Cohn half-widths along the sphere, km, and in the vertical, scale heights."""
    return Localization(Product(Sphere(), half_width / height), half_width, dims=("latitude", "longitude", "height"))


# --- scores ----------------------------------------------------------------------------------------------


def within(model: HeldSuarez, region: str) -> np.ndarray:
    """Latitudes of a region, or of the sphere for any other name, ``(latitude, 1)``."""
    south, north = REGIONS.get(region, (-90.0, 90.0))
    return ((south <= model.latitude) & (model.latitude < north))[:, None]


def mean_squares(model: HeldSuarez, states: Array, where: np.ndarray) -> dict[str, np.ndarray]:
    """Means of squares over an area, by variable, ``(..., layer)``; wind as the sum of both components.

    Parameters
    ----------
    model : HeldSuarez
    states : (..., state) array
        Errors, or standard deviations.
    where : (latitude, longitude) array of bool
    """
    weight = np.where(where, model.area[:, None], 0.0)
    weight = weight / weight.sum()
    parts = {
        name: np.einsum("...ijk,jk->...i", np.square(part, dtype=np.float64), weight)
        for name, part in model.split(states).items()
    }
    wind = parts.pop("eastward") + parts.pop("northward")
    return {"temperature": parts["temperature"], "wind": wind, "pressure": parts["pressure"]}


def energy_norm(squares: dict[str, np.ndarray]) -> np.ndarray:
    """Root of the mean of dry total energy, m/s, of what `mean_squares` gives."""
    layered = squares["wind"] + HEAT / WARMTH * squares["temperature"]
    ground = GAS * WARMTH / PRESSURE**2 * squares["pressure"][..., 0]
    return np.sqrt(layered.mean(axis=-1) + ground)
