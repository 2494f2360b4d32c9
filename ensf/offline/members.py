"""Where the forecast comes from: one file per member, or one file with a member dimension.

Both are a list of members, each with a file and, in one file, its place along the member dimension. What the members
must share (dimensions, coordinates, dtypes, units) is compared with the first one.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ensf.dataset import Layout
from ensf.dataset.coordinates import (
    check_coordinates,
    check_periods,
    find_coordinate,
    is_time_of_state,
    located,
    without_place,
)
from ensf.dataset.dates import other_time, tells_dates
from ensf.dataset.netcdf import reading
from ensf.dataset.raw import RawFile, raw
from ensf.dataset.stored import Stored, decoded
from ensf.dataset.stores import check_there, is_store
from ensf.dataset.tiles import Range, Tile, tile_at
from ensf.dataset.units import same_units
from ensf.offline.alike import is_bounds, is_place, other_place
from ensf.offline.valid_times import check_times

__all__ = ["Source", "has_members", "parameter_source"]

NO_DATA = (
    "repair it, say --mask if there is no data, or name what is analysed with --variables if it is no such variable"
)


@dataclass(frozen=True, eq=False)
class Source:
    """A forecast ensemble in files.

    Attributes
    ----------
    paths : tuple of Path
        One per member, or one for all.
    members : int
    layout : Layout
        Of the analysed variables.
        Its template has no values: they are NaN, and take no memory.
    single : bool
        One file holds all members.
    coordinates : tuple of str
        Variables of the files that are coordinates.
    mask : bool
        What is missing in the first member has no data.
    """

    paths: tuple[Path, ...]
    members: int
    layout: Layout
    single: bool
    coordinates: tuple[str, ...] = ()
    mask: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Sent to another process as names: the files are read there."""
        names = tuple(map(str, self.layout.template.data_vars))
        return _again, (self.paths, self.layout.member_dim, names, self.mask, self.coordinates)

    @classmethod
    def of(
        cls,
        paths: Sequence[Path],
        member_dim: str,
        variables: Iterable[str],
        mask: bool,
        coordinates: Iterable[str] = (),
        without: Iterable[str] = (),
    ) -> Source:
        """The source of some files.

        Parameters
        ----------
        paths : sequence of Path
        member_dim : str
        variables : iterable of str
            What is analysed; all variables of floating point if empty.
        mask : bool
            What is missing in the first member has no data, in every member.
        coordinates : iterable of str
            Variables of the files that are coordinates, beside those that are known as such.
        without : iterable of str
            Variables that are not analysed if `variables` is empty.

        Raises
        ------
        ValueError
            If a file cannot be read, a variable is missing or not of floating point, or members are not alike, or are
            of other times.
        """
        source = cls._of(tuple(paths), member_dim, tuple(variables), mask, tuple(coordinates), tuple(without))
        allowed = None if variables else {*without, *source.layout.template.data_vars}
        check_times(source.paths, member_dim)
        for path in paths[1:]:
            source._check_alike(path, allowed=allowed)
        return source

    @classmethod
    def _of(
        cls,
        paths: tuple[Path, ...],
        member_dim: str,
        variables: tuple[str, ...],
        mask: bool,
        coordinates: tuple[str, ...],
        without: tuple[str, ...] = (),
    ) -> Source:
        """As the first file says."""
        first = _content(paths[0], variables, member_dim, coordinates, without)
        size = first.sizes.get(member_dim, 1)
        if size > 1 and len(paths) > 1:
            raise ValueError(
                f"{paths[0]} has a dimension {member_dim!r} of {size}: give one file of all members, or files of one "
                "member each, --member-dim"
            )
        single = size > 1
        members = first.sizes[member_dim] if single else len(paths)
        if members < 2:
            raise ValueError(
                f"{paths[0]} is one file without a dimension {member_dim!r} of two members or more: give a file per "
                f"member, or say which of {', '.join(map(str, first.sizes))} counts the members, --member-dim"
            )
        dims = {name: variable.dims if single else (member_dim, *variable.dims) for name, variable in first.items()}
        template = _template(paths[0], first, member_dim if single else None, coordinates)
        bare = cls(paths, members, Layout(template, member_dim, dims, xr.Dataset()), single, coordinates, mask)
        missing = {name: np.isnan(values) for name, values in bare.fields(0)} if mask else {}
        return replace(bare, layout=replace(bare.layout, masks=_masks(paths[0], template, missing)))

    @property
    def pieces(self) -> Sequence[tuple[Source, np.ndarray | slice]]:
        """Sources of files that belong together, and which entries of the state they hold."""
        return [(self, slice(None))]

    def path(self, member: int) -> Path:
        """File of a member."""
        return self.paths[0 if self.single else member]

    def label(self, member: int) -> str:
        """A member in words."""
        return f"{self.paths[0]}, member {member}" if self.single else str(self.paths[member])

    def fields(self, member: int) -> Iterator[tuple[str, np.ndarray]]:
        """Name and values of each analysed variable of a member, NaN where one is missing."""
        for name in map(str, self.layout.template.data_vars):
            yield name, self._field(member, name)

    def _field(self, member: int, name: str) -> np.ndarray:
        with _opened(self.path(member)) as dataset:
            variable = dataset[name].variable
            chosen = variable.isel({self.layout.member_dim: member}) if self.single else variable
            return Stored.of(variable.dtype, variable.attrs).numbers(chosen.values)

    @property
    def dtype(self) -> np.dtype:
        """Of the ensemble: the widest of the variables."""
        return np.result_type(*(variable.dtype for variable in self.layout.template.data_vars.values()))

    def load(self, follow: Callable[[Iterable[int]], Iterable[int]] = iter, distinct: bool = True) -> np.ndarray:
        """The ensemble ``(member, state)``, in the widest dtype of the variables.

        Parameters
        ----------
        follow : callable
            Wraps the iterable of members, to show progress.
        distinct : bool
            Refuse members that are the same.

        Raises
        ------
        ValueError
            As `part`, or if two members are the same.
        """
        ensemble = np.empty((self.members, self.layout.size), dtype=self.dtype)
        whole = Tile(self.layout, np.arange(self.layout.size))
        for member in follow(range(self.members)):
            with raw(self.path(member)) as file:
                self._read(file, [member], whole, ensemble)
        if distinct:
            self.refuse_twins([self.hashes(whole, ensemble)])
        return ensemble

    def part(self, tile: Tile) -> np.ndarray:
        """A part of the ensemble, ``(member, entry)``.

        Raises
        ------
        ValueError
            If a value is infinite, or missing values are not those of the other members.
        """
        ensemble = np.empty((self.members, tile.layout.size), dtype=self.dtype)
        for first, path in enumerate(self.paths):
            with raw(path) as file:
                self._read(file, range(self.members) if self.single else [first], tile, ensemble)
        return ensemble

    def _read(self, file: RawFile, members: Iterable[int], tile: Tile, ensemble: np.ndarray) -> None:
        """Fill in some members of a part, which are in an open file."""
        layout = tile.layout
        for name, grid in layout.template.data_vars.items():
            variable = file[str(name)]
            stored = Stored.of(variable.dtype, variable.attributes)
            dims = variable.dims
            for member in members:
                index = {self.layout.member_dim: member} if self.single else {}
                place = tuple(index.get(dim, tile.where.get(dim, slice(None))) for dim in dims)
                values = stored.numbers(variable[place]).ravel()
                ensemble[member, layout.block(name)] = self._kept(member, grid, values, layout)

    def variable(self, name: Hashable) -> np.ndarray:
        """A variable of the ensemble, ``(member, entry)``; errors as of `part`."""
        return self.part(tile_at(self.layout, Range((name,), None, 0, 1)))

    @property
    def is_one_store(self) -> bool:
        """All members are in one Zarr store, into which several workers write."""
        return self.single and is_store(self.paths[0])

    def piece(self, names: Sequence[Hashable], dim: Hashable) -> int:
        """Length along a dimension of what a file has in one piece of each of some variables; 1 if it may be cut."""
        with raw(self.paths[0]) as file:
            return math.lcm(*(file[str(name)].chunks.get(str(dim), 1) for name in names))

    def within(self, part: Range, piece: int) -> tuple[Range, np.ndarray | slice] | None:
        """Of a part of the state that which one of the `pieces` holds, and where its entries are among the part's."""
        return part, slice(None)

    def with_axes(
        self, coordinates: Mapping[str, str], periods: Mapping[str, float], surface: Iterable[str] = ()
    ) -> Source:
        """The same, with a layout that says which coordinates columns of a table are, and what is periodic.

        Raises
        ------
        ValueError
            If a period does not fit, or a variable that is to be seen at the surface is not there.
        """
        layout = replace(self.layout, coordinates=coordinates, periods=periods)
        check_coordinates(layout)
        check_periods(layout)
        for name in surface:
            if name not in layout.template.data_vars:
                choice = ", ".join(map(repr, layout.template.data_vars))
                raise ValueError(f"surface has {name!r}, which is no variable of the state: choose from {choice}")
        return replace(self, layout=layout)

    def of_members(self, paths: Sequence[Path]) -> Source:
        """The same in other files, like these."""
        return replace(self, paths=tuple(paths))

    def like(self, paths: Sequence[Path]) -> Source:
        """The same of other files, which are read; errors are those of `of`."""
        names = tuple(map(str, self.layout.template.data_vars))
        return Source.of(paths, self.layout.member_dim, names, bool(self.layout.masks), self.coordinates)

    def earlier(self, paths: Sequence[Path]) -> Source:
        """The source of the same members at an earlier time, in other files.

        Raises
        ------
        ValueError, OSError
            If one cannot be read, or they are not like those of this source; it names them.
        """
        source = self.like(paths)
        if source.members != self.members or source.layout.size != self.layout.size:
            raise ValueError(
                f"{source.label(0)} and its like are {source.members} members of {source.layout.size} values but the "
                f"forecast has {self.members} of {self.layout.size}: give earlier states of the same members and grid"
            )
        return source

    def hashes(self, tile: Tile, members: np.ndarray) -> list[bytes]:
        """A number for each member of a part ``(member, entry)``, which members that are the same have in common."""
        return [hashlib.blake2b(np.ascontiguousarray(member).data, digest_size=16).digest() for member in members]

    def refuse_twins(self, parts: Iterable[list[bytes]]) -> None:
        """Raise ValueError if two members are the same.

        Parameters
        ----------
        parts : iterable of list of bytes
            Of each part, what `hashes` makes of it.
        """
        numbers: dict[tuple[bytes, ...], int] = {}
        for member, key in enumerate(zip(*parts, strict=True)):
            if key in numbers:
                raise ValueError(
                    f"{self.label(member)} and {self.label(numbers[key])} hold the same state: "
                    "each member must be a forecast of its own"
                )
            numbers[key] = member

    def _kept(self, member: int, grid: xr.DataArray, values: np.ndarray, layout: Layout) -> np.ndarray:
        """Of the values on a part of the grid those in the state, all of them finite."""
        name = str(grid.name)
        if np.isinf(values).any():
            self._refuse(member, name, np.isinf(self._field(member, name)).ravel(), "is infinite", "repair it")
        holes = np.isnan(values)
        if name not in layout.masks:
            if holes.any():
                self._refuse_holes(name)
            return values
        masked = layout.masks[name].ravel()
        if ((holes != masked) & ~without_place(grid).ravel()).any():
            self._refuse_holes(name)
        return values[~masked]

    def _refuse_holes(self, name: str) -> None:
        """Raise ValueError that names the member whose missing values the others do not have.

        What most members have is taken for right. Where all have the same, the points have no data.
        """
        fields = (self._field(member, name) for member in range(self.members))
        placed = ~without_place(self.layout.template[name]).ravel()
        holes = [np.isnan(field).ravel() & placed for field in fields]
        patterns = Counter(hole.tobytes() for hole in holes)
        usual = max(holes, key=lambda hole: (patterns[hole.tobytes()], -np.count_nonzero(hole)))
        for member, hole in enumerate(holes):
            if (hole & ~usual).any():
                advice = "repair it, or leave the member out"
                self._refuse(member, name, hole & ~usual, "is missing, unlike in other members,", advice)
            if (usual & ~hole).any():
                what = "is missing in other members"
                self._refuse(member, name, usual & ~hole, what, "make the masks equal")
        self._refuse(0, name, usual, "is missing, as in all members,", NO_DATA)

    def _refuse(self, member: int, name: str, bad: np.ndarray, what: str, advice: str) -> None:
        variable = self.layout.template[name]
        place = np.unravel_index(int(np.argmax(bad)), variable.shape)
        where = ", ".join(f"{dim} {i}" for dim, i in zip(variable.dims, place, strict=True)) or "its only point"
        number = np.count_nonzero(bad)
        raise ValueError(
            f"{self.label(member)}: variable {name!r} {what} at {number} {'point' if number == 1 else 'points'}, the "
            f"first {where}: {advice}"
        )

    def catalogue(self, paths: Sequence[Path]) -> np.ndarray:
        """States ``(sample, state)`` in other files, one each, like those of the members but of any time.

        Raises
        ------
        ValueError
            If a file cannot be read, or is not like those of the members.
        """
        for path in paths:
            self._check_alike(path, any_time=True)
        return replace(self, paths=tuple(paths), members=len(paths), single=False).load(distinct=False)

    def _check_alike(self, path: Path, any_time: bool = False, allowed: Collection[Hashable] | None = None) -> None:
        """Raise ValueError unless the file is like that of the first member, with no other variables than allowed."""
        wanted = self.layout.template
        with _opened(path) as dataset:
            other = located(dataset, self.coordinates)
            for name, variable in wanted.data_vars.items():
                if name not in other.data_vars:
                    raise ValueError(f"{path} has no variable {name!r} but {self.paths[0]} has: make members alike")
                self._check_variable(path, variable, other[name], any_time)
            more = (
                []
                if allowed is None
                else [name for name in _default(other, self.layout.member_dim) if name not in allowed]
            )
            if more:
                raise ValueError(
                    f"{path} has a variable {more[0]!r} but {self.paths[0]} has not: make members alike, or name those "
                    "that are analysed, --variables"
                )

    def _check_variable(self, path: Path, wanted: xr.DataArray, other: xr.DataArray, any_time: bool) -> None:
        for what, mine, its in (
            ("dimensions", dict(wanted.sizes), dict(other.sizes)),
            ("order of dimensions", wanted.dims, other.dims),
            ("type", wanted.dtype, Stored.of(other.dtype, other.attrs).number),
            ("units", wanted.attrs.get("units"), other.attrs.get("units")),
        ):
            if mine != its and not (what == "units" and same_units(mine, its)):
                raise ValueError(
                    f"variable {wanted.name!r} has {what} {its} in {path} but {mine} in {self.paths[0]}: "
                    "make members alike"
                )
        time = find_coordinate(wanted, "time") if any_time else None
        for key, coordinate in wanted.coords.items():
            if _counts_members(coordinate, self.layout.member_dim) or time is not None and key == time.name:
                continue
            if is_time_of_state(coordinate) or is_place(coordinate, wanted):
                differs = "is not there" if key not in other.coords else _other(coordinate, other.coords[key])
                if differs:
                    raise ValueError(
                        f"coordinate {key!r} of variable {wanted.name!r} differs between {path} and {self.paths[0]}, "
                        f"in the former it {differs}: give members of one grid and time"
                    )


