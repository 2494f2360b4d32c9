"""What is cycled: the settings of an experiment with an external model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ensf.offline.cycle.command import Command
from ensf.runs.recipe import describe

__all__ = ["Cycling"]


@dataclass(frozen=True)
class Cycling:
    """An experiment with an external model.

    Parameters
    ----------
    model : Command
    method : Filter
    initial : str
        Restart file of each member at the start: a path with ``{member}``, which counts from 1.
    observations : str
        Table of each cycle: a path with ``{cycle}``, which counts from 1, or ``{time}``, the end of the cycle.
    members, cycles : int
    interval : float
        Model time between observations; seconds if `start` is a date.
    start : str
        Model time of the initial files: a number, or an ISO-8601 date.
    seed : int
        Of the filter, and of the numbers that stochastic models get.
    min_members : int
        Go on without members that failed while there are this many; 0 = a member that fails stops the run.
    keep_cycles : int
        Cycles whose files are kept, counted from the last; 0 = all.
    variables, checks, coordinates, periods, strict, withhold, bands
        Of the analysis, as in `ensf.offline.Offline`.
    folder : str
        Where relative paths count from.

    Raises
    ------
    ValueError
        If a number makes no sense, or a path lacks its word.
    """

    model: Command
    method: Any
    initial: str
    observations: str
    members: int
    cycles: int
    interval: float
    start: str = "0"
    seed: int = 1
    min_members: int = 0
    keep_cycles: int = 0
    variables: Sequence[str] | Mapping[str, Any] = ()
    checks: tuple[Any, ...] = ()
    coordinates: Mapping[str, str] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)
    strict: bool = False
    withhold: float = 0.0
    bands: tuple[float, ...] = ()
    folder: str = "."

    def __post_init__(self) -> None:
        if self.members < 2 or self.cycles < 1 or not self.interval > 0 or self.seed < 0 or self.keep_cycles < 0:
            raise ValueError(
                f"members {self.members}, cycles {self.cycles}, interval {self.interval:g}, seed {self.seed}, "
                f"keep_cycles {self.keep_cycles}: give 2 members and 1 cycle or more, and no negative number"
            )
        if self.min_members and not 2 <= self.min_members <= self.members:
            raise ValueError(
                f"min_members is {self.min_members}: give 0, or a number from 2 to the {self.members} members"
            )
        if self.path(self.initial, member=1) == self.path(self.initial, member=2):
            raise ValueError(
                f"initial {self.initial!r} is one file for all members: write {{member}} where its number is"
            )
        self.observed(1)

    def path(self, pattern: str, **words: Any) -> Path:
        """A path with its words replaced."""
        try:
            return Path(self.folder) / pattern.format(**words)
        except (KeyError, ValueError, IndexError) as error:
            known = " or ".join(f"{{{word}}}" for word in words)
            raise ValueError(f"path {pattern!r} cannot be read ({error}): write {known} where the number is") from None

    def observed(self, cycle: int) -> Path:
        """Table of a cycle."""
        return self.path(self.observations, cycle=cycle, time=self.time(cycle))

    def time(self, cycle: int) -> Any:
        """Model time at the end of a cycle: a number, or an ISO-8601 date."""
        try:
            return float(self.start) + cycle * self.interval
        except ValueError:
            pass
        try:
            return (datetime.fromisoformat(self.start) + timedelta(seconds=cycle * self.interval)).isoformat()
        except ValueError:
            raise ValueError(f"start {self.start!r} is no time: give a number, or a date as 2020-01-31T06:00") from None

    @property
    def analysis(self) -> dict[str, Any]:
        """Settings of the analysis of files."""
        names = ("variables", "checks", "coordinates", "periods", "strict", "withhold", "bands")
        return {name: getattr(self, name) for name in names}

    @property
    def recipe(self) -> dict[str, str]:
        """What the files depend on: all but limits, the number of cycles, and how the work is done."""
        free = ("cycles", "min_members", "keep_cycles", "folder", "model.timeout", "model.retries", "model.jobs")
        found = describe.recipe(cycling=self)
        return {name: text for name, text in found.items() if name not in [f"cycling.{one}" for one in free]}
