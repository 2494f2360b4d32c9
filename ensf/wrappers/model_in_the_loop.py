"""Model in the loop: the analysis is made where the window begins, and the model carries it to the observations.

Between two observation times the members go from x to M(x). A filter sees M(x) alone and corrects it along straight
lines; over long windows the forecast has bent them. Here the state is x at the start of the window, the operator is
x -> h(M(x)), and the analysis is M of what the filter makes of x. With a `Tempered` filter, M is linearised anew in
every piece: an iterated smoother (Bocquet & Sakov 2014, QJRMS 140, 1521, without their inner minimisation).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ensf.arrays import Array, Generator, generator
from ensf.filters.base import Analysis, Filter, Memory, check_filter, refuse_predictions, usable
from ensf.filters.guarded import guarded
from ensf.observations.observation import Observation
from ensf.observations.operators import Operator, Pointwise
from ensf.observations.window import Window

__all__ = ["ModelInTheLoop"]


@dataclass(frozen=True)
class ModelInTheLoop:
    """A filter that analyses the start of the window through the model.

    Costs one forecast of the ensemble for each time the filter asks for predicted observations of another ensemble,
    and one more: with ``AdaptiveInflation(Tempered(..., pieces=4))`` six, with the one of the cycle itself.

    Parameters
    ----------
    filter : Filter
        Its localization takes observations to be where they are seen, as if nothing moved during the window.
    """

    filter: Filter

    def __post_init__(self) -> None:
        check_filter(self.filter, type(self).__name__)

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
        prior, observation, positions = usable(prior, observation, positions)
        if observation.size == 0:
            inner = self.filter.analyse(window.start, observation, generator(rng), memory, positions)
            return Analysis(prior, inner.memory, {"model_runs": 1.0})
        at_start, through = _at_start(observation, window)
        analysis = self.filter.analyse(window.start, at_start, generator(rng), memory, positions)
        ensemble = through.forecast(analysis.ensemble)
        return Analysis(ensemble, analysis.memory, {**analysis.info, "model_runs": 1 + through.runs})


def _at_start(observation: Observation, window: Window) -> tuple[Observation, _Through]:
    """The same observation of states at the start of the window, and the way there; a pointwise function stays one."""
    part = observation.part
    if part.exact or part.pointwise is None:
        through = _Through(window, observation.operator)
        return replace(observation, operator=through, error=observation.law, window=None), through
    through = _Through(window, part.linear)
    operator = Pointwise(part.pointwise, through)
    return replace(observation, operator=operator, error=observation.law, window=None), through


@dataclass(eq=False)
class _Through(Operator):
    """Operator ``h(M(x))`` that remembers its last ensemble and counts forecasts, in ensembles."""

    window: Window
    operator: Operator
    runs: float = 0.0
    _last: tuple[Array, Array] = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.window.start, self.window.end

    def forecast(self, states: Array) -> Array:
        if states is self._last[0]:
            return self._last[1]
        self.runs += states.shape[0] / self.window.start.shape[0]
        end = self.window.forecast(states)
        if states.shape == self.window.start.shape:
            self._last = states, end
        return end

    def __call__(self, states: Array) -> Array:
        return self.operator(self.forecast(states))

    def places(self, positions: np.ndarray) -> np.ndarray | None:
        return self.operator.places(positions)

    def adjoint(self, states: Array, residuals: Array) -> Array:
        raise ValueError("a forecast has no adjoint: put an ensemble filter such as ETKF, LETKF or LETSF in the loop")
