"""``ensf analyse``: the files of a forecast ensemble and a table of observations in, analysis files out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ensf.cli import files, options, progress
from ensf.cli.options import Options
from ensf.runs import engines
from ensf.runs.interrupts import noticed, status

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ensf.offline import Offline

__all__ = ["analyse", "parser"]

Follow = Callable[[Iterable[Any], str], Iterable[Any]]
REQUIRED = ("prior", "observations", "output")


def analyse(arguments: list[str]) -> int:
    """Analyse files, or with ``--dry-run`` check them and say what would be done."""
    if not arguments or arguments[0] in ("-h", "--help"):
        parser().print_help()
        return 0 if arguments else 2
    values = options.read(files.of_any_command(parser()), arguments)
    engines.check(values["engine"])
    for name in REQUIRED:
        if not values[name]:
            raise ValueError(f"--{name} is not given: say ensf analyse --help")
    try:
        with noticed() as interrupted, progress.compilation_named():
            follow = progress.follow_until(interrupted)
            command = options.command("analyse", *arguments)
            code = _dry_run(values, follow) if values["dry_run"] else _run(values, command, follow)
            _stop_if(interrupted)
            return code
    except KeyboardInterrupt:
        print("\nensf: interrupted; the analysis is there as a whole, or not at all", file=sys.stderr)
        return status()


def parser() -> ArgumentParser:
    """Options of the command."""
    made = options.parser("ensf analyse", "The files of a forecast ensemble and a table in, analysis files out")
    add = made.add_argument
    add("--prior", nargs="+", default=[], help="files of the forecast, or patterns such as 'forecast_*.nc'")
    add("--observations", nargs="+", default=[], help="tables of observations, CSV or NetCDF, or patterns")
    add("--by-time", action="store_true", help="each name or pattern of --prior is the files of one time")
    add("--method", default="letsf", help="letsf, or a filter: LETKF(Localization(Sphere(), 500.0))")
    add("--output", default="", help="folder for the files")
    add("--memory", default="", help="memory.nc that the analysis before has left, for filters that remember something")
    files.add(made)
    add("--member-dim", default="realization", help="dimension that counts the members in one file")
    add("--stages", default="analysis", help="forecast, preassim, postassim, analysis: whose members are written")
    add("--statistics", default="", help="stages of which mean and spread are written")
    add("--seed", type=int, default=1, help="of the filter")
    add(
        "--window",
        type=Any,
        default="",
        help="times of observations that are used: 6h around the forecast, START/END, or all",
    )
    add("--mask", action="store_true", help="NaN in the first member means that there is no data")
    add("--dry-run", action="store_true", help="check everything, write nothing, say what would be done")
    add("--overwrite", action="store_true", help="replace files that are there")
    add("--engine", default="serial", help=options.ENGINE)
    add("--memory-limit", type=float, default=0.0, help=options.MEMORY)
    return made


def _run(values: Options, command: str, follow: Follow) -> int:
    import numpy as np

    from ensf.offline.estimates import unseen_reference
    from ensf.offline.observations import summary
    from ensf.offline.statistics import lines

    offline = _settings(values)
    rng = np.random.default_rng(_seed(values["seed"]))
    prior, observations = (files.several(values[name]) for name in ("prior", "observations"))
    analysis = offline.analyse(
        prior,
        observations,
        values["output"],
        rng=rng,
        memory=values["memory"] or None,
        overwrite=values["overwrite"],
        command=command,
        follow=follow,
        engine=values["engine"],
    )
    table = analysis.info["table"]
    if not table.used.any():
        moved = [name for name, one in offline.parameters.items() if one.walk or one.min_spread]
        but = f", but for walk and spread of {', '.join(moved)}" if moved else ""
        print(f"ensf: {summary(table)}: the analysis is the forecast{but}", file=sys.stderr)
    if analysis.info.get("waited"):
        print(
            "ensf: the observations surprise and determine too little of the state: they wait for the next analysis "
            "with this memory, and this one is the forecast (DeferredAnalysis)",
            file=sys.stderr,
        )
    if unseen := unseen_reference(analysis.info):
        print(f"ensf: {unseen}", file=sys.stderr)
    for line in lines(analysis.info["statistics"]):
        print(line)
    used = f", {summary(table)}" if table.used.any() else ""
    print(f"{analysis.members} members{used}; files in {values['output']}")
    return 0


def _dry_run(values: Options, follow: Follow) -> int:
    from ensf.offline import names
    from ensf.offline.memory import keepers
    from ensf.offline.observations import summary

    offline = _settings(values)
    prior, observations = (files.several(values[name]) for name in ("prior", "observations"))
    job = offline.prepare(
        prior,
        observations,
        values["output"],
        memory=values["memory"] or None,
        overwrite=values["overwrite"],
        follow=follow,
    )
    job.check_method(_seed(values["seed"]))
    for line in job.lines(names(job.source, offline.stages, offline.statistics, bool(keepers(job.pipeline.method)))):
        print(line)
    if not job.observed.table.used.any():
        print(f"ensf: {summary(job.observed.table)}: the analysis would be the forecast", file=sys.stderr)
    return 0


def _settings(values: Options) -> Offline:
    from ensf.offline import Offline

    for name, kind, advice in (("window", str, "6h, START/END or all"), ("by_time", bool, "true or false")):
        if not isinstance(values[name], kind):
            raise ValueError(f"{name} is {values[name]!r}, which is of ensf cycle: for ensf analyse give {advice}")
    parameters = files.parameters(values)
    for name, one in parameters.items():
        if one.is_own:
            raise ValueError(
                f"parameters.{name} has a value to start from, which is for ensf cycle: leave value and spread out, "
                "for a parameter that is a variable of the files"
            )
    return Offline(
        parameters={name: one.parameter for name, one in parameters.items()},
        method=files.method(values["method"]),
        member_dim=values["member_dim"],
        by_time=values["by_time"],
        mask=values["mask"],
        window=values["window"].strip(),
        stages=files.words(values["stages"]),
        statistics=files.words(values["statistics"]),
        memory_limit=values["memory_limit"],
        **files.settings(values),
    )


def _seed(seed: int) -> int:
    if seed < 0:
        raise ValueError(f"--seed is {seed}: give a whole number, not negative")
    return seed


def _stop_if(interrupted: Callable[[], bool]) -> None:
    if interrupted():
        raise KeyboardInterrupt
