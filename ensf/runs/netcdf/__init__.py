"""CF NetCDF files of a run, and the journal behind them."""
