r"""What the members cannot span: a white part of the prior error, beside the covariance of the ensemble.

With J members a patch of many observations has room for J - 1 directions; the error outside of them is there all the
same. Let

    x = p + w,        p ~ the ensemble,        w ~ N(0, c^2) independent at each variable,        c^2 = fraction v,

where v is the ensemble variance. For p, w is a part of the observation error: an accurate observation counts with
R + c^2, so that it cannot spend what the members have for the whole patch. Given member p_j, w at an observed variable
is a scalar problem: N(x; p_j, c^2) p(y | h(x)) has the mean t_j and variance u_j. The members go to t_j, and their
anomalies are widened to the variance of t_j plus the mean of u_j (law of total variance). Where nothing is observed
u = c^2, as far as observations reach: beyond, where nothing spends the members, they stay as they are, and do not
grow from cycle to cycle. Exact for a Gaussian with covariance A^T A / (J - 1) + diag(c^2) and linear observations of
single variables, in the mean and in the variance of each variable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ensf.arrays import Array, centred, is_host, like, member_mean, namespace
from ensf.filters.base import Part, Update, as_part, observed_variables
from ensf.filters.local import LocalUpdate
from ensf.observations.observation import Observation

__all__ = ["ResolvedUpdate", "check_fraction", "observed_entries", "resolved"]


def check_fraction(fraction: float) -> None:
    """Raise ValueError if the fraction is negative."""
    if not 0 <= fraction < math.inf:
        raise ValueError(f"unresolved_variance is {fraction}: give the part of the ensemble variance, 0 or more")


def observed_entries(fraction: float, observation: Observation) -> np.ndarray | None:
    """Variable that each observation reads, ``(observation,)``; None if the fraction is 0.

    Raises
    ------
    ValueError
        If errors are correlated, an observation is no function of one variable, or a variable is read by several
        observations.
    """
    if fraction == 0:
        return None
    if not observation.law.is_independent:
        raise ValueError("unresolved_variance needs independent observation errors: set it to 0, or use ETKF")
    entries = observed_variables(observation)
    if entries is None or len(np.unique(entries)) < len(entries):
        raise ValueError(
            "unresolved_variance needs observations that see one variable each, and each another: "
            "give Identity, Select or Pointwise of one, or set it to 0"
        )
    return entries


@dataclass(frozen=True, eq=False)
class ResolvedUpdate(Update):
    """What the observations say of p, then of w.

    Attributes
    ----------
    update : LocalUpdate
        Of p.
    fraction : float
    entries : (observation,) array of int
        Variable that each observation reads, ascending.
    mean : (member, observation) array
        t.
    variance : (observation,) array
        Mean of u.
    freedom : (observation,) array
        Degrees of freedom where the observations are.
    """

    update: LocalUpdate = field(kw_only=True)
    fraction: float = field(kw_only=True)
    entries: np.ndarray = field(kw_only=True)
    mean: Array = field(kw_only=True)
    variance: Array = field(kw_only=True)
    freedom: Array = field(kw_only=True)

    @property
    def members(self) -> int:
        """Number of members."""
        return self.update.members

    def near(self, positions: np.ndarray) -> ResolvedUpdate:
        """With the observations that reach the positions alone."""
        return replace(self, update=self.update.near(positions))

    def analysed(self, part: Part) -> tuple[Array, dict[str, Array]]:
        """Members of a part, observed variables at t."""
        if part.field != "state":
            return self.update.analysed(part)
        number = np.minimum(np.searchsorted(self.entries, part.entries), len(self.entries) - 1)
        observed = self.entries[number] == part.entries
        ensemble, fields = self._unobserved(part, observed, number)
        xp = namespace(ensemble)
        variance = self.fraction * _variance(part.values)
        added = variance * like(self.update.coverage(part), variance)
        column = like(np.where(observed, part.values.shape[1] + number, np.arange(part.values.shape[1])), ensemble)
        moved = xp.take(xp.concat([ensemble, self.mean], axis=1), column, axis=1)
        added = xp.take(xp.concat([added, self.variance]), column)
        around, before = centred(moved), _variance(moved)
        widening = xp.sqrt(1 + added / xp.clip(before, xp.finfo(before.dtype).smallest_normal, None))
        return member_mean(moved) + widening * around, fields

    def _unobserved(self, part: Part, observed: np.ndarray, number: np.ndarray) -> tuple[Array, dict[str, Array]]:
        """Analysis of p where t does not replace it, and the fields of all entries."""
        if not is_host(part.values) or part.positions is None or not observed.any():
            return self.update.analysed(part)
        ensemble, fields = part.values.copy(), {"degrees_of_freedom": self.freedom[number]}
        if not observed.all():
            rest = as_part(part.values[:, ~observed], part.positions[~observed], part.entries[~observed])
            ensemble[:, ~observed], those = self.update.analysed(rest)
            fields["degrees_of_freedom"][~observed] = those["degrees_of_freedom"]
        return ensemble, fields

    def degrees_of_freedom(self, positions: np.ndarray) -> Array:
        """Degrees of freedom that the observations take at each position."""
        return self.update.degrees_of_freedom(positions)


def resolved(
    update: LocalUpdate,
    fraction: float,
    entries: np.ndarray,
    predicted: Array,
    moments: Callable[[Array, Array], tuple[Array, Array]],
) -> ResolvedUpdate:
    """An update of p with what the observations say of w.

    Parameters
    ----------
    update : LocalUpdate
    fraction : float
        Of the ensemble variance.
    entries : (observation,) array of int
        Variable that each observation reads.
    predicted : (member, observation) array
        Of the prior: the observed variables.
    moments : callable
        ``(member, observation), (observation,) -> (member, observation), (observation,)``: mean of N(p, c^2) times the
        likelihood for each member, and its variance, averaged over members.
    """
    xp = namespace(predicted)
    centre, fields = update.analysed(as_part(predicted, update.position, entries))
    spread = xp.sqrt(fraction * _variance(predicted))
    wide = spread > 0
    mean, variance = moments(centre, xp.where(wide, spread, xp.ones_like(spread)))
    mean = xp.where(wide, mean, centre)
    variance = xp.where(wide, variance, xp.zeros_like(spread))
    order = np.argsort(entries)
    chosen = like(order, mean)
    return ResolvedUpdate(
        update.memory,
        update.info,
        update=update,
        fraction=fraction,
        entries=entries[order],
        mean=xp.take(mean, chosen, axis=1),
        variance=xp.take(variance, chosen),
        freedom=xp.take(fields["degrees_of_freedom"], chosen),
    )


def _variance(ensemble: Array) -> Array:
    """Ensemble variance ``(entry,)``, the same bits in every part."""
    anomalies = centred(ensemble)
    return member_mean(anomalies * anomalies) * (ensemble.shape[0] / (ensemble.shape[0] - 1))
