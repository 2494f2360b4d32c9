"""Methods of the board: recipes that fit every experiment with places, such as a ring, or with few variables.

A recipe builds a filter from the settings that are tuned. The settings of trial k of n lie on a rank-1 lattice over
the recipe's axes, u_1 = k / (n - 1) and u_2 = k / golden ratio + 1/2 mod 1, each axis being logarithmic in u.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from ensf.dataset.methods import find_localization
from ensf.diffusion import ReverseSDE
from ensf.experiments import names
from ensf.experiments._letsf import in_the_loop
from ensf.filters import ETKF, LETKF, LETSF, EnKF, Filter, FixedGainMAP, ParticleFilter, QuantileFilter
from ensf.localization import Euclidean, InformationLimit, Localization, periodic_line
from ensf.models.kuramoto_sivashinsky import KuramotoSivashinsky
from ensf.models.lorenz63 import Lorenz63
from ensf.models.lorenz96 import Lorenz96
from ensf.observations import RandomPoints, RegularPoints
from ensf.observations.error_laws import is_error_law
from ensf.twin import Method, Network, TwinExperiment
from ensf.wrappers import AdaptiveInflation, AdaptiveSpread, AnalysisInflation, FiniteSize, Rotation, published

__all__ = ["EXPERIMENTS", "RECIPES", "Axis", "BoardExperiment", "Recipe"]

APART = ("asynchronous", "every_step", "failed_members", "million", "parameter", "smoother")
"""Of windows, earlier states, failed members, size and parameters: their pages have methods of their own."""
EXPERIMENTS = tuple(
    name for name in names() if name.startswith(("lorenz", "kuramoto")) and not any(word in name for word in APART)
)
BoardExperiment: TypeAlias = TwinExperiment[Network | RandomPoints | RegularPoints]
MEMBERS = 40
WIDE = 20.0
"""Half-width of a wide localization, in the unit of lengths."""
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Axis:
    """Range of a setting, logarithmic in its distance from `origin`.

    Parameters
    ----------
    low, high : float
        Smallest and largest distance from the origin; both are tried.
    origin : float
    is_length : bool
        True for a length between places, in the `_unit` of the experiment. Without places there is no such setting.
    """

    low: float
    high: float
    origin: float = 0.0
    is_length: bool = False

    def at(self, fraction: float, unit: float = 1.0) -> float:
        """The value at a fraction in [0, 1] of the range, to four digits."""
        return float(f"{self.origin + unit * self.low * (self.high / self.low) ** fraction:.4g}")


@dataclass(frozen=True)
class Recipe:
    """A method that can be put on any experiment it fits.

    Parameters
    ----------
    summary : str
    build : callable
        ``build(experiment, **settings) -> Filter``.
    axes : mapping of str to Axis
        Ranges of the settings that are tuned, two at most; none for a method that is the same everywhere.
    fits : callable
        ``fits(experiment) -> bool``.
    members : int
        Ensemble size; 0 = as the experiment says.
    """

    summary: str
    build: Callable[..., Filter]
    axes: Mapping[str, Axis] = field(default_factory=dict)
    fits: Callable[[BoardExperiment], bool] = lambda experiment: True
    members: int = 0

    def trials(self, experiment: BoardExperiment, count: int) -> list[dict[str, float]]:
        """Settings of each trial: `count` of them, or none if nothing is tuned."""
        places, unit = _has_places(experiment), _unit(experiment)
        axes = [(name, axis) for name, axis in self.axes.items() if places or not axis.is_length]
        return [
            {
                name: axis.at(u, unit if axis.is_length else 1.0)
                for (name, axis), u in zip(axes, _lattice(k, count), strict=False)
            }
            for k in range(count if axes else 0)
        ]

    def method(self, experiment: BoardExperiment, settings: Mapping[str, float]) -> Method:
        """The method with these settings."""
        members = self.members or _members(experiment)
        return Method(self.build(experiment, **settings), members, self.summary)


def _lattice(trial: int, count: int) -> tuple[float, float]:
    first = trial / (count - 1) if count > 1 else 0.5
    return first, (trial * GOLDEN + 0.5) % 1.0


def _members(experiment: BoardExperiment) -> int:
    """What the page's own methods agree on, else 40."""
    sizes = {method.members for method in experiment.methods.values()}
    return sizes.pop() if len(sizes) == 1 else MEMBERS


