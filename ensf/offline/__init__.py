"""Offline analysis: the files of a forecast ensemble and a table of observations in, the files of the analysis out.

    files --load--> physical states x --(inflation)--> x --observe--> h(x_j)
    for each part of the grid:   x --transforms--> z --filter, given h(x_j) and y--> z --inverse, bounds--> x
    copies of the files, analysed variables replaced --all at once--> the output folder

The forecast is in memory once, and becomes the analysis part by part. For filters that need the whole state at once
there is one part.
"""

from ensf.offline.analysis import STAGES, Analysed, Earlier, Offline, analyse_files
from ensf.offline.job import Job
from ensf.offline.members import Source
from ensf.offline.writer import names

__all__ = ["STAGES", "Analysed", "Earlier", "Job", "Offline", "Source", "analyse_files", "names"]
