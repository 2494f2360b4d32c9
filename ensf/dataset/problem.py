"""From a Dataset to what a filter gets to see, and back."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from ensf.arrays import Array, Generator, to_numpy
from ensf.dataset.blocks import Blocks, fit_blocks
from ensf.dataset.layout import Layout
from ensf.dataset.local import check_order, find_localization, place
from ensf.dataset.packing import choose, pack, restore
from ensf.dataset.physical import Physical, seen
from ensf.dataset.transforms import Bounds, several
from ensf.filters.base import Analysis, Filter, check_predicted
from ensf.observations.observation import Observation

__all__ = ["Problem", "analyse"]

LOGGER = logging.getLogger("ensf")


@dataclass(frozen=True, eq=False)
class Problem:
    """What a filter gets to see of a Dataset and its observations, and the way back.

    Attributes
    ----------
    forecast : (member, state) array
        The physical ensemble.
    prior : (member, state) array
        The same in the coordinates of the analysis.
    observation : Observation
        Of such states.
    method : Filter
        With its places.
    layout : Layout
        Which entry of the state is which grid point.
    blocks : Blocks
        Transforms of the variables.
    bounds : mapping of str to tuple of Bounds
        Limits of the analysis.
    dataset : xarray.Dataset
        As it was given, with the variables of the state in memory.
    """

    forecast: np.ndarray
    prior: np.ndarray
    observation: Observation
    method: Filter
    layout: Layout
    blocks: Blocks
    bounds: Mapping[Hashable, tuple[Bounds, ...]]
    dataset: xr.Dataset

    @classmethod
    def of(
        cls,
        dataset: xr.Dataset,
        observations: Any,
        method: Any,
        *,
        member_dim: str = "realization",
        variables: Mapping[Hashable, Any] | Iterable[Hashable] | None = None,
        mask: Any = None,
    ) -> Problem:
        """The problem of a Dataset; parameters and errors are those of `analyse`."""
        settings = _settings(dataset, variables, member_dim)
        chosen = choose(dataset, member_dim, settings)
        physical, layout = pack(chosen, member_dim, mask=mask)
        observation = _observation(observations, layout)
        if hasattr(observations, "axes"):
            check_order(method, observations.axes)
        check_predicted(observation.operator(physical[:1]), observation)
        blocks = fit_blocks(settings, layout, physical)
        method = place(method, layout)
        transformed = _located(seen(observation, blocks), observation, method, layout.size)
        bounds = {name: tuple(one for one in those if isinstance(one, Bounds)) for name, those in settings.items()}
        loaded = dataset.assign({name: variable.variable for name, variable in chosen.items()})
        return cls(physical, blocks.forward(physical), transformed, method, layout, blocks, bounds, loaded)

    def analyse(self, rng: Generator, memory: Any = None) -> Analysis:
        """The filter's own record: ensemble ``(member, state)`` in the coordinates of the analysis, memory, info."""
        return self.method.analyse(self.prior, self.observation, rng, memory)

    def restore(self, ensemble: Array) -> xr.Dataset:
        """Dataset like the forecast, of an ensemble ``(member, state)`` in the coordinates of the analysis.

        Entries that are those of the prior are those of the forecast, to the last bit.

        Raises
        ------
        ValueError
            If a variable is not finite.
        """
        physical = self._physical(to_numpy(ensemble))
        if any(self.bounds.values()):
            names = self.layout.template.data_vars
            physical = np.concatenate([self._clipped(name, physical) for name in names], axis=1)
        for name in self.layout.template.data_vars:
            _check_finite(name, physical[:, self.layout.block(name)])
        return restore(self.dataset, physical, self.layout)

    def _physical(self, ensemble: np.ndarray) -> np.ndarray:
        if self.blocks.unchanged or ensemble.shape != self.prior.shape:
            return self.blocks.inverse(ensemble)
        with np.errstate(over="ignore"):
            return np.where(ensemble == self.prior, self.forecast, self.blocks.inverse(ensemble))

    def _clipped(self, name: Hashable, physical: np.ndarray) -> np.ndarray:
        values = physical[:, self.layout.block(name)]
        for limits in self.bounds[name]:
            values, clipped = limits.clip(values)
            if clipped:
                LOGGER.warning("analysis of %r: %d of %d values clipped to %s", name, clipped, values.size, limits)
        return values


