"""A Dataset in, a Dataset out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import xarray as xr

from ensf.arrays import Array, Generator, Record, as_names, generator, is_count
from ensf.dataset.blocks import Transforms
from ensf.dataset.coordinates import is_time_of_state
from ensf.dataset.layout import Layout
from ensf.dataset.masks import Mask, computed, whole_members
from ensf.dataset.methods import Method, beside_parameters, find_localization, method_for
from ensf.dataset.packing import choose, pack, restore, without_fills
from ensf.dataset.pipeline import Done, Pipeline, member_label
from ensf.dataset.transforms import Setting, several
from ensf.dataset.units import same_units
from ensf.dataset.window import Window
from ensf.filters.base import Analysis, Memory, Update, can
from ensf.localization import Localization
from ensf.observations import window as arrays
from ensf.observations.observation import Observation
from ensf.wrappers.failed_members import Completed, Replacement, Tolerant, of_members
from ensf.wrappers.parameters import Parameter, check_preparable

__all__ = ["Observations", "Problem", "analyse"]


@runtime_checkable
class Observed(Protocol):
    """Observations beside what they are made of, as `ensf.tables.Observed`."""

    @property
    def observation(self) -> Observation:
        """Of physical states."""

    def locate(self, localization: Localization) -> Self:
        """With the observations where the localization takes them to be."""


class Table(Protocol):
    """What makes observations of a layout: an observation table."""

    def observe(self, layout: Layout) -> Observation | Observed:
        """The observations."""


@runtime_checkable
class Compared(Protocol):
    """What can say how observations look beside the forecast."""

    def far_off(self, ensemble: np.ndarray) -> list[str]:
        """Sentences on observations that are far from the forecast ``(member, state)``, as in other units."""


@runtime_checkable
class Named(Protocol):
    """What knows the names of its observations."""

    def place(self, number: int) -> str:
        """What errors call an observation."""


Observations = Observation | Table | Callable[[Layout], Observation | Observed]
Variables = Mapping[Hashable, Setting] | Iterable[Hashable] | None
Data = TypeVar("Data", xr.Dataset, xr.DataArray)


@dataclass(frozen=True, eq=False)
class Problem(Record):
    """What a filter gets to see of a Dataset and its observations, and the way back.

    Attributes
    ----------
    forecast : (left, state) array
        The physical ensemble, of members that have not failed.
    pipeline : Pipeline
        The filter, the observations as it sees them, layout and transforms.
    dataset : xarray.Dataset
        As it was given, with the variables of the state in memory; without members that are left out.
    alive : (member,) array of bool
        Which members have not failed: all, unless the filter is `Tolerant`.
    """

    forecast: np.ndarray
    pipeline: Pipeline
    dataset: xr.Dataset = field(repr=False)
    alive: np.ndarray = field(repr=False)

    @classmethod
    def of(
        cls,
        dataset: xr.Dataset,
        observations: Observations,
        method: Method = None,
        *,
        member_dim: str = "realization",
        variables: Variables = None,
        mask: Mask = None,
        parameters: Iterable[Hashable] = (),
        coordinates: Mapping[str, str] | None = None,
        periods: Mapping[str, float] | None = None,
    ) -> Problem:
        """The problem of a Dataset; arguments and errors are those of `analyse`.

        Of `parameters` only the names count: a member that has no number there has failed.
        """
        settings, mask = _settings(dataset, variables, member_dim), computed(mask)
        chosen = choose(dataset, member_dim, settings)
        if chosen.sizes[member_dim] < 2:
            raise ValueError(f"the Dataset has 1 member along {member_dim!r}: give two members or more, or member_dim=")
        how = dataset, chosen, settings, observations, method, member_dim, mask, coordinates, periods
        if not isinstance(method, Tolerant):
            return cls._of_members(np.ones(chosen.sizes[member_dim], dtype=bool), *how)
        alive = whole_members(without_fills(chosen), member_dim, mask)
        for name in parameters:
            alive &= whole_members(choose(dataset, member_dim, [name]), member_dim, _mask_of(mask, name))
        method.checked(alive)
        problem = cls._of_members(alive, *how)
        far = problem.pipeline.unresolved_members(problem.forecast)
        if not far.any():
            return problem
        left = alive.copy()
        left[np.flatnonzero(alive)[far]] = False
        return cls._of_members(method.checked(left), *how)

    @classmethod
    def _of_members(
        cls,
        alive: np.ndarray,
        dataset: xr.Dataset,
        chosen: xr.Dataset,
        settings: Mapping[Hashable, tuple[Any, ...]],
        observations: Observations,
        method: Method,
        member_dim: str,
        mask: Mask,
        coordinates: Mapping[str, str] | None,
        periods: Mapping[str, float] | None,
    ) -> Problem:
        """The problem of those that are left, ``(member,)`` of bool."""
        numbers = np.flatnonzero(alive)
        left = {member_dim: numbers}

        def label(member: int) -> str:
            return member_label(int(numbers[member]))

        left_over = chosen if alive.all() else chosen.isel(left)
        forecast, layout = pack(left_over, member_dim, mask=mask, coordinates=coordinates, periods=periods)
        filter = method_for(method, layout)
        observation, place = _observation(observations, layout, find_localization(filter), forecast)
        transforms = Transforms.fit(settings, layout, forecast, label)
        pipeline = Pipeline.of(filter, observation, layout, transforms, label, place)
        loaded = dataset.assign({name: variable.variable for name, variable in chosen.items()})
        if isinstance(method, Tolerant) and not method.replaced:
            loaded = loaded.isel(left)
        return cls(forecast, pipeline, loaded, alive)

    @property
    def layout(self) -> Layout:
        """Which entry of the state is which grid point."""
        return self.pipeline.layout

    def analyse(self, rng: Generator | int | None, memory: Memory = None, window: Window | None = None) -> Analysis:
        """The filter's own record, with a physical ensemble ``(member, state)``; its update is for all members.

        Parameters
        ----------
        rng : numpy.random.Generator, int or None
            Random stream, or its seed.
        memory : object
            What the cycle before left.
        window : Window, optional
            For a model in the loop.

        Raises
        ------
        ValueError
            As the filter, or if the analysis of a variable is not finite.
        """
        rng, needed = generator(rng), self.pipeline.needed
        is_whole = needed is None or 2 * len(needed) > self.layout.size
        columns = self.forecast if is_whole else self.forecast[:, needed]
        way = None if window is None else self._way(window)
        update = self.pipeline.prepare(columns, rng, of_members(memory, self.alive), way)
        if isinstance(self.pipeline.method, Tolerant) and not self.alive.all():
            update = self.pipeline.method.update(update, self.alive, rng)
        inner, replacement = _parted(update)
        ensemble, fields = self.forecast.copy(), dict[str, np.ndarray]()
        replaced = np.empty((0 if replacement is None else len(replacement.failed), ensemble.shape[1]), ensemble.dtype)

        def collect(done: Done) -> None:
            for look, values in done.looks.items():
                fields.setdefault(look, np.full(self.layout.size, np.nan, values.dtype))[done.tile.entries] = values

        self.pipeline.apply(inner, ensemble, replacement=replacement, replaced=replaced, watch=collect)
        return Analysis(self._joined(ensemble, replaced), update.memory, {**update.info, **fields}, update)

    def parameter(
        self, update: Update, name: Hashable, parameter: Parameter, mask: Mask, key: int
    ) -> tuple[np.ndarray, Layout]:
        """Analysis ``(member, entry)`` of a variable that is a parameter, and its layout.

        Parameters
        ----------
        update : Update
            Of the analysis.
        name : str
        parameter : Parameter
        mask : True, xarray.DataArray, or mapping of str to xarray.DataArray, optional
        key : int
            Of random walks.

        Raises
        ------
        ValueError
            If a member has no number, or as `Pipeline.parameter`.
        """
        left = self._left(self.dataset[[name]])
        if left[name].ndim == 1 and not np.isfinite(left[name].values).all():
            member = self.pipeline.label(int(np.argmin(np.isfinite(left[name].values))))
            raise ValueError(f"parameter {name!r} has no number in {member}: repair or drop that member")
        values, layout = pack(left, self.layout.member_dim, mask=_mask_of(mask, name))
        inner, replacement = _parted(update)
        made = self.pipeline.parameter(inner, parameter, layout, values, key)
        replaced = made[:0] if replacement is None else parameter.combined(made, replacement.made)
        return self._joined(made, replaced), layout

    def _left(self, dataset: xr.Dataset) -> xr.Dataset:
        """Of a Dataset with all members, those that have not failed."""
        every = dataset.sizes[self.layout.member_dim] == len(self.alive)
        return dataset.isel({self.layout.member_dim: np.flatnonzero(self.alive)}) if every else dataset

    def _joined(self, left: np.ndarray, replaced: np.ndarray) -> np.ndarray:
        """All members, of those that have not failed and of what takes the places of the others, if anything does."""
        if not len(replaced):
            return left
        ensemble = np.empty((len(self.alive), left.shape[1]), left.dtype)
        ensemble[self.alive], ensemble[~self.alive] = left, replaced
        return ensemble

    def smooth(self, update: Update, earlier: xr.Dataset, lag: int = 1) -> xr.Dataset:
        """The ensemble of an earlier cycle, corrected by the update of the analysis.

        Parameters
        ----------
        update : Update
            Of the analysis: ``problem.analyse(rng).update``.
        earlier : xarray.Dataset
            Its ensemble, with the variables, grid and members of the forecast; of a fixed-lag smoother, as the updates
            since then have left it.
        lag : int
            How many cycles ago.

        Raises
        ------
        ValueError
            If it is not like the forecast, or as `Pipeline.smooth`.
        """
        if not is_count(lag):
            raise ValueError(f"lag is {lag!r}: give the number of cycles ago, 1 or more")
        earlier = earlier if len(self.alive) == self.dataset.sizes[self.layout.member_dim] else self._left(earlier)
        chosen = choose(earlier, self.layout.member_dim, self.layout.template.data_vars)
        states, layout = self._packed(self._left(chosen), "the earlier ensemble", len(self.forecast))
        inner, replacement = _parted(update)
        replaced = self.pipeline.smooth(inner, states, lag, replacement)
        loaded = earlier.assign({name: variable.variable for name, variable in chosen.items()})
        return restore(loaded, self._joined(states, replaced), layout)

    def _way(self, window: Window) -> arrays.Window:
        """The physical window of the members that have not failed."""
        started = self._left(window.start)
        start, layout = self._packed(started, "the start of the window", len(self.forecast))

        def forecast(states: np.ndarray) -> np.ndarray:
            members = started.isel({layout.member_dim: slice(len(states))})
            ends = window.forecast(restore(members, states, layout), layout.member_dim)
            return self._packed(ends, "the forecast of the window", len(states))[0]

        return arrays.Window(start, self.forecast, forecast)

    def _packed(self, dataset: xr.Dataset, what: str, members: int) -> tuple[np.ndarray, Layout]:
        """States ``(member, state)`` of a Dataset like the forecast at another time, in the dtype of the forecast.

        Raises
        ------
        ValueError
            If it is not like it; `what` is what it calls the Dataset.
        """
        member_dim, wanted = self.layout.member_dim, self.layout
        states, layout = pack(dataset, member_dim, wanted.template.data_vars, mask=_holes(wanted))
        for name, dims in wanted.dims.items():
            if layout.dims[name] != dims:
                raise ValueError(
                    f"variable {name!r} of {what} has dimensions {layout.dims[name]} but that of the forecast {dims}: "
                    "transpose it"
                )
        _check_same_grid(layout.template, wanted.template, what)
        if states.shape != (members, wanted.size):
            raise ValueError(
                f"{what} has {states.shape[0]} members of {states.shape[1]} values but the forecast {members} of "
                f"{wanted.size}: give the same members, variables and grid"
            )
        return states.astype(self.forecast.dtype, copy=False), layout

    def restore(self, ensemble: Array) -> xr.Dataset:
        """Dataset like the forecast, of a physical ensemble ``(member, state)``.

        Raises
        ------
        ValueError
            If it does not fit.
        """
        return restore(self.dataset, ensemble, self.layout)


def analyse(
    dataset: Data,
    observations: Observations,
    method: Method,
    rng: Generator | int | None,
    *,
    member_dim: str = "realization",
    variables: Variables = None,
    mask: Mask = None,
    parameters: Mapping[Hashable, Parameter] | None = None,
    coordinates: Mapping[str, str] | None = None,
    periods: Mapping[str, float] | None = None,
    window: Window | None = None,
) -> Data:
    """Analysis of a forecast ensemble.

    Parameters
    ----------
    dataset : xarray.Dataset or xarray.DataArray
        Forecast, with a dimension that counts the members. Dask arrays among the analysed variables are computed, and
        a line is logged.
    observations : Observation, object with ``observe(layout)``, or callable
        Of the physical state: an `Observation` on the flat state; or what makes one from the `Layout`, such as an
        observation table or a function ``layout -> Observation``.
    method : Filter, callable, str, or None
        A filter, whose localization finds places by its `dims` among the coordinates; a function
        ``layout -> Filter``; ``"letsf"`` or None = `ensf.letsf`, with a first localization from the coordinates.
    rng : numpy.random.Generator, int or None
        Random stream, or its seed.
    member_dim : str
        Dimension that counts the members.
    variables : iterable of str, or mapping of str to settings, optional
        The variables to analyse, by default all that have the member dimension. In a mapping, each with None, one
        setting of `ensf.dataset` (`Log`, `Logit`, `Scale`, `Standardise`, `Bounds`) or a tuple of them, first applied
        first.
    mask : True, xarray.DataArray, or mapping of str to xarray.DataArray, optional
        Grid points without data, as in `ensf.dataset.pack`.
    parameters : mapping of str to Parameter, optional
        Variables that are parameters of the model: they are analysed with the state, and no observation reads them. One
        with the member dimension alone has no place, a field has one for each entry, as a variable of the state.
    coordinates, periods : mapping, optional
        As in `ensf.dataset.pack`, for a table of observations and for the first localization.
    window : Window, optional
        Where the members started and the model, for a method with the model in the loop, ``letsf(loop=True)``.

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
        whole = dataset.to_dataset(name=name)
        analysis = analyse(
            whole,
            observations,
            method,
            rng,
            member_dim=member_dim,
            variables=variables,
            mask=mask,
            parameters=parameters,
            coordinates=coordinates,
            periods=periods,
            window=window,
        )
        return analysis[name].rename(dataset.name)
    parameters = _named_parameters(parameters)
    for name in parameters:
        _check_parameter(dataset, name, member_dim)
        if variables is not None and name in variables:
            raise ValueError(f"{name!r} is a parameter and among variables: name it in one of them")
    mask = computed(mask)
    if parameters:
        method, fields = beside_parameters(method), choose(dataset, member_dim, parameters)
        dataset = dataset.assign({name: one.variable for name, one in fields.items()})
        if variables is None:
            variables = [name for name, one in dataset.items() if member_dim in one.dims and name not in parameters]
    how: dict[str, Any] = {"member_dim": member_dim, "variables": variables, "mask": mask}
    how |= {"parameters": parameters, "coordinates": coordinates, "periods": periods}
    problem = Problem.of(dataset, observations, method, **how)
    if not parameters:
        return problem.restore(problem.analyse(rng, window=window).ensemble)
    check_preparable(problem.pipeline.method)
    rng = generator(rng)
    analysis = problem.analyse(rng)
    assert analysis.update is not None
    analysed = problem.restore(analysis.ensemble)
    key = int(rng.integers(2**63))
    for name, parameter in parameters.items():
        made, layout = problem.parameter(analysis.update, name, parameter, mask, key)
        analysed = restore(analysed.assign({name: problem.dataset[name]}), made, layout)
    return analysed


