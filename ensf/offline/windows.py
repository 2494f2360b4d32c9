"""Which times around that of a forecast count as its own: a window [start, end).

An observation on the common edge of two windows belongs to the later one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ensf.offline.valid_times import times_of, valid_time

__all__ = ["Span", "window_of"]

Span = tuple[np.datetime64, np.datetime64]
SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 86400}
DEFAULT = "6h"


def window_of(text: str, paths: Sequence[Path]) -> Span | None:
    """The window of a forecast; None if every time counts.

    Parameters
    ----------
    text : str
        ``START/END`` in ISO 8601; a duration such as ``6h``, centred at the time of the files; ``all``; or nothing,
        which is six hours if the files say what time it is, else ``all``.
    paths : sequence of Path
        Files of the forecast, which are of the same time.

    Raises
    ------
    ValueError
        If the text is none of these, or needs the one time of the files, and they do not say it or have several.
    """
    if text == "all":
        return None
    if "/" in text:
        return _interval(text)
    width = _duration(text or DEFAULT)
    time = valid_time(paths[0])
    if time is not None:
        return time - width // 2, time - width // 2 + width
    if text:
        times = times_of(paths[0])
        what = "does not say what time it is" if times is None or times.size == 1 else f"has {times.size} times"
        raise ValueError(f"{paths[0]} {what}, so that window {text!r} has no centre: give START/END, or all")
    return None


def _interval(text: str) -> Span:
    start, _, end = text.partition("/")
    try:
        window = np.datetime64(start.strip(), "us"), np.datetime64(end.strip(), "us")
    except ValueError:
        raise ValueError(f"window {text!r} is no START/END: give two dates such as 2024-01-31T09:00") from None
    if not window[0] < window[1]:
        raise ValueError(f"window {text!r} is empty: give START before END")
    return window


def _duration(text: str) -> np.timedelta64:
    match = re.fullmatch(r"(\d+)\s*(s|min|h|d)", text.strip())
    if match is None or int(match[1]) == 0:
        raise ValueError(f"window {text!r} cannot be read: give a duration such as 6h, START/END, or all")
    return np.timedelta64(int(match[1]) * SECONDS[match[2]] * 10**6, "us")
