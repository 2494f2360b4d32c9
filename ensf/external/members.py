"""Member files, one NetCDF file per member: checked, analysed, and written with the analysed variables replaced."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import xarray as xr

from ensf.analysis import Analysis
from ensf.arrays import Generator
from ensf.dataset import Problem

__all__ = ["analyse_files", "check_member"]


def check_member(path: Path, variables: Sequence[str] = ()) -> None:
    """Raise ValueError if a member file cannot be read, lacks a variable, or has a value that is not finite."""
    try:
        with xr.open_dataset(path, decode_times=False) as file:
            chosen = _chosen(file, variables)
            bad = [name for name in chosen if not np.isfinite(file[name].values).all()]
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is not a NetCDF file, or damaged ({error})") from error
    if bad or not chosen:
        raise ValueError(f"variable {bad[0]!r} is not finite" if bad else "it has no variable of floating point")


def analyse_files(
    prior_paths: Sequence[Path],
    observations_path: Path,
    method: Any,
    output_dir: Path,
    *,
    rng: Generator,
    memory: Any = None,
    variables: Sequence[str] = (),
) -> Analysis:
    """Analysis of member files into files of the same names in another folder.

    Parameters
    ----------
    prior_paths : sequence of Path
        One per member; they differ in the values of their variables only.
    observations_path : Path
        A table, as `ensf.tables.read` takes it.
    method : Filter
    output_dir : Path
        Must exist. Files in it are replaced; each is a copy of the member's file with the analysed variables replaced.
    rng : numpy.random.Generator
    memory : object
        What the filter left in the cycle before.
    variables : sequence of str
        What is analysed; all variables of floating point if empty.

    Returns
    -------
    Analysis
        Its memory is for the next cycle.

    Raises
    ------
    FileNotFoundError, ValueError
        If a file is missing, or they do not fit together; one sentence says which.
    """
    from ensf import tables

    table = tables.read(observations_path)
    members = [_load(path, variables) for path in prior_paths]
    _check_alike(prior_paths, members)
    how: dict[str, Any] = {"data_vars": "all", "coords": "minimal", "compat": "override", "join": "override"}
    ensemble = xr.concat(members, "realization", **how)
    problem = Problem.of(ensemble, table, method)
    analysis = problem.analyse(rng, memory)
    result = problem.restore(analysis.ensemble)
    for number, path in enumerate(prior_paths):
        _write(path, output_dir / path.name, result.isel(realization=number))
    return analysis


def _chosen(file: xr.Dataset, variables: Sequence[str]) -> list[str]:
    return [str(name) for name in variables or file.data_vars if file[name].dtype.kind == "f"]


def _check_alike(paths: Sequence[Path], members: Sequence[xr.Dataset]) -> None:
    for path, member in zip(paths, members, strict=True):
        if dict(member.sizes) != dict(members[0].sizes) or set(member) != set(members[0]):
            raise ValueError(
                f"{path} has {list(member)} of {dict(member.sizes)} but {paths[0]} has {list(members[0])} of "
                f"{dict(members[0].sizes)}: give members of one grid, with the same variables"
            )


def _load(path: Path, variables: Sequence[str]) -> xr.Dataset:
    with xr.open_dataset(path, decode_times=False) as file:
        return file[_chosen(file, variables)].load()


def _write(prior: Path, path: Path, result: xr.Dataset) -> None:
    shutil.copyfile(prior, path)
    with netCDF4.Dataset(path, "r+") as file:
        for name, variable in result.data_vars.items():
            file[str(name)][...] = variable.transpose(*file[str(name)].dimensions).values
