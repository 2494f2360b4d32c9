"""Control of the spread, as wrappers: each holds a filter and is a filter.

With prior anomalies A, analysis anomalies A', spreads s and s' (standard deviation of each variable over members):

    ForecastInflation   A  <- factor A              before the analysis
    AnalysisInflation   A' <- factor A'             after it
    RTPS                A' <- A' (1 - strength + strength s / s')
    RTPP                A' <- (1 - strength) A' + strength A
    Rotation            A' <- Q A'                  Q random, orthogonal, Q 1 = 1
    SpreadReset         A' <- A' s_0 / s'           s_0 = spread of the very first prior, or a number
    OnlyVariables       one of the corrections after the analysis, of some variables alone
    AdditiveNoise       A' <- A' + factor C         C = anomalies of states drawn from a catalogue

None but the first changes the mean. They compose from the inside out: ``ForecastInflation(Rotation(ETKF()), 1.02)``
inflates, analyses, then rotates. Without any observation there is no analysis to correct: the prior is returned.

Around a filter that is `Preparable` they act on its update, part by part; around another on whole states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, cast

import numpy as np

from ensf.arrays import (
    Array,
    Generator,
    Record,
    as_floating,
    centred,
    generator,
    is_double,
    like,
    member_mean,
    namespace,
    normal,
    stream,
    summary,
    to_numpy,
)
from ensf.arrays.settings import as_indices, check_settings
from ensf.filters.base import (
    Analysis,
    Filter,
    Memory,
    Part,
    Preparable,
    Update,
    as_part,
    check_filter,
    refuse_predictions,
    usable,
    with_values,
)
from ensf.filters.guarded import guarded
from ensf.filters.weights import combine
from ensf.localization import variable_code
from ensf.observations.observation import Observation
from ensf.wrappers.base import WrappedUpdate, Wrapper, check_ranges

__all__ = [
    "RTPP",
    "RTPS",
    "AdditiveNoise",
    "AnalysisInflation",
    "ForecastInflation",
    "OnlyVariables",
    "ResetMemory",
    "Rotation",
    "SpreadReset",
]


@dataclass(frozen=True)
class ForecastInflation(Wrapper):
    """Prior anomalies are multiplied before the analysis.

    Parameters
    ----------
    filter : Filter
    factor : float
        Factor of the standard deviation, usually a little above 1.

    Raises
    ------
    ValueError
        If the factor is not positive.
    """

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_factor(self.factor)

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        update = self._inner(scaled(predicted, self.factor), observation, rng, memory)
        return InflatedForecast(update.memory, update.info, update=update, factor=self.factor)

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        analysis = self.filter.analyse(scaled(prior, self.factor), observation, rng, memory, positions)
        return replace(
            analysis, before=lambda part: analysis.before(with_values(part, scaled(part.values, self.factor)))
        )


@dataclass(frozen=True, eq=False)
class InflatedForecast(WrappedUpdate):
    """Anomalies are multiplied before the update inside sees them."""

    factor: float = field(kw_only=True)

    def before(self, part: Part) -> Array:
        inflated = scaled(part.values, self.factor) if part.inflate else part.values
        return self.update.before(with_values(part, inflated))

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        return self.update.analysed(self._inflated(part))

    def uncorrected(self, part: Part) -> Array:
        return self.update.uncorrected(self._inflated(part))

    def _inflated(self, part: Part) -> Part:
        return with_values(part, scaled(part.values, self.factor)) if part.inflate else part


@dataclass(frozen=True)
class _Correction(Wrapper):
    """A filter whose analysis is corrected afterwards."""

    def _correct(self, prior: Array, analysis: Array) -> Array:
        """Corrected members ``(member, entry)`` of the analysis of a prior, entry by entry."""
        raise NotImplementedError

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        update = self._inner(predicted, observation, rng, memory)
        return _Corrected(update.memory, update.info, update=update, wrapper=self)

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        analysis = self.filter.analyse(prior, observation, rng, memory, positions)
        return replace(analysis, ensemble=self._correct(prior, analysis.ensemble))


@dataclass(frozen=True, eq=False)
class _Corrected(WrappedUpdate):
    wrapper: _Correction = field(kw_only=True)
    only: OnlyVariables | None = field(default=None, kw_only=True)

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        ensemble, fields = self.update.analysed(part)
        if not part.inflate:
            return ensemble, fields
        corrected = self.wrapper._correct(part.values, ensemble)
        if self.only is None:
            return corrected, fields
        return namespace(ensemble).where(like(self.only.among(part), ensemble), corrected, ensemble), fields


@dataclass(frozen=True)
class AnalysisInflation(_Correction):
    """Analysis anomalies are multiplied after the analysis.

    Parameters
    ----------
    filter : Filter
    factor : float
        Factor of the standard deviation, usually a little above 1.

    Raises
    ------
    ValueError
        If the factor is not positive.
    """

    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_factor(self.factor)

    def _correct(self, prior: Array, analysis: Array) -> Array:
        return scaled(analysis, self.factor)


@dataclass(frozen=True)
class RTPS(_Correction):
    """Relaxation to prior spread.

    Source: Whitaker & Hamill (2012), MWR 140, 3078, eq. 2.

    Parameters
    ----------
    filter : Filter
    strength : float
        0 changes nothing, 1 restores the prior spread of every variable.

    Raises
    ------
    ValueError
        If the strength is not between 0 and 1.
    """

    strength: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_strength(self.strength)

    def _correct(self, prior: Array, analysis: Array) -> Array:
        ratio = spread_ratio(spread(prior), analysis)
        return scaled(analysis, 1 - self.strength + self.strength * ratio)


@dataclass(frozen=True)
class RTPP(_Correction):
    """Relaxation to prior perturbations, member by member.

    Source: Zhang, Snyder & Sun (2004), MWR 132, 1238, eq. 5.

    Parameters
    ----------
    filter : Filter
        One whose analysis member j comes from prior member j.
    strength : float
        0 changes nothing, 1 restores the prior anomalies.

    Raises
    ------
    ValueError
        If the strength is not between 0 and 1.
    """

    strength: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_strength(self.strength)

    def _correct(self, prior: Array, analysis: Array) -> Array:
        mean = member_mean(analysis)
        return mean + (1 - self.strength) * centred(analysis) + self.strength * centred(prior)


@dataclass(frozen=True)
class OnlyVariables(Wrapper):
    """Wrapper: the correction of the spread that it holds is of some variables alone.

    Parameters
    ----------
    filter : AnalysisInflation, RTPS or RTPP
        Around a filter that is `Preparable`.
    variables : tuple of str or int, or array of bool
        Names of variables of a Dataset or of files; or their indices in the state of an array, or a mask of it.

    Raises
    ------
    ValueError
        If it holds something else, or there are no variables.
    """

    variables: tuple[str | int, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.filter, _Correction) or not isinstance(self.filter, Preparable):
            raise ValueError(
                f"OnlyVariables holds {self.filter!r}: give AnalysisInflation, RTPS or RTPP around a filter that is "
                "Preparable"
            )
        object.__setattr__(self, "variables", _chosen(self.variables))
        if not self.variables:
            raise ValueError("OnlyVariables has no variables: name some, or leave it out")

    @property
    def _names(self) -> list[str]:
        return [one for one in self.variables if isinstance(one, str)]

    @property
    def _indices(self) -> list[int]:
        names = self._names
        return [int(one) for one in self.variables if one not in names]

    def check_names(self, names: Iterable[object]) -> None:
        """Raise ValueError if it names a variable that the state does not have."""
        names = list(names)
        for one in self._names:
            if one not in names:
                raise ValueError(f"OnlyVariables names {one!r}: choose from {', '.join(map(repr, names))}")

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        size = math.inf if observation.state_size is None else observation.state_size
        for index in self._indices:
            if not 0 <= index < size:
                raise ValueError(f"OnlyVariables has index {index}: give 0 to {size - 1}")
        return replace(cast(_Corrected, self._inner(predicted, observation, rng, memory)), only=self)

    def among(self, part: Part) -> np.ndarray:
        """Which entries of a part are of the variables, ``(entry,)``."""
        if self._names and part.variables is None:
            raise ValueError(
                f"OnlyVariables names {self._names[0]!r} but the variables of an array have no names: give their "
                "indices, or a Dataset"
            )
        chosen = np.isin(part.entries, self._indices)
        if part.field != "state":
            chosen[:] = False
        codes = [variable_code(one) for one in self._names]
        return chosen if part.variables is None else chosen | np.isin(part.variables, codes)


def _chosen(variables: str | int | Sequence[str | int] | np.ndarray) -> tuple[str | int, ...]:
    """Names and indices of what a user has: several or one of them, or a mask."""
    several: list[Any] = list(variables) if np.ndim(variables) else [variables]  # type: ignore[arg-type]
    names = [str(one) for one in several if isinstance(one, str)]
    indices = [one for one in several if one not in names] if names else variables
    return *names, *as_indices(indices, "OnlyVariables").tolist()


@dataclass(frozen=True, eq=False)
class AdditiveNoise(Wrapper):
    """Wrapper: members get noise after the analysis, differences of states that a catalogue has.

    For each member a state is drawn, without return while there are enough; their anomalies are added, so that the
    mean stays. What is in the catalogue says what the noise is like: states of other days, as climatology; tendencies,
    or differences of forecasts of one time, as errors of the model.

    Parameters
    ----------
    filter : Filter
    catalogue : (sample, state) array, or str
        On the whole state, as the filter sees it: in a Dataset after its transforms. For files the names of those with
        the samples, one each and like those of the forecast, as a pattern: ``"tendencies/*.nc"``. Where a window has
        an array or a file for each time, of one time: the noise of a member is the same at each.
    factor : float
        Of the noise.

    Raises
    ------
    ValueError
        If the catalogue is no finite array of two samples or more, or the factor is negative.
    """

    catalogue: Array | str
    factor: float

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._names is None:
            states = as_floating(self.catalogue, "catalogue")
            finite = np.isfinite(to_numpy(states)).all()
            if states.ndim != 2 or states.shape[0] < 2 or not finite:
                raise ValueError(
                    f"the catalogue is {summary(states)}: give a finite array (sample, state) of two samples or more"
                )
            object.__setattr__(self, "catalogue", states)
        check_ranges(self, "additive noise", {"factor": (0 <= self.factor < math.inf, "a factor of 0 or more")})

    @property
    def _names(self) -> str | None:
        """The catalogue, if it is names of files."""
        return self.catalogue if isinstance(self.catalogue, str) else None

    @property
    def _key(self) -> tuple[Filter, float, str | int]:
        """What it is: arrays are the same if they are one."""
        return self.filter, self.factor, id(self.catalogue) if self._names is None else self._names

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AdditiveNoise) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        catalogue = f"<{summary(self._states)}>" if self._names is None else repr(self._names)
        return f"AdditiveNoise(filter={self.filter!r}, catalogue={catalogue}, factor={self.factor!r})"

    def with_catalogue(self, read: Callable[[str], Array | str]) -> AdditiveNoise:
        """With what `read` makes of names of files, if the catalogue is some."""
        return self if self._names is None else replace(self, catalogue=read(self._names))

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        self._check(observation.state_size)
        update = self._inner(predicted, observation, rng, memory)
        return _Noisy(update.memory, update.info, update=update, wrapper=self, drawn=self._drawn(len(predicted), rng))

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        self._check(prior.shape[1])
        analysis = self.filter.analyse(prior, observation, rng, memory, positions)
        part = as_part(analysis.ensemble)
        return replace(analysis, ensemble=part.values + self._noise(self._drawn(prior.shape[0], rng), part))

    def _check(self, size: int | None) -> None:
        """Raise ValueError unless the catalogue is of states of this size."""
        if size is not None and size != self._states.shape[1]:
            raise ValueError(
                f"the catalogue has states of {self._states.shape[1]} variables but there are {size}: give the whole "
                "state, masked points left out"
            )

    @property
    def _states(self) -> Array:
        if self._names is not None:
            raise ValueError(
                f"catalogue {self._names!r} is names of files, which analyses of files read: give an array "
                "(sample, state)"
            )
        return cast(Array, self.catalogue)

    def _drawn(self, members: int, rng: Generator) -> np.ndarray:
        """Samples for the members, ``(member,)``."""
        count = self._states.shape[0]
        return np.concatenate([rng.permutation(count) for _ in range(-(-members // count))])[:members]

    def _noise(self, drawn: np.ndarray, part: Part) -> Array:
        """What is added to the members of a part."""
        rows = to_numpy(self._states)[np.ix_(drawn, part.entries)]
        noise = like(rows, part.values)
        return self.factor * (noise - member_mean(noise))


@dataclass(frozen=True, eq=False)
class _Noisy(WrappedUpdate):
    wrapper: AdditiveNoise = field(kw_only=True)
    drawn: np.ndarray = field(kw_only=True)

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        ensemble, fields = self.update.analysed(part)
        if not part.inflate or part.field != "state" or part.positions is None:
            return ensemble, fields
        return ensemble + self.wrapper._noise(self.drawn, part), fields


@dataclass(frozen=True)
class Rotation(Wrapper):
    """Random rotation of the analysis members that keeps their mean and covariance.

    One rotation serves all variables, and states at earlier times. Source: Sakov & Oke (2008), MWR 136, 1042,
    section 3.

    Parameters
    ----------
    filter : Filter
    """

    def _prepare(self, predicted: Array, observation: Observation, rng: Generator, memory: Memory = None) -> Update:
        update = self._inner(predicted, observation, rng, memory)
        rotation = mean_preserving_rotation(predicted, rng)
        return _Rotated(update.memory, update.info, update=update, rotation=rotation)

    def _analyse_whole(
        self, prior: Array, observation: Observation, rng: Generator, memory: Memory, positions: np.ndarray
    ) -> Analysis:
        analysis = self.filter.analyse(prior, observation, rng, memory, positions)
        return replace(analysis, ensemble=rotated(analysis.ensemble, mean_preserving_rotation(prior, rng)))


@dataclass(frozen=True, eq=False)
class _Rotated(WrappedUpdate):
    rotation: Array = field(kw_only=True)

    @property
    def members(self) -> int:
        """Number of members."""
        return self.rotation.shape[0]

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        ensemble, fields = self.update.analysed(part)
        return rotated(ensemble, self.rotation), fields


@dataclass(frozen=True, eq=False)
class ResetMemory(Record):
    """What `SpreadReset` carries from cycle to cycle: the first prior's spread and the wrapped filter's memory."""

    spread: Array
    inner: Memory = None

    @property
    def shape(self) -> tuple[int | None, int | None]:
        """Members and state variables that it is of."""
        return None, self.spread.shape[0]


@dataclass(frozen=True)
class SpreadReset:
    """The analysis spread of every variable is reset to the spread of the very first prior, or to a number.

    As in the published surface quasi-geostrophic EnSF (Bao et al. 2025, MWR 153, 1155). It remembers a number for every
    variable and so needs whole states. Where members agree to rounding they stay as they are.

    Parameters
    ----------
    filter : Filter
    deviation : float, optional
        Standard deviation to which the spread is reset, in the units of the state.

    Raises
    ------
    ValueError
        If the deviation is not positive.
    """

    filter: Filter
    deviation: float | None = None
    remembers: ClassVar[type | None] = ResetMemory

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__)
        if self.deviation is not None and not self.deviation > 0:
            raise ValueError(f"deviation of the spread reset is {self.deviation}: give a positive standard deviation")

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: ResetMemory | None = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis of the wrapped filter with reset spread."""
        refuse_predictions(predicted, self)
        prior, observation, positions = usable(prior, observation, positions)
        if memory is None:
            first = spread(prior)
            memory = ResetMemory(first if self.deviation is None else 0 * first + self.deviation)
        if observation.size == 0:
            inner = self.filter.analyse(prior, observation, generator(rng), memory.inner, positions).memory
            return Analysis(prior, replace(memory, inner=inner))
        analysis = self.filter.analyse(prior, observation, generator(rng), memory.inner, positions)
        ensemble = scaled(analysis.ensemble, spread_ratio(memory.spread, analysis.ensemble))
        return replace(analysis, ensemble=ensemble, memory=replace(memory, inner=analysis.memory))


