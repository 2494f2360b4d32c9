"""WHAT THE FILES OF A TABLE LOOK LIKE: columns from CSV, CF NetCDF, IODA and DART, and to the first two.

Nothing here knows the table: a format turns a file into `ensf.tables.columns.Columns`, or columns into a file.
`ensf.tables.read` and `ObservationTable.write` are what one calls.
"""

from ensf.tables.formats.files import load, save

__all__ = ["load", "save"]
