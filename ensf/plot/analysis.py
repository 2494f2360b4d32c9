"""Figures of one analysis: what it did to the fields, how it fits the observations, which rows were rejected."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from ensf.dataset.coordinates import find_coordinate
from ensf.dataset.netcdf import lazy
from ensf.diagnostics.groups import Departures
from ensf.offline.statistics import departures, sources
from ensf.plot.grid import Grid, chosen_dims, symmetric, upward, words_of_level
from ensf.plot.style import GREY, INK, PALE, PALETTE, Style, legend_below, new_figure, styled
from ensf.tables import ObservationTable, read
from ensf.tables.flags import USED, WINDOW, WITHHELD

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

__all__ = ["Look", "figure_fit", "figure_increment", "figure_places", "figure_rejected", "figure_spread", "figures"]

PLACES = ("inflation", "half_width", "degrees_of_freedom", "correction")
BLUE, ORANGE = PALETTE[:2]


@dataclass(frozen=True, eq=False)
class Look:
    """What is left of an analysis.

    Attributes
    ----------
    fields : xarray.Dataset
        Of ``fields.nc``.
    table : ObservationTable
        All rows, with what forecast and analysis predict.
    about : str
        Which analysis, in words.
    """

    fields: xr.Dataset
    table: ObservationTable
    about: str

    @classmethod
    def read(cls, fields: Path, table: Path, about: str) -> Look:
        """From its files.

        Raises
        ------
        ValueError
            If one of them cannot be read, or has no increment.
        """
        try:
            with lazy(fields) as file:
                loaded = file.load()
        except (OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"{fields} cannot be read ({error}): make the analysis again") from error
        look = cls(loaded, read(table), about)
        if not look.variables:
            raise ValueError(f"{fields} has no field NAME_increment: make the analysis again")
        return look

    @property
    def variables(self) -> list[str]:
        """Names of the analysed variables."""
        names = [str(name) for name in self.fields.data_vars]
        return [name.removesuffix("_increment") for name in names if name.endswith("_increment")]

    @cached_property
    def departures(self) -> Departures:
        """Of every row; NaN where it was not compared."""
        return departures(self.table)

    @property
    def height(self) -> np.ndarray:
        """Level of every row in the vertical coordinate of its variable, NaN where there is none."""
        return self.table.extra.get("level", self.table.height)

    def points(self, grid: Grid, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where rows are drawn."""
        return grid.points(self.table.position[rows], self.table.axes, self.height[rows])

    def unit(self, variable: str) -> str:
        """Of a variable, in words."""
        field = self.fields.get(f"{variable}_increment")
        return "" if field is None else str(field.attrs.get("units", ""))

    def near(self, variable: str, level: Mapping[Hashable, int], *codes: int) -> np.ndarray:
        """Rows ``(row,)`` of a variable with these codes on a level: their z is nearest to it, or they have none."""
        rows = (self.table.variable == variable) & np.isin(self.table.codes, codes)
        vertical = find_coordinate(self.fields[f"{variable}_increment"], "vertical")
        if vertical is None or vertical.ndim != 1 or vertical.dims[0] not in level:
            return rows
        order = np.argsort(vertical.values)
        levels = vertical.values[order].astype(float)
        nearest = order[np.searchsorted((levels[1:] + levels[:-1]) / 2, self.height)] if len(levels) > 1 else 0
        return rows & (np.isnan(self.height) | (nearest == level[vertical.dims[0]]))


def figures(look: Look) -> Iterator[tuple[str, Figure]]:
    """All of them, by name."""
    yield "increment", figure_increment(look)
    yield "spread", figure_spread(look)
    if any(f"{name}_{what}" in look.fields for name in look.variables for what in PLACES):
        yield "places", figure_places(look)
    yield "fit", figure_fit(look)
    yield "rejected", figure_rejected(look)


def _with_unit(words: str, unit: str) -> str:
    return f"{words} ({unit})" if unit and unit != "1" else words


def _panels(figure: Figure, rows: int, columns: int) -> np.ndarray:
    return figure.subplots(rows, columns, squeeze=False)


def _have_levels(look: Look, names: list[str], grids: list[Grid]) -> bool:
    """Whether one of the variables has several levels or times beside what is drawn."""
    fields = [look.fields[f"{name}_increment"] for name in names]
    return any(chosen_dims(field, grid.level(field)) for field, grid in zip(fields, grids, strict=True))


