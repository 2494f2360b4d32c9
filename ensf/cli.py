"""Command line: ``ensf list``, ``ensf run EXPERIMENT``, ``ensf report DIR``, ``ensf board``."""

from __future__ import annotations

import difflib
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

__all__ = ["main"]

USAGE = """usage: ensf COMMAND

  ensf list                    experiments and their methods, one line each
  ensf run EXPERIMENT          run it into a folder: NetCDF files, summary.json, figures, a table
  ensf run EXPERIMENT --help   every option and setting of that experiment
  ensf report DIR              draw the figures again from the files in DIR
  ensf board                   tune and compare methods over experiments; continues where it stopped
  ensf --version
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `ensf` command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        print("\nensf: interrupted; every finished cycle is kept: go on with `ensf run ... --resume`", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"ensf: {error}", file=sys.stderr)
        return 2


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE, end="")
        return 0 if arguments else 2
    if arguments[0] == "--version":
        from importlib.metadata import version

        print(f"ensf {version('ensf')}")
        return 0
    commands: dict[str, Callable[[list[str]], int]] = {"list": _list, "run": _run, "report": _report, "board": _board}
    if arguments[0] not in commands:
        raise ValueError(f"unknown command {arguments[0]!r}: the nearest is {_nearest(arguments[0], commands)}")
    return commands[arguments[0]](arguments[1:])


def _nearest(word: str, known: Any) -> str:
    return ", ".join(difflib.get_close_matches(word, known, n=3, cutoff=0.3) or list(known))


def _list(arguments: list[str]) -> int:
    """Experiments and methods, one line each."""
    from ensf import experiments

    if arguments:
        raise ValueError(f"`ensf list` takes no argument, not {arguments[0]!r}")
    for name in experiments.names():
        experiment = experiments.load(name)
        print(f"{name}: {experiment.summary}")
        for key, method in experiment.methods.items():
            print(f"    {key}: {method.summary} ({method.members} members)")
    return 0


def _run(arguments: list[str]) -> int:
    """Run one experiment."""
    from ensf import experiments, runner

    if not arguments or arguments[0].startswith("-"):
        raise ValueError(f"name an experiment: {', '.join(experiments.names())}")
    experiment = experiments.load(arguments[0])
    options = _parse(experiment, arguments[1:])
    experiment, methods = _apply(experiment, options)
    seeds = _seeds(options["seeds"])
    directory = Path(options["output"] or Path("results") / experiment.name)
    if options["overwrite"] and options["resume"]:
        raise ValueError("--overwrite and --resume exclude each other: give one of them")
    if options["restart_every"] < 0:
        raise ValueError(f"--restart-every is {options['restart_every']}: give a number of cycles, or 0 for never")
    replaced = options["overwrite"] or options["resume"]
    runner.prepare(directory, runner.outputs(directory, methods, seeds), replaced)
    command = shlex.join(["ensf", "run", *arguments])
    warnings.showwarning = _show_warning  # type: ignore[assignment]
    how = {"resume": options["resume"], "restart_every": options["restart_every"]}
    records = runner.run(experiment, methods, seeds, directory, command, **how)
    print(runner.table(records))
    print(
        f"medians over {len(seeds)} seed{'s' * (len(seeds) > 1)}; ms = processor time per cycle; files in {directory}"
    )
    return _report([str(directory)])


def _parse(experiment: Any, arguments: list[str]) -> dict[str, Any]:
    """Options of one run, every setting of the experiment among them, as a flat mapping of dotted names."""
    from ensf.settings import leaves

    parser = _parser(f"ensf run {experiment.name}", experiment.summary)
    add = parser.add_argument
    add("--methods", default=",".join(experiment.methods), help="names, separated by commas")
    add("--seeds", default=",".join(map(str, experiment.seeds)), help="numbers, separated by commas")
    add("--members", type=int, default=0, help="ensemble size of every method; 0 = each method's own")
    add("--output", default="", help="folder for the files; default results/EXPERIMENT")
    add("--overwrite", action="store_true", help="replace existing output")
    add("--resume", action="store_true", help="go on where a run was stopped or killed; keep what is finished")
    add("--restart-every", type=int, default=1, help="cycles between restarts; 0 = only when the run is stopped")
    for name, value in _settings(experiment, leaves).items():
        add(f"--{name}", type=type(value), default=value)
    return _read(parser, arguments)


def _parser(program: str, description: str) -> Any:
    """Parser without options but `--config`."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(
        prog=program, description=description, parser_mode="toml", exit_on_error=False, allow_abbrev=False
    )
    parser.add_argument("--config", action="config", help="TOML file with any of the options below")
    return parser


def _read(parser: Any, arguments: list[str]) -> dict[str, Any]:
    """Options as a flat mapping of dotted names."""
    from jsonargparse import ArgumentError

    _check_names(parser, arguments)
    try:
        options = parser.parse_args(arguments)
    except ArgumentError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return {key: value for key, value in _flatten(options.as_dict()).items() if key != "config"}


