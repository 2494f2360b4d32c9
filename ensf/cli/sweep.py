"""``ensf sweep EXPERIMENT``: the same experiment with several values of its settings."""

from __future__ import annotations

from ensf.cli import figures, options
from ensf.runs import engines
from ensf.runs.files import expanded, replacing, write_text
from ensf.runs.owner import owned

__all__ = ["NOT_OF_RUN", "sweep"]

NOT_OF_RUN = ("--config", "--overwrite", "--resume", "--restart-every", "--keep-members")
"""Options of `ensf run` that a sweep has not."""

HELP = """usage: ensf sweep EXPERIMENT --SETTING VALUES [--SETTING VALUES ...] [options]

runs all combinations; finished ones are not run again. A setting is one of `ensf run EXPERIMENT --help`, or its first
and last words: --letkf.half_width 4,8,16. VALUES are separated by commas; 1:5 is 1,2,3,4,5.

  --members VALUES   ensemble sizes
  --methods NAMES    separated by commas; default: all of the experiment
  --seeds VALUES     default: those of the experiment
  --engine ENGINE    serial, processes:N (default: processes, one per processor), dask, dask:tcp://HOST:PORT, or mpi
  --format NAMES     of the figure: png (default), pdf, svg, separated by commas
  --dpi NUMBER       dots per inch of the figure, default 160
  --output DIR       default results/sweep_EXPERIMENT: gets sweep.nc (scores of all), a table, a figure
"""


def sweep(arguments: list[str]) -> int:
    """Run what a sweep lacks, then write its files."""
    from ensf import experiments, plot
    from ensf.dataset import netcdf
    from ensf.experiments._benchmark import sweep as sweeps

    if not arguments or arguments[0] in ("-h", "--help") or "--help" in arguments:
        print(HELP, end="")
        return 0 if arguments else 2
    if arguments[0].startswith("-"):
        raise ValueError(f"name an experiment: {', '.join(experiments.names())}, or the path of a page")
    experiment = experiments.load(arguments[0])
    words = _pairs(arguments[1:])
    among = list(experiment.methods)
    methods = options.named(words.pop("methods", ",".join(among)), among, "method", experiment.name)
    engine = words.pop("engine", "processes")
    engines.check(engine)
    drawing = figures.drawing({"format": words.pop("format", figures.FORMAT), "dpi": _dots(words.pop("dpi", ""))})
    directory = expanded(words.pop("output", f"results/sweep_{experiment.name}"))
    seeds = options.seeds(words.pop("seeds", ",".join(map(str, experiment.seeds))))
    names = {sweeps.full_name(short, experiment): text for short, text in words.items()}
    values = {name: sweeps.parsed(name, text, experiment) for name, text in names.items()}
    if not any(len(several) > 1 for several in values.values()):
        raise ValueError("a sweep needs a setting with several values: --members 10,20,40, or one of `ensf run --help`")
    plan = sweeps.Sweep(experiments.located(arguments[0]), methods, tuple(seeds), values)
    with owned(directory):
        cube = sweeps.run(plan, directory, engine)
        cube.attrs["command"] = options.command("sweep", *arguments)
        with replacing(directory / "sweep.nc") as path:
            netcdf.save(cube, path)
        write_text(directory / "sweep.md", f"# {cube.title}\n\n`{cube.command}`\n\n{sweeps.table(cube)}\n")
        drawing.save(plot.figure_sweep(cube), directory, "sweep")
        print(sweeps.table(cube))
        print(f"medians over {len(seeds)} seed{'s' * (len(seeds) > 1)}; files in {directory}")
        if (cube["past_burn_in"] == 0).any():
            print(options.within_burn_in(experiment))
    return 0


def _dots(text: str) -> int:
    try:
        return int(text or figures.DPI)
    except ValueError:
        raise ValueError(f"--dpi {text!r} is no whole number: give dots per inch, such as {figures.DPI}") from None


def _pairs(arguments: list[str]) -> dict[str, str]:
    """Options and their values."""
    words = [part for word in arguments for part in (word.split("=", 1) if word.startswith("--") else [word])]
    if len(words) % 2 or not all(word.startswith("--") for word in words[::2]):
        raise ValueError("options of a sweep come as --name value: see `ensf sweep --help`")
    pairs = {flag[2:]: value for flag, value in zip(words[::2], words[1::2], strict=True)}
    if len(pairs) < len(words) // 2:
        raise ValueError("an option is given twice: separate its values by commas")
    return pairs