def _height(grids: list[Grid], columns: int) -> float:
    """Inches for rows of maps beside each other."""
    return 1.2 + sum(0.9 + np.clip(9.0 / columns * 0.8 * grid.aspect, 1.2, 4.5) for grid in grids)


def _map(figure: Figure, axes: Axes, grid: Grid, values: np.ndarray, look: Style, label: str) -> None:
    drawn = grid.draw(axes, values, look, label)
    if grid.y is not None:
        colour_bar(figure, axes, drawn, label)


def colour_bar(figure: Figure, axes: Axes, drawn: ScalarMappable, label: str) -> None:
    """A colour bar as high as the map."""
    figure.colorbar(drawn, cax=axes.inset_axes((1.03, 0, 0.035, 1)), label=label, extend="both")


@styled
def figure_increment(look: Look, like: Look | None = None) -> Figure:
    """Maps of the increment of the mean, with dots where observations were used.

    Parameters
    ----------
    look : Look
    like : Look, optional
        Another cycle, whose levels and colours are to be used.
    """
    names = look.variables
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    grids = [Grid.of(look.fields[f"{name}_increment"]) for name in names]
    caption = f"{look.about}. Mean of the analysis minus mean of the forecast"
    caption += ", on the level, or at the time, where it is largest." if _have_levels(look, names, grids) else "."
    caption += " Dots: used."
    figure = new_figure(_height(grids[:rows], columns), "Increment", caption)
    panels = _panels(figure, rows, columns)
    for axes in panels.flat[len(names) :]:
        axes.set_axis_off()
    for axes, name, grid in zip(panels.flat, names, grids, strict=False):
        field, scale = (one.fields[f"{name}_increment"] for one in (look, like or look))
        level = grid.level(scale)
        shades = symmetric(grid.values(scale, level))
        label = _with_unit(f"increment of {name}", look.unit(name))
        _map(figure, axes, grid, grid.values(field, level), shades, label)
        axes.set_title(f"{name}, {words_of_level(field, level)}".rstrip(", "))
        x, y = look.points(grid, look.near(name, level, USED))
        if grid.y is None:
            x, y = grid.on_curve(grid.values(field, level), x)
        axes.plot(x, y, ".", color=INK, markersize=3 if grid.y is not None else 7, alpha=0.8)
    return figure


@styled
def figure_spread(look: Look) -> Figure:
    """Spread before and after, with the observations coloured by innovation and residual."""
    names = look.variables
    grids = [Grid.of(look.fields[f"{name}_increment"]) for name in names]
    title = "Spread before and after"
    caption = f"{look.about}. Standard deviation of the members, on one scale for before and after."
    if any(grid.y is not None for grid in grids):
        title += ", and what was observed"
        caption += (
            " Circles: observation minus mean, of the forecast on the left, of the analysis on the right; squares were "
            "withheld."
        )
    figure = new_figure(_height(grids, 2), title, caption)
    panels = _panels(figure, len(names), 2)
    for row, name, grid in zip(panels, names, grids, strict=True):
        level = grid.level(look.fields[f"{name}_increment"])
        prior, analysis = (look.fields[f"{name}_{stage}_spread"] for stage in ("prior", "analysis"))
        both = np.stack([grid.values(stage, level) for stage in (prior, analysis)])
        colours = upward(both)
        compared = look.departures
        departures = (compared.value - compared.prior_mean)[look.near(name, level, USED, WITHHELD)]
        dots = symmetric(departures)
        for axes, stage, field in zip(row, ("prior", "analysis"), (prior, analysis), strict=True):
            label = _with_unit(f"spread of {name}", look.unit(name))
            drawn = grid.draw(axes, grid.values(field, level), colours, label)
            if grid.y is None:
                axes.set(**{"xlim" if grid.is_column else "ylim": (0, 1.05 * np.nanmax(both) or 1.0)})
            elif stage == "analysis":
                colour_bar(figure, axes, drawn, label)
            words = {"prior": "before", "analysis": "after"}[stage]
            axes.set_title(f"{name}, {words}, {words_of_level(field, level)}".rstrip(", "))
            if grid.y is None:
                continue
            mean = compared.prior_mean if stage == "prior" else compared.analysis_mean
            drawn = None
            for code, marker in ((USED, "o"), (WITHHELD, "s")):
                which = look.near(name, level, code)
                x, y = look.points(grid, which)
                shade = (compared.value - mean)[which]
                drawn = axes.scatter(
                    x, y, c=shade, marker=marker, s=22, edgecolors="white", linewidths=0.5, rasterized=True, **dots
                )
            if stage == "prior" and drawn is not None and departures.size:
                colour_bar(figure, axes, drawn, _with_unit("observation minus mean", look.unit(name)))
    return figure


