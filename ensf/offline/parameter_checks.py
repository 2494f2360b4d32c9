"""What is wrong with parameters of the model, seen before anything is analysed."""

from __future__ import annotations

from collections.abc import Mapping

from ensf.dataset import Layout
from ensf.dataset.coordinates import variable_dims
from ensf.dataset.methods import dims_of, find_localization
from ensf.filters.base import Filter
from ensf.offline.members import Source
from ensf.wrappers import Parameter

__all__ = ["check_places", "check_within"]


def check_places(parameters: Mapping[str, Parameter], method: Filter, layout: Layout) -> None:
    """Raise ValueError for places of a parameter that have other coordinates than the localization.

    Parameters
    ----------
    parameters : mapping of str to Parameter
    method : Filter
    layout : Layout
        Of the state.
    """
    localization = find_localization(method)
    if localization is None:
        return
    dims = variable_dims(next(iter(layout.template.data_vars)), dims_of(localization))
    for name, parameter in parameters.items():
        if parameter.places and len(parameter.places[0]) != len(dims):
            raise ValueError(
                f"parameters.{name}.places has {len(parameter.places[0])} coordinates for each place but the "
                f"localization of the method {len(dims)}, {', '.join(map(str, dims))}: give these"
            )


def check_within(name: str, parameter: Parameter, source: Source) -> None:
    """Raise ValueError, with the file, if a member has no number for a parameter, or one outside its bounds."""
    for member, values in enumerate(source.load(distinct=False)):
        try:
            parameter.to_filter(values[None], f"parameter {name!r}")
        except ValueError as error:
            problem = str(error).replace(" in member 0,", ",")
            raise ValueError(f"{source.label(member)}: {problem}") from None
