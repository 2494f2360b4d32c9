"""``ensf observe-one``: what one observation at a place would do, for one radius or several side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ensf.cli import figures, files, options, progress
from ensf.cli.options import Options

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["observe_one", "parser"]

FILE = "observe_one.nc"


def observe_one(arguments: list[str]) -> int:
    """Compute it, write a NetCDF file and a figure, and say how far it reached."""
    if not arguments or arguments[0] in ("-h", "--help"):
        parser().print_help()
        return 0 if arguments else 2
    values = options.read(files.of_any_command(parser()), arguments)
    for name in ("prior", "variable", "at", "output"):
        if not values[name]:
            raise ValueError(f"--{name} is not given: say ensf observe-one --help")
    with progress.compilation_named():
        return _run(values)


def parser() -> ArgumentParser:
    """Options of the command."""
    made = options.parser("ensf observe-one", "What one observation would do to a forecast ensemble in files")
    add = made.add_argument
    add("--prior", nargs="+", default=[], help="files of the forecast, or patterns such as 'forecast_*.nc'")
    add("--variable", default="", help="what is observed")
    add("--at", default="", help="where: lat=47.5,lon=4, or x=...,y=...; and z=... or depth=... on levels")
    add("--error", type=float, default=0.0, help="standard deviation of its error")
    add("--innovation", type=Any, default="", help="observation minus mean; by default one standard deviation of it")
    add("--radius", nargs="+", type=float, default=[], help="half-widths of the localization, side by side: 300 600")
    add("--method", default="letsf", help="a filter; by default LETSF with a first localization from the coordinates")
    add("--output", default="observe_one", help="folder for the file and the figures")
    files.add_state(made)
    add("--member-dim", default="realization", help="dimension that counts the members in one file")
    add("--mask", action="store_true", help="NaN in the first member means that there is no data")
    add("--seed", type=int, default=1, help="of the filter")
    figures.add(made)
    add("--overwrite", action="store_true", help="replace files that are there")
    return made


def _run(values: Options) -> int:
    import numpy as np

    from ensf.dataset.netcdf import save
    from ensf.offline.observe_one import ObserveOne
    from ensf.offline.staging import check_free
    from ensf.plot import figure_observe_one
    from ensf.runs.files import clear_unfinished, expanded, replacing
    from ensf.runs.owner import owned

    if values["seed"] < 0:
        raise ValueError(f"--seed is {values['seed']}: give a whole number, not negative")
    drawing = figures.drawing(values)
    method = files.method(values["method"])
    one = ObserveOne(
        variable=values["variable"],
        at=_place(values["at"]),
        error=values["error"],
        innovation=_number(values["innovation"]),
        radii=tuple(values["radius"]),
        method=method,
        **files.state(values),
        member_dim=values["member_dim"],
        mask=values["mask"],
    )
    folder = expanded(values["output"])
    with owned(folder):
        check_free(folder, [FILE], 0, values["overwrite"])
        result = one.compute(files.several(values["prior"]), np.random.default_rng(values["seed"]), progress.follow)
        clear_unfinished(folder / FILE)
        with replacing(folder / FILE) as hidden:
            save(result, hidden)
        print(f"wrote {folder / FILE}")
        for name in [str(name) for name in result.data_vars if str(name).endswith("_increment")]:
            variable = name.removesuffix("_increment")
            for path in drawing.save(figure_observe_one(result, variable), folder, f"observe_one_{variable}"):
                print(f"wrote {path}")
    for line in _lines(result, values["variable"]):
        print(line)
    return 0


def _place(text: str) -> dict[str, float]:
    try:
        pairs = (part.split("=") for part in files.words(text))
        return {name.strip(): float(value) for name, value in pairs}
    except ValueError:
        raise ValueError(
            f"--at {text!r} is no place: write it as lat=47.5,lon=4, x=1000,y=2000,z=50 or depth=30"
        ) from None


def _number(value: object) -> float | None:
    try:
        return None if value == "" else float(str(value))
    except ValueError:
        raise ValueError(f"--innovation {value!r} is no number: give one, in the unit of the variable") from None


def _lines(result: Any, variable: str) -> list[str]:
    """Innovation, and per radius how large and wide the increment is, and how much of the spread goes."""
    about = result.attrs
    unit = f" {about['observed_units']}".rstrip()
    lines = [
        f"innovation {about['innovation']:.3g}{unit}, error {about['error']:.3g}{unit}, "
        f"spread there {about['prior_spread']:.3g}{unit}"
    ]
    lines.append(f"distance: {about['distance']}")
    if f"{variable}_increment" not in result:
        return lines
    change = 1 - result[f"{variable}_analysis_spread"] / result[f"{variable}_prior_spread"]
    reach = f" {result['radius'].attrs.get('units', '')}".rstrip()
    for k, radius in enumerate(result["radius"].values):
        increment, less = result[f"{variable}_increment"].isel(radius=k), 100 * change.isel(radius=k)
        low, high, size = float(increment.min()), float(increment.max()), abs(increment)
        where = f"half-width {radius:.4g}{reach}" if math.isfinite(radius) else "everywhere"
        lines.append(
            f"{where}: increment {low:.3g} to {high:.3g}{unit}, over a tenth of that at "
            f"{int((size > 0.1 * size.max()).sum())} of {int(size.count())} values, spread less by up to "
            f"{float(less.max()):.3g} %, on average {float(less.mean()):.3g} %"
        )
    return lines