# --- reading ---------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[xr.Dataset]:
    """The file as it is stored."""
    check_there(path)
    with reading(path) as dataset:
        yield dataset


def parameter_source(
    paths: Sequence[Path], member_dim: str, name: str, mask: bool, coordinates: tuple[str, ...]
) -> Source:
    """The source of a parameter of the model that is a variable of the members' files.

    Raises
    ------
    ValueError
        If the files have no such variable, or as `Source.of`.
    """
    with _opened(paths[0]) as dataset:
        if name not in dataset.variables:
            known = ", ".join(map(str, dataset.data_vars)) or "none"
            raise ValueError(
                f"parameter {name!r} has no value and spread to start from, so that it has to be a variable of the "
                f"members' files, but {paths[0]} has none of that name ({known}): give value and spread in ensf "
                f"cycle, or a variable"
            )
    return Source.of(paths, member_dim, (name,), mask, coordinates)


def has_members(path: Path, member_dim: str) -> bool:
    """Whether a file holds several members."""
    with _opened(path) as file:
        return file.sizes.get(member_dim, 1) > 1


def _content(
    path: Path, variables: tuple[str, ...], member_dim: str, coordinates: tuple[str, ...], without: tuple[str, ...]
) -> xr.Dataset:
    """The analysed variables, not read yet."""
    with _opened(path) as whole:
        dataset = located(whole, coordinates)
        names = variables or [name for name in _default(dataset, member_dim) if name not in without]
        for name in names:
            if name not in dataset.data_vars:
                known = ", ".join(map(str, dataset.data_vars)) or "none"
                raise ValueError(f"{path} has no variable {name!r}: choose from {known}")
            _check_type(path, dataset[name])
            if dataset.sizes.get(member_dim, 1) > 1 and member_dim not in dataset[name].dims:
                raise ValueError(f"variable {name!r} of {path} has no dimension {member_dim!r}: leave it out")
        if not names:
            raise ValueError(f"{path} has no variable of floating point to analyse: name some, --variables")
        return dataset[list(names)]


