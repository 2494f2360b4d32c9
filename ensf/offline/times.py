"""A forecast with a file for each time: the states of a window, one after another along time, in one ensemble."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ensf.dataset import Layout
from ensf.dataset.coordinates import find_coordinate
from ensf.dataset.dates import tells_dates
from ensf.dataset.tiles import Range, Tile, tile_at
from ensf.dataset.units import same_units
from ensf.offline.alike import is_place, other_place
from ensf.offline.members import Source, has_members

__all__ = ["TimesSource"]


@dataclass(frozen=True, eq=False)
class TimesSource(Source):
    """A forecast ensemble in files of one time each.

    Attributes
    ----------
    times : tuple of Source
        The files of each time, in their order.
    columns : tuple of (entry,) arrays of int
        Where the entries of each time are among those of the whole.
    dim : str
        Dimension of the whole along which the times are.
    """

    times: tuple[Source, ...] = ()
    columns: tuple[np.ndarray, ...] = ()
    dim: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process as names: the files are read there."""
        return _again, (self.times,)

    @classmethod
    def of_times(
        cls,
        groups: Sequence[Sequence[Path]],
        member_dim: str,
        variables: Iterable[str],
        mask: bool,
        coordinates: Iterable[str] = (),
        without: Iterable[str] = (),
    ) -> TimesSource:
        """The source of files of several times.

        Parameters
        ----------
        groups : sequence of sequence of Path
            Files of the members, of each time, from the first time to the last.
        member_dim, variables, mask, coordinates, without
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
        if max(map(len, groups)) == 1 and not has_members(groups[0][0], member_dim):
            raise ValueError(
                f"{groups[0][0]} is one file, without {member_dim!r}, but by_time takes each name or pattern for the "
                "files of a time: put patterns in quotes, 'm*_00.nc' 'm*_06.nc', which a shell leaves alone"
            )
        variables, coordinates = tuple(variables), tuple(coordinates)
        without = tuple(without)
        times = tuple(Source.of(group, member_dim, variables, mask, coordinates, without) for group in groups)
        first = times[0]
        for time in times[1:]:
            if time.members != first.members:
                raise ValueError(
                    f"{time.label(0)} and its like are {time.members} members, but there are {first.members} of "
                    f"{first.label(0)}: give a file of each member for each time"
                )
        templates = [_of_one_unit(time, first) for time in times]
        for time, template in zip(times[1:], templates[1:], strict=True):
            _check_alike(template, time, templates[0], first)
        name = next(iter(templates[0].data_vars))
        hours = [_time(template[name], time)[1].values.item() for time, template in zip(times, templates, strict=True)]
        for before, after, hour, next_hour in zip(times, times[1:], hours, hours[1:], strict=False):
            if not hour < next_hour:
                raise ValueError(
                    f"{after.label(0)} is of no later time than {before.label(0)}: give the times in their order"
                )
        return cls._joined(times, templates)

    @classmethod
    def _joined(cls, times: tuple[Source, ...], templates: Sequence[xr.Dataset]) -> TimesSource:
        """The whole of several times, and of their templates with a dimension of time."""
        first, names = times[0], list(templates[0].data_vars)
        numbers, start = [], 0
        for time, template in zip(times, templates, strict=True):
            numbers.append(_numbered(time, template, start))
            start += time.layout.size
        how: dict[str, Any] = {"coords": "minimal", "compat": "override", "join": "override"}
        dim = _time(templates[0][names[0]], first)[0]
        whole = xr.concat(templates, dim, data_vars="all", combine_attrs="override", **how)
        whole = whole.assign({name: _hollow(variable) for name, variable in whole.items()})
        number = xr.concat(numbers, dim, data_vars="all", **how)
        masks = {name: number[name].values < 0 for name in names}
        member_dim = first.layout.member_dim
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
        columns = tuple(np.split(place, np.cumsum([time.layout.size for time in times])[:-1]))
        paths = tuple(path for time in times for path in time.paths)
        return cls(paths, first.members, layout, False, first.coordinates, first.mask, times, columns, dim)

    def label(self, member: int) -> str:
        """A member in words."""
        return f"{self.times[0].label(member)} to {self.times[-1].label(member)}"

    @property
    def pieces(self) -> Sequence[tuple[Source, np.ndarray | slice]]:
        """The files of each time, and which entries of the state they hold."""
        return list(zip(self.times, self.columns, strict=True))

    def within(self, part: Range, piece: int) -> tuple[Range, np.ndarray | slice] | None:
        """Of a part of the state that which one time holds, and where its entries are among the part's."""
        time, own = self.times[piece], part
        if part.dim == self.dim and not part.start <= piece < part.stop:
            return None
        if part.dim == self.dim or part.dim not in time.layout.template.dims:
            own = Range(part.names, None, 0, 1)
        entries = tile_at(self.layout, part).entries
        order = np.argsort(entries, kind="stable")
        mine = self.columns[piece][tile_at(time.layout, own).entries]
        return own, order[np.searchsorted(entries, mine, sorter=order)]

    def of_members(self, paths: Sequence[Path]) -> Source:
        """The same in other files, like these."""
        ends = np.cumsum([len(time.paths) for time in self.times]).tolist()
        groups = [paths[end - len(time.paths) : end] for time, end in zip(self.times, ends, strict=True)]
        times = tuple(time.of_members(group) for time, group in zip(self.times, groups, strict=True))
        return replace(self, paths=tuple(paths), times=times)

    def like(self, paths: Sequence[Path]) -> Source:
        """The same of other files, all of one time after another; errors are those of `of_times`."""
        names, size = tuple(map(str, self.layout.template.data_vars)), len(self.times[0].paths)
        groups = [paths[start : start + size] for start in range(0, len(paths), size)]
        how = bool(self.layout.masks), self.coordinates
        return TimesSource.of_times(groups, self.layout.member_dim, names, *how)

    def part(self, tile: Tile) -> np.ndarray:
        """A part of the ensemble, ``(member, entry)``; errors are those of `Source.part`."""
        ensemble = np.empty((self.members, tile.layout.size), dtype=self.dtype)
        dim, where = next(iter(tile.where.items()), (None, slice(0, 1)))
        part = Range(tuple(tile.layout.template.data_vars), dim, where.start, where.stop)
        for number, time in enumerate(self.times):
            held = self.within(part, number)
            if held is not None:
                own, columns = held
                ensemble[:, columns] = time.part(tile_at(time.layout, own))
        return ensemble

    def piece(self, names: Sequence[Hashable], dim: Hashable) -> int:
        """Length along a dimension of what a file has in one piece of each of some variables; 1 if it may be cut."""
        return 1 if dim == self.dim else self.times[0].piece(names, dim)

    def hashes(self, tile: Tile, members: np.ndarray) -> list[bytes]:
        """As of `Source`, at the last time: there members differ."""
        return super().hashes(tile, members[:, np.isin(tile.entries, self.columns[-1])])

    def catalogue(self, paths: Sequence[Path]) -> np.ndarray:
        """States ``(sample, state)`` in files of one time each, the same at every time; errors as of `Source`."""
        samples = np.empty((len(paths), self.layout.size), dtype=self.dtype)
        for time, columns in zip(self.times, self.columns, strict=True):
            samples[:, columns] = time.catalogue(paths)
        return samples

    def load(self, follow: Any = iter, distinct: bool = True) -> np.ndarray:
        """The ensemble ``(member, state)``; errors are those of `Source.load`, members differ at the last time."""
        ensemble = np.empty((self.members, self.layout.size), dtype=self.dtype)
        for time, columns in zip(self.times, self.columns, strict=True):
            ensemble[:, columns] = time.load(follow, distinct and time is self.times[-1])
        return ensemble


