"""Values of a state as a file stores them: the same bits where nothing changed, nothing that contradicts itself.

- No value equals a mark of missing values, such as `_FillValue`.
- Packed integers hold all values to half a step; where `scale_factor` and `add_offset` cannot, there are new ones.
- `valid_min`, `valid_max` and `valid_range` are widened where a value is outside.
- Attributes that are of the former values, checksums and `actual_range`, are dropped.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import netCDF4
import numpy as np

from ensf.dataset import Layout
from ensf.dataset.encoding import FORMER, truthful_attributes
from ensf.dataset.stored import Stored

__all__ = ["overwrite"]


def overwrite(file: netCDF4.Dataset, layout: Layout, states: np.ndarray, member_dim: str | None) -> None:
    """Replace the analysed variables in an open file; what is missing keeps its bits.

    Parameters
    ----------
    file : netCDF4.Dataset
        Open for writing.
    layout : Layout
    states : (member, state) array
        Of the members in the file.
    member_dim : str or None
        Dimension of the file that counts them; None = the file has one.

    Raises
    ------
    ValueError
        If a value cannot be stored in the type of its variable.
    """
    for key in file.ncattrs():
        if FORMER.fullmatch(key):
            file.delncattr(key)
    for name in map(str, layout.template.data_vars):
        variable, values = file[name], states[:, layout.block(name)]
        variable.set_auto_maskandscale(False)
        attributes: dict[Hashable, Any] = {key: variable.getncattr(key) for key in variable.ncattrs()}
        former = Stored.of(variable.dtype, attributes)
        packed = former.holding(values)
        truthful = truthful_attributes(attributes, former, packed, values)
        new = Stored.of(variable.dtype, truthful)
        for member, row in enumerate(values):
            place = tuple(member if dim == member_dim else slice(None) for dim in variable.dimensions)
            old = np.asarray(variable[place])
            bare = _coded(name, row, old.reshape(-1), layout.kept(name), former, new, same_packing=packed is former)
            variable[place] = bare.view(variable.dtype).reshape(old.shape)
        for dropped in [str(key) for key in attributes if key not in truthful]:
            variable.delncattr(dropped)
        variable.setncatts({key: value for key, value in truthful.items() if value is not attributes.get(key)})


def _coded(
    name: str,
    row: np.ndarray,
    old: np.ndarray,
    kept: np.ndarray | slice,
    former: Stored,
    new: Stored,
    same_packing: bool,
) -> np.ndarray:
    """What to store of one member: the old numbers where the value is the old one, else the new value.

    Parameters
    ----------
    name : str
    row : (entry,) array
        Values.
    old : (grid,) array
        What the file has.
    kept : bool array, or slice
        Which entries of the grid are in the state.
    former, new : Stored
        How the file has them, and will have them.
    same_packing : bool
        Whether the old numbers still mean the same.
    """
    bare = old.view(new.dtype).copy()
    codes = new.clear_of_marks(new.pack(row))
    if not np.all(np.isfinite(codes)):
        raise ValueError(
            f"the analysis of variable {name!r} is beyond the numbers of type {new.dtype}: check its prior"
        )
    if same_packing:
        codes = np.where(former.numbers(bare[kept]) == row, bare[kept], codes)
    shown = former.missing(bare) & ~new.missing(bare)  # by limits that are wider now
    if shown.any() and new.marks.size:
        bare[shown] = new.marks[0]
    bare[kept] = codes
    return bare