def _default(dataset: xr.Dataset, member_dim: str) -> list[str]:
    """All variables of floating point but edges of cells, of one file those with the member dimension."""
    several = dataset.sizes.get(member_dim, 1) > 1
    return [
        str(name)
        for name, variable in dataset.data_vars.items()
        if _number(variable).kind == "f" and (member_dim in variable.dims or not several)
        if not is_bounds(name, dataset)
    ]


def _number(variable: xr.DataArray) -> np.dtype:
    """Type of the numbers, unpacked."""
    return Stored.of(variable.dtype, variable.attrs).number if variable.dtype.kind in "fiu" else variable.dtype


def _check_type(path: Path, variable: xr.DataArray) -> None:
    dtype = _number(variable)
    if dtype.kind != "f" or dtype.itemsize < 4:
        raise ValueError(
            f"variable {variable.name!r} of {path} has type {dtype}: only numbers of floating point, 4 or 8 "
            "bytes, or packed in integers, are analysed; leave it out"
        )


def _template(path: Path, content: xr.Dataset, member_dim: str | None, coordinates: tuple[str, ...]) -> xr.Dataset:
    """The first member in memory, without coordinates along the member dimension."""
    names = list(content.data_vars)
    with _opened(path) as whole:
        chosen = located(whole, coordinates)[names]
        if member_dim is not None:
            along = [name for name, coordinate in chosen.coords.items() if member_dim in coordinate.dims]
            chosen = chosen.isel({member_dim: 0}).drop_vars(along)
        coords = decoded(chosen.drop_vars(names))
        return coords.assign({name: _hollow(chosen[name].variable) for name in names})


