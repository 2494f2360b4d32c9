"""The analysis of an xarray Dataset: forecast ensemble and observations in, analysis ensemble out, all on their grids.

    Dataset --pack--> physical states x --transforms--> z --filter--> z --inverse, bounds--> x --restore--> Dataset

`ensf.state` has each step. Observations are of x, whatever the coordinates z in which the filter works.
"""

from ensf.dataset.local import Local
from ensf.dataset.problem import Problem, analyse

__all__ = ["Local", "Problem", "analyse"]
