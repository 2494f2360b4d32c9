"""Methods of the board: recipes that fit every experiment with a ring of variables, or with a few of them.

A recipe builds a filter from the settings that are tuned. The settings of trial k of n lie on a rank-1 lattice over
the recipe's axes, u_1 = k / (n - 1) and u_2 = k / golden ratio + 1/2 mod 1, each axis being logarithmic in u.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ensf.diffusion import ReverseSDE
from ensf.experiments import names
from ensf.experiments._letsf import in_the_loop
from ensf.filters import ETKF, LETKF, LETSF, EnKF, Filter, FixedGainMAP, ParticleFilter, QuantileFilter
from ensf.localization import Euclidean, InformationLimit, Localization, periodic_line
from ensf.models.kuramoto_sivashinsky import KuramotoSivashinsky
from ensf.models.lorenz63 import Lorenz63
from ensf.models.lorenz96 import Lorenz96
from ensf.observations.error_laws import is_error_law
from ensf.twin import Method, Network, TwinExperiment
from ensf.wrappers import AdaptiveInflation, AdaptiveSpread, AnalysisInflation, FiniteSize, Rotation, published

__all__ = ["EXPERIMENTS", "RECIPES", "Axis", "Recipe"]

APART = ("asynchronous", "every_step", "failed_members", "parameter", "smoother")
"""Of windows, earlier states, failed members and parameters: their pages have methods of their own."""
EXPERIMENTS = tuple(
    name for name in names() if name.startswith(("lorenz", "kuramoto")) and not any(word in name for word in APART)
)
MEMBERS = 40
GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class Axis:
    """Range of a setting, logarithmic in its distance from `origin`.

    Parameters
    ----------
    low, high : float
        Smallest and largest distance from the origin; both are tried.
    origin : float
    on_ring : bool
        True for a length on the ring, in grid intervals. Without a ring there is no such setting.
    """

    low: float
    high: float
    origin: float = 0.0
    on_ring: bool = False

    def at(self, fraction: float) -> float:
        """The value at a fraction in [0, 1] of the range, to four digits."""
        return float(f"{self.origin + self.low * (self.high / self.low) ** fraction:.4g}")


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
    fits: Callable[[TwinExperiment[Network]], bool] = lambda experiment: True
    members: int = 0

    def trials(self, experiment: TwinExperiment[Network], count: int) -> list[dict[str, float]]:
        """Settings of each trial: `count` of them, or none if nothing is tuned."""
        axes = {name: axis for name, axis in self.axes.items() if _has_ring(experiment) or not axis.on_ring}
        return [
            {name: axis.at(u) for (name, axis), u in zip(axes.items(), _lattice(k, count), strict=False)}
            for k in range(count if axes else 0)
        ]

    def method(self, experiment: TwinExperiment[Network], settings: Mapping[str, float]) -> Method:
        """The method with these settings."""
        members = self.members or _members(experiment)
        return Method(self.build(experiment, **settings), members, self.summary)


def _lattice(trial: int, count: int) -> tuple[float, float]:
    first = trial / (count - 1) if count > 1 else 0.5
    return first, (trial * GOLDEN + 0.5) % 1.0


def _members(experiment: TwinExperiment[Network]) -> int:
    """What the page's own methods agree on, else 40."""
    sizes = {method.members for method in experiment.methods.values()}
    return sizes.pop() if len(sizes) == 1 else MEMBERS


# --- places ----------------------------------------------------------------------------------------------


def _size(experiment: TwinExperiment[Network]) -> int:
    """Number of state variables."""
    return math.prod(experiment.model.shape)


def _has_ring(experiment: TwinExperiment[Network]) -> bool:
    return isinstance(experiment.model, Lorenz96 | KuramotoSivashinsky)


def _is_lorenz(experiment: TwinExperiment[Network]) -> bool:
    return isinstance(experiment.model, Lorenz63 | Lorenz96)


def _has_few_variables(experiment: TwinExperiment[Network]) -> bool:
    return _size(experiment) <= 3


def _is_gaussian(experiment: TwinExperiment[Network]) -> bool:
    """Whether the filter is told Gaussian errors."""
    network = experiment.network
    told = network.error if network.told is None else network.told
    return not is_error_law(told) or told.is_gaussian


def _is_gaussian_ring(experiment: TwinExperiment[Network]) -> bool:
    return _is_gaussian(experiment) and _has_ring(experiment)


def _localization(experiment: TwinExperiment[Network], half_width: float) -> Localization:
    """On the ring, half-width in grid intervals; one place for all variables if there is no ring."""
    if _has_ring(experiment):
        return periodic_line(_size(experiment), half_width)
    return Localization(Euclidean(), math.inf)


# --- recipes ---------------------------------------------------------------------------------------------


