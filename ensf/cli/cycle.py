"""``ensf cycle CONFIG.toml``: an external model, cycled."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ensf.cli import files, options, progress
from ensf.cli.options import Options
from ensf.runs import engines
from ensf.runs.files import expanded

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ensf.offline.cycle import Cycling

__all__ = ["cycle", "parser"]

HELP = {
    "command": "program and arguments that take a member from {input} to {output}",
    "model": "in place of a command, package.module:function, a function of a Dataset",
    "template": "folder whose content the directory of each member starts with",
    "by_time": "pattern of the files of earlier times that a forecast leaves beside {output}, one for each time",
    "timeout": "seconds for one forecast of a member; 0 = no limit",
    "retries": "how often a member that failed is run again",
    "jobs": "members at the same time",
    "initial": "restart file of each member at the start, with {member}",
    "observations": "table of each cycle, a path with {cycle} or {time}, or one for all cycles; or a list of such",
    "members": "ensemble size",
    "cycles": "number of cycles",
    "interval": "model time between observations; seconds if start is a date",
    "start": "model time of the initial files: a number or a date",
    "seed": "of the filter and of stochastic models",
    "memory": "memory.nc of an analysis before, with whose memory the filter starts",
    "min_members": "go on without failed members while there are this many; 0 = stop",
    "replace_failed": "copies of the analysis of the others, moved, take the places of failed members",
    "keep_cycles": "cycles whose member files are kept, counted from the last; 0 = all",
    "keep_every": "of the cycles before, each so many keep theirs too; 0 = none",
    "window": "seconds before and after the end of a cycle in which it takes observations; else half the interval",
    "check_time": "a member whose file has another time than the end of the cycle has failed",
    "mask": "NaN in the first member means that there is no data",
}


def cycle(arguments: list[str]) -> int:
    """Run all cycles of a configuration."""
    from ensf.offline import cycle as external
    from ensf.offline.statistics import STATISTICS, lines, read_statistics

    if arguments and arguments[0] in ("-h", "--help"):
        parser().print_help()
        return 0
    if not arguments or arguments[0].startswith("-"):
        raise ValueError("name one configuration: ensf cycle CONFIG.toml")
    config = expanded(arguments[0])
    values = options.read(files.of_any_command(parser()), ["--config", *arguments])
    engines.check(values["engine"])
    settings = _settings(values, config.parent)
    directory = config.parent / expanded(values["output"])
    if values["overwrite"] and values["resume"]:
        raise ValueError("--overwrite and --resume exclude each other: give one of them")
    if values["dry_run"]:
        how = {name: values[name] for name in ("resume", "overwrite", "memory_limit")}
        for line in external.plan(settings, directory, **how):
            print(line)
        return 0
    with progress.compilation_named():
        how = {name: values[name] for name in ("resume", "overwrite", "engine", "memory_limit")}
        records = external.run(settings, directory, **how)
    if (directory / STATISTICS).is_file():
        for line in lines(read_statistics(directory / STATISTICS)):
            print(line)
    print(f"{len(records)} cycles, {records[-1]['members']} of {settings.members} members; files in {directory}")
    return 0


def parser() -> ArgumentParser:
    """Options of the command."""
    from ensf.offline.cycle import Command, Cycling

    made = options.parser("ensf cycle CONFIG.toml", "Forecasts by a command, analyses of its files; resumable")
    defaults = {part.name: part.default for kind in (Cycling, Command) for part in fields(kind) if part.name in HELP}
    numbers: dict[str, object] = {
        "members": int,
        "cycles": int,
        "interval": float,
        "start": Any,
        "window": list[float],
        "observations": str | list[str],
    }
    for name, words in HELP.items():
        default = defaults[name]
        missing = default is MISSING or default == ()
        if default is False:
            made.add_argument(f"--{name}", action="store_true", help=words)
            continue
        kind = numbers.get(name, str if missing else type(default))
        nothing = 0 if kind in (int, float) else ""
        made.add_argument(f"--{name}", type=kind, default=nothing if missing else default, help=words)
    files.add(made)
    made.add_argument("--method", default="letsf", help="letsf, or a filter as Python writes it: RTPS(ETKF(), 0.3)")
    made.add_argument("--output", default="cycles", help="folder for the files")
    made.add_argument("--dry-run", action="store_true", help="check everything, write nothing, say what would be done")
    made.add_argument("--resume", action="store_true", help="go on where a run was stopped or killed")
    made.add_argument("--overwrite", action="store_true", help="replace a run in the folder")
    made.add_argument("--engine", default="serial", help=options.ENGINE)
    made.add_argument("--memory-limit", type=float, default=0.0, help=options.MEMORY)
    return made


def _settings(values: Options, folder: Path) -> Cycling:
    from ensf.offline.cycle import Command, Cycling

    if not values["command"] and not values["model"]:
        raise ValueError(f"the configuration has no command: give {HELP['command']}, or model")
    for name in ("initial", "observations", "members", "cycles", "interval"):
        if not values[name]:
            raise ValueError(f"the configuration has no {name}: give {HELP.get(name, 'a filter')}")
    parameters = files.parameters(values)
    own = tuple(name for name, one in parameters.items() if one.is_own)
    model = Command(words=own, **{part.name: values[part.name] for part in fields(Command) if part.name != "words"})
    window = values["window"]
    values = values | {"start": str(values["start"]), "window": None if window is None else tuple(window)}
    more = {part.name: values[part.name] for part in fields(Cycling) if part.name in HELP and part.name != "model"}
    more |= {"parameters": parameters, "folder": str(folder), **files.settings(values)}
    return Cycling(model=model, method=files.method(values["method"]), **more)
