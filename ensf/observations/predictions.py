"""Predictions that a filter cannot use: not finite, or so large that rounding hides where the observation is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ensf.arrays import Array, is_double, namespace, to_numpy

__all__ = ["BadPrediction", "Unresolved", "check_finite_predictions", "check_resolved", "unresolved_members"]


class BadPrediction(ValueError):
    """What members predict of an observation cannot be used.

    Attributes
    ----------
    sentence : str
        With ``{member}`` and ``{observation}`` for their names.
    members : tuple of int
        At fault, the worst first; none if the observation is.
    observation : int
        Among those that are not missing.
    """

    def __init__(
        self, sentence: str, members: Sequence[int], observation: int, member_name: str = "", name: str = ""
    ) -> None:
        super().__init__(sentence, members, observation, member_name, name)
        self.sentence, self.members, self.observation = sentence, tuple(members), observation
        self._member_name = member_name or (f"member {members[0]}" if members else "")
        self._name = name or f"observation {observation}"

    def __str__(self) -> str:
        return self.sentence.format(member=self._member_name, observation=self._name)

    def named(self, member: Callable[[int], str], observation: Callable[[int], str]) -> BadPrediction:
        """The same with names that its reader knows, of the numbers of a member and an observation."""
        first = member(self.members[0]) if self.members else ""
        return type(self)(self.sentence, self.members, self.observation, first, observation(self.observation))


class Unresolved(BadPrediction):
    """A member is so far from an observation that rounding hides where that is, or the error is below all rounding."""


def check_finite_predictions(predicted: Array) -> None:
    """Raise BadPrediction for the first prediction ``(..., observation)`` that is not finite."""
    xp = namespace(predicted)
    with np.errstate(over="ignore", invalid="ignore"):
        if bool(xp.isfinite(xp.sum(predicted))):
            return
    host = to_numpy(predicted)
    bad = ~np.isfinite(host)
    if not bad.any():
        return
    *member, observation = np.argwhere(bad)[0].tolist()
    raise BadPrediction(
        f"{{observation}}{' of {member}' if member else ''} is predicted as {host[bad][0]}: check the operator over "
        "the range of the prior, or leave that observation out",
        member[-1:],
        observation,
    )


def unresolved_members(predicted: Array, deviation: Array) -> np.ndarray:
    """Members ``(member,)`` whose predictions are rounded by more than the error of an observation.

    Parameters
    ----------
    predicted : (member, observation) array
    deviation : (observation,) array
        Standard deviation of the errors. One that most members cannot resolve is no member's fault.
    """
    unresolved = _unresolved(predicted, deviation)
    return np.asarray(unresolved[:, ~_too_accurate(unresolved)].any(axis=1))


def check_resolved(predicted: Array, deviation: Array) -> None:
    """Raise Unresolved for predictions ``(member, observation)`` that are rounded by more than the error.

    Parameters
    ----------
    predicted, deviation
        As of `unresolved_members`.
    """
    unresolved = _unresolved(predicted, deviation)
    if not unresolved.any():
        return
    accurate = _too_accurate(unresolved)
    k = int(np.argmax(accurate if accurate.any() else unresolved.any(axis=0)))
    size = np.abs(to_numpy(predicted[:, k]))
    order = np.argsort(-np.where(np.isfinite(size), size, 0.0), kind="stable")
    largest, number = float(size[order[0]]), size.dtype
    rounded = (
        f"as {float(predicted[int(order[0]), k]):.6g}, which {number} rounds by {_half_spacing(size) * largest:.2g}, "
        f"more than its error {float(to_numpy(deviation)[k]):.3g}"
    )
    more = ", or float64" if number == np.float32 else ""
    if accurate.any():
        raise Unresolved(
            f"{{observation}} is predicted {rounded}, by most members: leave it out, give a larger error{more}", (), k
        )
    members = [int(member) for member in order if unresolved[member, k]]
    others = np.flatnonzero(unresolved.any(axis=1)).tolist()
    raise Unresolved(
        f"{{member}} predicts {{observation}} {rounded}: repair or drop that member, give a larger error{more}",
        (*members, *(member for member in others if member not in members)),
        k,
    )


def _unresolved(predicted: Array, deviation: Array) -> np.ndarray:
    """Which predictions are rounded by more than the error, ``(member, observation)`` of bool."""
    xp = namespace(predicted)
    with np.errstate(over="ignore", invalid="ignore"):
        most = deviation / _half_spacing(predicted)
        if bool(xp.max(xp.abs(predicted)) <= xp.min(most)):
            return np.zeros(tuple(predicted.shape), dtype=bool)
        if not bool(xp.any(xp.maximum(xp.max(predicted, axis=0), -xp.min(predicted, axis=0)) > most)):
            return np.zeros(tuple(predicted.shape), dtype=bool)
        return to_numpy(xp.isfinite(predicted) & (xp.abs(predicted) > most))


def _too_accurate(unresolved: np.ndarray) -> np.ndarray:
    """Observations that most members cannot resolve, ``(observation,)`` of bool."""
    return 2 * np.count_nonzero(unresolved, axis=0) > len(unresolved)


def _half_spacing(array: Array) -> float:
    """Largest error of rounding of a number of the array next to one."""
    return 2.0**-53 if is_double(array) else 2.0**-24
