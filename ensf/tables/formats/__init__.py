"""Formats of observation tables: CSV, CF NetCDF, IODA, DART."""