@styled
def figure_places(look: Look) -> Figure:
    """What the filter did where: inflation, half-width, degrees of freedom, correction."""
    shown = [name for name in look.variables if any(f"{name}_{what}" in look.fields for what in PLACES)]
    kinds = [what for what in PLACES if any(f"{name}_{what}" in look.fields for name in shown)]
    grids = [Grid.of(look.fields[f"{name}_increment"]) for name in shown]
    caption = f"{look.about}. Of the filter at every place"
    caption += ", on the level of the largest increment." if _have_levels(look, shown, grids) else "."
    figure = new_figure(_height(grids, len(kinds)), "Inflation and reach" if len(kinds) > 1 else "The filter", caption)
    panels = _panels(figure, len(shown), len(kinds))
    for row, name, grid in zip(panels, shown, grids, strict=True):
        level = grid.level(look.fields[f"{name}_increment"])
        for axes, what in zip(row, kinds, strict=True):
            field = look.fields.get(f"{name}_{what}")
            if field is None:
                axes.set_axis_off()
                continue
            values = grid.values(field, level)
            low, high = np.nanmin(values), np.nanmax(values)
            if high - low < 0.01 * abs(high):  # a colour bar of digits that are all the same
                low, high = 0.95 * low, 1.05 * high
            colours = {"cmap": "viridis", "vmin": low, "vmax": high if high > low else low + 1.0}
            label = _with_unit(what.replace("_", " "), str(field.attrs.get("units", "")))
            _map(figure, axes, grid, values, colours, label)
            axes.set_title(f"{name}, {words_of_level(field, level)}".rstrip(", "))
    return figure


@styled
def figure_fit(look: Look) -> Figure:
    """Fit to the observations: predicted against observed, and innovations over their expected deviation."""
    compared = np.isin(look.table.codes, (USED, WITHHELD))
    kinds = [(name, kind, rows) for name, kind, rows in sources(look.table) if (rows & compared).any()]
    caption = (
        f"{look.about}. Left: mean of forecast and analysis against what was observed; a mean on the line fits. Right: "
        "innovation over the root of forecast variance plus error variance; wider than the curve says too little "
        "spread or error, narrower too much, to one side a bias."
    )
    figure = new_figure(1.7 + 3.1 * max(1, len(kinds)), "Fit to the observations", caption)
    panels = _panels(figure, max(1, len(kinds)), 2)
    if not kinds:
        for axes in panels.flat:
            axes.text(0.5, 0.5, "no observation was used", transform=axes.transAxes, ha="center")
    for (left, right), (name, kind, rows) in zip(panels, kinds, strict=False):
        used = np.flatnonzero(rows & (look.table.codes == USED))
        withheld = np.flatnonzero(rows & (look.table.codes == WITHHELD))
        _draw_pairs(left, look.departures.take(used), look.departures.take(withheld))
        left.set_xlabel(_with_unit(f"observed {name}", look.unit(name)))
        left.set_ylabel(_with_unit(f"predicted {name}", look.unit(name)))
        _draw_normalised(right, look.departures.take(np.concatenate([used, withheld])).normalised)
        right.set_xlabel(f"innovation of {name} / expected deviation (1)")
        left.set_title(kind)
    fullest = max(panels[:, 0], key=lambda axes: len(axes.get_legend_handles_labels()[1]))
    legend_below(figure, fullest, 4)
    return figure


def _draw_pairs(axes: Axes, used: Departures, withheld: Departures) -> None:
    every = np.concatenate([used.value, withheld.value, used.prior_mean, withheld.prior_mean])
    ends = [np.min(every), np.max(every)] if len(every) else [0, 1]
    axes.plot(ends, ends, color=INK, linewidth=0.9, label="exact fit")
    dots: Style = {"markersize": 5 if len(used.value) < 500 else 2, "rasterized": True}
    axes.plot(used.value, used.prior_mean, "o", color=GREY, mfc="none", alpha=0.6, label="forecast", **dots)
    axes.plot(used.value, used.analysis_mean, "o", color=BLUE, mew=0, alpha=0.8, label="analysis, used", **dots)
    if len(withheld.value):
        look: Style = {"color": ORANGE, "mew": 0, "label": "analysis, withheld"}
        axes.plot(withheld.value, withheld.analysis_mean, "s", **look, **dots)
    axes.grid()