# --- places ----------------------------------------------------------------------------------------------


def _size(experiment: BoardExperiment) -> int:
    """Number of state variables."""
    return math.prod(experiment.model.shape)


def _has_ring(experiment: BoardExperiment) -> bool:
    return isinstance(experiment.model, Lorenz96 | KuramotoSivashinsky)


def _places(experiment: BoardExperiment) -> Localization | None:
    """On the ring; else the first localization of the page's own methods; None if all variables are at one place."""
    if _has_ring(experiment):
        return periodic_line(_size(experiment), WIDE)
    own = (find_localization(method.filter) for method in experiment.methods.values())
    return next((one for one in own if one is not None and math.isfinite(one.half_width)), None)


def _has_places(experiment: BoardExperiment) -> bool:
    return _places(experiment) is not None


def _unit(experiment: BoardExperiment) -> float:
    """Of lengths: a grid interval of the ring, or a twentieth of the half-width of a page's own localization."""
    places = _places(experiment)
    return 1.0 if places is None else places.half_width / WIDE


def _is_lorenz(experiment: BoardExperiment) -> bool:
    return isinstance(experiment.model, Lorenz63 | Lorenz96)


def _has_few_variables(experiment: BoardExperiment) -> bool:
    return _size(experiment) <= 3


def _is_gaussian(experiment: BoardExperiment) -> bool:
    """Whether the filter is told Gaussian errors."""
    network = experiment.network
    told = network.told if isinstance(network, Network) else None
    error = network.error if told is None else told
    return not is_error_law(error) or error.is_gaussian


def _is_gaussian_local(experiment: BoardExperiment) -> bool:
    return _is_gaussian(experiment) and _has_places(experiment)


def _localization(experiment: BoardExperiment, half_width: float) -> Localization:
    """With a half-width in the unit of the page's places; one place for all variables if it has none."""
    places = _places(experiment)
    return Localization(Euclidean(), math.inf) if places is None else replace(places, half_width=half_width)


# --- recipes ---------------------------------------------------------------------------------------------


def _etkf(experiment: BoardExperiment, inflation: float) -> Filter:
    return AnalysisInflation(Rotation(ETKF()), inflation)


def _etkf_n(experiment: BoardExperiment) -> Filter:
    return FiniteSize(Rotation(ETKF()))


def _enkf(experiment: BoardExperiment, inflation: float) -> Filter:
    return AnalysisInflation(EnKF(), inflation)


def _letkf(experiment: BoardExperiment, inflation: float, half_width: float) -> Filter:
    return AnalysisInflation(Rotation(LETKF(_localization(experiment, half_width))), inflation)


def _letkf_adaptive(experiment: BoardExperiment, half_width: float) -> Filter:
    localization = _localization(experiment, half_width)
    return AdaptiveInflation(Rotation(LETKF(localization)), localization)


def _letsf(experiment: BoardExperiment, inflation: float, half_width: float = math.inf) -> Filter:
    return AnalysisInflation(Rotation(LETSF(_localization(experiment, half_width))), inflation)


def _letkf_limited(experiment: BoardExperiment) -> Filter:
    wide, near = _wide_and_near(experiment)
    return AdaptiveInflation(Rotation(LETKF(wide, information_limit=InformationLimit())), near)


def _letsf_limited(experiment: BoardExperiment) -> Filter:
    wide, near = _wide_and_near(experiment)
    return AdaptiveInflation(Rotation(LETSF(wide, information_limit=_limit(experiment))), near)


