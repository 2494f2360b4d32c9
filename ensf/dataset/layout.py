"""Which entry of the flat state is which grid point of which variable."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import xarray as xr

from ensf.dataset.summary import as_html, as_text

__all__ = ["Layout"]


@dataclass(frozen=True, eq=False, repr=False)
class Layout:
    """What `pack` remembers.

    Attributes
    ----------
    template : xarray.Dataset
        The first member: variables, coordinates, attributes, encodings and dtypes.
    member_dim : str
        Dimension that counts the members.
    dims : mapping of str to tuple of str
        Dimensions of each variable in their order, the member dimension included.
    member_coords : xarray.Dataset
        Coordinates along the member dimension.
    masks : mapping of str to bool array
        True at the grid points that are not in the state, shaped as the variable in `template`; variables without
        such points are left out.
    coordinates : mapping of str to str
        Coordinate of the grid for the columns ``lat``, ``lon``, ``x``, ``y`` or ``z`` of a table where names and
        attributes do not tell.
    periods : mapping of str to float
        Periods of horizontal coordinates in a periodic domain, by the column or the coordinate.
    """

    template: xr.Dataset
    member_dim: str
    dims: Mapping[Hashable, tuple[Hashable, ...]]
    member_coords: xr.Dataset
    masks: Mapping[Hashable, np.ndarray] = field(default_factory=dict)
    coordinates: Mapping[str, str] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return as_text(*self._summary())

    def _repr_html_(self) -> str:
        return as_html(*self._summary())

    def _summary(self) -> tuple[str, list[tuple[str, ...]]]:
        """Size and member dimension; name, dtype, grid and masked points of every variable."""
        facts: list[tuple[str, ...]] = []
        for (name, variable), size in zip(self.template.data_vars.items(), self._sizes, strict=True):
            grid = " x ".join(f"{dim} {length}" for dim, length in variable.sizes.items()) or "one value"
            masked = f"{variable.size - size} masked" if name in self.masks else ""
            facts.append((str(name), str(variable.dtype), grid, masked))
        return f"Layout: {self.size} state variables, members along {self.member_dim!r}", facts

    @property
    def size(self) -> int:
        """Number of state variables."""
        return sum(self._sizes)

    @cached_property
    def offset(self) -> dict[Hashable, int]:
        """Place in the state where each variable begins."""
        return dict(zip(self.template.data_vars, np.cumsum([0, *self._sizes]).tolist(), strict=False))

    @cached_property
    def _sizes(self) -> list[int]:
        hidden = {name: int(np.count_nonzero(mask)) for name, mask in self.masks.items()}
        return [variable.size - hidden.get(name, 0) for name, variable in self.template.data_vars.items()]

    def block(self, variable: Hashable) -> slice:
        """Place of a variable in the state: ``ensemble[..., layout.block("t")]``.

        Raises
        ------
        ValueError
            If the state has no such variable.
        """
        if variable not in self.template.data_vars:
            choice = ", ".join(map(repr, self.template.data_vars))
            raise ValueError(f"the state has no variable {variable!r}: choose one of {choice}")
        start = self.offset[variable]
        return slice(start, start + self._sizes[list(self.offset).index(variable)])

    def kept(self, variable: Hashable) -> np.ndarray | slice:
        """The grid points of a variable, flattened, that are in the state: a boolean array, or all as a slice."""
        return ~self.masks[variable].ravel() if variable in self.masks else slice(None)

    def index(self, variable: Hashable) -> xr.DataArray:
        """Place in the state of every grid point of `variable`, on its own grid; -1 where it is masked.

        Raises
        ------
        ValueError
            If the state has no such variable.
        """
        entries = self.within(variable, {})
        grid = self.template[variable]
        return grid.copy(data=entries.reshape(grid.shape))

    def within(self, variable: Hashable, where: Mapping[Hashable, slice]) -> np.ndarray:
        """As `index`, of a part of the grid, flattened.

        Parameters
        ----------
        variable : str
        where : mapping of str to slice
            The part, along dimensions of the variable.
        """
        start, grid = self.block(variable).start, self.template[variable]
        place = np.zeros((1,) * grid.ndim, dtype=np.int64)
        for axis, (dim, size) in enumerate(grid.sizes.items()):
            along = np.arange(size)[where.get(dim, slice(None))] * int(np.prod(grid.shape[axis + 1 :]))
            place = place + along.reshape(-1, *(1,) * (grid.ndim - axis - 1))
        place = place.ravel()
        if variable not in self.masks:
            return start + place
        rank = self._rank(variable)[place]
        return np.where(rank < 0, -1, start + rank)

    def _rank(self, variable: Hashable) -> np.ndarray:
        """Which of the entries of a variable each grid point is, -1 where it is masked."""
        if variable not in self._ranks:
            kept = ~self.masks[variable].ravel()
            self._ranks[variable] = np.where(kept, np.cumsum(kept) - 1, -1)
        return self._ranks[variable]

    @cached_property
    def parts(self) -> dict[Hashable, Layout]:
        """Layouts of parts of the state that `ensf.dataset.tiles` has made."""
        return {}

    @cached_property
    def _ranks(self) -> dict[Hashable, np.ndarray]:
        return {}
