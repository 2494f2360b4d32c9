"""What is cycled: the settings of an experiment with an external model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import numpy as np

from ensf.arrays import as_names
from ensf.dataset.methods import Method, beside_parameters, with_catalogues
from ensf.dataset.transforms import Setting
from ensf.filters.base import Filter, can, unsmoothed
from ensf.offline.cycle.command import UNREADABLE, WORDS, Command
from ensf.offline.cycle.parameters import Estimated
from ensf.offline.windows import Span
from ensf.runs.files import expanded, resolved
from ensf.runs.patterns import find_files
from ensf.runs.recipe import describe
from ensf.tables import Check, Correlations
from ensf.wrappers.parameters import check_preparable

__all__ = ["Cycling", "Date"]


class Date(str):
    """A date in ISO 8601, which takes the formats of text and of dates: ``{time:.10}``, ``{time:%Y%m%d%H}``."""

    def __format__(self, form: str) -> str:
        if "%" not in form:
            return super().__format__(form)
        text = datetime.fromisoformat(self).strftime(form)
        if "%" in text and "%%" not in form:
            raise ValueError(f"{form!r} is no format of a date: write one such as %Y%m%d%H")
        return text


Time = float | Date
"""Model time: a number, or a date."""


@dataclass(frozen=True)
class Cycling:
    """An experiment with an external model.

    Parameters
    ----------
    model : Command
    method : Filter
    initial : str
        Restart file of each member at the start: a path with ``{member}``, which counts from 1, and ``{time}``.
    observations : str or sequence of str
        Tables of each cycle: names or patterns with ``{cycle}``, which counts from 1, or ``{time}``, the end of the
        cycle. One without these is of all cycles, each of which takes the rows of its window.
    members, cycles : int
    interval : float
        Model time between observations; seconds if `start` is a date.
    start : str
        Model time of the initial files: a number, or an ISO-8601 date.
    seed : int
        Of the filter, and of the numbers that stochastic models get.
    memory : str
        The file ``memory.nc`` of an analysis before, whose memory the filter starts with; none if empty. A path that
        may have ``{time}``.
    min_members : int
        Go on without members that failed while there are this many; 0 = a member that fails stops the run.
    replace_failed : bool
        Let moved copies of the analysis of the others take the places of members that failed.
    keep_cycles : int
        Cycles whose member files are kept, counted from the last; 0 = all.
    keep_every : int
        Of the cycles before these, those whose number is a multiple of this keep their member files too; 0 = none.
    window : tuple of two float, optional
        Seconds before and after the end of a cycle between which it takes observations, if `start` is a date; half the
        `interval` each by default. An observation on the common edge of two windows belongs to the later one; with
        nothing after the end, as for a trajectory of the forecast, to the one that it ends.
    check_time : bool
        A member whose file has another time than the end of the cycle has failed; if `start` is a number, one whose
        time stands still.
    variables, checks, mask, coordinates, periods, strict, withhold, bands, good, surface, correlation, laws
        Of the analysis, as in `ensf.offline.Offline`.
    parameters : mapping of str to Estimated
        Parameters of the model, by the words that the command and the template have for them, or by the variables of
        the members' files that they are.
    folder : str
        Where relative paths count from.

    Raises
    ------
    ValueError
        If a number makes no sense, or a path lacks its word.
    """

    model: Command
    method: Method
    initial: str
    observations: str | Sequence[str]
    members: int
    cycles: int
    interval: float
    start: str = "0"
    seed: int = 1
    memory: str = ""
    min_members: int = 0
    replace_failed: bool = False
    keep_cycles: int = 0
    keep_every: int = 0
    window: tuple[float, float] | None = None
    check_time: bool = True
    variables: Sequence[str] | Mapping[str, Setting] = ()
    checks: tuple[Check, ...] = ()
    mask: bool = False
    coordinates: Mapping[str, str] = field(default_factory=dict)
    periods: Mapping[str, float] = field(default_factory=dict)
    strict: bool = False
    withhold: float = 0.0
    bands: tuple[float, ...] = ()
    good: tuple[int, ...] = (0,)
    surface: tuple[str, ...] = ()
    correlation: Correlations | None = None
    laws: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Estimated] = field(default_factory=dict)
    folder: str = "."

    def __post_init__(self) -> None:
        object.__setattr__(self, "observations", as_names(self.observations))
        numbers = (self.seed, self.keep_cycles, self.keep_every)
        if self.members < 2 or self.cycles < 1 or not 0 < self.interval < math.inf or min(numbers) < 0:
            raise ValueError(
                f"members {self.members}, cycles {self.cycles}, interval {self.interval:g}, seed {self.seed}, "
                f"keep_cycles {self.keep_cycles}, keep_every {self.keep_every}: give 2 members and 1 cycle or "
                "more, and no negative number"
            )
        if self.min_members and not 2 <= self.min_members <= self.members:
            raise ValueError(
                f"min_members is {self.min_members}: give 0, or a number from 2 to the {self.members} members"
            )
        if self.replace_failed and not self.min_members:
            raise ValueError("replace_failed needs min_members: give how many members must be left at least")
        if self.keep_every and not self.keep_cycles:
            raise ValueError(
                f"keep_every is {self.keep_every} but all cycles are kept: give keep_cycles, how many of the last are"
            )
        if self.initial_file(1) == self.initial_file(2):
            raise ValueError(
                f"initial {self.initial!r} is one file for all members: write {{member}} where its number is"
            )
        if self.keep_cycles and self.lag > self.keep_cycles:
            raise ValueError(
                f"the lag of the smoother is {self.lag} but the files of {self.keep_cycles} cycles are kept: give "
                f"keep_cycles = {self.lag} or more, or 0 for all"
            )
        self._check_observations()
        self._check_parameters()
        own = dict.fromkeys(self.own_parameters, 1.0)
        self.model.arguments(own | self.words(1) | {"member": 1, "seed": 1, "input": "", "output": "", "directory": ""})

    def _check_observations(self) -> None:
        """Raise ValueError unless each cycle has a table, or can tell which rows of one are its own."""
        if not self.observations:
            raise ValueError("observations is empty: name a table")
        window = self.window or (0.0, 1.0)
        if len(window) != 2 or not -math.inf < -window[0] < window[1] < math.inf:
            raise ValueError(f"window is {self.window}: give the seconds before and after the end of a cycle")
        if self.is_dated:
            self.observed(1), self.observed(self.cycles)
            self._check_used_once()
        elif self.window is not None:
            raise ValueError(f"a window needs dates but start {self.start!r} is a number: give a date, or no window")
        elif self.cycles > 1:
            for table, first, second in zip(self.observations, self.observed(1), self.observed(2), strict=True):
                if first == second:
                    raise ValueError(
                        f"observations {table!r} are one table for all cycles, which take its rows by date, but "
                        f"start {self.start!r} is a number: give a date, or write {{cycle}} where the number is"
                    )

    def _check_used_once(self) -> None:
        """Raise ValueError if two cycles take the same rows of a table."""
        before, after = self.window or (self.interval / 2, self.interval / 2)
        if before + after <= self.interval:
            return
        for cycle in range(1, self.cycles):
            for table, next_table in zip(self.observed(cycle), self.observed(cycle + 1), strict=True):
                if table == next_table:
                    raise ValueError(
                        f"window {list(self.window or ())} is longer than the interval, {self.interval:g} s, so that "
                        f"cycles {cycle} and {cycle + 1} would both use rows of {table}: give a window of "
                        f"{self.interval:g} s or less, or a table of its own for each cycle"
                    )

    def _check_parameters(self) -> None:
        """Raise ValueError unless each parameter that the run keeps is a word of the command of its own."""
        for name in self.parameters:
            if name in WORDS or not name.isidentifier():
                raise ValueError(
                    f"a parameter is called {name!r}: give it a name of letters, digits and _, other than "
                    f"{', '.join(WORDS)}"
                )
            if name in self.variables:
                raise ValueError(f"{name!r} is a parameter and among variables: name it in one of them")
        if tuple(self.own_parameters) != self.model.words:
            raise ValueError(
                f"the parameters are {', '.join(self.own_parameters) or 'none'} but the words of the command "
                f"{', '.join(self.model.words) or 'none'}: give Command(..., words=) with the names of the parameters"
            )
        if self.parameters and can(self.filter, "analyse"):
            check_preparable(cast(Filter, self.filter))

    @property
    def own_parameters(self) -> dict[str, Estimated]:
        """Those whose values the run keeps, and hands to the members."""
        return {name: one for name, one in self.parameters.items() if one.is_own}

    @property
    def file_variables(self) -> tuple[str, ...]:
        """Variables of the members' files that must be there; all of floating point if empty."""
        inside = tuple(name for name, one in self.parameters.items() if not one.is_own)
        return (*self.variables, *inside) if self.variables else ()

    # --- the filter, and how far back it corrects -------------------------------------------------------------

    @property
    def filter(self) -> Method:
        """What analyses the last cycle; names of files in it are whole."""
        method, _ = unsmoothed(self.method)
        if not can(method, "analyse"):
            return beside_parameters(method) if self.parameters else method
        return with_catalogues(cast(Filter, method), lambda pattern: str(expanded(self.folder) / pattern))

    @property
    def lag(self) -> int:
        """Number of earlier cycles whose states are corrected."""
        return unsmoothed(self.method)[1]

    # --- paths ----------------------------------------------------------------------------------------------

    def initial_file(self, member: int) -> Path:
        """File of a member at the start."""
        return self._path(self.initial, member=member, time=self.time(0))

    def observed(self, cycle: int) -> tuple[Path, ...]:
        """Names or patterns of the tables of a cycle."""
        return tuple(self._path(table, **self.words(cycle)) for table in self.observations)

    def tables(self, cycle: int) -> tuple[Path, ...]:
        """Tables of a cycle.

        Raises
        ------
        FileNotFoundError
            If one is not there.
        """
        return find_files(self.observed(cycle), f"the observations of cycle {cycle}")

    @property
    def first_memory(self) -> Path | None:
        """What the filter remembers before the first cycle."""
        return self._path(self.memory, time=self.time(0)) if self.memory else None

    def _path(self, pattern: str, **words: Any) -> Path:
        """A path with its words replaced."""
        try:
            return expanded(self.folder) / expanded(pattern.format(**words))
        except UNREADABLE as error:
            choice = " or ".join(f"{{{word}}}" for word in words)
            raise ValueError(f"path {pattern!r} cannot be read ({error}): write {choice} where they are") from None

    # --- times ----------------------------------------------------------------------------------------------

    @property
    def is_dated(self) -> bool:
        """Whether model time is a date."""
        return isinstance(self.time(0), Date)

    def time(self, cycle: int) -> Time:
        """Model time at the end of a cycle: a number, or an ISO-8601 date.

        Numbers are added as they are written: three times 0.2 is 0.6.
        """
        try:
            start, interval = (Decimal(repr(float(one))) for one in (self.start, self.interval))
            number = float(start + cycle * interval)
        except ValueError:
            return Date(self._date(cycle * self.interval).isoformat())
        if not math.isfinite(number):
            raise ValueError(f"start {self.start!r} is no time: give a number, or a date as 2020-01-31T06:00")
        return number

    def _date(self, seconds: float) -> datetime:
        """So long after the start, in UTC."""
        try:
            start = datetime.fromisoformat(self.start)
        except ValueError:
            raise ValueError(f"start {self.start!r} is no time: give a number, or a date as 2020-01-31T06:00") from None
        if start.tzinfo is not None:
            start = start.astimezone(UTC).replace(tzinfo=None)
        try:
            return start + timedelta(seconds=seconds)
        except OverflowError:
            raise ValueError(
                f"{self.cycles} cycles of {self.interval:g} s from {self.start} end after the year 9999: "
                "give interval in seconds"
            ) from None

    def words(self, cycle: int) -> dict[str, object]:
        """What stands in braces in paths and commands, of a cycle."""
        start, end = self.time(cycle - 1), self.time(cycle)
        return {
            "cycle": cycle,
            "start": start,
            "end": end,
            "time": end,
            "duration": self.interval,
            "folder": resolved(expanded(self.folder)),
        }

    def span(self, cycle: int) -> Span | None:
        """When what a cycle takes was observed, the end excluded; None if model time is a number.

        A window that ends with the cycle has its end, and not its start: both are a microsecond later, the step of the
        times of a table.
        """
        if not self.is_dated:
            return None
        before, after = self.window or (self.interval / 2, self.interval / 2)
        later = np.timedelta64(int(after == 0), "us")
        first, last = (np.datetime64(self._date(cycle * self.interval + shift), "us") for shift in (-before, after))
        return first + later, last + later

    # --- what is run ----------------------------------------------------------------------------------------

    def analysis(self, cycle: int) -> dict[str, Any]:
        """Settings of `ensf.offline.Offline` for the analysis of a cycle."""
        window = self.span(cycle)
        names = (
            "variables",
            "checks",
            "mask",
            "coordinates",
            "periods",
            "strict",
            "withhold",
            "bands",
            "good",
            "surface",
            "correlation",
            "laws",
        )
        times = "" if window is None else f"{window[0]}/{window[1]}"
        inside = {name: one.parameter for name, one in self.parameters.items() if not one.is_own}
        more = {"by_time": bool(self.model.by_time), "window": times, "parameters": inside}
        return {name: getattr(self, name) for name in names} | more

    def keeps(self, cycle: int, finished: int) -> bool:
        """Whether the member files of a cycle are kept when so many are finished."""
        recent = not self.keep_cycles or cycle > finished - self.keep_cycles
        return recent or bool(self.keep_every) and cycle % self.keep_every == 0

    @property
    def recipe(self) -> dict[str, str]:
        """What the files depend on: all but limits, the number of cycles, and how the work is done."""
        limits = ("cycles", "min_members", "replace_failed", "keep_cycles", "keep_every", "check_time", "folder")
        free = [f"cycling.{one}" for one in (*limits, "model.timeout", "model.retries", "model.jobs")]
        return {name: text for name, text in describe.recipe(cycling=self).items() if name not in free}
