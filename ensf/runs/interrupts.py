"""Ctrl-C, SIGTERM and SIGHUP: noticed though a library swallows the exception, or kept until all is stored."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

__all__ = ["answered", "deferred", "held", "noticed", "status"]

STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))

Answer = Callable[[int, FrameType | None], None] | signal.Handlers

_received: list[int] = []


@contextmanager
def answered(answer: Answer, numbers: Sequence[signal.Signals] = STOPPING) -> Iterator[Callable[[], None]]:
    """Within, signals that stop get another answer; the yielded function gives them the former one back.

    Outside the main thread nothing changes; nor for SIGHUP where it is ignored, as under ``nohup``.

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
    heard = [number for number in numbers if number != getattr(signal, "SIGHUP", None) or not _is_ignored(number)]
    former = {number: signal.signal(number, answer) for number in heard}

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    try:
        yield restore
    finally:
        restore()


@contextmanager
def deferred() -> Iterator[Callable[[], bool]]:
    """Within, a signal only makes the yielded function return True; a second one raises KeyboardInterrupt at once.

    Outside the main thread nothing changes, and the function returns False.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        _received[:] = [number]
        if len(received) > 1:
            raise KeyboardInterrupt

    with answered(receive):
        yield lambda: bool(received)


@contextmanager
def held() -> Iterator[None]:
    """Within, Ctrl-C waits; processes that are started within never hear it."""
    if sys.platform == "win32":
        with answered(signal.SIG_IGN, [signal.SIGINT]):
            yield
        return
    former = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


@contextmanager
def noticed() -> Iterator[Callable[[], bool]]:
    """Within, each of the signals raises KeyboardInterrupt as Ctrl-C does; the yielded function tells whether one came.

    Outside the main thread nothing changes, and the function returns False.
    """
    received: list[int] = []

    def receive(number: int, frame: FrameType | None) -> None:
        received.append(number)
        _received[:] = [number]
        raise KeyboardInterrupt

    with answered(receive):
        yield lambda: bool(received)


def status() -> int:
    """Exit status of a process that a signal has stopped: 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    return 128 + (_received.pop() if _received else signal.SIGINT)


def _is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) == signal.SIG_IGN
