"""Ctrl-C and SIGTERM: noticed though a library swallows the exception, or kept until what is under way is stored."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["answered", "deferred", "noticed"]

STOPPING = (signal.SIGINT, signal.SIGTERM)

Answer = Callable[[int, FrameType | None], None] | signal.Handlers


@contextmanager
def answered(answer: Answer, numbers: Sequence[signal.Signals] = STOPPING) -> Iterator[Callable[[], None]]:
    """Within, Ctrl-C and SIGTERM get another answer; the yielded function gives them the former one back.

    Outside the main thread nothing changes. Processes that are started while signals are ignored never hear them.

    Parameters
    ----------
    answer : callable or signal.Handlers
        As `signal.signal` takes it.
    numbers : sequence of signal.Signals
        Other signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    former = {number: signal.signal(number, answer) for number in numbers}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    try:
        yield restore
    finally:
        restore()


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Within, Ctrl-C and SIGTERM only make the yielded function return True; a second one acts at once.

    Outside the main thread nothing changes, and the function returns False.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        restore()

    with answered(receive) as restore:
        yield lambda: bool(received)


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """Within, SIGTERM raises KeyboardInterrupt as Ctrl-C does; the yielded function tells whether either came.

    Outside the main thread nothing changes, and the function returns False.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        raise KeyboardInterrupt

    with answered(receive):
        yield lambda: bool(received)
