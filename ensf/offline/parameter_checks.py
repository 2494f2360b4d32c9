"""What is wrong with parameters of the model, seen before anything is analysed."""

from __future__ import annotations

from ensf.offline.members import Source
from ensf.wrappers import Parameter

__all__ = ["check_within"]


def check_within(name: str, parameter: Parameter, source: Source) -> None:
    """Raise ValueError, with the file, if a member has no number for a parameter, or one outside its bounds."""
    for member, values in enumerate(source.load(distinct=False)):
        try:
            parameter.to_filter(values[None], f"parameter {name!r}")
        except ValueError as error:
            problem = str(error).replace(" in member 0,", ",")
            raise ValueError(f"{source.label(member)}: {problem}") from None