def _check_finite(name: Hashable, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        member = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise ValueError(
            f"the analysis of variable {name!r} is not finite in member {member}: "
            "observations are too far from the prior for its transform"
        )


def analyse(
    dataset: xr.Dataset | xr.DataArray,
    observations: Any,
    method: Any,
    rng: Generator,
    *,
    member_dim: str = "realization",
    variables: Mapping[Hashable, Any] | Iterable[Hashable] | None = None,
    mask: Any = None,
) -> Any:
    """Analysis of a forecast ensemble.

    Parameters
    ----------
    dataset : xarray.Dataset or xarray.DataArray
        Forecast, with a dimension that counts the members. Dask arrays among the analysed variables are computed, and
        a line is logged.
    observations : Observation, object with ``observe(layout)``, or callable
        Of the physical state: an `Observation` on the flat state; or what makes one from the `Layout`, such as an
        observation table or a function ``layout -> Observation``.
    method : Filter, or callable
        A filter; `Local`, also inside wrappers; or a function ``layout -> Filter``.
    rng : numpy.random.Generator
    member_dim : str
        Dimension that counts the members.
    variables : iterable of str, or mapping of str to settings, optional
        The variables to analyse, by default all that have the member dimension. In a mapping, each with None, one
        setting of `ensf.dataset` (`Log`, `Logit`, `Scale`, `Standardise`, `Bounds`) or a tuple of them, first applied
        first.
    mask : True, xarray.DataArray, or mapping of str to xarray.DataArray, optional
        Grid points without data, as in `ensf.dataset.pack`.

    Returns
    -------
    xarray.Dataset or xarray.DataArray
        As given: the same variables, dimensions, coordinates, attributes, encodings and dtypes, with the analysed
        variables replaced. Masked points and other variables are as they were.

    Raises
    ------
    ValueError
        If variables, mask, observations or method do not fit; the sentence says which and what to do.
    """
    if isinstance(dataset, xr.DataArray):
        name = "variable" if dataset.name is None else dataset.name
        options: dict[str, Any] = {"member_dim": member_dim, "variables": variables, "mask": mask}
        return analyse(dataset.to_dataset(name=name), observations, method, rng, **options)[name].rename(dataset.name)
    problem = Problem.of(dataset, observations, method, member_dim=member_dim, variables=variables, mask=mask)
    return problem.restore(problem.analyse(rng).ensemble)


# --- what the user may hand in ---------------------------------------------------------------------------


def _settings(dataset: xr.Dataset, variables: Any, member_dim: str) -> dict[Hashable, tuple[Any, ...]]:
    """Settings of every variable to analyse, as tuples."""
    if variables is None:
        variables = [name for name, variable in dataset.items() if member_dim in variable.dims]
        if not variables:
            raise ValueError(
                f"no variable has the member dimension {member_dim!r}: choose member_dim= among "
                f"{', '.join(map(repr, dataset.dims))}"
            )
    if isinstance(variables, str):
        variables = [variables]
    if not isinstance(variables, Mapping):
        variables = dict.fromkeys(variables)
    return {name: several(name, setting) for name, setting in variables.items()}


def _observation(observations: Any, layout: Layout) -> Observation:
    if hasattr(observations, "observe"):
        observations = observations.observe(layout)
    elif callable(observations):
        observations = observations(layout)
    made = getattr(observations, "observation", observations)
    if not isinstance(made, Observation):
        raise ValueError(
            f"observations are a {type(made).__name__}: give an Observation, an observation table, or a function "
            "layout -> Observation"
        )
    return made


def _located(transformed: Observation, original: Observation, method: Any, size: int) -> Observation:
    """The transformed observation, at the places of the original if it does not show any more which entries it sees."""
    if transformed.position is not None or not isinstance(transformed.operator, Physical):
        return transformed
    localization = find_localization(method)
    if localization is None:
        return transformed
    return replace(transformed, position=observed_positions(original, localization, size))
