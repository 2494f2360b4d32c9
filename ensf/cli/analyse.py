"""``ensf analyse``: the files of a forecast ensemble and a table of observations in, analysis files out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ensf.cli import files, options, progress
from ensf.cli.options import Options
from ensf.runs.interrupts import noticed

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ensf.offline import Offline

__all__ = ["analyse"]

Follow = Callable[[Iterable[Any], str], Iterable[Any]]
REQUIRED = ("prior", "observations", "output")


def analyse(arguments: list[str]) -> int:
    """Analyse files, or with ``--dry-run`` check them and say what would be done."""
    if not arguments or arguments[0] in ("-h", "--help"):
        _parser().print_help()
        return 0 if arguments else 2
    values = options.read(_parser(), arguments)
    for name in REQUIRED:
        if not values[name]:
            raise ValueError(f"--{name} is not given: say ensf analyse --help")
    try:
        with noticed() as interrupted, progress.compilation_named():
            follow = progress.follow_until(interrupted)
            command = shlex.join(["ensf", "analyse", *arguments])
            code = _dry_run(values, follow) if values["dry_run"] else _run(values, command, follow)
            _stop_if(interrupted)
            return code
    except KeyboardInterrupt:
        print("\nensf: interrupted; the analysis is there as a whole, or not at all", file=sys.stderr)
        return 130


def _parser() -> ArgumentParser:
    parser = options.parser("ensf analyse", "The files of a forecast ensemble and a table in, analysis files out")
    add = parser.add_argument
    add("--prior", nargs="+", type=str, default=[], help="files of the forecast, or patterns such as 'forecast_*.nc'")
    add("--observations", default="", help="table of observations, CSV or NetCDF")
    add("--method", default="letsf", help="letsf, or a filter: LETKF(Localization(Sphere(), 500.0))")
    add("--output", default="", help="folder for the files")
    files.add(parser)
    add("--member-dim", default="realization", help="dimension that counts the members in one file")
    add("--stages", default="analysis", help="forecast, preassim, postassim, analysis: whose members are written")
    add("--statistics", default="", help="stages of which mean and spread are written")
    add("--seed", type=int, default=1, help="of the filter")
    add("--mask", action="store_true", help="NaN in the first member means that there is no data")
    add("--dry-run", action="store_true", help="check everything, write nothing, say what would be done")
    add("--overwrite", action="store_true", help="replace files that are there")
    return parser


def _run(values: Options, command: str, follow: Follow) -> int:
    import numpy as np

    from ensf.offline.observations import counts
    from ensf.offline.statistics import lines

    offline = _settings(values)
    rng = np.random.default_rng(_seed(values["seed"]))
    paths = {name: values[name] for name in ("prior", "observations", "output")}
    analysis = offline.analyse(**paths, rng=rng, overwrite=values["overwrite"], command=command, follow=follow)
    table = analysis.info["table"]
    if not table.used.any():
        print("no observation can be used: the analysis is the forecast")
    for line in lines(analysis.info["statistics"]):
        print(line)
    rejected = {reason: number for reason, number in counts(table).items() if reason != "used"}
    beside = "".join(f", {number} {reason}" for reason, number in rejected.items())
    print(f"{len(analysis.ensemble)} members, {table.used.sum()} of {len(table)} observations used{beside}; ", end="")
    print(f"files in {values['output']}")
    return 0


def _dry_run(values: Options, follow: Follow) -> int:
    from ensf.offline import names

    offline = _settings(values)
    _seed(values["seed"])
    paths = {name: values[name] for name in ("prior", "observations", "output")}
    job = offline.prepare(**paths, overwrite=values["overwrite"], follow=follow)
    for line in job.lines(names(job.source, offline.stages, offline.statistics)):
        print(line)
    return 0


def _settings(values: Options) -> Offline:
    from ensf.offline import Offline

    return Offline(
        method=files.method(values["method"]),
        member_dim=values["member_dim"],
        mask=values["mask"],
        stages=files.words(values["stages"]),
        statistics=files.words(values["statistics"]),
        **files.settings(values),
    )


def _seed(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"--seed is {seed}: give a whole number, not negative")
    return seed


def _stop_if(interrupted: Callable[[], bool]) -> None:
    if interrupted():
        raise KeyboardInterrupt
