"""DART observation sequences, text files called ``obs_seq``, through the package `pydartdiags`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ensf.tables.columns import Columns, codes, import_row

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["columns_of", "is_sequence", "load"]


def is_sequence(path: Path) -> bool:
    """Whether a file begins as an observation sequence does, in text or in binary."""
    with path.open("rb") as file:
        return b"obs_sequence" in file.read(32)


def load(path: Path, variables: Mapping[str, str] | None, good: Collection[int]) -> Columns:
    """Columns of an observation sequence; parameters and errors are those of `ensf.tables.read_dart`.

    Parameters
    ----------
    path : Path
    variables : mapping of str to str, or None
        Names in the file to those of the state; None = all.
    good : collection of int
        Codes of quality that are used.
    """
    try:
        from pydartdiags.obs_sequence.obs_sequence import ObsSequence
    except ImportError as error:
        raise ImportError("read_dart needs the package pydartdiags: pip install pydartdiags") from error
    try:
        sequence = ObsSequence(str(path))
    except Exception as error:  # the reader does not check its input, so a damaged file raises many kinds of error
        problem = " ".join(str(error).split())[:200]
        raise ValueError(f"{path} is not an observation sequence, or damaged ({problem}): make it again") from error
    _check_count(sequence, path)
    return columns_of(sequence.df, variables, good, str(path))


def columns_of(frame: pd.DataFrame, variables: Mapping[str, str] | None, good: Collection[int], name: str) -> Columns:
    """Columns of the frame of an observation sequence; parameters and errors are those of `ensf.tables.from_dart`.

    Parameters
    ----------
    frame : pandas.DataFrame
    variables : mapping of str to str, or None
        DART types to variables of the state; None = all.
    good : collection of int
        Codes of quality that are used.
    name : str
        What errors call the frame.
    """
    needed = ("type", "observation", "obs_err_var", "time", "latitude", "longitude", "vertical")
    missing = [column for column in needed if column not in frame.columns]
    if missing:
        raise ValueError(f"{name} has no column {missing[0]!r}: give a sequence with values, on the sphere")
    if variables is not None:
        frame = frame[frame["type"].isin(list(variables))]
    renamed = variables or {}
    variance = _present(frame["obs_err_var"])
    columns = {
        "variable": np.array([renamed.get(kind, kind) for kind in frame["type"].astype(str)], dtype=str),
        "value": _present(frame["observation"]),
        "error": np.sqrt(np.where(variance > 0, variance, np.nan)),
        "time": frame["time"].to_numpy(dtype="datetime64[us]"),
        "lat": frame["latitude"].to_numpy(float),
        "lon": frame["longitude"].to_numpy(float),
        **_heights(frame),
        "qc": codes(_quality(frame), good),
    }
    return Columns(columns, {}, import_row)


def _check_count(sequence: Any, path: Path) -> None:
    """Raise ValueError if the file ends too early."""
    count = re.search(r"(?<!max_)num_obs:\s*(\d+)", " ".join(map(str, sequence.header)))
    if count is None or int(count[1]) != len(sequence.df):
        number = "an unknown number of" if count is None else count[1]
        raise ValueError(
            f"{path} has {len(sequence.df)} observations but its header says {number}: it is truncated, make it again"
        )


def _present(column: pd.Series) -> np.ndarray:
    """Numbers; DART writes -888888 for what is missing."""
    numbers = column.to_numpy(float)
    return np.where(numbers == -888888.0, np.nan, numbers)


def _heights(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """How high: pressure in Pa, height in m, `z` for levels; NaN at the surface and where it is undefined."""
    height = frame["vertical"].to_numpy(float)
    if "vert_unit" not in frame.columns:
        return {"z": height}
    unit = frame["vert_unit"].astype(str).to_numpy()
    nowhere = ["undefined", "surface (m)", "surface"]
    kinds = {"pressure": ["pressure (Pa)"], "height": ["height (m)"]}
    columns = {"z": np.where(np.isin(unit, [*nowhere, *kinds["pressure"], *kinds["height"]]), np.nan, height)}
    columns |= {name: np.where(np.isin(unit, words), height, np.nan) for name, words in kinds.items()}
    return {name: column for name, column in columns.items() if name == "z" or not np.isnan(column).all()}


def _quality(frame: pd.DataFrame) -> np.ndarray:
    """The largest code of those who made the observations; if they gave none, what DART did with them."""
    columns = [str(column) for column in frame.columns]
    names = [name for name in columns if "qc" in name.lower() or "quality_control" in name.lower()]
    if not names:
        return np.zeros(len(frame))
    chosen = [name for name in names if "dart" not in name.lower()] or names
    return np.nan_to_num(frame[chosen].to_numpy(float).max(axis=1), nan=-1.0)
