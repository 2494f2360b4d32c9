"""Analysis with observations at their own times: predicted from a trajectory, applied to the state of one time.

predicted = observation.predict(trajectory)      h(x_j(t)), each observation at its own t: first guess at
update = filter.prepare(predicted, observation)                                            appropriate time
update.apply(state at the time of the analysis, or at any other)
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ensf.arrays import Array, Generator, as_floating, generator, is_host
from ensf.filters.base import Analysis, Filter, Memory, Preparable, as_part, can, usable
from ensf.filters.guarded import check_finite, check_left, check_memory
from ensf.observations.observation import Observation
from ensf.observations.operators import Operator
from ensf.wrappers.failed_members import Tolerant, of_members, without_failed
from ensf.wrappers.smoother import Smoother, SmootherMemory

__all__ = ["analyse_window"]


def analyse_window(
    filter: Filter,
    trajectory: Array,
    observation: Observation,
    rng: Generator | int | None,
    memory: Memory = None,
    positions: np.ndarray | None = None,
    step: int = -1,
) -> Analysis:
    """Analysis of the state at one step of a window from observations at their own times.

    Parameters
    ----------
    filter : Filter
        One that is not `Preparable` analyses the whole trajectory as one state.
    trajectory : (member, step, state) array
        Of the members in the window.
    observation : Observation
        Of trajectories, as `ensf.observations.at_times` makes its operator.
    rng : numpy.random.Generator, int or None
        Random stream, or its seed.
    memory : object
        What the window before left.
    positions : (state, dimension) array, optional
        Where the variables of a state are; by default each is at its index.
    step : int
        That of the analysis; by default the last. The update of the result serves the states of all others.

    Returns
    -------
    Analysis
        Its ensemble is ``(member, state)``.

    Raises
    ------
    ValueError
        If the trajectory has not three axes, has no such step, or the operator is of other trajectories; or as the
        filter.
    """
    if not can(filter, "analyse"):
        raise ValueError(f"filter is {filter!r}: give one with its settings, such as ETKF()")
    trajectory = as_floating(trajectory, "trajectory")
    if trajectory.ndim != 3:
        raise ValueError(f"the trajectory has shape {tuple(trajectory.shape)}: give (member, step, state)")
    members, steps, size = trajectory.shape
    if step not in range(-steps, steps):
        raise ValueError(f"the trajectory has {steps} steps but the analysis is at step {step!r}: give one of them")
    step = int(step)
    _check_reads(observation.operator, steps, size)
    if isinstance(filter, Smoother):
        if memory is not None:
            check_memory(filter, memory, (trajectory.shape[0], trajectory.shape[-1]))
        memory = memory or SmootherMemory()
        inner = analyse_window(filter.filter, trajectory, observation, rng, memory.inner, positions, step)
        return filter.corrected(inner, memory, positions)
    if isinstance(filter, Tolerant):
        rng, inside = generator(rng), filter.filter

        def of_left(alive: np.ndarray) -> Analysis:
            left = without_failed(trajectory, alive)
            return analyse_window(inside, left, observation, rng, of_members(memory, alive), positions, step)

        inner, alive = filter.without_far_off(of_left, filter.alive(trajectory), rng)
        return filter.completed(inner, alive, rng)
    if memory is not None:
        check_memory(filter, memory, (members, steps * size) if not isinstance(filter, Preparable) else (members,))
    if positions is None:
        positions = np.arange(size, dtype=np.float64)[:, None]
    everywhere = np.tile(positions, (steps, 1))
    whole, observation, _ = usable(trajectory.reshape(members, -1), observation, everywhere)
    state = whole.reshape(members, steps, size)[:, step]
    state = np.ascontiguousarray(state) if is_host(state) else state
    if observation.size == 0:
        return filter.analyse(state, observation, rng, memory, positions)
    if isinstance(filter, Preparable):
        of_step = replace(observation, error=observation.law, state_size=size)
        update = filter.prepare(observation.predict(whole), of_step, generator(rng), memory)
        check_left(filter, update.memory)
        ensemble, fields = update.analysed(as_part(state, positions))
        check_finite(ensemble, type(filter).__name__, state)
        return Analysis(ensemble, update.memory, {**update.info, **fields}, update, update.before)
    analysis = filter.analyse(whole, observation, rng, memory, everywhere)
    first = (step % steps) * size
    own = slice(first, first + size)
    looks = {name: value[own] if np.shape(value) == (steps * size,) else value for name, value in analysis.info.items()}
    return replace(analysis, ensemble=analysis.ensemble[:, own], info=looks, update=None)


def _check_reads(operator: Operator, steps: int, size: int) -> None:
    """Raise ValueError for an operator of one state, or of trajectories of another number of steps."""
    others, read = operator.lengths() - {steps}, operator.reads()
    if others:
        raise ValueError(
            f"the operator is of trajectories of {min(others)} steps but the trajectory has {steps}: give at_times the "
            "times of its steps"
        )
    if steps > 1 and not operator.lengths() and read is not None and len(read) and read[-1] < size:
        raise ValueError(
            f"{operator!r} reads one state, of a trajectory of {steps}: give at_times(operator, times, steps)"
        )
