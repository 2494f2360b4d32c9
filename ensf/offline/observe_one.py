"""What one observation at a place would do: how one chooses the radius of a localization.

forecast files, a place, an error --> what the members predict there --> value = mean + innovation
for each radius:  the filter with that half-width --> increment of the mean, spread after, on the grid
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from ensf.arrays import Generator
from ensf.arrays.settings import has_settings
from ensf.dataset.blocks import Transforms
from ensf.dataset.methods import Method, distance_of, find_localization, length_unit
from ensf.dataset.pipeline import Follow, Pipeline, quiet
from ensf.dataset.reach import first_localization
from ensf.dataset.transforms import Setting, several
from ensf.filters import LETSF
from ensf.filters.base import Filter
from ensf.localization import Localization
from ensf.offline.fields import moments
from ensf.offline.members import Source
from ensf.offline.observations import Columns, check_prior, locate, meet
from ensf.runs.patterns import find_files
from ensf.tables import ObservationTable, Observed
from ensf.tables.columns import VERTICAL, axes

__all__ = ["ObserveOne", "with_half_width"]

Part = TypeVar("Part")
PLACE = "--at"


@dataclass(frozen=True)
class ObserveOne:
    """One observation of a forecast in files.

    Parameters
    ----------
    variable : str
        Of the state, or a derived quantity.
    at : mapping of str to float
        Place, as columns of a table: ``lat`` and ``lon``, or ``x`` and ``y``, or the one coordinate of a line; and
        ``z``, ``depth``, ``height`` (m) or ``pressure`` (Pa) in a field with levels.
    error : float
        Standard deviation, in the unit of the variable.
    innovation : float, optional
        Observation minus mean of the forecast; by default one standard deviation of it, the root of ensemble variance
        plus error variance.
    radii : tuple of float
        Half-widths to compare, in the unit of the localization, km on the sphere; the method's own if empty.
    method : Filter, str or None
        By default a `LETSF` with a first localization from the coordinates. What a filter learns from many
        observations (inflation, deferral, narrower patches) one observation does not show.
    variables, member_dim, mask, coordinates, periods, surface
        As in `ensf.offline.Offline`.

    Raises
    ------
    ValueError
        If the place is none, or a number makes no sense.
    """

    variable: str
    at: Mapping[str, float]
    error: float
    innovation: float | None = None
    radii: tuple[float, ...] = ()
    method: Method = None
    variables: Sequence[str] | Mapping[str, Setting] = ()
    member_dim: str = "realization"
    mask: bool = False
    coordinates: Mapping[str, str] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)
    surface: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.error > 0 and np.isfinite(self.error)):
            raise ValueError(f"error is {self.error:g}: give a standard deviation above 0")
        for radius in self.radii:
            if not radius > 0:
                raise ValueError(f"radius is {radius:g}: give half-widths above 0, such as 300 500 1000")

    @property
    def axes(self) -> tuple[str, ...]:
        """Columns of the place."""
        return axes(self.at)

    def compute(self, prior: str | Path | Sequence[str | Path], rng: Generator, follow: Follow = quiet) -> xr.Dataset:
        """Increment and spread of every variable for every radius.

        Parameters
        ----------
        prior : str, Path, or sequence of these
            Names or patterns of the files of the forecast.
        rng : numpy.random.Generator
        follow : callable
            ``follow(steps, what)`` gives the same steps and may show progress.

        Returns
        -------
        xarray.Dataset
            ``VARIABLE_increment`` and ``VARIABLE_analysis_spread`` with dimensions ``(radius, ...)``,
            ``VARIABLE_prior_spread`` on the grid, and in the attributes what was observed.

        Raises
        ------
        ValueError, OSError
            If a file, the place or the method does not fit; the sentence names it.
        """
        source = Source.of(
            find_files(prior, "the forecast"),
            self.member_dim,
            tuple(self.variables),
            self.mask,
            self.coordinates.values(),
        ).with_axes(self.coordinates, self.periods, self.surface)
        layout = source.layout
        first = self._observed(source, 0.0)
        ensemble = source.load(lambda members: follow(members, "reading"))
        compared = check_prior(first, _columns(first, ensemble), ()).table
        mean, spread = (float(compared.extra[f"prior_{name}"][0]) for name in ("mean", "spread"))
        if not spread > 0:
            raise ValueError(
                f"all members predict {mean:g} of {self.variable!r} there: one observation would do nothing"
            )
        innovation = float(np.hypot(spread, self.error)) if self.innovation is None else self.innovation
        observed = self._observed(source, mean + innovation)
        method = self._method(source)
        localization = find_localization(method)
        if localization is None and self.radii:
            raise ValueError(f"method {method!r} has no localization, so radii say nothing: leave them out")
        radii = self.radii or ((localization.half_width,) if localization is not None else (np.inf,))
        parts = []
        for radius in follow(radii, "radii"):
            chosen = method if localization is None else with_half_width(method, radius / localization.half_width)
            parts.append(self._one(chosen, observed, source, ensemble, rng))
        dataset = xr.concat(
            parts, xr.DataArray(np.array(radii, dtype=float), dims="radius", name="radius"), data_vars="all"
        )
        for name in layout.template.data_vars:
            dataset[f"{name}_prior_spread"] = dataset[f"{name}_prior_spread"].isel(radius=0)
        unit = "" if localization is None else length_unit(localization, layout)
        dataset["radius"].attrs = {"long_name": "half-width of the localization"} | ({"units": unit} if unit else {})
        units = str(layout.template[self.variable].attrs.get("units", "")) if self.variable in layout.template else ""
        dataset.attrs = {
            "Conventions": "CF-1.11",
            "title": "what one observation would do",
            "observed_variable": self.variable,
            "observed_units": units,
            "prior_mean": mean,
            "prior_spread": spread,
            "innovation": innovation,
            "error": self.error,
            "method": repr(method),
            "distance": "none" if localization is None else distance_of(localization, layout),
            **{f"place_{name}": value for name, value in self.at.items()},
        }
        return dataset

    def _observed(self, source: Source, value: float) -> Observed:
        """The observation of a state of the files, with this value."""
        table = ObservationTable(
            variable=np.array([self.variable]),
            value=np.array([value]),
            error=np.array([self.error]),
            time=np.array(["2000-01-01"], dtype="datetime64[us]"),
            position=np.array([[self.at[name] for name in self.axes]]),
            axes=self.axes,
            z=np.array([self.at["z"]]) if "z" in self.at else None,
            vertical={name: np.array([self.at[name]]) for name in VERTICAL[1:] if name in self.at},
            extra={name: np.array([value]) for name, value in self.at.items() if name not in (*self.axes, *VERTICAL)},
        )
        observed = meet(table, PLACE, source.layout, (), {"surface": self.surface})
        if not observed.observation.size:
            place = ", ".join(f"{name}={value:g}" for name, value in self.at.items())
            raise ValueError(
                f"nothing can be observed at {place} ({observed.table.reason[0]}): the grid has "
                f"{self._extent(source)}; give a place in it"
            )
        return observed

    def _extent(self, source: Source) -> str:
        """From where to where the coordinates of what is observed go."""
        grids = source.layout.template
        grid = grids[self.variable] if self.variable in grids else next(iter(grids.values()))
        ranges = [
            f"{name} {float(one.min()):g} to {float(one.max()):g} {one.attrs.get('units', '')}".rstrip()
            for name, one in grid.coords.items()
            if one.size > 1 and one.dtype.kind in "fiu"
        ]
        return ", ".join(ranges) or f"{grid.size} points without coordinates"

    def _method(self, source: Source) -> Filter:
        if self.method is None or self.method == "letsf":
            return LETSF(first_localization(source.layout))
        return self.method(source.layout) if callable(self.method) else self.method  # type: ignore[return-value]

    def _one(
        self, method: Filter, observed: Observed, source: Source, ensemble: np.ndarray, rng: Generator
    ) -> xr.Dataset:
        """Fields of one filter."""
        layout, localization = source.layout, find_localization(method)
        observation = observed.observation
        if localization is not None:
            observation = locate(observed, localization, PLACE).observation
        settings = self.variables if isinstance(self.variables, Mapping) else {}
        chosen: dict[Hashable, Sequence[Any]] = {name: several(name, one) for name, one in settings.items()}
        transforms = Transforms.fit(chosen, layout, ensemble, source.label)
        pipeline = Pipeline.of(method, observation, layout, transforms, source.label)
        update = pipeline.prepare(ensemble if pipeline.needed is None else ensemble[:, pipeline.needed], rng)
        whole = {
            name: np.empty(layout.size, ensemble.dtype) for name in ("increment", "prior_spread", "analysis_spread")
        }
        for tile in pipeline.tiles:
            for what, values in moments(pipeline.analysed(update, ensemble[:, tile.entries], tile)).items():
                whole[what][tile.entries] = values
        result = layout.template.drop_vars(list(layout.template.data_vars))
        for name, grid in layout.template.data_vars.items():
            for what, values in whole.items():
                block = np.full(grid.size, np.nan, dtype=grid.dtype)
                block[layout.kept(name)] = values[layout.block(name)]
                about = {"long_name": f"{what.replace('_', ' ')} of {name}"}
                about |= {"units": grid.attrs["units"]} if "units" in grid.attrs else {}
                result[f"{name}_{what}"] = grid.dims, block.reshape(grid.shape), about
        return result


def _columns(observed: Observed, ensemble: np.ndarray) -> Columns:
    """The members where an observation reads them."""
    read = observed.observation.operator.reads()
    return Columns(np.arange(ensemble.shape[1]), ensemble) if read is None else Columns(read, ensemble[:, read])


def with_half_width(method: Part, factor: float) -> Part:
    """A method whose localizations reach so much farther."""
    if isinstance(method, Localization):
        return replace(method, half_width=factor * method.half_width)  # type: ignore[return-value]
    if not has_settings(method):
        return method
    changed = {
        part.name: with_half_width(getattr(method, part.name), factor)
        for part in fields(method)
        if part.init and find_localization(getattr(method, part.name)) is not None
    }
    made: Any = replace(method, **changed) if changed else method
    return made
