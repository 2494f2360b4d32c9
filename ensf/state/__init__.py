"""xarray Dataset <-> flat state.

A filter works on one array ``(member, state)``. `pack` writes the variables of a Dataset one after another along
the last axis, each in the order of its own dimensions without the member dimension and without masked grid points,

    state = [ variable_1 flattened, variable_2 flattened, ... ],

and remembers names, dimensions, coordinates, attributes, encodings, dtypes and masks in a `Layout`. `unpack` turns an
ensemble ``(member, state)`` or one state ``(state,)`` back into a Dataset. The layout also says where every state
variable is (`positions`), and which of them a station sees (`nearest`, `interpolate`).

Grid points without data, such as land, are masked: they are not in the state, and keep their value.

A variable may be analysed in other coordinates (`Log`, `Logit`, `Scale`, `Standardise`) and clipped afterwards
(`Bounds`). Observations still see the physical variable (`seen`).
"""

from ensf.state.blocks import Blocks, fit_blocks
from ensf.state.interpolation import interpolate, nearest
from ensf.state.layout import Layout
from ensf.state.packing import choose, pack, restore, unpack
from ensf.state.positions import positions
from ensf.state.seen import Physical, seen
from ensf.state.variables import Bounds, Chain, Log, Logit, Scale, Standardise, Transform

__all__ = [
    "Blocks",
    "Bounds",
    "Chain",
    "Layout",
    "Log",
    "Logit",
    "Physical",
    "Scale",
    "Standardise",
    "Transform",
    "choose",
    "fit_blocks",
    "interpolate",
    "nearest",
    "pack",
    "positions",
    "restore",
    "seen",
    "unpack",
]
