"""WHICH ROWS CAN BE TRUSTED, and how many are needed: checks of a table, each a setting with the verb `flag`.

`ensf.tables.quality.checks` has the formulas, `ensf.tables.quality.boxes` says which rows are neighbours; a rejected
row has one of the codes of `ensf.tables.flags`.
"""

from ensf.tables.quality.boxes import Boxes
from ensf.tables.quality.checks import Duplicates, GrossCheck, SuperObservations, Thinning, TimeWindow

__all__ = ["Boxes", "Duplicates", "GrossCheck", "SuperObservations", "Thinning", "TimeWindow"]
