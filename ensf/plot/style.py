"""What all figures share: colours, lines, the frame with its title and caption."""

from __future__ import annotations

import functools
import itertools
import textwrap
from collections.abc import Callable, Iterable, Sized
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["GREY", "INK", "PALE", "PALETTE", "Style", "colours", "legend_below", "line_look", "new_figure", "styled"]

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A4B94", "#8C8C00")
INK, GREY, PALE = "#222222", "#666666", "#DDDDDD"
Style: TypeAlias = dict[str, Any]
"""How something is drawn, in the words of Matplotlib."""
STYLE: Style = {"font.size": 9.5, "axes.titlesize": 9.5, "axes.titlelocation": "left", "legend.fontsize": 9}
STYLE |= {"axes.spines.top": False, "axes.spines.right": False, "axes.axisbelow": True, "legend.frameon": False}
STYLE |= {"grid.color": PALE, "grid.linewidth": 0.7, "text.color": INK, "axes.edgecolor": GREY}
STYLE |= {"axes.labelcolor": INK, "xtick.color": GREY, "ytick.color": GREY}
STYLE |= {"xtick.labelcolor": INK, "ytick.labelcolor": INK}


Inputs = ParamSpec("Inputs")


def styled(draw: Callable[Inputs, Figure]) -> Callable[Inputs, Figure]:
    """Draw with our style, and leave the user's settings as they were."""

    @functools.wraps(draw)
    def wrapper(*args: Inputs.args, **options: Inputs.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(cast(Any, STYLE)):
            return draw(*args, **options)

    return wrapper


def new_figure(height: float, title: str, caption: str) -> Figure:
    """An empty figure, 10 inches wide, with a bold title over a small caption."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, height), layout="constrained")
    lines = "\n\n" + textwrap.fill(caption, 138)
    figure.suptitle(lines, x=0.01, ha="left", fontsize=9, color=GREY, linespacing=1.35)
    figure.text(0.01, 1 - 0.09 / height, title, va="top", fontsize=13, fontweight="bold")
    return figure


def colours(methods: Iterable[str]) -> dict[str, str]:
    return dict(zip(methods, itertools.cycle(PALETTE), strict=False))


def line_look(values: Sized, colour: str, width: float) -> Style:
    """Look of a line; of a dot if there is one cycle alone."""
    return {"color": colour, "linewidth": width, "marker": "o" if len(values) == 1 else None, "markersize": 5}


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", ncols=columns)