def _settings(experiment: Any, leaves: Callable) -> dict[str, Any]:
    """Settings of an experiment: its own, and those of each method under the method's name."""
    own = {name: value for name, value in leaves(experiment).items() if not name.startswith("methods.")}
    free = {name: value for name, value in own.items() if name not in experiment.methods}
    return free | leaves(experiment.methods)


def _flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _check_names(parser: Any, arguments: list[str]) -> None:
    """Refuse unknown options with the nearest known ones, and config files that are not there."""
    known = [option for action in parser._actions for option in action.option_strings]
    for word in arguments:
        option = word.split("=", 1)[0]
        if option.startswith("--") and option not in known and option != "--print_config":
            raise ValueError(f"unknown option {option}: the nearest are {_nearest(option, known)}")
    for flag, value in pairwise([*arguments, ""]):
        if flag == "--config" and not Path(value).is_file():
            raise FileNotFoundError(f"config file {value!r} is not there: check the path after --config")


def _apply(experiment: Any, options: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Experiment with its settings overridden, and the chosen methods."""
    from ensf.settings import override

    chosen = [name.strip() for name in options["methods"].split(",") if name.strip()]
    for name in chosen:
        if name not in experiment.methods:
            raise ValueError(
                f"unknown method {name!r} of {experiment.name}: the nearest are {_nearest(name, experiment.methods)}"
            )
    if not chosen:
        raise ValueError(f"--methods is empty: name some of {', '.join(experiment.methods)}")
    methods = override(experiment.methods, options)
    if options["members"]:
        methods = {name: replace(method, members=options["members"]) for name, method in methods.items()}
    own = {name: value for name, value in options.items() if name not in ("methods", "seeds", "members", "output")}
    experiment = override(replace(experiment, methods=methods), own)
    return experiment, {name: methods[name] for name in chosen}


def _seeds(text: str, option: str = "--seeds") -> list[int]:
    try:
        seeds = [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise ValueError(f"{option} {text!r} is not a list of whole numbers such as 1,2,3") from None
    if not seeds or min(seeds) < 0:
        raise ValueError(f"{option} {text!r} needs at least one number, none of them negative")
    return seeds


def _show_warning(message: Any, category: Any, *rest: Any) -> None:
    print(f"ensf: warning: {message}", file=sys.stderr)


def _report(arguments: list[str]) -> int:
    """Draw the figures of a folder."""
    from ensf import plot

    if len(arguments) != 1:
        raise ValueError("name one folder: ensf report DIR")
    for path in plot.report(Path(arguments[0])):
        print(f"wrote {path}")
    return 0


def _board(arguments: list[str]) -> int:
    """Run what a board lacks, then write its files."""
    from ensf import board, plot, runner

    options = _board_options(arguments)
    plan = board.Plan(
        experiments=_chosen(options["experiments"], board.EXPERIMENTS, "experiment"),
        methods=_chosen(options["methods"], board.METHODS, "method"),
        seeds=tuple(_seeds(options["seeds"])),
        tuning_seeds=tuple(_seeds(options["tuning_seeds"], "--tuning-seeds")),
        **{name: options[name] for name in ("trials", "cycles", "tuning_cycles")},
    )
    if options["jobs"] < 0:
        raise ValueError(f"--jobs is {options['jobs']}: give a number of processes, or 0 for one per processor")
    directory = Path(options["output"])
    runner.prepare(directory, [], replace=True)
    records = board.run(plan, directory, options["jobs"] or os.cpu_count() or 1)
    board.write(records, plan, directory, shlex.join(["ensf", "board", *arguments]))
    plot.figure_board(*board.heat(records)).savefig(directory / "heatmap.png", dpi=120)
    print((directory / "board.md").read_text(), end="")
    return 0


def _board_options(arguments: list[str]) -> dict[str, Any]:
    from ensf import board

    parser = _parser("ensf board", "Experiments x methods x seeds, each method tuned on other seeds; resumable")
    add, plan = parser.add_argument, board.Plan()
    for name in ("experiments", "methods", "seeds", "tuning_seeds"):
        default = ",".join(map(str, getattr(plan, name)))
        add(f"--{name.replace('_', '-')}", default=default, help="separated by commas")
    add("--trials", type=int, default=plan.trials, help="settings tried for each method that is tuned")
    add("--cycles", type=int, default=plan.cycles, help="most cycles of a scored run; 0 = each experiment's own")
    add("--tuning-cycles", type=int, default=plan.tuning_cycles, help="most cycles of a tuning run")
    add("--jobs", type=int, default=0, help="processes, of one thread each; 0 = one per processor")
    add("--output", default="results/board", help="folder for the files; finished runs in it are kept")
    return _read(parser, arguments)


def _chosen(text: str, known: Sequence[str], what: str) -> tuple[str, ...]:
    """Names separated by commas, each of them known."""
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r} of the board: the nearest are {_nearest(name, known)}")
    if not names:
        raise ValueError(f"--{what}s is empty: name some of {', '.join(known)}")
    return names
