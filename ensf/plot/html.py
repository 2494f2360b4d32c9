"""A report as one page of HTML that asks for nothing: figures and style are in it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version

__all__ = ["page"]

TITLES = {
    "innovations": "Innovations over cycles",
    "consistency": "Consistency over cycles",
    "rows": "Rows used and rejected over cycles",
    "parameters": "Parameters over cycles",
    "estimates": "Errors, offsets and biases over cycles",
    "forecasts": "Forecasts of the ensemble over cycles",
    "increment": "Increment",
    "spread": "Spread before and after",
    "places": "Inflation and reach",
    "fit": "Fit to the observations",
    "rejected": "Rows used and rejected",
    "rmse": "Error and spread",
    "ranks": "Rank histograms",
    "states": "Truth, analysis and error",
    "spectra": "Spectra",
}

STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; color: #222; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.about { color: #666; margin-top: .2rem; } nav a { margin-right: 1rem; color: #0072B2; }
img { max-width: 100%; height: auto; } pre { overflow-x: auto; background: #f5f5f5; padding: .8rem; font-size: .72rem; }
@media print { nav { display: none; } h2 { break-after: avoid; } img { break-inside: avoid; } }
"""


def page(title: str, pictures: Sequence[tuple[str, bytes]], words: str) -> str:
    """HTML of a report.

    Parameters
    ----------
    title : str
    pictures : sequence of (str, bytes)
        Name of each figure, and the figure as PNG.
    words : str
        A table in plain text, over the figures; nothing if empty.
    """
    names = [(name, TITLES.get(name, name.replace("_", " "))) for name, _ in pictures]
    links = " ".join(f'<a href="#{escape(name)}">{escape(words_of)}</a>' for name, words_of in names)
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, ensf {version('ensf')}"
    table = f'<h2 id="statistics">Statistics in observation space</h2>\n<pre>{escape(words)}</pre>\n' if words else ""
    figures = "\n".join(
        f'<h2 id="{escape(name)}">{escape(heading)}</h2>\n'
        f'<img alt="{escape(heading)}" src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
        for (name, heading), (_, picture) in zip(names, pictures, strict=True)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="icon" href="data:,">\n<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f'<h1>{escape(title)}</h1>\n<p class="about">{made}</p>\n<nav>{links}</nav>\n'
        f"{table}{figures}\n</body>\n</html>\n"
    )
