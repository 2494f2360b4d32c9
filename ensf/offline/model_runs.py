"""How many forecasts of the ensemble a cycle took, its own and those of the model in the loop, as `model_runs`."""

from __future__ import annotations

from collections.abc import Iterator

import xarray as xr

from ensf.filters.base import Info

__all__ = ["MODEL_RUNS", "lines", "of_model_runs", "words"]

MODEL_RUNS = "model_runs"


def words(info: Info) -> str:
    """Of the line of a cycle; nothing without a model in the loop."""
    return f"{info[MODEL_RUNS]:.3g} forecasts of the ensemble" if MODEL_RUNS in info else ""


def of_model_runs(info: Info) -> xr.Dataset:
    """The same as a statistic; none without others beside which it could stand."""
    if MODEL_RUNS not in info or not info.get("statistics"):
        return xr.Dataset()
    about = {"long_name": "forecasts of the ensemble in a cycle", "units": "1"}
    return xr.Dataset({MODEL_RUNS: ((), float(info[MODEL_RUNS]), about)})


def lines(statistics: xr.Dataset) -> Iterator[str]:
    """Of all cycles; nothing without a model in the loop."""
    if MODEL_RUNS in statistics:
        mean, most = float(statistics[MODEL_RUNS].mean()), float(statistics[MODEL_RUNS].max())
        yield f"forecasts of the ensemble in a cycle: {mean:.3g} on average, {most:.3g} at most"
