"""Command line: ``ensf list``, ``run``, ``report``, ``analyse``, ``cycle``, ``board``; one command per file."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from ensf.cli.options import nearest

__all__ = ["main"]

USAGE = """usage: ensf COMMAND

  ensf list                    experiments and their methods, one line each
  ensf run EXPERIMENT          run it into a folder: NetCDF files, summary.json, figures, a table
  ensf run EXPERIMENT --resume go on where a run was stopped or killed
  ensf run EXPERIMENT --help   every option and setting of that experiment
  ensf report DIR              draw a run, an analysis of files, or a cycled model from the files in DIR
  ensf report DIR --html       one page too, that can be sent; --animate, --format, --methods: see --help
  ensf analyse --prior ...     analyse the files of a forecast ensemble; --help says how
  ensf observe-one --prior ... what one observation would do: a map, for one radius or several
  ensf cycle CONFIG.toml       cycle an external model: forecasts by its command, analyses of its files
  ensf board                   tune and compare methods over experiments; continues where it stopped
  ensf --version
"""

COMMANDS = {
    "list": "show:list_experiments",
    "run": "run:run",
    "report": "report:report",
    "analyse": "analyse:analyse",
    "observe-one": "observe_one:observe_one",
    "cycle": "cycle:cycle",
    "board": "board:compare",
}
"""File and function of each command; it is imported when it is called."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `ensf` command; returns the exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        print("\nensf: interrupted; what is finished is kept: --resume goes on", file=sys.stderr)
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
    if arguments[0] not in COMMANDS:
        raise ValueError(f"unknown command {arguments[0]!r}: the nearest is {nearest(arguments[0], COMMANDS)}")
    file, _, function = COMMANDS[arguments[0]].partition(":")
    return getattr(importlib.import_module(f"ensf.cli.{file}"), function)(arguments[1:])