def _etkf(experiment: TwinExperiment[Network], inflation: float) -> Filter:
    return AnalysisInflation(Rotation(ETKF()), inflation)


def _etkf_n(experiment: TwinExperiment[Network]) -> Filter:
    return FiniteSize(Rotation(ETKF()))


def _enkf(experiment: TwinExperiment[Network], inflation: float) -> Filter:
    return AnalysisInflation(EnKF(), inflation)


def _letkf(experiment: TwinExperiment[Network], inflation: float, half_width: float) -> Filter:
    return AnalysisInflation(Rotation(LETKF(_localization(experiment, half_width))), inflation)


def _letkf_adaptive(experiment: TwinExperiment[Network], half_width: float) -> Filter:
    localization = _localization(experiment, half_width)
    return AdaptiveInflation(Rotation(LETKF(localization)), localization)


def _letsf(experiment: TwinExperiment[Network], inflation: float, half_width: float = math.inf) -> Filter:
    return AnalysisInflation(Rotation(LETSF(_localization(experiment, half_width))), inflation)


def _letkf_limited(experiment: TwinExperiment[Network]) -> Filter:
    wide, near = _wide_and_near(experiment)
    return AdaptiveInflation(Rotation(LETKF(wide, information_limit=InformationLimit())), near)


def _letsf_limited(experiment: TwinExperiment[Network]) -> Filter:
    wide, near = _wide_and_near(experiment)
    return AdaptiveInflation(Rotation(LETSF(wide, information_limit=_limit(experiment))), near)


def _letsf_spread(experiment: TwinExperiment[Network]) -> Filter:
    wide, near = _wide_and_near(experiment)
    return AdaptiveSpread(Rotation(LETSF(wide, information_limit=_limit(experiment))), near)


def _letsf_loop(experiment: TwinExperiment[Network]) -> Filter:
    wide, near = _wide_and_near(experiment)
    return in_the_loop(LETSF(wide, steps=1, information_limit=_limit(experiment)), near)


def _wide_and_near(experiment: TwinExperiment[Network]) -> tuple[Localization, Localization]:
    """Half-widths of the experiments' own pages: 20 (Kuramoto-Sivashinsky: 60) and 10 grid points."""
    wide = 60.0 if isinstance(experiment.model, KuramotoSivashinsky) else 20.0
    return _localization(experiment, wide), _localization(experiment, 10.0)


def _limit(experiment: TwinExperiment[Network]) -> InformationLimit | None:
    return InformationLimit() if _has_ring(experiment) else None


def _quantile(experiment: TwinExperiment[Network], inflation: float, half_width: float = math.inf) -> Filter:
    return AnalysisInflation(QuantileFilter(_localization(experiment, half_width)), inflation)


def _ensf(experiment: TwinExperiment[Network]) -> Filter:
    return published("cmame", sampler=ReverseSDE(200))


def _ensf_inflated(experiment: TwinExperiment[Network], inflation: float) -> Filter:
    return AnalysisInflation(_ensf(experiment), inflation)


def _map(experiment: TwinExperiment[Network], deviation: float) -> Filter:
    return FixedGainMAP(deviation)


def _particle(experiment: TwinExperiment[Network], jitter: float) -> Filter:
    return ParticleFilter(jitter)


INFLATION = {"inflation": Axis(0.01, 0.32, origin=1.0)}
HALF_WIDTH = {"half_width": Axis(4.0, 24.0, on_ring=True)}

RECIPES = {
    "etkf": Recipe("ETKF, inflated, rotated", _etkf, INFLATION, _is_gaussian),
    "etkf_n": Recipe("ETKF with finite-size inflation (EnKF-N), rotated", _etkf_n, fits=_is_gaussian),
    "enkf": Recipe("stochastic EnKF, inflated", _enkf, INFLATION, _is_gaussian),
    "letkf": Recipe("LETKF, inflated, rotated", _letkf, INFLATION | HALF_WIDTH, _is_gaussian_ring),
    "letkf_adaptive": Recipe("LETKF, adaptive inflation, rotated", _letkf_adaptive, HALF_WIDTH, _is_gaussian_ring),
    "letsf": Recipe("LETSF, inflated, rotated", _letsf, INFLATION | HALF_WIDTH),
    "letkf_limited": Recipe(
        "LETKF, patches limited by information, adaptive inflation", _letkf_limited, fits=_is_gaussian_ring
    ),
    "letsf_limited": Recipe("LETSF, patches limited by information, adaptive inflation", _letsf_limited),
    "letsf_spread": Recipe("LETSF, patches limited by information, adaptive spread", _letsf_spread),
    "letsf_loop": Recipe("the same, model in the loop, 4 pieces", _letsf_loop, fits=_is_lorenz),
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
