"""Settings per variable: a change of coordinates for the analysis, and bounds after it.

    Log           z = log(x + offset)                    x > -offset
    Logit         z = log((x - low) / (high - x))        low < x < high
    Scale         z = factor (x - shift)
    Standardise   a Scale with 1 / spread and mean of the prior
    Chain         one after another
    Bounds        x <- min(max(x, low), high)            after the analysis only

with x the physical value and z what the filter works on. `slope` is dx/dz at z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ensf.arrays import Array, member_variance, namespace
from ensf.arrays.settings import check_settings
from ensf.filters.base import can

__all__ = ["Bounds", "Chain", "Log", "Logit", "Scale", "Standardise", "Transform", "check_domain", "fitted", "several"]

COLUMNS = 2**18
"""Entries of the state that are checked at once."""


class Transform(Protocol):
    """Increasing or decreasing function of one variable, for every entry of an array of any shape."""

    def forward(self, values: Array) -> Array:
        """z of the physical values x."""

    def inverse(self, values: Array) -> Array:
        """x of z."""

    def slope(self, values: Array) -> Array:
        """dx/dz at z."""


@dataclass(frozen=True)
class Log:
    """Logarithm, for what is positive: humidity, concentrations, precipitation.

    Parameters
    ----------
    offset : float
        Added before, in the units of the variable; a positive one lets zeros in.
    """

    offset: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
        if not math.isfinite(self.offset):
            raise ValueError(f"{self}: give a finite offset")

    @property
    def domain(self) -> tuple[float, float]:
        """Open interval of the physical values."""
        return -self.offset, math.inf

    def forward(self, values: Array) -> Array:
        """``log(x + offset)``."""
        return namespace(values).log(values + self.offset)

    def inverse(self, values: Array) -> Array:
        """``exp(z) - offset``."""
        return _within(self.domain, namespace(values).exp(values) - self.offset)

    def slope(self, values: Array) -> Array:
        """``exp(z)``."""
        return namespace(values).exp(values)


@dataclass(frozen=True)
class Logit:
    """Log odds, for what lies between two bounds: fractions, saturation, concentrations of sea ice.

    Parameters
    ----------
    low, high : float
        Bounds in the units of the variable. The prior must lie strictly between, so let them be a little wider if
        it reaches them: ``Logit(-0.01, 1.01)``.
    """

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        check_settings(self)
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"{self} has no range: give two finite numbers, low < high")

    @property
    def domain(self) -> tuple[float, float]:
        """Open interval of the physical values."""
        return self.low, self.high

    def forward(self, values: Array) -> Array:
        """``log((x - low) / (high - x))``."""
        return namespace(values).log((values - self.low) / (self.high - values))

    def inverse(self, values: Array) -> Array:
        """``low + (high - low) / (1 + exp(-z))``."""
        fraction = 0.5 + 0.5 * namespace(values).tanh(0.5 * values)
        return _within(self.domain, self.low + (self.high - self.low) * fraction)

    def slope(self, values: Array) -> Array:
        """``(high - low) / (2 cosh(z / 2))^2``."""
        half = namespace(values).tanh(0.5 * values)
        return 0.25 * (self.high - self.low) * (1 - half * half)


@dataclass(frozen=True)
class Scale:
    """Other units.

    Parameters
    ----------
    factor : float
        In units of z per unit of the variable; not zero.
    shift : float
        Value of the variable where z is zero.
    """

    factor: float
    shift: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self)
        if not (math.isfinite(self.factor) and math.isfinite(self.shift) and self.factor != 0):
            raise ValueError(f"{self}: give a finite factor other than zero, and a finite shift")

    def forward(self, values: Array) -> Array:
        """``factor (x - shift)``."""
        return (values - self.shift) * self.factor

    def inverse(self, values: Array) -> Array:
        """``shift + z / factor``."""
        return values / self.factor + self.shift

    def slope(self, values: Array) -> Array:
        """``1 / factor``."""
        return namespace(values).full_like(values, 1 / self.factor)

    @property
    def affine(self) -> tuple[float, float]:
        """a and d of ``x = a + d z``."""
        return self.shift, 1 / self.factor


@dataclass(frozen=True)
class Standardise:
    """A `Scale` by the prior: mean 0 over members and grid, mean square of the spread over the grid 1.

    One mean and one spread per variable, so that a variable keeps its pattern; what differs in magnitude and units
    becomes comparable for filters that care, such as `EnSF`.
    """

    def fit(self, values: Array) -> Scale:
        """The scale of prior values ``(member, state)``.

        Raises
        ------
        ValueError
            If there is no spread.
        """
        xp = namespace(values)
        variance = float(xp.mean(member_variance(values))) if values.shape[0] > 1 else 0.0
        if not variance > 0:
            raise ValueError("has no spread among members: leave out Standardise")
        return Scale(1 / math.sqrt(variance), float(xp.mean(values)))


@dataclass(frozen=True)
class Chain:
    """One transform after another: z = last(... first(x)).

    Parameters
    ----------
    transforms : tuple of Transform
    """

    transforms: tuple[Any, ...] = ()

    def forward(self, values: Array) -> Array:
        """z of x."""
        for transform in self.transforms:
            values = transform.forward(values)
        return values

    def inverse(self, values: Array) -> Array:
        """x of z."""
        for transform in reversed(self.transforms):
            values = transform.inverse(values)
        return values

    def slope(self, values: Array) -> Array:
        """dx/dz at z, by the chain rule."""
        slope = namespace(values).ones_like(values)
        for transform in reversed(self.transforms):
            slope, values = slope * transform.slope(values), transform.inverse(values)
        return slope

    @property
    def affine(self) -> tuple[float, float] | None:
        """a and d of ``x = a + d z``; None if a transform is not of that form."""
        offset, factor = 0.0, 1.0
        for transform in reversed(self.transforms):
            part = getattr(transform, "affine", None)
            if part is None:
                return None
            offset, factor = part[0] + part[1] * offset, part[1] * factor
        return offset, factor


@dataclass(frozen=True)
class Inverse:
    """x of z as a function of single variables, through which observations see z (`Operator.through`).

    Parameters
    ----------
    chain : Chain
    """

    chain: Chain

    def __call__(self, values: Array) -> Array:
        """x of z."""
        return self.chain.inverse(values)

    def slope(self, values: Array) -> Array:
        """dx/dz at z."""
        return self.chain.slope(values)

    def column(self) -> Inverse:
        """Itself: it acts on arrays of any shape."""
        return self

    def restrict(self, index: Array) -> Inverse:
        """Itself: it is the same for every variable."""
        return self

    @property
    def affine(self) -> tuple[float, float] | None:
        """a and d of ``x = a + d z``, or None."""
        return self.chain.affine


@dataclass(frozen=True)
class Bounds:
    """Limits of the physical values: what the analysis changes is clipped to them, prior and filter are not touched.

    Parameters
    ----------
    low, high : float
        In the units of the variable; infinite = none.
    """

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.low < self.high:
            raise ValueError(f"{self} leaves no room: give low < high")

    def clip(self, values: Array) -> tuple[Array, int]:
        """Values within the bounds, and how many were not."""
        xp = namespace(values)
        outside = (values < self.low) | (values > self.high)
        return xp.clip(values, self.low, self.high), int(xp.count_nonzero(outside))


Setting = Transform | Standardise | Bounds | tuple[Transform | Standardise | Bounds, ...] | None
"""What a user may give for a variable."""


def several(name: Hashable, setting: Any) -> tuple[Any, ...]:
    """What a user may give for a variable, nothing, one setting or several, as a tuple.

    Raises
    ------
    ValueError
        If something else is among them; it names the variable.
    """
    chosen = setting if isinstance(setting, tuple | list) else () if setting in (None, ...) else (setting,)
    for one in chosen:
        if not can(one, "forward", "fit", "clip"):
            raise ValueError(
                f"variable {name!r} has the setting {one!r}: give None, Log(), Logit(low, high), Scale(factor), "
                "Standardise(), Bounds(low, high), or a tuple of them"
            )
    return tuple(chosen)


def fitted(settings: Iterable[Any], values: Callable[[], Array], label: Callable[[int], str]) -> Chain:
    """The transforms among `settings`, one after another fitted to prior values.

    Parameters
    ----------
    settings : iterable of Transform, or what has ``fit``
    values : callable
        Gives the prior, ``(member, state)``, if something is fitted to it.
    label : callable
        Number of a member to what errors call it.

    Raises
    ------
    ValueError
        If prior values are outside the domain of a transform, or one cannot be fitted; the sentence has no subject.
    """
    settings = list(_flat(settings))
    if not any(can(setting, "fit") for setting in settings):
        return Chain(tuple(settings))
    prior = values()
    chain: list[Any] = []
    for setting in settings:
        transform = setting.fit(prior) if can(setting, "fit") else setting
        prior = _checked([transform], prior, label)
        chain.append(transform)
    return Chain(tuple(chain))


def check_domain(chain: Chain, values: Array, label: Callable[[int], str]) -> None:
    """Raise ValueError if prior values ``(member, state)`` are outside the domain of a transform."""
    for start in range(0, values.shape[1] if chain.transforms else 0, COLUMNS):
        _checked(chain.transforms, values[:, start : start + COLUMNS], label)


def _within(domain: tuple[float, float], values: Array) -> Array:
    """Values that rounding has left on a bound, next to it: the transform takes them again."""
    xp = namespace(values)
    number = np.float32 if xp.finfo(values.dtype).bits == 32 else np.float64
    low, high = (float(np.nextafter(number(bound), number(0.5 * sum(domain)))) for bound in domain)
    return xp.clip(values, low, high)


def _flat(settings: Iterable[Any]) -> Iterator[Any]:
    for setting in settings:
        if isinstance(setting, Chain):
            yield from _flat(setting.transforms)
        else:
            yield setting


def _checked(transforms: Iterable[Any], values: Array, label: Callable[[int], str]) -> Array:
    """z of values that must be in the domain of each transform."""
    for transform in transforms:
        xp, (low, high) = namespace(values), getattr(transform, "domain", (-math.inf, math.inf))
        inside = (values > low) & (values < high)
        if not bool(xp.all(inside)):
            member, worst = divmod(int(xp.argmin(xp.astype(inside, xp.int8))), values.shape[1])
            raise ValueError(
                f"is {float(values[member, worst]):.6g} in {label(member)}, but {transform} needs values above {low:g}"
                + (f" and below {high:g}" if math.isfinite(high) else "")
                + ": change that range, or repair the member"
            )
        values = transform.forward(values)
    return values