# --- what they are made of -----------------------------------------------------------------------------------


def scaled(ensemble: Array, factor: Array | float) -> Array:
    """Members ``(member, entry)`` with their anomalies multiplied by a number, or one for each entry."""
    mean = member_mean(ensemble)
    return mean + factor * centred(ensemble)


def spread(ensemble: Array) -> Array:
    """Standard deviation over members ``(entry,)``, the same bits in every part."""
    xp = namespace(ensemble)
    anomalies = centred(ensemble)
    return xp.sqrt(member_mean(anomalies * anomalies) * (ensemble.shape[0] / (ensemble.shape[0] - 1)))


def spread_ratio(wanted: Array, ensemble: Array) -> Array:
    """``wanted`` over the spread of members, and 1 where they agree to rounding."""
    xp = namespace(ensemble)
    actual = spread(ensemble)
    size = xp.max(xp.abs(ensemble), axis=0)
    spacings = ensemble.shape[0] if is_double(ensemble) else 1  # what a sum over members rounds; centred twice: one
    differ = actual > spacings * float(xp.finfo(ensemble.dtype).eps) * size
    one = xp.ones_like(actual)
    return xp.where(differ, wanted / xp.where(differ, actual, one), one)


def rotated(ensemble: Array, rotation: Array) -> Array:
    """Members with rotated anomalies."""
    mean = member_mean(ensemble)
    return mean + combine(centred(ensemble), rotation.T)