def _named_parameters(parameters: Mapping[Hashable, Parameter] | None) -> dict[Hashable, Parameter]:
    """Raise ValueError for what is no mapping of names to parameters."""
    named = {} if parameters is None else parameters
    if not can(named, "items") or not all(can(one, "to_filter") for one in named.values()):
        raise ValueError(f"parameters= is {parameters!r}: give one for each name, such as {{'k': Parameter(walk=0.1)}}")
    return dict(named)


def _check_parameter(dataset: xr.Dataset, name: Hashable, member_dim: str) -> None:
    """Raise ValueError for a parameter that is no variable of floating point with the member dimension."""
    if name not in dataset.data_vars:
        choice = ", ".join(map(repr, dataset.data_vars))
        raise ValueError(f"the Dataset has no parameter {name!r}: choose among {choice}")
    if member_dim not in dataset[name].dims or dataset[name].dtype.kind != "f":
        raise ValueError(
            f"parameter {name!r} is {dataset[name].dtype} with dimensions {dataset[name].dims}: give numbers of "
            f"floating point for each member, along {member_dim!r}"
        )


def _mask_of(mask: Mask, name: Hashable) -> Mask:
    """The mask of one variable."""
    return {name: mask[name]} if isinstance(mask, Mapping) and name in mask else mask if mask is True else None


