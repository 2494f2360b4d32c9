"""YOUR xarray DATASET: forecast ensemble and observations in, analysis ensemble out, all on their grids.

    Dataset --pack--> physical states x --transforms--> z --filter--> z --inverse, bounds--> x --restore--> Dataset

A filter works on one array ``(member, state)``. `pack` writes the variables of a Dataset one after another along
the last axis, each in the order of its own dimensions without the member dimension and without masked grid points,

    state = [ variable_1 flattened, variable_2 flattened, ... ],

and remembers names, dimensions, coordinates, attributes, encodings, dtypes and masks in a `Layout`. `unpack` turns an
ensemble ``(member, state)`` or one state ``(state,)`` back into a Dataset. The layout also says where every state
variable is (`positions`), and which of them a station sees (`nearest`, `interpolate`).

Grid points without data, such as land, are masked: they are not in the state, and keep their value. A variable may be
analysed in other coordinates (`Log`, `Logit`, `Scale`, `Standardise`) and clipped afterwards (`Bounds`). Observations
are of x, whatever the coordinates z in which the filter works.
"""

from ensf.dataset.blocks import Blocks, Transforms
from ensf.dataset.coordinates import positions, recognise
from ensf.dataset.interpolation import interpolate, nearest
from ensf.dataset.layout import Layout
from ensf.dataset.packing import choose, pack, restore, unpack
from ensf.dataset.pipeline import Pipeline
from ensf.dataset.problem import Problem, analyse
from ensf.dataset.reach import first_localization
from ensf.dataset.transforms import Bounds, Chain, Log, Logit, Scale, Standardise, Transform
from ensf.dataset.window import Window

__all__ = [
    "Blocks",
    "Bounds",
    "Chain",
    "Layout",
    "Log",
    "Logit",
    "Pipeline",
    "Problem",
    "Scale",
    "Standardise",
    "Transform",
    "Transforms",
    "Window",
    "analyse",
    "choose",
    "first_localization",
    "interpolate",
    "nearest",
    "pack",
    "positions",
    "recognise",
    "restore",
    "unpack",
]
