"""Nature runs: a long run of a model that serves as the truth, kept on disk.

A `NatureRun` is a recipe: a model, a seed, how long to spin up from noise, what to keep. `NatureRun.load` makes the run
once, keeps it in the user's cache folder under a name that is the hash of the recipe, and reads it from then on; or it
reads the file that the user gives. A `Trajectory` is what it holds: states at equal intervals.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import netCDF4
import numpy as np
from tqdm import tqdm

from ensf.arrays import Array, Generator, summary
from ensf.dataset.netcdf import opened
from ensf.dataset.stored import Stored
from ensf.runs.files import clear_unfinished, expanded, replacing
from ensf.runs.owner import alone, clear_guard
from ensf.twin.about import About
from ensf.twin.twin import Model

__all__ = ["NatureRun", "Trajectory", "cache_folder"]

FORMAT = 2


@dataclass(frozen=True, eq=False)
class Trajectory:
    """States of a truth at equal intervals; a model that knows what comes.

    Attributes
    ----------
    states : (time, state) array
        The first is at time 0.
    interval : float
        Model time from one to the next.
    """

    states: Array
    interval: float

    def __len__(self) -> int:
        return len(self.states)

    def __repr__(self) -> str:
        return f"Trajectory(states {summary(self.states)}, interval={self.interval!r})"

    def advance(self, states: Array, time: float, duration: float, rng: Generator | None = None) -> Array:
        """State ``(state,)`` at ``time + duration``, whatever the states given.

        Raises
        ------
        ValueError
            If there is no state at this time.
        """
        number = (time + duration) / self.interval
        index = round(number)
        if abs(number - index) > 1e-6 or not 0 <= index < len(self):
            raise ValueError(
                f"there is no truth at time {time + duration}: the nature run has {len(self)} states, "
                f"one every {self.interval}"
            )
        return self.states[index]

    def window(self, first: int, length: int) -> Trajectory:
        """`length` states, beginning with number `first`; time 0 is the first of them.

        Raises
        ------
        ValueError
            If there are not so many.
        """
        if not 0 <= first <= first + length <= len(self):
            raise ValueError(
                f"states {first} to {first + length - 1} are asked of a nature run of {len(self)}: "
                "ask for fewer cycles, or make it longer"
            )
        return Trajectory(self.states[first : first + length], self.interval)


class NatureModel(Model, Protocol):
    """A model that can be spun up from noise, and says what its variable is."""

    @property
    def variable(self) -> str: ...

    @property
    def long_name(self) -> str: ...

    @property
    def units(self) -> str: ...

    def noise(self, rng: Generator) -> Array:
        """A state ``(state,)`` to spin up from."""


@dataclass(frozen=True)
class NatureRun:
    """Recipe of a nature run.

    Parameters
    ----------
    model : NatureModel
    spin_up : float
        Model time before the first state that is kept.
    duration : float
        Model time from the first state that is kept to the last.
    interval : float
        Model time between states that are kept.
    seed : int
        Of the noise.
    file : str
        NetCDF file to read the states from; the recipe is not used then.
    variable : str
        Name of the variable in that file; empty = the model's. Its last dimensions are the model's, the first is time.
    factor : float
        Factor from the unit in that file to the model's.
    """

    model: NatureModel
    spin_up: float
    duration: float
    interval: float
    seed: int = 1
    file: str = ""
    variable: str = ""
    factor: float = 1.0

    def load(self, folder: str | Path | None = None) -> Trajectory:
        """The states, float32: read from `file`, or from the cache, or made and kept there.

        Parameters
        ----------
        folder : str or Path, optional
            In place of `cache_folder`.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        PermissionError
            If the cache cannot be written.
        ValueError
            If the file does not hold states of the model, or the model does not stay finite.
        """
        if self.file:
            name = self.variable or self.model.variable
            return Trajectory(self.factor * _read(expanded(self.file), name, self.model), self.interval)
        path = self.path(folder)
        if not path.exists():
            _prepare(path.parent)
        states = self._kept(path)
        if states is None:
            states = self._made(path)
        clear_guard(path)
        return Trajectory(states, self.interval)

    def path(self, folder: str | Path | None = None) -> Path:
        """Where the run is kept."""
        recipe = hashlib.sha256(f"{FORMAT} {self.attributes['recipe']}".encode()).hexdigest()
        return expanded(folder or cache_folder()) / f"nature-{recipe[:20]}.nc"

    @property
    def attributes(self) -> Mapping[str, str]:
        """Global attributes of the file; the recipe is everything that the states depend on."""
        recipe = repr(replace(self, file="", variable="", factor=1.0))
        return {"title": "nature run", "Conventions": "CF-1.11", "recipe": recipe}

    def _kept(self, path: Path) -> np.ndarray | None:
        """States of the cache; None if there are none, or they are damaged."""
        if not path.exists():
            return None
        try:
            return _read(path, self.model.variable, self.model)
        except ValueError as error:
            print(f"{error}; it is made again", file=sys.stderr, flush=True)
            return None

    def _made(self, path: Path) -> np.ndarray:
        """States that are made and kept, here or by a process that is waited for."""
        with alone(path):
            states = self._kept(path)
            if states is None:
                clear_unfinished(path)
                states = self._make(path)
                _write(path, states, self.model, self.attributes)
        return states

    def _make(self, path: Path) -> np.ndarray:
        """States ``(time, state)``, with progress."""
        spin_up, kept = round(self.spin_up / self.interval), round(self.duration / self.interval)
        if not sys.stderr.isatty():
            print(f"making the nature run, once: it will be kept in {path}", file=sys.stderr, flush=True)
        state = self.model.noise(np.random.default_rng(self.seed))
        states = np.empty((kept + 1, state.size), np.float32)
        for number in tqdm(range(spin_up + kept + 1), desc="nature run", unit="state", disable=None):
            if number:
                state = self.model.advance(state, (number - 1) * self.interval, self.interval)
            if number >= spin_up:
                states[number - spin_up] = state
        if not np.isfinite(states).all():
            raise ValueError("the model does not stay finite in the nature run: give it a smaller time step")
        return states


def cache_folder() -> Path:
    """Folder for what can be made again: ``ENSF_CACHE``, else `ensf` in the user's cache folder of the platform."""
    if folder := os.environ.get("ENSF_CACHE"):
        return expanded(folder)
    home = Path.home()
    base = {
        "darwin": home / "Library" / "Caches",
        "win32": Path(os.environ.get("LOCALAPPDATA", home / "AppData/Local")),
    }
    return expanded(os.environ.get("XDG_CACHE_HOME") or base.get(sys.platform, home / ".cache")) / "ensf"


