"""A forecast with a file for each time: the states of a window, one after another along time, in one ensemble."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ensf.dataset import Layout
from ensf.dataset.coordinates import find_coordinate
from ensf.offline.members import Source

__all__ = ["TimesSource"]


@dataclass(frozen=True, eq=False)
class TimesSource(Source):
    """A forecast ensemble in files of one time each.

    Attributes
    ----------
    parts : tuple of Source
        The files of each time, in their order.
    columns : tuple of (entry,) arrays of int
        Where the entries of each part are among those of the whole.
    """

    parts: tuple[Source, ...] = ()
    columns: tuple[np.ndarray, ...] = ()

    @classmethod
    def of_times(
        cls,
        groups: Sequence[Sequence[Path]],
        member_dim: str,
        variables: Iterable[str],
        mask: bool,
        coordinates: Iterable[str] = (),
    ) -> TimesSource:
        """The source of files of several times.

        Parameters
        ----------
        groups : sequence of sequence of Path
            Files of the members, of each time, from the first time to the last.
        member_dim, variables, mask, coordinates
            As of `Source.of`.

        Raises
        ------
        ValueError
            As `Source.of`; or if there is one group, the files of two times are not of the same
            members, variables and grid, do not say their time, or the times are not in order.
        """
        if len(groups) < 2:
            raise ValueError(
                f"all {len(groups[0])} files are of one name or pattern, but by_time needs one for each time: give "
                "several, such as 'm*_00.nc' 'm*_06.nc', or leave by_time out"
            )
        variables, coordinates = tuple(variables), tuple(coordinates)
        parts = tuple(Source.of(group, member_dim, variables, mask, coordinates) for group in groups)
        first = parts[0]
        for part in parts[1:]:
            if part.members != first.members:
                raise ValueError(
                    f"{part.label(0)} and its like are {part.members} members, but there are {first.members} of "
                    f"{first.label(0)}: give a file of each member for each time"
                )
        templates = [_of_one_unit(part, first) for part in parts]
        for part, template in zip(parts[1:], templates[1:], strict=True):
            _check_alike(template, part, templates[0], first)
        names = list(templates[0].data_vars)
        hours = [
            _time(template[names[0]], part)[1].values.item() for part, template in zip(parts, templates, strict=True)
        ]
        for before, after, hour, next_hour in zip(parts, parts[1:], hours, hours[1:], strict=False):
            if not hour < next_hour:
                raise ValueError(
                    f"{after.label(0)} is of no later time than {before.label(0)}: give the times in their order"
                )
        numbers, start = [], 0
        for part, template in zip(parts, templates, strict=True):
            numbers.append(_numbered(part, template, start))
            start += part.layout.size
        how: dict[str, Any] = {"coords": "minimal", "compat": "override", "join": "override"}
        dim = _time(templates[0][names[0]], first)[0]
        whole = xr.concat(templates, dim, data_vars="all", combine_attrs="override", **how)
        number = xr.concat(numbers, dim, data_vars="all", **how)
        masks = {name: number[name].values < 0 for name in names}
        layout = Layout(
            whole,
            member_dim,
            {name: (member_dim, *variable.dims) for name, variable in whole.items()},
            xr.Dataset(),
            {name: where for name, where in masks.items() if where.any()},
        )
        order = np.concatenate([number[name].values[~masks[name]] for name in names])
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        columns = tuple(np.split(place, np.cumsum([part.layout.size for part in parts])[:-1]))
        paths = tuple(path for part in parts for path in part.paths)
        return cls(paths, first.members, layout, False, coordinates, parts, columns)

    def label(self, member: int) -> str:
        """A member in words."""
        return f"{self.parts[0].label(member)} to {self.parts[-1].label(member)}"

    @property
    def pieces(self) -> Sequence[tuple[Source, np.ndarray | slice]]:
        """The files of each time, and which entries of the state they hold."""
        return list(zip(self.parts, self.columns, strict=True))

    def catalogue(self, paths: Sequence[Path]) -> np.ndarray:
        """Raise ValueError: samples would have to be of all times."""
        raise ValueError("a catalogue of states cannot be read for files of one time each: leave AdditiveNoise out")

    def load(self, follow: Any = iter, distinct: bool = True) -> np.ndarray:
        """The ensemble ``(member, state)``; errors are those of `Source.load`, members differ at the last time."""
        ensemble = np.empty((self.members, self.layout.size), dtype=self.dtype)
        for part, columns in self.pieces:
            ensemble[:, columns] = part.load(follow, distinct and part is self.parts[-1])
        return ensemble


def _time(variable: xr.DataArray, source: Source) -> tuple[str, xr.DataArray]:
    """Name and coordinate of the time of a variable."""
    coordinate = find_coordinate(variable, "time")
    if coordinate is None or coordinate.size != 1:
        what = "does not say its time" if coordinate is None else f"has {coordinate.size} times"
        raise ValueError(
            f"variable {variable.name!r} of {source.label(0)} {what}: with a file for each time it needs a coordinate "
            "that is one time; name it with coordinates, or leave the variable out"
        )
    return str(coordinate.dims[0] if coordinate.dims else coordinate.name), coordinate


def _of_one_unit(part: Source, first: Source) -> xr.Dataset:
    """The template of a part, with a dimension of time, in the unit of time of the first."""
    template = part.layout.template
    made: dict[Hashable, xr.DataArray] = {}
    for name, variable in template.items():
        dim, coordinate = _time(variable, part)
        wanted = _time(first.layout.template[name], first)[1]
        attributes = {key: wanted.attrs[key] for key in ("units", "calendar") if key in wanted.attrs}
        if attributes != {key: coordinate.attrs[key] for key in ("units", "calendar") if key in coordinate.attrs}:
            values = xr.conventions.decode_cf_variable("time", coordinate.variable).values
            units, calendar = attributes.get("units"), attributes.get("calendar")
            number = xr.coding.times.encode_cf_datetime(values, units, calendar, dtype=np.dtype(np.float64))[0]
            coordinate = coordinate.copy(data=np.asarray(number)).assign_attrs(attributes)
            variable = variable.assign_coords({coordinate.name: coordinate.variable})
        made[name] = variable if dim in variable.dims else variable.expand_dims(dim)
    return xr.Dataset(made, attrs=template.attrs)


def _check_alike(template: xr.Dataset, part: Source, wanted: xr.Dataset, first: Source) -> None:
    """Raise ValueError unless variables and grid are those of the first time, and the time is a later one."""
    if list(template) != list(wanted):
        raise ValueError(f"{part.label(0)} has other variables than {first.label(0)}: name them, --variables")
    for name, variable in wanted.items():
        other = template[name]
        dim, own = _time(variable, first)
        for what, mine, its in (
            ("dimensions", dict(variable.sizes), dict(other.sizes)),
            ("type", variable.dtype, other.dtype),
            ("units", variable.attrs.get("units"), other.attrs.get("units")),
        ):
            if mine != its:
                raise ValueError(
                    f"variable {name!r} has {what} {its} in {part.label(0)} but {mine} in {first.label(0)}: make the "
                    "files of all times alike"
                )
        for key, coordinate in variable.coords.items():
            fixed = dim not in coordinate.dims and key != own.name
            if fixed and (key not in other.coords or not coordinate.variable.equals(other.coords[key].variable)):
                raise ValueError(
                    f"coordinate {key!r} of variable {name!r} differs between {part.label(0)} and {first.label(0)}: "
                    "give files of one grid"
                )


def _numbered(part: Source, template: xr.Dataset, start: int) -> xr.Dataset:
    """Of each grid point the number of its entry among those of all parts, from `start`; -1 where there is none."""
    made = {}
    for name, variable in template.items():
        number = np.full(variable.size, -1)
        block = part.layout.block(name)
        number[part.layout.kept(name)] = start + np.arange(block.start, block.stop)
        made[name] = (variable.dims, number.reshape(variable.shape))
    return xr.Dataset(made)