def _hollow(variable: xr.Variable) -> xr.Variable:
    """A variable as `decoded` makes it, with NaN for every value, which take no memory."""
    empty = decoded(xr.Dataset({"one": variable.isel(dict.fromkeys(variable.dims, slice(0)))}))["one"].variable
    values = np.broadcast_to(np.array(np.nan, dtype=empty.dtype.newbyteorder("=")), variable.shape)
    return xr.Variable(variable.dims, values, empty.attrs, empty.encoding)


def _again(
    paths: tuple[Path, ...], member_dim: str, names: tuple[str, ...], mask: bool, coordinates: tuple[str, ...]
) -> Source:
    return Source._of(paths, member_dim, names, mask, coordinates)


def _masks(path: Path, template: xr.Dataset, missing: Mapping[str, np.ndarray]) -> dict[Any, np.ndarray]:
    """Where there is no data, or no place, as a file says."""
    masks = {}
    for name, variable in template.data_vars.items():
        masks[name] = without_place(variable)
        if str(name) in missing:
            masks[name] = masks[name] | missing[str(name)]
        if masks[name].all():
            raise ValueError(f"{path}: variable {name!r} has no value anywhere: repair it, or leave it out")
    return {name: where for name, where in masks.items() if where.any()}


def _other(mine: xr.DataArray, its: xr.DataArray) -> str:
    """Where a coordinate of another file, as stored, is not `mine`, in words; nothing if it is."""
    own, other = mine.variable, decoded(its.to_dataset(name="one"))["one"].variable
    if not (tells_dates(own) and tells_dates(other)) or own.shape != other.shape:
        return other_place(other, own)
    return other_time(other, own)


def _counts_members(coordinate: xr.DataArray, member_dim: str) -> bool:
    return coordinate.name == member_dim or coordinate.attrs.get("standard_name") == "realization"
