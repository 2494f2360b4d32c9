"""Command line: ``ensf list``, ``run``, ``report``, ``analyse``, ``cycle`` and others; one command per file."""

from __future__ import annotations

import importlib
import sys
import tempfile
import traceback
from collections.abc import Sequence

from ensf.cli.options import nearest
from ensf.cli.streams import standard
from ensf.runs import interrupts
from ensf.runs.faults import own_place

__all__ = ["main"]

USAGE = """usage: ensf COMMAND

  ensf list [WORD]             experiments and their methods; those with the word; or schedules, samplers ...
  ensf run EXPERIMENT          run it into a folder: NetCDF files, summary.json, figures, a table
  ensf run EXPERIMENT --resume go on where a run was stopped or killed
  ensf run EXPERIMENT --help   every option and setting of that experiment
  ensf run ./page.py           an experiment of your own
  ensf sweep EXPERIMENT ...    the same for several values of its settings: scores as one array, a table, a figure
  ensf report DIR              draw a run, an analysis of files, or a cycled model from the files in DIR
  ensf report DIR --html       one page too, that can be sent; --animate, --format, --methods: see --help
  ensf analyse --prior ...     analyse the files of a forecast ensemble; --help says how
  ensf observe-one --prior ... what one observation would do: a map, for one radius or several
  ensf cycle CONFIG.toml       cycle an external model: forecasts by its command, analyses of its files
  ensf board                   tune and compare methods over experiments; continues where it stopped
  ensf new experiment NAME     write a page to start from; also a filter, a law, a sampler ...
  ensf watch DIR               scores of a run or of cycles while they go
  ensf completion SHELL        a script for bash, zsh, fish or tcsh: commands, experiments and options by Tab
  ensf doctor                  versions, threads, card, caches, and a self-test of some seconds
  ensf --version
"""

COMMANDS = {
    "list": "show:list_experiments",
    "run": "run:run",
    "report": "report:report",
    "analyse": "analyse:analyse",
    "observe-one": "observe_one:observe_one",
    "cycle": "cycle:cycle",
    "sweep": "sweep:sweep",
    "board": "board:compare",
    "new": "new:new",
    "watch": "watch:watch",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
}
"""File and function of each command; it is imported when it is called."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the `ensf` command; returns the exit status.

    Whatever happens is one sentence on standard error: 2 for what can be mended, with file and line if it is in a page
    of one's own, 1 for what was not foreseen, whose whole report is then in a file; 130, 143 and 129 after Ctrl-C,
    SIGTERM and SIGHUP.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    with standard() as output:
        code = _status(arguments)
        output.flush()
        if output.is_cut:
            print(f"ensf: standard output could not be written ({_sentence(output.failure)})", file=sys.stderr)
        return code or 2 * output.is_cut


def _status(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except KeyboardInterrupt:
        print("\nensf: interrupted; what is finished is kept: --resume goes on", file=sys.stderr)
        return interrupts.status()
    except UnicodeEncodeError as error:
        print(
            f"ensf: {ascii(error.object)} cannot be written in {error.encoding}, as this locale has it: "
            "set LC_ALL=C.UTF-8, or use other names",
            file=sys.stderr,
        )
        return 2
    except MemoryError:
        print("ensf: there is not enough memory: use a smaller problem, or another machine", file=sys.stderr)
        return 2
    except Exception as error:
        if place := own_place(error):
            print(f"ensf: {place}: {type(error).__name__}: {_sentence(error)}", file=sys.stderr)
            return 2
        from ensf.filters.lost import Lost

        if isinstance(error, (ValueError, OSError, ImportError, Lost)):
            print(f"ensf: {_sentence(error)}", file=sys.stderr)
            return 2
        print(f"ensf: unforeseen {type(error).__name__}: {_sentence(error)}; {_report(arguments)}", file=sys.stderr)
        return 1


def _sentence(error: BaseException | None) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split())


def _report(arguments: list[str]) -> str:
    """Where the whole report of an error lies."""
    words = [f"ensf {' '.join(arguments)}", sys.version, traceback.format_exc()]
    try:
        descriptor, path = tempfile.mkstemp(prefix="ensf-report-", suffix=".txt")
        with open(descriptor, "w", encoding="utf-8", errors="replace") as file:
            file.write("\n".join(words))
    except OSError as error:
        return f"its report could not be written ({error.strerror})"
    return f"its whole report is in {path}: please send it to the authors"


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
