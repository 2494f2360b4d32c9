"""The model in the loop: what a forecast bends is analysed through the model, as often as it must be.

Between two analyses the members go from x0 to x1 = M(x0) + eta, where eta is what noise of the model added. A filter
sees x1 alone and corrects it along straight lines; over long windows the forecast has bent them. Here a member is

    z = (x1, x0, eta),

its end, its start and its noise. The operator reads x1, so any filter with any error law analyses z as it would x1. How
straight the window is, one forecast shows, that of the mean:

    kappa = mean of (M(mean x0a) + mean eta_a - mean x1a)^2 / mean of the variance of x1a.

If kappa is small, x1a is the analysis, which is that without a loop; if it is moderate, M(x0a) + eta_a is. If not, a
part of the likelihood is analysed, the members are forecast from where that leaves them, and what is left of the
likelihood is looked at again: an iterated ensemble smoother (Bocquet & Sakov 2014, QJRMS 140, 1521) whose pieces are
those of `ensf.wrappers.Tempered`, chosen as it goes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ensf.arrays import Array, Generator, centred, generator, member_mean, member_variance, namespace
from ensf.arrays.settings import check_settings, inside
from ensf.filters.base import (
    Analysis,
    Filter,
    Memory,
    Update,
    check_filter,
    innovations,
    refuse_predictions,
    usable,
)
from ensf.filters.guarded import check_finite, guarded
from ensf.observations.observation import Observation
from ensf.observations.trajectory import AtStep
from ensf.observations.window import Window
from ensf.wrappers.copula import Copula
from ensf.wrappers.failed_members import FailedMembers
from ensf.wrappers.partial_state import PartialState
from ensf.wrappers.spread import AdditiveNoise
from ensf.wrappers.standardised import Standardised
from ensf.wrappers.tempered import InPieces, Tempered, weight_of

__all__ = ["ModelInTheLoop", "Relinearised"]

BLOCKS = 3
"""End, start, noise."""
STRAIGHT, BENT = 0.002, 0.03
"""kappa up to which the analysis of the end is taken as it is, and up to which it is the forecast of its start."""
SMALLEST, LARGEST = 0.25, 0.5
"""Of what is left of the likelihood's information, the least and the most that a piece takes."""
SAME = 1e-6
"""A forecast that differs by less, in deviations of the members, has no noise."""
MISPLACED: dict[type, str] = {
    AdditiveNoise: "put it outside, AdditiveNoise(ModelInTheLoop(...), ...)",
    FailedMembers: "put it outside, FailedMembers(ModelInTheLoop(...), ...)",
    PartialState: "leave it out, for the model takes whole states",
}
"""What is of the state of one time, by entries or members, and not of end, start and noise; and what to do."""
NOT_AROUND: dict[type, str] = {
    one: f"put it inside, Relinearised({one.__name__}(...))" for one in (Copula, Standardised, Tempered)
}
"""What hands on other states, or another likelihood, than those that the model takes from start to end."""


