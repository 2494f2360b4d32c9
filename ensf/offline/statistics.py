"""Statistics in observation space, by variable, level band, and role of the rows: used, or withheld to be scored.

    table with what forecast and analysis predict --by_band--> Dataset (band, role; rows by band, reason)
    Datasets of cycles --append--> statistics.nc (cycle, ...)     --lines--> one table for the screen

Each statistic of a variable is a variable of its own, ``t_prior_bias``, for it has the unit of ``t``.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Container, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from ensf.dataset import Layout
from ensf.dataset.coordinates import find_coordinate
from ensf.dataset.netcdf import DAMAGED, lazy, save
from ensf.diagnostics.groups import NAMES, Departures
from ensf.offline import model_runs, parameter_statistics
from ensf.runs.files import replacing
from ensf.tables import ObservationTable
from ensf.tables.flags import USED, WITHHELD

__all__ = [
    "STATISTICS",
    "Bands",
    "append",
    "by_band",
    "departures",
    "free_name",
    "label_of",
    "lines",
    "pooled",
    "read_statistics",
    "sources",
    "variables_of",
    "write",
]

STATISTICS = "statistics.nc"
BANDS = 4
ROLES = {"used": USED, "withheld": WITHHELD}
WORDS = {
    "prior_bias": ("mean innovation, observation minus mean of the forecast", True),
    "prior_rmse": ("root mean square innovation", True),
    "prior_spread": ("spread of the forecast", True),
    "prior_total_spread": ("spread of the forecast and error of the observations together", True),
    "prior_crps": ("continuous ranked probability score of the forecast", True),
    "analysis_bias": ("mean residual, observation minus mean of the analysis", True),
    "analysis_rmse": ("root mean square residual", True),
    "analysis_spread": ("spread of the analysis", True),
    "analysis_total_spread": ("spread of the analysis and error of the observations together", True),
    "analysis_crps": ("continuous ranked probability score of the analysis", True),
    "chi2": ("squared innovation over its expectation, 1 if spread and error are consistent", False),
    "analysis_chi2": ("squared residual of withheld observations over its expectation", False),
    "error_ratio": ("observation error variance from departures, over the assumed one", False),
    "spread_ratio": ("forecast variance from departures, over that of the ensemble", False),
    "freedom": ("degrees of freedom for signal", False),
    "signal": ("forecast variance over observation error variance", False),
}
"""Long name of each statistic, and whether it has the unit of its variable."""


@dataclass(frozen=True)
class Bands:
    """Bands of levels.

    Parameters
    ----------
    edges : tuple of float
        Ascending, in the unit of the table's vertical column; none = one band of everything.
    units : str

    Raises
    ------
    ValueError
        If they do not ascend.
    """

    edges: tuple[float, ...] = ()
    units: str = ""

    def __post_init__(self) -> None:
        if any(high <= low for low, high in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"edges of level bands are {', '.join(f'{edge:g}' for edge in self.edges)}: let them rise")

    @classmethod
    def of(cls, layout: Layout, coordinates: Mapping[str, str], edges: Sequence[float] = ()) -> Bands:
        """Bands with these edges, else of about equally many levels of the grid each."""
        name = coordinates.get("z", "vertical")
        columns = [find_coordinate(variable, name) for variable in layout.template.data_vars.values()]
        vertical = next((column for column in columns if column is not None and column.size > 1), None)
        if vertical is None:
            return cls(tuple(edges))
        units = str(vertical.attrs.get("units", ""))
        levels = np.unique(vertical.values[np.isfinite(vertical.values)])
        groups = np.array_split(levels, min(BANDS, len(levels)))
        between = ((low[-1] + high[0]) / 2 for low, high in zip(groups, groups[1:], strict=False))
        return cls(tuple(edges) or tuple(float(f"{edge:.4g}") for edge in between), units)

    @property
    def labels(self) -> list[str]:
        """A name for each band."""
        if not self.edges:
            return ["all"]
        inner = [f"{low:g} to {high:g}" for low, high in zip(self.edges, self.edges[1:], strict=False)]
        bands = [f"up to {self.edges[0]:g}", *inner, f"from {self.edges[-1]:g}"]
        return [*(f"{band} {self.units}".strip() for band in bands), "without level"]

    def number(self, height: np.ndarray) -> np.ndarray:
        """Band of each height, ``(row,)``; an edge belongs to the band above it."""
        if not self.edges:
            return np.zeros(len(height), dtype=int)
        return np.where(np.isnan(height), len(self.edges) + 1, np.searchsorted(self.edges, height, side="right"))


def departures(table: ObservationTable) -> Departures:
    """Every row of a table with what forecast and analysis predict; NaN where a row was not compared, or answers."""
    columns = {
        name: np.where(table.answers, np.nan, table.extra[name])
        for stage in ("prior", "analysis")
        for name in (f"{stage}_mean", f"{stage}_spread")
    }
    influence = table.extra.get("influence", np.full(len(table), np.nan))
    return Departures(table.value, table.deviation, **columns, influence=influence)


def by_band(table: ObservationTable, bands: Bands, units: Mapping[Hashable, str]) -> xr.Dataset:
    """Statistics of a table.

    Parameters
    ----------
    table : ObservationTable
        With ``prior_mean``, ``prior_spread``, ``analysis_mean``, ``analysis_spread``.
    bands : Bands
    units : mapping of str to str
        Of the variables.

    Returns
    -------
    xarray.Dataset
        ``VARIABLE_STATISTIC`` with dimensions ``(band, role)``, ``VARIABLE_count`` too, and ``VARIABLE_rows`` with
        ``(band, reason)``: all rows, by the reason why they are used or not. Rows of another kind than their variable
        (the column `kind`) are ``VARIABLE_KIND_STATISTIC``.
    """
    compared = departures(table)
    band = bands.number(table.extra.get("level", table.height))
    codes, number = np.unique(table.codes, return_inverse=True)
    sentences = [table.meanings[code] for code in codes.tolist()]
    reasons = sorted(set(sentences))
    result = xr.Dataset(coords={"band": bands.labels, "role": list(ROLES), "reason": reasons})
    result["band"].attrs["long_name"], result["role"].attrs["long_name"] = "levels", "what the rows are for"
    result["reason"].attrs["long_name"] = "why a row is used or not"
    for variable, kind, of_variable in sources(table):
        unit, name = units.get(variable), free_name(variable, kind, variables_of(result))
        numbers = np.full((len(NAMES), len(bands.labels), len(ROLES)), np.nan)
        count = np.zeros((len(bands.labels), len(ROLES)), dtype=np.int32)
        rows = np.zeros((len(bands.labels), len(reasons)), dtype=np.int32)
        for k in range(len(bands.labels)):
            here = of_variable & (band == k)
            for sentence, rows_of_code in zip(sentences, np.bincount(number[here], minlength=len(codes)), strict=True):
                rows[k, reasons.index(sentence)] += rows_of_code
            for r, code in enumerate(ROLES.values()):
                which = np.flatnonzero(here & (table.codes == code))
                count[k, r] = len(which)
                which = which[~table.answers[which]]
                numbers[:, k, r] = list(compared.take(which).statistics(code == WITHHELD).values())
        for statistic, values in zip(NAMES, numbers, strict=True):
            words, has_unit = WORDS[statistic]
            about = {"long_name": f"{name}: {words}"}
            if unit is not None or not has_unit:
                about["units"] = str(unit) if has_unit else "1"
            result[f"{name}_{statistic}"] = ("band", "role"), values, about
        result[f"{name}_count"] = ("band", "role"), count, {"long_name": f"{name}: number of rows", "units": "1"}
        about = {"long_name": f"{name}: number of rows by reason", "units": "1", "variable": variable, "kind": kind}
        about["learnt_as"] = str(table.learnt_as[of_variable][0])
        result[f"{name}_rows"] = ("band", "reason"), rows, about
    result.attrs = {"Conventions": "CF-1.11", "title": "statistics in observation space"}
    return result


def free_name(what: str, kind: str, taken: Container[Hashable]) -> str:
    """A name of something, and its kind if it has one, in letters; with a number where that is taken."""
    name = re.sub(r"\W+", "_", f"{what}_{kind}") if kind else what
    return next(one for one in itertools.chain([name], (f"{name}_{k}" for k in itertools.count(2))) if one not in taken)


def sources(table: ObservationTable) -> list[tuple[str, str, np.ndarray]]:
    """Variable and kind of rows that are counted together, and which rows ``(row,)`` they are.

    The kind is empty for rows of a variable that say no other.
    """
    pairs, number = np.unique(np.stack([table.variable, table.kind]), axis=1, return_inverse=True)
    named = [(name, "" if kind == name else kind) for name, kind in pairs.T.tolist()]
    return [(*named[k], number.ravel() == k) for k in sorted(range(len(named)), key=named.__getitem__)]


def label_of(statistics: xr.Dataset, name: str) -> str:
    """A variable of statistics in words: ``t (K), buoys``."""
    unit = statistics[f"{name}_prior_bias"].attrs.get("units", "")
    variable, kind = _source(statistics, name)
    return variable + f" ({unit})" * bool(unit) + f", {kind}" * bool(kind)


def variables_of(statistics: xr.Dataset) -> list[str]:
    """Names of the observed variables, each kind of rows by itself."""
    return [str(name).removesuffix("_rows") for name in statistics.data_vars if str(name).endswith("_rows")]


# --- files ------------------------------------------------------------------------------------------------


def write(statistics: xr.Dataset, path: Path) -> None:
    """Replace a file by statistics, at once."""
    encoding: dict[Hashable, dict[str, object]] = {
        str(name): {"_FillValue": None} for name in statistics.variables if statistics[name].dtype.kind == "f"
    }
    if "time" in statistics.coords and statistics["time"].dtype.kind == "M":
        encoding["time"] = {"units": "seconds since 2000-01-01", "dtype": "float64", "_FillValue": None}
    with replacing(path) as hidden:
        save(statistics, hidden, encoding)


def read_statistics(path: Path) -> xr.Dataset:
    """Statistics of an analysis, or of cycles.

    Raises
    ------
    ValueError
        If the file cannot be read, or is none of these.
    """
    try:
        with lazy(path) as file:
            loaded = xr.decode_cf(file.load())
    except (OSError, ValueError, *DAMAGED) as error:
        raise ValueError(f"{path} cannot be read ({' '.join(str(error).split())}): make it again") from error
    for variable in variables_of(loaded):
        for name in (*NAMES, "count"):
            if f"{variable}_{name}" not in loaded:
                raise ValueError(f"{path} has no {variable}_{name}: it is of another version, make it again")
    return loaded


def append(statistics: xr.Dataset, path: Path, cycle: int, time: float | str) -> xr.Dataset:
    """Add the statistics of a cycle to a file of all cycles; those of this cycle and later ones are replaced.

    Parameters
    ----------
    statistics : xarray.Dataset
        Of `by_band`.
    path : Path
    cycle : int
    time : float or str
        Of the analysis; an ISO date becomes a CF time.

    Returns
    -------
    xarray.Dataset
        Of all cycles so far.
    """
    one = statistics.expand_dims(cycle=[cycle])
    one["cycle"].attrs = {"long_name": "number of the cycle", "units": "1"}
    when = np.datetime64(time, "ns") if isinstance(time, str) else time
    one = one.assign_coords(
        time=("cycle", np.array([when]), {"long_name": "time of the analysis", "standard_name": "time"})
    )
    former = []
    if path.exists():
        before = read_statistics(path)
        former = [before.sel(cycle=before.cycle < cycle)]
        one = _named_as(before, one)
    parts = [part for part in (*former, one) if part.sizes["cycle"]]
    counts = {name: 0 for part in parts for name in part.data_vars if str(name).endswith(("_rows", "_count"))}
    every = xr.concat(parts, "cycle", data_vars="all", join="outer", fill_value=counts, combine_attrs="override")
    write(every, path)
    return every


def _named_as(before: xr.Dataset, one: xr.Dataset) -> xr.Dataset:
    """With the names that cycles before have for the same rows: another kind may have had the one of this cycle."""
    names = {_source(before, name): name for name in variables_of(before)}
    taken, changes = set(names.values()), dict[str, str]()
    for name in variables_of(one):
        source = _source(one, name)
        new = names.get(source) or free_name(*source, taken)
        taken.add(new)
        if new != name:
            changes |= {f"{name}_{what}": f"{new}_{what}" for what in (*NAMES, "count", "rows")}
    return one.rename(changes)


def _source(statistics: xr.Dataset, name: str) -> tuple[str, str]:
    """Variable and kind of rows."""
    about = statistics[f"{name}_rows"].attrs
    return str(about.get("variable", name)), str(about.get("kind", ""))


# --- one table ----------------------------------------------------------------------------------------------


def pooled(statistics: xr.Dataset, variable: str, role: str, band: str | None = None) -> dict[str, float]:
    """Statistics of a variable over cycles, and over bands unless one is named; and ``count``, their number."""
    chosen = statistics.sel(role=role) if band is None else statistics.sel(role=role, band=band)
    count = np.nan_to_num(chosen[f"{variable}_count"].values.ravel().astype(float))
    values = {name: chosen[f"{variable}_{name}"].values.ravel() for name in NAMES}
    some = count > 0
    total = float(count.sum())
    result = {"count": total}
    for name, column in values.items():
        weight, number = count[some], column[some]
        if not total:
            result[name] = np.nan
        elif name == "freedom":
            result[name] = float(np.sum(number))
        elif name == "spread_ratio":
            weight = weight * values["signal"][some]
            result[name] = float(np.sum(weight * number) / np.sum(weight)) if np.any(weight > 0) else np.nan
        elif name.endswith(("rmse", "spread")):
            result[name] = float(np.sqrt(np.sum(weight * number**2) / total))
        else:
            result[name] = float(np.sum(weight * number) / total)
    return result


TITLES = ("observations", "rows", "bias", "RMSE", "spread", "CRPS", "chi2", "error ratio", "spread ratio", "DFS")


def lines(statistics: xr.Dataset) -> Iterator[str]:
    """One table: a row per variable, kind, band and role, over all cycles; forecast and analysis side by side.

    Below it one of parameters of the model, if some are estimated, and forecasts if the model is in the loop.
    """
    yield from _of_observations(statistics)
    yield from parameter_statistics.lines(statistics)
    yield from model_runs.lines(statistics)


def _of_observations(statistics: xr.Dataset) -> Iterator[str]:
    rows = []
    for variable in variables_of(statistics):
        filled = statistics[f"{variable}_count"].sum([dim for dim in ("cycle", "role") if dim in statistics.dims]) > 0
        bands = statistics["band"].values[filled.values.reshape(-1)].tolist()
        for band in bands:
            for role in ROLES:
                numbers = pooled(statistics, variable, role, band)
                if numbers["count"]:
                    label = label_of(statistics, variable) + f", {band}" * (len(bands) > 1)
                    rows.append((label + ", withheld" * (role == "withheld"), *_cells(numbers)))
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(*rows, TITLES, strict=True)]
    for row in (TITLES, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()


def _cells(numbers: Mapping[str, float]) -> list[str]:
    def pair(name: str, form: str) -> str:
        return f"{numbers[f'prior_{name}']:{form}} -> {numbers[f'analysis_{name}']:{form}}"

    chi2 = " -> ".join(f"{numbers[name]:.2f}" for name in ("chi2", "analysis_chi2") if np.isfinite(numbers[name]))
    ratios = [f"{numbers[name]:.2f}" if np.isfinite(numbers[name]) else "-" for name in ("error_ratio", "spread_ratio")]
    freedom = f"{numbers['freedom']:.1f}" if np.isfinite(numbers["freedom"]) else "-"
    pairs = [pair(name, ".3g") for name in ("bias", "rmse", "spread", "crps")]
    return [f"{numbers['count']:.0f}", *pairs, chi2, *ratios, freedom]