def mean_preserving_rotation(ensemble: Array, rng: Generator) -> Array:
    """Orthogonal matrix ``(member, member)`` that fixes the vector of ones, uniform (Haar) on its complement.

    It is ``1 1^T / J + B H B^T``: H uniform, B all columns but the first of the reflection that swaps the first
    axis and the vector of ones.
    """
    xp = namespace(ensemble)
    size = ensemble.shape[0]
    free, triangle = xp.linalg.qr(normal(stream(rng, ensemble), (size - 1, size - 1), ensemble))
    uniform = free * xp.sign(xp.linalg.diagonal(triangle))
    identity = xp.eye(size, dtype=ensemble.dtype, device=ensemble.device)
    normal_vector = identity[0, :] - 1 / math.sqrt(size)
    reflection = identity - normal_vector[:, None] * normal_vector / (1 - 1 / math.sqrt(size))
    basis = reflection[:, 1:]
    return 1 / size + xp.matmul(basis, xp.matmul(uniform, basis.T))


def _check_factor(factor: float) -> None:
    if not 0 < factor < math.inf:
        raise ValueError(f"inflation factor is {factor}: give a positive factor of the standard deviation")


def _check_strength(strength: float) -> None:
    if not 0 <= strength <= 1:
        raise ValueError(f"relaxation strength is {strength}: give 0 (none) to 1 (back to the prior)")