def _draw_normalised(axes: Axes, values: np.ndarray) -> None:
    edges = np.linspace(-5, 5, 41 if len(values) > 200 else 21)
    counts = np.histogram(np.clip(values, -5, 5), edges)[0]
    density = counts / max(1, len(values)) / np.diff(edges)
    axes.stairs(density, edges, fill=True, color=BLUE, alpha=0.5)
    x = np.linspace(-5, 5, 201)
    axes.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color=INK, linewidth=1)
    words = f"mean {np.mean(values):.2f}, chi2 {np.mean(values**2):.2f}, {len(values)} rows" if len(values) else ""
    beyond = int(np.count_nonzero(np.abs(values) > 5))
    words += f"\n{beyond} beyond 5, in the last bars" if beyond else ""
    axes.text(0.02, 0.96, words, transform=axes.transAxes, va="top")
    axes.set(ylabel="density (1)", xlim=(-5, 5), ylim=(0, 1.2 * max(0.4, np.max(density))))
    axes.grid(axis="y")


@styled
def figure_rejected(look: Look) -> Figure:
    """Where rows were rejected and why, and how many; rows of other times are counted in the caption alone."""
    from matplotlib.ticker import MaxNLocator

    others = np.count_nonzero(look.table.codes == WINDOW)
    look = replace(look, table=look.table.take(look.table.codes != WINDOW))
    table = look.table
    reasons, counts = np.unique(table.reason, return_counts=True)
    order = sorted(range(len(reasons)), key=lambda k: (reasons[k] != "used", -counts[k]))
    caption = f"{look.about}. {len(table)} rows, {np.count_nonzero(table.used)} used."
    caption += f" {others} more {'are' if others > 1 else 'is'} outside the time window." if others else ""
    grid = Grid.of(look.fields[f"{look.variables[0]}_increment"])
    if grid.is_section and np.isnan(look.height).any():
        caption += " Rows without a level are counted, not drawn."
    figure = new_figure(1.4 + np.clip(5.5 * grid.aspect, 2.6, 5), "Rows used and rejected", caption)
    places, bars = figure.subplots(1, 2, width_ratios=(3, 2))
    names = np.unique(table.variable).tolist()
    shown, quantity = table.variable, "variable"
    if len(names) == 1:
        shown, quantity = table.value, _with_unit(f"observed {names[0]}", look.unit(names[0]))
    shades = dict(zip([k for k in order if reasons[k] != "used"], PALETTE[1:] * len(order), strict=False))
    for number, k in enumerate(order):
        which = table.reason == reasons[k]
        colour = shades.get(k, BLUE)
        used = reasons[k] == "used"
        x, y = look.points(grid, which)
        look_of: Style = {
            "color": colour,
            "markersize": 3 if used else 5,
            "alpha": 0.5 if used else 0.9,
            "rasterized": True,
        }
        if grid.y is None:
            x, y = (shown[which], x) if grid.is_column else (x, shown[which])
        places.plot(x, y, "o" if used else "X", mew=0, **look_of)
        bars.barh(number, counts[k], color=colour)
        bars.text(counts[k], number, f" {counts[k]}", va="center", fontsize=9)
    bars.set(yticks=range(len(order)), yticklabels=[reasons[k] for k in order], xlabel="rows (1)")
    bars.invert_yaxis()
    bars.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    bars.margins(x=0.18)
    if grid.y is not None:
        x, y = (np.array([np.min(along), np.max(along)]) for along in (grid.x, grid.y))
        places.fill([x[0], x[1], x[1], x[0]], [y[0], y[0], y[1], y[1]], color=PALE, alpha=0.4, zorder=0)
        places.set_xlim(
            max(places.get_xlim()[0], x[0] - np.ptp(x) / 4), min(places.get_xlim()[1], x[1] + np.ptp(x) / 4)
        )
        places.set_ylim(
            max(places.get_ylim()[0], y[0] - np.ptp(y) / 4), min(places.get_ylim()[1], y[1] + np.ptp(y) / 4)
        )
    grid.label(places, quantity)
    places.grid()
    return figure