def _parted(update: Update) -> tuple[Update, Replacement | None]:
    """The update of members that have not failed, and what takes the places of the others."""
    if not isinstance(update, Completed):
        return update, None
    return update.update, update.replacement if update.replaced else None


def _check_same_grid(earlier: xr.Dataset, forecast: xr.Dataset, what: str) -> None:
    """Raise ValueError for other units, or other coordinates of the grid; a time may differ."""
    for name, variable in forecast.data_vars.items():
        units = earlier[name].attrs.get("units"), variable.attrs.get("units")
        if not same_units(*units):
            raise ValueError(
                f"variable {name!r} of {what} is in {units[0]!r} but that of the forecast in {units[1]!r}: convert it"
            )
    for name, coordinate in forecast.coords.items():
        is_of_grid = coordinate.ndim and coordinate.dtype.kind == "f" and not is_time_of_state(coordinate)
        if name in earlier.coords and is_of_grid:
            other = earlier.coords[name]
            if other.shape == coordinate.shape and not np.allclose(other, coordinate, equal_nan=True):
                raise ValueError(f"{what} has other values of {name!r} than the forecast: give the same grid")


def _holes(layout: Layout) -> dict[Hashable, xr.DataArray]:
    """The masks of a layout, for Datasets of any time."""
    return {name: xr.DataArray(mask, dims=layout.template[name].dims) for name, mask in layout.masks.items()}


