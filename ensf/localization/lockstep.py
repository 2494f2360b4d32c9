"""Places in groups that a processor works off in lockstep, and groups among threads.

A place has the same bits whatever stands beside it: lanes do not meet, and what a place lacks beside a larger one is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["grouped_by_size", "shared_out"]

SMALL = 64
"""Groups below which one thread is used."""


def grouped_by_size(count: np.ndarray, members: int, chosen: np.ndarray) -> np.ndarray:
    """Numbers of the chosen places ``(group, WIDTH)``, -1 where there is none.

    Parameters
    ----------
    count : (place,) array of int
        Observations of each; groups are of similar ones, and all have fewer than `members` or none has.
    members : int
    chosen : (place,) array of bool
    """
    from ensf.localization.lanes import WIDTH

    groups = []
    for kind in (count < members, count >= members):
        places = np.flatnonzero(chosen & kind)
        padded = np.full(-(-len(places) // WIDTH) * WIDTH, -1)
        padded[: len(places)] = places[np.argsort(count[places], kind="stable")]
        groups.append(padded.reshape(-1, WIDTH))
    return np.concatenate(groups)


def shared_out(loop: Callable[[np.ndarray], None], groups: np.ndarray) -> None:
    """Call a compiled loop that holds no lock with all groups, parts of them on each thread where they are many."""
    import numba

    threads = numba.get_num_threads()
    if threads == 1 or len(groups) < SMALL:
        loop(groups)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(loop, np.array_split(groups, 4 * threads)):
            pass
