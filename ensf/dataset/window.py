"""The window of a Dataset: where its members started, and the model that took them to the forecast."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr

__all__ = ["Window"]


@dataclass(frozen=True, eq=False)
class Window:
    """The way of the members of a Dataset from the last analysis to the forecast, for a model in the loop.

    Parameters
    ----------
    start : xarray.Dataset
        The members at the start, with the variables and grid of the forecast; what the model needs beside them, too.
    model : callable
        Of a Dataset of one member, without the member dimension, to the same at the end: the function that ``ensf
        cycle`` takes as ``model``, with its other arguments filled in. The same start must give the same end. The mean
        of the members has what the first one has beside the variables of the state.
    """

    start: xr.Dataset
    model: Callable[[xr.Dataset], xr.Dataset]

    def __repr__(self) -> str:
        return f"Window(start with {', '.join(map(str, self.start.data_vars))}, {self.model!r})"

    def forecast(self, members: xr.Dataset, member_dim: str) -> xr.Dataset:
        """The members of a Dataset at the end.

        Raises
        ------
        ValueError
            If the model gives no Dataset.
        """
        ends = []
        for number in range(members.sizes[member_dim]):
            end = self.model(members.isel({member_dim: number}).copy(deep=True))
            if not isinstance(end, xr.Dataset):
                raise ValueError(f"the model of the window gives a {type(end).__name__}: give an xarray.Dataset")
            ends.append(end.drop_vars(member_dim, errors="ignore"))
        return xr.concat(ends, member_dim, data_vars="all", join="exact")
