"""Model in the loop: the analysis is made where the window begins, and the model carries it to the observations.

Between two observation times the members go from x to M(x). A filter sees M(x) alone and corrects it along straight
lines; over long windows the forecast has bent them. Here the state is x at the start of the window, the operator is
x -> h(M(x)), and the analysis is M of what the filter makes of x. With a `Tempered` filter, M is linearised anew in
every piece: an iterated smoother (Bocquet & Sakov 2014, QJRMS 140, 1521, without their inner minimisation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ensf.arrays import Array, Generator
from ensf.filters.base import Analysis, Filter, check_prior
from ensf.observations import Observation, Pointwise

__all__ = ["ModelInTheLoop", "Window"]


@dataclass(frozen=True, eq=False)
class Window:
    """What happened since the last analysis.

    Attributes
    ----------
    start : (member, state) array
        Ensemble at the start of the window.
    end : (member, state) array
        Its forecast.
    forecast : callable
        Deterministic forecast of states ``(..., state)`` over the window.
    """

    start: Array
    end: Array
    forecast: Callable[[Array], Array]


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

    def analyse(self, prior: Array, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Not possible without the window.

        Raises
        ------
        ValueError
            Always.
        """
        raise ValueError(
            "ModelInTheLoop needs the window that ends here: call analyse_window(Window(start, end, forecast), ...)"
        )

    def analyse_window(self, window: Window, observation: Observation, rng: Generator, memory: Any = None) -> Analysis:
        """Analysis ensemble at the end of the window; `info` has the number of ensemble forecasts as `model_runs`.

        Raises
        ------
        ValueError
            As the filter.
        """
        check_prior(window.end, observation)
        observation = observation.present(window.end.dtype)
        if observation.size == 0:
            return Analysis(window.end, memory, {"model_runs": 1.0})
        seen, through = _at_start(observation, window)
        analysis = self.filter.analyse(window.start, seen, rng, memory)
        ensemble = through.forecast(analysis.ensemble)
        return Analysis(ensemble, analysis.memory, {**analysis.info, "model_runs": 1 + through.runs})


def _at_start(observation: Observation, window: Window) -> tuple[Observation, _Through]:
    """The same observation of states at the start of the window, and the way there; a pointwise function stays one."""
    operator = observation.operator
    if not isinstance(operator, Pointwise):
        through = _Through(window, operator)
        return replace(observation, operator=through), through
    through = _Through(window, operator.linear)
    return replace(observation, operator=Pointwise(operator.function, through)), through


@dataclass(eq=False)
class _Through:
    """Operator ``h(M(x))`` that remembers its last ensemble and counts forecasts, in ensembles."""

    window: Window
    operator: Any
    runs: float = 0.0
    _last: tuple[Array, Array] = field(init=False)

    def __post_init__(self) -> None:
        self._last = self.window.start, self.window.end

    @property
    def seen_as(self) -> Any:
        """The operator that tells where observations are."""
        return self.operator

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

    def adjoint(self, states: Array, residuals: Array) -> Array:
        raise ValueError("a forecast has no adjoint: put an ensemble filter such as ETKF, LETKF or LETSF in the loop")