# --- files -----------------------------------------------------------------------------------------------


def _write(path: Path, states: np.ndarray, model: NatureModel, attributes: Mapping[str, str]) -> None:
    """A file of that name is complete."""
    with replacing(path) as hidden, opened(hidden, "w") as file:
        _fill(file, states.reshape(-1, *model.shape), model)
        file.setncatts(attributes)


def _prepare(folder: Path) -> None:
    """Make the folder and check that files may be written, before time is spent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"the nature run cannot be kept in {folder} ({error.strerror}): set ENSF_CACHE to a folder for it"
        ) from error


def _fill(file: netCDF4.Dataset, states: np.ndarray, model: NatureModel) -> None:
    about = About.of(model)
    for name, size in zip(("time", *model.dims), states.shape, strict=True):
        file.createDimension(name, size)
        if name in about.coords:
            axis = file.createVariable(name, "f8", (name,))
            axis.units = about.coord_units.get(name, "1")
            axis[:] = about.coords[name]
    dims, chunks = ("time", *model.dims), (1, *model.shape)
    variable = file.createVariable(model.variable, "f4", dims, chunksizes=chunks, fletcher32=True)
    variable.setncatts({"long_name": about.long_name, "units": about.units})
    variable[:] = states


def _read(path: Path, name: str, model: NatureModel) -> np.ndarray:
    """States ``(time, state)``, float32."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no nature run {path}: check its name")
    try:
        with opened(path) as file:
            variable = _variable(file, name, model, path)
            variable.set_auto_maskandscale(False)
            stored = Stored.of(variable.dtype, {key: variable.getncattr(key) for key in variable.ncattrs()})
            states = stored.numbers(variable[:]).astype(np.float32, copy=False)
    except (OSError, RuntimeError, TypeError) as error:
        raise ValueError(f"{path} is not a NetCDF file, or damaged ({error}): give another one") from error
    if not np.isfinite(states).all():
        raise ValueError(f"{name} in {path} has missing or infinite values: give a complete run")
    return states.reshape(len(states), -1)


def _variable(file: netCDF4.Dataset, name: str, model: NatureModel, path: Path) -> netCDF4.Variable:
    """The variable of that name, if it has the dimensions of states in time."""
    fitting = [key for key, variable in file.variables.items() if variable.shape[1:] == tuple(model.shape)]
    if name in fitting:
        return file[name]
    needed = f"(time, {', '.join(map(str, model.shape))})"
    problem = f"has shape {file[name].shape}" if name in file.variables else "is not there"
    advice = f"name one of {', '.join(fitting)}" if fitting else "give a run of this model"
    raise ValueError(f"{name!r} {problem} in {path}, and the model needs {needed}: {advice}")
