"""What a model says of itself, for files and figures; what it does not say has a default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ensf.twin.twin import Model

__all__ = ["About"]

EPOCH = "2000-01-01 00:00:00"
"""Model time zero, unless a model says otherwise."""


@dataclass(frozen=True, eq=False)
class About:
    """Words and coordinates of a model, by the names of its attributes.

    Attributes
    ----------
    variable, long_name, standard_name, units : str
        Of the state.
    coords : mapping of str to array
        Values along its dimensions.
    coord_units : mapping of str to str
    epoch : str
        Date of model time zero.
    """

    variable: str = "x"
    long_name: str = ""
    standard_name: str = ""
    units: str = "1"
    coords: Mapping[str, Any] = field(default_factory=dict)
    coord_units: Mapping[str, str] = field(default_factory=dict)
    epoch: str = EPOCH

    @classmethod
    def of(cls, model: Model) -> About:
        """What a model says."""
        said = {name: getattr(model, name) for name in cls.__dataclass_fields__ if hasattr(model, name)}
        about = cls(**said)
        return about if about.long_name else cls(**{**said, "long_name": f"model variable {about.variable}"})
