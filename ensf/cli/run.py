"""``ensf run EXPERIMENT``: one experiment into a folder."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ensf.cli import figures, options
from ensf.cli.options import Options
from ensf.cli.report import report
from ensf.runs import engines
from ensf.runs.files import expanded
from ensf.runs.owner import owned

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ensf.experiments import Configured
    from ensf.twin import Experiment

__all__ = ["parser", "run"]

HELP = """usage: ensf run EXPERIMENT [options]
       ensf run ./page.py [options]
       ensf run DIR --resume [--cycles N]

a twin experiment into a folder: a NetCDF file for each method and seed, a table, figures. `ensf list` has the
experiments, `ensf run EXPERIMENT --help` all settings of one; DIR is the folder of a run that is to go on, or to be
longer.
"""


def run(arguments: list[str]) -> int:
    """Run one experiment."""
    from ensf import experiments
    from ensf.runs import runner

    if arguments[:1] in (["-h"], ["--help"]):
        print(HELP, end="")
        return 0
    if not arguments or arguments[0].startswith("-"):
        raise ValueError(f"name an experiment: {', '.join(experiments.names())}")
    if arguments[0] not in experiments.names() and expanded(arguments[0]).is_dir():
        arguments = _of_folder(expanded(arguments[0]), arguments[1:])
    experiment = experiments.load(arguments[0])
    values = options.read(parser(experiment), arguments[1:])
    engines.check(values["engine"])
    figures.drawing(values)
    load = _configured(arguments[0], experiment, values)
    experiment, methods = load()
    seeds = options.seeds(values["seeds"])
    directory = expanded(values["output"] or Path("results") / experiment.name)
    if values["overwrite"] and values["resume"]:
        raise ValueError("--overwrite and --resume exclude each other: give one of them")
    if values["restart_every"] < 0:
        raise ValueError(f"--restart-every is {values['restart_every']}: give a number of cycles, or 0 for never")
    replaced = values["overwrite"] or values["resume"]
    if values["keep_members"] < 0:
        raise ValueError(f"--keep-members is {values['keep_members']}: give a number of cycles, or 0 for never")
    command = options.command("run", *arguments)
    how = {name: values[name] for name in ("resume", "restart_every", "engine", "keep_members")}
    if values["engine"] != "serial":
        how["load"] = load
    with owned(directory), _warnings_in_one_line():
        runner.check_free(directory, runner.outputs(directory, methods, seeds), replaced)
        records = runner.run(experiment, methods, seeds, directory, command, **how)
        print(runner.table(records))
        print(
            f"medians over {len(seeds)} seed{'s' * (len(seeds) > 1)}; ms = processor time per cycle; "
            f"files in {directory}"
        )
        if any(record.get("past_burn_in") == 0 for record in records):
            print(options.within_burn_in(experiment))
        return report([str(directory), f"--format={values['format']}", f"--dpi={values['dpi']}"])


def _of_folder(folder: Path, more: list[str]) -> list[str]:
    """The arguments that a folder was made with, and more.

    Raises
    ------
    ValueError
        If it holds no run, or those of several commands, or what is to be done is not to go on.
    """
    import shlex

    from ensf.runs.netcdf.writer import read

    commands, done = set(), 0
    for path in sorted(folder.glob("*_seed*.nc")):
        with read(path) as file:
            commands.add(str(file.attrs.get("command", "")))
            done = max(done, file.sizes.get("time", 0))
    made = [words for words in map(shlex.split, commands) if words[:2] == ["ensf", "run"] and len(words) > 2]
    if len(made) != 1 or len(commands) != 1:
        what = "runs of several commands" if made else "no run"
        raise ValueError(f"{folder} holds {what}: name the experiment, and the folder as --output")
    if "--resume" not in more:
        raise ValueError(f"{folder} holds a run: say --resume to go on, or name the experiment")
    own = [word for word in made[0][2:] if word not in ("--resume", "--overwrite")]
    if _cycles_of(own) < done:  # it was made longer since
        own += ["--cycles", str(done)]
    return [*own, "--output", str(folder), *more]


def _cycles_of(words: list[str]) -> int:
    """Number of cycles that a command asks for."""
    from ensf import experiments

    values = options.read(parser(experiments.load(words[0])), words[1:])
    return int(values["cycles"])


def parser(experiment: Experiment) -> ArgumentParser:
    """Options of one run, every setting of the experiment among them."""
    from ensf.runs.recipe.settings import of_experiment

    made = options.parser(f"ensf run {experiment.name}", experiment.summary)
    add = made.add_argument
    add("--methods", default=",".join(experiment.methods), help="names, separated by commas")
    add("--seeds", default=",".join(map(str, experiment.seeds)), help="numbers, separated by commas")
    add("--members", type=int, default=0, help="ensemble size of every method; 0 = each method's own")
    add("--output", default="", help="folder for the files; default results/EXPERIMENT")
    add("--overwrite", action="store_true", help="replace existing output")
    add("--resume", action="store_true", help="go on where a run was stopped or killed; keep what is finished")
    add("--engine", default="serial", help=options.ENGINE)
    add("--restart-every", type=int, default=1, help="cycles between restarts; 0 = only when the run is stopped")
    add("--keep-members", type=int, default=0, help="write all members every so many cycles; 0 = never")
    figures.add(made)
    taken = set(made.get_defaults().keys()) & set(experiment.methods)
    if taken:
        raise ValueError(f"a method of {experiment.name} has the name of an option, {min(taken)}: give it another")
    for name, value in of_experiment(experiment).items():
        add(f"--{name}", type=type(value), default=value)
    return made


def _configured(name: str, experiment: Experiment, values: Options) -> Configured:
    """Experiment with its settings overridden, and the chosen methods."""
    from ensf.experiments import Configured, located
    from ensf.runs.recipe.settings import of_experiment

    methods = options.named(values["methods"], list(experiment.methods), "method", experiment.name)
    changes = {key: values[key] for key in of_experiment(experiment)}
    return Configured(located(name), tuple(changes.items()), methods, values["members"])


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Within, a warning is one line without its place in the code."""

    def show(message: Warning | str, *place: object) -> None:
        print(f"ensf: warning: {message}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show  # type: ignore[assignment]
        yield