# --- what the user may hand in ---------------------------------------------------------------------------


def _settings(dataset: xr.Dataset, variables: Variables, member_dim: str) -> dict[Hashable, tuple[Any, ...]]:
    """Settings of every variable to analyse, as tuples."""
    if not can(dataset, "drop_dims"):
        raise ValueError(
            f"the forecast is a {type(dataset).__name__}: give an xarray.Dataset first, then the observations"
        )
    if variables is None:
        variables = [name for name, variable in dataset.items() if member_dim in variable.dims]
        if not variables:
            raise ValueError(
                f"no variable has the member dimension {member_dim!r}: choose member_dim= among "
                f"{', '.join(map(repr, dataset.dims))}"
            )
    if not isinstance(variables, Mapping):
        variables = dict.fromkeys(as_names(variables))
    return {name: several(name, setting) for name, setting in variables.items()}


def _observation(
    observations: Observations, layout: Layout, localization: Localization | None, forecast: np.ndarray
) -> tuple[Observation, Callable[[int], str]]:
    """The observations of a layout, where the localization takes them to be, and what errors call each.

    A line is logged for those that are far from the forecast.
    """
    observe = getattr(observations, "observe", observations)
    made = observe(layout) if callable(observe) else observe
    observation = made
    if isinstance(made, Observed):
        made = made if localization is None else made.locate(localization)
        observation = made.observation
    if not isinstance(observation, Observation):
        raise ValueError(
            f"observations are a {type(made).__name__}: give an Observation, an observation table, which "
            "ensf.tables.from_frame makes of a DataFrame, or a function layout -> Observation, or -> a record with "
            "`observation` and `locate`"
        )
    for sentence in made.far_off(forecast) if isinstance(made, Compared) else ():
        logging.getLogger("ensf").warning(sentence)
    return observation, made.place if isinstance(made, Named) else "observation {}".format