@dataclass(frozen=True)
class ModelInTheLoop:
    """A filter that analyses the window which ends with the observations, and the model's noise in it.

    ``letsf(localization, loop=True)`` is this around the recommended filter.

    Parameters
    ----------
    filter : Filter
        With a `Relinearised` inside its inflation, which decides:
        ``AdaptiveSpread(Relinearised(Rotation(LETSF(...))), ...)``.
        Its localization takes observations to be where they are seen, as if nothing moved during the window.

    Raises
    ------
    ValueError
        If there is no `Relinearised` inside: the model would never be asked. For what is of the state of one time
        inside, and for what changes coordinates or the likelihood around the `Relinearised`.
    """

    filter: Filter

    def __post_init__(self) -> None:
        check_filter(self.filter, type(self).__name__)
        wrong, asked = {**MISPLACED, **NOT_AROUND}, False
        for part in inside(self.filter):
            advice = wrong.get(type(part))
            if advice is not None:
                raise ValueError(
                    f"ModelInTheLoop has {type(part).__name__} in it, where it cannot serve a window: {advice}"
                )
            if isinstance(part, Relinearised):
                wrong, asked = MISPLACED, True
        if not asked:
            raise ValueError(
                f"ModelInTheLoop holds {type(self.filter).__name__} without a Relinearised in it, so that nothing asks "
                "the model: give ModelInTheLoop(Relinearised(filter)), inside of what inflates"
            )

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis ensemble at the end of the window; `info` has the number of ensemble forecasts as `model_runs`.

        Parameters
        ----------
        prior : (member, state) array
            The end of the window, as the model left it.
        observation : Observation
            With the window, as `ensf.twin.twin` hands it over.
        rng, memory, positions
            As of every filter.

        Raises
        ------
        ValueError
            If the observation has no window, or the prior is not its end; or as the filter.
        """
        refuse_predictions(predicted, self)
        window = observation.window
        if window is None:
            raise ValueError(
                "ModelInTheLoop needs the window that ends with the observation: run it in a twin experiment, or give "
                "Observation(..., window=Window(start, end, forecast))"
            )
        if prior is not window.end:
            raise ValueError(
                "ModelInTheLoop analyses what the model left: put wrappers that change the prior inside it"
            )
        if window.start.shape != window.end.shape:
            raise ValueError(
                f"the window starts with shape {tuple(window.start.shape)} and ends with "
                f"{tuple(window.end.shape)}: give the same members and variables"
            )
        prior, observation, positions = usable(prior, observation, positions)
        if observation.size == 0:
            analysis = self.filter.analyse(prior, observation, generator(rng), memory, positions)
            return Analysis(prior, analysis.memory, {"model_runs": 1.0})
        model = _Counted(window, prior.shape[0])
        states = namespace(prior).concat([prior, window.start, model.noise()], axis=1)
        operator = _AtEnd(observation.operator, 0, BLOCKS)
        whole = replace(observation, operator=operator, error=observation.law, window=replace(window, forecast=model))
        analysis = self.filter.analyse(states, whole, generator(rng), memory, np.tile(positions, (BLOCKS, 1)))
        size = prior.shape[1]
        looks = {
            name: value[:size] if np.shape(value) == (BLOCKS * size,) else value
            for name, value in analysis.info.items()
        }
        info = {**looks, "model_runs": 1 + model.runs}
        return replace(analysis, ensemble=analysis.ensemble[:, :size], info=info, update=None)


@dataclass(frozen=True)
class _AtEnd(AtStep):
    """The operator at the end, the first of the three states."""

    def entries(self, size: int) -> np.ndarray | None:
        return self.operator.entries(self._size(size))


@dataclass(eq=False)
class _Counted:
    """The model over a window, and how many ensembles it has been given."""

    window: Window
    members: int
    runs: float = 0.0

    def __call__(self, states: Array) -> Array:
        """Forecasts ``(member, state)`` by a model that may work in place.

        Raises
        ------
        ValueError
            If they have another shape.
        Lost
            If one is not finite.
        """
        self.runs += states.shape[0] / self.members
        ends = self.window.forecast(namespace(states).asarray(states, copy=True))
        shape = getattr(ends, "shape", None)
        if shape != states.shape:
            what = f"a {type(ends).__name__}" if shape is None else f"shape {tuple(shape)}"
            raise ValueError(
                f"the forecast of the window gives {what} for states of shape {tuple(states.shape)}: give a model that "
                "takes an array (member, state) to the same"
            )
        check_finite(ends, "the model in the loop", states)
        return ends

    def noise(self) -> Array:
        """eta; nothing where the first member shows that there is none."""
        start, end = self.window.start, self.window.end
        xp = namespace(end)
        departure = self(start[:1, :]) - end[:1, :]
        if bool(xp.mean(departure**2) <= SAME**2 * xp.mean(member_variance(end))):
            return xp.zeros_like(end)
        return end - self(start)


@dataclass(frozen=True)
class Relinearised:
    """Wrapper in a `ModelInTheLoop`: the likelihood in pieces, as few as the window needs, and a forecast after each.

    Parameters
    ----------
    filter : Filter
        Without inflation: it acts in every piece.
    max_pieces : int
        Most pieces besides the last; each costs a forecast of the ensemble. Without any the window is straight.

    Raises
    ------
    ValueError
        If the number is negative.
    """

    filter: Filter
    max_pieces: int = 3

    def __post_init__(self) -> None:
        check_settings(self)
        check_filter(self.filter, type(self).__name__)
        if self.max_pieces < 0:
            raise ValueError(f"max_pieces of Relinearised is {self.max_pieces}: give a whole number, 0 or more")

    @guarded
    def analyse(
        self,
        prior: Array,
        observation: Observation,
        rng: Generator | int | None,
        memory: Memory = None,
        positions: np.ndarray | None = None,
        predicted: Array | None = None,
    ) -> Analysis:
        """Analysis of end, start and noise ``(member, 3 * state)``, as `ModelInTheLoop` hands them over."""
        refuse_predictions(predicted, self)
        window = observation.window
        prior, observation, positions = usable(prior, observation, positions)
        rng = generator(rng)
        if observation.size == 0:
            return Analysis(prior, self.filter.analyse(prior, observation, rng, memory, positions).memory)
        if window is None or prior.shape[1] != BLOCKS * window.end.shape[1]:
            raise ValueError("Relinearised analyses a window: put it in a ModelInTheLoop")
        xp = namespace(prior)

        def forecast(start: Array, noise: Array) -> Array:
            return window.forecast(start) + noise

        def split(states: Array) -> list[Array]:
            size = window.end.shape[1]
            return [states[:, block * size : (block + 1) * size] for block in range(BLOCKS)]

        end, start, noise = split(prior)
        start, _ = _widened(start, window.start)
        _, added = _widened(end, window.end)
        states = xp.concat([end, start, noise + added], axis=1)
        ratio = float(xp.max(innovations(observation.predict(prior), observation)[1]))
        updates: list[Update | None] = []
        done = information = 0.0
        for pieces in range(self.max_pieces + 1):
            left = observation.tempered(1 - done) if pieces else observation
            analysis = self.filter.analyse(states, left, rng, memory, positions)
            end, start, noise = split(analysis.ensemble)
            expected = forecast(member_mean(start)[None, :], member_mean(noise))
            bend = float(xp.mean((expected - member_mean(end)) ** 2))
            variance = float(xp.mean(member_variance(end)))
            if bend <= STRAIGHT * variance or pieces == self.max_pieces:
                break
            if bend <= BENT * variance:
                analysis = replace(analysis, ensemble=xp.concat([forecast(start, noise), start, noise], axis=1))
                break
            step = min(max((STRAIGHT * variance / bend) ** 0.25, SMALLEST), LARGEST)
            information += (1 - information) * max(step, 1 / (self.max_pieces + 1 - pieces))
            weight = float(weight_of(information, ratio)) - done
            piece = self.filter.analyse(states, observation.tempered(weight), rng, memory, positions)
            updates.append(piece.update)
            memory, done = piece.memory, done + weight
            _, start, noise = split(piece.ensemble)
            states = xp.concat([forecast(start, noise), start, noise], axis=1)
        updates.append(analysis.update)
        prepared = tuple(update for update in updates if update is not None)
        return replace(analysis, update=InPieces(updates=prepared) if prepared else None)


def _widened(states: Array, original: Array) -> tuple[Array, Array]:
    """Of members that wrappers changed: as they were, with wider anomalies, and what was added to that."""
    xp = namespace(states)
    anomalies, mean = centred(original), member_mean(original)
    square = xp.sum(anomalies * anomalies, axis=0)
    factor = xp.sum(anomalies * centred(states), axis=0) / xp.where(square > 0, square, xp.ones_like(square))
    widened = mean + factor * anomalies
    return widened, states - widened
