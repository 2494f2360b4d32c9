"""Formats of figures and dots per inch, the same options in every command that draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ensf.cli import files
from ensf.cli.options import Options

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser

    from ensf.dataset.pipeline import Follow
    from ensf.plot import Report

__all__ = ["DPI", "FORMAT", "add", "drawing"]

FORMAT, DPI = "png", 160


def add(parser: ArgumentParser) -> None:
    """Options of a command that writes figures."""
    parser.add_argument("--format", default=FORMAT, help="of figures: png, pdf, svg, separated by commas")
    parser.add_argument("--dpi", type=int, default=DPI, help="dots per inch of figures")


def drawing(
    values: Options, *, methods: tuple[str, ...] = (), html: bool = False, follow: Follow | None = None
) -> Report:
    """How figures are drawn: made before anything is run, so that a format that there is not costs no run.

    Raises
    ------
    ValueError
        If there is no such format, or the number of dots makes no sense.
    """
    from ensf.dataset.pipeline import quiet
    from ensf.plot import Report

    return Report(files.words(values["format"]), values["dpi"], methods, html, follow or quiet)