def _again(times: tuple[Source, ...]) -> TimesSource:
    return TimesSource._joined(times, [_of_one_unit(time, times[0]) for time in times])


def _hollow(variable: xr.DataArray) -> xr.DataArray:
    """With NaN for every value, which take no memory."""
    return variable.copy(data=np.broadcast_to(np.array(np.nan, dtype=variable.dtype), variable.shape))


def _time(variable: xr.DataArray, source: Source) -> tuple[str, xr.DataArray]:
    """Name and coordinate of the time of a variable."""
    coordinate = find_coordinate(variable, "time")
    if coordinate is None or coordinate.size != 1 or bool(coordinate.isnull().all()):
        number = 0 if coordinate is None else coordinate.size
        what = f"has {number} times" if number > 1 else "does not say its time"
        raise ValueError(
            f"variable {variable.name!r} of {source.label(0)} {what}: with a file for each time it needs a coordinate "
            "that is one time; name it with coordinates, or leave the variable out"
        )
    return str(coordinate.dims[0] if coordinate.dims else coordinate.name), coordinate


def _of_one_unit(time: Source, first: Source) -> xr.Dataset:
    """The template of a time, with a dimension of time, in the unit of time of the first."""
    template = time.layout.template
    made: dict[Hashable, xr.DataArray] = {}
    for name, variable in template.items():
        dim, coordinate = _time(variable, time)
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


def _check_alike(template: xr.Dataset, time: Source, wanted: xr.Dataset, first: Source) -> None:
    """Raise ValueError unless variables and grid are those of the first time, and the time is a later one."""
    if list(template) != list(wanted):
        raise ValueError(f"{time.label(0)} has other variables than {first.label(0)}: name them, --variables")
    for name, variable in wanted.items():
        other = template[name]
        dim, own = _time(variable, first)
        for what, mine, its in (
            ("dimensions", dict(variable.sizes), dict(other.sizes)),
            ("type", variable.dtype, other.dtype),
            ("units", variable.attrs.get("units"), other.attrs.get("units")),
        ):
            if mine != its and not (what == "units" and same_units(mine, its)):
                raise ValueError(
                    f"variable {name!r} has {what} {its} in {time.label(0)} but {mine} in {first.label(0)}: make the "
                    "files of all times alike"
                )
        for key, coordinate in variable.coords.items():
            if dim in coordinate.dims or key == own.name or tells_dates(coordinate):
                continue
            there = other.coords.get(key)
            if is_place(coordinate, variable) and (there is None or other_place(there.variable, coordinate.variable)):
                raise ValueError(
                    f"coordinate {key!r} of variable {name!r} differs between {time.label(0)} and {first.label(0)}: "
                    "give files of one grid"
                )


def _numbered(time: Source, template: xr.Dataset, start: int) -> xr.Dataset:
    """Of each grid point the number of its entry among those of all parts, from `start`; -1 where there is none."""
    made = {}
    for name, variable in template.items():
        number = np.full(variable.size, -1)
        block = time.layout.block(name)
        number[time.layout.kept(name)] = start + np.arange(block.start, block.stop)
        made[name] = (variable.dims, number.reshape(variable.shape))
    return xr.Dataset(made)
