"""``ensf report DIR``: figures, animations and one page of a run, an analysis of files, or a cycled model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ensf.cli import figures, files, options, progress
from ensf.runs.files import expanded
from ensf.runs.owner import owned

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

__all__ = ["parser", "report"]


def report(arguments: list[str]) -> int:
    """Draw a folder."""
    if arguments and arguments[0] in ("-h", "--help"):
        parser().print_help()
        return 0
    if not arguments or arguments[0].startswith("-") or (len(arguments) > 1 and not arguments[1].startswith("-")):
        raise ValueError("name one folder first: ensf report DIR, then options; ensf report --help lists them")
    values = options.read(parser(), arguments[1:])
    how = {"methods": files.words(values["methods"]), "html": values["html"], "follow": progress.follow}
    drawing = figures.drawing(values, **how)
    directory = expanded(arguments[0])
    with owned(directory, make=False):
        paths = drawing.animate(directory, values["animate"]) if values["animate"] else drawing.draw(directory)
        for path in paths:
            print(f"wrote {path}")
    return 0


def parser() -> ArgumentParser:
    """Options of the command."""
    made = options.parser(
        "ensf report DIR", "Figures of a run, an analysis of files, or a cycled model, into its folder"
    )
    add = made.add_argument
    figures.add(made)
    add("--methods", default="", help="of a run, separated by commas; all if not given")
    add("--animate", nargs="?", const="gif", default="", help="instead, maps one cycle after another: gif, or mp4")
    add("--html", action="store_true", help="also one page, report.html, with everything in it")
    return made
