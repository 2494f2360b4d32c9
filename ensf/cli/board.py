"""``ensf board``: methods compared over experiments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ensf.cli import figures, options
from ensf.runs import engines
from ensf.runs.files import expanded
from ensf.runs.owner import owned

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["compare", "parser"]


def compare(arguments: list[str]) -> int:
    """Run what a board lacks, then write its files."""
    from ensf import plot
    from ensf.experiments import _benchmark as board

    values = options.read(parser(), arguments)
    plan = board.Plan(
        experiments=_pages(values["experiments"]),
        methods=options.named(values["methods"], board.METHODS, "method"),
        seeds=tuple(options.seeds(values["seeds"])),
        tuning_seeds=tuple(options.seeds(values["tuning_seeds"], "--tuning-seeds")),
        trials=values["trials"],
        cycles=values["cycles"],
        tuning_cycles=values["tuning_cycles"],
    )
    engines.check(values["engine"])
    drawing = figures.drawing(values)
    directory = expanded(values["output"])
    with owned(directory):
        rows = board.run(plan, directory, values["engine"])
        drawn = drawing.save(plot.figure_board(*board.heat_map(rows)), directory, "heatmap")
        board.write(rows, plan, directory, options.command("board", *arguments), drawn[0].name)
        print((directory / "board.md").read_text(encoding="utf-8"), end="")
    return 0


def _pages(text: str) -> tuple[str, ...]:
    """Names of experiments of the board, and paths of pages of one's own."""
    from ensf import experiments
    from ensf.experiments import _benchmark as board

    words = [word.strip() for word in text.split(",")]
    names = options.named(text, [*board.EXPERIMENTS, *(w for w in words if w.endswith(".py"))], "experiment")
    return tuple(dict.fromkeys(experiments.located(name) for name in names))


def parser() -> ArgumentParser:
    """Options of a board."""
    from ensf.experiments import _benchmark as board

    made = options.parser("ensf board", "Experiments x methods x seeds, each method tuned on other seeds; resumable")
    add = made.add_argument
    plan = board.Plan()
    for name in ("experiments", "methods", "seeds", "tuning_seeds"):
        default = ",".join(map(str, getattr(plan, name)))
        among = ", or the paths of pages of your own" if name == "experiments" else ""
        add(f"--{name.replace('_', '-')}", default=default, help=f"separated by commas{among}")
    add("--trials", type=int, default=plan.trials, help="settings tried for each method that is tuned")
    add("--cycles", type=int, default=plan.cycles, help="cut scored runs after so many cycles; 0 = not at all")
    add("--tuning-cycles", type=int, default=plan.tuning_cycles, help="cut tuning runs after so many cycles")
    add("--engine", default="processes", help=options.ENGINE)
    add("--output", default="results/board", help="folder for the files; finished runs in it are not run again")
    figures.add(made)
    return made