def _letsf_spread(experiment: BoardExperiment) -> Filter:
    wide, near = _wide_and_near(experiment)
    return AdaptiveSpread(Rotation(LETSF(wide, information_limit=_limit(experiment))), near)


def _letsf_loop(experiment: BoardExperiment) -> Filter:
    wide, near = _wide_and_near(experiment)
    return in_the_loop(LETSF(wide, information_limit=_limit(experiment)), near)


def _wide_and_near(experiment: BoardExperiment) -> tuple[Localization, Localization]:
    """Half-widths of the experiments' own pages, 20 grid points (Kuramoto-Sivashinsky: 60) or as they say; and half."""
    wide = 3 * WIDE if isinstance(experiment.model, KuramotoSivashinsky) else WIDE
    unit = _unit(experiment)
    return _localization(experiment, wide * unit), _localization(experiment, WIDE / 2 * unit)


def _limit(experiment: BoardExperiment) -> InformationLimit | None:
    return InformationLimit() if _has_places(experiment) else None


def _quantile(experiment: BoardExperiment, inflation: float, half_width: float = math.inf) -> Filter:
    return AnalysisInflation(QuantileFilter(_localization(experiment, half_width)), inflation)


def _ensf(experiment: BoardExperiment) -> Filter:
    return published("cmame", sampler=ReverseSDE(200))


def _ensf_inflated(experiment: BoardExperiment, inflation: float) -> Filter:
    return AnalysisInflation(_ensf(experiment), inflation)


def _map(experiment: BoardExperiment, deviation: float) -> Filter:
    return FixedGainMAP(deviation)


def _particle(experiment: BoardExperiment, jitter: float) -> Filter:
    return ParticleFilter(jitter)


INFLATION = {"inflation": Axis(0.01, 0.32, origin=1.0)}
HALF_WIDTH = {"half_width": Axis(4.0, 24.0, is_length=True)}

RECIPES = {
    "etkf": Recipe("ETKF, inflated, rotated", _etkf, INFLATION, _is_gaussian),
    "etkf_n": Recipe("ETKF with finite-size inflation (EnKF-N), rotated", _etkf_n, fits=_is_gaussian),
    "enkf": Recipe("stochastic EnKF, inflated", _enkf, INFLATION, _is_gaussian),
    "letkf": Recipe("LETKF, inflated, rotated", _letkf, INFLATION | HALF_WIDTH, _is_gaussian_local),
    "letkf_adaptive": Recipe("LETKF, adaptive inflation, rotated", _letkf_adaptive, HALF_WIDTH, _is_gaussian_local),
    "letsf": Recipe("LETSF, inflated, rotated", _letsf, INFLATION | HALF_WIDTH),
    "letkf_limited": Recipe(
        "LETKF, patches limited by information, adaptive inflation", _letkf_limited, fits=_is_gaussian_local
    ),
    "letsf_limited": Recipe("LETSF, patches limited by information, adaptive inflation", _letsf_limited),
    "letsf_spread": Recipe("LETSF, patches limited by information, adaptive spread", _letsf_spread),
    "letsf_loop": Recipe("the same, model in the loop", _letsf_loop, fits=_is_lorenz),
    "quantile": Recipe("quantile-conserving rank histogram filter, inflated", _quantile, INFLATION | HALF_WIDTH),
    "ensf": Recipe("EnSF as in CMAME 2024, 200 steps", _ensf),
    "ensf_inflated": Recipe("EnSF as in CMAME 2024, 200 steps, inflated", _ensf_inflated, INFLATION),
    "map": Recipe("fixed-gain MAP per member and point", _map, {"deviation": Axis(0.05, 2.0)}, _is_gaussian),
    "particle": Recipe(
        "bootstrap particle filter, regularised",
        _particle,
        {"jitter": Axis(0.05, 0.6)},
        _has_few_variables,
        members=800,
    ),
}
