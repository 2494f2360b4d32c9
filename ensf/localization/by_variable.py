"""Distance that depends on what is observed, and of which variable: positions have one column more, its code.

A half-width that is a times as large is a distance that is a times as small; where a = 0, nothing reaches.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ensf.arrays.settings import check_kind, check_settings
from ensf.localization.geometry import Geometry

if TYPE_CHECKING:
    import scipy.sparse

__all__ = ["ByVariable", "variable_code"]

ANY = "*"


def variable_code(name: str, kind: str = "") -> float:
    """The number that stands for a variable, and for a kind of observations of it, in the last column of positions."""
    return float(_HALF * _number(name) + (_number(kind) if kind else 0))


_HALF = 2**26


def _number(name: str) -> int:
    """Of so many bits that two of them are a number of double precision."""
    return zlib.crc32(name.encode()) >> 6


@dataclass(frozen=True)
class ByVariable:
    """A geometry with half-widths by variable and by observation.

    Its positions have one column more than those of the geometry inside, the last: the code of the variable
    (`variable_code`). In a Dataset or files the localization names it as a coordinate, ``dims=("latitude", "longitude",
    "variable")``.

    Parameters
    ----------
    geometry : Geometry
        Of all columns but the last.
    rules : tuple of (str, str, float)
        Variable of the state, what is observed, factor of the half-width: 0 = this does not touch that. ``"*"`` is any;
        the first rule that fits counts, and the factor is 1 where none does.

    Raises
    ------
    ValueError
        If a rule is not two names and a factor of 0 or more.
    """

    geometry: Geometry
    rules: tuple[tuple[str, str, float], ...]

    def __post_init__(self) -> None:
        check_kind(self.geometry, "pairs", "geometry of ByVariable", "Sphere()")
        check_settings(self)
        for rule in self.rules:
            if not isinstance(rule, tuple) or [isinstance(one, str) for one in rule] != [True, True, False]:
                raise ValueError(
                    f"rule {rule!r} of ByVariable: give (variable, observed, factor), such as ('*', 'sst', 2.0)"
                )
            if not isinstance(rule[2], float | int) or not 0 <= rule[2] < math.inf:
                raise ValueError(f"rule {rule!r} of ByVariable: give a factor of 0 or more")

    @property
    def observed(self) -> tuple[str, ...]:
        """What the rules name as observed."""
        return tuple(dict.fromkeys(kind for _, kind, _ in self.rules if kind != ANY))

    @property
    def variables(self) -> tuple[str, ...]:
        """Variables of the state that the rules name."""
        return tuple(dict.fromkeys(variable for variable, _, _ in self.rules if variable != ANY))

    def idle(self, variables: Container[object], observed: Container[object]) -> Iterator[str]:
        """A sentence for each name of a rule that is none of the variables, or of what is observed."""
        for name in self.variables:
            if name not in variables:
                yield f"a rule of ByVariable is for {name!r}, which is no variable of the state: check its spelling"
        for name in self.observed:
            if name not in observed:
                yield f"a rule of ByVariable is for observations of {name!r}, of which there are none here"

    def factor(self, code: float, observed: float) -> float:
        """Factor of the half-width for a variable and what is observed, by their codes."""
        own, seen = code // _HALF, divmod(observed, _HALF)
        for variable, kind, factor in self.rules:
            if (variable == ANY or _number(variable) == own) and (kind == ANY or _number(kind) in seen):
                return factor
        return 1.0

    def pairs(self, points: np.ndarray, others: np.ndarray, radius: float) -> scipy.sparse.csr_array:
        """Distances of all pairs no further apart than `radius`, sparse ``(point, other)``, zeros stored.

        Raises
        ------
        ValueError
            If positions have no column for the variable, or as the geometry.
        """
        import scipy.sparse

        if points.shape[1] < 2 or others.shape[1] < 2:
            raise ValueError(
                "positions have 1 column: ByVariable needs those of its geometry and, as the last, variable_code(name) "
                "of each; in a Dataset dims=(..., 'variable')"
            )
        row, column, distance = [], [], []
        for code in np.unique(points[:, -1]):
            own = np.flatnonzero(points[:, -1] == code)
            for kind in np.unique(others[:, -1]):
                factor = self.factor(float(code), float(kind))
                if factor == 0:
                    continue
                there = np.flatnonzero(others[:, -1] == kind)
                near = self.geometry.pairs(points[own, :-1], others[there, :-1], factor * radius).tocoo()
                row.append(own[near.row])
                column.append(there[near.col])
                distance.append(near.data / factor)
        none = np.zeros(0, dtype=np.int64)
        place = (np.concatenate([none, *row]), np.concatenate([none, *column]))
        near = scipy.sparse.csr_array(
            (np.concatenate([none, *distance]).astype(np.float64), place), (len(points), len(others))
        )
        near.sort_indices()
        return near
