"""What one is told while waiting: a bar with an estimate of time, and why the first call takes longer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["compilation_named", "follow", "follow_until"]

Step = TypeVar("Step")
Follow = Callable[[Iterable[Any], str], Iterable[Any]]
"""Steps and what they do; the same steps, with a bar."""


def follow(steps: Iterable[Step], what: str) -> Iterable[Step]:
    """The steps, with a bar on a terminal if they take longer than a second."""
    from tqdm import tqdm

    return tqdm(steps, desc=what, file=sys.stderr, disable=None, delay=1, leave=False)


def follow_until(interrupted: Callable[[], bool]) -> Follow:
    """`follow` until an interrupt, also one whose exception a library has swallowed."""

    def until(steps: Iterable[Step], what: str) -> Iterator[Step]:
        for step in follow(steps, what):
            yield step
            if interrupted():
                raise KeyboardInterrupt

    return until


@contextmanager
def compilation_named() -> Iterator[None]:
    """Within, say so on a terminal when code is compiled that no cache has."""
    if not sys.stderr.isatty():
        yield
        return
    from numba.core import event

    class Once(event.Listener):
        told = False

        def on_start(self, event: object) -> None:
            if not self.told:
                self.told = True
                print("compiling, once", file=sys.stderr, flush=True)

        def on_end(self, event: object) -> None:
            pass

    with event.install_listener("numba:compile", Once()):
        yield
