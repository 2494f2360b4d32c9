"""Short texts about records of arrays: a title, and one line per fact, as text and as HTML for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

__all__ = ["as_html", "as_text", "span"]


def as_text(title: str, facts: Sequence[Sequence[str]]) -> str:
    """Title and facts, their words one below another."""
    width = max((len(words[0]) for words in facts), default=0)
    return "\n".join([title, *(f"    {words[0]:<{width}}  {', '.join(filter(None, words[1:]))}" for words in facts)])


def as_html(title: str, facts: Sequence[Sequence[str]]) -> str:
    """Title and facts as a table."""
    rows = ("".join(f"<td style='text-align: left'>{escape(word)}</td>" for word in words) for words in facts)
    return f"<b>{escape(title)}</b><table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def span(values: np.ndarray) -> str:
    """Smallest and largest number or time, those that are missing left out."""
    if values.dtype.kind == "M":
        times = np.datetime_as_string(values[~np.isnat(values)].astype("datetime64[s]"))
        return " to ".join(dict.fromkeys((min(times), max(times)))) if len(times) else "no time"
    numbers = values[np.isfinite(values)]
    return " to ".join(dict.fromkeys((f"{numbers.min():.6g}", f"{numbers.max():.6g}"))) if len(numbers) else "no value"
