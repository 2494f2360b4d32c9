"""Offline analysis: the files of a forecast ensemble and a table of observations in, the files of the analysis out.

    files --part by part--> what the observations read of x_j --filter--> update
    for each part of the grid:   x --transforms--> z --update--> z --inverse, bounds--> x
    copies of the files, analysed variables replaced --all at once--> the output folder

Parts are worked here or by workers (`ensf.runs.engines`), with the same bits. The forecast is in memory as a whole only
for filters that need whole states.
"""

from ensf.offline.analysis import STAGES, Analysed, Earlier, Offline, Replaced, analyse_files
from ensf.offline.job import Job
from ensf.offline.members import Source
from ensf.offline.writer import names

__all__ = ["STAGES", "Analysed", "Earlier", "Job", "Offline", "Replaced", "Source", "analyse_files", "names"]
